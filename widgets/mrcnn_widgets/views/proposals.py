"""What stage 4 shows: how a score and a delta per anchor become the boxes worth a second look."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mrcnn_steps import steps
from mrcnn_steps.anchors import Anchors
from mrcnn_steps.matching import match_trace, overlaps, recalled
from mrcnn_steps.palette import (
    DASHED,
    DOTTED,
    GRAY,
    GREEN,
    OBJECT,
    ORANGE,
    SKY,
    SUPPRESSOR,
    VERMILLION,
)
from mrcnn_steps.proposals import Proposals
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.viewer.layers import (
    ArrowLayer,
    BoxLayer,
    Category,
    Group,
    Layer,
    as_numpy,
)
from mrcnn_widgets.views.objects import as_boxes, object_labels, objects_layer


class View(NamedTuple):
    """One position of the scrubber.

    Attributes:
        tooltip: what happens there.
        filters: the filters of `Proposals.steps` that turn candidates away there.
    """

    tooltip: str
    filters: tuple[str, ...]


VIEWS = {
    "score": View("The anchors of highest objectness.", ("top_k",)),
    "refined": View("Each anchor moved by its predicted delta.", ("top_k",)),
    "clipped": View(
        "Cut to the image; boxes that are too small or score too low leave.",
        ("rpn_min_size", "rpn_score"),
    ),
    "NMS": View("Of boxes that overlap, the best one stays.", ("rpn_nms",)),
    "final": View("The best of what is left: the proposals.", ("proposal_limit",)),
}
LEFT = {
    "rpn_min_size": Group(steps.TURNED_AWAY["rpn_min_size"], GRAY, DOTTED),
    "rpn_score": Group(steps.TURNED_AWAY["rpn_score"], GRAY, DASHED),
    "rpn_nms": Group(steps.TURNED_AWAY["rpn_nms"], VERMILLION, DASHED),
    "proposal_limit": Group(steps.TURNED_AWAY["proposal_limit"], ORANGE, DOTTED),
}
PROPOSAL = Group("proposal", GREEN)
CANDIDATE = Group("candidate", SKY)
GROUPS = [*LEFT.values(), PROPOSAL, CANDIDATE]
BEFORE = Group("before this step", GRAY, DOTTED)
MOVES = Group("moves", ORANGE)
KEPT_INSTEAD = Group(*SUPPRESSOR)
# A candidate lies around an object from this IoU on, an object is reached from that.
AROUND, REACHED = 0.3, 0.5
# As many boxes as a photo bears.
MOST = 2000


def plainest(trace: Trace) -> int | None:
    """Find the object to begin with: the one that the surest detection found, or the largest.

    Args:
        trace: of a photo.

    Returns:
        Row of `trace.ground_truth`; None without annotated objects.
    """
    truth = trace.ground_truth
    if truth is None or not len(truth.boxes):
        return None
    found = match_trace(trace).object_of
    for row in trace.detections.scores.argsort(descending=True, stable=True).tolist():
        if found[row] >= 0:
            return int(found[row])
    x1, y1, x2, y2 = truth.boxes.unbind(dim=1)
    return int(((x2 - x1) * (y2 - y1)).argmax())


def boxes_of(proposals: Proposals, view: str) -> Float[Tensor, "K 4"]:
    """Give the candidates' boxes as they are at a position of the scrubber."""
    early = {"score": proposals.top_anchors, "refined": proposals.refined}
    return early.get(view, proposals.clipped)


def left_at(proposals: Proposals, view: str) -> dict[str, Int[Tensor, "M"]]:
    """Give the candidates that entered a position of the scrubber, and those that stayed."""
    history = proposals.steps
    places = [place for place, step in enumerate(history) if step.name in VIEWS[view].filters]
    return {
        "entered": history[max(places[0] - 1, 0)].rows,
        "stayed": history[places[-1]].rows,
    }


def counts(proposals: Proposals, anchors: int) -> dict[str, int]:
    """How many boxes are left at each position of the scrubber, from all anchors on."""
    return {"anchors": anchors} | {view: len(left_at(proposals, view)["stayed"]) for view in VIEWS}


def reached(proposals: Proposals, objects: Float[Tensor, "G 4"]) -> dict[str, int]:
    """How many objects have a box of IoU 0.5 or more, at each position of the scrubber."""
    return {
        view: int(
            recalled(
                boxes_of(proposals, view)[left_at(proposals, view)["stayed"]], objects, REACHED
            ).sum()
        )
        for view in VIEWS
    }


def chosen(
    proposals: Proposals, view: str, limit: int, around: Float[Tensor, "4"] | None = None
) -> Int[np.ndarray, "M"]:
    """Choose the candidates to draw, the best first.

    Args:
        proposals: with every step.
        view: the position of the scrubber.
        limit: how many at most.
        around: box of an object; candidates whose clipped box does not lie around it are left
            out. None: all may be drawn.

    Returns:
        Rows of the candidates that came as far as this position.
    """
    rows = left_at(proposals, view)["entered"]
    if view != "final":  # where the filter before has sorted them
        rows = rows[proposals.top_scores[rows].argsort(descending=True, stable=True)]
    if around is not None:
        near = overlaps(proposals.clipped[rows], around[None])[:, 0] >= AROUND
        rows = rows[near]
    return as_numpy(rows[:limit])


def layers(
    proposals: Proposals, anchors: Anchors, view: str, rows: Int[np.ndarray, "M"]
) -> list[Layer]:
    """Show candidates at a position of the scrubber, with the moves that led there.

    Args:
        proposals: with every step.
        anchors: that the candidates come from.
        view: the position of the scrubber.
        rows: the candidates to draw, made by `chosen`.

    Returns:
        The layers "before", "moves" and "candidates"; row i of the last is candidate `rows[i]`.
    """
    boxes = as_boxes(boxes_of(proposals, view)[rows])
    before = {"refined": proposals.top_anchors, "clipped": proposals.refined}.get(view)
    start = boxes if before is None else as_boxes(before[rows])
    moved = (start != boxes).any(axis=1)
    index = proposals.top_index[torch.from_numpy(rows).to(proposals.top_index.device)]
    return [
        BoxLayer("before", start[moved], groups=[BEFORE], width=1, pickable=False),
        ArrowLayer("moves", start[moved], boxes[moved], groups=[MOVES], pickable=False),
        BoxLayer(
            "candidates",
            boxes,
            groups=GROUPS,
            group_index=_group_index(proposals, view)[rows],
            fields={
                "score": proposals.top_scores[rows],
                "level": Category(anchors.levels(index), anchors.level_names),
                "anchor": index,
            },
        ),
    ]


def _group_index(proposals: Proposals, view: str) -> np.ndarray:
    """Give the group of every candidate, as far as its fate is known at a position."""
    history = proposals.steps
    names = [step.name for step in history]
    known = names.index(VIEWS[view].filters[-1])
    place = as_numpy(steps.fates(history, len(proposals.top_index)))
    at = np.array([GROUPS.index(LEFT.get(name, CANDIDATE)) for name in names] + [0])
    stays = GROUPS.index(PROPOSAL if view == "final" else CANDIDATE)
    return np.where(place <= known, at[place], stays)


def object_layers(
    objects: Float[Tensor, "G 4"], names: Sequence[str], around: int | None
) -> list[Layer]:
    """Show the annotated objects, hidden at first, and the one around which boxes are drawn.

    Args:
        objects: [G, 4] in pixels of the network's input.
        names: the class of each object.
        around: that object, if any.

    Returns:
        The layers "objects" and "around".
    """
    rows = [] if around is None else [around]
    return [
        objects_layer(objects, names, visible=False, pickable=True),
        BoxLayer(
            "around",
            as_boxes(objects[rows]),
            groups=[Group("around", OBJECT.color, OBJECT.dash)],
            labels=[object_labels(names)[row] for row in rows],
            width=3,
            pickable=False,
        ),
    ]


def suppressor_layer(proposals: Proposals, row: int | None, by: int | None) -> BoxLayer:
    """Show the box that was kept instead of a suppressed one.

    Args:
        proposals: with every step.
        row: the suppressed candidate, if any.
        by: the candidate that suppressed it, if any.

    Returns:
        The layer "suppressor".
    """
    pairs = [] if row is None or by is None else [(row, by)]
    return BoxLayer(
        "suppressor",
        as_boxes(proposals.clipped[[by for _, by in pairs]]),
        groups=[KEPT_INSTEAD],
        labels=[f"kept instead · IoU {_iou(proposals, *pair):.2f}" for pair in pairs],
        width=3,
        pickable=False,
    )


def facts(
    proposals: Proposals, anchors: Anchors, row: int, by: int | None
) -> list[tuple[str, str]]:
    """Where a candidate came from, and what becomes of it.

    Args:
        proposals: with every step.
        anchors: that the candidates come from.
        row: a candidate.
        by: the candidate that suppressed it, to be compared with; None names none.

    Returns:
        The lines of a table.
    """
    x1, y1, x2, y2 = proposals.clipped[row].tolist()
    index = int(proposals.top_index[row])
    place = anchors.locate(index)
    left = steps.fate(proposals.steps, row)
    lines = [
        ("score", f"{proposals.top_scores[row]:.4f}"),
        ("anchor", f"{index:,}"),
        ("level", anchors.level_names[place.level]),
        ("row, column, ratio", f"{place.row}, {place.column}, {place.ratio}"),
        ("clipped size", f"{x2 - x1:.0f} × {y2 - y1:.0f}"),
        ("becomes", "proposal" if left is None else steps.TURNED_AWAY[left]),
    ]
    if by is not None:
        lines += [
            ("kept instead, score", f"{proposals.top_scores[by]:.4f}"),
            ("IoU with it", f"{_iou(proposals, row, by):.3f}"),
        ]
    return lines


def table(
    left: Mapping[str, int], reach: Mapping[str, int], objects: int, drawn: int
) -> list[tuple[str, ...]]:
    """Tell what every step leaves: boxes, how many are gone, and the objects that they reach.

    Args:
        left: made by `counts`.
        reach: made by `reached`.
        objects: how many there are; without any the last column is left out.
        drawn: how many boxes are drawn.

    Returns:
        The lines of a table, its header first; the last tells what is drawn.
    """
    numbers = list(left.values())
    before = [numbers[0], *numbers[:-1]]
    gone = [f"−{a - b:,}" if a > b else "" for a, b in zip(before, numbers, strict=True)]
    found = [f"{reach[view]} of {objects}" if view in reach else "" for view in left]
    rows: list[tuple[str, ...]] = [
        ("", "boxes", "gone", f"objects ≥ {REACHED}"),
        *zip(left, (f"{number:,}" for number in numbers), gone, found, strict=True),
        ("drawn here", f"{drawn:,}", "", ""),
    ]
    return rows if objects else [row[:3] for row in rows]


def _iou(proposals: Proposals, row: int, other: int) -> float:
    clipped = proposals.clipped
    return float(overlaps(clipped[row : row + 1], clipped[other : other + 1]))
