"""The annotated objects, which look the same in every stage, and boxes as a layer takes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from mrcnn_steps.class_names import short
from mrcnn_steps.palette import OBJECT
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.viewer.layers import BoxLayer, Group

# An untrained network moves anchors by any amount; a picture needs no more pixels than this.
FAR = 1e6
# Of the view around an object: a share of its longer side, and the least side in pixels.
MARGIN, LEAST_SIDE = 0.25, 32


def as_boxes(boxes: Float[Tensor, "*N 4"]) -> Float32[np.ndarray, "N 4"]:
    """Make boxes drawable: finite, x1 <= x2 and y1 <= y2.

    Args:
        boxes: [N, 4] in pixels, or a single one; whatever a network made of them.

    Returns:
        The boxes as a layer takes them.
    """
    rows = boxes.detach().cpu().float().numpy().reshape(-1, 4)
    rows = np.nan_to_num(rows, nan=0.0, posinf=FAR, neginf=-FAR).clip(-FAR, FAR)
    return np.concatenate([rows[:, :2], np.maximum(rows[:, 2:], rows[:, :2])], axis=1)


def object_labels(names: Sequence[str]) -> list[str]:
    """Name objects by row and class, such as "3 · person"."""
    return [f"{row} · {name}" for row, name in enumerate(names)]


def objects_layer(boxes: Float[Tensor, "G 4"], names: Sequence[str], **options: Any) -> BoxLayer:
    """Show the annotated objects by their numbers.

    Args:
        boxes: [G, 4] in pixels of the photo that is shown.
        names: the class of each object.
        **options: of the layer, instead of the usual look.

    Returns:
        The layer "objects"; its row is the object's.
    """
    look: dict[str, Any] = {
        "groups": [Group("objects", OBJECT.color, OBJECT.dash)],
        "labels": [str(row) for row in range(len(names))],
        "pickable": False,
    }
    return BoxLayer("objects", as_boxes(boxes), **(look | options))


def objects_of(trace: Trace, in_photo: bool = False, **options: Any) -> BoxLayer:
    """Show the annotated objects of a trace.

    Args:
        trace: of a photo; without annotations the layer is empty.
        in_photo: in pixels of the photo instead of the network's input.
        **options: of the layer, instead of the usual look.

    Returns:
        The layer "objects"; its row is that of `trace.ground_truth`.
    """
    truth = trace.ground_truth
    boxes = trace.anchors.boxes[:0] if truth is None else truth.boxes
    labels = [] if truth is None else truth.labels.tolist()
    names = [short(trace.class_names[label]) for label in labels]
    return objects_layer(trace.letterbox.undo_boxes(boxes) if in_photo else boxes, names, **options)


def around(
    box: Float[Tensor, "4"], photo_size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Give the part of a photo to look at: a box with a margin.

    Args:
        box: [4] in pixels of the photo.
        photo_size: `(height, width)`.

    Returns:
        `(x1, y1, x2, y2)` inside the photo.
    """
    x1, y1, x2, y2 = box.tolist()
    margin = MARGIN * max(x2 - x1, y2 - y1, LEAST_SIDE)
    height, width = photo_size
    return (
        max(x1 - margin, 0),
        max(y1 - margin, 0),
        min(x2 + margin, width),
        min(y2 + margin, height),
    )
