"""Exercises of lesson 08: who suppressed a box, and which threshold spares it."""

import torch
from torch import tensor
from torchvision.ops import box_iou
from torchvision.ops import nms as torchvision_nms

from mrcnn_steps import nms as stage
from mrcnn_steps.data import Sample
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating
from mrcnn_steps.exercises.proposals import distinct, photo_candidates
from mrcnn_steps.exercises.rpn_targets import have_area, iou
from mrcnn_steps.exercises.suppression import clear_of, iou_threshold, nearby_boxes, nms

LESSON = "08_why_missed"


def find_suppressor(boxes, scores, threshold, row):
    kept = nms(boxes, scores, threshold)
    if (kept == row).any():
        return -1
    overlap = iou(boxes[row][None], boxes)[0]
    for other in kept.tolist():
        if scores[other] > scores[row] and overlap[other] > threshold:
            return other


def smallest_threshold(boxes, scores, row):
    overlap = iou(boxes[row][None], boxes)[0]
    better = overlap[scores > scores[row]]
    for threshold in [0.0, *better.sort().values.tolist()]:
        if (nms(boxes, scores, threshold) == row).any():
            return threshold


def _reference_suppressor(boxes, scores, threshold, row):
    kept = torchvision_nms(boxes, scores, threshold)
    if bool((kept == row).any()):
        return -1
    return stage.suppressor(boxes, scores, row, kept, threshold)


def _suppressor_wrong(boxes, scores, threshold, row, way):
    kept = torchvision_nms(boxes, scores, threshold)
    if bool((kept == row).any()):
        return row if way == "itself" else -1
    overlap = box_iou(boxes[row][None], boxes)[0]
    over = (overlap > threshold) & (scores > scores[row])
    rivals = torch.arange(len(boxes)) if way == "of all" else kept.sort().values
    rivals = rivals[over[rivals]]
    return int(rivals[(overlap if way == "nearest" else scores)[rivals].argmax()])


def _valid_row(boxes, row):
    return 0 <= row < len(boxes)


def _random_suppressed(dice: Dice, rows: int):
    boxes = nearby_boxes(dice, rows + 1)
    return boxes, dice.distinct(rows + 1), iou_threshold(dice), dice.integer(0, rows)


def _photo_suppressed(sample: Sample):
    boxes, scores = photo_candidates(sample, 150)
    near = ((box_iou(boxes, boxes) - 0.7).abs() < 1e-4).any(dim=1)
    boxes, scores = boxes[~near], scores[~near]
    kept = torchvision_nms(boxes, scores, 0.7)
    gone = torch.ones(len(boxes), dtype=torch.bool)
    gone[kept] = False
    return boxes, scores, 0.7, int(gone.nonzero()[0])


def _threshold_wrong(boxes, scores, row, way):
    overlap = box_iou(boxes[row][None], boxes)[0]
    overlap[row] = 0
    rivals = scores > (-1 if way == "all" else scores[row])
    if not bool(rivals.any()):
        return 0.0
    return float(overlap[rivals].min() if way == "least" else overlap[rivals].max())


def _clear_thresholds(boxes, scores, row):
    """Whether no two overlaps are so alike that rounding decides which is larger."""
    values = box_iou(boxes, boxes).unique()
    apart = (values[1:] - values[:-1]) > 1e-5
    return have_area(boxes) and distinct(scores) and _valid_row(boxes, row) and bool(apart.all())


def _reference_threshold(boxes, scores, row):
    """Try every IoU that there is: between two of them nothing changes."""
    values = [0.0, *box_iou(boxes, boxes).unique().tolist()]
    kept = (t for t in values if bool((torchvision_nms(boxes, scores, t) == row).any()))
    return tensor(next(kept))


def _photo_threshold(sample: Sample):
    boxes, scores, _, row = _photo_suppressed(sample)
    overlap = box_iou(boxes, boxes)
    near = overlap[row].argsort(descending=True)[:12]
    return boxes[near], scores[near], 0


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="Who suppressed this box? boxes: float [N, 4]; scores: float [N], all different; "
        "threshold: of the NMS; row: a box. Return int: the box of highest score that NMS keeps "
        "and whose IoU with the row is > threshold; −1 if NMS keeps the row itself. Your nms of "
        "lesson 04 is of use.",
        solution=find_suppressor,
        rating=Rating(difficulty=3, importance=4, minutes=15),
        uses=(iou, nms),
        reference=_reference_suppressor,
        shapes={"boxes": "N 4", "scores": "N"},
        returns={"suppressor": ""},
        fair=lambda boxes, scores, threshold, row: (
            have_area(boxes)
            and distinct(scores)
            and _valid_row(boxes, row)
            and clear_of(box_iou(boxes, boxes), threshold)
        ),
        why="The suppressor tells what to do: a worse box of the same object is harmless, another "
        "object's box is not.",
        hints=(
            "Run NMS first: only a box that it keeps can suppress.",
            "If the row is among the kept ones, there is no suppressor.",
            "nms returns the kept rows by falling score: the first that overlaps is the one.",
        ),
        mistakes=(
            Mistake(
                "you named the box that overlaps it most",
                "NMS goes by score: the surest kept box that overlaps it by more than the "
                "threshold came first.",
                lambda boxes, scores, threshold, row: _suppressor_wrong(
                    boxes, scores, threshold, row, "nearest"
                ),
            ),
            Mistake(
                "you named a box that was dropped itself",
                "What is dropped drops no other box: look among those that NMS keeps.",
                lambda boxes, scores, threshold, row: _suppressor_wrong(
                    boxes, scores, threshold, row, "of all"
                ),
            ),
            Mistake(
                "a kept box has no suppressor",
                "If NMS keeps the row, the answer is −1.",
                lambda boxes, scores, threshold, row: _suppressor_wrong(
                    boxes, scores, threshold, row, "itself"
                ),
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), tensor([0.25, 0.75]), 0.5, 0),
            (tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), tensor([0.25, 0.75]), 0.5, 1),
            (tensor([[0.0, 0, 2, 2], [5, 5, 7, 7]]), tensor([0.25, 0.75]), 0.5, 0),
            (
                tensor([[0.0, 0, 10, 1], [3, 0, 13, 1], [2, 0, 12, 1]]),
                tensor([0.75, 0.5, 0.25]),
                0.55,
                2,
            ),
            (
                tensor([[0.0, 0, 9, 1], [2, 0, 11, 1], [3, 0, 12, 1], [4, 0, 13, 1]]),
                tensor([0.9, 0.7, 0.5, 0.3]),
                0.5,
                3,
            ),
        ),
        random=_random_suppressed,
        photo=_photo_suppressed,
    ),
    Exercise(
        lesson=LESSON,
        task="The smallest NMS threshold that keeps a box. boxes: float [N, 4]; scores: float [N], "
        "all different; row: a box. Return a float: the smallest threshold, 0 or one of the IoUs "
        "with the row, with which your nms of lesson 04 keeps the row.",
        solution=smallest_threshold,
        rating=Rating(difficulty=4, importance=3, minutes=20),
        uses=(iou, nms),
        reference=_reference_threshold,
        shapes={"boxes": "N 4", "scores": "N"},
        returns={"threshold": ""},
        tolerance=1e-5,
        fair=_clear_thresholds,
        why="NMS is not monotone: with a lower threshold a suppressor may be suppressed itself. "
        "A remedy is proved by running again, not by a formula.",
        hints=(
            "A box is dropped if its IoU is > threshold: an IoU equal to it does no harm.",
            "Only the IoUs with surer boxes can matter. Try them in rising order, and 0 first.",
            "The largest IoU with a surer box is always enough, but a smaller one may be too: run "
            "nms and look.",
        ),
        mistakes=(
            Mistake(
                "you took the largest IoU with any surer box",
                "A surer box that is dropped itself does no harm: run nms with smaller ones too.",
                lambda boxes, scores, row: _threshold_wrong(boxes, scores, row, "most"),
            ),
            Mistake(
                "boxes of a lower score do no harm",
                "NMS goes down the scores: only surer boxes can drop the row.",
                lambda boxes, scores, row: _threshold_wrong(boxes, scores, row, "all"),
            ),
            Mistake(
                "you took the smallest IoU with a surer box",
                "Then the others still drop it.",
                lambda boxes, scores, row: _threshold_wrong(boxes, scores, row, "least"),
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0, 4, 4], [0, 0, 4, 3]]), tensor([0.75, 0.25]), 1),
            (tensor([[0.0, 0, 4, 4], [0, 0, 4, 3]]), tensor([0.75, 0.25]), 0),
            (
                tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [0, 0, 4, 1]]),
                tensor([0.75, 0.5, 0.25]),
                2,
            ),
            (tensor([[0.0, 0, 2, 2], [5, 5, 7, 7]]), tensor([0.75, 0.25]), 1),
        ),
        random=lambda dice, rows: (
            dice.boxes(rows + 1, extent=8, smallest=3),
            dice.distinct(rows + 1),
            dice.integer(0, rows),
        ),
        photo=_photo_threshold,
    ),
)
