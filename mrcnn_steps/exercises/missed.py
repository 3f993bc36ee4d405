"""Exercises of lesson 08: whose box it is, and what kind of mistake it is."""

import torch
from torch import tensor
from torchvision.ops import box_iou

from mrcnn_steps import matching
from mrcnn_steps.data import Sample
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating
from mrcnn_steps.exercises.proposals import distinct, photo_candidates
from mrcnn_steps.exercises.rpn_targets import have_area, iou
from mrcnn_steps.exercises.suppression import clear_of, nearby_boxes

LESSON = "08_why_missed"


def match_detections(boxes, labels, scores, objects, object_labels):
    overlap = iou(boxes, objects) * (labels[:, None] == object_labels)
    found = torch.full((len(boxes),), -1)
    for row in scores.argsort(descending=True).tolist():
        if len(objects) and overlap[row].max() >= 0.5:
            best = overlap[row].argmax()
            found[row] = best
            overlap[:, best] = 0
    return found


def kind_of_mistake(same, other, taken):
    kinds = torch.full((len(same),), 4)
    kinds[torch.maximum(same, other) <= 0.1] = 3
    kinds[taken >= 0.5] = 2
    kinds[other >= 0.5] = 1
    kinds[(same >= 0.1) & (same < 0.5)] = 0
    return kinds


def _match_wrong(boxes, labels, scores, objects, object_labels, way):
    overlap = box_iou(boxes, objects)
    if way != "any class":
        overlap = overlap * (labels[:, None] == object_labels)
    found = torch.full((len(boxes),), -1)
    order = scores.argsort(descending=True) if way != "unsorted" else torch.arange(len(scores))
    for row in order.tolist():
        if not len(objects):
            continue
        value, best = overlap[row].max(dim=0)
        if way == "own best":
            free = not (found == best).any()
            value = value if free else value * 0
        if value > 0.5 if way == "strict" else value >= 0.5:
            found[row] = best
            if way not in ("twice", "own best"):
                overlap[:, best] = 0
    return found


def _reference_match(boxes, labels, scores, objects, object_labels):
    nothing = (objects[:0], object_labels[:0])
    return matching.match(boxes, labels, scores, objects, object_labels, *nothing).object_of


def _clear_match(boxes, labels, scores, objects, object_labels):
    """Whether neither rounding nor a tie decides."""
    overlap = box_iou(boxes, objects)
    top = overlap.sort(dim=1, descending=True).values[:, :2]
    tie = top.shape[1] == 2 and bool(((top[:, 0] == top[:, 1]) & (top[:, 0] >= 0.4)).any())
    return have_area(boxes, objects) and distinct(scores) and clear_of(overlap, 0.5) and not tie


def _random_match(dice: Dice, rows: int):
    objects = nearby_boxes(dice, dice.integer(1, 3))
    boxes = objects[dice.integers((rows,), 0, len(objects) - 1)]
    boxes = boxes + dice.integers((rows, 4), 0, 1) * tensor([0, 0, 1, 1])
    labels, object_labels = dice.integers((rows,), 1, 2), dice.integers((len(objects),), 1, 2)
    return boxes, labels, dice.distinct(rows), objects, object_labels


def _photo_match(sample: Sample):
    """Every object twice, once a little off, and boxes that miss."""
    stray, _ = photo_candidates(sample, 40)
    shifted = sample.boxes + (sample.boxes[:, 2:] - sample.boxes[:, :2]).repeat(1, 2) * 0.05
    boxes = torch.cat((sample.boxes, shifted, stray))
    near = ((box_iou(boxes, sample.boxes) - 0.5).abs() < 1e-4).any(dim=1)
    labels = sample.labels.repeat(20)[: len(boxes)]
    scores = torch.linspace(0.1, 0.9, len(boxes))
    return boxes[~near], labels[~near], scores[~near], sample.boxes, sample.labels


def _reference_kind(same, other, taken):
    """Kind by kind, in the order in which the text gives them."""
    kinds = []
    for a, b, c in zip(same.tolist(), other.tolist(), taken.tolist(), strict=True):
        if 0.1 <= a < 0.5:
            kinds.append(0)
        elif b >= 0.5:
            kinds.append(1)
        elif c >= 0.5:
            kinds.append(2)
        else:
            kinds.append(3 if max(a, b) <= 0.1 else 4)
    return tensor(kinds, dtype=torch.int64)


def _kind_wrong(same, other, taken, way):
    kinds = torch.full((len(same),), 4)
    kinds[(same if way == "own class" else torch.maximum(same, other)) <= 0.1] = 3
    if way == "class last":
        kinds[other >= 0.5] = 1
        kinds[taken >= 0.5] = 2
    else:
        kinds[taken >= 0.5] = 2
        kinds[other >= 0.5] = 1
    least = 0.0 if way == "any touch" else 0.1
    most = 1.1 if way == "no upper" else 0.5
    kinds[(same > least if way == "any touch" else same >= least) & (same < most)] = 0
    return kinds


def _random_kinds(dice: Dice, rows: int):
    """Overlaps of which many are on no threshold; a taken object is one of the same class."""
    same, other = (dice.integers((2 * rows,), 0, 15) / 16 for _ in range(2))
    return same, other, torch.where(dice.integers((2 * rows,), 0, 1) == 1, same, 0)


def _photo_kinds(sample: Sample):
    boxes, _ = photo_candidates(sample, 150)
    overlap = box_iou(boxes, sample.boxes)
    own = sample.labels == sample.labels[0]
    same, other = overlap[:, own].amax(dim=1), (overlap * ~own).amax(dim=1)
    return same, other, same * (torch.arange(len(boxes)) % 2)


def _clear_kinds(same, other, taken):
    every = torch.stack((same, other, taken))
    near = ((every - 0.1).abs() < 1e-4) | (((every - 0.5).abs() < 1e-4) & (every != 0.5))
    return not bool(near.any())


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="Which object did each detection find, by COCO's rule? boxes: float [D, 4]; labels: "
        "int [D]; scores: float [D], all different; objects: float [G, 4]; object_labels: int [G]. "
        "In falling score each detection takes, of the objects of its class that are still free, "
        "the one it overlaps most, if the IoU is ≥ 0.5. Return int [D]: the object, or −1.",
        solution=match_detections,
        rating=Rating(difficulty=4, importance=5, minutes=25),
        uses=(iou,),
        reference=_reference_match,
        shapes={
            "boxes": "D 4",
            "labels": "D",
            "scores": "D",
            "objects": "G 4",
            "object_labels": "G",
        },
        returns={"found": "D"},
        fair=_clear_match,
        why="One detection, one object: a second box on the same person is a false positive.",
        hints=(
            "Set the IoU of two different classes to 0 first.",
            "Go through the detections by falling score: scores.argsort(descending=True).",
            "After a match, set the object's column to 0, so that nobody takes it again.",
        ),
        mistakes=(
            Mistake(
                "you went through the detections without sorting them",
                "The surest detection chooses first, wherever it stands.",
                lambda boxes, labels, scores, objects, object_labels: _match_wrong(
                    boxes, labels, scores, objects, object_labels, "unsorted"
                ),
            ),
            Mistake(
                "an object was found twice",
                "Once taken, an object is no longer free: set its column to 0.",
                lambda boxes, labels, scores, objects, object_labels: _match_wrong(
                    boxes, labels, scores, objects, object_labels, "twice"
                ),
            ),
            Mistake(
                "you matched across classes",
                "A dog in the place of a person has found no person.",
                lambda boxes, labels, scores, objects, object_labels: _match_wrong(
                    boxes, labels, scores, objects, object_labels, "any class"
                ),
            ),
            Mistake(
                "a detection whose best object is taken got nothing",
                "It takes the best of those that are still free.",
                lambda boxes, labels, scores, objects, object_labels: _match_wrong(
                    boxes, labels, scores, objects, object_labels, "own best"
                ),
            ),
            Mistake(
                "an IoU of exactly 0.5 is enough",
                "It says ≥, not >.",
                lambda boxes, labels, scores, objects, object_labels: _match_wrong(
                    boxes, labels, scores, objects, object_labels, "strict"
                ),
            ),
        ),
        edge_cases=(
            (
                tensor([[0.0, 0, 4, 4]]),
                tensor([1]),
                tensor([0.75]),
                tensor([[0.0, 0, 4, 4]]),
                tensor([1]),
            ),
            (
                tensor([[0.0, 0, 4, 4], [0, 0, 4, 3]]),
                tensor([1, 1]),
                tensor([0.25, 0.75]),
                tensor([[0.0, 0, 4, 4]]),
                tensor([1]),
            ),
            (
                tensor([[0.0, 0, 4, 4]]),
                tensor([2]),
                tensor([0.75]),
                tensor([[0.0, 0, 4, 4]]),
                tensor([1]),
            ),
            (
                tensor([[0.0, 0, 2, 4]]),
                tensor([1]),
                tensor([0.75]),
                tensor([[0.0, 0, 4, 4]]),
                tensor([1]),
            ),
            (
                tensor([[0.0, 0, 8, 5], [0, 0, 8, 6]]),
                tensor([1, 1]),
                tensor([0.75, 0.5]),
                tensor([[0.0, 0, 8, 5], [0, 0, 8, 4]]),
                tensor([1, 1]),
            ),
            (
                tensor([[0.0, 0, 4, 4]]),
                tensor([1]),
                tensor([0.75]),
                torch.zeros(0, 4),
                torch.zeros(0, dtype=torch.int64),
            ),
        ),
        random=_random_match,
        photo=_photo_match,
    ),
    Exercise(
        lesson=LESSON,
        task="The kind of a false positive (TIDE). Of each detection that found no object: same: "
        "float [D], its best IoU with an object of its class; other: float [D], with one of "
        "another class; taken: float [D], with one of its class that another detection found. "
        "Return int [D], the first that holds: 0 localization, 0.1 ≤ same < 0.5; 1 class, "
        "other ≥ 0.5; 2 duplicate, taken ≥ 0.5; 3 background, both same and other ≤ 0.1; else 4, "
        "both class and localization.",
        solution=kind_of_mistake,
        rating=Rating(difficulty=3, importance=3, minutes=15),
        reference=_reference_kind,
        shapes={"same": "D", "other": "D", "taken": "D"},
        returns={"kinds": "D"},
        fair=_clear_kinds,
        why="Duplicates ask for NMS, background for training: one number, AP, mixes them all.",
        hints=(
            "Begin with kinds = torch.full((len(same),), 4).",
            "Write the kinds from the last to the first: what is written later wins.",
            "Background asks for torch.maximum(same, other) <= 0.1.",
        ),
        mistakes=(
            Mistake(
                "duplicate came before class",
                "The first that holds, in the order of the text: localization, class, duplicate.",
                lambda same, other, taken: _kind_wrong(same, other, taken, "class last"),
            ),
            Mistake(
                "a good box of the right class is no localization error",
                "From an IoU of 0.5 on the place is right; the detection is a duplicate, then.",
                lambda same, other, taken: _kind_wrong(same, other, taken, "no upper"),
            ),
            Mistake(
                "a box that hardly touches an object is no localization error",
                "Below an IoU of 0.1 it lies on the background.",
                lambda same, other, taken: _kind_wrong(same, other, taken, "any touch"),
            ),
            Mistake(
                "background is far from every object, not only from those of its class",
                "torch.maximum(same, other) has to be ≤ 0.1.",
                lambda same, other, taken: _kind_wrong(same, other, taken, "own class"),
            ),
        ),
        edge_cases=(
            (tensor([0.25]), tensor([0.0]), tensor([0.0])),
            (tensor([0.0]), tensor([0.75]), tensor([0.0])),
            (tensor([0.75]), tensor([0.0]), tensor([0.75])),
            (tensor([0.0625]), tensor([0.0]), tensor([0.0])),
            (tensor([0.0]), tensor([0.25]), tensor([0.0])),
            (tensor([0.75]), tensor([0.75]), tensor([0.75])),
            (torch.zeros(0), torch.zeros(0), torch.zeros(0)),
        ),
        random=_random_kinds,
        photo=_photo_kinds,
    ),
)
