"""False positives: what kind of mistake each wrong detection is, and whether the label is wrong.

The kinds are those of TIDE (Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
Errors", ECCV 2020, §2.2). Before the model is blamed, detections that speak against the annotations
themselves are listed.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mrcnn_steps.debug.lineage import Lineage, trace_back
from mrcnn_steps.matching import Matches, in_photo, match_trace, overlaps
from mrcnn_steps.tracing import Trace

KINDS = ("localization", "class", "duplicate", "background", "both")

# A box that overlaps every object by no more than this lies on the background (TIDE's t_b).
BACKGROUND_IOU = 0.1
# A detection of this score that is far from every annotation: an object may be missing there.
SURE = 0.5
# A detection that lies on an unmatched object of another class by this IoU: its label may be wrong.
LIES_ON = 0.5

MISSING_LABEL, WRONG_LABEL = "an object may not be annotated", "an annotation's class may be wrong"


@dataclass(frozen=True)
class ErrorEvidence:
    """The numbers and rows that the kind of a false positive rests on.

    Attributes:
        label: the class that the detection claims.
        score: its score, 0…1.
        object: the object that the kind is about; of "background" and "both" the nearest one. None
            where there is none.
        iou: of the detection with it, 0…1.
        found_by: the detection that found that object; None if none did.
        siblings: other detections that come from the same proposal: it became several classes.
        lineage: where the detection came from.
    """

    label: int
    score: float
    object: int | None
    iou: float
    found_by: int | None
    siblings: tuple[int, ...]
    lineage: Lineage


@dataclass(frozen=True)
class FalsePositive:
    """A detection that found no object.

    Attributes:
        detection: row of `trace.detections`.
        kind: one of `KINDS`: "localization", the right class but not near enough; "class", on an
            object of another class; "duplicate", on an object that a better detection found;
            "background", on no object; "both", neither near enough nor of the right class.
        evidence: what that rests on.
        suspected: why the annotations, not the model, may be wrong; None if nothing says so.
    """

    detection: int
    kind: str
    evidence: ErrorEvidence
    suspected: str | None


def false_positives(
    trace: Trace, iou: float = 0.5, score_threshold: float | None = None
) -> tuple[FalsePositive, ...]:
    """Sort out the detections that found no object.

    Args:
        trace: of a photo with annotations; without any, nothing is known to be wrong.
        iou: threshold of matching, and TIDE's t_f.
        score_threshold: score that a detection has to exceed to be judged; all are without.

    Returns:
        The false positives: those that speak against an annotation first, then by row.
    """
    if trace.sample is None:
        return ()
    matches = match_trace(trace, iou, score_threshold)
    wrong = (matches.object_of < 0) & ~matches.ignored
    if score_threshold is not None:
        wrong &= trace.detections.scores > score_threshold
    tables = _tables(trace, matches)
    found = [_judge(trace, matches, tables, row, iou) for row in wrong.nonzero().flatten().tolist()]
    return tuple(sorted(found, key=lambda each: each.suspected is None))


def describe_error(trace: Trace, error: FalsePositive) -> str:
    """Say a false positive in one sentence.

    Args:
        trace: that it belongs to.
        error: made by `false_positives`.

    Returns:
        Such as "chair 0.53 (background): no object there, IoU 0.02 at most".
    """
    seen = error.evidence
    claim = f"{trace.class_names[seen.label]} {seen.score:.2f} ({error.kind})"
    if seen.object is None:
        why = "no object there"
    else:
        assert trace.ground_truth is not None
        name = trace.class_names[int(trace.ground_truth.labels[seen.object])]
        there = f"object {seen.object} ({name})"
        why = {
            "localization": f"not near enough to {there}, IoU {seen.iou:.2f}",
            "class": f"lies on {there}, IoU {seen.iou:.2f}",
            "duplicate": f"{there} was found by detection {seen.found_by}",
            "background": f"no object there, IoU {seen.iou:.2f} at most",
            "both": f"another class and not near enough: {there}, IoU {seen.iou:.2f}",
        }[error.kind]
    if seen.siblings:
        others = ", ".join(str(row) for row in seen.siblings)
        why += f"; its proposal also became detection {others}"
    return f"{claim}: {why}" + ("" if error.suspected is None else f"; {error.suspected}")


@dataclass(frozen=True, eq=False)
class Tables:
    """IoU of detections with everything that is annotated, and which counts for which question.

    Attributes:
        iou: [D, G] with the objects.
        same: [D, G] whether the object is of the detection's class.
        taken: [G] whether a detection found the object.
        nearest: [D] the largest IoU with any annotation: with crowds, and with objects of classes
            that the model does not know.
    """

    iou: Float[np.ndarray, "D G"]
    same: Bool[np.ndarray, "D G"]
    taken: Bool[np.ndarray, "G"]
    nearest: Float[np.ndarray, "D"]

    @classmethod
    def of(
        cls,
        boxes: Float[Tensor, "D 4"],
        labels: Int[Tensor, "D"],
        objects: Float[Tensor, "G 4"],
        object_labels: Int[Tensor, "G"],
        crowds: Float[Tensor, "K 4"],
        others: Float[Tensor, "U 4"],
        matches: Matches,
    ) -> "Tables":
        """Compute the tables.

        Args:
            boxes: [D, 4] the detections.
            labels: [D] their classes.
            objects: [G, 4] in the same pixels.
            object_labels: [G] their classes.
            crowds: [K, 4] boxes around crowds.
            others: [U, 4] objects of classes that the model does not know.
            matches: of the detections with the objects.

        Returns:
            The tables.
        """
        iou = overlaps(boxes, objects)
        parts = (
            iou,
            overlaps(boxes, others),
            overlaps(boxes, crowds, crowd=True),
            iou.new_zeros((len(boxes), 1)),
        )
        return cls(
            iou=iou.cpu().numpy(),
            same=(labels[:, None] == object_labels).cpu().numpy(),
            taken=(matches.detection_of >= 0).cpu().numpy(),
            nearest=torch.cat(parts, dim=1).amax(dim=1).cpu().numpy(),
        )


class Verdict(NamedTuple):
    """What is wrong with a detection; see `FalsePositive` and `ErrorEvidence`."""

    kind: str
    object: int | None
    iou: float
    suspected: str | None


def judge(tables: Tables, row: int, score: float, threshold: float) -> Verdict:
    """Type one false positive: the first rule that holds (TIDE §2.2).

    Args:
        tables: of all detections.
        row: the false positive.
        score: its own, 0…1.
        threshold: TIDE's t_f.

    Returns:
        Its kind, the object that this is about, the IoU with it, and what speaks against the
        annotations.
    """
    iou, same = tables.iou[row], tables.same[row]
    own, own_iou = _best(iou, same)
    other, other_iou = _best(iou, ~same)
    taken, taken_iou = _best(iou, same & tables.taken)
    nearest, nearest_iou = _best(iou, np.ones_like(same))
    if BACKGROUND_IOU <= own_iou <= threshold:
        kind, about, overlap = "localization", own, own_iou
    elif other_iou >= threshold:
        kind, about, overlap = "class", other, other_iou
    elif taken_iou >= threshold:
        kind, about, overlap = "duplicate", taken, taken_iou
    else:
        kind = "background" if nearest_iou <= BACKGROUND_IOU else "both"
        about, overlap = nearest, nearest_iou
    suspected = None
    if _best(iou, ~same & ~tables.taken)[1] >= LIES_ON:
        suspected = WRONG_LABEL
    elif score >= SURE and tables.nearest[row] < BACKGROUND_IOU:
        suspected = MISSING_LABEL
    return Verdict(kind, about, overlap, suspected)


def _tables(trace: Trace, matches: Matches) -> Tables:
    found, truth = trace.detections, trace.ground_truth
    nothing, none = found.boxes[:0], found.labels[:0]
    annotated = (
        (nothing, none, nothing, nothing)
        if truth is None
        else (truth.boxes, truth.labels, truth.crowd_boxes, truth.unknown_boxes)
    )
    return Tables.of(in_photo(trace, found.boxes), found.labels, *annotated, matches)


def _judge(
    trace: Trace, matches: Matches, tables: Tables, row: int, threshold: float
) -> FalsePositive:
    """Type one false positive of a trace, and say where it came from."""
    found = trace.detections
    score = float(found.scores[row])
    kind, about, overlap, suspected = judge(tables, row, score, threshold)
    finder = -1 if about is None else int(matches.detection_of[about])
    from_same = (found.proposal_index == found.proposal_index[row]).nonzero().flatten().tolist()
    evidence = ErrorEvidence(
        label=int(found.labels[row]),
        score=score,
        object=about,
        iou=overlap,
        found_by=None if finder < 0 else finder,
        siblings=tuple(other for other in from_same if other != row),
        lineage=trace_back(trace, matches, row),
    )
    return FalsePositive(row, kind, evidence, suspected)


def _best(iou: np.ndarray, among: np.ndarray) -> tuple[int | None, float]:
    """Give the object of largest IoU among some, and that IoU; none, and 0, if it overlaps none."""
    largest = float(np.max(iou, where=among, initial=0.0))
    return (int(np.argmax(among & (iou == largest))), largest) if largest > 0 else (None, 0.0)
