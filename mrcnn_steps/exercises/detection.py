"""Exercises of lesson 06: from classified proposals to detections."""

import torch
from torch import tensor
from torchvision.ops import batched_nms, box_iou

from mrcnn_steps import boxes as box_stage
from mrcnn_steps.data import Sample
from mrcnn_steps.exercises import pictures
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating
from mrcnn_steps.exercises.proposals import decode, distinct, photo_candidates
from mrcnn_steps.exercises.rpn_targets import have_area, iou
from mrcnn_steps.exercises.suppression import clear_of, iou_threshold, nearby_boxes

LESSON = "06_detection"
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def best_class(probs):
    scores, labels = probs.max(dim=1)
    return labels, scores


def refine_by_class(proposals, deltas, labels, weights):
    own = deltas[torch.arange(len(labels)), labels] / torch.tensor(weights)
    return decode(own, proposals)


def nms_per_class(boxes, scores, labels, threshold):
    overlap = iou(boxes, boxes)
    rivals = (overlap > threshold) & (labels[:, None] == labels[None, :])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    kept = []
    for row in scores.argsort(descending=True).tolist():
        if alive[row]:
            kept.append(row)
            alive &= ~rivals[row]
    return torch.tensor(kept, dtype=torch.int64)


def _clear_winner(probs):
    """Whether no proposal has two best classes."""
    if probs.shape[1] < 2 or bool((probs < 0).any()):
        return False
    first, second = probs.topk(2, dim=1).values.unbind(dim=1)
    return bool((first > second).all())


def _valid_labels(labels, classes):
    return not len(labels) or 0 <= int(labels.min()) <= int(labels.max()) < classes


def _refined(proposals, deltas, labels, weights):
    return box_stage.decode(deltas[torch.arange(len(labels)), labels], proposals, weights)


def _random_refinement(dice: Dice, rows: int):
    return (
        dice.boxes(rows),
        dice.numbers((rows, 4, 4), -3, 3),
        dice.integers((rows,), 1, 3),
        WEIGHTS,
    )


def _per_class_fair(boxes, scores, labels, threshold):
    return have_area(boxes) and distinct(scores) and clear_of(box_iou(boxes, boxes), threshold)


def _by_class(boxes, scores, labels, threshold):
    """NMS class after class; the rows stay grouped by class."""
    kept = [
        rows[nms_per_class(boxes[rows], scores[rows], labels[rows], threshold)]
        for rows in ((labels == label).nonzero().flatten() for label in labels.unique())
    ]
    return torch.cat(kept) if kept else torch.zeros(0, dtype=torch.int64)


def _within_class(boxes, scores, labels, threshold):
    """NMS class after class; the rows count within the class."""
    kept = [
        nms_per_class(boxes[rows], scores[rows], labels[rows], threshold)
        for rows in ((labels == label).nonzero().flatten() for label in labels.unique())
    ]
    return torch.cat(kept) if kept else torch.zeros(0, dtype=torch.int64)


def random_classified(dice: Dice, rows: int):
    probs = dice.numbers((rows, 3), -2, 2).softmax(dim=1)
    deltas = dice.numbers((rows, 3, 4), -1.5, 1.5)
    return 2 * nearby_boxes(dice, rows), (probs * 1000).round() / 1000, deltas, (10, 11)


def _photo_labels(sample: Sample, count: int):
    return sample.labels[torch.arange(count) % len(sample.labels)]


def _photo_per_class(sample: Sample):
    boxes, scores = photo_candidates(sample, 150, seed=2)
    near = ((box_iou(boxes, boxes) - 0.7).abs() < 1e-4).any(dim=1)
    return boxes[~near], scores[~near], _photo_labels(sample, 150)[~near], 0.7


def photo_classified(sample: Sample):
    """Proposals near the objects, and a box head that is mostly right."""
    count = 60
    dice = Dice(5)
    boxes, _ = photo_candidates(sample, count, seed=5)
    logits = dice.numbers((count, 81), -1, 1)
    logits[torch.arange(count), _photo_labels(sample, count)] += 6
    deltas = dice.numbers((count, 81, 4), -1, 1)
    return boxes, logits.softmax(dim=1), deltas, tuple(sample.image.shape[1:])


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="What each proposal is, as the notes decide it. probs: float [R, C], class 0 is "
        "background. Return two values: the most probable class, int [R], background included, "
        "and its probability, float [R].",
        solution=best_class,
        rating=Rating(difficulty=1, importance=4, minutes=5),
        reference=lambda probs: (probs.argmax(dim=1), probs.amax(dim=1)),
        shapes={"probs": "R C"},
        returns={"labels": "R", "scores": "R"},
        tolerance=1e-6,
        fair=_clear_winner,
        why="torchvision does otherwise: every class over 0.05 competes, so one proposal can "
        "become several detections.",
        hints=(
            "Classes lie along dim=1.",
            "probs.max(dim=1) gives values and indices at once; mind the order.",
            "Return labels first, then scores.",
        ),
        mistakes=(
            Mistake(
                "you left the background out, and the labels are one too small",
                "Column 0 takes part; and if you cut it off, index 0 means class 1.",
                lambda probs: (probs[:, 1:].argmax(dim=1), probs[:, 1:].amax(dim=1)),
            ),
            Mistake(
                "you left the background out",
                "A proposal that shows mostly background says so: class 0. It is dropped later.",
                lambda probs: (probs[:, 1:].argmax(dim=1) + 1, probs[:, 1:].amax(dim=1)),
            ),
            Mistake(
                "you looked for the best proposal of each class",
                "dim=0 runs over proposals. Asked is the best class of each: dim=1.",
                lambda probs: (probs.argmax(dim=0), probs.amax(dim=0)),
            ),
            Mistake(
                "labels and scores are swapped",
                "max returns values first, then indices; here the labels come first.",
                lambda probs: (probs.amax(dim=1), probs.argmax(dim=1)),
            ),
        ),
        edge_cases=(
            (tensor([[0.125, 0.625, 0.25]]),),
            (tensor([[0.75, 0.25]]),),
            (tensor([[0.25, 0.75], [0.625, 0.375], [0.125, 0.875]]),),
            (torch.zeros(0, 3),),
        ),
        random=lambda dice, rows: (dice.numbers((rows, dice.integer(2, 4)), 0, 1),),
        photo=lambda sample: (photo_classified(sample)[1],),
    ),
    Exercise(
        lesson=LESSON,
        task="Refine each proposal by the delta of its class. proposals: float [R, 4]; deltas: "
        "float [R, C, 4]; labels: int [R]; weights: four floats by which the deltas are divided "
        "before they are decoded (10, 10, 5, 5 in torchvision). Return float [R, 4]. Your decode "
        "of lesson 04 is of use.",
        solution=refine_by_class,
        rating=Rating(difficulty=3, importance=4, minutes=15),
        uses=(decode,),
        reference=_refined,
        shapes={"proposals": "R 4", "deltas": "R C 4", "labels": "R"},
        returns={"boxes": "R 4"},
        tolerance=1e-3,
        fair=lambda proposals, deltas, labels, weights: (
            have_area(proposals) and _valid_labels(labels, deltas.shape[1])
        ),
        why="The weights bring the box head's deltas, which are small, to the size of its other "
        "targets.",
        hints=(
            "deltas[rows, labels] with rows = torch.arange(R) picks one delta for each proposal.",
            "torch.tensor(weights) has four numbers, one for each of dx, dy, dw, dh.",
            "Divide, then decode as the RPN's deltas.",
        ),
        mistakes=(
            Mistake(
                "you forgot the weights",
                "The box head predicts ten times (five times) the delta: divide first.",
                lambda proposals, deltas, labels, weights: _refined(
                    proposals, deltas, labels, (1.0,) * 4
                ),
            ),
            Mistake(
                "you multiplied by the weights",
                "encode multiplies; decode divides.",
                lambda proposals, deltas, labels, weights: _refined(
                    proposals, deltas, labels, tuple(1 / w for w in weights)
                ),
            ),
            Mistake(
                "your class is one off",
                "Column 0 belongs to the background, column 1 to class 1: no − 1.",
                lambda proposals, deltas, labels, weights: _refined(
                    proposals, deltas, (labels - 1).clamp(min=0), weights
                ),
            ),
            Mistake(
                "you took the deltas of the background",
                "Each class has its own delta: deltas[row, label].",
                lambda proposals, deltas, labels, weights: _refined(
                    proposals, deltas, labels * 0, weights
                ),
            ),
            Mistake(
                "the weights are in the wrong order",
                "10, 10 divide dx, dy; 5, 5 divide dw, dh.",
                lambda proposals, deltas, labels, weights: _refined(
                    proposals, deltas, labels, (*weights[2:], *weights[:2])
                ),
            ),
        ),
        edge_cases=(
            (
                tensor([[0.0, 0, 4, 4]]),
                tensor([[[0.0, 0, 0, 0], [5, 0, 0, 0]]]),
                tensor([1]),
                WEIGHTS,
            ),
            (
                tensor([[0.0, 0, 4, 4]]),
                tensor([[[0.0, 0, 0, 0], [1, 1, 2, -1], [2, 0, 0, 0]]]),
                tensor([2]),
                WEIGHTS,
            ),
            (
                torch.zeros(0, 4),
                torch.zeros(0, 3, 4),
                torch.zeros(0, dtype=torch.int64),
                WEIGHTS,
            ),
        ),
        random=_random_refinement,
        photo=lambda sample: (
            photo_classified(sample)[0],
            photo_classified(sample)[2],
            _photo_labels(sample, 60),
            WEIGHTS,
        ),
        picture=pictures.boxes,
    ),
    Exercise(
        lesson=LESSON,
        task="NMS within each class. As nms of lesson 04, but a box drops only boxes of its own "
        "class. boxes: float [N, 4]; scores: float [N], all different; labels: int [N]; threshold: "
        "float. Return int [K]: the kept rows of all classes by descending score.",
        solution=nms_per_class,
        rating=Rating(difficulty=3, importance=4, minutes=15),
        uses=(iou,),
        reference=batched_nms,
        shapes={"boxes": "N 4", "scores": "N", "labels": "N"},
        returns={"kept": "K"},
        fair=_per_class_fair,
        why="A person on a chair overlaps it almost completely, and both are to be found.",
        hints=(
            "It is nms with one condition more.",
            "labels[:, None] == labels[None, :] tells of every pair whether its classes are equal.",
            "Or: nms class by class, map the rows back, and sort all by score at the end.",
        ),
        mistakes=(
            Mistake(
                "NMS ran across classes",
                "A box may only drop boxes of its own class.",
                lambda boxes, scores, labels, threshold: nms_per_class(
                    boxes, scores, labels * 0, threshold
                ),
            ),
            Mistake(
                "the rows are ordered by class, not by score",
                "The kept ones are right; sort them by score over all classes, so that cutting off "
                "at 100 keeps the best.",
                _by_class,
            ),
            Mistake(
                "your rows count within the class",
                "nms of a class returns rows of that class: rows[kept] are rows of the input.",
                _within_class,
            ),
            Mistake(
                "there was no NMS",
                "Boxes of the same class with an IoU above the threshold have to go.",
                lambda boxes, scores, labels, threshold: scores.argsort(descending=True),
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), tensor([0.75, 0.25]), tensor([1, 2]), 0.5),
            (tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), tensor([0.25, 0.75]), tensor([1, 1]), 0.5),
            (tensor([[0.0, 0, 2, 2], [4, 4, 6, 6]]), tensor([0.25, 0.75]), tensor([1, 2]), 0.5),
            (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5),
        ),
        random=lambda dice, rows: (
            nearby_boxes(dice, rows),
            dice.distinct(rows),
            dice.integers((rows,), 1, 2),
            iou_threshold(dice),
        ),
        photo=_photo_per_class,
        picture=pictures.kept,
    ),
)
