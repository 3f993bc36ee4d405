"""What is followed through all stages: an object or a detection, and what belongs to it."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from mrcnn_steps.debug.lineage import Lineage, lineage, lineage_of_object
from mrcnn_steps.matching import overlaps
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.classes import distinct_names
from mrcnn_widgets.views.objects import object_labels

# ("object", row) of `trace.ground_truth`, those of unknown classes after the others, as in `fates`;
# or ("detection", row) of `trace.detections`.
Subject = tuple[str, int]
# The same detection under other settings: of the same class, by this IoU.
SAME = 0.5


class Seen(NamedTuple):
    """What a followed detection looked like, to find it again under other settings.

    Attributes:
        trace: in which it was followed.
        box: [4] in pixels of the network's input.
        label: its class.
    """

    trace: Trace
    box: Float[Tensor, "4"]
    label: int


def count(trace: Trace, kind: str) -> int:
    """Count the objects or detections of a trace."""
    if kind == "detection":
        return len(trace.detections)
    truth = trace.ground_truth
    return 0 if truth is None else len(truth.boxes) + len(truth.unknown_boxes)


def unknown(trace: Trace) -> list[tuple[str, Subject]]:
    """List the objects whose classes the model does not know: they can be named, but not traced."""
    photo, truth = trace.sample, trace.ground_truth
    if photo is None or truth is None:
        return []
    names = [photo.class_names[label] for label in photo.labels[truth.unknown_objects].tolist()]
    rows = range(len(truth.boxes), count(trace, "object"))
    return [
        (f"object {row} · {name}", ("object", row)) for row, name in zip(rows, names, strict=True)
    ]


def choices(trace: Trace) -> list[tuple[str, Subject]]:
    """List what can be followed.

    Args:
        trace: of a photo.

    Returns:
        A text for each object and each detection.
    """
    names, truth, found = distinct_names(trace.class_names), trace.ground_truth, trace.detections
    labels = [] if truth is None else truth.labels.tolist()
    objects = object_labels([names[label] for label in labels])
    return [(f"object {text}", ("object", row)) for row, text in enumerate(objects)] + [
        (f"detection {row} · {names[label]} {score:.2f}", ("detection", row))
        for row, (label, score) in enumerate(
            zip(found.labels.tolist(), found.scores.tolist(), strict=True)
        )
    ]


def lineage_of(trace: Trace, subject: Subject) -> Lineage:
    """Find what belongs to a detection, or to an object of a class that the model knows."""
    kind, row = subject
    return lineage_of_object(trace, row) if kind == "object" else lineage(trace, row)


def look_of(trace: Trace, subject: Subject) -> Seen | None:
    """Remember what a detection looks like; an object stays what it is."""
    kind, row = subject
    found = trace.detections
    return Seen(trace, found.boxes[row], int(found.labels[row])) if kind == "detection" else None


def find_again(trace: Trace, seen: Seen) -> Subject | None:
    """Find a followed detection under other settings, which number the detections anew.

    Args:
        trace: under the other settings.
        seen: what the detection looked like.

    Returns:
        The detection of its class that overlaps it most; None if none does by an IoU of 0.5.
    """
    found = trace.detections
    iou = overlaps(found.boxes, seen.box[None])[:, 0] * (found.labels == seen.label)
    again = len(iou) and iou.max() >= SAME
    return ("detection", int(iou.argmax())) if again else None
