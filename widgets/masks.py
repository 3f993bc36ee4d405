"""Explore stage 7, masks: from a 28×28 soft mask to pixels of the photo, and its ground truth.

    explorer = MaskExplorer("voc_people")
    explorer.detection = 2               # or click a box
    explorer.threshold = 0.3
    explorer.mask, explorer.iou, explorer.target
"""

from __future__ import annotations

from functools import partial
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
import traitlets as t
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.ops import box_iou

from mrcnn_steps.masks import mask_targets, paste
from mrcnn_steps.trace import Trace
from widgets import still
from widgets.canvas import BLUE, ORANGE, YELLOW, BoxLayer, Canvas, Category, Group, MaskLayer
from widgets.classes import class_colors, distinct_names
from widgets.explorer import Explorer, Readout, Source, as_boxes, as_trace, objects_layer, title

# What stands for a grid that there is not.
EMPTY = 28
PASTES = {"torchvision": False, "exact": True}


class MaskExplorer(Explorer):
    """The soft mask of the picked detection, how it becomes pixels, and what it should have been.

    Everything is in pixels of the photo, as the model's result is.

    Args:
        source: a trace, a sample, or the name of a bundled photo.
        **settings: initial values of the traits.

    Traits:
        detection: the picked detection, or None.
        label: the class whose mask is shown; picking a detection sets it to the detected class.
        threshold: probability from which on a pixel belongs to the object.
        exact: paste into exactly the box, or with torchvision's arithmetic; see `paste`.

    What is shown, of the picked detection (None where there is none):
        soft: float [28, 28], the mask of class `label`.
        mask: bool [H, W], the soft mask pasted into the photo.
        object: row of the sample's object whose box overlaps the detection most.
        box_iou: IoU of the two boxes.
        target: float [28, 28], what the mask head should have said for this box.
        iou: IoU of `mask` with the object's mask, in pixels of the photo.
    """

    detection = t.Int(None, allow_none=True, help="The picked detection.")
    label = t.Int(1, min=0, help="The class whose mask is shown: there is one for every class.")
    threshold = t.Float(
        0.5, min=0.01, max=1.0, help="Probability from which on a pixel belongs to the object."
    )
    exact = t.Bool(
        False,
        help="torchvision's paste enlarges the box by up to a pixel; the exact one fills it as it is.",
    )

    def __init__(self, source: Source, **settings: Any) -> None:
        self.trace = as_trace(source)
        photo = self.trace.image
        height, width = photo.shape[1:]
        canvas = Canvas(photo, title=f"Masks · pixels of the photo, {width} × {height}")
        super().__init__(canvas, **settings)
        self._forget()
        grid = partial(Canvas, np.zeros((EMPTY, EMPTY, 3), np.uint8), max_height=140)
        self.soft_view, self.target_view = grid(title="soft mask"), grid(title="mask target")
        self.numbers = Readout("Picked detection", lines=10)
        names = distinct_names(self.trace.class_names)
        self.arrange(
            [
                self.control(
                    "label",
                    "mask of class",
                    widgets.Dropdown,
                    options=[(name, label) for label, name in enumerate(names)],
                ),
                self.control("threshold", "threshold"),
                self.control(
                    "exact", "paste", widgets.ToggleButtons, options=list(PASTES.items())
                ),
            ],
            [self._grids(), self.numbers],
        )
        self._draw_detections()
        if self.detection is None and len(self.trace.detections):
            self.detection = 0
        if "label" not in settings:
            self._choose_label()
        self._draw_mask()
        self.observe(self._on_detection, "detection")
        self.observe(self._draw_mask, ["label", "threshold", "exact"])
        self.canvas.observe(self._on_pick, "selected")

    def show(self, trace: Trace) -> None:
        """Shows another trace of a model with the same classes, with the settings as they are."""
        self.trace = trace
        self._forget()
        with self.canvas.hold_sync():
            self.detection = None
            self._draw_detections(photo=trace.image)
            if len(trace.detections):
                self.detection = 0
