"""How well the anchors of a model fit objects: best IoU, what bounds it, and who is trained."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator

from mrcnn_steps.anchors import Anchors, best_anchors
from mrcnn_steps.boxes import centers_and_sizes
from mrcnn_steps.debug.coverage.objects import Placed
from mrcnn_steps.debug.coverage.positives import count_positives

# How far, in pixels, an anchor may lie from where its level's grid would have it: rounding.
SLACK = 0.01


class Fit(NamedTuple):
    """How well anchors fit objects.

    Attributes:
        iou: [N] best IoU of any anchor with the object.
        level: [N] the pyramid level of that anchor, 0 is the finest.
        shape: [N] the best IoU if that shape could stand anywhere: a bound that only other sizes
            and ratios raise.
        grid: [N] the IoU of the object's own shape half a step off on that level, along x and
            y: what an anchor of the right shape is sure of; only a finer grid or a larger input
            raises it.
        positives: [N] anchors that the RPN is trained to move onto the object.
    """

    iou: Float[Tensor, "N"]
    level: Int[Tensor, "N"]
    shape: Float[Tensor, "N"]
    grid: Float[Tensor, "N"]
    positives: Int[Tensor, "N"]


def fit(generator: AnchorGenerator, like: Tensor, placed: Placed, positive_iou: float) -> Fit:
    """Compare objects with the anchors of their photos.

    Args:
        generator: of the anchors.
        like: a weight of the model, for the type and the device of its anchors.
        placed: the objects.
        positive_iou: from which IoU on an anchor is trained on an object.

    Returns:
        A row for each object.
    """
    iou, level = best_ious(generator, like, placed)
    shape, grid = torch.zeros_like(iou), torch.zeros_like(iou)
    positives = torch.zeros_like(level)
    for number, each in enumerate(placed.grids):
        rows = placed.rows(number)
        boxes, anchors = placed.boxes[rows], lay_regular(each.lay(generator, like))
        shape[rows] = shape_bound(anchors, boxes)
        steps = torch.tensor([level.stride for level in anchors.grids], dtype=torch.float32)
        grid[rows] = grid_bound(boxes, steps[level[rows]])
        positives[rows] = count_positives(
            anchors, boxes, placed.photo[rows], iou[rows], positive_iou
        )
    return Fit(iou, level, shape, grid, positives)


def best_ious(
    generator: AnchorGenerator, like: Tensor, placed: Placed
) -> tuple[Float[Tensor, "N"], Int[Tensor, "N"]]:
    """Find how well the best anchor fits each object.

    Args:
        generator: of the anchors.
        like: a weight of the model.
        placed: the objects.

    Returns:
        [N] IoU with the best anchor, and [N] its level.

    Raises:
        ValueError: the anchors of a level are no regular grid.
    """
    iou = torch.zeros(len(placed))
    level = torch.zeros(len(placed), dtype=torch.int64)
    for number, grid in enumerate(placed.grids):
        rows = placed.rows(number)
        if len(rows):
            anchors = lay_regular(grid.lay(generator, like))
            iou[rows], best = best_anchors(anchors, placed.boxes[rows])
            level[rows] = anchors.levels(best)
    return iou, level


def lay_regular(anchors: Anchors) -> Anchors:
    """Give anchors for comparison with boxes, if each level repeats one cell at even steps.

    Args:
        anchors: as a model's generator lays them.

    Returns:
        The same, in single precision on the processor.

    Raises:
        ValueError: a level does not; only its nearest cell would be looked at.
    """
    for name, grid, part in zip(
        anchors.level_names, anchors.grids, anchors.level_slices, strict=True
    ):
        cells = anchors.boxes[part].reshape(grid.rows, grid.columns, grid.per_cell, 4)
        y, x = (
            torch.arange(count, device=cells.device) * step
            for count, step in zip((grid.rows, grid.columns), grid.stride, strict=True)
        )
        shift = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).repeat(1, 1, 2)
        off = (cells - cells[:1, :1] - shift[:, :, None]).abs()
        if off.numel() and off.max() > SLACK:
            raise ValueError(
                f"model.rpn.anchor_generator: expected a regular grid, found anchors of {name} up "
                f"to {float(off.max()):.3g} pixels beside one of steps {grid.stride}"
            )
    return Anchors(anchors.boxes.cpu().float(), anchors.grids)


def cell_shapes(anchors: Anchors) -> Float[Tensor, "K 2"]:
    """Give width and height of every anchor of a cell, level by level.

    Args:
        anchors: with regular levels.

    Returns:
        [K, 2] in pixels.
    """
    cells = [
        anchors.boxes[part][: grid.per_cell]
        for grid, part in zip(anchors.grids, anchors.level_slices, strict=True)
    ]
    _, _, width, height = centers_and_sizes(torch.cat(cells))
    return torch.stack((width, height), dim=1)


def shape_bound(anchors: Anchors, boxes: Float[Tensor, "N 4"]) -> Float[Tensor, "N"]:
    """Compute the best IoU that an anchor's shape allows, wherever it stands.

    S = min(w, a) · min(h, b) / (wh + ab − that), the highest over the shapes (a, b) of the cells.

    Args:
        anchors: with regular levels.
        boxes: [N, 4] in pixels of the input.

    Returns:
        [N] bounds, 0…1.
    """
    _, _, width, height = centers_and_sizes(boxes)
    bound = torch.zeros(len(boxes))
    for a, b in cell_shapes(anchors).tolist():
        shared = width.clamp(max=a) * height.clamp(max=b)
        bound = torch.maximum(bound, shared / (width * height + a * b - shared))
    return bound


def grid_bound(boxes: Float[Tensor, "N 4"], steps: Float[Tensor, "N 2"]) -> Float[Tensor, "N"]:
    """Compute the IoU of a box with its own shape half a step off along x and y.

    o = max(0, 1 − δx / w) · max(0, 1 − δy / h), IoU = o / (2 − o), δ half a step. A square is
    sure of an IoU of 0.7 only from 5.4 steps on, of 0.5 from 2.73.

    Args:
        boxes: [N, 4] in pixels of the input.
        steps: [N, 2] `(y, x)` distance of the cells, in the same pixels.

    Returns:
        [N] IoU, 0…1.
    """
    _, _, width, height = centers_and_sizes(boxes)
    along_x = (1 - steps[:, 1] / 2 / width).clamp(min=0)
    along_y = (1 - steps[:, 0] / 2 / height).clamp(min=0)
    shared = along_x * along_y
    return shared / (2 - shared)
