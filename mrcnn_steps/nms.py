"""Non-maximum suppression looked into: who suppressed whom, and again at another threshold."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import box_iou, nms

from mrcnn_steps.boxes import check_boxes
from mrcnn_steps.checks import (
    check_floats,
    check_indices,
    check_no_nan,
    check_number,
    check_row,
    check_same_dtype,
)

# Below this threshold so few boxes survive that NMS from scratch is quick, and nearly every pair
# of boxes would have to be remembered.
LEAST = 0.1
# Boxes that are compared with the others at a time: their table fits into a processor's cache.
BLOCK = 128
# The first look at a pair rounds differently than torchvision; the pairs it lets pass are
# computed again.
SLACK = 0.999


def suppressor(
    boxes: Float[Tensor, "N 4"],
    scores: Float[Tensor, "N"],
    row: int,
    kept: Int[Tensor, "K"],
    threshold: float,
) -> int:
    """Find the box that NMS kept instead of another.

    `batched_nms` moves boxes far apart before it compares them, which rounds them. Where no IoU of
    the boxes as they are exceeds the threshold, it was the largest that did so there.

    Args:
        boxes: [N, 4].
        scores: [N].
        row: a box that NMS dropped.
        kept: [K] the rows that it kept of the same group, best first.
        threshold: that of the NMS.

    Returns:
        The first of `kept` that overlaps the box by more than the threshold.

    Raises:
        IndexError: there is no such row.
        ValueError: shapes that do not fit together, or no kept box of at least its score.
    """
    _check(boxes, scores)
    check_row(row, "box", len(boxes))
    check_indices(kept, "kept", "K", len(boxes))
    check_number(threshold, "threshold")
    better = kept[scores[kept] >= scores[row]]
    if not len(better):
        raise ValueError(f"kept: expected a box of at least the score of box {row}, found none")
    # In double precision, as torchvision compares.
    iou = box_iou(boxes[row : row + 1], boxes[better])[0].double()
    over = (iou > threshold).nonzero().flatten()
    return int(better[over[0] if len(over) else iou.argmax()])


class Overlaps:
    """Which boxes overlap, found once; then NMS at any threshold in a few milliseconds.

    torchvision compares every box that stays with all that follow. How much two boxes overlap
    does not depend on the threshold, and few pairs overlap at all, so they are kept.

    Args:
        boxes: [N, 4].
        scores: [N].

    Raises:
        ValueError: shapes that do not fit together, or NaN.
    """

    def __init__(self, boxes: Float[Tensor, "N 4"], scores: Float[Tensor, "N"]) -> None:
        _check(boxes, scores)
        self._boxes, self._scores = boxes, scores
        self._order = scores.argsort(descending=True, stable=True)
        self._rank = torch.empty_like(self._order)
        self._rank[self._order] = torch.arange(len(boxes), device=boxes.device)
        better, worse, iou = _overlapping(boxes[self._order].cpu())
        by_better = better.argsort(stable=True)
        self._better, self._worse = better[by_better].numpy(), worse[by_better].numpy()
        # torchvision compares its float32 IoU with the threshold in double precision.
        self._iou = iou[by_better].double().numpy()

    def __len__(self) -> int:
        return len(self._boxes)

    def nms(self, threshold: float, rows: Int[Tensor, "M"] | None = None) -> Int[Tensor, "K"]:
        """Greedy non-maximum suppression: `rows[torchvision.ops.nms(boxes[rows], …)]`.

        Args:
            threshold: a box goes if its IoU with a better one that stays exceeds this.
            rows: [M] the boxes that take part, ascending; all without.

        Returns:
            [K] the rows that stay, best first.

        Raises:
            ValueError: rows of boxes that do not exist, or a threshold that is no number.
        """
        check_number(threshold, "threshold")
        if rows is None:
            rows = torch.arange(len(self._boxes), device=self._boxes.device)
        check_indices(rows, "rows", "M", len(self._boxes))
        if threshold < LEAST:
            return rows[nms(self._boxes[rows], self._scores[rows], threshold)]
        strong = self._iou > threshold
        better, worse = self._better[strong], self._worse[strong]
        stays = np.zeros(len(self._boxes), dtype=bool)
        stays[self._rank[rows].cpu().numpy()] = True
        found = np.unique(better, return_index=True, return_counts=True)
        for rank, start, count in np.stack(found, axis=1).tolist():
            if stays[rank]:
                stays[worse[start : start + count]] = False
        return self._order[torch.from_numpy(stays).to(self._order.device)]


def _check(boxes: Tensor, scores: Tensor) -> None:
    check_boxes(boxes, "boxes")
    check_floats(scores, "scores", (len(boxes),), for_native_code=True)
    check_same_dtype(scores, "scores", boxes, "boxes")
    check_no_nan(scores, "scores")


def _overlapping(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the pairs of boxes whose IoU exceeds `LEAST`: the earlier, the later, and the IoU."""
    by_left = boxes[:, 0].argsort()
    x1, y1, x2, y2 = boxes[by_left].T.contiguous()
    area = (x2 - x1) * (y2 - y1)
    enough = area * (LEAST * SLACK)
    pairs = [torch.zeros((2, 0), dtype=torch.long)]
    for start in range(0, len(boxes), BLOCK):
        block = slice(start, start + BLOCK)
        # Boxes further right than this start where all of the block have ended.
        end = int(torch.searchsorted(x1, x2[block].max()))
        others = slice(start, max(end, start + BLOCK))
        width = _overlap(x1[block], x2[block], x1[others], x2[others])
        shared = width.mul_(_overlap(y1[block], y2[block], y1[others], y2[others]))
        # IoU > t is shared > t · (area + area − shared).
        near = shared.mul_(1 + LEAST).sub_(enough[block, None]) > enough[others]
        found = near.nonzero().T
        pairs.append(found[:, found[0] < found[1]] + start)
    one, other = torch.cat(pairs, dim=1)
    width = (torch.minimum(x2[one], x2[other]) - torch.maximum(x1[one], x1[other])).clamp(min=0)
    height = (torch.minimum(y2[one], y2[other]) - torch.maximum(y1[one], y1[other])).clamp(min=0)
    shared = width * height
    iou = shared / (area[one] + area[other] - shared)
    one, other = by_left[one], by_left[other]
    return torch.minimum(one, other), torch.maximum(one, other), iou


def _overlap(start: Tensor, end: Tensor, other_start: Tensor, other_end: Tensor) -> Tensor:
    """How long the intervals of one row and of another lie upon each other, for every pair."""
    shared = torch.minimum(end[:, None], other_end)
    return shared.sub_(torch.maximum(start[:, None], other_start)).clamp_(min=0)
