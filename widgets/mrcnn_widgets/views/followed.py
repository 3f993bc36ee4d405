"""What is followed through all stages, as each stage knows it."""

from typing import NamedTuple

import torch
from torch import Tensor

from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.palette import ANCHOR, DETECTION, OBJECT, PROPOSAL, Look
from mrcnn_steps.tracing import Trace
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
# The stage whose link holds the box.
STAGE_OF = {"anchor": "anchors", "proposal": "proposals", "detection": "detection"}


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


def layers(stage: str, trace: Trace, lineage: Lineage) -> list[Layer]:
    """Mark what is followed, as a stage knows it.

    Args:
        stage: the key of the stage.
        trace: whose object the lineage names.
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
    if step and all(link in found for link in links[-2:]):
        start, end = (as_boxes(found[link]) for link in links[-2:])
        marks.append(ArrowLayer("its step", start, end, groups=[STEP], pickable=False))
    return marks


def _boxes(trace: Trace, lineage: Lineage) -> dict[str, Tensor]:
    """The boxes of a lineage by link, [1, 4] each, as far as it reaches."""
    like = trace.anchors.boxes
    links = {name: lineage.at(stage) for name, stage in STAGE_OF.items()}
    boxes = {name: like.new_tensor([link.box]) for name, link in links.items() if link is not None}
    if lineage.object is not None and trace.ground_truth is not None:
        boxes["object"] = trace.ground_truth.boxes[lineage.object : lineage.object + 1]
    return boxes
