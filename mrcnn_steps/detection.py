"""Stage 6, detection: from classified proposals to at most 100 boxes with a class and a score.

    candidates ─► refine ─► clip ─► no background ─► no low scores ─► no tiny ─► NMS ─► top 100

No filter rebinds a name: every step keeps the rows it saw, so that a dropped row can be shown
together with the reason why it left.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from mrcnn_steps.boxes import BoxesLike, Weights, as_boxes, decode
from mrcnn_steps.checks import (
    DIVERGED,
    check_flag,
    check_floats,
    check_image_size,
    check_no_nan,
    check_number,
    check_row,
    check_same_dtype,
    check_whole,
)
from mrcnn_steps.nms import suppressor
from mrcnn_steps.steps import Step


@dataclass(frozen=True, eq=False)
class Detections:
    """Every step from classified proposals to detections, for one image.

    A *candidate* is a pair of a proposal and a class. The `…_rows` fields name candidates.

    Attributes:
        candidate_proposal: [M] the proposal of each candidate.
        candidate_label: [M] its class, 0 is background.
        candidate_score: [M] the probability of that class, 0…1.
        refined: [M, 4] the proposal moved by its delta for that class, in pixels of the network's
            input.
        clipped: [M, 4] the refined box cut to the image.
        foreground_rows: [F] candidates whose class is not background.
        confident_rows: [S] those of them above the score threshold.
        large_rows: [L] those with both sides of at least the minimum size.
        nms_rows: [K] those that NMS kept, by descending score.
        rows: [D] the detections among the candidates: the first `max_detections` of `nms_rows`.
        nms_threshold: IoU above which NMS dropped the candidate with the lower score.
        score_threshold: score that a candidate has to exceed.
        max_detections: most detections that may remain.
        min_size: shortest side that a clipped box needs, in pixels.
    """

    candidate_proposal: Int[Tensor, "M"]
    candidate_label: Int[Tensor, "M"]
    candidate_score: Float[Tensor, "M"]
    refined: Float[Tensor, "M 4"]
    clipped: Float[Tensor, "M 4"]
    foreground_rows: Int[Tensor, "F"]
    confident_rows: Int[Tensor, "S"]
    large_rows: Int[Tensor, "L"]
    nms_rows: Int[Tensor, "K"]
    rows: Int[Tensor, "D"]
    nms_threshold: float
    score_threshold: float
    max_detections: int
    min_size: float

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def boxes(self) -> Float[Tensor, "D 4"]:
        """The detections in pixels of the network's input, by descending score."""
        return self.clipped[self.rows]

    @property
    def labels(self) -> Int[Tensor, "D"]:
        """The class of each detection."""
        return self.candidate_label[self.rows]

    @property
    def scores(self) -> Float[Tensor, "D"]:
        """The score of each detection, 0…1."""
        return self.candidate_score[self.rows]

    @property
    def proposal_index(self) -> Int[Tensor, "D"]:
        """The proposal each detection came from."""
        return self.candidate_proposal[self.rows]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The filters in order, each with the candidates that it keeps."""
        return (
            Step("foreground", "a class other than background", self.foreground_rows),
            Step("score", f"score above {self.score_threshold:g}", self.confident_rows),
            Step("min_size", f"both sides of {self.min_size:g} px or more", self.large_rows),
            Step(
                "nms",
                f"no IoU above {self.nms_threshold:g} with a better one of its class",
                self.nms_rows,
            ),
            Step("detection_limit", f"the best {self.max_detections:,}", self.rows),
        )

    def suppressor(self, row: int) -> int | None:
        """Find the candidate that NMS kept instead of another.

        Args:
            row: a candidate, 0…M-1.

        Returns:
            The kept candidate of highest score with the same class that overlaps it by more than
            the NMS threshold, or None if the candidate survived NMS or never took part in it.

        Raises:
            IndexError: there is no such candidate.
        """
        check_row(row, "candidate", len(self.refined))
        took_part = bool((self.large_rows == row).any())
        if not took_part or (self.nms_rows == row).any():
            return None
        same_class = self.candidate_label[self.nms_rows] == self.candidate_label[row]
        rivals = self.nms_rows[same_class]
        # Of the many candidates these alone are looked at.
        rows = torch.cat((rivals, rivals.new_tensor([row])))
        kept = torch.arange(len(rivals), device=rows.device)
        boxes, scores = self.clipped[rows], self.candidate_score[rows]
        return int(rows[suppressor(boxes, scores, len(rivals), kept, self.nms_threshold)])


def detect(
    proposals: BoxesLike,
    probs: Float[Tensor, "R C"],
    deltas: Float[Tensor, "R D 4"],
    image_size: tuple[int, int],
    score_threshold: float = 0.05,
    nms_threshold: float = 0.5,
    max_detections: int = 100,
    weights: Weights = (10.0, 10.0, 5.0, 5.0),
    min_size: float = 1e-2,
    best_class_only: bool = False,
) -> Detections:
    """Choose the detections among the classified proposals.

    There are two ways to say which class a proposal speaks for. torchvision lets every class of
    every proposal compete, so that one proposal may become several detections of different
    classes. The notes let a proposal speak for its most probable class only, background included
    (`best_class_only=True`, with a score threshold of 0.7 and NMS at 0.3).

    Args:
        proposals: [R, 4] in pixels of the network's input, or a `Proposals`.
        probs: [R, C] class probabilities, class 0 is background.
        deltas: [R, C, 4] a delta for every class, or [R, 1, 4] shared by all.
        image_size: `(height, width)` to clip to, in pixels.
        score_threshold: score that a candidate has to exceed.
        nms_threshold: a candidate goes if its IoU with a better one of its class exceeds this.
        max_detections: detections to keep, over all classes.
        weights: of the deltas, as in `encode`.
        min_size: shortest side of a clipped box that may stay, in pixels.
        best_class_only: one candidate a proposal (the notes) or one a class (torchvision).

    Returns:
        The detections with every step on the way.

    Raises:
        ValueError: shapes that do not fit together, or NaN.
    """
    boxes = as_boxes(proposals, "proposals")
    rows, classes = _check(boxes, probs, deltas)
    image_size = check_image_size(image_size)
    check_number(score_threshold, "score_threshold")
    check_number(nms_threshold, "nms_threshold")
    check_whole(max_detections, "max_detections")
    check_number(min_size, "min_size")
    check_flag(best_class_only, "best_class_only")
    every = torch.arange(rows, device=probs.device)
    if best_class_only:
        label, proposal = probs.argmax(dim=1), every
    else:
        label = torch.arange(classes, device=probs.device).repeat(rows)
        proposal = every.repeat_interleave(classes)
    score = probs[proposal, label]
    own_deltas = deltas.expand(rows, classes, 4)[proposal, label]
    refined = decode(own_deltas, boxes[proposal], weights)
    clipped = clip_boxes_to_image(refined, image_size)
    foreground = (label > 0).nonzero().flatten()
    confident = foreground[score[foreground] > score_threshold]
    large = confident[remove_small_boxes(clipped[confident], min_size)]
    kept = large[batched_nms(clipped[large], score[large], label[large], nms_threshold)]
    return Detections(
        candidate_proposal=proposal,
        candidate_label=label,
        candidate_score=score,
        refined=refined,
        clipped=clipped,
        foreground_rows=foreground,
        confident_rows=confident,
        large_rows=large,
        nms_rows=kept,
        rows=kept[:max_detections],
        nms_threshold=nms_threshold,
        score_threshold=score_threshold,
        max_detections=max_detections,
        min_size=min_size,
    )


def _check(boxes: Tensor, probs: Tensor, deltas: Tensor) -> tuple[int, int]:
    check_floats(probs, "probs", ("R", "C"), for_native_code=True)
    check_floats(deltas, "deltas")
    check_same_dtype(deltas, "deltas", probs, "probs")
    rows, classes = probs.shape
    if len(boxes) != rows or deltas.shape not in {(rows, classes, 4), (rows, 1, 4)}:
        raise ValueError(
            f"detect: probs of shape [{rows}, {classes}] need {rows} proposals and deltas of "
            f"shape [{rows}, {classes}, 4] or [{rows}, 1, 4]; found {len(boxes)} and "
            f"{list(deltas.shape)}"
        )
    if classes == 0:
        raise ValueError("probs: expected at least the background among the classes, found none")
    check_no_nan(probs, "probs", DIVERGED)
    check_no_nan(deltas, "deltas", DIVERGED)
    return rows, classes
