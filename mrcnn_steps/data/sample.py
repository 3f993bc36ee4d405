"""A photo with its annotations: what every stage of the pipeline is shown on."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from mrcnn_steps.checks import check_tensor
from mrcnn_steps.class_names import check_class_names
from mrcnn_steps.data.coco_classes import COCO_CLASSES
from mrcnn_steps.data.images import read_image
from mrcnn_steps.mini_masks import boxes_from_masks

# How far, in pixels, a given box may lie from the box of its mask: annotators draw outlines on
# fractions of pixels, and tools round them in every way.
BOX_TOLERANCE = 2.0


# `eq=False`: comparing tensors gives tensors, not the yes or no that `==` promises.
@dataclass(frozen=True, eq=False)
class Sample:
    """A photo and the objects annotated in it.

    Attributes:
        image: [3, H, W] uint8 RGB.
        boxes: [N, 4] `(x1, y1, x2, y2)` in pixels of the image, `x2, y2` exclusive.
        labels: [N] class of each object, from 1; 0 is the background and labels no object.
        masks: [N, H, W] the pixels of each object; None where only boxes are annotated.
        crowd: [N] True where one mask covers a crowd of objects that nobody took apart.
        class_names: the name of each label; `class_names[0]` is "background".
        name: what to call the photo in pictures and tables.
    """

    image: UInt8[Tensor, "3 H W"]
    boxes: Float[Tensor, "N 4"]
    labels: Int64[Tensor, "N"]
    masks: Bool[Tensor, "N H W"] | None
    crowd: Bool[Tensor, "N"]
    class_names: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        """Check that the fields fit together.

        Raises:
            TypeError: a field is no tensor, or the names are no texts.
            ValueError: shapes or dtypes disagree, or a label has no class name.
        """
        for field in ("image", "boxes", "labels", "crowd"):
            _expect_tensor(field, getattr(self, field))
        if self.masks is not None:
            _expect_tensor("masks", self.masks)
        _expect_names(self.class_names, self.name)
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
            if value is None:
                continue
            _expect(value.shape == shape, field, value, f"{list(shape)}")
            _expect(value.dtype == dtype, field, value, str(dtype).removeprefix("torch."))
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

        The box of an empty mask is (0, 0, 0, 0).

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
            TypeError: a field is no tensor, or the names are no texts.
            ValueError: shapes or dtypes disagree, or a label has no class name.
        """
        _expect_tensor("masks", masks)
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
            TypeError: what was given is no path.
            FileNotFoundError: there is no such file.
            OSError: the file may not be read; the message says why.
            ValueError: the file is not an image, is damaged, or has 100 megapixels or more.
        """
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"path: expected the path of an image file, found {_words(path)}")
        image = read_image(path)
        return cls.from_masks(
            image=image,
            masks=torch.zeros((0, *image.shape[1:]), dtype=torch.bool),
            labels=torch.zeros(0, dtype=torch.int64),
            crowd=torch.zeros(0, dtype=torch.bool),
            class_names=class_names,
            name=Path(path).stem,
        )

    @classmethod
    def from_target(
        cls,
        image: UInt8[Tensor, "3 H W"] | Float[Tensor, "3 H W"],
        target: Mapping[str, Any],
        class_names: Sequence[str],
    ) -> "Sample":
        """Make a sample of what torchvision's detection data sets give: `(image, target)`.

        Args:
            image: [3, H, W] uint8, or floating point in 0…1.
            target: `boxes` [N, 4] as `(x1, y1, x2, y2)` and `labels` [N]; where there are any,
                `masks` [N, H, W] of 0 and 1 and `iscrowd` [N]. An `image_id` becomes the name.
            class_names: the name of each label, "background" first.

        Returns:
            The sample; its `masks` are None if the target has none.

        Raises:
            TypeError: a field is no tensor, or the names are no texts.
            ValueError: a field is missing, shapes or values disagree, or a box lies more than
                two pixels from the box of its mask.
        """
        if not isinstance(target, Mapping):
            raise TypeError(f"target: expected torchvision's dict, found {_words(target)}")
        _expect_tensor("image", image)
        boxes, labels = _field(target, "boxes"), _field(target, "labels")
        masks = _as_bool(target, "masks") if "masks" in target else None
        crowd = _as_bool(target, "iscrowd") if "iscrowd" in target else torch.zeros(len(labels)) > 0
        made = cls(
            _as_uint8(image.as_subclass(Tensor)),
            boxes.to(torch.float32),
            labels.to(torch.int64),
            masks,
            crowd.to(labels.device),
            check_class_names(class_names),
            f"image {_plain(target['image_id'])}" if "image_id" in target else "photo",
        )
        if masks is not None:
            _expect_boxes_of_masks(made.boxes, masks)
        return made

    @property
    def filled(self) -> Bool[Tensor, "N"]:
        """Where an object has pixels: its mask is not empty, or its box has an area."""
        if self.masks is not None:
            return self.masks.flatten(1).any(dim=1)
        return (self.boxes[:, 2:] > self.boxes[:, :2]).all(dim=1)

    def masks_or_rectangles(self) -> Bool[Tensor, "N H W"]:
        """Return the masks; where only boxes are annotated, every pixel that a box touches.

        Returns:
            [N, H, W].
        """
        if self.masks is not None:
            return self.masks
        height, width = self.image.shape[1:]
        painted = torch.zeros((len(self.boxes), height, width), dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(painted, self.boxes.tolist(), strict=True):
            mask[max(0, floor(y1)) : ceil(y2), max(0, floor(x1)) : ceil(x2)] = True
        return painted.to(self.boxes.device)


def _expect(ok: bool, field: str, value: Tensor, expected: str) -> None:
    if not ok:
        found = f"{value.dtype} {list(value.shape)}".removeprefix("torch.")
        raise ValueError(f"{field}: expected {expected}, found {found}")


def _expect_tensor(field: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{field}: expected a torch tensor, found {_words(value)}")
    check_tensor(value, field, (value.dtype,))


def _expect_names(class_names: Any, name: Any) -> None:
    if not isinstance(class_names, tuple) or not all(type(each) is str for each in class_names):
        raise TypeError(f"class_names: expected a tuple of texts, found {_words(class_names)}")
    if not class_names or class_names[0] != "background":
        raise ValueError(f"class_names: expected 'background' first, found {class_names[:1]}")
    if not isinstance(name, str):
        raise TypeError(f"name: expected a text, found {_words(name)}")


def _words(value: Any) -> str:
    """Say what was given instead of a tensor, and how it becomes one."""
    if isinstance(value, np.ndarray):
        last = value.ndim == 3 and value.shape[2] == 3
        turn = ".permute(2, 0, 1)" if last else ""
        shape = f"{value.dtype} {list(value.shape)}"
        return f"a NumPy array, {shape}; torch.from_numpy(…){turn} makes a tensor of it"
    if isinstance(value, Image.Image):
        return (
            f"a PIL image, {value.mode} {value.width}×{value.height}; torchvision's "
            "pil_to_tensor(image.convert('RGB')) makes a tensor of it"
        )
    kind = f"a {type(value).__name__}"
    if isinstance(value, list | tuple):
        return (
            f"{kind} of {len(value)}; torch.tensor(…) makes a tensor of numbers, tuple(…) of names"
        )
    return kind


def _field(target: Mapping[str, Any], name: str) -> Tensor:
    """One tensor of torchvision's dict, without what torchvision's own kinds of tensor add."""
    if name not in target:
        raise ValueError(f"target[{name!r}]: expected a tensor, found only {list(target)}")
    value = target[name]
    _expect_tensor(f"target[{name!r}]", value)
    layout = getattr(value, "format", None)
    if layout is not None and layout.name != "XYXY":
        raise ValueError(f"target[{name!r}]: expected (x1, y1, x2, y2), found {layout.name}")
    return value.as_subclass(Tensor)


def _as_bool(target: Mapping[str, Any], name: str) -> Tensor:
    values = _field(target, name)
    strange = values[(values != 0) & (values != 1)]
    if len(strange):
        raise ValueError(f"target[{name!r}]: expected 0 and 1, found {strange[0].item()}")
    return values.to(torch.bool)


def _as_uint8(image: Tensor) -> Tensor:
    if not image.is_floating_point():
        return image
    if image.numel() and not (image.min() >= 0 and image.max() <= 1):
        low, high = image.min().item(), image.max().item()
        raise ValueError(f"image: expected floating point in 0…1, found {low} to {high}")
    return (image * 255).round().to(torch.uint8)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def _expect_boxes_of_masks(boxes: Tensor, masks: Tensor) -> None:
    filled = masks.flatten(1).any(dim=1)
    expected = boxes_from_masks(masks)
    wrong = filled & ((boxes - expected).abs().amax(dim=1) > BOX_TOLERANCE)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"boxes: expected {expected[row].tolist()} in row {row}, the box of its mask, as "
            f"(x1, y1, x2, y2), found {boxes[row].tolist()}"
        )
