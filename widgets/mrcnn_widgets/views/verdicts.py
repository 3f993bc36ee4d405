"""What the trace says of each object and each detection: found, or why not; and where it ended."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch

from mrcnn_steps.debug.errors import FalsePositive, false_positives
from mrcnn_steps.debug.fates import CAUSES, FOUND, UNKNOWN_CLASS, Fate, fates
from mrcnn_steps.debug.lineage import Lineage, lineage_of_candidate
from mrcnn_steps.debug.words import verdict
from mrcnn_steps.matching import match_trace
from mrcnn_steps.palette import LEAVES, SUPPRESSOR
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.classes import distinct_names
from mrcnn_widgets.viewer.layers import BoxLayer, Group, Layer
from mrcnn_widgets.views.objects import as_boxes

IGNORED = "on a crowd"
# Boxes of these stages are those that the box head moved.
AFTER_THE_HEADS = ("classification", "detection")


class Verdict(NamedTuple):
    """What the trace says of an object or a detection.

    Attributes:
        subject: ("object", row) or ("detection", row).
        name: such as "object 3 · person".
        words: what became of it, in a few words.
        reason: the same for the same cause or kind, such as "found" or "background".
        fate: of an object; None for a detection.
        error: of a wrong detection; else None.
    """

    subject: tuple[str, int]
    name: str
    words: str
    reason: str
    fate: Fate | None = None
    error: FalsePositive | None = None

    @property
    def found(self) -> bool:
        """Whether the object was found, or the detection found one."""
        return self.reason == FOUND

    @property
    def mendable(self) -> bool:
        """Whether it makes sense to ask what would bring the object back."""
        return self.fate is not None and self.fate.cause not in (FOUND, UNKNOWN_CLASS)


def verdicts(trace: Trace, iou: float = 0.5, score_threshold: float | None = None) -> list[Verdict]:
    """Judge every annotated object and every detection.

    Args:
        trace: of a photo; without annotations nothing can be judged.
        iou: see `fates`.
        score_threshold: see `fates`; detections that do not exceed it are left out.

    Returns:
        The objects, missed ones first; then the detections, wrong ones first.
    """
    if trace.ground_truth is None:
        return []
    objects = [_of_object(fate) for fate in fates(trace, iou, score_threshold)]
    detections = _of_detections(trace, iou, score_threshold)
    return [*_wrong_first(objects), *_wrong_first(detections)]


def _wrong_first(judged: Sequence[Verdict]) -> list[Verdict]:
    return sorted(judged, key=lambda verdict: verdict.found)


def _of_object(fate: Fate) -> Verdict:
    cause = CAUSES.get(fate.cause)
    words = FOUND if cause is None else verdict(fate)
    reason = FOUND if cause is None else cause.title
    return Verdict(
        ("object", fate.object), f"object {fate.object} · {fate.name}", words, reason, fate
    )


def _of_detections(trace: Trace, iou: float, score_threshold: float | None) -> list[Verdict]:
    matches, found = match_trace(trace, iou, score_threshold), trace.detections
    names = distinct_names(trace.class_names)
    wrong = {error.detection: error for error in false_positives(trace, iou, score_threshold)}
    judged = []
    for row, (label, score) in enumerate(
        zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    ):
        if score_threshold is not None and score <= score_threshold:
            continue
        error, object = wrong.get(row), int(matches.object_of[row])
        reason = error.kind if error is not None else IGNORED if object < 0 else FOUND
        words = f"found object {object}" if object >= 0 else reason
        name = f"detection {row} · {names[label]} {score:.2f}"
        judged.append(Verdict(("detection", row), name, words, reason, None, error))
    return judged


def reasons(judged: Sequence[Verdict]) -> list[tuple[str, int]]:
    """List the causes and kinds among verdicts, and how many there are of each.

    Args:
        judged: verdicts.

    Returns:
        A reason and its count, in the order in which they come first.
    """
    return list(Counter(verdict.reason for verdict in judged).items())


def lineage_of_fate(trace: Trace, fate: Fate) -> Lineage | None:
    """Give the way of the candidate that decided a lost object's fate, as far as it came.

    Args:
        trace: that was judged.
        fate: of one of its objects.

    Returns:
        Its lineage; None for an object that was found, or that no anchor comes near.
    """
    seen = fate.evidence
    if fate.cause in (FOUND, "mask") or seen.anchor is None:
        return None
    return lineage_of_candidate(trace, fate.object, seen.anchor, seen.proposal)


def layers(at: str, fate: Fate) -> list[Layer]:
    """Mark where an object was lost: the box that it ended with, and what suppressed it.

    Args:
        at: key of the stage that is shown.
        fate: of an object.

    Returns:
        The layers "lost here" and "kept instead" at the stage of the loss; none elsewhere.
    """
    seen = fate.evidence
    box = seen.moved if fate.stage in AFTER_THE_HEADS else seen.box
    if at != fate.stage or fate.cause in (FOUND, "mask") or box is None:
        return []
    group = Group("lost here", LEAVES.color, LEAVES.dash)
    marks: list[Layer] = [
        BoxLayer(
            "lost here",
            as_boxes(torch.tensor(box)),
            groups=[group],
            labels=[f"lost at {CAUSES[fate.cause].title}"],
            width=3,
            pickable=False,
        )
    ]
    if seen.suppressor is not None:
        rival = seen.suppressor
        marks.append(
            BoxLayer(
                "kept instead",
                as_boxes(torch.tensor(rival.box)),
                groups=[Group("kept instead", SUPPRESSOR.color, SUPPRESSOR.dash)],
                labels=[f"kept instead · IoU {rival.iou:.2f}"],
                width=3,
                pickable=False,
            )
        )
    return marks
