"""Exercises of lesson 01: boxes from masks, mini-masks, letterboxing."""

from typing import Any

import torch
from torch import tensor

from mrcnn_steps import mini_masks as stage
from mrcnn_steps.data import Letterbox, Sample
from mrcnn_steps.exercises import pictures
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating

LESSON = "01_mini_masks"


def box_from_mask(mask):
    y, x = mask.nonzero(as_tuple=True)
    if len(y) == 0:
        return torch.zeros(4)
    return torch.stack((x.min(), y.min(), x.max() + 1, y.max() + 1)).float()


def shrink(mask, box, size):
    x1, y1, x2, y2 = box.long().tolist()
    crop = mask[y1:y2, x1:x2].float()
    return torch.nn.functional.interpolate(
        crop[None, None], (size, size), mode="bilinear", align_corners=False
    )[0, 0]


def mask_iou(mask1, mask2):
    intersection = (mask1 & mask2).sum()
    union = (mask1 | mask2).sum()
    return intersection / union if union > 0 else torch.tensor(1.0)


def letterbox_boxes(boxes, photo_size, size):
    height, width = photo_size
    scale = size / max(height, width)
    new_height, new_width = round(height * scale), round(width * scale)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    stretch = torch.tensor([new_width / width, new_height / height]).repeat(2)
    return boxes * stretch + torch.tensor([left, top, left, top])


def _box_in_pixels(mask, box, size):
    """Tell whether the box has pixels, and lies in the mask."""
    x1, y1, x2, y2 = box.tolist()
    whole = bool((box == box.round()).all())
    return whole and 0 <= x1 < x2 <= mask.shape[1] and 0 <= y1 < y2 <= mask.shape[0] and size > 0


def _letterboxed(boxes, photo_size, size):
    """Give the reference: the data package's letterbox, which needs no pixels for its boxes."""
    height, width = photo_size
    scale = size / max(height, width)
    new_height, new_width = (max(1, round(side * scale)) for side in photo_size)
    x1, y1 = (size - new_width) // 2, (size - new_height) // 2
    window = (x1, y1, x1 + new_width, y1 + new_height)
    return Letterbox(torch.zeros(3, size, size), window, scale, (height, width)).boxes(boxes)


def _letterbox_fair(boxes, photo_size, size):
    """No side falls between two whole pixels, where rounding is a matter of taste."""
    scaled = [side * size / max(photo_size) for side in photo_size]
    return size > 0 and all(s >= 1 and abs(s % 1 - 0.5) > 1e-6 for s in scaled)


def _letterbox_wrong(boxes, photo_size, size, pad=True, swap=False, stretch=False, exact=False):
    height, width = photo_size[::-1] if swap else photo_size
    scale = size / max(height, width)
    scale_x, scale_y = (size / width, size / height) if stretch else (scale, scale)
    if not stretch and not exact:
        scale_x, scale_y = round(width * scale) / width, round(height * scale) / height
    left = (size - round(width * scale)) // 2 if pad else 0
    top = (size - round(height * scale)) // 2 if pad else 0
    return boxes * tensor([scale_x, scale_y] * 2) + tensor([left, top, left, top])


def _resize(crop, size, **how):
    settings: dict[str, Any] = {"mode": "bilinear", "align_corners": False} | how
    return torch.nn.functional.interpolate(crop[None, None].float(), (size, size), **settings)[0, 0]


def _crop(mask, x1, y1, x2, y2):
    """Cut a crop that is never empty, so that a wrong box still gives some picture."""
    x1, y1 = min(x1, mask.shape[1] - 1), min(y1, mask.shape[0] - 1)
    return mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]


def _shrink_wrong(mask, box, size, change):
    return _resize(_crop(mask, *change(*box.long().tolist())), size)


def _random_shrink(dice: Dice, rows: int):
    side = 3 + 2 * rows
    return dice.mask(side, side + 1), dice.boxes(1, extent=side)[0], dice.integer(1, 8)


def _random_masks(dice: Dice, rows: int):
    return dice.mask(rows + 1, rows + 2), dice.mask(rows + 1, rows + 2)


def _photo_masks(sample: Sample):
    masks = sample.masks_or_rectangles()
    return masks[0] | masks[-1], masks[-1]


def _photo_object(sample: Sample):
    """Take the largest object of the photo."""
    masks = sample.masks_or_rectangles()
    row = int(masks.flatten(1).sum(dim=1).argmax())
    return masks[row], sample.boxes[row]


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="The tight box around one object. mask: bool [H, W]. Return float [4], "
        "(x1, y1, x2, y2) in pixels; x2 and y2 are exclusive, so that x2 − x1 is the width. "
        "An empty mask gives four zeros.",
        solution=box_from_mask,
        rating=Rating(difficulty=1, importance=4, minutes=5),
        reference=lambda mask: stage.boxes_from_masks(mask[None])[0],
        shapes={"mask": "H W"},
        returns={"box": "4"},
        why="Boxes computed from masks stay right whatever is done to the image.",
        hints=(
            "Which rows of the mask contain a True, and which columns?",
            "mask.nonzero(as_tuple=True) gives the row (y) and column (x) of every True.",
            "A single pixel in column 3 has the box x1 = 3, x2 = 4. With no pixel at all there "
            "is no smallest column: look at that case first.",
        ),
        mistakes=(
            Mistake(
                "x2 and y2 are one too small",
                "The last pixel belongs to the object; x2 is exclusive, one past it. With x2 = "
                "the last column, a mask one pixel wide would get a box without width.",
                lambda mask: box_from_mask(mask) - tensor([0, 0, 1.0, 1]) * mask.any(),
            ),
            Mistake(
                "you swapped x and y",
                "nonzero gives rows first, and a row is a y. The box begins with x1, the first "
                "column.",
                lambda mask: box_from_mask(mask)[[1, 0, 3, 2]],
            ),
            Mistake(
                "you returned (x, y, width, height)",
                "That is how COCO's files write boxes. Here the last two numbers are a corner.",
                lambda mask: torch.cat(
                    (box_from_mask(mask)[:2], box_from_mask(mask)[2:] - box_from_mask(mask)[:2])
                ),
            ),
            Mistake(
                "an empty mask should give four zeros",
                "An object that was cropped away completely leaves an empty mask. Its box has no "
                "size; it is not the box of the whole image.",
                lambda mask: (
                    box_from_mask(mask)
                    if mask.any()
                    else tensor([0.0, 0, mask.shape[1], mask.shape[0]])
                ),
                alone=lambda mask: not mask.any(),
            ),
        ),
        edge_cases=(
            (tensor([[False, False, False], [False, True, False]]),),
            (tensor([[True, True], [True, True], [True, True]]),),
            (tensor([[False, True, False, True], [False, False, False, False]]),),
            (torch.zeros(2, 3, dtype=torch.bool),),
        ),
        random=lambda dice, rows: (dice.mask(rows + 1, rows + 2),),
        photo=lambda sample: _photo_object(sample)[:1],
        picture=pictures.boxes,
    ),
    Exercise(
        lesson=LESSON,
        task="The mini-mask of one object before its threshold: cut the mask to its box and "
        "resize the crop bilinearly. mask: bool [H, W]; box: float [4], whole pixels inside the "
        "mask; size: int. Return float [size, size] in 0…1; pixel centers lie at half pixels "
        "(align_corners=False).",
        solution=shrink,
        rating=Rating(difficulty=2, importance=4, minutes=10),
        reference=lambda mask, box, size: _resize(
            mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])], size
        ),
        shapes={"mask": "H W", "box": "4"},
        returns={"mini_mask": "size size"},
        fair=_box_in_pixels,
        why="Above one half is the mini-mask. 56×56 needs 3 kB where the full mask needs 1 MB.",
        hints=(
            "Two steps: crop, then resize.",
            "A tensor is indexed [row, column], that is [y, x].",
            "torch.nn.functional.interpolate wants float [batch, channel, H, W]: "
            "crop.float()[None, None].",
        ),
        mistakes=(
            Mistake(
                "you swapped x and y in the crop",
                "The first index of a mask is the row, y: mask[y1:y2, x1:x2].",
                lambda mask, box, size: _shrink_wrong(
                    mask, box, size, lambda x1, y1, x2, y2: (y1, x1, y2, x2)
                ),
            ),
            Mistake(
                "you resized the whole mask",
                "A mini-mask is a picture of the box only, or a small object would be a few "
                "pixels in it. Crop first.",
                lambda mask, box, size: _resize(mask, size),
            ),
            Mistake(
                "your crop is one pixel too large",
                "x2 and y2 are exclusive already, as the end of a Python slice is: no + 1.",
                lambda mask, box, size: _shrink_wrong(
                    mask, box, size, lambda x1, y1, x2, y2: (x1, y1, x2 + 1, y2 + 1)
                ),
            ),
            Mistake(
                "you aligned the corners",
                "align_corners=True puts the outermost samples on the centers of the outermost "
                "pixels and stretches the object.",
                lambda mask, box, size: _resize(
                    _crop(mask, *box.long().tolist()), size, align_corners=True
                ),
            ),
            Mistake(
                "you cut the values off at one half",
                "A value between 0 and 1 tells how much of its cell is object, and float is asked; "
                "the threshold comes when the mask is needed again.",
                lambda mask, box, size: (
                    _resize(_crop(mask, *box.long().tolist()), size) >= 0.5
                ).float(),
            ),
            Mistake(
                "you took the nearest pixel",
                "Bilinear: a sample between four pixels mixes all four, and the outline is kept "
                "to a fraction of a pixel.",
                lambda mask, box, size: _resize(
                    _crop(mask, *box.long().tolist()), size, mode="nearest", align_corners=None
                ),
                also=(
                    lambda mask, box, size: _resize(
                        _crop(mask, *box.long().tolist()),
                        size,
                        mode="nearest-exact",
                        align_corners=None,
                    ),
                ),
            ),
        ),
        edge_cases=(
            (tensor([[True, False], [False, False]]), tensor([0.0, 0, 2, 1]), 3),
            (tensor([[False] * 4, [False, True, True, False]]), tensor([1.0, 0, 4, 2]), 2),
            (tensor([[True, False, True]]), tensor([0.0, 0, 1, 1]), 4),
        ),
        random=_random_shrink,
        photo=lambda sample: (*_photo_object(sample), 56),
        picture=pictures.grids,
    ),
    Exercise(
        lesson=LESSON,
        task="How much two masks agree: IoU = pixels in both / pixels in at least one. mask1, "
        "mask2: bool [H, W]. Return one float in 0…1; two empty masks agree completely: 1.",
        solution=mask_iou,
        rating=Rating(difficulty=1, importance=5, minutes=5),
        reference=lambda mask1, mask2: stage.mask_iou(mask1[None], mask2[None])[0],
        shapes={"mask1": "H W", "mask2": "H W"},
        returns={"iou": ""},
        why="IoU counts neither the many pixels that are in neither mask, nor twice those in both.",
        hints=(
            "& and | work pixel by pixel on bool tensors.",
            "Count with .sum(); the union is (mask1 | mask2).sum().",
            "When both are empty you would divide 0 by 0: return 1 before that.",
        ),
        mistakes=(
            Mistake(
                "you divided by the sum of both areas",
                "Pixels in both masks are counted twice in area1 + area2; subtract the "
                "intersection once.",
                lambda mask1, mask2: (
                    (mask1 & mask2).sum() / (mask1.sum() + mask2.sum())
                    if (mask1 | mask2).any()
                    else 1.0
                ),
            ),
            Mistake(
                "you computed Dice, 2·intersection / (area1 + area2)",
                "A good measure too, but another one: IoU divides by the union.",
                lambda mask1, mask2: (
                    2 * (mask1 & mask2).sum() / (mask1.sum() + mask2.sum())
                    if (mask1 | mask2).any()
                    else 1.0
                ),
            ),
            Mistake(
                "you counted the pixels that are in neither mask",
                "Most of a photo is background in both masks; counting it as agreement makes "
                "every pair look good.",
                lambda mask1, mask2: (mask1 == mask2).float().mean(),
            ),
            Mistake(
                "you divided by the area of one mask",
                "Then a mask that covers the whole photo would be perfect. Divide by the union.",
                lambda mask1, mask2: (mask1 & mask2).sum() / mask1.sum() if mask1.any() else 1.0,
            ),
            Mistake(
                "you divided by the area of the smaller mask",
                "Then a single pixel inside of the object would be perfect. Divide by the union.",
                lambda mask1, mask2: (mask1 & mask2).sum() / min(mask1.sum(), mask2.sum()),
                also=(
                    lambda mask1, mask2: (
                        (mask1 & mask2).sum() / min(mask1.sum(), mask2.sum())
                        if mask1.any() and mask2.any()
                        else 1.0
                    ),
                ),
            ),
            Mistake(
                "two empty masks should give 1",
                "They are equal. 0 / 0 is NaN, and one NaN spoils every mean.",
                lambda mask1, mask2: (mask1 & mask2).sum() / (mask1 | mask2).sum(),
                alone=lambda mask1, mask2: not (mask1 | mask2).any(),
            ),
        ),
        edge_cases=(
            (tensor([[True, True, False]]), tensor([[False, True, True]])),
            (tensor([[True, False]]), tensor([[False, True]])),
            (tensor([[True, False]]), tensor([[True, False]])),
            (tensor([[True, True]]), tensor([[False, True]])),
            (torch.zeros(1, 2, dtype=torch.bool), torch.zeros(1, 2, dtype=torch.bool)),
        ),
        random=_random_masks,
        photo=_photo_masks,
        tolerance=1e-5,
    ),
    Exercise(
        lesson=LESSON,
        task="Where boxes of a photo lie after letterboxing it into a square. boxes: [N, 4] in "
        "pixels of the photo; photo_size: (height, width); size: side of the square. The photo is "
        "scaled by size / longer side, each side is rounded to whole pixels, and it is centered: "
        "its offset is (size − new side) // 2. Return float [N, 4]; use the ratio that each side "
        "really has after rounding.",
        solution=letterbox_boxes,
        rating=Rating(difficulty=3, importance=3, minutes=15),
        reference=_letterboxed,
        shapes={"boxes": "N 4"},
        returns={"boxes": "N 4"},
        tolerance=1e-3,
        fair=_letterbox_fair,
        why="What is done to the image is done to its boxes, or the network learns it wrong.",
        hints=(
            "First the new height and width of the photo, then where its corner lies.",
            "A box is scaled first and moved afterwards.",
            "x is scaled by new_width / width, y by new_height / height; then add left and top.",
        ),
        mistakes=(
            Mistake(
                "you forgot the padding",
                "The photo is centered in the square: everything moves by the width of the border.",
                lambda boxes, photo_size, size: _letterbox_wrong(
                    boxes, photo_size, size, pad=False
                ),
            ),
            Mistake(
                "you swapped height and width",
                "Image sizes are (height, width), but a box begins with x, which belongs to the "
                "width.",
                lambda boxes, photo_size, size: _letterbox_wrong(
                    boxes, photo_size, size, swap=True
                ),
            ),
            Mistake(
                "you stretched the photo over the square",
                "Letterboxing keeps the aspect ratio: both sides are scaled by size / longer side.",
                lambda boxes, photo_size, size: _letterbox_wrong(
                    boxes, photo_size, size, pad=False, stretch=True
                ),
            ),
            Mistake(
                "you used one scale for both sides",
                "The sides were rounded to whole pixels, so the ratios differ a little: "
                "new_width / width is not exactly size / longer side.",
                lambda boxes, photo_size, size: _letterbox_wrong(
                    boxes, photo_size, size, exact=True
                ),
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0, 4, 2]]), (2, 4), 4),
            (tensor([[0.0, 0, 2, 4]]), (4, 2), 8),
            (tensor([[1.0, 1, 2, 3], [0, 0, 3, 3]]), (5, 3), 12),
            (torch.zeros(0, 4), (3, 5), 8),
        ),
        random=lambda dice, rows: (
            dice.boxes(rows),
            (dice.integer(3, 24), dice.integer(3, 24)),
            dice.integer(8, 64),
        ),
        photo=lambda sample: (sample.boxes, tuple(sample.image.shape[1:]), 1024),
        picture=pictures.boxes,
    ),
)
