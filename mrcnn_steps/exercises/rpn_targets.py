"""Exercises of lesson 03: IoU, labels, samples and deltas, what the RPN is trained on."""

from collections.abc import Callable

import torch
from torch import tensor
from torchvision.ops import box_iou

from mrcnn_steps import anchors as anchor_stage
from mrcnn_steps import boxes as box_stage
from mrcnn_steps import rpn_targets as stage
from mrcnn_steps.data import Sample
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating

LESSON = "03_rpn_targets"


def iou(boxes1, boxes2):
    area1 = (boxes1[:, 2] - boxes1[:, 0]) * (boxes1[:, 3] - boxes1[:, 1])
    area2 = (boxes2[:, 2] - boxes2[:, 0]) * (boxes2[:, 3] - boxes2[:, 1])
    top_left = torch.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    bottom_right = torch.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    sides = (bottom_right - top_left).clamp(min=0)
    intersection = sides[:, :, 0] * sides[:, :, 1]
    return intersection / (area1[:, None] + area2[None, :] - intersection)


def label_anchors(iou, positive, negative):
    best_of_anchor = iou.max(dim=1).values
    best_of_object = iou.max(dim=0).values
    forced = ((iou == best_of_object) & (best_of_object > 0)).any(dim=1)
    labels = torch.zeros(len(iou), dtype=torch.int64)
    labels[best_of_anchor < negative] = -1
    labels[(best_of_anchor >= positive) | forced] = 1
    return labels


def encode(boxes, anchors):
    size, anchor_size = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    center, anchor_center = boxes[:, :2] + size / 2, anchors[:, :2] + anchor_size / 2
    shift = (center - anchor_center) / anchor_size
    return torch.cat((shift, torch.log(size / anchor_size)), dim=1)


def have_area(*sets):
    """Whether every box of every set has a width and a height."""
    return all(bool((boxes[:, 2:] > boxes[:, :2]).all()) for boxes in sets)


def _iou_wrong(boxes1, boxes2, clamp=True, plus=0.0, subtract=True, over=""):
    area1, area2 = (
        (boxes[:, 2] - boxes[:, 0] + plus) * (boxes[:, 3] - boxes[:, 1] + plus)
        for boxes in (boxes1, boxes2)
    )
    sides = torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:]) + plus
    sides = sides - torch.maximum(boxes1[:, None, :2], boxes2[:, :2])
    intersection = (sides.clamp(min=0) if clamp else sides).prod(dim=2)
    union = area1[:, None] + area2 - (intersection if subtract else 0)
    if over == "intersection":
        return union / intersection
    by = {"first": area1[:, None], "smaller": torch.minimum(area1[:, None], area2)}
    return intersection / by.get(over, union)


def _labels_wrong(iou, positive, negative, forced="all", order="negative first", neutral=0):
    best, column = iou.max(dim=1).values, iou.max(dim=0)
    labels = torch.full((len(iou),), neutral)
    chosen = {
        "all": ((iou == column.values) & (column.values > 0)).any(dim=1),
        "zero": (iou == column.values).any(dim=1),
        "first": torch.isin(torch.arange(len(iou)), column.indices[column.values > 0]),
        "none": torch.zeros(len(iou), dtype=torch.bool),
    }[forced]
    if order == "negative last":
        labels[(best >= positive) | chosen] = 1
        labels[best < negative] = -1
    else:
        labels[best < negative] = -1
        labels[((best > positive) if order == "strict" else (best >= positive)) | chosen] = 1
    return labels


def _overlaps(dice: Dice, rows: int):
    """IoU values of which many are zero and many are equal."""
    values = dice.integers((rows + 1, dice.integer(1, 3)), -4, 15).clamp(min=0)
    return values / 16, 0.75, 0.25


def _encode_wrong(boxes, anchors, way):
    if way == "inclusive":
        boxes, anchors = (each + tensor([0.0, 0, 1, 1]) for each in (boxes, anchors))
    size, anchor_size = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    shift = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / 2
    if way == "corner":
        shift = boxes[:, :2] - anchors[:, :2]
    shift = shift / {"box size": size, "pixels": 1.0}.get(way, anchor_size)
    logs: dict[str, Callable[[torch.Tensor], torch.Tensor]]
    logs = {"no log": torch.clone, "log10": torch.log10, "log2": torch.log2}
    logs["change"] = lambda ratio: ratio - 1
    log = logs.get(way, torch.log)
    ratio = anchor_size / size if way == "upside down" else size / anchor_size
    return torch.cat((-shift if way == "back" else shift, log(ratio)), dim=1)


def _photo_anchors(sample: Sample):
    """Lay a coarse pyramid over the photo, with the objects' boxes."""
    height, width = sample.image.shape[1:]
    pyramid = anchor_stage.pyramid((height, width), (16, 32, 64), (48, 96, 192))
    return pyramid.boxes, sample.boxes


def photo_match(sample: Sample):
    return stage.match(*_photo_anchors(sample))


def _photo_pairs(sample: Sample):
    found = photo_match(sample)
    rows = (found.labels == 1).nonzero().flatten()
    boxes, gt_boxes = _photo_anchors(sample)
    return gt_boxes[found.gt_index[rows]], boxes[rows]


def _photo_overlaps(sample: Sample):
    boxes, gt_boxes = _photo_anchors(sample)
    return box_iou(boxes, gt_boxes), 0.7, 0.3


def _reference_labels(iou, positive, negative):
    """Label by label, as the text of Faster R-CNN §3.1.2 reads."""
    best = iou.amax(dim=0)
    rows = [
        1
        if bool((row >= positive).any() | ((row == best) & (row > 0)).any())
        else -1
        if bool((row < negative).all())
        else 0
        for row in iou
    ]
    return tensor(rows, dtype=torch.int64)


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="IoU of every box with every other: intersection / union. boxes1: float [N, 4]; "
        "boxes2: float [M, 4], all with area. Return float [N, M] in 0…1.",
        solution=iou,
        rating=Rating(difficulty=2, importance=5, minutes=15),
        reference=box_iou,
        shapes={"boxes1": "N 4", "boxes2": "M 4"},
        returns={"iou": "N M"},
        tolerance=1e-5,
        fair=lambda boxes1, boxes2: have_area(boxes1, boxes2),
        why="Matching, NMS and the final score of a detector all rest on this function.",
        hints=(
            "The intersection of two boxes is a box: its x1 is the larger of both x1.",
            "boxes1[:, None, :] against boxes2[None, :, :] compares all pairs at once.",
            "Boxes that do not touch would get a negative side: clamp(min=0). Union = area1 + "
            "area2 − intersection.",
        ),
        mistakes=(
            Mistake(
                "you divided by the intersection",
                "IoU is intersection over union: at most 1, and 0 for boxes that do not touch.",
                lambda boxes1, boxes2: _iou_wrong(boxes1, boxes2, over="intersection"),
            ),
            Mistake(
                "you counted the intersection twice in the union",
                "area1 + area2 contains the common part twice: subtract it once.",
                lambda boxes1, boxes2: _iou_wrong(boxes1, boxes2, subtract=False),
            ),
            Mistake(
                "you computed widths as x2 − x1 + 1",
                "x2 is exclusive here, so the width is x2 − x1. The + 1 is a habit of old code "
                "whose x2 was the last pixel.",
                lambda boxes1, boxes2: _iou_wrong(boxes1, boxes2, plus=1.0),
            ),
            Mistake(
                "you forgot that boxes may not touch",
                "Then a side of the intersection is negative, and two negative sides make a "
                "positive area: clamp(min=0) before multiplying.",
                lambda boxes1, boxes2: _iou_wrong(boxes1, boxes2, clamp=False),
            ),
            Mistake(
                "you divided by the area of the first box",
                "A tiny box inside a large one would get 1. Divide by the union.",
                lambda boxes1, boxes2: _iou_wrong(boxes1, boxes2, over="first"),
            ),
            Mistake(
                "you divided by the smaller area",
                "A tiny box inside a large one would get 1. Divide by the union.",
                lambda boxes1, boxes2: _iou_wrong(boxes1, boxes2, over="smaller"),
            ),
            Mistake(
                "rows and columns are swapped",
                "Row i belongs to boxes1[i], column j to boxes2[j].",
                lambda boxes1, boxes2: box_iou(boxes2, boxes1),
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0, 2, 1]]), tensor([[1.0, 0, 3, 1]])),
            (tensor([[0.0, 0, 1, 1]]), tensor([[2.0, 2, 3, 3]])),
            (tensor([[0.0, 0, 4, 4]]), tensor([[1.0, 1, 2, 2], [0, 0, 4, 4]])),
            (torch.zeros(0, 4), tensor([[0.0, 0, 1, 1]])),
            (tensor([[0.0, 0, 1, 1]]), torch.zeros(0, 4)),
        ),
        random=lambda dice, rows: (dice.boxes(rows, 8), dice.boxes(dice.integer(1, rows), 8)),
        photo=_photo_anchors,
    ),
    Exercise(
        lesson=LESSON,
        task="Label the anchors (Faster R-CNN §3.1.2). iou: float [A, G] of A anchors with G "
        "objects; positive, negative: thresholds, such as 0.7 and 0.3. Return int [A]: 1 if the "
        "IoU with some object is ≥ positive, or if no anchor overlaps some object more (all that "
        "tie); else −1 if it is < negative with all objects; else 0. An object that overlaps no "
        "anchor forces none.",
        solution=label_anchors,
        rating=Rating(difficulty=4, importance=5, minutes=20),
        reference=_reference_labels,
        shapes={"iou": "A G"},
        returns={"labels": "A"},
        why="Forced matches give small objects an anchor to learn from; 0 is left out of the loss.",
        hints=(
            "Two maxima: of each row (the anchor's best object), of each column.",
            "Forced: (iou == iou.max(dim=0).values).any(dim=1), which keeps all ties.",
            "A column of zeros ties everywhere: require the column's maximum to be > 0. Write 1 "
            "last, so that nothing overwrites it.",
        ),
        mistakes=(
            Mistake(
                "you forgot the forced matches",
                "An object whose best anchor has IoU 0.5 would have no positive anchor at all: "
                "its best anchors are positive whatever their IoU.",
                lambda iou, positive, negative: _labels_wrong(
                    iou, positive, negative, forced="none"
                ),
            ),
            Mistake(
                "an object without overlap turned every anchor positive",
                "Its best IoU is 0, and all anchors with IoU 0 tie for it: the zero-overlap "
                "explosion. Only a best IoU above 0 may force.",
                lambda iou, positive, negative: _labels_wrong(
                    iou, positive, negative, forced="zero"
                ),
            ),
            Mistake(
                "you forced only the first of several equal anchors",
                "argmax names one row; all anchors that tie for an object are positive.",
                lambda iou, positive, negative: _labels_wrong(
                    iou, positive, negative, forced="first"
                ),
            ),
            Mistake(
                "negatives overwrote forced positives",
                "A forced anchor may lie below the negative threshold. Write the positives last.",
                lambda iou, positive, negative: _labels_wrong(
                    iou, positive, negative, order="negative last"
                ),
            ),
            Mistake(
                "an IoU equal to the positive threshold is positive",
                "It says ≥, not >.",
                lambda iou, positive, negative: _labels_wrong(
                    iou, positive, negative, order="strict"
                ),
            ),
            Mistake(
                "anchors between the thresholds are neutral",
                "They are neither object nor background: label 0, left out of the loss.",
                lambda iou, positive, negative: _labels_wrong(iou, positive, negative, neutral=-1),
            ),
        ),
        edge_cases=(
            (tensor([[0.875], [0.5], [0.125]]), 0.75, 0.25),
            (tensor([[0.5], [0.125]]), 0.75, 0.25),
            (tensor([[0.875], [0.75]]), 0.75, 0.25),
            (tensor([[0.125], [0.125], [0.0]]), 0.75, 0.25),
            (tensor([[0.875, 0.0], [0.0, 0.0]]), 0.75, 0.25),
        ),
        random=_overlaps,
        photo=_photo_overlaps,
    ),
    Exercise(
        lesson=LESSON,
        task="The deltas from each anchor to its box (Faster R-CNN eq. 2): dx = (x − xa) / wa, "
        "dy = (y − ya) / ha, dw = log(w / wa), dh = log(h / ha), with centers x, y and sizes w, h. "
        "boxes, anchors: float [N, 4]. Return float [N, 4].",
        solution=encode,
        rating=Rating(difficulty=2, importance=5, minutes=10),
        reference=box_stage.encode,
        shapes={"boxes": "N 4", "anchors": "N 4"},
        returns={"deltas": "N 4"},
        fair=lambda boxes, anchors: have_area(boxes, anchors),
        why="Divided by the anchor's size, the same delta means the same for small and large ones.",
        hints=(
            "First turn corners into centers and sizes, for boxes and for anchors.",
            "Shifts are counted in widths and heights of the anchor.",
            "torch.log of the ratio of the sizes: 0 where both are equal.",
        ),
        mistakes=(
            Mistake(
                "you divided by the size of the box",
                "The network knows the anchor, not the box: wa and ha.",
                lambda boxes, anchors: _encode_wrong(boxes, anchors, "box size"),
            ),
            Mistake(
                "you compared corners, not centers",
                "x and xa are centers: (x1 + x2) / 2.",
                lambda boxes, anchors: _encode_wrong(boxes, anchors, "corner"),
            ),
            Mistake(
                "you forgot the logarithm",
                "log makes half as wide and twice as wide equally far from 0, and its inverse "
                "never gives a negative width.",
                lambda boxes, anchors: _encode_wrong(boxes, anchors, "no log"),
                also=(lambda boxes, anchors: _encode_wrong(boxes, anchors, "change"),),
            ),
            Mistake(
                "you shifted from the box to the anchor",
                "dx = (x − xa) / wa: an anchor left of its box has to move right, dx is positive.",
                lambda boxes, anchors: _encode_wrong(boxes, anchors, "back"),
            ),
            Mistake(
                "you computed widths as x2 − x1 + 1",
                "x2 and y2 are exclusive here: the width is x2 − x1.",
                lambda boxes, anchors: _encode_wrong(boxes, anchors, "inclusive"),
            ),
            Mistake(
                "you took the logarithm of anchor / box",
                "dw = log(w / wa): a box larger than its anchor has a positive dw.",
                lambda boxes, anchors: _encode_wrong(boxes, anchors, "upside down"),
            ),
            Mistake(
                "you took the logarithm to base 10",
                "log is the natural logarithm, torch.log: decode undoes it by exp.",
                lambda boxes, anchors: _encode_wrong(boxes, anchors, "log10"),
            ),
            Mistake(
                "you took the logarithm to base 2",
                "log is the natural logarithm, torch.log: decode undoes it by exp.",
                lambda boxes, anchors: _encode_wrong(boxes, anchors, "log2"),
            ),
            Mistake(
                "you swapped boxes and anchors",
                "The delta leads from the anchor to the box.",
                lambda boxes, anchors: encode(anchors, boxes),
            ),
            Mistake(
                "you forgot to divide the shift",
                "A shift of 8 pixels is much for a small anchor and little for a large one: "
                "divide by wa and ha.",
                lambda boxes, anchors: _encode_wrong(boxes, anchors, "pixels"),
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0, 2, 2]]), tensor([[0.0, 0, 2, 2]])),
            (tensor([[2.0, 0, 4, 2]]), tensor([[0.0, 0, 2, 2]])),
            (tensor([[0.0, 0, 4, 2]]), tensor([[0.0, 0, 2, 4]])),
            (torch.zeros(0, 4), torch.zeros(0, 4)),
        ),
        random=lambda dice, rows: (dice.boxes(rows), dice.boxes(rows)),
        photo=_photo_pairs,
        tolerance=1e-4,
    ),
)
