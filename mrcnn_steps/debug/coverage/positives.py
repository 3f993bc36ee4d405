"""Which anchors are trained on each object: the rule of stage 3, asked about few anchors."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mrcnn_steps.anchors import Anchors
from mrcnn_steps.boxes import centers_and_sizes
from mrcnn_steps.rpn_targets import POSITIVE, match

# Anchors that are listed at once, over all objects: 8 bytes each, several times.
PIECE_ANCHORS = 1 << 17

# By how much limits are widened, as a share of an IoU and in pixels: rounding loses no anchor.
IOU_SLACK, PIXEL_SLACK = 1e-4, 0.01


class Windows(NamedTuple):
    """The cells of one level that lie near each object, for each of K anchors of a cell.

    Attributes:
        first: [N, K, 2] their first `(row, column)`.
        size: [N, K, 2] how many rows and columns; 0 where none is near.
    """

    first: Int[Tensor, "N K 2"]
    size: Int[Tensor, "N K 2"]


def count_positives(
    anchors: Anchors,
    boxes: Float[Tensor, "N 4"],
    photo: Int[Tensor, "N"],
    best: Float[Tensor, "N"],
    positive_iou: float,
) -> Int[Tensor, "N"]:
    """Count the anchors that the RPN is trained to move onto each object.

    `rpn_targets.match` decides, photo by photo. It is asked about those anchors only that can be
    positive: they overlap an object by the threshold, or as much as its best anchor does.

    Args:
        anchors: of every photo; their levels are regular.
        boxes: [N, 4] the objects, in pixels of the input.
        photo: [N] the photo of each, in rising order.
        best: [N] IoU with the object's best anchor.
        positive_iou: from which IoU on an anchor is trained on an object.

    Returns:
        [N] counts. An anchor counts for the object that it overlaps most, even if another one
        made it positive; an object may be left with none.
    """
    least = best.clamp(max=positive_iou) * (1 - IOU_SLACK)
    windows = [_windows(anchors, level, boxes, least) for level in range(len(anchors.grids))]
    found = torch.zeros(len(boxes), dtype=torch.int64)
    for piece in _pieces(windows, photo):
        _, number, counts = photo[piece].unique_consecutive(return_inverse=True, return_counts=True)
        near = [
            _near(anchors, level, Windows(first[piece], size[piece]))
            for level, (first, size) in enumerate(windows)
        ]
        owner, anchor = (torch.cat(each) for each in zip(*near, strict=True))
        # Two objects of a photo may name the same anchor.
        keys = (number[owner] * len(anchors) + anchor).unique()
        of_photo = (keys // len(anchors)).bincount(minlength=len(counts))
        some = (keys % len(anchors)).split(of_photo.tolist())
        own = torch.arange(piece.start, piece.stop).split(counts.tolist())
        for rows, objects in zip(some, own, strict=True):
            matched = match(anchors.boxes[rows], boxes[objects], None, positive_iou, 0.0)
            trained = matched.gt_index[matched.labels == POSITIVE]
            found[objects] = trained.bincount(minlength=len(objects))
    return found


def _windows(anchors: Anchors, level: int, boxes: Tensor, least: Tensor) -> Windows:
    """Find the cells whose anchors can overlap each box by at least so much.

    An IoU of t needs a shared area of t / (1 + t) · (wh + ab); its height is at most min(h, b),
    so its width is at least that area / min(h, b), and it is at most (w + a) / 2 − |dx|.
    """
    grid, part = anchors.grids[level], anchors.level_slices[level]
    cell = centers_and_sizes(anchors.boxes[part][: grid.per_cell])
    x, y, w, h = (each[:, None] for each in centers_and_sizes(boxes))
    first_x, first_y, a, b = cell
    t = least[:, None]
    shared = t / (1 + t) * (w * h + a * b)
    far_x = (w + a) / 2 - shared / torch.minimum(h, b) + PIXEL_SLACK
    far_y = (h + b) / 2 - shared / torch.minimum(w, a) + PIXEL_SLACK
    firsts, counts = [], []
    for center, far, step, most in (
        (y - first_y, far_y, grid.stride[0], grid.rows),
        (x - first_x, far_x, grid.stride[1], grid.columns),
    ):
        first = ((center - far) / step).ceil().clamp(min=0)
        last = ((center + far) / step).floor().clamp(max=most - 1)
        firsts.append(first.long())
        # No anchor is forced by an object that none touches.
        counts.append((last - first + 1).clamp(min=0).where(t > 0, 0).long())
    return Windows(torch.stack(firsts, dim=-1), torch.stack(counts, dim=-1))


def _near(anchors: Anchors, level: int, windows: Windows) -> tuple[Tensor, Tensor]:
    """List the anchors in the windows of a level: [M] whose window it is, and [M] the anchor."""
    grid, start = anchors.grids[level], anchors.level_slices[level].start
    first, size = windows.first.reshape(-1, 2), windows.size.reshape(-1, 2)
    area = size.prod(dim=1)
    window = torch.arange(len(area)).repeat_interleave(area)
    place = torch.arange(len(window)) - (area.cumsum(0) - area)[window]
    columns = size[window, 1]
    row, column = first[window, 0] + place // columns, first[window, 1] + place % columns
    shape = window % grid.per_cell
    return window // grid.per_cell, start + (row * grid.columns + column) * grid.per_cell + shape


def _pieces(windows: list[Windows], photo: Tensor) -> Iterator[slice]:
    """Cut the objects between photos, so that about `PIECE_ANCHORS` are near those of a piece."""
    if not len(photo):
        return
    near = torch.stack([size.prod(dim=2).sum(dim=1) for _, size in windows]).sum(dim=0)
    _, number = photo.unique_consecutive(return_inverse=True)
    by_photo = torch.zeros(int(number[-1]) + 1, dtype=torch.int64).index_add_(0, number, near)
    piece = (by_photo.cumsum(0) // PIECE_ANCHORS)[number]
    start = 0
    for count in piece.unique_consecutive(return_counts=True)[1].tolist():
        yield slice(start, start + count)
        start += count
