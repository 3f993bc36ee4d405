"""What stage 1 shows: an object's mask, the small picture made of it, and where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from mrcnn_steps.mini_masks import MiniMasks, boxes_from_masks, round_trip
from mrcnn_steps.palette import ORANGE, PURPLE, SKY, VERMILLION
from mrcnn_widgets.viewer.layers import Group, Layer, MaskLayer

ORIGINAL = Group("original", SKY)
MINI = Group("mini-mask", ORANGE)
EXPANDED = Group("expanded", ORANGE)
LOST = Group("lost", VERMILLION)
GAINED = Group("gained", PURPLE)
# Sizes that are compared; 28 is the mask head's, 56 the Keras-era implementation's.
SIZES = (14, 28, 56, 112)
NO_OBJECTS = "This photo has no annotated objects, so there is no mask to make small."


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """One object's mask, cut to its box: nothing outside of it matters to a mini-mask.

    Attributes:
        box: [4] the mask's box, in pixels of the network's input.
        mask: [h, w] the mask inside the box.
        photo_size: `(height, width)` of the whole mask.
    """

    box: Float[Tensor, "4"]
    mask: Bool[Tensor, "h w"]
    photo_size: tuple[int, int]

    @property
    def full_bytes(self) -> int:
        """Size of the whole mask in bytes, one byte a pixel."""
        return self.photo_size[0] * self.photo_size[1]

    @cached_property
    def layer(self) -> MaskLayer:
        """The mask as it is, which does not depend on the size."""
        return _layer("original", [ORIGINAL], self.mask[None], self.box, opacity=0.15)

    def shrunk(self, size: int) -> MiniMasks:
        """Make the mask small and large again: one row of `size` × `size`."""
        return round_trip(self.mask[None], (size, size))


def cut(mask: Bool[Tensor, "H W"]) -> ObjectMask:
    """Cut a mask to its box."""
    box = boxes_from_masks(mask[None])[0]
    x1, y1, x2, y2 = box.int().tolist()
    height, width = mask.shape
    return ObjectMask(box, mask[y1:y2, x1:x2].contiguous(), (height, width))


def differences(found: ObjectMask, mini: MiniMasks) -> tuple[Tensor, Tensor]:
    """Where the expanded mask differs from the original.

    Args:
        found: the object's mask.
        mini: what `found.shrunk` made of it.

    Returns:
        The pixels that were lost and those that were gained, bool [h, w] of the box.
    """
    expanded = mini.expanded[0]
    return found.mask & ~expanded, expanded & ~found.mask


def layers(found: ObjectMask | None, mini: MiniMasks | None) -> list[Layer]:
    """Show a mask, its mini-mask expanded, and the pixels that were lost and gained.

    Args:
        found: the object's mask; None shows nothing, in the same layers.
        mini: what `found.shrunk` made of it.

    Returns:
        The layers "original", "expanded" and "difference". The first is the same layer again as
        long as `found` is.
    """
    if found is None or mini is None:
        return [
            _layer("original", [ORIGINAL], [], None),
            _layer("expanded", [EXPANDED], [], None),
            _layer("difference", [LOST, GAINED], [], None),
        ]
    changed = differences(found, mini)
    return [
        found.layer,
        _layer("expanded", [EXPANDED], mini.expanded, found.box, opacity=0.0),
        _layer("difference", [LOST, GAINED], changed, found.box, opacity=0.85, outline=False),
    ]


def small_picture(
    photo: UInt8[Tensor, "3 H W"], found: ObjectMask, mini: MiniMasks
) -> tuple[Tensor, list[Layer]]:
    """Show the mini-mask itself, on the photo inside the box at the mini-mask's resolution.

    Args:
        photo: the network's input.
        found: the object's mask.
        mini: what `found.shrunk` made of it.

    Returns:
        The photo, uint8 [3, size, size], and the layers on it.
    """
    size = mini.mini_masks.shape[-1]
    square = torch.tensor([[0.0, 0.0, size, size]])
    mask = MaskLayer(
        "mini-mask", mini.mini_masks, square, groups=[MINI], opacity=0.5, pickable=False
    )
    return _crop(photo, found.box, size), [mask]


def facts(found: ObjectMask | None, mini: MiniMasks | None) -> list[tuple[str, str]]:
    """Tell what the mini-mask saves and costs."""
    if found is None or mini is None:
        return [(NO_OBJECTS, "")]
    x1, y1, x2, y2 = found.box.tolist()
    lost, gained = differences(found, mini)
    return [
        ("box", f"{x2 - x1:.0f} × {y2 - y1:.0f} px"),
        ("full mask", f"{found.full_bytes:,} bytes"),
        ("mini-mask", f"{mini.mini_mask_bytes:,} bytes"),
        ("smaller by", f"{found.full_bytes / mini.mini_mask_bytes:,.0f} ×"),
        ("IoU with the original", f"{float(mini.iou):.4f}"),
        ("pixels lost", f"{int(lost.sum()):,}"),
        ("pixels gained", f"{int(gained.sum()):,}"),
    ]


def sizes(found: ObjectMask) -> list[tuple[str, str, str]]:
    """Tell what the same mask is worth at other sizes: size, bytes and IoU of each."""
    ious = [float(found.shrunk(size).iou) for size in SIZES]
    return [
        (f"{size} × {size}", f"{size * size:,}", f"{iou:.4f}")
        for size, iou in zip(SIZES, ious, strict=True)
    ]


def _layer(
    name: str, groups: Sequence[Group], masks: Any, box: Tensor | None, **options: Any
) -> MaskLayer:
    """Masks over the object's box, each in a group of its own."""
    count = len(masks)
    return MaskLayer(
        name,
        masks,
        torch.zeros((0, 4)) if box is None else box.expand(count, 4),
        groups=groups,
        group_index=range(count),
        pickable=False,
        **options,
    )


def _crop(photo: Tensor, box: Tensor, size: int) -> Tensor:
    """Give the photo inside the box, as coarse as the mini-mask."""
    x1, y1, x2, y2 = box.round().int().tolist()
    if x2 <= x1 or y2 <= y1:
        return photo.new_zeros((3, size, size))
    inside = photo[None, :, y1:y2, x1:x2]
    return F.interpolate(inside, (size, size), mode="bilinear", antialias=True)[0]
