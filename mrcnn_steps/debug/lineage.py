"""Lineage: what belongs together through all stages, from an anchor to an object.

Every detection comes from one proposal, and that from one anchor. Which object it found is decided
by matching (`mrcnn_steps.matching`), so that the ways there and back agree: the lineage of an
object that was found is that of its detection.
"""

from dataclasses import dataclass

from torch import Tensor

from mrcnn_steps.checks import check_row
from mrcnn_steps.matching import Matches, match_trace, most_overlapped, overlaps
from mrcnn_steps.tracing import Trace

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Link:
    """A lineage at one stage.

    Attributes:
        stage: key of the stage: "anchors", "proposals", "classification", "detection" or "masks".
        row: of the stage's result.
        box: `(x1, y1, x2, y2)` in pixels of the network's input.
        label: the class that the stage gives it; None before classification.
        score: objectness of a proposal, else the probability of `label`, 0…1; None for an anchor.
        object: the object of any class that the box overlaps most; None if it overlaps none.
        iou: IoU with it, 0…1.
    """

    stage: str
    row: int
    box: Corners
    label: int | None
    score: float | None
    object: int | None
    iou: float


@dataclass(frozen=True)
class Lineage:
    """What belongs together through all stages.

    Without a detection, anchor and proposal are no more than the nearest ones there are; the IoU of
    their links says how near.

    Attributes:
        object: row of `trace.ground_truth`: the object that the detection found, or that is asked
            about; None for a detection that found none.
        anchor: row of `trace.anchors`; None if none overlaps the object.
        proposal: row of `trace.proposals`, and of `trace.classification`; None as well.
        detection: row of `trace.detections`, and of the masks; None for an object not found.
        ignored: whether the detection only found a crowd: neither right nor wrong.
        links: the boxes and scores, stage by stage.
    """

    object: int | None
    anchor: int | None
    proposal: int | None
    detection: int | None
    ignored: bool
    links: tuple[Link, ...]

    def at(self, stage: str) -> Link | None:
        """Give the link of a stage, or None if the lineage does not reach it.

        Args:
            stage: a stage's key.
        """
        return next((link for link in self.links if link.stage == stage), None)


def lineage(trace: Trace, detection: int) -> Lineage:
    """Find where a detection came from, and which object it found.

    Args:
        trace: of a photo.
        detection: row of `trace.detections`.

    Returns:
        Its lineage, down to its anchor.

    Raises:
        IndexError: there is no such detection.
    """
    check_row(detection, "detection", len(trace.detections))
    return trace_back(trace, match_trace(trace), detection)


def trace_back(trace: Trace, matches: Matches, detection: int) -> Lineage:
    """Find where a detection came from, where the matches are at hand; see `lineage`.

    Args:
        trace: of a photo.
        matches: of the trace.
        detection: row of `trace.detections`.

    Returns:
        Its lineage.
    """
    found = int(matches.object_of[detection])
    proposal = int(trace.detections.proposal_index[detection])
    return Lineage(
        object=None if found < 0 else found,
        anchor=int(trace.proposals.anchor_index[proposal]),
        proposal=proposal,
        detection=detection,
        ignored=bool(matches.ignored[detection]),
        links=(
            *_proposal_links(trace, proposal),
            *_detection_links(trace, detection),
        ),
    )


def lineage_of_object(trace: Trace, object: int) -> Lineage:
    """Find the detection that found an object; without one, what came nearest to it.

    Args:
        trace: of a photo with annotations.
        object: row of `trace.ground_truth`.

    Returns:
        The lineage of its detection. Without one, that of the proposal that overlaps it most;
        without an overlapping one, the anchor that does.

    Raises:
        IndexError: there is no such object.
    """
    truth = trace.ground_truth
    check_row(object, "object", 0 if truth is None else len(truth.boxes))
    assert truth is not None
    matches = match_trace(trace)
    detection = int(matches.detection_of[object])
    if detection >= 0:
        return trace_back(trace, matches, detection)
    box = truth.boxes[object : object + 1]
    proposal = _nearest(box, trace.proposals.boxes)
    if proposal is None:
        return lineage_of_candidate(trace, object, _nearest(box, trace.anchors.boxes))
    anchor = int(trace.proposals.anchor_index[proposal])
    return lineage_of_candidate(trace, object, anchor, proposal)


def lineage_of_candidate(
    trace: Trace, object: int, anchor: int | None, proposal: int | None = None
) -> Lineage:
    """Give the way of a candidate for an object that no detection found.

    Args:
        trace: of a photo with annotations.
        object: row of `trace.ground_truth`.
        anchor: row of `trace.anchors`; None if none overlaps the object.
        proposal: row of `trace.proposals` that the anchor became; None if it became none.

    Returns:
        Its lineage, which ends before detection.
    """
    links = _anchor_links(trace, anchor) if proposal is None else _proposal_links(trace, proposal)
    return Lineage(object, anchor, proposal, None, False, links)


def describe(trace: Trace, lineage: Lineage) -> str:
    """Say a lineage in words.

    The IoU at each stage is that with the object; where the box overlaps another one more, that is
    said besides. For a detection that found none, the object is the one that it overlaps most.

    Args:
        trace: that it belongs to.
        lineage: made by `lineage` or `lineage_of_object`.

    Returns:
        One line, from the object to the mask.
    """
    about = lineage.links[-1].object if lineage.object is None else lineage.object
    near = "nearest " if lineage.detection is None else ""
    said = [_object_words(trace, lineage)]
    for link in lineage.links:
        prefix = near if link.stage in ("anchors", "proposals") else ""
        said.append(prefix + _words(trace, link, _overlap_words(trace, link, about)))
    if lineage.detection is None:
        said += ["no anchor overlaps it"] * (lineage.anchor is None)
        said += ["no proposal overlaps it"] * (lineage.proposal is None)
        said.append("no detection")
    return " → ".join(said)


def _nearest(box: Tensor, others: Tensor) -> int | None:
    """Give the row that overlaps a box most, if any does."""
    iou, row = most_overlapped(box, others)
    return int(row) if iou > 0 else None


def _anchor_links(trace: Trace, anchor: int | None) -> tuple[Link, ...]:
    if anchor is None:
        return ()
    return (_link(trace, "anchors", anchor, trace.anchors.boxes[anchor]),)


def _proposal_links(trace: Trace, proposal: int) -> tuple[Link, ...]:
    """Give an anchor, the proposal it became, and what the box head says of that."""
    proposals, answer = trace.proposals, trace.classification
    box = proposals.boxes[proposal]
    label, score = int(answer.labels[proposal]), float(answer.scores[proposal])
    return (
        *_anchor_links(trace, int(proposals.anchor_index[proposal])),
        _link(trace, "proposals", proposal, box, None, float(proposals.scores[proposal])),
        _link(trace, "classification", proposal, box, label, score),
    )


def _detection_links(trace: Trace, detection: int) -> tuple[Link, ...]:
    found = trace.detections
    box, label = found.boxes[detection], int(found.labels[detection])
    stages = ("detection",) if trace.mask_logits is None else ("detection", "masks")
    score = float(found.scores[detection])
    return tuple(_link(trace, stage, detection, box, label, score) for stage in stages)


def _link(
    trace: Trace,
    stage: str,
    row: int,
    box: Tensor,
    label: int | None = None,
    score: float | None = None,
) -> Link:
    truth = trace.ground_truth
    objects = trace.anchors.boxes[:0] if truth is None else truth.boxes
    iou, nearest = most_overlapped(box[None], objects)
    x1, y1, x2, y2 = box.tolist()
    most = int(nearest) if iou > 0 else None
    return Link(stage, row, (x1, y1, x2, y2), label, score, most, float(iou))


def _object_words(trace: Trace, lineage: Lineage) -> str:
    if lineage.object is not None:
        return _named(trace, lineage.object)
    if trace.ground_truth is None:
        return "no annotations"
    found = "a crowd" if lineage.ignored else "no annotated object"
    nearest = lineage.links[-1]
    if nearest.object is None:
        return found
    return f"{found}; nearest: {_named(trace, nearest.object)}, IoU {nearest.iou:.2f}"


def _named(trace: Trace, object: int) -> str:
    assert trace.ground_truth is not None
    return f"object {object} ({trace.class_names[int(trace.ground_truth.labels[object])]})"


def _overlap_words(trace: Trace, link: Link, about: int | None) -> str:
    """How much the box of a link overlaps the object, and which one it overlaps more."""
    truth = trace.ground_truth
    if truth is None or about is None:
        return ""
    own = float(overlaps(truth.boxes.new_tensor([link.box]), truth.boxes[about : about + 1]))
    more = f" and {link.iou:.2f} with object {link.object}" if link.object != about else ""
    return f", IoU {own:.2f}" + (more if link.iou > own else "")


def _words(trace: Trace, link: Link, overlap: str) -> str:
    name = "" if link.label is None else trace.class_names[link.label]
    match link.stage:
        case "anchors":
            level = trace.anchors.level_names[trace.anchors.locate(link.row).level]
            return f"anchor {link.row:,} ({level}{overlap})"
        case "proposals":
            return f"proposal {link.row} (objectness {link.score:.2f}{overlap})"
        case "classification":
            return f"classified {name} ({link.score:.2f})"
        case "detection":
            return f"detection {link.row} ({name} {link.score:.2f}{overlap})"
    return f"mask {link.row}"
