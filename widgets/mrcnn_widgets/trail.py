"""What belongs together through all stages: an object, its anchor, its proposal, its detection."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torchvision.ops import box_iou

from mrcnn_steps.tracing import Trace

# An object counts as found by a box of this IoU.
FOUND = 0.5


@dataclass(frozen=True)
class Trail:
    """What belongs together through all stages; None where the trail ends.

    Attributes:
        object: row of `trace.ground_truth`.
        anchor: row of `trace.anchors`.
        proposal: row of `trace.proposals`, and of `trace.classification`.
        detection: row of `trace.detections`, and of the masks.
    """

    object: int | None
    anchor: int | None
    proposal: int | None
    detection: int | None


def follow(trace: Trace, kind: str, row: int) -> Trail:
    """Finds what belongs to an object or a detection.

    A detection tells its proposal, and that its anchor. An object is looked for: its detection is
    the one of its class that overlaps it most, by an IoU of 0.5 or more. Without one, its proposal
    is the one that overlaps it most, if any does; without that, its anchor is the one of the
    positive anchors that does.

    Args:
        trace: whose rows are meant.
        kind: "object" or "detection".
        row: of `trace.ground_truth` or of `trace.detections`.
    """
    if kind == "detection":
        proposal = int(trace.detections.proposal_index[row])
        found = _object_of(trace, row)
        return Trail(found, int(trace.proposals.anchor_index[proposal]), proposal, row)
    truth = trace.ground_truth
    assert truth is not None
    box = truth.boxes[row : row + 1]
    same_class = trace.detections.labels == truth.labels[row]
    overlap = box_iou(trace.detections.boxes, box)[:, 0] * same_class
    if len(overlap) and overlap.max() >= FOUND:
        detection = int(overlap.argmax())
        proposal = int(trace.detections.proposal_index[detection])
        return Trail(row, int(trace.proposals.anchor_index[proposal]), proposal, detection)
    overlap = box_iou(trace.proposals.boxes, box)[:, 0]
    if len(overlap) and overlap.max() > 0:
        proposal = int(overlap.argmax())
        return Trail(row, int(trace.proposals.anchor_index[proposal]), proposal, None)
    match = truth.rpn_targets.match
    own = torch.where((match.labels == 1) & (match.gt_index == row), match.iou, -1)
    return Trail(row, int(own.argmax()) if own.max() > 0 else None, None, None)


def _object_of(trace: Trace, detection: int) -> int | None:
    truth = trace.ground_truth
    if truth is None or not len(truth.boxes):
        return None
    overlap = box_iou(trace.detections.boxes[detection : detection + 1], truth.boxes)[0]
    return int(overlap.argmax()) if overlap.max() >= FOUND else None


def describe(now: Trace, trail: Trail) -> str:
    """Says the trail in words."""
    words = (_object_words, _anchor_words, _proposal_words, _detection_words)
    return " → ".join(say(now, trail) for say in words)


def _object_words(now: Trace, trail: Trail) -> str:
    truth = now.ground_truth
    if trail.object is None or truth is None:
        return "no annotated object"
    return f"object {trail.object} ({now.class_names[int(truth.labels[trail.object])]})"


def _anchor_words(now: Trace, trail: Trail) -> str:
    if trail.anchor is None:
        return "no anchor reaches it"
    level = now.anchors.level_names[now.anchors.locate(trail.anchor).level]
    return f"anchor {trail.anchor:,} ({level})"


def _proposal_words(now: Trace, trail: Trail) -> str:
    if trail.proposal is None:
        return "no proposal reaches it"
    probs = now.classification.probs[trail.proposal]
    best = int(probs.argmax())
    score = float(now.proposals.scores[trail.proposal])
    return (
        f"proposal {trail.proposal} (objectness {score:.2f}) → classified "
        f"{now.class_names[best]} ({float(probs[best]):.2f})"
    )


def _detection_words(now: Trace, trail: Trail) -> str:
    if trail.detection is None:
        return "no detection"
    label = int(now.detections.labels[trail.detection])
    score = float(now.detections.scores[trail.detection])
    mask = "" if now.mask_logits is None else f" → mask {trail.detection}"
    return f"detection {trail.detection} ({now.class_names[label]} {score:.2f}){mask}"
