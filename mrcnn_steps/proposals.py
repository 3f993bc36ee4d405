"""Stage 4, proposals: from a score and a delta per anchor to the boxes worth a second look.

    objectness ─► top k ─► decode ─► clip ─► drop tiny ─► drop low ─► NMS ─► at most 1000

No filter rebinds a name: every step keeps the rows it saw, so that a dropped row can be shown
together with the reason why it left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, nms, remove_small_boxes

from mrcnn_steps.boxes import BoxesLike, as_boxes, decode, normalize
from mrcnn_steps.checks import (
    DIVERGED,
    check_floats,
    check_image_size,
    check_list,
    check_no_nan,
    check_number,
    check_row,
    check_same_dtype,
    check_whole,
)
from mrcnn_steps.nms import Overlaps, suppressor
from mrcnn_steps.steps import Step


@dataclass(frozen=True, eq=False)
class Proposals:
    """Every step from scored anchors to proposals, for one image.

    A *candidate* is an anchor among the top k; `K` candidates are numbered by score within their
    level (over all levels if the choice was global). The `…_rows` fields name candidates.

    Attributes:
        top_index: [K] the anchor of each candidate.
        top_scores: [K] its objectness as a probability, 0…1.
        top_anchors: [K, 4] the anchor itself, in pixels of the network's input.
        refined: [K, 4] the anchor moved by its predicted delta.
        clipped: [K, 4] the refined box cut to the image.
        group: [K] candidates suppress each other in NMS only within a group: the pyramid level,
            or 0 if NMS ran over all levels.
        large_rows: [L] candidates whose clipped box has both sides of at least the minimum size.
        scored_rows: [S] those of them that reach the score threshold.
        nms_rows: [M] those that NMS kept, by descending score.
        rows: [R] the final proposals among the candidates: the first `post_nms_top_n` of
            `nms_rows`.
        nms_threshold: IoU above which NMS dropped the candidate with the lower score.
        image_size: `(height, width)` that boxes were clipped to, in pixels.
        post_nms_top_n: most proposals that may remain.
        pre_nms_top_n: most candidates before NMS, of each level or of all.
        min_size: shortest side that a clipped box needs, in pixels.
        score_threshold: objectness that a candidate needs, 0…1.
        per_level: whether the top k and NMS ran level by level.
    """

    top_index: Int[Tensor, "K"]
    top_scores: Float[Tensor, "K"]
    top_anchors: Float[Tensor, "K 4"]
    refined: Float[Tensor, "K 4"]
    clipped: Float[Tensor, "K 4"]
    group: Int[Tensor, "K"]
    large_rows: Int[Tensor, "L"]
    scored_rows: Int[Tensor, "S"]
    nms_rows: Int[Tensor, "M"]
    rows: Int[Tensor, "R"]
    nms_threshold: float
    image_size: tuple[int, int]
    post_nms_top_n: int
    pre_nms_top_n: int
    min_size: float
    score_threshold: float
    per_level: bool

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def boxes(self) -> Float[Tensor, "R 4"]:
        """The proposals in pixels of the network's input, by descending score."""
        return self.clipped[self.rows]

    @property
    def scores(self) -> Float[Tensor, "R"]:
        """Objectness of each proposal, 0…1."""
        return self.top_scores[self.rows]

    @property
    def anchor_index(self) -> Int[Tensor, "R"]:
        """The anchor each proposal came from."""
        return self.top_index[self.rows]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The filters in order, each with the candidates that it keeps."""
        level = " of its level" if self.per_level else ""
        rule = f"the {self.pre_nms_top_n:,} of highest objectness"
        every = torch.arange(len(self.top_index), device=self.rows.device)
        return (
            Step("top_k", rule + (" of each level" if self.per_level else ""), every),
            Step("rpn_min_size", f"both sides of {self.min_size:g} px or more", self.large_rows),
            Step("rpn_score", f"objectness of {self.score_threshold:g} or more", self.scored_rows),
            Step(
                "rpn_nms",
                f"no IoU above {self.nms_threshold:g} with a better one{level}",
                self.nms_rows,
            ),
            Step("proposal_limit", f"the best {self.post_nms_top_n:,}", self.rows),
        )

    def limited(self, post_nms_top_n: int) -> "Proposals":
        """Take another number of proposals; nothing before the limit changes.

        Args:
            post_nms_top_n: most proposals that may remain.

        Returns:
            What `propose` gives with this limit.

        Raises:
            ValueError: the limit is no whole number of at least 0.
        """
        check_whole(post_nms_top_n, "post_nms_top_n")
        rows = self.nms_rows[:post_nms_top_n]
        return replace(self, rows=rows, post_nms_top_n=post_nms_top_n)

    def padded(self) -> Float[Tensor, "count 4"]:
        """Give the proposals as fractions of the image, zero-padded to `post_nms_top_n` rows.

        This is what the notes' network hands to its second stage.
        """
        missing = self.post_nms_top_n - len(self)
        return F.pad(normalize(self.boxes, self.image_size), (0, 0, 0, missing))

    def suppressor(self, row: int) -> int | None:
        """Find the candidate that NMS kept instead of another.

        Args:
            row: a candidate, 0…K-1.

        Returns:
            The kept candidate of highest score in the same group that overlaps it by more than
            the NMS threshold, or None if the candidate survived NMS or never took part in it.

        Raises:
            IndexError: there is no such candidate.
        """
        check_row(row, "candidate", len(self.top_index))
        took_part = bool((self.scored_rows == row).any())
        if not took_part or (self.nms_rows == row).any():
            return None
        rivals = self.nms_rows[self.group[self.nms_rows] == self.group[row]]
        return suppressor(self.clipped, self.top_scores, row, rivals, self.nms_threshold)


def _top_rows(objectness: Tensor, sizes: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
    """Give the `count` anchors of highest objectness in each group, and their group."""
    rows, groups, start = [], [], 0
    for group, scores in enumerate(objectness.split(list(sizes))):
        best = scores.topk(min(count, len(scores))).indices
        rows.append(best + start)
        groups.append(torch.full_like(best, group))
        start += len(scores)
    return torch.cat(rows), torch.cat(groups)


def propose(
    objectness: Float[Tensor, "A"],
    deltas: Float[Tensor, "A 4"],
    anchors: BoxesLike,
    image_size: tuple[int, int],
    level_sizes: Sequence[int] | None = None,
    pre_nms_top_n: int = 10_000,
    post_nms_top_n: int = 1000,
    nms_threshold: float = 0.7,
    min_size: float = 1e-3,
    score_threshold: float = 0.0,
    overlaps: Overlaps | None = None,
) -> Proposals:
    """Turn the RPN's outputs into proposals (Faster R-CNN §3.1, FPN §4.1).

    Args:
        objectness: [A] logits, before the sigmoid.
        deltas: [A, 4] predicted `(dx, dy, dw, dh)`, weights 1.
        anchors: [A, 4] in pixels of the network's input, or an `Anchors`.
        image_size: `(height, width)` to clip to, in pixels.
        level_sizes: number of anchors on each pyramid level; top k and NMS then run level by
            level, as in torchvision. Without it they run over all anchors at once, as in the
            notes.
        pre_nms_top_n: candidates to keep before NMS (of each level, or of all).
        post_nms_top_n: proposals to keep after NMS, over all levels.
        nms_threshold: a candidate goes if its IoU with a better one exceeds this.
        min_size: shortest side of a clipped box that may stay, in pixels.
        score_threshold: lowest probability that may stay.
        overlaps: those of the clipped candidates and their scores, from an earlier call with the
            same top k over all anchors; saves NMS most of its time.

    Returns:
        The proposals with every step on the way.

    Raises:
        ValueError: shapes that do not fit together, or NaN.
    """
    boxes = as_boxes(anchors, "anchors")
    if level_sizes is not None:
        check_list(level_sizes, "level_sizes")
    sizes = [len(boxes)] if level_sizes is None else list(level_sizes)
    _check(objectness, deltas, boxes, sizes)
    image_size = check_image_size(image_size)
    check_whole(pre_nms_top_n, "pre_nms_top_n")
    check_whole(post_nms_top_n, "post_nms_top_n")
    check_number(nms_threshold, "nms_threshold")
    check_number(min_size, "min_size")
    check_number(score_threshold, "score_threshold")
    top_index, group = _top_rows(objectness, sizes, pre_nms_top_n)
    scores = objectness[top_index].sigmoid()
    top_anchors = boxes[top_index]
    refined = decode(deltas[top_index], top_anchors)
    clipped = clip_boxes_to_image(refined, image_size)
    large = remove_small_boxes(clipped, min_size)
    scored = large[scores[large] >= score_threshold]
    if overlaps is not None:
        if level_sizes is not None or len(overlaps) != len(top_index):
            raise ValueError(
                f"overlaps: expected those of {len(top_index)} candidates without level_sizes, "
                f"found {len(overlaps)} candidates, level_sizes {level_sizes}"
            )
        kept = overlaps.nms(nms_threshold, scored)
    elif level_sizes is None:
        # Above 1000 boxes `batched_nms` would reorder candidates of equal score.
        kept = scored[nms(clipped[scored], scores[scored], nms_threshold)]
    else:
        kept = scored[batched_nms(clipped[scored], scores[scored], group[scored], nms_threshold)]
    return Proposals(
        top_index=top_index,
        top_scores=scores,
        top_anchors=top_anchors,
        refined=refined,
        clipped=clipped,
        group=group,
        large_rows=large,
        scored_rows=scored,
        nms_rows=kept,
        rows=kept[:post_nms_top_n],
        nms_threshold=nms_threshold,
        image_size=image_size,
        post_nms_top_n=post_nms_top_n,
        pre_nms_top_n=pre_nms_top_n,
        min_size=min_size,
        score_threshold=score_threshold,
        per_level=level_sizes is not None,
    )


def _check(objectness: Tensor, deltas: Tensor, boxes: Tensor, sizes: Sequence[int]) -> None:
    count = len(boxes)
    check_floats(objectness, "objectness", for_native_code=True)
    check_floats(deltas, "deltas")
    check_same_dtype(deltas, "deltas", objectness, "objectness")
    for size in sizes:
        check_whole(size, "level_sizes")
    if objectness.shape != (count,) or deltas.shape != (count, 4) or sum(sizes) != count:
        raise ValueError(
            f"propose: {count} anchors need objectness of shape [{count}], deltas of shape "
            f"[{count}, 4] and level sizes that add up to {count}; found "
            f"{list(objectness.shape)}, {list(deltas.shape)} and {list(sizes)}"
        )
    check_no_nan(objectness, "objectness", DIVERGED)
    check_no_nan(deltas, "deltas", DIVERGED)
