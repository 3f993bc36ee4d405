"""Stage 7, masks: a 28×28 picture inside each detected box, and how it was taught."""

from collections.abc import Iterator
from numbers import Real
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import roi_align

from mrcnn_steps.boxes import check_boxes
from mrcnn_steps.checks import (
    BOOL,
    DIVERGED,
    INDEX,
    MAX_PIXELS,
    MOST_SAMPLES,
    check_flag,
    check_floats,
    check_image_size,
    check_indices,
    check_no_nan,
    check_same_dtype,
    check_sampled,
    check_tensor,
    check_whole,
)
from mrcnn_steps.resample import resize_matrix


def mask_targets(
    masks: Bool[Tensor, "G h w"],
    gt_boxes: Float[Tensor, "G 4"],
    rois: Float[Tensor, "R 4"],
    gt_index: Int[Tensor, "R"],
    size: int = 28,
) -> Float[Tensor, "R size size"]:
    """Cut the ground truth to each RoI: what the mask head should say (Mask R-CNN §3.1).

    From full masks this is torchvision's target: sampled with RoIAlign, soft at the outline. From
    mini-masks it is the notes': the RoI is expressed in the frame of its ground-truth box, sampled
    from the mini-mask and rounded to 0 and 1. Masks whose own boxes are `gt_boxes` are full masks;
    a mini-mask touches all sides of its frame.

    Args:
        masks: [G, H, W] full masks of the network's input, or [G, h, w] mini-masks.
        gt_boxes: [G, 4] the objects' boxes in pixels of the network's input.
        rois: [R, 4] in the same pixels.
        gt_index: [R] the object each RoI is trained on.
        size: side of a target.

    Returns:
        [R, size, size] in 0…1.

    Raises:
        ValueError: shapes that do not fit together, NaN, or an index without object.
    """
    check_tensor(masks, "masks", BOOL, ("G", "h", "w"))
    _check_pixels(masks, "masks")
    check_boxes(gt_boxes, "gt_boxes")
    check_boxes(rois, "rois")
    check_floats(rois, "rois", for_native_code=True)
    check_same_dtype(gt_boxes, "gt_boxes", rois, "rois")
    check_tensor(gt_index, "gt_index", INDEX, ("R",))
    check_whole(size, "size", least=1)
    check_image_size((size, size), "size", MOST_SAMPLES)
    if len(masks) != len(gt_boxes) or len(rois) != len(gt_index):
        raise ValueError(
            f"mask_targets: {len(masks)} masks for {len(gt_boxes)} gt_boxes and {len(rois)} rois "
            f"for {len(gt_index)} indices; expected as many"
        )
    check_indices(gt_index, "gt_index", len(rois), len(masks))
    if len(rois) == 0:
        return rois.new_zeros((0, size, size))
    full = _are_full(masks, gt_boxes)
    framed = (
        rois if full else _into_frame(rois, gt_boxes[gt_index], (masks.shape[1], masks.shape[2]))
    )
    check_sampled(framed, "rois")
    targets = rois.new_zeros((len(rois), size, size))
    # Object by object: all masks in floating point at once would cost four times their memory.
    # torchvision samples full masks half a pixel off, which undoes what its resizing did to them;
    # a mini-mask has no such shift to undo. Outside its frame a mask is zero: a ring of zeros
    # says so, where RoIAlign would go on with the outermost pixels.
    ring = 0 if full else 1
    for index in gt_index.unique().tolist():
        rows = (gt_index == index).nonzero().flatten()
        picture = F.pad(masks[index].to(framed)[None, None], (ring,) * 4)
        targets[rows] = roi_align(picture, [framed[rows] + ring], size, aligned=not full)[:, 0]
    return targets if full else (targets > 0.5).to(targets)


def _are_full(masks: Tensor, gt_boxes: Tensor) -> bool:
    """Whether every box lies in the picture and the mask is empty outside it, to half a pixel."""
    height, width = masks.shape[1:]
    if (gt_boxes > gt_boxes.new_tensor([width, height, width, height]) + 0.5).any():
        return False
    y, x = torch.arange(height, device=masks.device), torch.arange(width, device=masks.device)
    x1, y1, x2, y2 = gt_boxes[:, :, None].unbind(dim=1)
    inside_x = (x + 1 > x1 - 0.5) & (x < x2 + 0.5)
    inside_y = (y + 1 > y1 - 0.5) & (y < y2 + 0.5)
    return not (masks & ~(inside_y[:, :, None] & inside_x[:, None, :])).any()


def _into_frame(rois: Tensor, frames: Tensor, size: tuple[int, int]) -> Tensor:
    """RoIs in the pixels of a mini-mask that covers `frames`."""
    origin = frames[:, :2].repeat(1, 2)
    extent = (frames[:, 2:] - frames[:, :2]).clamp(min=1e-6).repeat(1, 2)
    return (rois - origin) / extent * rois.new_tensor([size[1], size[0], size[1], size[0]])


def class_probs(
    mask_logits: Float[Tensor, "D C h w"], labels: Int[Tensor, "D"]
) -> Float[Tensor, "D h w"]:
    """Take the mask of each detection's own class (Mask R-CNN §3: masks do not compete).

    Args:
        mask_logits: [D, C, h, w] a mask for every class, before the sigmoid.
        labels: [D] the detected classes.

    Returns:
        [D, h, w] the probability that a sample belongs to the object, 0…1.

    Raises:
        ValueError: as many labels as masks are needed, each below C.
    """
    check_floats(mask_logits, "mask_logits", ("D", "C", "h", "w"))
    count, classes = mask_logits.shape[:2]
    check_indices(labels, "labels", count, classes)
    rows = torch.arange(count, device=labels.device)
    # All classes first, as torchvision does: the last few values of a tensor take another path
    # through the processor, so the sigmoid of a selection may differ in the last bit.
    probs = mask_logits.sigmoid()[rows, labels]
    check_no_nan(probs, "mask_logits", DIVERGED)
    return probs


def paste(
    mask_probs: Float[Tensor, "D h w"],
    boxes: Float[Tensor, "D 4"],
    image_size: tuple[int, int],
    threshold: float = 0.5,
    exact: bool = False,
) -> Bool[Tensor, "D H W"]:
    """Resize each mask to its box, threshold it, and put it into the photo.

    torchvision adds a border of one zero sample, enlarges the box to match, cuts it to whole
    pixels and adds one pixel in width and height: small objects shift and grow. `exact` fills the
    box as it is, rounded to whole pixels, as the notes do. Only the pixels of the box are
    computed, and no soft mask of the photo's size exists at any time.

    Args:
        mask_probs: [D, h, w] in 0…1.
        boxes: [D, 4] in pixels of the photo.
        image_size: `(H, W)` of the photo in pixels.
        threshold: probability from which on a pixel belongs to the object.
        exact: fill the box exactly (the notes) or with torchvision's arithmetic.

    Returns:
        [D, H, W].

    Raises:
        ValueError: shapes that do not fit together, NaN, or a threshold outside 0…1.
    """
    found = patches(mask_probs, boxes, image_size, threshold, exact)
    masks = torch.zeros((len(boxes), *image_size), dtype=torch.bool, device=boxes.device)
    for mask, patch in zip(masks, found, strict=True):
        mask[patch.rows, patch.columns] = patch.values
    return masks


class Patch(NamedTuple):
    """A mask resized to its box, without the rest of the photo.

    Attributes:
        rows: of the photo that it covers.
        columns: likewise.
        values: [h, w] its values there.
    """

    rows: slice
    columns: slice
    values: Tensor


def patches(
    mask_probs: Float[Tensor, "D h w"],
    boxes: Float[Tensor, "D 4"],
    image_size: tuple[int, int],
    threshold: float = 0.5,
    exact: bool = False,
) -> Iterator[Patch]:
    """Resize each mask to its box and threshold it, one at a time: `paste` without the photo.

    A hundred masks of a photo of 12 megapixels take 1.2 GB, their patches a few megabytes.

    Args:
        mask_probs: [D, h, w] in 0…1.
        boxes: [D, 4] in pixels of the photo.
        image_size: `(H, W)` of the photo in pixels.
        threshold: see `paste`.
        exact: see `paste`.

    Returns:
        One after another, the part of the photo that each mask may cover, and whether it does.

    Raises:
        ValueError: shapes that do not fit together, NaN, or a threshold outside 0…1.
    """
    _check_pasted(mask_probs, boxes, image_size)
    check_flag(exact, "exact")
    if not isinstance(threshold, Real) or not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected above 0 and up to 1, found {threshold}")
    soft = _soft_patches(mask_probs, boxes, image_size, exact)
    return (patch._replace(values=patch.values >= threshold) for patch in soft)


def paste_soft(
    mask_probs: Float[Tensor, "D h w"], boxes: Float[Tensor, "D 4"], image_size: tuple[int, int]
) -> Float[Tensor, "D H W"]:
    """Resize each mask to its box and put it into the photo without a threshold.

    This is what a torchvision model returns as `masks`, to the last bit.

    Args:
        mask_probs: [D, h, w] in 0…1.
        boxes: [D, 4] in pixels of the photo.
        image_size: `(H, W)` of the photo in pixels.

    Returns:
        [D, H, W] in 0…1.

    Raises:
        ValueError: shapes that do not fit together, or NaN.
    """
    _check_pasted(mask_probs, boxes, image_size)
    masks = mask_probs.new_zeros((len(boxes), *image_size))
    for mask, patch in zip(masks, _soft_patches(mask_probs, boxes, image_size, False), strict=True):
        mask[patch.rows, patch.columns] = patch.values
    return masks


def _check_pasted(mask_probs: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> None:
    check_image_size(image_size)
    check_floats(mask_probs, "mask_probs", ("D", "h", "w"))
    check_boxes(boxes, "boxes")
    if len(mask_probs) != len(boxes):
        raise ValueError(f"paste: {len(mask_probs)} masks for {len(boxes)} boxes; expected as many")
    _check_pixels(mask_probs, "mask_probs")
    finite = torch.isfinite(mask_probs).flatten(1).all(dim=1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise ValueError(f"mask_probs: expected finite numbers, found others in row {row}")
    large = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).prod(dim=1) > MAX_PIXELS
    large |= (boxes.abs() > MAX_PIXELS).any(dim=1)
    if large.any():
        row = int(large.nonzero()[0])
        raise ValueError(
            f"boxes: expected places and areas of at most {MAX_PIXELS:,} pixels, found "
            f"{boxes[row].tolist()} in row {row}"
        )


def _check_pixels(masks: Tensor, name: str) -> None:
    if 0 in masks.shape[1:]:
        raise ValueError(f"{name}: expected masks with pixels, found shape {list(masks.shape)}")


def _soft_patches(
    mask_probs: Tensor, boxes: Tensor, image_size: tuple[int, int], exact: bool
) -> Iterator[Patch]:
    resize = _fill_exactly if exact else _fill_enlarged
    for values, (x1, y1) in resize(mask_probs, boxes):
        top, left = max(y1, 0), max(x1, 0)
        bottom = max(min(y1 + values.shape[0], image_size[0]), top)
        right = max(min(x1 + values.shape[1], image_size[1]), left)
        inside = values[top - y1 : bottom - y1, left - x1 : right - x1]
        yield Patch(slice(top, bottom), slice(left, right), inside)


def _fill_exactly(mask_probs: Tensor, boxes: Tensor) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Each mask resized to its box in whole pixels, and the box's corner."""
    height, width = mask_probs.shape[1:]
    for mask, (x1, y1, x2, y2) in zip(mask_probs, boxes.round().long().tolist(), strict=True):
        down = resize_matrix(height, max(y2 - y1, 0), mask)
        across = resize_matrix(width, max(x2 - x1, 0), mask)
        yield down @ mask @ across.T, (x1, y1)


def _fill_enlarged(mask_probs: Tensor, boxes: Tensor) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Each mask with a border of zeros resized to its enlarged box, in torchvision's order."""
    factor = (mask_probs.shape[-1] + 2) / mask_probs.shape[-1]
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    half_width, half_height = (x2 - x1) * 0.5 * factor, (y2 - y1) * 0.5 * factor
    x, y = (x2 + x1) * 0.5, (y2 + y1) * 0.5
    enlarged = torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), 1)
    padded = F.pad(mask_probs, (1, 1, 1, 1))
    for mask, (left, top, right, bottom) in zip(padded, enlarged.long().tolist(), strict=True):
        size = max(bottom - top + 1, 1), max(right - left + 1, 1)
        resized = F.interpolate(mask[None, None], size, mode="bilinear", align_corners=False)
        yield resized[0, 0], (left, top)
