"""Exercises of lesson 05: which pyramid level, which points, which class."""

import math
from collections.abc import Callable

import torch
from torch import tensor
from torchvision.ops import roi_align as torchvision_roi_align

from mrcnn_steps import classification as stage
from mrcnn_steps.data import Sample
from mrcnn_steps.exercises import pictures
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating
from mrcnn_steps.exercises.proposals import photo_candidates
from mrcnn_steps.exercises.rpn_targets import have_area

LESSON = "05_classification"


def fpn_level(boxes):
    size = boxes[:, 2:] - boxes[:, :2]
    side = torch.sqrt(size[:, 0] * size[:, 1])
    level = torch.floor(4 + torch.log2(side / 224))
    return level.clamp(2, 5).long()


def sample_points(box, size):
    x1, y1, x2, y2 = box.tolist()
    steps = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(y1 + steps * (y2 - y1), x1 + steps * (x2 - x1), indexing="ij")
    return torch.stack((x, y), dim=-1).reshape(-1, 2)


def bilinear(feature, x, y):
    height, width = feature.shape
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    across, down = x - left, y - top
    above = feature[top, left] * (1 - across) + feature[top, right] * across
    below = feature[bottom, left] * (1 - across) + feature[bottom, right] * across
    return above * (1 - down) + below * down


def roi_align(feature, box, size):
    values = [bilinear(feature, x, y) for x, y in sample_points(box, size).tolist()]
    return torch.stack(values).reshape(size, size)


def _level_wrong(boxes, change=torch.floor, log=torch.log2, side=torch.sqrt, clamp=True):
    size = boxes[:, 2:] - boxes[:, :2]
    level = change(4 + log(side(size[:, 0] * size[:, 1]) / 224))
    return (level.clamp(2, 5) if clamp else level).long()


def _clear_level(boxes):
    """No box lies so near to the border of two levels that rounding decides."""
    if not have_area(boxes):
        return False
    side = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
    level = torch.log2(side / 224)
    exact = torch.isin(side, tensor([56.0, 112, 224, 448]))
    return not (((level - level.round()).abs() < 1e-3) & ~exact).any()


def _points_wrong(box, size, half=0.5, parts=0):
    x1, y1, x2, y2 = box.tolist()
    steps = (torch.arange(size) + half) / max(size + parts, 1)
    y, x = torch.meshgrid(y1 + steps * (y2 - y1), x1 + steps * (x2 - x1), indexing="ij")
    return torch.stack((x, y), dim=-1).reshape(-1, 2)


def _read(feature, x, y):
    """Read the value under a point: RoIAlign of the 1×1 box around it."""
    box = tensor([[x - 0.5, y - 0.5, x + 0.5, y + 0.5]])
    return torchvision_roi_align(feature[None, None], [box], 1, sampling_ratio=1)[0, 0, 0, 0]


def _inside(feature, x, y):
    return 0 <= x <= feature.shape[1] - 1 and 0 <= y <= feature.shape[0] - 1


# Ways to take one pixel for a point between pixels.
ROUNDING: dict[str, Callable[[float], int]] = {
    "nearest": lambda position: int(position + 0.5),
    "half to even": round,
    "down": int,
    "up": math.ceil,
}


def _bilinear_wrong(feature, x, y, way):
    height, width = feature.shape
    if way in ROUNDING:
        column, row = ROUNDING[way](x), ROUNDING[way](y)
        return feature[min(row, height - 1), min(column, width - 1)]
    if way == "swapped":
        x, y = min(y, width - 1.0), min(x, height - 1.0)
    if way == "half":
        x, y = max(x - 0.5, 0.0), max(y - 0.5, 0.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    across, down = x - left, y - top
    if way == "mirrored":
        across, down = 1 - across, 1 - down
    if way == "mean":
        across, down = 0.5, 0.5
    above = feature[top, left] * (1 - across) + feature[top, right] * across
    below = feature[bottom, left] * (1 - across) + feature[bottom, right] * across
    return above * (1 - down) + below * down


def _longer_square(boxes):
    """Give the square of the same place whose side is the longer one of the box."""
    side = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True)
    return torch.cat((boxes[:, :2], boxes[:, :2] + side), dim=1)


def _random_point(dice: Dice, rows: int):
    feature = dice.integers((rows + 1, rows + 2), 0, 9).float()
    return feature, dice.integer(0, 4 * (rows + 1)) / 4, dice.integer(0, 4 * rows) / 4


def _aligned(feature, box, size, **how):
    how = {"sampling_ratio": 1} | how
    return torchvision_roi_align(feature[None, None], [box[None]], size, **how)[0, 0]


def _roi_fair(feature, box, size):
    """RoIAlign makes an RoI below 1×1 larger, and reads zeros outside the map: neither here."""
    x1, y1, x2, y2 = box.tolist()
    height, width = feature.shape
    return (size > 0 and x1 >= 0.5 and y1 >= 0.5 and x2 <= width - 1 and y2 <= height - 1) and min(
        x2 - x1, y2 - y1
    ) >= 1


def _random_roi(dice: Dice, rows: int):
    side = rows + 4
    feature = dice.integers((side, side), 0, 9).float()
    box = dice.boxes(1, extent=side - 2)[0] + dice.integers((4,), 0, 1) / 4 + 0.5
    return feature, box, dice.integer(1, 3)


def _roi_max(feature, box, size):
    """RoIPool: whole pixels, and the maximum of each bin."""
    from torchvision.ops import roi_pool

    return roi_pool(feature[None, None], [box[None]], size)[0, 0]


def _photo_feature(sample: Sample):
    """Take the photo at a quarter of its size, as if it were a feature map."""
    gray = sample.image.float().mean(dim=0)
    return torch.nn.functional.avg_pool2d(gray[None, None], 4)[0, 0]


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="The pyramid level each RoI is pooled from (FPN eq. 1): k = ⌊4 + log2(√(w h) / 224)⌋, "
        "limited to 2…5. boxes: float [R, 4], with area. Return int [R].",
        solution=fpn_level,
        rating=Rating(difficulty=2, importance=4, minutes=10),
        reference=lambda boxes: stage.assign_levels(boxes) + 2,
        shapes={"boxes": "R 4"},
        returns={"levels": "R"},
        fair=_clear_level,
        why="The notes round where torchvision takes the floor: half of all RoIs change levels.",
        hints=(
            "√(w h) is the side of a square of the same area.",
            "An RoI of 224 × 224, the size of ImageNet's crops, belongs on level 4.",
            "torch.floor, then .clamp(2, 5), then .long().",
        ),
        mistakes=(
            Mistake(
                "you rounded",
                "The formula takes the floor: only an RoI twice as large goes one level up.",
                lambda boxes: _level_wrong(boxes, change=torch.round),
            ),
            Mistake(
                "you rounded up",
                "The formula takes the floor: an RoI of 225 pixels is still read from level 4.",
                lambda boxes: _level_wrong(boxes, change=torch.ceil),
            ),
            Mistake(
                "you took the longer side",
                "√(w h) is the side of a square of the same area: a long thin RoI is small.",
                lambda boxes: _level_wrong(_longer_square(boxes)),
            ),
            Mistake(
                "you forgot the square root",
                "w · h is an area; √(w h) is a side, and 224 is one too.",
                lambda boxes: _level_wrong(boxes, side=torch.clone),
            ),
            Mistake(
                "you took the natural logarithm",
                "Each level halves the resolution: log2.",
                lambda boxes: _level_wrong(boxes, log=torch.log),
            ),
            Mistake(
                "you forgot the limits",
                "There are feature maps for the levels 2 to 5 only.",
                lambda boxes: _level_wrong(boxes, clamp=False),
            ),
            Mistake(
                "you returned the index of the map, not the level",
                "Level 2 is the first of the maps; asked is k itself, 2…5.",
                lambda boxes: _level_wrong(boxes) - 2,
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0, 224, 224]]),),
            (tensor([[0.0, 0, 400, 400]]),),
            (tensor([[0.0, 0, 100, 100]]),),
            (tensor([[0.0, 0, 8, 8], [0, 0, 1000, 1000]]),),
            (torch.zeros(0, 4),),
        ),
        random=lambda dice, rows: (dice.boxes(rows, extent=1000),),
        photo=lambda sample: (photo_candidates(sample, 200, seed=1)[0] * 2,),
    ),
    Exercise(
        lesson=LESSON,
        task="Where an RoI is sampled: the centers of size × size equal bins. box: float [4]; "
        "size: int. Return float [size², 2], (x, y), row by row from the top.",
        solution=sample_points,
        rating=Rating(difficulty=2, importance=4, minutes=10),
        reference=lambda box, size: stage.sample_points(box, 1.0, (size, size), 1) - 0.5,
        shapes={"box": "4"},
        returns={"points": "P 2"},
        tolerance=1e-3,
        fair=lambda box, size: (
            size > 0 and float(box[2] - box[0]) >= 1 and float(box[3] - box[1]) >= 1
        ),
        why="No rounding anywhere: that is what RoIAlign changed about RoIPool (Mask R-CNN §3).",
        hints=(
            "One bin: its center is the center of the box.",
            "Bin j lies between x1 + j · w / size and x1 + (j + 1) · w / size.",
            "(torch.arange(size) + 0.5) / size are the centers as fractions of the box.",
        ),
        mistakes=(
            Mistake(
                "you took the corners of the bins",
                "The center of bin j lies half a bin further: j + 0.5.",
                lambda box, size: _points_wrong(box, size, half=0.0),
            ),
            Mistake(
                "your points reach from edge to edge",
                "linspace puts the outermost points on the edges of the box; the centers of the "
                "outermost bins lie half a bin inside.",
                lambda box, size: _points_wrong(box, size, half=0.0, parts=-1),
            ),
            Mistake(
                "you returned (y, x)",
                "Points are (x, y), as boxes are.",
                lambda box, size: sample_points(box, size).flip(1),
            ),
            Mistake(
                "you went column by column",
                "Row by row: x changes fastest.",
                lambda box, size: (
                    sample_points(box, size).reshape(size, size, 2).transpose(0, 1).reshape(-1, 2)
                ),
            ),
        ),
        edge_cases=(
            (tensor([0.0, 0, 2, 4]), 1),
            (tensor([0.0, 0, 4, 8]), 2),
            (tensor([1.0, 2, 4, 4]), 3),
        ),
        random=lambda dice, rows: (dice.boxes(1)[0], dice.integer(1, rows)),
        photo=lambda sample: (sample.boxes[-1], 7),
        picture=pictures.points,
    ),
    Exercise(
        lesson=LESSON,
        task="Read a feature map between its pixels. feature: float [H, W]; x, y: float, inside "
        "the map, where pixel (row i, column j) is the point x = j, y = i. Mix the four pixels "
        "around the point, each weighted by how near it is in x times how near in y. Return one "
        "float.",
        solution=bilinear,
        rating=Rating(difficulty=3, importance=5, minutes=15),
        reference=_read,
        shapes={"feature": "H W"},
        returns={"value": ""},
        fair=_inside,
        why="The value changes smoothly with the point, so gradients can flow.",
        hints=(
            "First mix left and right in the row above and in the row below, then these two.",
            "left = int(x); the right pixel has the weight x − left, the left one what is left of "
            "1.",
            "On the last column there is no pixel to the right: min(left + 1, W − 1).",
        ),
        mistakes=(
            Mistake(
                "you swapped x and y",
                "feature[row, column] is feature[y, x].",
                lambda feature, x, y: _bilinear_wrong(feature, x, y, "swapped"),
            ),
            Mistake(
                "you swapped the weights",
                "The nearer pixel has the larger weight: at x = 2.25 pixel 2 has 0.75.",
                lambda feature, x, y: _bilinear_wrong(feature, x, y, "mirrored"),
            ),
            Mistake(
                "you took a single pixel",
                "That is RoIPool's rounding. Mix the four neighbors.",
                lambda feature, x, y: _bilinear_wrong(feature, x, y, "nearest"),
                also=(
                    lambda feature, x, y: _bilinear_wrong(feature, x, y, "half to even"),
                    lambda feature, x, y: _bilinear_wrong(feature, x, y, "down"),
                    lambda feature, x, y: _bilinear_wrong(feature, x, y, "up"),
                ),
            ),
            Mistake(
                "you took the plain mean of four pixels",
                "At x = 2.25 pixel 2 counts three times as much as pixel 3.",
                lambda feature, x, y: _bilinear_wrong(feature, x, y, "mean"),
            ),
            Mistake(
                "you are half a pixel off",
                "Here pixel j is the point x = j, not j + 0.5 (aligned=False): subtract nothing.",
                lambda feature, x, y: _bilinear_wrong(feature, x, y, "half"),
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 4.0], [0.0, 4.0]]), 0.25, 0.0),
            (tensor([[0.0, 0.0], [4.0, 4.0]]), 0.0, 0.25),
            (tensor([[0.0, 1.0], [2.0, 3.0]]), 1.0, 1.0),
            (tensor([[5.0]]), 0.0, 0.0),
        ),
        random=_random_point,
        photo=lambda sample: (_photo_feature(sample), 60.3, 41.8),
    ),
    Exercise(
        lesson=LESSON,
        task="RoIAlign with one sample a bin. feature: float [H, W]; box: float [4] in pixels of "
        "the map, inside it; size: int. Read the map bilinearly at the center of each of the "
        "size × size bins, pixel (i, j) being the point x = j, y = i. Return float [size, size].",
        solution=roi_align,
        rating=Rating(difficulty=2, importance=5, minutes=10),
        uses=(sample_points, bilinear),
        reference=_aligned,
        shapes={"feature": "H W", "box": "4"},
        returns={"pooled": "size size"},
        tolerance=1e-3,
        fair=_roi_fair,
        why="Reading position p as the center of pixel p is half a pixel off (aligned=False), but "
        "torchvision's weights were trained so and need it.",
        hints=(
            "You have both halves already: sample_points and bilinear.",
            "The first row of the result belongs to the top of the box.",
            "roi_align = bilinear at each of sample_points(box, size), reshaped to [size, size].",
        ),
        mistakes=(
            Mistake(
                "you rounded the box",
                "That is RoIPool. A box of 7.6 pixels stays 7.6 pixels wide: no rounding anywhere.",
                lambda feature, box, size: _aligned(feature, box.round(), size),
            ),
            Mistake(
                "you subtracted half a pixel",
                "That is aligned=True: geometrically right, but other weights. Here the position "
                "is used as it is.",
                lambda feature, box, size: _aligned(feature, box, size, aligned=True),
            ),
            Mistake(
                "you swapped x and y",
                "Rows of the result run along y.",
                lambda feature, box, size: _aligned(feature, box, size).T,
            ),
            Mistake(
                "you took the maximum of each bin",
                "That is RoIPool; RoIAlign reads one point bilinearly.",
                _roi_max,
            ),
            Mistake(
                "you took four samples a bin",
                "sampling_ratio=2 averages 2 × 2 points; here it is one, in the center.",
                lambda feature, box, size: _aligned(feature, box, size, sampling_ratio=2),
            ),
        ),
        edge_cases=(
            (torch.arange(16.0).reshape(4, 4), tensor([1.0, 1, 3, 3]), 1),
            (torch.arange(16.0).reshape(4, 4) ** 2, tensor([1.0, 0.5, 3, 2.5]), 2),
            (torch.arange(25.0).reshape(5, 5) % 7, tensor([0.75, 1, 3.25, 4]), 2),
        ),
        random=_random_roi,
        photo=lambda sample: (_photo_feature(sample), tensor([25.5, 53.25, 119.0, 92.0]), 7),
        picture=pictures.grids,
    ),
)
