"""Exercises of lesson 02: the grid of anchors and its order."""

import math

import torch
from torch import tensor

from mrcnn_steps import anchors as stage
from mrcnn_steps.exercises import pictures
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating

LESSON = "02_anchors"


def cell_anchors(scale, ratios):
    width = scale * ratios.sqrt()
    height = scale / ratios.sqrt()
    return torch.stack((-width, -height, width, height), dim=1) / 2


def anchor_centers(rows, columns, stride):
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack((x, y), dim=-1).reshape(-1, 2).float() * stride


def level_anchors(centers, cell):
    corners = centers.repeat(1, 2)
    return (corners[:, None, :] + cell[None, :, :]).reshape(-1, 4)


def anchor_count(image_size, strides, ratios, anchor_stride):
    total = 0
    for stride in strides:
        cells = -(-image_size // stride)
        positions = -(-cells // anchor_stride)
        total += positions * positions * ratios
    return total


def locate_anchor(index, grids, ratios):
    for level, (rows, columns) in enumerate(grids):
        if index < rows * columns * ratios:
            cell, ratio = divmod(index, ratios)
            row, column = divmod(cell, columns)
            return level, row, column, ratio
        index -= rows * columns * ratios


def _located(index, grids, ratios):
    boxes = torch.zeros(sum(rows * columns * ratios for rows, columns in grids), 4)
    laid = tuple(stage.Grid(rows, columns, ratios, (1.0, 1.0)) for rows, columns in grids)
    place = stage.Anchors(boxes, laid).locate(index)
    return tensor([place.level, place.row, place.column, place.ratio])


def _count(image_size, strides, ratios, anchor_stride):
    scales = [32] * len(strides)
    return len(stage.pyramid(image_size, strides, scales, range(1, ratios + 1), anchor_stride))


def _locate_wrong(index, grids, ratios, column_first=False, ratio_first=False, border=0):
    for level, (rows, columns) in enumerate(grids):
        size = rows * columns * ratios
        if index < size + border or level == len(grids) - 1:
            if ratio_first:
                ratio, cell = divmod(index, rows * columns)
            else:
                cell, ratio = divmod(index, ratios)
            row, column = divmod(cell, rows if column_first else columns)
            return (level, column, row, ratio) if column_first else (level, row, column, ratio)
        index -= size
    return None


def _without_subtracting(index, grids, ratios):
    end = 0
    for level, (rows, columns) in enumerate(grids):
        end += rows * columns * ratios
        if index < end:
            cell, ratio = divmod(index, ratios)
            return level, *divmod(cell, columns), ratio
    return None


def _random_place(dice: Dice, rows: int):
    grids = tuple((dice.integer(1, rows), dice.integer(1, rows)) for _ in range(2))
    ratios = dice.integer(1, 3)
    return dice.integer(0, sum(r * c for r, c in grids) * ratios - 1), grids, ratios


def _in_grid(index, grids, ratios):
    return ratios > 0 and 0 <= index < sum(rows * columns * ratios for rows, columns in grids)


def _centers(rows, columns, stride):
    """Give the reference: anchors of the pyramid are centered on their cells."""
    boxes = stage.pyramid((rows * stride, columns * stride), [stride], [2.0], [1.0]).boxes
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _grid_of(size: int, stride: int):
    return anchor_centers(-(-size // stride), -(-size // stride), stride)


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="The anchors of one cell, centered on (0, 0). scale: float, the side of the square "
        "anchor in pixels; ratios: float [R], width / height. All have the area scale² "
        "(Faster R-CNN §3.1.1). Return float [R, 4].",
        solution=cell_anchors,
        rating=Rating(difficulty=2, importance=5, minutes=10),
        reference=lambda scale, ratios: stage.cell_anchors(scale, ratios.tolist()),
        shapes={"ratios": "R"},
        returns={"anchors": "R 4"},
        tolerance=1e-3,
        fair=lambda scale, ratios: scale > 0 and bool((ratios > 0).all()),
        why="torchvision's ratio is height / width and its boxes are rounded: weights trained with "
        "other anchors do not fit.",
        hints=(
            "You know w / h = ratio and w · h = scale². Solve for w and h.",
            "w = scale · √ratio, h = scale / √ratio.",
            "Centered on the origin: x1 = −w / 2, x2 = w / 2.",
        ),
        mistakes=(
            Mistake(
                "your ratio is height / width",
                "That is torchvision's order. Here a ratio of 2 is a wide anchor.",
                lambda scale, ratios: cell_anchors(scale, 1 / ratios),
            ),
            Mistake(
                "you forgot the square root",
                "With w = scale · ratio and h = scale / ratio the aspect is ratio², not ratio.",
                lambda scale, ratios: cell_anchors(scale, ratios**2),
            ),
            Mistake(
                "the area changes with the ratio",
                "w = scale · ratio and h = scale has the right aspect, but the anchor should "
                "keep the area scale².",
                lambda scale, ratios: cell_anchors(scale, ratios) * ratios.sqrt()[:, None],
            ),
            Mistake(
                "the anchors are not centered on the origin",
                "Half of the width lies on either side: x1 = −w / 2, x2 = w / 2.",
                lambda scale, ratios: (
                    cell_anchors(scale, ratios) - cell_anchors(scale, ratios)[:, :2].repeat(1, 2)
                ),
            ),
            Mistake(
                "you forgot to halve the sides",
                "An anchor from −w to w is twice as wide as it should be.",
                lambda scale, ratios: 2 * cell_anchors(scale, ratios),
            ),
        ),
        edge_cases=(
            (2.0, tensor([1.0])),
            (4.0, tensor([4.0])),
            (32.0, tensor([0.5, 1.0, 2.0])),
        ),
        random=lambda dice, rows: (float(dice.integer(1, 64)), dice.numbers((rows,), 0.2, 4.0)),
        photo=lambda sample: (64.0, tensor([0.5, 1.0, 2.0])),
        picture=pictures.boxes,
    ),
    Exercise(
        lesson=LESSON,
        task="The centers of a level's anchors, one for each cell. rows, columns: int; stride: "
        "int, pixels from one cell to the next. The first center is (0, 0). Return "
        "float [rows · columns, 2], (x, y), row by row from the top: the convolution's order.",
        solution=anchor_centers,
        rating=Rating(difficulty=2, importance=4, minutes=10),
        reference=_centers,
        shapes={},
        returns={"centers": "M 2"},
        fair=lambda rows, columns, stride: min(rows, columns, stride) > 0,
        why="Whoever breaks the order trains each of the network's outputs on another anchor.",
        hints=(
            "Write down the six centers of 2 rows and 3 columns by hand.",
            "The second center is one stride to the right of the first, not below it.",
            'torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij") gives every '
            "cell's row and column.",
        ),
        mistakes=(
            Mistake(
                "you returned (y, x)",
                "The order of the cells is right, but in each of them x comes first.",
                lambda rows, columns, stride: anchor_centers(rows, columns, stride).flip(1),
            ),
            Mistake(
                "you went column by column",
                "A convolution's output is stored row by row: x changes fastest.",
                lambda rows, columns, stride: anchor_centers(columns, rows, stride).flip(1),
            ),
            Mistake(
                "you put the centers into the middle of the cells",
                "A fair choice, but not the one that these weights were trained with: the "
                "first center is (0, 0).",
                lambda rows, columns, stride: anchor_centers(rows, columns, stride) + stride / 2,
            ),
            Mistake(
                "you forgot the stride",
                "Centers are in pixels of the network's input, not in cells.",
                lambda rows, columns, stride: anchor_centers(rows, columns, 1),
            ),
        ),
        edge_cases=((1, 2, 4), (2, 1, 4), (2, 3, 8), (1, 1, 16)),
        random=lambda dice, rows: (dice.integer(1, rows), dice.integer(1, rows), 4),
        photo=lambda sample: (16, 16, 64),
        picture=pictures.points,
    ),
    Exercise(
        lesson=LESSON,
        task="All anchors of a level. centers: float [P, 2], (x, y); cell: float [R, 4], the "
        "anchors of one cell around (0, 0). Return float [P · R, 4]: all anchors of the first "
        "center, then all of the second…",
        solution=level_anchors,
        rating=Rating(difficulty=2, importance=4, minutes=10),
        reference=lambda centers, cell: torch.cat(
            [cell + torch.cat((center, center)) for center in centers] or [torch.zeros(0, 4)]
        ),
        shapes={"centers": "P 2", "cell": "R 4"},
        returns={"anchors": "M 4"},
        fair=lambda centers, cell: bool((cell[:, 2:] > cell[:, :2]).all()),
        why="Level, row, column, ratio: with this order reshape alone matches the RPN's output.",
        hints=(
            "(x, y) moves both corners: repeat it to (x, y, x, y).",
            "Broadcast [P, 1, 4] against [1, R, 4].",
            "reshape(-1, 4) makes the last two axes but one the fastest: that is the order asked.",
        ),
        mistakes=(
            Mistake(
                "you put all centers of the first ratio first",
                "The anchors of one center stay together. Broadcast [P, 1, 4] with [1, R, 4], "
                "not the other way round.",
                lambda centers, cell: (cell[:, None, :] + centers.repeat(1, 2)[None, :, :]).reshape(
                    -1, 4
                ),
            ),
            Mistake(
                "you swapped x and y",
                "Centers are (x, y), and a box begins with x1.",
                lambda centers, cell: level_anchors(centers.flip(1), cell),
            ),
            Mistake(
                "you moved only one corner",
                "Moving x1, y1 alone changes the size. Both corners move by the same (x, y).",
                lambda centers, cell: (
                    level_anchors(centers, cell)
                    - torch.cat((centers * 0, centers), dim=1).repeat_interleave(len(cell), dim=0)
                ),
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0], [4, 0]]), tensor([[-1.0, -1, 1, 1]])),
            (tensor([[2.0, 5]]), tensor([[-1.0, -2, 1, 2], [-2, -1, 2, 1]])),
            (
                tensor([[0.0, 0], [4, 0], [0, 4]]),
                tensor([[-1.0, -2, 1, 2], [-2, -1, 2, 1], [-1, -1, 1, 1]]),
            ),
            (torch.zeros(0, 2), tensor([[-1.0, -1, 1, 1]])),
        ),
        random=lambda dice, rows: (
            4 * dice.integers((rows, 2), 0, 8).float(),
            dice.boxes(dice.integer(1, 3), extent=8) - 4,
        ),
        photo=lambda sample: (_grid_of(512, 16), cell_anchors(64.0, tensor([0.5, 1.0, 2.0]))),
        picture=pictures.boxes,
    ),
    Exercise(
        lesson=LESSON,
        task="How many anchors a square image has. image_size: int; strides: tuple of int, one a "
        "level; ratios: int, anchors at each position; anchor_stride: int, every how many cells "
        "there is a position, in both directions. A level has ceil(image_size / stride) cells a "
        "side. Return an int.",
        solution=anchor_count,
        rating=Rating(difficulty=1, importance=3, minutes=10),
        reference=_count,
        shapes={},
        returns={"count": ""},
        fair=lambda image_size, strides, ratios, anchor_stride: (
            min(image_size, ratios, anchor_stride) > 0
        ),
        why="1024 pixels have 261,888 anchors; with an anchor stride of 2 a quarter: 65,472.",
        hints=(
            "Count one level first: cells a side, then positions a side.",
            "Both divisions round up: math.ceil, or -(-a // b).",
            "Positions on a level: positions a side, squared.",
        ),
        mistakes=(
            Mistake(
                "you forgot that there are two directions",
                "Every second cell in x and in y leaves a quarter, not a half.",
                lambda image_size, strides, ratios, anchor_stride: sum(
                    math.ceil(math.ceil(image_size / s) / anchor_stride)
                    * math.ceil(image_size / s)
                    * ratios
                    for s in strides
                ),
            ),
            Mistake(
                "you forgot the anchor stride",
                "There is a position on every anchor_stride-th cell only.",
                lambda image_size, strides, ratios, anchor_stride: anchor_count(
                    image_size, strides, ratios, 1
                ),
            ),
            Mistake(
                "you rounded down",
                "A convolution pads a size that does not divide: 10 pixels with stride 4 make 3 "
                "cells.",
                lambda image_size, strides, ratios, anchor_stride: sum(
                    (image_size // s // anchor_stride) ** 2 * ratios for s in strides
                ),
            ),
            Mistake(
                "you forgot the ratios",
                "At every position there is an anchor for each ratio.",
                lambda image_size, strides, ratios, anchor_stride: anchor_count(
                    image_size, strides, 1, anchor_stride
                ),
            ),
        ),
        edge_cases=(
            (8, (4,), 1, 1),
            (8, (4,), 3, 2),
            (10, (4, 8), 3, 1),
            (1024, (4, 8, 16, 32, 64), 3, 2),
        ),
        random=lambda dice, rows: (
            dice.integer(8, 40 * rows),
            (4, 8, 16)[: dice.integer(1, 3)],
            dice.integer(1, 3),
            dice.integer(1, 2),
        ),
        photo=lambda sample: (max(sample.image.shape), (4, 8, 16, 32, 64), 3, 1),
    ),
    Exercise(
        lesson=LESSON,
        task="Where the anchor with a given row number sits. index: int; grids: tuple of (rows, "
        "columns), one a level; ratios: int, anchors a cell. The order is level, row, column, "
        "ratio. Return four ints (level, row, column, ratio).",
        solution=locate_anchor,
        rating=Rating(difficulty=3, importance=3, minutes=15),
        reference=_located,
        shapes={},
        returns={"place": "4"},
        fair=_in_grid,
        why="With this you can say which cell of which feature map is to blame for a detection.",
        hints=(
            "Take off the anchors of the levels before, one level after the other.",
            "Within a level, ratio is the fastest: divmod(index, ratios).",
            "What is left is the cell: divmod(cell, columns) gives row and column.",
        ),
        mistakes=(
            Mistake(
                "you counted the ratio as the slowest",
                "All ratios of a cell stand together; the next cell comes after them.",
                lambda index, grids, ratios: _locate_wrong(index, grids, ratios, ratio_first=True),
            ),
            Mistake(
                "you went column by column",
                "Cells are numbered row by row: divide by the number of columns.",
                lambda index, grids, ratios: _locate_wrong(index, grids, ratios, column_first=True),
            ),
            Mistake(
                "you forgot to take off the levels before",
                "Rows and columns are counted from the start of the anchor's own level.",
                _without_subtracting,
            ),
            Mistake(
                "you are one off at the end of a level",
                "A level with n anchors has the indices 0 … n − 1; index n is the first one of the "
                "next level.",
                lambda index, grids, ratios: _locate_wrong(index, grids, ratios, border=1),
            ),
        ),
        edge_cases=(
            (0, ((2, 2), (1, 1)), 1),
            (4, ((2, 2), (1, 1)), 1),
            (3, ((1, 2), (1, 1)), 2),
            (5, ((2, 3), (1, 2)), 3),
            (18, ((2, 3), (1, 2)), 3),
        ),
        random=_random_place,
        photo=lambda sample: (
            200_000,
            ((256, 256), (128, 128), (64, 64), (32, 32), (16, 16)),
            3,
        ),
    ),
)
