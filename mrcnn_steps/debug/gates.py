"""The gates of the pipeline: what each measures of a candidate, and who stood in its way."""

from typing import NamedTuple

from torch import Tensor

from mrcnn_steps.debug.evidence import (
    ANOTHER_OBJECT,
    BACKGROUND,
    BACKGROUND_IOU,
    SAME_OBJECT,
    Suppressor,
    corners,
)
from mrcnn_steps.matching import Matches, in_photo, most_overlapped, overlaps
from mrcnn_steps.tracing import Trace


class Measure(NamedTuple):
    """What a gate measured, and what it asks for.

    Attributes:
        quantity: what was measured, in words.
        value: the number.
        threshold: what it was compared with.
    """

    quantity: str
    value: float
    threshold: float


def candidate_row(trace: Trace, anchor: int) -> int | None:
    """Find an anchor among the candidates of `trace.proposals`; None if it is not in the top k."""
    return _place(trace.proposals.top_index, anchor)


def proposal_row(trace: Trace, anchor: int) -> int | None:
    """Find the proposal that an anchor became; None if it became none."""
    return _place(trace.proposals.anchor_index, anchor)


def class_row(trace: Trace, proposal: int, label: int) -> int:
    """Find a proposal's candidate for a class among those of `trace.detections`."""
    found = trace.detections
    own = (found.candidate_proposal == proposal) & (found.candidate_label == label)
    return int(own.nonzero()[0])


def measure(trace: Trace, gate: str, anchor: int, label: int) -> Measure:
    """Measure an able candidate as the gate did that turned it away.

    Args:
        trace: of a photo.
        gate: where the candidate ended, one of `GATES` before "merged".
        anchor: row of `trace.anchors`.
        label: the class that it is a candidate for.

    Returns:
        The number and its threshold.
    """
    proposals, found = trace.proposals, trace.detections
    if gate == "top_k":
        rank = _objectness_rank(trace, anchor)
        return Measure("rank by objectness", rank, proposals.pre_nms_top_n)
    row = candidate_row(trace, anchor)
    assert row is not None
    match gate:
        case "rpn_min_size":
            return Measure("shorter side", _side(proposals.clipped[row]), proposals.min_size)
        case "rpn_score":
            score = float(proposals.top_scores[row])
            return Measure("objectness", score, proposals.score_threshold)
        case "rpn_nms":
            rival = proposals.suppressor(row)
            iou = _iou(proposals.clipped, row, rival)
            return Measure("IoU with its suppressor", iou, proposals.nms_threshold)
        case "proposal_limit":
            rank = _rank(proposals.nms_rows, row)
            return Measure("rank after NMS", rank, proposals.post_nms_top_n)
    proposal = proposal_row(trace, anchor)
    assert proposal is not None
    row = class_row(trace, proposal, label)
    match gate:
        case "min_size":
            return Measure("shorter side", _side(found.clipped[row]), found.min_size)
        case "nms":
            rival = found.suppressor(row)
            iou = _iou(found.clipped, row, rival)
            return Measure("IoU with its suppressor", iou, found.nms_threshold)
        case "detection_limit":
            return Measure("rank after NMS", _rank(found.nms_rows, row), found.max_detections)
    raise ValueError(f"gate: expected one that turns candidates away, found {gate!r}")


def proposal_suppressor(trace: Trace, candidate: int, object: int) -> Suppressor:
    """Find who suppressed a candidate of the RPN.

    Args:
        trace: of a photo with annotations.
        candidate: row of the candidates of `trace.proposals` that its NMS dropped.
        object: the candidate's object, a row of `trace.ground_truth`.

    Returns:
        The suppressor. It covers the object of any class that it overlaps most.
    """
    proposals = trace.proposals
    row = proposals.suppressor(candidate)
    assert row is not None
    return _suppressor(
        trace,
        object,
        box=proposals.clipped[row],
        covers=_most_overlapped(trace, proposals.clipped[row]),
        anchor=int(proposals.top_index[row]),
        proposal=_place(proposals.rows, row),
        detection=None,
        score=float(proposals.top_scores[row]),
        iou=_iou(proposals.clipped, candidate, row),
    )


def detection_suppressor(trace: Trace, matches: Matches, candidate: int, object: int) -> Suppressor:
    """Find who suppressed a candidate of the detection stage.

    Args:
        trace: of a photo with annotations.
        matches: of its detections.
        candidate: row of the candidates of `trace.detections` that its NMS dropped.
        object: the candidate's object, a row of `trace.ground_truth`.

    Returns:
        The suppressor. It covers the object that it found; without one, the object of any class
        that it overlaps most.
    """
    found = trace.detections
    row = found.suppressor(candidate)
    assert row is not None
    detection = _place(found.rows, row)
    matched = -1 if detection is None else int(matches.object_of[detection])
    proposal = int(found.candidate_proposal[row])
    [box] = in_photo(trace, found.clipped[row, None])
    return _suppressor(
        trace,
        object,
        box=box,
        covers=matched if matched >= 0 else _most_overlapped(trace, box),
        anchor=int(trace.proposals.anchor_index[proposal]),
        proposal=proposal,
        detection=detection,
        score=float(found.candidate_score[row]),
        iou=_iou(found.clipped, candidate, row),
    )


def _suppressor(
    trace: Trace,
    object: int,
    box: Tensor,
    covers: int,
    anchor: int,
    proposal: int | None,
    detection: int | None,
    score: float,
    iou: float,
) -> Suppressor:
    truth = trace.ground_truth
    assert truth is not None
    object_iou = float(overlaps(box[None], truth.boxes[covers, None]))
    kind = SAME_OBJECT if covers == object else ANOTHER_OBJECT
    if object_iou < BACKGROUND_IOU:
        kind = BACKGROUND
    bound = _iou(truth.boxes, object, covers) if kind == ANOTHER_OBJECT else None
    return Suppressor(
        anchor=anchor,
        proposal=proposal,
        detection=detection,
        box=corners(box),
        score=score,
        iou=iou,
        kind=kind,
        object=None if kind == BACKGROUND else covers,
        object_iou=object_iou,
        bound=bound,
    )


def _most_overlapped(trace: Trace, box: Tensor) -> int:
    assert trace.ground_truth is not None
    return int(most_overlapped(box[None], trace.ground_truth.boxes).row)


def _objectness_rank(trace: Trace, anchor: int) -> int:
    """Give an anchor's place by objectness, from 1, in its level or among all; over the top k."""
    proposals, objectness = trace.proposals, trace.objectness
    if proposals.per_level:
        level = trace.anchors.level_slices[trace.anchors.locate(anchor).level]
        objectness = objectness[level]
    better = int((objectness > trace.objectness[anchor]).sum())
    # Of anchors with the very same objectness the top k may take any.
    return max(better, proposals.pre_nms_top_n) + 1


def _rank(rows: Tensor, row: int) -> int:
    """Give a row's place among others, from 1."""
    return int((rows == row).nonzero()[0]) + 1


def _place(rows: Tensor, row: int) -> int | None:
    found = (rows == row).nonzero()
    return int(found[0]) if len(found) else None


def _side(box: Tensor) -> float:
    return float((box[2:] - box[:2]).min())


def _iou(boxes: Tensor, row: int, other: int | None) -> float:
    assert other is not None
    return float(overlaps(boxes[row, None], boxes[other, None]))
