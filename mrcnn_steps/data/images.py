"""Reading image files that a camera, a scanner or an enemy may have written."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import ExifTags, Image
from torch import Tensor

# Decoded, that is 300 MB. The largest photos of today's cameras stay below it.
MAX_PIXELS = 100_000_000

# A progressive JPEG has about ten scans. Each costs a pass over all pixels, even an empty one, so
# that a small file could keep a processor busy for minutes.
MAX_SCANS = 100

# Image formats only: Pillow would also start Ghostscript for a file that says it is PostScript.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")

# What undoes each value of EXIF's orientation tag.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS = (5, 6, 7, 8)


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before anything is decoded.

    Attributes:
        stored: `(width, height)` of the pixels as they lie in the file.
        orientation: EXIF's tag, 1…8: how a viewer turns and mirrors them; 1 leaves them alone.
    """

    stored: tuple[int, int]
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """`(width, height)` of the upright image."""
        width, height = self.stored
        return (height, width) if self.orientation in QUARTER_TURNS else (width, height)

    @property
    def turned_unseen(self) -> bool:
        """Whether EXIF turns or mirrors the image and its size does not tell."""
        return self.orientation != 1 and self.size == self.stored


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read size and orientation of an image file without decoding it.

    Args:
        path: the file.

    Returns:
        The header.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file may not be read; the message says why.
        ValueError: the file is not an image, is damaged, or has 100 megapixels or more.
    """
    with _opened(Path(path)) as image:
        orientation = _orientation(image)
        width, height = image.size
        # Of a TIFF, Pillow tells the upright size.
        if image.format == "TIFF" and orientation in QUARTER_TURNS:
            width, height = height, width
        return Header((width, height), orientation)


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
        OSError: the file may not be read; the message says why.
        ValueError: the file is not an image, is damaged, or has 100 megapixels or more.
    """
    with _opened(Path(path)) as image:
        image.load()
        # Only after loading: Pillow turns a TIFF itself, and then takes its tag away.
        turn = UPRIGHT.get(_orientation(image))
        rgb = _to_rgb(image if turn is None else image.transpose(turn))
        return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; whatever its decoder raises then becomes a ValueError that names the file."""
    _check_file(path)
    with open(path, "rb") as file, warnings.catch_warnings():
        # Damaged tags are no news to the reader of a photo; sizes are checked below.
        warnings.simplefilter("ignore")
        Image.init()
        try:
            image = Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
        except Image.DecompressionBombError as error:
            raise ValueError(
                f"{path}: found too many pixels ({error}), expected fewer than {MAX_PIXELS:,}"
            ) from error
        except Exception as error:
            raise ValueError(
                f"{path}: found no readable image, expected one of {', '.join(FORMATS)}"
            ) from error
        width, height = image.size
        if width * height >= MAX_PIXELS:
            raise ValueError(
                f"{path}: found {width}×{height} pixels, expected fewer than {MAX_PIXELS:,}"
            )
        if (
            image.format in ("JPEG", "MPO")
            and (scans := _count_scans(path.read_bytes())) > MAX_SCANS
        ):
            raise ValueError(f"{path}: found {scans} scans, expected at most {MAX_SCANS} in a JPEG")
        try:
            yield image
        # Pillow's plug-ins raise what they please on a damaged file: fuzzing met ten types.
        except Exception as error:
            raise ValueError(
                f"{path}: found a damaged or unsupported {image.format} image ({error}), "
                "expected a complete one"
            ) from error


def _check_file(path: Path) -> None:
    if not os.path.lexists(path):
        raise FileNotFoundError(f"{path}: no such file, expected an image")
    # A loop of links, or a folder that may not be entered, is told by the system itself.
    size = path.stat().st_size
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "no regular file"
        raise ValueError(f"{path}: found {kind}, expected an image file")
    if size == 0:
        raise ValueError(f"{path}: found an empty file, expected an image")


# In the coded data of a scan, a byte 255 is followed by 0 or is a restart marker, D0…D7.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_SCAN, _END = b"\xda", b"\xd9"


def _count_scans(jpeg: bytes) -> int:
    """Count the scans of a JPEG's first image; segments, which may hold thumbnails, are skipped."""
    scans, position = 0, 2
    while (marker := _MARKER.search(jpeg, position)) and marker[1] != _END:
        scans += marker[1] == _SCAN
        length = jpeg[marker.end() : marker.end() + 2]
        position = marker.end() + int.from_bytes(length, "big")
    return scans


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 where there is none or its value means nothing."""
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in UPRIGHT else 1


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
    """Scale gray values 0…65535 to 0…255; Pillow's own conversion clips them at 255."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"gray values from {values.min()} to {values.max()}; expected 0 to 65535")
    # 65535 = 255 × 257, so white stays white.
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
