"""What is followed through all stages, as each stage knows it."""

from typing import NamedTuple

import torch
from torch import Tensor

from mrcnn_steps.palette import ANCHOR, DETECTION, OBJECT, PROPOSAL, Look
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.trail import Trail
from mrcnn_widgets.viewer.layers import ArrowLayer, BoxLayer, Group, Layer
from mrcnn_widgets.views.objects import as_boxes


def _group(name: str, look: Look) -> Group:
    return Group(name, look.color, look.dash)


LOOKS = {
    "object": _group("followed object", OBJECT),
    "anchor": _group("its anchor", ANCHOR),
    "proposal": _group("its proposal", PROPOSAL),
    "detection": _group("its detection", DETECTION),
}
STEP = _group("its step", PROPOSAL)


class Known(NamedTuple):
    """What a stage knows of a lineage.

    Attributes:
        links: the boxes to mark.
        step: whether the stage makes the last of them from the one before.
    """

    links: tuple[str, ...]
    step: bool = False


KNOWN = {
    "mini_masks": Known(("object",)),
    "anchors": Known(("object", "anchor")),
    "rpn_targets": Known(("object", "anchor")),
    "proposals": Known(("object", "anchor", "proposal"), step=True),
    "classification": Known(("object", "proposal")),
    "detection": Known(("object", "proposal", "detection"), step=True),
    "masks": Known(("object", "detection")),
}


def layers(stage: str, trace: Trace, lineage: Trail) -> list[Layer]:
    """Mark what is followed, as a stage knows it.

    Args:
        stage: the key of the stage.
        trace: whose rows the lineage names.
        lineage: what is followed.

    Returns:
        The layer "followed", a row for each box that the stage knows; and where the stage moves
        one box to another, an arrow between them, "its step".
    """
    links, step = KNOWN[stage]
    every = _boxes(trace, lineage)
    found = {link: every[link] for link in links if link in every}
    boxes = torch.cat([trace.anchors.boxes[:0], *found.values()])
    if stage == "masks":  # which are shown on the photo as it came
        boxes = trace.letterbox.undo_boxes(boxes)
    looks = [LOOKS[link] for link in found]
    marks: list[Layer] = [
        BoxLayer(
            "followed",
            as_boxes(boxes),
            groups=looks,
            group_index=range(len(looks)),
            labels=[look.name for look in looks],
            width=3,
            pickable=False,
        )
    ]
    if step and set(links[-2:]) <= found.keys():
        start, end = (as_boxes(found[link]) for link in links[-2:])
        marks.append(ArrowLayer("its step", start, end, groups=[STEP], pickable=False))
    return marks


def _boxes(trace: Trace, lineage: Trail) -> dict[str, Tensor]:
    """The boxes of a lineage by link, [1, 4] each, as far as it reaches."""
    nothing = trace.anchors.boxes[:0]
    rows = {
        "object": nothing if trace.ground_truth is None else trace.ground_truth.boxes,
        "anchor": trace.anchors.boxes,
        "proposal": trace.proposals.boxes,
        "detection": trace.detections.boxes,
    }
    places = {
        "object": lineage.object,
        "anchor": lineage.anchor,
        "proposal": lineage.proposal,
        "detection": lineage.detection,
    }
    return {link: rows[link][row : row + 1] for link, row in places.items() if row is not None}
