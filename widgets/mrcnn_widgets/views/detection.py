"""Stage 6 as it is shown: the candidates step by step, and what became of one of them."""

import torch
from jaxtyping import Int
from torch import Tensor
from torchvision.ops import box_iou

from mrcnn_steps.detection import Detections
from mrcnn_steps.palette import GRAY, LEAVES, ORANGE, SUPPRESSOR
from mrcnn_steps.steps import TITLES, TURNED_AWAY, fate
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.classes import MOST, class_groups, distinct_names
from mrcnn_widgets.viewer.layers import ArrowLayer, BoxLayer, Category, Group, Layer
from mrcnn_widgets.views.objects import as_boxes, objects_of

# What there is before the filters, and the filters in their order.
REFINED = "refined"
STEPS = {
    REFINED: "refined boxes",
    **{name: TITLES[name] for name in ("foreground", "score", "min_size", "nms")},
    "detection_limit": TITLES["detection_limit"],
}
# From which score on a candidate is worth a first look, and how many are shown if none has it.
LIKELY, BEST = 0.5, 20
# torchvision lets 80 candidates of every proposal compete. More than this hide the photo.
MOST_DRAWN = 3000
MOST_LABELED = 40


def history(found: Detections) -> dict[str, Int[Tensor, "_"]]:
    """Give the candidates that are left after each of `STEPS`."""
    every = torch.arange(len(found.refined), device=found.refined.device)
    return {REFINED: every, **{step.name: step.rows for step in found.steps}}


def counts(found: Detections) -> dict[str, int]:
    """Count the candidates that are left after each of `STEPS`."""
    return {step: len(rows) for step, rows in history(found).items()}


def before(found: Detections, step: str) -> Int[Tensor, "B"]:
    """Give the candidates that a step sees.

    Args:
        found: the detections with all candidates.
        step: one of `STEPS`.

    Returns:
        [B] candidates.
    """
    names = list(STEPS)
    return history(found)[names[max(names.index(step) - 1, 0)]]


def drawn(found: Detections, step: str, likely_only: bool = False) -> Int[Tensor, "N"]:
    """Choose the candidates that a step draws, of those that it sees.

    Args:
        found: the detections with all candidates.
        step: one of `STEPS`.
        likely_only: leave out scores below 0.5; if all are below, the best 20 stay.

    Returns:
        [N] candidates, the best first, `MOST_DRAWN` of them at most.
    """
    rows = before(found, step)
    best = rows[found.candidate_score[rows].argsort(descending=True, stable=True)]
    if likely_only:
        likely = int((found.candidate_score[best] >= LIKELY).sum())
        return best[: min(likely or BEST, MOST_DRAWN)]
    return best[:MOST_DRAWN]


def layers(
    trace: Trace,
    found: Detections | None = None,
    step: str = "detection_limit",
    likely_only: bool = True,
    candidate: int | None = None,
) -> list[Layer]:
    """Show stage 6.

    Args:
        trace: of a photo.
        found: detections under other settings; the trace's own without.
        step: one of `STEPS`.
        likely_only: see `drawn`.
        candidate: the picked candidate, if any.

    Returns:
        The objects, the candidates of the step, and what belongs to the picked one.
    """
    found = found or trace.detections
    shown = drawn(found, step, likely_only)
    return [
        objects_of(trace, visible=False),
        candidates(trace, found, step, shown),
        *details(trace, found, candidate),
    ]


def candidates(trace: Trace, found: Detections, step: str, shown: Int[Tensor, "N"]) -> BoxLayer:
    """Show which candidates a step keeps, and which leave.

    Args:
        trace: of a photo.
        found: the detections with all candidates.
        step: one of `STEPS`.
        shown: [N] the candidates to draw.

    Returns:
        The layer "candidates"; row i is candidate `shown[i]`.
    """
    stays = torch.isin(shown, history(found)[step])
    names = distinct_names(trace.class_names)
    labels, scores = found.candidate_label[shown], found.candidate_score[shown]
    texts = None
    if stays.sum() <= MOST_LABELED:
        texts = [
            f"{names[label]} {score:.2f}" if stay else ""
            for label, score, stay in zip(
                labels.tolist(), scores.tolist(), stays.tolist(), strict=True
            )
        ]
    boxes = found.refined if step == REFINED else found.clipped
    return BoxLayer(
        "candidates",
        as_boxes(boxes[shown]),
        groups=[Group(*LEAVES), *class_groups(names)],
        group_index=torch.where(stays, labels.clamp(max=MOST - 1) + 1, 0),
        fields={
            "class": Category(labels, names),
            "score": scores,
            "proposal": found.candidate_proposal[shown],
            "candidate": shown,
        },
        labels=texts,
        threshold="score",
    )


def details(trace: Trace, found: Detections, candidate: int | None) -> list[Layer]:
    """Show where a candidate came from, and what suppressed it.

    Args:
        trace: of a photo.
        found: the detections with all candidates.
        candidate: one of them, or None.

    Returns:
        The layers "its proposal", "refinement" and "its suppressor".
    """
    origin = here = there = as_boxes(found.clipped[:0])
    if candidate is not None:
        rival = found.suppressor(candidate)
        origin = as_boxes(trace.proposals.boxes[found.candidate_proposal[candidate]])
        here = as_boxes(found.clipped[candidate])
        there = as_boxes(found.clipped[[] if rival is None else [rival]])
    return [
        BoxLayer(
            "its proposal", origin, groups=[Group("its proposal", GRAY, "dotted")], pickable=False
        ),
        ArrowLayer(
            "refinement", origin, here, groups=[Group("refinement", ORANGE)], pickable=False
        ),
        BoxLayer(
            "its suppressor",
            there,
            groups=[Group("its suppressor", SUPPRESSOR.color, SUPPRESSOR.dash)],
            labels=["suppressor"] * len(there),
            width=3,
            pickable=False,
        ),
    ]


def outcome(found: Detections, candidate: int) -> str:
    """Say what became of a candidate, in a few words.

    Args:
        found: the detections with all candidates.
        candidate: one of them.

    Returns:
        The detection that it is, the candidate that suppressed it, or the rule that it broke.
    """
    name = fate(found.steps, candidate)
    if name is None:
        return f"detection {int((found.rows == candidate).nonzero())}"
    if name == "nms":
        return f"suppressed by candidate {found.suppressor(candidate):,}"
    rule = next(step.rule for step in found.steps if step.name == name)
    return f"{TURNED_AWAY[name]}: needs {rule}"


def facts(trace: Trace, found: Detections, candidate: int | None) -> list[tuple[str, str]]:
    """Put the picked candidate into numbers.

    Args:
        trace: of a photo.
        found: the detections with all candidates.
        candidate: one of them, or None.

    Returns:
        What a number is, and the number.
    """
    if candidate is None:
        return [("point at a box, or click one", "")]
    names, rival = distinct_names(trace.class_names), found.suppressor(candidate)
    box = found.clipped[candidate].tolist()
    lines = [
        ("candidate", f"{candidate:,}"),
        ("proposal", f"{int(found.candidate_proposal[candidate])}"),
        ("class", names[int(found.candidate_label[candidate])]),
        ("score", f"{float(found.candidate_score[candidate]):.3f}"),
        ("box", ", ".join(f"{value:.0f}" for value in box)),
        ("became", outcome(found, candidate)),
    ]
    if rival is not None:
        pair = found.clipped[[candidate, rival]]
        lines += [
            ("suppressor's score", f"{float(found.candidate_score[rival]):.3f}"),
            ("IoU of the two", f"{float(box_iou(pair[:1], pair[1:])):.3f}"),
        ]
    return lines
