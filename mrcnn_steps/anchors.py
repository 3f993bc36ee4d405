"""Stage 2, anchors: the fixed grid of boxes that every proposal starts from.

The order is the convolution's own: level by level, in a level row by row, in a row column by
column, in a cell ratio by ratio. Whoever breaks it trains each output on another anchor.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mrcnn_steps.boxes import centers_and_sizes, check_boxes, paired_iou
from mrcnn_steps.checks import (
    MAX_PIXELS,
    check_image_size,
    check_indices,
    check_list,
    check_positive,
    check_row,
    check_whole,
)

# Boxes whose best anchors are looked for at once: 15 candidates each take 30 MB.
PIECE_BOXES = 1 << 16


@dataclass(frozen=True)
class Grid:
    """The anchor grid of one pyramid level.

    Attributes:
        rows: number of anchor cells from top to bottom.
        columns: number of anchor cells from left to right.
        per_cell: anchors on each cell (ratios, times scales where a level has several).
        stride: `(y, x)` distance between neighboring cells in pixels of the network's input.
    """

    rows: int
    columns: int
    per_cell: int
    stride: tuple[float, float]

    @property
    def count(self) -> int:
        """Number of anchors of the level."""
        return self.rows * self.columns * self.per_cell


@dataclass(frozen=True)
class AnchorLocation:
    """Where an anchor sits in the pyramid.

    Attributes:
        level: index of the pyramid level, 0 is the finest.
        row: cell row in the level's grid.
        column: cell column in the level's grid.
        ratio: index among the cell's anchors (the aspect ratio where a level has one scale).
    """

    level: int
    row: int
    column: int
    ratio: int


@dataclass(frozen=True, eq=False)
class Anchors:
    """All anchors of an image, with the grid they come from.

    Attributes:
        boxes: [A, 4] in pixels of the network's input, ordered by level, row, column, ratio; some
            reach beyond the image.
        grids: the grid of every level.
    """

    boxes: Float[Tensor, "A 4"]
    grids: tuple[Grid, ...]

    def __post_init__(self) -> None:
        check_boxes(self.boxes, "anchors")
        expected = sum(grid.count for grid in self.grids)
        if len(self.boxes) != expected:
            raise ValueError(
                f"anchors: the grids {self.grids} hold {expected} anchors, found {len(self.boxes)}"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def level_slices(self) -> tuple[slice, ...]:
        """The rows of `boxes` that belong to each level."""
        ends = list(itertools.accumulate(grid.count for grid in self.grids))
        return tuple(slice(start, end) for start, end in zip([0, *ends], ends, strict=False))

    @property
    def level_names(self) -> tuple[str, ...]:
        """The levels as the FPN paper calls them: of five, P2 is the finest."""
        if len(self.grids) == 5:
            return ("P2", "P3", "P4", "P5", "P6")
        return tuple(f"level {level}" for level in range(len(self.grids)))

    def levels(self, indices: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
        """Give the pyramid level of each anchor.

        Args:
            indices: [N] rows of `boxes`.

        Returns:
            [N] levels, 0 is the finest.

        Raises:
            ValueError: an index is no row of `boxes`.
        """
        check_indices(indices, "indices", "N", len(self))
        ends = torch.tensor([part.stop for part in self.level_slices], device=indices.device)
        return torch.bucketize(indices, ends, right=True)

    def locate(self, index: int) -> AnchorLocation:
        """Find the level, cell and ratio of an anchor.

        Args:
            index: row of `boxes`.

        Returns:
            Its place in the pyramid.

        Raises:
            IndexError: there is no such row.
        """
        check_row(index, "anchor", len(self))
        level = next(i for i, part in enumerate(self.level_slices) if index < part.stop)
        grid = self.grids[level]
        cell, ratio = divmod(index - self.level_slices[level].start, grid.per_cell)
        row, column = divmod(cell, grid.columns)
        return AnchorLocation(level, row, column, ratio)

    def index(self, location: AnchorLocation) -> int:
        """Find the row of an anchor in `boxes`, the inverse of `locate`.

        Args:
            location: level, row, column and ratio.

        Returns:
            Its row.

        Raises:
            IndexError: the level, row, column or ratio does not exist.
        """
        place = (location.row, location.column, location.ratio)
        if not 0 <= location.level < len(self.grids):
            raise IndexError(f"{location}: there are {len(self.grids)} levels")
        grid = self.grids[location.level]
        limits = (grid.rows, grid.columns, grid.per_cell)
        if not all(0 <= value < limit for value, limit in zip(place, limits, strict=True)):
            raise IndexError(f"{location}: the level has rows, columns, ratios {limits}")
        cell = location.row * grid.columns + location.column
        start = self.level_slices[location.level].start
        return start + cell * grid.per_cell + location.ratio


def cell_anchors(scale: float, ratios: Sequence[float]) -> Float[Tensor, "ratios 4"]:
    """Make the anchors of one cell around the origin (Faster R-CNN §3.1.1).

    All have the area `scale²`; `ratio = width / height`, where torchvision's `aspect_ratios` are
    height / width and its boxes are rounded to whole pixels.

    Args:
        scale: side of the square anchor in pixels.
        ratios: width / height of each anchor.

    Returns:
        [ratios, 4] boxes in pixels with their center at (0, 0).
    """
    root = torch.tensor(ratios, dtype=torch.float64).sqrt()
    half_width, half_height = scale * root / 2, scale / root / 2
    return torch.stack((-half_width, -half_height, half_width, half_height), dim=1).float()


def pyramid(
    image_size: int | tuple[int, int],
    strides: Sequence[int] = (4, 8, 16, 32, 64),
    scales: Sequence[float] = (32, 64, 128, 256, 512),
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    anchor_stride: int = 1,
) -> Anchors:
    """Lay anchors over every level of a feature pyramid (FPN §4.1).

    A level's feature map has `ceil(image / stride)` cells a side; anchors stand on the top left
    corner of every `anchor_stride`-th of them, one scale a level, and are neither rounded nor
    clipped. 1024 pixels with `anchor_stride=1` give 261,888 anchors, with 2 a quarter: 65,472.

    Args:
        image_size: side of a square image, or `(height, width)`, in pixels.
        strides: pixels between neighboring cells of each level's feature map.
        scales: anchor side of each level, in pixels.
        ratios: width / height of a cell's anchors.
        anchor_stride: cells from one anchor position to the next.

    Returns:
        The anchors in the order level, row, column, ratio.

    Raises:
        ValueError: a number is not positive, or there are not as many scales as strides.
    """
    square = isinstance(image_size, int)
    height, width = check_image_size((image_size, image_size) if square else image_size)
    check_whole(anchor_stride, "anchor_stride", least=1)
    for name, values in (("strides", strides), ("scales", scales), ("ratios", ratios)):
        check_list(values, name)
        for value in values:
            check_positive(value, name)
        if not values:
            raise ValueError(f"{name}: expected at least one number, found none")
    if len(scales) != len(strides):
        raise ValueError(f"scales: expected {len(strides)}, one for each stride, found {scales}")

    steps = [stride * anchor_stride for stride in strides]
    count = sum(height / step * width / step for step in steps) * len(ratios)
    if count > MAX_PIXELS:
        raise ValueError(f"strides: expected at most {MAX_PIXELS:,} anchors, found {count:,.0f}")
    levels, grids = [], []
    for stride, scale in zip(strides, scales, strict=True):
        y = torch.arange(0, math.ceil(height / stride), anchor_stride) * stride
        x = torch.arange(0, math.ceil(width / stride), anchor_stride) * stride
        center_y, center_x = torch.meshgrid(y, x, indexing="ij")
        centers = torch.stack((center_x, center_y, center_x, center_y), dim=-1)
        levels.append((centers[:, :, None] + cell_anchors(scale, ratios)).reshape(-1, 4))
        step = float(stride * anchor_stride)
        grids.append(Grid(len(y), len(x), len(ratios), (step, step)))
    return Anchors(torch.cat(levels), tuple(grids))


class BestAnchors(NamedTuple):
    """The anchor that overlaps each box most.

    Attributes:
        iou: [G] IoU with it, 0…1.
        row: [G] that anchor, a row of all anchors.
    """

    iou: Float[Tensor, "G"]
    row: Int[Tensor, "G"]


def best_anchors(anchors: Anchors, boxes: Float[Tensor, "G 4"]) -> BestAnchors:
    """Find the anchor that overlaps each box most, without comparing all of them.

    The anchors of one level and ratio have one size. Their IoU with a box falls with the distance
    of the centers along x and along y, so only the cell nearest to the box's center can be best: a
    handful of anchors to compare instead of all.

    Args:
        anchors: a pyramid, of which at least one level has anchors.
        boxes: [G, 4] in pixels of the network's input.

    Returns:
        IoU and row of each box's best anchor; which one is left open where several tie.
    """
    parts = [_best_anchors(anchors, some) for some in boxes.split(PIECE_BOXES)]
    iou, row = (torch.cat(each) for each in zip(*parts, strict=True))
    return BestAnchors(iou, row)


def _best_anchors(anchors: Anchors, boxes: Tensor) -> tuple[Tensor, Tensor]:
    x, y, _, _ = centers_and_sizes(boxes)
    near = []
    for grid, part in zip(anchors.grids, anchors.level_slices, strict=True):
        if not grid.count:
            continue
        first_x, first_y, _, _ = centers_and_sizes(anchors.boxes[part][: grid.per_cell])
        column = ((x[:, None] - first_x) / grid.stride[1]).round().clamp(0, grid.columns - 1)
        row = ((y[:, None] - first_y) / grid.stride[0]).round().clamp(0, grid.rows - 1)
        cell = (row * grid.columns + column).long()
        ratio = torch.arange(grid.per_cell, device=cell.device)
        near.append(part.start + cell * grid.per_cell + ratio)
    rows = torch.cat(near, dim=1)
    best, place = paired_iou(boxes[:, None], anchors.boxes[rows]).max(dim=1)
    return best, rows.gather(1, place[:, None])[:, 0]
