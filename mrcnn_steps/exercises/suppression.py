"""Exercise of lesson 04: non-maximum suppression."""

import torch
from torch import tensor
from torchvision.ops import box_iou
from torchvision.ops import nms as torchvision_nms

from mrcnn_steps.data import Sample
from mrcnn_steps.exercises import pictures
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating
from mrcnn_steps.exercises.proposals import distinct, photo_candidates
from mrcnn_steps.exercises.rpn_targets import have_area, iou

LESSON = "04_proposals"


def nms(boxes, scores, threshold):
    overlap = iou(boxes, boxes)
    alive = torch.ones(len(boxes), dtype=torch.bool)
    kept = []
    for row in scores.argsort(descending=True).tolist():
        if alive[row]:
            kept.append(row)
            alive &= ~(overlap[row] > threshold)
    return torch.tensor(kept, dtype=torch.int64)


def clear_of(overlap, threshold):
    """Whether no IoU is so near to the threshold that rounding decides.

    An IoU of exactly one half has no rounding error.
    """
    near = (overlap - threshold).abs() < 1e-4
    return (threshold == 0.5 and not (near & (overlap != 0.5)).any()) or not near.any()


def _nms_wrong(boxes, scores, threshold, way):
    overlap = iou(boxes, boxes)
    threshold = 1 - threshold if way == "distance" else threshold
    order = scores.argsort(descending=way != "ascending")
    if way == "unsorted":
        order = torch.arange(len(scores))
    alive = torch.ones(len(boxes), dtype=torch.bool)
    rows = []
    for row in order.tolist():
        if alive[row] or way == "chain":
            if alive[row]:
                rows.append(row)
            reached = overlap[row] >= threshold if way == "equal" else overlap[row] > threshold
            alive &= ~reached
    kept = tensor(rows, dtype=torch.int64)
    if way == "sorted rows":
        return scores.argsort(descending=True).argsort()[kept]
    return kept.sort().values if way == "by row" else kept


def _photo_nms(sample: Sample):
    """Take the largest set of the photo's candidates without an IoU that rounding decides."""
    boxes, scores = photo_candidates(sample, 150)
    overlap = box_iou(boxes, boxes)
    near = ((overlap - 0.7).abs() < 1e-4).any(dim=1)
    return boxes[~near], scores[~near], 0.7


def iou_threshold(dice: Dice) -> float:
    """Roll a threshold; not always the one that is as far from 0 as from 1."""
    return (0.5, 0.3, 0.7)[dice.integer(0, 2)]


def nearby_boxes(dice: Dice, rows: int):
    """Boxes so close together that many overlap."""
    return dice.boxes(rows, extent=6, smallest=2)


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="Non-maximum suppression. boxes: float [N, 4]; scores: float [N], all different; "
        "threshold: float. Take the best box, drop all whose IoU with it is > threshold, take the "
        "best of the rest, and so on. Return int [K]: the kept rows by descending score.",
        solution=nms,
        rating=Rating(difficulty=3, importance=5, minutes=20),
        uses=(iou,),
        reference=torchvision_nms,
        shapes={"boxes": "N 4", "scores": "N"},
        returns={"kept": "K"},
        fair=lambda boxes, scores, threshold: (
            have_area(boxes) and distinct(scores) and clear_of(box_iou(boxes, boxes), threshold)
        ),
        why="Greedy and blind to the image: two people who hug are one box too many for it.",
        hints=(
            "Go through the boxes by descending score: scores.argsort(descending=True).",
            "A box that was dropped must not drop others.",
            "Keep a bool tensor of the boxes that are still alive; after each kept box, switch off "
            "those that overlap it.",
        ),
        mistakes=(
            Mistake(
                "you began with the lowest score",
                "argsort sorts ascending unless told: descending=True.",
                lambda boxes, scores, threshold: _nms_wrong(boxes, scores, threshold, "ascending"),
            ),
            Mistake(
                "you went through the boxes without sorting them",
                "The best box must come first, wherever it stands.",
                lambda boxes, scores, threshold: _nms_wrong(boxes, scores, threshold, "unsorted"),
            ),
            Mistake(
                "dropped boxes went on dropping others",
                "If A drops B, then B no longer counts, and C that only B overlaps stays.",
                lambda boxes, scores, threshold: _nms_wrong(boxes, scores, threshold, "chain"),
            ),
            Mistake(
                "an IoU equal to the threshold does not drop a box",
                "It says >, not ≥.",
                lambda boxes, scores, threshold: _nms_wrong(boxes, scores, threshold, "equal"),
            ),
            Mistake(
                "your rows count among the sorted boxes",
                "Map them back: order[kept] are rows of the input.",
                lambda boxes, scores, threshold: _nms_wrong(
                    boxes, scores, threshold, "sorted rows"
                ),
            ),
            Mistake(
                "you returned the rows in ascending order",
                "The kept ones are right; the best comes first, so that cutting off the end "
                "keeps the best.",
                lambda boxes, scores, threshold: _nms_wrong(boxes, scores, threshold, "by row"),
            ),
            Mistake(
                "you compared with 1 − threshold",
                "The threshold is an IoU: with 0.7 a box is dropped whose IoU is above 0.7.",
                lambda boxes, scores, threshold: _nms_wrong(boxes, scores, threshold, "distance"),
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), tensor([0.25, 0.75]), 0.5),
            (tensor([[0.0, 0, 2, 2], [5, 5, 7, 7]]), tensor([0.25, 0.75]), 0.5),
            (tensor([[0.0, 0, 2, 1], [0, 0, 1, 1]]), tensor([0.75, 0.25]), 0.5),
            (
                tensor([[0.0, 0, 5, 1], [1, 0, 6, 1], [2, 0, 7, 1]]),
                tensor([0.75, 0.5, 0.25]),
                0.5,
            ),
            (tensor([[0.0, 0, 5, 1], [0, 0, 3, 1]]), tensor([0.75, 0.25]), 0.75),
            (torch.zeros(0, 4), torch.zeros(0), 0.5),
        ),
        random=lambda dice, rows: (
            nearby_boxes(dice, rows),
            dice.distinct(rows),
            iou_threshold(dice),
        ),
        photo=_photo_nms,
        picture=pictures.kept,
    ),
)
