"""The candidates of an object: every refined anchor that could have become its detection.

They are the proposals, and the anchors that the RPN refined onto the object, whatever became of
them. Each brings what the second stage says of it, asked anew where the RPN had dropped it, and the
gate at which it ended.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from mrcnn_steps.boxes import decode
from mrcnn_steps.classification import Classification
from mrcnn_steps.matching import in_photo, overlaps
from mrcnn_steps.settings import detection_settings
from mrcnn_steps.steps import fates as left_at
from mrcnn_steps.tracing import Trace

# Where an able candidate can end, in order; neither background nor score turns an able one away.
GATES = (
    "top_k",
    "rpn_min_size",
    "rpn_score",
    "rpn_nms",
    "proposal_limit",
    "min_size",
    "nms",
    "detection_limit",
    "merged",
)

# Of the anchors refined onto an object, those of highest objectness are looked at.
MOST_LANDED = 500

# RoIs that run through the heads at a time: no more than a trace has proposals, so that they need
# no more memory than it did.
BATCH = 1000

# Cells of a table of IoUs that are computed at a time.
PIECE_CELLS = 1_000_000


@dataclass(frozen=True, eq=False)
class Candidates:
    """The candidates of one object.

    Attributes:
        anchor: [N] row of `trace.anchors`.
        boxes: [N, 4] the refined and clipped anchor, in pixels of the network's input.
        iou: [N] of it with the object.
        probs: [N, C] what the second stage says of it.
        probability: [N] of the object's class.
        moved: [N, 4] the box moved by the second stage for the object's class, and clipped to the
            photo; see `in_photo`.
        moved_iou: [N] of that with the object.
        landed: [N] whether the refined anchor lies on the object.
        says: [N] whether the object's class would be said of it: the probability is over the score
            threshold (and the highest, where a proposal speaks for one class only).
        able: [N] whether, kept and left alone, it would be a detection of the object.
        gate: [N] where it ended, an index into `GATES`.
    """

    anchor: Int[Tensor, "N"]
    boxes: Float[Tensor, "N 4"]
    iou: Float[Tensor, "N"]
    probs: Float[Tensor, "N C"]
    probability: Float[Tensor, "N"]
    moved: Float[Tensor, "N 4"]
    moved_iou: Float[Tensor, "N"]
    landed: Bool[Tensor, "N"]
    says: Bool[Tensor, "N"]
    able: Bool[Tensor, "N"]
    gate: Int[Tensor, "N"]

    def best(self, among: Bool[Tensor, "N"]) -> int:
        """Find the candidate of highest probability.

        Args:
            among: [N] the candidates that count, at least one.

        Returns:
            Its row, the first of those that tie.
        """
        rows = among.nonzero().flatten()
        return int(rows[self.probability[rows].argmax()])


class Answers:
    """What the second stage says of refined anchors, each asked about once.

    Its answer depends on the box alone, so traces that differ in their settings share the answers.

    Args:
        trace: of a photo; what its own proposals were told is known already.

    Attributes:
        refined: [A, 4] every anchor, refined and clipped.
    """

    def __init__(self, trace: Trace) -> None:
        self.refined = refined_anchors(trace)
        self._trace, self._said = trace, trace.classification
        own = trace.proposals.anchor_index
        self._row = torch.full((len(trace.anchors),), -1, device=own.device)
        self._row[own] = torch.arange(len(own), device=own.device)

    def of(self, anchors: Int[Tensor, "N"]) -> Classification:
        """Give the answers about some anchors, and ask about those that are new.

        Args:
            anchors: [N] different rows of `trace.anchors`.

        Returns:
            Row n is what is said of the n-th.
        """
        new = anchors[self._row[anchors] < 0]
        if len(new):
            first = len(self._said.probs)
            parts = [self._trace.classify(part) for part in self.refined[new].split(BATCH)]
            self._said = _joined([self._said, *parts])
            self._row[new] = torch.arange(first, first + len(new), device=new.device)
        rows, said = self._row[anchors], self._said
        return Classification(
            said.roi_level[rows], said.logits[rows], said.probs[rows], said.deltas[rows]
        )


def _joined(parts: list[Classification]) -> Classification:
    return Classification(
        torch.cat([part.roi_level for part in parts]),
        torch.cat([part.logits for part in parts]),
        torch.cat([part.probs for part in parts]),
        torch.cat([part.deltas for part in parts]),
    )


class Survey:
    """The candidates of some objects of a trace, asked about all at once.

    Args:
        trace: of a photo with annotations.
        objects: rows of `trace.ground_truth`.
        iou: from which IoU on a box is an object's.
        score: that a detection has to exceed.
        answers: of a trace of the same photo that differs in its settings only.

    Attributes:
        refined: [A, 4] every anchor, refined and clipped.
    """

    def __init__(
        self,
        trace: Trace,
        objects: list[int],
        iou: float,
        score: float,
        answers: Answers | None = None,
    ) -> None:
        truth = trace.ground_truth
        assert truth is not None
        self.trace, self.iou, self.score = trace, iou, score
        self._truth = truth
        answers = Answers(trace) if answers is None else answers
        self.refined = answers.refined
        self._landed = self._land(objects)
        own = trace.proposals.anchor_index
        seen = torch.zeros(len(trace.anchors), dtype=torch.bool, device=own.device)
        for rows in self._landed.values():
            seen[rows] = True
        seen[own] = False
        self._anchor = torch.cat((own, seen.nonzero().flatten()))
        self._said = answers.of(self._anchor)
        self._gates()

    @cached_property
    def perfect(self) -> tuple[Float[Tensor, "G C"], Float[Tensor, "G 4"]]:
        """The second stage's answers for every object's own box.

        Probabilities, and the box moved for the object's class and clipped to the photo.
        """
        boxes = self._truth.boxes
        said = [self.trace.classify(part) for part in boxes.split(BATCH)]
        answer = _joined(said)
        return answer.probs, self._move(boxes, answer.deltas, self._truth.labels)

    def of(self, object: int) -> Candidates:
        """Give the candidates of an object.

        Args:
            object: one of those asked about.

        Returns:
            The proposals, then what else landed, by anchor.
        """
        label = int(self._truth.labels[object])
        on_it = torch.zeros(len(self.refined), dtype=torch.bool, device=self._anchor.device)
        on_it[self._landed[object]] = True
        is_candidate = on_it[self._anchor]
        is_candidate[: len(self.trace.proposals)] = True
        rows = is_candidate.nonzero().flatten()
        anchor, probs = self._anchor[rows], self._said.probs[rows]
        moved = self._moved(rows, label)
        box = self._truth.boxes[object, None]
        probability = probs[:, label]
        moved_iou = overlaps(moved, box)[:, 0]
        says = probability > self.score
        if self._one_class_each:
            says &= probs.argmax(dim=1) == label
        return Candidates(
            anchor=anchor,
            boxes=self.refined[anchor],
            iou=overlaps(self.refined[anchor], box)[:, 0],
            probs=probs,
            probability=probability,
            moved=moved,
            moved_iou=moved_iou,
            landed=on_it[anchor],
            says=says,
            able=says & (moved_iou >= self.iou),
            gate=self._gate(rows, label),
        )

    def _land(self, objects: list[int]) -> dict[int, Tensor]:
        """Give the anchors that the RPN refined onto each object, those of highest objectness."""
        boxes = self._truth.boxes[objects]
        order = self.trace.objectness.argsort(descending=True, stable=True)
        count = max(1, PIECE_CELLS // max(1, len(objects)))
        pieces = [overlaps(part, boxes) >= self.iou for part in self.refined[order].split(count)]
        on_object = torch.cat(pieces).T
        return {
            object: order[row.nonzero().flatten()[:MOST_LANDED]]
            for object, row in zip(objects, on_object, strict=True)
        }

    def _moved(self, rows: Tensor, label: int) -> Tensor:
        """Where candidates are moved for a class; those of the detection stage are its own."""
        labels = torch.full_like(rows, label)
        moved = self._move(self.refined[self._anchor[rows]], self._said.deltas[rows], labels)
        found = self.trace.detections
        own = (found.candidate_label == label).nonzero().flatten()
        # Proposals are the first of the rows.
        moved[found.candidate_proposal[own]] = in_photo(self.trace, found.clipped[own])
        return moved

    def _move(self, boxes: Tensor, deltas: Tensor, labels: Tensor) -> Tensor:
        """Boxes moved by their deltas for a class each, and clipped to the photo."""
        # A head may share one delta among all classes.
        column = labels if deltas.shape[1] > 1 else torch.zeros_like(labels)
        own = deltas[torch.arange(len(boxes), device=boxes.device), column]
        moved = decode(own, boxes, detection_settings(self.trace.model)["weights"])
        return in_photo(self.trace, moved)

    def _gates(self) -> None:
        """Where every anchor ended in the RPN, and every candidate of the detection stage."""
        proposals, found = self.trace.proposals, self.trace.detections
        first = torch.zeros(len(self.refined), dtype=torch.int64, device=self._anchor.device)
        first[proposals.top_index] = left_at(proposals.steps, len(proposals.top_index))
        self._first_gate = first
        self._second_gate = left_at(found.steps, len(found.candidate_label))
        self._one_class_each = len(found.candidate_label) == len(proposals)

    def _gate(self, rows: Tensor, label: int) -> Tensor:
        """Where candidates ended, as an index into `GATES`."""
        count = len(self.trace.proposals)
        gate = self._first_gate[self._anchor[rows]]
        proposal = rows[rows < count]
        classes = 1 if self._one_class_each else self._said.probs.shape[1]
        candidate = proposal if self._one_class_each else proposal * classes + label
        # Past `proposal_limit`: the stage's steps begin with background and score.
        second = self._second_gate[candidate] - 2 + GATES.index("min_size")
        gate[: len(proposal)] = second
        return gate


def refined_anchors(trace: Trace) -> Float[Tensor, "A 4"]:
    """Refine every anchor by the RPN's delta and clip it, whether it was a candidate or not.

    Args:
        trace: of a photo.

    Returns:
        [A, 4] in pixels of the network's input; those of candidates are the trace's own.
    """
    proposals = trace.proposals
    moved = decode(trace.rpn_deltas, trace.anchors.boxes)
    boxes = clip_boxes_to_image(moved, proposals.image_size)
    boxes[proposals.top_index] = proposals.clipped
    return boxes
