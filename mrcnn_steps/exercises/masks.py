"""Exercises of lesson 07: how masks are taught, chosen and put into the photo."""

from typing import Any

import torch
from torch import tensor

from mrcnn_steps import boxes as box_stage
from mrcnn_steps import masks as stage
from mrcnn_steps.data import Sample
from mrcnn_steps.exercises import pictures
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating
from mrcnn_steps.exercises.rpn_targets import have_area
from mrcnn_steps.mini_masks import boxes_from_masks

LESSON = "07_masks"


def mask_targets(masks, rois, gt_index, size):
    from torchvision.ops import roi_align

    own = masks[gt_index].float()[:, None]
    image_of_roi = torch.arange(len(rois))[:, None]
    return roi_align(own, torch.cat((image_of_roi, rois), dim=1), size)[:, 0]


def roi_in_mini_mask(rois, gt_boxes, size):
    origin = gt_boxes[:, :2].repeat(1, 2)
    extent = (gt_boxes[:, 2:] - gt_boxes[:, :2]).repeat(1, 2)
    return (rois - origin) / extent * size


def select_class_mask(mask_logits, labels):
    rows = torch.arange(len(labels))
    return torch.sigmoid(mask_logits[rows, labels])


def paste_mask(probs, box, image_size):
    height, width = image_size
    x1, y1, x2, y2 = box.long().tolist()
    resized = torch.nn.functional.interpolate(
        probs[None, None], (y2 - y1, x2 - x1), mode="bilinear", align_corners=False
    )[0, 0]
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    mask = torch.zeros(height, width, dtype=torch.bool)
    if left < right and top < bottom:
        mask[top:bottom, left:right] = (
            resized[top - y1 : bottom - y1, left - x1 : right - x1] >= 0.5
        )
    return mask


def _targets_fair(masks, rois, gt_index, size):
    if size < 1 or not have_area(rois) or not _below(gt_index, len(masks)):
        return False
    limit = tensor([masks.shape[2], masks.shape[1]] * 2)
    return bool((rois >= 0).all() and (rois <= limit).all())


def _below(index, count):
    return not len(index) or 0 <= int(index.min()) <= int(index.max()) < count


def _targets(masks, rois, gt_index, size):
    return stage.mask_targets(masks, boxes_from_masks(masks), rois, gt_index, size)


def _targets_wrong(masks, rois, gt_index, size, way):
    from torchvision.ops import roi_align

    own = masks[gt_index].float()[:, None]
    if way == "row order" and len(masks):
        own = masks[torch.arange(len(rois)) % len(masks)].float()[:, None]
    boxes = rois[:, [1, 0, 3, 2]] if way == "swapped" else rois
    if way == "gt box":
        boxes = boxes_from_masks(masks)[gt_index]
    if way == "resized":
        boxes = boxes.new_tensor([[0, 0, masks.shape[2], masks.shape[1]]]).repeat(len(rois), 1)
    boxes = torch.cat((torch.arange(len(boxes))[:, None], boxes), dim=1)
    targets = roi_align(own, boxes, size, aligned=way == "aligned")[:, 0]
    return (targets > 0.5).float() if way == "rounded" else targets


def _random_targets(dice: Dice, rows: int):
    side = 4 + rows
    masks = torch.stack([dice.mask(side, side + 1) for _ in range(dice.integer(1, 3))])
    rois = dice.boxes(rows, extent=side)
    return masks, rois, dice.integers((rows,), 0, len(masks) - 1), dice.integer(1, 4)


def _photo_targets(sample: Sample):
    rows = torch.arange(len(sample.boxes))
    width_height = tensor(sample.image.shape[1:]).flip(0).repeat(2)
    rois = torch.minimum((sample.boxes + tensor([-9.0, -4, 6, 8])).clamp(min=0), width_height)
    return sample.masks_or_rectangles(), rois, rows, 28


def _framed(rois, gt_boxes, size):
    """Give the reference: deltas between two boxes are the same in every frame."""
    frames = tensor([[0.0, 0, size, size]]).repeat(len(rois), 1)
    return box_stage.decode(box_stage.encode(rois, gt_boxes), frames)


def _frame_wrong(rois, gt_boxes, size, way):
    origin, extent = gt_boxes[:, :2].repeat(1, 2), gt_boxes[:, 2:] - gt_boxes[:, :2]
    if way == "origin":
        origin = origin * 0
    if way == "roi size":
        extent = rois[:, 2:] - rois[:, :2]
    if way == "swapped":
        extent = extent.flip(1)
    return (rois - origin) / extent.repeat(1, 2) * (1 if way == "fractions" else size)


def _select(mask_logits, labels):
    return stage.class_probs(mask_logits, labels)


def _pasted(probs, box, image_size):
    """Give the reference: onto a canvas so large that the box lies in it, then cut to the photo."""
    height, width = image_size
    x1, y1, x2, y2 = box.long().tolist()
    canvas = torch.zeros(height + 2 * 64, width + 2 * 64)
    canvas[64 + y1 : 64 + y2, 64 + x1 : 64 + x2] = _resize(probs, y2 - y1, x2 - x1)
    return canvas[64 : 64 + height, 64 : 64 + width] >= 0.5


def _resize(probs, height, width, **how):
    settings: dict[str, Any] = {"mode": "bilinear", "align_corners": False} | how
    return torch.nn.functional.interpolate(probs[None, None], (height, width), **settings)[0, 0]


def _paste_fair(probs, box, image_size):
    height, width = image_size
    x1, y1, x2, y2 = box.tolist()
    if not (-64 <= x1 < x2 <= width + 64 and -64 <= y1 < y2 <= height + 64) or min(image_size) < 1:
        return False
    if not (box == box.round()).all():
        return False
    # Values this near to the threshold are decided by rounding.
    return not bool(((_resize(probs, int(y2 - y1), int(x2 - x1)) - 0.5).abs() < 1e-5).any())


def _paste_wrong(probs, box, image_size, way):
    if way == "swapped":
        box = box[[1, 0, 3, 2]]
    if way == "plus one":
        box = box + tensor([0, 0, 1.0, 1])
    if way == "clipped first":
        height, width = image_size
        box = torch.minimum(box.clamp(min=0), tensor([width, height, width, height]))
        if not have_area(box[None]):
            return torch.zeros(image_size, dtype=torch.bool)
    x1, y1, x2, y2 = box.long().tolist()
    ways: dict[str, dict[str, Any]] = {
        "aligned": {"align_corners": True},
        "nearest": {"mode": "nearest", "align_corners": None},
    }
    if way == "binary first":
        probs = (probs >= 0.5).float()
    canvas = torch.zeros(image_size[0] + 160, image_size[1] + 160)
    resized = _resize(probs, y2 - y1, x2 - x1, **ways.get(way, {}))
    canvas[80 + y1 : 80 + y2, 80 + x1 : 80 + x2] = resized
    return canvas[80 : 80 + image_size[0], 80 : 80 + image_size[1]] >= 0.5


def _random_paste(dice: Dice, rows: int):
    probs = dice.numbers((2 + rows % 3, 2 + rows % 2), 0, 1)
    return probs, dice.boxes(1, extent=3 + 2 * rows)[0] - 1, (2 + rows, 3 + rows)


def _photo_paste(sample: Sample):
    index = tensor([0])
    probs = stage.mask_targets(
        sample.masks_or_rectangles(), sample.boxes, sample.boxes[index], index
    )[0]
    return 0.07 + 0.9 * probs, sample.boxes[0], tuple(sample.image.shape[1:])


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="What the mask head should say (Mask R-CNN §3.1). masks: bool [G, H, W], the objects; "
        "rois: float [R, 4]; gt_index: int [R], the object of each RoI; size: int. Cut each RoI "
        "out of its object's mask with torchvision.ops.roi_align (default settings). Return float "
        "[R, size, size] in 0…1.",
        solution=mask_targets,
        rating=Rating(difficulty=4, importance=5, minutes=20),
        reference=_targets,
        shapes={"masks": "G H W", "rois": "R 4", "gt_index": "R"},
        returns={"targets": "R size size"},
        fair=_targets_fair,
        why="The target is seen from the RoI, not from the object: a proposal that cuts off the "
        "head must learn a mask without head.",
        hints=(
            "masks[gt_index] puts the right mask beside every RoI.",
            "roi_align wants float [batch, channel, H, W]: .float()[:, None].",
            "roi_align takes boxes [R, 5] whose first column is the image of the batch: here "
            "RoI i is cut from image i, torch.arange(R).",
        ),
        mistakes=(
            Mistake(
                "you ignored gt_index",
                "Several RoIs share an object, and they come in any order: masks[gt_index].",
                lambda masks, rois, gt_index, size: _targets_wrong(
                    masks, rois, gt_index, size, "row order"
                ),
            ),
            Mistake(
                "you resized the whole mask",
                "The target covers the RoI only.",
                lambda masks, rois, gt_index, size: _targets_wrong(
                    masks, rois, gt_index, size, "resized"
                ),
            ),
            Mistake(
                "you swapped x and y",
                "roi_align takes boxes as (x1, y1, x2, y2), as they are.",
                lambda masks, rois, gt_index, size: _targets_wrong(
                    masks, rois, gt_index, size, "swapped"
                ),
            ),
            Mistake(
                "you cut to the object's box",
                "The mask head sees the features of the RoI, so its target must lie in the RoI.",
                lambda masks, rois, gt_index, size: _targets_wrong(
                    masks, rois, gt_index, size, "gt box"
                ),
            ),
            Mistake(
                "you used aligned=True",
                "Half a pixel off from what the features are pooled with: torchvision's R-CNNs use "
                "aligned=False for both.",
                lambda masks, rois, gt_index, size: _targets_wrong(
                    masks, rois, gt_index, size, "aligned"
                ),
            ),
            Mistake(
                "you rounded the target",
                "The notes do; torchvision keeps the soft values at the outline.",
                lambda masks, rois, gt_index, size: _targets_wrong(
                    masks, rois, gt_index, size, "rounded"
                ),
            ),
        ),
        edge_cases=(
            (
                tensor([[[True, False, False], [True, True, False]]]),
                tensor([[0.0, 0, 3, 2]]),
                tensor([0]),
                2,
            ),
            (
                tensor([[[True, False], [False, False]], [[True, True], [True, False]]]),
                tensor([[0.0, 0, 2, 2], [0, 0, 1, 2]]),
                tensor([1, 1]),
                1,
            ),
            (
                torch.ones(1, 2, 2, dtype=torch.bool),
                torch.zeros(0, 4),
                torch.zeros(0, dtype=torch.int64),
                2,
            ),
        ),
        random=_random_targets,
        photo=_photo_targets,
        picture=pictures.grids,
    ),
    Exercise(
        lesson=LESSON,
        task="The notes cut targets from mini-masks. A mini-mask of size × size covers its "
        "object's box. rois, gt_boxes: float [R, 4] in pixels of the image, row by row; size: int. "
        "Return float [R, 4]: the RoIs in pixels of the mini-mask; an RoI equal to its gt_box "
        "becomes (0, 0, size, size).",
        solution=roi_in_mini_mask,
        rating=Rating(difficulty=2, importance=2, minutes=10),
        reference=_framed,
        shapes={"rois": "R 4", "gt_boxes": "R 4"},
        returns={"rois": "R 4"},
        tolerance=1e-3,
        fair=lambda rois, gt_boxes, size: size > 0 and have_area(gt_boxes, rois),
        why="Parts of an RoI that lie outside its object come out below 0 or above size: zeros "
        "there.",
        hints=(
            "Where is the point (x1, y1) of the object's box in the mini-mask? At (0, 0).",
            "Subtract the corner, divide by the width or height, multiply by size.",
            "gt_boxes[:, :2].repeat(1, 2) is (x1, y1, x1, y1): good for both corners.",
        ),
        mistakes=(
            Mistake(
                "you forgot the object's corner",
                "The mini-mask begins at the corner of the object's box: subtract it first.",
                lambda rois, gt_boxes, size: _frame_wrong(rois, gt_boxes, size, "origin"),
            ),
            Mistake(
                "you divided by the size of the RoI",
                "The mini-mask is stretched over the object's box, so its width and height count.",
                lambda rois, gt_boxes, size: _frame_wrong(rois, gt_boxes, size, "roi size"),
            ),
            Mistake(
                "you stopped at fractions",
                "0…1 of the box is 0…size in pixels of the mini-mask.",
                lambda rois, gt_boxes, size: _frame_wrong(rois, gt_boxes, size, "fractions"),
            ),
            Mistake(
                "you swapped width and height",
                "x is divided by the width, y by the height.",
                lambda rois, gt_boxes, size: _frame_wrong(rois, gt_boxes, size, "swapped"),
            ),
        ),
        edge_cases=(
            (tensor([[2.0, 2, 4, 6]]), tensor([[2.0, 2, 4, 6]]), 8),
            (tensor([[0.0, 0, 2, 2]]), tensor([[0.0, 0, 4, 2]]), 4),
            (tensor([[1.0, 1, 3, 4]]), tensor([[2.0, 0, 4, 4]]), 4),
            (torch.zeros(0, 4), torch.zeros(0, 4), 4),
        ),
        random=lambda dice, rows: (dice.boxes(rows), dice.boxes(rows), dice.integer(2, 28)),
        photo=lambda sample: (sample.boxes + tensor([-9.0, -4, 6, 8]), sample.boxes, 56),
        picture=pictures.boxes,
    ),
    Exercise(
        lesson=LESSON,
        task="The mask of each detection's own class. mask_logits: float [D, C, h, w]; labels: int "
        "[D]. Return float [D, h, w], probabilities: the sigmoid of the logits of that class.",
        solution=select_class_mask,
        rating=Rating(difficulty=1, importance=5, minutes=5),
        reference=_select,
        shapes={"mask_logits": "D C h w", "labels": "D"},
        returns={"probs": "D h w"},
        tolerance=1e-5,
        fair=lambda mask_logits, labels: _below(labels, mask_logits.shape[1]),
        why="Masks of different classes do not compete: each has its sigmoid (Mask R-CNN §3).",
        hints=(
            "torch.arange(D) and labels as two indices pick one mask for each detection.",
            "mask_logits[rows, labels] has the shape [D, h, w].",
            "Logits become probabilities through torch.sigmoid.",
        ),
        mistakes=(
            Mistake(
                "you returned logits",
                "Probabilities lie in 0…1: apply the sigmoid.",
                lambda mask_logits, labels: mask_logits[torch.arange(len(labels)), labels],
            ),
            Mistake(
                "the classes compete in your softmax",
                "Each class has its own yes or no: a sigmoid.",
                lambda mask_logits, labels: mask_logits.softmax(dim=1)[
                    torch.arange(len(labels)), labels
                ],
            ),
            Mistake(
                "your class is one off",
                "Column 0 is the background, column 1 is class 1: no − 1.",
                lambda mask_logits, labels: _select(mask_logits, (labels - 1).clamp(min=0)),
            ),
            Mistake(
                "you took the strongest class of each pixel",
                "The box head has chosen the class already; take that one's mask.",
                lambda mask_logits, labels: mask_logits.amax(dim=1).sigmoid(),
            ),
        ),
        edge_cases=(
            (tensor([[[[0.0]], [[2.0]]]]), tensor([1])),
            (tensor([[[[1.0, -1.0]], [[3.0, 0.0]], [[-2.0, 2.0]]]]), tensor([2])),
            (torch.zeros(0, 3, 2, 2), torch.zeros(0, dtype=torch.int64)),
        ),
        random=lambda dice, rows: (
            dice.numbers((rows, 3, 2, 2), -4, 4),
            dice.integers((rows,), 1, 2),
        ),
        photo=lambda sample: (
            Dice(0).numbers((len(sample.labels), 81, 28, 28), -4, 4),
            sample.labels,
        ),
        picture=pictures.grids,
    ),
    Exercise(
        lesson=LESSON,
        task="Put one mask into the photo. probs: float [h, w]; box: float [4], whole pixels, and "
        "perhaps partly outside; image_size: (height, width). Resize probs bilinearly "
        "(align_corners=False) to the box. Return bool [height, width]: True where that is ≥ 0.5.",
        solution=paste_mask,
        rating=Rating(difficulty=4, importance=4, minutes=25),
        reference=_pasted,
        shapes={"probs": "h w", "box": "4"},
        returns={"mask": "height width"},
        fair=_paste_fair,
        why="Threshold last: a mask that is made binary before it is enlarged gets stairs.",
        hints=(
            "Resize to (y2 − y1, x2 − x1) first, as if the photo were unlimited.",
            "Then copy only the part that lies in the photo.",
            "If x1 is −3, the first 3 columns of the resized mask fall off: "
            "resized[:, left - x1 : right - x1] with left = max(x1, 0).",
        ),
        mistakes=(
            Mistake(
                "you swapped x and y",
                "mask[y1:y2, x1:x2]: rows come first.",
                lambda probs, box, image_size: _paste_wrong(probs, box, image_size, "swapped"),
            ),
            Mistake(
                "your mask is one pixel too large",
                "The width of the box is x2 − x1, without + 1.",
                lambda probs, box, image_size: _paste_wrong(probs, box, image_size, "plus one"),
            ),
            Mistake(
                "you clipped the box before resizing",
                "The mask was made for the whole box: resize to it first, then cut off what lies "
                "outside, or the object is squeezed.",
                lambda probs, box, image_size: _paste_wrong(
                    probs, box, image_size, "clipped first"
                ),
            ),
            Mistake(
                "you aligned the corners",
                "align_corners=True stretches the mask by half a sample on every side.",
                lambda probs, box, image_size: _paste_wrong(probs, box, image_size, "aligned"),
            ),
            Mistake(
                "you made the mask binary before resizing",
                "Resize the probabilities, then compare: the outline stays smooth.",
                lambda probs, box, image_size: _paste_wrong(probs, box, image_size, "binary first"),
            ),
            Mistake(
                "you took the nearest sample",
                "Bilinear, or the outline has stairs of the mask's own samples.",
                lambda probs, box, image_size: _paste_wrong(probs, box, image_size, "nearest"),
            ),
        ),
        edge_cases=(
            (tensor([[1.0]]), tensor([1.0, 0, 3, 1]), (2, 4)),
            (tensor([[0.9, 0.2], [0.7, 0.4]]), tensor([0.0, 0, 4, 3]), (4, 5)),
            (tensor([[0.9, 0.2]]), tensor([-2.0, 0, 3, 1]), (2, 4)),
            (tensor([[1.0]]), tensor([2.0, 1, 6, 5]), (3, 4)),
            (tensor([[1.0]]), tensor([8.0, 8, 9, 9]), (3, 4)),
        ),
        random=_random_paste,
        photo=_photo_paste,
        picture=pictures.grids,
    ),
)
