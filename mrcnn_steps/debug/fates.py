"""The fate of every annotated object: found, or the step of the pipeline that lost it.

Judged backwards. An object's candidates are the proposals and every anchor that the RPN refined
onto it, whatever became of them; the second stage is asked about those that it has not seen. A
candidate is *able* if its answer is a detection of the object: kept, and left alone, it would have
found it. The gate that the furthest able candidate reached is the cause. Counting "recall of the
proposals" and "recall of the detections" apart is not the same: a proposal of IoU 0.45 may be
refined to 0.6.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from mrcnn_steps.debug.candidates import GATES, Candidates, Survey
from mrcnn_steps.debug.evidence import Evidence, PerfectBox, corners
from mrcnn_steps.debug.gates import (
    candidate_row,
    class_row,
    detection_suppressor,
    measure,
    proposal_row,
    proposal_suppressor,
)
from mrcnn_steps.masks import class_probs, paste
from mrcnn_steps.matching import Matches, in_photo, match_trace, overlaps
from mrcnn_steps.settings import rpn_training_settings
from mrcnn_steps.tracing import Trace

FOUND, UNKNOWN_CLASS = "found", "unknown class"


class Cause(NamedTuple):
    """A reason to miss an object.

    Attributes:
        stage: key of the stage that it belongs to.
        title: what lost the object, in words.
    """

    stage: str
    title: str


# In the order of the pipeline.
CAUSES = {
    UNKNOWN_CLASS: Cause("classification", "unknown class"),
    "anchors": Cause("anchors", "anchors"),
    "rpn_box": Cause("proposals", "the RPN's boxes"),
    "top_k": Cause("proposals", "the RPN's top k"),
    "rpn_min_size": Cause("proposals", "the RPN's minimum size"),
    "rpn_score": Cause("proposals", "the RPN's score threshold"),
    "rpn_nms": Cause("proposals", "RPN NMS"),
    "proposal_limit": Cause("proposals", "the limit of proposals"),
    "class": Cause("classification", "classification"),
    "box": Cause("classification", "the box head's refinement"),
    "min_size": Cause("detection", "the detections' minimum size"),
    "nms": Cause("detection", "NMS"),
    "detection_limit": Cause("detection", "the limit of detections"),
    "merged": Cause("detection", "another object's detection"),
    "mask": Cause("masks", "its mask"),
}

# Why a class was not said: the background wins, another class does, or the right one is too low.
SAYS_BACKGROUND, CONFUSED, LOW_SCORE = "background", "confused", "low score"


@dataclass(frozen=True)
class Fate:
    """What became of an annotated object.

    Attributes:
        object: row of `trace.ground_truth`; objects of an unknown class are numbered after them.
        sample_object: row of the sample's annotations.
        name: the object's class.
        cause: "found", or a key of `CAUSES`.
        kind: of the cause `class`: "background", "confused" or "low score"; of `rpn_nms` and
            `nms`: what the suppressor covers, see `Suppressor`; else None.
        stage: key of the stage where it was lost; of a found object, the last one.
        evidence: the numbers and rows behind it.
    """

    object: int
    sample_object: int
    name: str
    cause: str
    kind: str | None
    stage: str
    evidence: Evidence

    @property
    def found(self) -> bool:
        """Whether the object was found, and its mask too where there are masks."""
        return self.cause == FOUND


def fates(trace: Trace, iou: float = 0.5, score_threshold: float | None = None) -> tuple[Fate, ...]:
    """Tell what became of every annotated object that is no crowd and has pixels.

    Args:
        trace: of a photo with annotations.
        iou: from which IoU on a box, or a mask, is the object's.
        score_threshold: score that a detection has to exceed to count: the trace's own, or a
            higher one, which judges as if the model were set to it.

    Returns:
        A fate for each object, in the order of `trace.ground_truth`, those of unknown classes
        last; none without annotations.

    Raises:
        ValueError: an IoU outside 0…1, or a score threshold below the trace's own or above 1.
    """
    score = operating_threshold(trace.detections.score_threshold, iou, score_threshold)
    truth = trace.ground_truth
    if truth is None:
        return ()
    if not len(truth.boxes):
        return _unknown(trace)
    with torch.no_grad():
        matches = match_trace(trace, iou, score)
        missed = (matches.detection_of < 0).nonzero().flatten().tolist()
        survey = Survey(trace, missed, iou, score)
        known = tuple(
            _missed(trace, matches, survey, object)
            if detection < 0
            else _found(trace, survey, object, detection)
            for object, detection in enumerate(matches.detection_of.tolist())
        )
    return known + _unknown(trace)


def found_objects(
    trace: Trace,
    iou: float = 0.5,
    compare: Callable[[Trace, int, int], float | None] | None = None,
) -> Bool[Tensor, "G"]:
    """Tell which objects are found, without asking why the others are not.

    Args:
        trace: of a photo with annotations.
        iou: see `fates`.
        compare: gives the IoU of an object's mask with a detection's; `mask_iou` without.

    Returns:
        [G] whether the fate of each is "found".
    """
    compare = mask_iou if compare is None else compare
    found = match_trace(trace, iou).detection_of
    verdicts = found >= 0
    for object in verdicts.nonzero().flatten().tolist():
        overlap = compare(trace, object, int(found[object]))
        verdicts[object] = overlap is None or overlap >= iou
    return verdicts


def operating_threshold(own: float, iou: float, score_threshold: float | None) -> float:
    """Check the thresholds that a trace is judged at.

    Args:
        own: the score threshold that it was made with.
        iou: see `fates`.
        score_threshold: see `fates`.

    Returns:
        The score that a detection has to exceed.

    Raises:
        ValueError: see `fates`.
    """
    score = own if score_threshold is None else score_threshold
    if not 0 < iou <= 1:
        raise ValueError(f"iou: expected above 0 and up to 1, found {iou}")
    if not own <= score <= 1:
        raise ValueError(
            f"score_threshold: expected from {own:g}, the trace's own, to 1, found {score:g}"
        )
    return score


def _fate(trace: Trace, object: int, cause: str, kind: str | None, evidence: Evidence) -> Fate:
    truth = trace.ground_truth
    assert truth is not None
    last = "detection" if trace.mask_logits is None else "masks"
    return Fate(
        object=object,
        sample_object=int(truth.objects[object]),
        name=trace.class_names[int(truth.labels[object])],
        cause=cause,
        kind=kind,
        stage=last if cause == FOUND else CAUSES[cause].stage,
        evidence=evidence,
    )


def mask_iou(trace: Trace, object: int, detection: int) -> float | None:
    """Compare a detection's mask with an object's, in pixels of the photo.

    Args:
        trace: of a photo with annotations.
        object: row of `trace.ground_truth`.
        detection: row of `trace.detections`.

    Returns:
        Their IoU, of the mask at threshold 0.5; None for a model or annotations without masks.
    """
    photo, truth = trace.sample, trace.ground_truth
    logits = trace.mask_logits
    if logits is None or photo is None or photo.masks is None or truth is None:
        return None
    row = slice(detection, detection + 1)
    height, width = trace.image.shape[1:]
    # This mask alone: those of all classes of all detections are a large table.
    probs = class_probs(logits[row], trace.detections.labels[row])
    [predicted] = paste(probs, trace.result["boxes"][row], (height, width))
    own = photo.masks[int(truth.objects[object])].to(predicted.device)
    return float((predicted & own).sum() / (predicted | own).sum())


def _unknown(trace: Trace) -> tuple[Fate, ...]:
    """Give the fates of the objects whose class the model does not know."""
    photo, truth = trace.sample, trace.ground_truth
    assert photo is not None
    assert truth is not None
    if not len(truth.unknown_objects):
        return ()
    said = trace.classify(truth.unknown_boxes).probs
    return tuple(
        Fate(
            object=len(truth.boxes) + place,
            sample_object=row,
            name=photo.class_names[int(photo.labels[row])],
            cause=UNKNOWN_CLASS,
            kind=None,
            stage=CAUSES[UNKNOWN_CLASS].stage,
            evidence=Evidence(
                perfect=PerfectBox(probability=None, iou=None, **_winner(said[place]))
            ),
        )
        for place, row in enumerate(truth.unknown_objects.tolist())
    )


def _found(trace: Trace, survey: Survey, object: int, detection: int) -> Fate:
    """Give the fate of an object that a detection matches: found, unless its mask is wrong."""
    found, answer = trace.detections, trace.classification
    proposal = int(found.proposal_index[detection])
    score, overlap = float(found.scores[detection]), mask_iou(trace, object, detection)
    wrong = overlap is not None and overlap < survey.iou
    [moved] = in_photo(trace, found.boxes[detection, None])
    evidence = Evidence(
        quantity="IoU of the masks" if wrong else "score",
        value=overlap if wrong else score,
        threshold=survey.iou if wrong else survey.score,
        proposal=proposal,
        detection=detection,
        **_anchor_facts(trace, survey, int(trace.proposals.anchor_index[proposal]), object),
        probability=score,
        **_winner(answer.probs[proposal]),
        moved=corners(moved),
        moved_iou=_iou(trace, object, moved),
        mask_iou=overlap,
        perfect=_perfect(trace, survey, object),
    )
    return _fate(trace, object, "mask" if wrong else FOUND, None, evidence)


def _missed(trace: Trace, matches: Matches, survey: Survey, object: int) -> Fate:
    """Give the fate of an object that no detection matches."""
    candidates = survey.of(object)
    common: dict[str, Any] = {
        "landed": int(candidates.landed.sum()),
        "reached": _reached(candidates),
        "perfect": _perfect(trace, survey, object),
    }
    cause = _cause(candidates, torch.ones_like(candidates.landed))
    if cause is None:
        return _nothing_landed(trace, survey, object, common)
    decisive = _decisive(candidates, cause)
    row = candidates.best(decisive)
    anchor = int(candidates.anchor[row])
    evidence = Evidence(
        proposal=proposal_row(trace, anchor),
        **_anchor_facts(trace, survey, anchor, object),
        probability=float(candidates.probability[row]),
        **_winner(candidates.probs[row]),
        moved=corners(candidates.moved[row]),
        moved_iou=float(candidates.moved_iou[row]),
        runner_up=_cause(candidates, ~decisive),
        **common,
    )
    kind, measured = _measured(trace, matches, survey, cause, evidence, object)
    return _fate(trace, object, cause, kind, replace(evidence, **measured))


def _cause(candidates: Candidates, among: Tensor) -> str | None:
    """Tell what some of the candidates say was the cause; None if none of them landed."""
    able, landed = candidates.able & among, candidates.landed & among
    if able.any():
        return GATES[int(candidates.gate[able].max())]
    if not landed.any():
        return None
    return "box" if (landed & candidates.says).any() else "class"


def _decisive(candidates: Candidates, cause: str) -> Tensor:
    """Give the candidates that made it the cause."""
    if cause in GATES:
        return candidates.able & (candidates.gate == GATES.index(cause))
    return candidates.landed & (candidates.says if cause == "box" else ~candidates.says)


def _measured(
    trace: Trace,
    matches: Matches,
    survey: Survey,
    cause: str,
    evidence: Evidence,
    object: int,
) -> tuple[str | None, dict[str, Any]]:
    """Give the kind of a cause, and the number that decided, with who stood in the way."""
    truth = trace.ground_truth
    assert truth is not None
    assert evidence.anchor is not None
    label = int(truth.labels[object])
    if cause == "class":
        own = evidence.winner == label
        kind = LOW_SCORE if own else SAYS_BACKGROUND if evidence.winner == 0 else CONFUSED
        return kind, _number("probability", evidence.probability, survey.score)
    if cause == "box":
        return None, _number("IoU after the box head", evidence.moved_iou, survey.iou)
    if cause == "merged":
        return None, _merged(trace, matches, evidence, label)
    facts: dict[str, Any] = measure(trace, cause, evidence.anchor, label)._asdict()
    if cause == "rpn_nms":
        assert evidence.candidate is not None
        rival = proposal_suppressor(trace, evidence.candidate, object)
        return rival.kind, facts | {"suppressor": rival}
    if cause == "nms":
        assert evidence.proposal is not None
        row = class_row(trace, evidence.proposal, label)
        rival = detection_suppressor(trace, matches, row, object)
        return rival.kind, facts | {"suppressor": rival}
    return None, facts


def _merged(trace: Trace, matches: Matches, evidence: Evidence, label: int) -> dict[str, Any]:
    """Give the detection that an able candidate is, and the other object that it found."""
    assert evidence.proposal is not None
    row = class_row(trace, evidence.proposal, label)
    detection = int((trace.detections.rows == row).nonzero()[0])
    other = int(matches.object_of[detection])
    [shared] = in_photo(trace, trace.detections.boxes[detection, None])
    with_other = _iou(trace, other, shared)
    facts = _number("IoU with the detection", evidence.moved_iou, with_other)
    return facts | {"detection": detection, "merged_with": other}


def _nothing_landed(trace: Trace, survey: Survey, object: int, common: dict[str, Any]) -> Fate:
    """Give the fate of an object that the RPN refined no anchor onto."""
    truth = trace.ground_truth
    assert truth is not None
    box = truth.boxes[object, None]
    best_anchor = overlaps(trace.anchors.boxes, box)[:, 0].max(dim=0)
    best_refined = overlaps(survey.refined, box)[:, 0].max(dim=0)
    least = rpn_training_settings(trace.model)["negative_iou"]
    far = float(best_anchor.values) < least
    anchor = int(best_anchor.indices if far else best_refined.indices)
    evidence = Evidence(
        quantity="best IoU of an anchor" if far else "best IoU of a refined anchor",
        value=float(best_anchor.values if far else best_refined.values),
        threshold=least if far else survey.iou,
        proposal=proposal_row(trace, anchor),
        **_anchor_facts(trace, survey, anchor, object),
        best_anchor_iou=float(best_anchor.values),
        **common,
    )
    return _fate(trace, object, "anchors" if far else "rpn_box", None, evidence)


def _reached(candidates: Candidates) -> dict[str, int]:
    """How many able candidates reached each gate."""
    gates = candidates.gate[candidates.able]
    return {name: int((gates >= place).sum()) for place, name in enumerate(GATES)}


def _anchor_facts(trace: Trace, survey: Survey, anchor: int, object: int) -> dict[str, Any]:
    box = survey.refined[anchor]
    return {
        "anchor": anchor,
        "candidate": candidate_row(trace, anchor),
        "objectness": float(trace.objectness[anchor].sigmoid()),
        "box": corners(box),
        "iou": _iou(trace, object, box),
    }


def _winner(probs: Tensor) -> dict[str, Any]:
    return {"winner": int(probs.argmax()), "winner_probability": float(probs.max())}


def _perfect(trace: Trace, survey: Survey, object: int) -> PerfectBox:
    """Tell what the second stage says of the object's own box."""
    assert trace.ground_truth is not None
    probs, moved = (part[object] for part in survey.perfect)
    return PerfectBox(
        probability=float(probs[int(trace.ground_truth.labels[object])]),
        **_winner(probs),
        iou=_iou(trace, object, moved),
    )


def _number(quantity: str, value: float | None, threshold: float) -> dict[str, Any]:
    return {"quantity": quantity, "value": value, "threshold": threshold}


def _iou(trace: Trace, object: int, box: Tensor) -> float:
    assert trace.ground_truth is not None
    return float(overlaps(box[None], trace.ground_truth.boxes[object, None]))
