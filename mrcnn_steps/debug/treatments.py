"""Other views of a photo: larger or smaller input, mirrored, or a crop around an object."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mrcnn_steps.data import Sample
from mrcnn_steps.debug.price import Tally, Window
from mrcnn_steps.debug.rerun import current, variant
from mrcnn_steps.debug.trials import Trials
from mrcnn_steps.tracing import Trace, glance

SCALE, MIRRORED, CROP = "input.scale", "input.mirrored", "input.crop"

# Of the photo that a crop keeps, one of so many parts of each side.
ZOOM = 2


@dataclass(frozen=True)
class Treatment:
    """A change of the input.

    Attributes:
        name: "input.scale", "input.mirrored" or "input.crop".
        old: the value that changes nothing.
        new: the value to try.
    """

    name: str
    old: float | bool
    new: float | bool


# What is tried where no setting is to blame, the cheapest first; the network may be blind to an
# object at one size.
TREATMENTS = (
    Treatment(SCALE, 1.0, 0.75),
    Treatment(MIRRORED, False, True),
    Treatment(CROP, 1.0, float(ZOOM)),
    Treatment(SCALE, 1.0, 1.25),
    Treatment(SCALE, 1.0, 1.5),
    Treatment(SCALE, 1.0, 2.0),
)


class Views:
    """The other views of a photo, each run once for all of its objects.

    Of a view only what counts is kept: its features at twice the size take hundreds of megabytes.

    Args:
        trace: of a photo with annotations.
        iou: from which IoU on a box, or a mask, is an object's.
    """

    def __init__(self, trace: Trace, iou: float = 0.5) -> None:
        self.trace, self.iou = trace, iou
        self._tallies: dict[tuple[Treatment, Window | None], Tally] = {}

    def tally(self, treatment: Treatment, window: Window | None = None) -> Tally:
        """Count what a view finds, in pixels of the photo as it was; see `treat`."""
        key = treatment, window
        if key not in self._tallies:
            treated = treat(self.trace, treatment, window)
            self._tallies[key] = tally_treated(treated, treatment, window, self.iou)
        return self._tallies[key]


def treat(trace: Trace, treatment: Treatment, window: Window | None = None) -> Trace:
    """Run the photo of a trace through the network again in another view.

    Args:
        trace: of a sample; its settings are kept.
        treatment: what to change.
        window: the part of the photo for a crop, `(x1, y1, x2, y2)` in its pixels.

    Returns:
        A trace of the other view, as `glance` gives it; rows of its sample are rows of the
        trace's.
    """
    photo = trace.sample
    assert photo is not None
    scale = float(treatment.new) if treatment.name == SCALE else 1.0
    if treatment.name == MIRRORED:
        photo = mirrored(photo)
    elif treatment.name == CROP:
        assert window is not None
        photo = cropped(photo, window)
    model = variant(trace.model, current(trace), scale)
    return glance(model, photo, trace.class_names)


def tally_treated(treated: Trace, treatment: Treatment, window: Window | None, iou: float) -> Tally:
    """Count what a treated photo finds, in pixels of the photo as it was; see `tally`."""
    counted = Trials(treated, iou).tally(treated)
    if treatment.name == MIRRORED:
        return counted.placed(_flipped(counted.boxes, treated.image.shape[2]))
    if treatment.name == CROP:
        assert window is not None
        corner = counted.boxes.new_tensor([*window[:2], *window[:2]])
        return counted.placed(counted.boxes + corner)
    return counted


def crop_window(photo: Sample, object: int) -> Window | None:
    """Lay a window of half the photo's sides around an object.

    Args:
        photo: with annotations.
        object: row of its annotations.

    Returns:
        `(x1, y1, x2, y2)` in pixels, inside the photo; None if the object does not fit into it.
    """
    height, width = photo.image.shape[1:]
    x1, y1, x2, y2 = photo.boxes[object].tolist()
    columns, rows = max(1, width // ZOOM), max(1, height // ZOOM)
    if x2 - x1 > columns or y2 - y1 > rows:
        return None
    left = min(max(round((x1 + x2 - columns) / 2), 0), width - columns)
    top = min(max(round((y1 + y2 - rows) / 2), 0), height - rows)
    return left, top, left + columns, top + rows


def mirrored(photo: Sample) -> Sample:
    """Exchange left and right of a photo and its annotations."""
    return replace(
        photo,
        image=photo.image.flip(2),
        masks=None if photo.masks is None else photo.masks.flip(2),
        boxes=_flipped(photo.boxes, photo.image.shape[2]),
    )


def cropped(photo: Sample, window: Window) -> Sample:
    """Cut a photo and its annotations; of an object outside no pixel remains.

    Args:
        photo: to cut.
        window: `(x1, y1, x2, y2)` in its pixels, inside it.

    Returns:
        A sample with the same rows.
    """
    x1, y1, x2, y2 = window
    return Sample.from_masks(
        image=photo.image[:, y1:y2, x1:x2],
        masks=photo.masks_or_rectangles()[:, y1:y2, x1:x2],
        labels=photo.labels,
        crowd=photo.crowd,
        class_names=photo.class_names,
        name=photo.name,
    )


def _flipped(boxes: Float[Tensor, "N 4"], width: int) -> Float[Tensor, "N 4"]:
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    # An empty mask has the box (0, 0, 0, 0), which no flip has to move.
    empty = (boxes == 0).all(dim=1, keepdim=True)
    return boxes.where(empty, torch.stack((width - x2, y1, width - x1, y2), dim=1))
