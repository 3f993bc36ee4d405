"""Exercises of lesson 04: from scored anchors to proposals."""

import torch
from torch import tensor
from torchvision.ops import clip_boxes_to_image, remove_small_boxes

from mrcnn_steps import boxes as box_stage
from mrcnn_steps.data import Sample
from mrcnn_steps.exercises import pictures
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating
from mrcnn_steps.exercises.rpn_targets import have_area

LESSON = "04_proposals"


def decode(deltas, anchors):
    anchor_size = anchors[:, 2:] - anchors[:, :2]
    center = anchors[:, :2] + anchor_size / 2 + deltas[:, :2] * anchor_size
    largest = torch.log(torch.tensor(1000 / 16))
    size = anchor_size * torch.exp(deltas[:, 2:].clamp(max=largest))
    return torch.cat((center - size / 2, center + size / 2), dim=1)


def clip(boxes, image_size):
    height, width = image_size
    x = boxes[:, [0, 2]].clamp(0, width)
    y = boxes[:, [1, 3]].clamp(0, height)
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1)


def remove_small(boxes, min_size):
    sides = boxes[:, 2:] - boxes[:, :2]
    return (sides >= min_size).all(dim=1).nonzero().flatten()


def top_k_per_level(objectness, level_sizes, k):
    best, start = [], 0
    for scores in objectness.split(list(level_sizes)):
        order = scores.argsort(descending=True)
        best.append(order[:k] + start)
        start += len(scores)
    return torch.cat(best)


def distinct(scores):
    """Whether no two scores are equal."""
    return len(scores.unique()) == len(scores)


def _decode_wrong(deltas, anchors, way):
    anchor_size = anchors[:, 2:] - anchors[:, :2] + (1 if way == "inclusive" else 0)
    size = anchor_size * torch.exp(deltas[:, 2:].clamp(max=box_stage.MAX_LOG_SCALE))
    if way in ("no exp", "grown"):
        size = anchor_size * (deltas[:, 2:] + (1 if way == "grown" else 0))
    if way == "no clamp":
        size = anchor_size * torch.exp(deltas[:, 2:])
    center = anchors[:, :2] + anchor_size / 2 + deltas[:, :2] * anchor_size
    if way == "corner":
        center = anchors[:, :2] + deltas[:, :2] * anchor_size + size / 2
    if way == "pixels":
        center = anchors[:, :2] + anchor_size / 2 + deltas[:, :2]
    if way == "both sides":
        limit = box_stage.MAX_LOG_SCALE
        size = anchor_size * torch.exp(deltas[:, 2:].clamp(-limit, limit))
    if way == "new width":
        center = anchors[:, :2] + anchor_size / 2 + deltas[:, :2] * size
    if way == "center and size":
        return torch.cat((center, size), dim=1)
    return torch.cat((center - size / 2, center + size / 2), dim=1)


def _clip_wrong(boxes, image_size, low=0.0, less=0):
    height, width = image_size
    high = tensor([width, height, width, height]) - less
    return torch.minimum(boxes.clamp(min=low), high)


def _clip_dropping(boxes, image_size):
    clipped = clip(boxes, image_size)
    return clipped[(clipped[:, 2:] > clipped[:, :2]).all(dim=1)]


def _top_k_wrong(objectness, level_sizes, k, way):
    if way == "global":
        return objectness.argsort(descending=True)[:k]
    best, start = [], 0
    for scores in objectness.split(list(level_sizes)):
        rows = scores.argsort(descending=way != "lowest")[:k] + (0 if way == "no offset" else start)
        best.append(rows.sort().values if way == "by row" else rows)
        start += len(scores)
    return torch.cat(best)


def _levels_fit(objectness, level_sizes, k):
    return sum(level_sizes) == len(objectness) and k > 0 and distinct(objectness)


def _reference_top_k(objectness, level_sizes, k):
    best, start = [], 0
    for size in level_sizes:
        level = objectness[start : start + size]
        best.append(level.topk(min(k, size)).indices + start)
        start += size
    return torch.cat(best)


def _random_levels(dice: Dice, rows: int):
    sizes = tuple(dice.integer(1, 2 * rows) for _ in range(dice.integer(1, 3)))
    return 10 * dice.distinct(sum(sizes)) - 5, sizes, dice.integer(1, 1 + rows)


def photo_candidates(sample: Sample, count: int, seed: int = 0):
    """Boxes scattered around the photo's objects, as an RPN proposes them, with scores."""
    dice = Dice(seed)
    near = sample.boxes[torch.arange(count) % len(sample.boxes)]
    size = (near[:, 2:] - near[:, :2]).repeat(1, 2)
    moved = near + dice.numbers((count, 4), -0.25, 0.25) * size
    corners = torch.cat(
        (
            torch.minimum(moved[:, :2], moved[:, 2:] - 2),
            torch.maximum(moved[:, 2:], moved[:, :2] + 2),
        ),
        dim=1,
    )
    return corners, dice.distinct(count)


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="Apply deltas to anchors, the inverse of encode: x = xa + dx · wa, w = wa · exp(dw), "
        "likewise for y and h, with centers x. deltas, anchors: float [N, 4]. Limit dw and dh to "
        "log(1000 / 16) before exp, as torchvision does. Return float [N, 4], (x1, y1, x2, y2).",
        solution=decode,
        rating=Rating(difficulty=2, importance=5, minutes=10),
        reference=box_stage.decode,
        shapes={"deltas": "N 4", "anchors": "N 4"},
        returns={"boxes": "N 4"},
        tolerance=1e-3,
        fair=lambda deltas, anchors: have_area(anchors),
        why="The limit keeps an untrained network from overflowing to infinity.",
        hints=(
            "Centers and sizes of the anchors first, then of the boxes, corners last.",
            "A delta of zeros must return the anchor itself.",
            "x1 = x − w / 2 with the new width w.",
        ),
        mistakes=(
            Mistake(
                "you forgot exp",
                "encode took the logarithm of the ratio of the sizes; exp undoes it.",
                lambda deltas, anchors: _decode_wrong(deltas, anchors, "no exp"),
                also=(lambda deltas, anchors: _decode_wrong(deltas, anchors, "grown"),),
            ),
            Mistake(
                "you swapped width and height",
                "The order is dx, dy, dw, dh: dw belongs to the width, dh to the height.",
                lambda deltas, anchors: _decode_wrong(deltas[:, [0, 1, 3, 2]], anchors, ""),
            ),
            Mistake(
                "you computed widths as x2 − x1 + 1",
                "x2 and y2 are exclusive here: the width is x2 − x1.",
                lambda deltas, anchors: _decode_wrong(deltas, anchors, "inclusive"),
            ),
            Mistake(
                "you moved the corner, not the center",
                "dx moves the center; when the size changes too, that is not the same.",
                lambda deltas, anchors: _decode_wrong(deltas, anchors, "corner"),
            ),
            Mistake(
                "you forgot that dx counts in anchor widths",
                "x = xa + dx · wa: a delta of 0.5 moves by half an anchor.",
                lambda deltas, anchors: _decode_wrong(deltas, anchors, "pixels"),
            ),
            Mistake(
                "you returned center and size",
                "The way back to corners is missing: x1 = x − w / 2, x2 = x + w / 2.",
                lambda deltas, anchors: _decode_wrong(deltas, anchors, "center and size"),
            ),
            Mistake(
                "you forgot to limit dw and dh",
                "exp(20) is 500 million. Clamp at log(1000 / 16) before exp.",
                lambda deltas, anchors: _decode_wrong(deltas, anchors, "no clamp"),
            ),
            Mistake(
                "you limited dw and dh on both sides",
                "Only what is too large overflows: a very negative dw makes a very small box, and "
                "stays. clamp(max=…) alone.",
                lambda deltas, anchors: _decode_wrong(deltas, anchors, "both sides"),
            ),
            Mistake(
                "you shifted by the new width",
                "dx counts in widths of the anchor, as encode divided by wa.",
                lambda deltas, anchors: _decode_wrong(deltas, anchors, "new width"),
            ),
        ),
        edge_cases=(
            (torch.zeros(1, 4), tensor([[1.0, 1, 3, 5]])),
            (tensor([[1.0, 0, 0, 0]]), tensor([[0.0, 0, 2, 4]])),
            (tensor([[0.0, 0, 0.5, -0.5]]), tensor([[0.0, 0, 4, 4]])),
            (tensor([[0.0, 0, 8, 0]]), tensor([[0.0, 0, 1, 1]])),
            (tensor([[0.0, 0, -6, 0]]), tensor([[0.0, 0, 16, 16]])),
            (torch.zeros(0, 4), torch.zeros(0, 4)),
        ),
        random=lambda dice, rows: (dice.numbers((rows, 4), -1, 1), dice.boxes(rows)),
        photo=lambda sample: (
            Dice(0).numbers((len(sample.boxes), 4), -0.5, 0.5),
            sample.boxes,
        ),
        picture=pictures.boxes,
    ),
    Exercise(
        lesson=LESSON,
        task="Cut boxes to the image. boxes: float [N, 4]; image_size: (height, width). Return "
        "float [N, 4] with 0 ≤ x ≤ width and 0 ≤ y ≤ height; a box outside becomes flat and stays "
        "in its row.",
        solution=clip,
        rating=Rating(difficulty=1, importance=4, minutes=5),
        reference=clip_boxes_to_image,
        shapes={"boxes": "N 4"},
        returns={"boxes": "N 4"},
        fair=lambda boxes, image_size: have_area(boxes) and min(image_size) > 0,
        why="Flat boxes are removed one step later: first clip, then look at the size.",
        hints=(
            "x is limited by the width, y by the height.",
            "Columns 0 and 2 are x: boxes[:, [0, 2]].clamp(0, width).",
            "Make a new tensor: x1, y1, x2, y2 stacked on the last axis.",
        ),
        mistakes=(
            Mistake(
                "you swapped height and width",
                "image_size is (height, width), and x belongs to the width.",
                lambda boxes, image_size: _clip_wrong(boxes, image_size[::-1]),
            ),
            Mistake(
                "you clipped at width − 1",
                "x2 is exclusive: the box of the whole image ends at the width itself.",
                lambda boxes, image_size: _clip_wrong(boxes, image_size, less=1),
            ),
            Mistake(
                "you clipped only on the right and at the bottom",
                "Boxes also leave the image on the left and at the top: not below 0.",
                lambda boxes, image_size: _clip_wrong(boxes, image_size, low=float("-inf")),
            ),
            Mistake(
                "you clipped only on the left and at the top",
                "Boxes also leave the image on the right and at the bottom.",
                lambda boxes, image_size: boxes.clamp(min=0),
            ),
            Mistake(
                "you used one limit for both directions",
                "A photo is seldom square: x ends at the width, y at the height.",
                lambda boxes, image_size: boxes.clamp(0, max(image_size)),
                also=(lambda boxes, image_size: boxes.clamp(0, min(image_size)),),
            ),
            Mistake(
                "you dropped the boxes that became flat",
                "They stay in their rows here, so that row numbers still mean the same; "
                "remove_small takes them out, one step later.",
                _clip_dropping,
            ),
        ),
        edge_cases=(
            (tensor([[-2.0, 1, 3, 2]]), (4, 6)),
            (tensor([[1.0, -1, 9, 7]]), (4, 6)),
            (tensor([[7.0, 5, 9, 8]]), (4, 6)),
            (tensor([[1.0, 1, 2, 2]]), (4, 6)),
            (torch.zeros(0, 4), (4, 6)),
        ),
        random=lambda dice, rows: (dice.boxes(rows) - 6, (dice.integer(4, 9), dice.integer(9, 16))),
        photo=lambda sample: (
            photo_candidates(sample, 200)[0],
            tuple(sample.image.shape[1:]),
        ),
        picture=pictures.boxes,
    ),
    Exercise(
        lesson=LESSON,
        task="Which boxes are large enough? boxes: float [N, 4]; min_size: float. Return int [K]: "
        "the rows, ascending, whose width and height are both at least min_size.",
        solution=remove_small,
        rating=Rating(difficulty=1, importance=3, minutes=5),
        reference=remove_small_boxes,
        shapes={"boxes": "N 4"},
        returns={"rows": "K"},
        why="Rows, not boxes: whoever keeps the rows can still say which anchor a box came from.",
        hints=(
            "boxes[:, 2:] − boxes[:, :2] are all widths and heights.",
            "Both sides: .all(dim=1).",
            "nonzero().flatten() turns a bool tensor into row numbers.",
        ),
        mistakes=(
            Mistake(
                "one large side is not enough",
                "A line 100 pixels long without height is no object: and, not or.",
                lambda boxes, min_size: (
                    (boxes[:, 2:] - boxes[:, :2] >= min_size).any(dim=1).nonzero().flatten()
                ),
            ),
            Mistake(
                "a side of exactly min_size is large enough",
                "It says at least: ≥, not >.",
                lambda boxes, min_size: (
                    (boxes[:, 2:] - boxes[:, :2] > min_size).all(dim=1).nonzero().flatten()
                ),
            ),
            Mistake(
                "you compared the area",
                "Each side has to reach min_size on its own.",
                lambda boxes, min_size: (
                    ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1) >= min_size**2).nonzero().flatten()
                ),
            ),
            Mistake(
                "you returned a mask, not rows",
                "A bool for each box says the same; but the task asks for row numbers: "
                "nonzero().flatten().",
                lambda boxes, min_size: (boxes[:, 2:] - boxes[:, :2] >= min_size).all(dim=1),
            ),
            Mistake(
                "you returned the boxes, not their rows",
                "With the boxes alone nobody knows any more where they came from.",
                lambda boxes, min_size: boxes[remove_small(boxes, min_size)],
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0, 4, 1]]), 2.0),
            (tensor([[0.0, 0, 2, 2]]), 2.0),
            (tensor([[0.0, 0, 1, 1], [0, 0, 3, 3]]), 2.0),
            (tensor([[5.0, 5, 5, 9]]), 2.0),
            (torch.zeros(0, 4), 2.0),
        ),
        random=lambda dice, rows: (dice.boxes(rows, extent=6), float(dice.integer(1, 4))),
        photo=lambda sample: (sample.boxes, 64.0),
        picture=None,
    ),
    Exercise(
        lesson=LESSON,
        task="The best anchors of each level (FPN §4.1). objectness: float [A], the levels one "
        "after the other; level_sizes: tuple of int, anchors of each level; k: int. Return int "
        "[K]: the rows of the k highest of each level (of all, if it has fewer), level by level, "
        "best first; rows count over all anchors.",
        solution=top_k_per_level,
        rating=Rating(difficulty=3, importance=4, minutes=15),
        reference=_reference_top_k,
        shapes={},
        returns={"rows": "K"},
        fair=_levels_fit,
        why="One top k over all levels would fill up with anchors of the finest level.",
        hints=(
            "objectness.split(list(level_sizes)) takes the levels apart.",
            "topk complains if a level has fewer than k: min(k, len(scores)).",
            "A row within a level needs the number of anchors before that level added.",
        ),
        mistakes=(
            Mistake(
                "you took one top k over all levels",
                "Each level has its own k, so that large objects get proposals too.",
                lambda objectness, level_sizes, k: _top_k_wrong(
                    objectness, level_sizes, k, "global"
                ),
            ),
            Mistake(
                "your rows count within the level",
                "Row 0 of the second level is not the first anchor: add what came before.",
                lambda objectness, level_sizes, k: _top_k_wrong(
                    objectness, level_sizes, k, "no offset"
                ),
            ),
            Mistake(
                "you took the lowest",
                "Sort descending: high objectness means object.",
                lambda objectness, level_sizes, k: _top_k_wrong(
                    objectness, level_sizes, k, "lowest"
                ),
            ),
            Mistake(
                "you sorted by row, not by score",
                "The chosen ones are right; within a level the best comes first.",
                lambda objectness, level_sizes, k: _top_k_wrong(
                    objectness, level_sizes, k, "by row"
                ),
            ),
        ),
        edge_cases=(
            (tensor([1.0, 2.0]), (2,), 1),
            (tensor([1.0, 2.0, 3.0, 4.0]), (2, 2), 1),
            (tensor([1.0, 3.0, 2.0]), (3,), 2),
            (tensor([1.0, 3.0, 2.0]), (2, 1), 2),
        ),
        random=_random_levels,
        photo=lambda sample: (Dice(0).distinct(16_368), (12_288, 3072, 768, 192, 48), 1000),
    ),
)
