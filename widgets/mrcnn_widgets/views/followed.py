"""What is followed through all stages, as each stage knows it."""

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from mrcnn_steps.debug.fates import UNKNOWN_CLASS
from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.palette import ANCHOR, DETECTION, LEAVES, OBJECT, PROPOSAL, Look
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.viewer.layers import ArrowLayer, BoxLayer, Group, Layer
from mrcnn_widgets.views.objects import as_boxes


def _group(name: str, look: Look) -> Group:
    return Group(name, look.color, look.dash)


FOLLOWED = _group("followed object", OBJECT)
STRANGER = _group(UNKNOWN_CLASS, LEAVES)
STEP = _group("its step", PROPOSAL)
LINKS = {
    "anchors": _group("its anchor", ANCHOR),
    "proposals": _group("its proposal", PROPOSAL),
    "detection": _group("its detection", DETECTION),
}
# The links of a lineage that a stage knows. Where there are two, the stage makes one of the other.
KNOWN: dict[str, tuple[str, ...]] = {
    "mini_masks": (),
    "anchors": ("anchors",),
    "rpn_targets": ("anchors",),
    "proposals": ("anchors", "proposals"),
    "classification": ("proposals",),
    "detection": ("proposals", "detection"),
    "masks": ("detection",),
}


def layers(stage: str, trace: Trace, lineage: Lineage) -> list[Layer]:
    """Mark what is followed, as a stage knows it.

    Args:
        stage: the key of the stage.
        trace: of the photo; its annotated objects and its letterbox are used.
        lineage: what is followed, under the settings of all stages.

    Returns:
        The layer "followed", a row for each box that the stage knows; and where the stage moves
        one box to another, an arrow between them, "its step".
    """
    links = [link for name in KNOWN[stage] if (link := lineage.at(name)) is not None]
    boxes = torch.tensor([link.box for link in links]).reshape(-1, 4)
    looks = [LINKS[link.stage] for link in links]
    if lineage.object is not None and trace.ground_truth is not None:
        boxes = torch.cat([trace.ground_truth.boxes[lineage.object].cpu()[None], boxes])
        looks = [FOLLOWED, *looks]
    drawable = _as_shown(stage, trace, boxes)
    marks: list[Layer] = [
        BoxLayer(
            "followed",
            drawable,
            groups=looks,
            group_index=range(len(looks)),
            labels=[look.name for look in looks],
            width=3,
            pickable=False,
        )
    ]
    if len(links) == 2:
        marks.append(
            ArrowLayer("its step", drawable[-2:-1], drawable[-1:], groups=[STEP], pickable=False)
        )
    return marks


def stranger(stage: str, trace: Trace, object: int) -> BoxLayer:
    """Mark an object whose class the model does not know: at every stage its own box is all it has.

    Args:
        stage: the key of the stage.
        trace: of the photo.
        object: its number, as `fates` counts: after all objects of known classes.

    Returns:
        The layer "followed".
    """
    photo, truth = trace.sample, trace.ground_truth
    assert photo is not None
    assert truth is not None
    row = object - len(truth.boxes)
    name = photo.class_names[int(photo.labels[truth.unknown_objects[row]])]
    return BoxLayer(
        "followed",
        _as_shown(stage, trace, truth.unknown_boxes[row : row + 1]),
        groups=[STRANGER],
        labels=[f"{name}: {UNKNOWN_CLASS}"],
        width=3,
        pickable=False,
    )


def _as_shown(stage: str, trace: Trace, boxes: Float[Tensor, "N 4"]) -> Float32[np.ndarray, "N 4"]:
    """Give boxes of the network's input in the pixels that a stage is shown in."""
    if stage == "masks":  # which are shown on the photo as it came
        boxes = trace.letterbox.undo_boxes(boxes)
    return as_boxes(boxes)
