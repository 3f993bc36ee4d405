"""A photo with its annotations: what every stage of the pipeline is shown on."""

import os
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from mrcnn_steps.data.coco_classes import COCO_CLASSES
from mrcnn_steps.mini_masks import boxes_from_masks

# Decoded, that is 300 MB. The largest photos of today's cameras stay below it.
MAX_PIXELS = 100_000_000

# Image formats only: Pillow would also start Ghostscript for a file that says it is PostScript.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")

# What Pillow's decoders raise on a damaged file.
DECODING_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error)


# `eq=False`: comparing tensors gives tensors, not the yes or no that `==` promises.
@dataclass(frozen=True, eq=False)
class Sample:
    """A photo and the objects annotated in it.

    Attributes:
        image: [3, H, W] uint8 RGB.
        boxes: [N, 4] `(x1, y1, x2, y2)` in pixels of the image, `x2, y2` exclusive.
        labels: [N] class of each object, from 1; 0 is the background and labels no object.
        masks: [N, H, W] the pixels of each object.
        crowd: [N] True where one mask covers a crowd of objects that nobody took apart.
        class_names: the name of each label; `class_names[0]` is "background".
        name: what to call the photo in pictures and tables.
    """

    image: UInt8[Tensor, "3 H W"]
    boxes: Float[Tensor, "N 4"]
    labels: Int64[Tensor, "N"]
    masks: Bool[Tensor, "N H W"]
    crowd: Bool[Tensor, "N"]
    class_names: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        _expect(self.image.ndim == 3 and self.image.shape[0] == 3, "image", self.image, "[3, H, W]")
        _expect(self.image.dtype == torch.uint8, "image", self.image, "uint8")
        _expect(self.image.numel() > 0, "image", self.image, "at least one pixel")
        _expect(self.labels.ndim == 1, "labels", self.labels, "[N]")
        _expect(self.labels.dtype == torch.int64, "labels", self.labels, "int64")
        n, (height, width) = len(self.labels), self.image.shape[1:]
        for field, shape, dtype in (
            ("boxes", (n, 4), torch.float32),
            ("masks", (n, height, width), torch.bool),
            ("crowd", (n,), torch.bool),
        ):
            value = getattr(self, field)
            _expect(value.shape == shape, field, value, f"{list(shape)}")
            _expect(value.dtype == dtype, field, value, str(dtype).removeprefix("torch."))
        if not self.class_names or self.class_names[0] != "background":
            raise ValueError(
                f"class_names: expected 'background' first, found {self.class_names[:1]}"
            )
        last = len(self.class_names) - 1
        unknown = self.labels[(self.labels < 1) | (self.labels > last)]
        if len(unknown):
            raise ValueError(f"labels: expected 1 to {last}, found {int(unknown[0])}")
        ordered = (self.boxes[:, 2:] >= self.boxes[:, :2]).all(dim=1)
        broken = self.boxes[~(ordered & self.boxes.isfinite().all(dim=1))]
        if len(broken):
            raise ValueError(
                f"boxes: expected finite x1 ≤ x2 and y1 ≤ y2, found {broken[0].tolist()}"
            )

    @classmethod
    def from_masks(
        cls,
        image: UInt8[Tensor, "3 H W"],
        masks: Bool[Tensor, "N H W"],
        labels: Int64[Tensor, "N"],
        crowd: Bool[Tensor, "N"],
        class_names: tuple[str, ...],
        name: str,
    ) -> "Sample":
        """Make a sample whose boxes are computed from its masks.

        Boxes never come from a file, so that one code path serves every data set and every
        transform. The box of an empty mask is (0, 0, 0, 0).

        Args:
            image: [3, H, W] uint8 RGB.
            masks: [N, H, W] the pixels of each object.
            labels: [N] class of each object, from 1.
            crowd: [N] True where one mask covers many objects.
            class_names: the name of each label, "background" first.
            name: what to call the photo.

        Returns:
            The sample.

        Raises:
            ValueError: shapes or dtypes disagree, or a label has no class name.
        """
        boxes = boxes_from_masks(masks)
        return cls(image, boxes, labels, masks, crowd, class_names, name)

    @classmethod
    def from_image(
        cls, path: str | os.PathLike[str], class_names: tuple[str, ...] = COCO_CLASSES
    ) -> "Sample":
        """Load a photo that has no annotations.

        Args:
            path: an image file; see `read_image` for what becomes of its colors and rotation.
            class_names: the classes that a detector of this photo may name.

        Returns:
            A sample with no objects, named like the file without its suffix.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not an image, is damaged, or has 100 megapixels or more.
        """
        image = read_image(path)
        return cls.from_masks(
            image=image,
            masks=torch.zeros((0, *image.shape[1:]), dtype=torch.bool),
            labels=torch.zeros(0, dtype=torch.int64),
            crowd=torch.zeros(0, dtype=torch.bool),
            class_names=class_names,
            name=Path(path).stem,
        )


def read_image(path: str | os.PathLike[str]) -> UInt8[Tensor, "3 H W"]:
    """Read an image file as upright 8-bit RGB.

    EXIF rotation is applied. Transparent pixels are laid over white, as a viewer shows them. Grey
    values of 16 bits are scaled to 8, not clipped. Of an animation, the first frame is taken.

    Args:
        path: the file.

    Returns:
        [3, H, W] uint8 RGB. The channels lie last in memory, as decoders leave them and as
        resizing is fastest.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an image, is damaged, or has 100 megapixels or more.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file, expected an image")
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "no regular file"
        raise ValueError(f"{path}: found {kind}, expected an image file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: found an empty file, expected an image")
    with _open(path) as image:
        # From the header alone: nothing has been decoded yet.
        width, height = image.size
        if width * height >= MAX_PIXELS:
            raise ValueError(
                f"{path}: found {width}×{height} pixels, expected fewer than {MAX_PIXELS:,}"
            )
        try:
            upright = ImageOps.exif_transpose(image)
            rgb = _to_rgb(upright)
        except DECODING_ERRORS as error:
            raise ValueError(
                f"{path}: found a damaged or unsupported {image.format} image ({error}), "
                "expected a complete one"
            ) from error
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)


def _open(path: Path) -> Image.Image:
    """Open an image without decoding it."""
    Image.init()
    with warnings.catch_warnings():
        # Pillow's own warning comes below our limit; `read_image` checks the size itself.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
        except Image.DecompressionBombError as error:
            raise ValueError(
                f"{path}: found too many pixels ({error}), expected fewer than {MAX_PIXELS:,}"
            ) from error
        except DECODING_ERRORS as error:
            raise ValueError(
                f"{path}: found no readable image, expected one of {', '.join(FORMATS)}"
            ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode of Pillow to 8-bit RGB."""
    if image.mode.startswith("I"):
        image = _grey_to_8_bits(image)
    elif image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(opaque, image.convert("RGBA"))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range; expected 8 or 16 bits")
    return image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey values 0…65535 to 0…255; Pillow's own conversion clips them at 255."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values from {values.min()} to {values.max()}; expected 0 to 65535")
    # 65535 = 255 × 257, so white stays white.
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _expect(ok: bool, field: str, value: Tensor, expected: str) -> None:
    if not ok:
        found = f"{value.dtype} {list(value.shape)}".removeprefix("torch.")
        raise ValueError(f"{field}: expected {expected}, found {found}")
