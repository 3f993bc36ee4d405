"""What stage 3 shows: what every anchor is taught, and where the positives should move."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int8
from torch import Tensor

from mrcnn_steps.anchors import Anchors
from mrcnn_steps.matching import overlaps
from mrcnn_steps.palette import (
    DOTTED,
    NEGATIVE,
    NEUTRAL,
    ORANGE,
    POSITIVE,
    SOLID,
    Look,
    palette,
)
from mrcnn_steps.rpn_targets import Match, RPNTargets
from mrcnn_widgets.scene import Scene
from mrcnn_widgets.viewer.layers import (
    ArrowLayer,
    BoxLayer,
    Category,
    Group,
    Layer,
)
from mrcnn_widgets.views.objects import as_boxes, object_labels, objects_layer

# By label, and in drawing order: the few positives on top.
LOOKS: dict[int, Look] = {0: NEUTRAL, -1: NEGATIVE, 1: POSITIVE}
GROUPS = [Group(*look, visible=look is not NEUTRAL) for look in LOOKS.values()]
CROWDS = Group("crowds", ORANGE, DOTTED)
BEFORE = Group("before", POSITIVE.color, DOTTED)
AFTER = Group("after", POSITIVE.color, SOLID)
MOVES = Group("moves", POSITIVE.color)
# The layers that show them.
REFINEMENT = ("moves", "before", "after")
NO_OBJECTS = (
    "This photo has no annotated objects: the network is taught that nothing is here, "
    "and every anchor is negative."
)


def scene_layers(scene: Scene) -> list[Layer]:
    """Show the annotated objects and the crowds: the layers "objects" and "crowds"."""
    return [
        objects_layer(scene.boxes, scene.names),
        BoxLayer("crowds", as_boxes(scene.crowd_boxes), groups=[CROWDS], pickable=False),
    ]


def anchors_layer(
    anchors: Anchors,
    boxes: Float32[np.ndarray, "A 4"],
    matched: Match,
    labels: Int8[Tensor, "A"],
    names: Sequence[str],
) -> BoxLayer:
    """Show all anchors by their labels.

    Args:
        anchors: a pyramid.
        boxes: its boxes as a layer takes them, made once for all labels.
        matched: what the anchors overlap.
        labels: [A] 1 positive, -1 negative, 0 neutral.
        names: the class of each object.

    Returns:
        The layer "anchors"; its row is the anchor's. Neutral anchors start hidden.
    """
    order = torch.tensor([list(LOOKS).index(label) for label in (-1, 0, 1)])
    return BoxLayer(
        "anchors",
        boxes,
        groups=GROUPS,
        group_index=order[labels.cpu().long() + 1],
        fields=_fields(anchors, matched, slice(None), names),
    )


def refinement_layers(anchors: Anchors, targets: RPNTargets, names: Sequence[str]) -> list[Layer]:
    """Show the sampled positives and what their deltas make of them, a color for each object.

    Args:
        anchors: a pyramid.
        targets: what it is taught.
        names: the class of each object.

    Returns:
        The layers of `REFINEMENT`; a row is that of `targets.positive_index`.
    """
    rows = targets.positive_index
    before, after = as_boxes(anchors.boxes[rows]), as_boxes(targets.refined)
    colors = palette(len(names))
    look: dict[str, Any] = {
        "colors": [colors[row] for row in targets.match.gt_index[rows].tolist()],
        "fields": {"anchor": rows, **_fields(anchors, targets.match, rows, names)},
    }
    return [
        ArrowLayer("moves", before, after, groups=[MOVES], **look),
        BoxLayer("before", before, groups=[BEFORE], **look),
        BoxLayer("after", after, groups=[AFTER], width=2, **look),
    ]


def counts(targets: RPNTargets) -> dict[str, dict[str, int]]:
    """Count the anchors of each label, before and after sampling."""
    matched = targets.match
    return {
        "before sampling": _counts(matched, matched.labels),
        "after sampling": _counts(matched, targets.labels),
    }


def facts(anchors: Anchors, targets: RPNTargets, scene: Scene, row: int) -> list[tuple[str, str]]:
    """Tell what an anchor is taught, and what it overlaps, the most overlapped first.

    Args:
        anchors: a pyramid.
        targets: what it is taught.
        scene: the photo with its objects.
        row: an anchor.

    Returns:
        The lines of a table.
    """
    matched = targets.match
    label = LOOKS[int(matched.labels[row])].name
    forced = ", forced" if bool(matched.forced[row]) else ""
    iou = overlaps(anchors.boxes[row][None], scene.boxes)[0]
    touched = [i for i in iou.argsort(descending=True).tolist() if iou[i] > 0]
    labels = object_labels(scene.names)
    return [
        ("anchor", f"{row:,}"),
        ("level", anchors.level_names[anchors.locate(row).level]),
        ("before sampling", label + forced),
        ("after sampling", LOOKS[int(targets.labels[row])].name),
        ("IoU with", f"{len(touched)} of {len(iou)} objects"),
        *((f"  {labels[i]}", f"{iou[i]:.3f}") for i in touched),
    ]


def _fields(anchors: Anchors, matched: Match, rows: Any, names: Sequence[str]) -> dict[str, Any]:
    """Tell what the hover card says about some anchors."""
    index = torch.arange(len(anchors), device=anchors.boxes.device)[rows]
    fields: dict[str, Any] = {"level": Category(anchors.levels(index), anchors.level_names)}
    if names:
        fields["best IoU"] = matched.iou[rows]
        fields["object"] = Category(matched.gt_index[rows], object_labels(names))
    return fields


def _counts(matched: Match, labels: Tensor) -> dict[str, int]:
    positive = labels == 1
    return {
        "positive": int(positive.sum()),
        "of these forced": int((positive & matched.forced).sum()),
        "negative": int((labels == -1).sum()),
        "neutral": int((labels == 0).sum()),
        "all": len(labels),
    }
