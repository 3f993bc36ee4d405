"""Stage 1, mini-masks: a mask is kept as a small picture of its own box.

A 1024×1024 instance mask costs one megabyte; the part of it inside the object's box, resized to
56×56, costs three kilobytes. What is lost is a little of the outline of large objects.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mrcnn_steps.boxes import check_boxes
from mrcnn_steps.checks import BOOL, MOST_SAMPLES, check_image_size, check_tensor
from mrcnn_steps.resample import resize_matrix


@dataclass(frozen=True, eq=False)
class MiniMasks:
    """Masks, their mini-masks, and what the round trip saves and costs.

    Attributes:
        boxes: [N, 4] each object's box in pixels, computed from its mask.
        mini_masks: [N, h, w] the masks inside their boxes, resized.
        expanded: [N, H, W] the mini-masks resized back into the image.
        iou: [N] IoU of each mask with its expanded mini-mask; 1 for an empty mask.
        mask_bytes: size of the full masks in bytes, one byte a pixel.
        mini_mask_bytes: size of the mini-masks in bytes, one byte a pixel.
    """

    boxes: Float[Tensor, "N 4"]
    mini_masks: Bool[Tensor, "N h w"]
    expanded: Bool[Tensor, "N H W"]
    iou: Float[Tensor, "N"]
    mask_bytes: int
    mini_mask_bytes: int


def check_masks(masks: Tensor, name: str) -> None:
    """Refuse what is not a set of masks.

    Args:
        masks: what a caller passed as masks.
        name: the argument's name, for the message.

    Raises:
        ValueError: the shape is not [N, H, W] or the values are not booleans.
    """
    check_tensor(masks, name, BOOL, ("N", "H", "W"))


def _first_and_past_last(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of [N, L] booleans: the first True, and one past the last (0, 0 if none)."""
    length = occupied.shape[1]
    position = torch.arange(1, length + 1, device=occupied.device)
    last = (occupied * position).amax(dim=1)
    first = length - (occupied * position.flip(0)).amax(dim=1)
    return torch.where(last > 0, first, 0), last


def boxes_from_masks(masks: Bool[Tensor, "N H W"]) -> Float[Tensor, "N 4"]:
    """Compute the tight box of every mask.

    Boxes always come from the masks, so that one code path serves every data set and every
    transform of the image.

    Args:
        masks: [N, H, W].

    Returns:
        [N, 4] `(x1, y1, x2, y2)` in pixels, `x2, y2` exclusive; an empty mask gives a zero box.

    Raises:
        ValueError: not bool masks of shape [N, H, W].
    """
    check_masks(masks, "masks")
    if masks.numel() == 0:
        return torch.zeros((len(masks), 4), device=masks.device)
    pixels = masks.view(torch.uint8)
    # amax over uint8 is several times as fast as `any` over bool, and means the same.
    x1, x2 = _first_and_past_last(pixels.amax(dim=1))
    y1, y2 = _first_and_past_last(pixels.amax(dim=2))
    return torch.stack((x1, y1, x2, y2), dim=1).to(torch.float32)


def _pixel_boxes(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Round boxes to whole pixels and refuse those that leave the image."""
    check_boxes(boxes, "boxes")
    height, width = image_size
    whole = boxes.round().to(torch.int64)
    limit = whole.new_tensor([width, height, width, height])
    outside = ((whole < 0) | (whole > limit)).any(dim=1)
    if outside.any():
        row = int(outside.nonzero()[0])
        raise ValueError(
            f"boxes: expected boxes inside the {width}×{height} image, found "
            f"{boxes[row].tolist()} in row {row}"
        )
    return whole


def _samples(start: Tensor, end: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two pixels and their weights for each of `count` bilinear samples of every [start, end).

    Outside its box a mask is zero: a neighbor beyond the box has no weight.
    """
    length = (end - start)[:, None]
    centers = torch.arange(count, device=start.device) + 0.5
    position = centers * length / count - 0.5
    left = position.floor().to(torch.int64)
    right = left + 1
    fraction = position - left
    left_weight = (1 - fraction) * (left >= 0)
    right_weight = fraction * (right < length)
    start = start[:, None]
    return (
        left.clamp(min=0) + start,
        right.minimum(length - 1) + start,
        left_weight,
        right_weight,
    )


def shrink(
    masks: Bool[Tensor, "N H W"], boxes: Float[Tensor, "N 4"], size: tuple[int, int] = (56, 56)
) -> Bool[Tensor, "N h w"]:
    """Cut each mask to its box and resize it bilinearly to a mini-mask.

    Only the four pixels around each of the `h × w` sample points are read, so the cost does not
    depend on the size of the image.

    Args:
        masks: [N, H, W].
        boxes: [N, 4] in pixels, inside the image, rounded to whole pixels here.
        size: `(h, w)` of a mini-mask.

    Returns:
        [N, h, w], True where the resized mask is above one half; all False for a box that rounds
        to nothing.

    Raises:
        ValueError: wrong shapes, NaN, a box outside the image, or a size below 1.
    """
    check_masks(masks, "masks")
    size = check_image_size(size, "size", MOST_SAMPLES)
    x1, y1, x2, y2 = _pixel_boxes(boxes, (masks.shape[1], masks.shape[2])).unbind(dim=1)
    if len(boxes) != len(masks):
        raise ValueError(f"boxes: expected {len(masks)}, one for each mask, found {len(boxes)}")
    if masks.numel() == 0:
        return masks.new_zeros((len(masks), *size))
    empty = (x2 <= x1) | (y2 <= y1)
    x1, x2 = torch.where(empty, 0, x1), torch.where(empty, 1, x2)
    y1, y2 = torch.where(empty, 0, y1), torch.where(empty, 1, y2)
    top, bottom, top_weight, bottom_weight = _samples(y1, y2, size[0])
    left, right, left_weight, right_weight = _samples(x1, x2, size[1])
    row = torch.arange(len(masks), device=masks.device)[:, None, None]

    def read(y: Tensor, x: Tensor) -> Tensor:
        return masks[row, y[:, :, None], x[:, None, :]].to(torch.float32)

    left_weight, right_weight = left_weight[:, None, :], right_weight[:, None, :]
    above = read(top, left) * left_weight + read(top, right) * right_weight
    below = read(bottom, left) * left_weight + read(bottom, right) * right_weight
    resized = above * top_weight[:, :, None] + below * bottom_weight[:, :, None]
    return (resized > 0.5) & ~empty[:, None, None]


def expand(
    mini_masks: Bool[Tensor, "N h w"], boxes: Float[Tensor, "N 4"], image_size: tuple[int, int]
) -> Bool[Tensor, "N H W"]:
    """Resize each mini-mask to its box and put it back into an image.

    Args:
        mini_masks: [N, h, w].
        boxes: [N, 4] in pixels, inside the image, rounded to whole pixels here.
        image_size: `(H, W)` in pixels.

    Returns:
        [N, H, W], True where the resized mini-mask is above one half.

    Raises:
        ValueError: wrong shapes, NaN, or a box outside the image.
    """
    check_masks(mini_masks, "mini_masks")
    image_size = check_image_size(image_size, least=0)
    whole = _pixel_boxes(boxes, image_size)
    if len(boxes) != len(mini_masks):
        raise ValueError(
            f"boxes: expected {len(mini_masks)}, one for each mini-mask, found {len(boxes)}"
        )
    masks = _zeros((len(mini_masks), *image_size), mini_masks.device)
    height, width = mini_masks.shape[1:]
    soft = mini_masks.to(torch.float32)
    for mask, mini_mask, (x1, y1, x2, y2) in zip(masks, soft, whole.tolist(), strict=True):
        if x1 < x2 and y1 < y2:
            down = resize_matrix(height, y2 - y1, soft)
            across = resize_matrix(width, x2 - x1, soft)
            mask[y1:y2, x1:x2] = down @ mini_mask @ across.T > 0.5
    return masks


def _zeros(shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """Empty masks; on the processor, memory that costs nothing until a pixel is set.

    torch writes every zero, NumPy asks the operating system for zeroed pages: for 100 masks of
    1024×1024 pixels that is most of the time of `expand`.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=torch.bool, device=device)
    return torch.from_numpy(np.zeros(shape, dtype=bool))


def mask_iou(masks: Bool[Tensor, "N H W"], others: Bool[Tensor, "N H W"]) -> Float[Tensor, "N"]:
    """Compute the IoU of each mask with its partner.

    Args:
        masks: [N, H, W].
        others: [N, H, W], row by row.

    Returns:
        [N] in 0…1; 1 where both masks are empty.

    Raises:
        ValueError: not bool masks of one shape.
    """
    check_masks(masks, "masks")
    check_tensor(others, "others", BOOL, masks.shape)
    intersection = (masks & others).flatten(1).sum(dim=1)
    union = (masks | others).flatten(1).sum(dim=1)
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)


def round_trip(masks: Bool[Tensor, "N H W"], size: tuple[int, int] = (56, 56)) -> MiniMasks:
    """Shrink masks to mini-masks and expand them again, with what that saves and costs.

    Args:
        masks: [N, H, W].
        size: `(h, w)` of a mini-mask.

    Returns:
        The boxes, mini-masks, expanded masks, the IoU per object and the sizes in bytes.

    Raises:
        ValueError: not bool masks of shape [N, H, W], or a size below 1.
    """
    boxes = boxes_from_masks(masks)
    mini_masks = shrink(masks, boxes, size)
    expanded = expand(mini_masks, boxes, (masks.shape[1], masks.shape[2]))
    return MiniMasks(
        boxes=boxes,
        mini_masks=mini_masks,
        expanded=expanded,
        iou=mask_iou(masks, expanded),
        mask_bytes=masks.numel(),
        mini_mask_bytes=mini_masks.numel(),
    )
