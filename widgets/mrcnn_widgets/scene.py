"""What an explorer looks at: a trace, or a photo as the network sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from mrcnn_steps.anchors import Anchors
from mrcnn_steps.class_names import short
from mrcnn_steps.data import Letterbox, Sample, letterbox, open_photo
from mrcnn_steps.ground_truth import participants
from mrcnn_steps.model import load_model
from mrcnn_steps.tracing import Trace, trace

# Side of the square that a photo is fitted into where no model decides.
SIDE = 1024

Source = Trace | Sample | str


@cache
def _tiny() -> Any:
    return load_model("tiny")


def as_trace(source: Source) -> Trace:
    """Give the trace itself, or a new one of the bundled model on a sample or a bundled photo."""
    if isinstance(source, Trace):
        return source
    return trace(_tiny(), _as_sample(source))


def _as_sample(source: Sample | str) -> Sample:
    if isinstance(source, Sample):
        return source
    if isinstance(source, str):
        return open_photo(source)
    raise TypeError(
        f"source: expected a Trace, a Sample, the name of a bundled photo or the path of an "
        f"image file, found {type(source).__name__}"
    )


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo as the network sees it, with its objects: all that the stages before the RPN need.

    Boxes are in pixels of the network's input.

    Attributes:
        letterbox: the network's input as a picture.
        boxes: float [G, 4], the annotated objects; neither crowds nor empty masks are among them.
        names: the class of each object, on one line.
        crowd_boxes: float [K, 4], boxes around crowds.
        anchors: the model's own; None without a model.
        trace: what it was taken from, or None.
    """

    letterbox: Letterbox
    boxes: Tensor
    names: tuple[str, ...]
    crowd_boxes: Tensor
    anchors: Anchors | None
    trace: Trace | None
    _sample: Sample | None
    _rows: Tensor

    @property
    def photo(self) -> Tensor:
        """uint8 [3, H, W], the network's input."""
        return self.letterbox.image

    def mask(self, row: int) -> Tensor:
        """Give the mask of one object, bool [H, W] of the network's input."""
        if self.trace is not None and self.trace.ground_truth is not None:
            return self.trace.ground_truth.masks[row]
        assert self._sample is not None
        # One at a time: a photo of 300 objects would need hundreds of megabytes.
        return self.letterbox.masks(self._sample.masks_or_rectangles()[self._rows[row]][None])[0]


def scene(source: Source) -> Scene:
    """Make what there is to see before a network runs; a sample or a photo's name needs none."""
    if isinstance(source, Trace):
        truth, device = source.ground_truth, source.image.device
        nothing = torch.zeros((0, 4), device=device)
        return Scene(
            letterbox=source.letterbox,
            boxes=nothing if truth is None else truth.boxes,
            names=()
            if truth is None
            else tuple(short(source.class_names[label]) for label in truth.labels.tolist()),
            crowd_boxes=nothing if truth is None else truth.crowd_boxes,
            anchors=source.anchors,
            trace=source,
            _sample=source.sample,
            _rows=torch.zeros(0, dtype=torch.int64) if truth is None else truth.objects,
        )
    photo = _as_sample(source)
    box = letterbox(photo.image, SIDE)
    rows, crowds = participants(photo)
    return Scene(
        letterbox=box,
        boxes=box.boxes(photo.boxes[rows]),
        names=tuple(short(photo.class_names[label]) for label in photo.labels[rows].tolist()),
        crowd_boxes=box.boxes(photo.boxes[crowds]),
        anchors=None,
        trace=None,
        _sample=photo,
        _rows=rows,
    )
