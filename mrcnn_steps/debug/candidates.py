"""The candidates of an object: every refined anchor that could have become its detection.

They are the proposals, and the anchors that the RPN refined onto the object, whatever became of
them. Each brings what the second stage says of it, asked anew where the RPN had dropped it, and the
gate at which it ended.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from mrcnn_steps.boxes import decode
from mrcnn_steps.matching import overlaps
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
        moved: [N, 4] the box moved by the second stage for the object's class, and clipped.
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


class Survey:
    """The candidates of some objects of a trace, asked about all at once.

    Args:
        trace: of a photo with annotations.
        objects: rows of `trace.ground_truth`.
        iou: from which IoU on a box is an object's.
        score: that a detection has to exceed.

    Attributes:
        refined: [A, 4] every anchor, refined and clipped.
        perfect: the second stage's answers for every object's own box: [G, C] probabilities, and
            [G, 4] the box moved for the object's class and clipped.
    """

    def __init__(self, trace: Trace, objects: list[int], iou: float, score: float) -> None:
        truth = trace.ground_truth
        assert truth is not None
        self.trace, self.iou, self.score = trace, iou, score
        self._truth = truth
        self.refined = refined_anchors(trace)
        self._landed = self._land(objects)
        self._classes = truth.labels.unique()
        own = trace.proposals.anchor_index
        seen = torch.zeros(len(trace.anchors), dtype=torch.bool, device=own.device)
        for rows in self._landed.values():
            seen[rows] = True
        seen[own] = False
        others = seen.nonzero().flatten()
        boxes = torch.cat((self.refined[others], truth.boxes))
        asked_probs, asked_moved = self._ask(boxes)
        count = len(others)
        rows = torch.arange(len(truth.boxes), device=own.device)
        column = torch.searchsorted(self._classes, truth.labels)
        self.perfect = asked_probs[count:], asked_moved[count:][rows, column]
        answer = trace.classification
        self._anchor = torch.cat((own, others))
        self._probs = torch.cat((answer.probs, asked_probs[:count]))
        own_moved = self._move(trace.proposals.boxes, answer.deltas)
        self._moved = torch.cat((own_moved, asked_moved[:count]))
        self._gates()

    def of(self, object: int) -> Candidates:
        """Give the candidates of an object.

        Args:
            object: one of those asked about.

        Returns:
            The proposals, then what else landed, by anchor.
        """
        label = int(self._truth.labels[object])
        column = int(torch.searchsorted(self._classes, self._truth.labels[object]))
        on_it = torch.zeros(len(self.refined), dtype=torch.bool, device=self._anchor.device)
        on_it[self._landed[object]] = True
        is_candidate = on_it[self._anchor]
        is_candidate[: len(self.trace.proposals)] = True
        rows = is_candidate.nonzero().flatten()
        anchor, probs, moved = self._anchor[rows], self._probs[rows], self._moved[rows, column]
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
        """The anchors that the RPN refined onto each object, those of highest objectness."""
        boxes = self._truth.boxes[objects]
        order = self.trace.objectness.argsort(descending=True, stable=True)
        count = max(1, PIECE_CELLS // max(1, len(objects)))
        pieces = [overlaps(part, boxes) >= self.iou for part in self.refined[order].split(count)]
        on_object = torch.cat(pieces).T
        return {
            object: order[row.nonzero().flatten()[:MOST_LANDED]]
            for object, row in zip(objects, on_object, strict=True)
        }

    def _ask(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The heads' probabilities for some boxes, and where they move them for each class."""
        said = [self.trace.classify(part) for part in boxes.split(BATCH)]
        moved = [
            self._move(part, answer.deltas)
            for part, answer in zip(boxes.split(BATCH), said, strict=True)
        ]
        return torch.cat([answer.probs for answer in said]), torch.cat(moved)

    def _move(self, boxes: Tensor, deltas: Tensor) -> Tensor:
        """Boxes moved by their deltas for each of the objects' classes, and clipped."""
        count = len(self._classes)
        # A head may share one delta among all classes.
        own = deltas[:, self._classes] if deltas.shape[1] > 1 else deltas.expand(-1, count, 4)
        moved = decode(own, boxes, detection_settings(self.trace.model)["weights"])
        return clip_boxes_to_image(moved, self.trace.image_size)

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
        classes = 1 if self._one_class_each else self._probs.shape[1]
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
