"""Explore stage 7, masks: from a 28×28 soft mask to pixels of the photo, and its ground truth.

explorer = MaskExplorer("voc_people")
explorer.detection = 2               # or click a box
explorer.threshold = 0.3
explorer.soft, explorer.mask         # the soft mask, and its pixels in the photo
explorer.truth                       # the object that the detection found, with its mask
"""

from __future__ import annotations

from functools import partial
from typing import Any

import ipywidgets as ipw
import numpy as np
import traitlets as t
from PIL import Image, ImageDraw
from torch import Tensor

from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.fonts import pillow_font
from mrcnn_steps.palette import BLUE, ORANGE, PAPER
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.classes import distinct_names
from mrcnn_widgets.explorer import Explorer, check_row
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import Source, as_trace
from mrcnn_widgets.traits import Real, Whole
from mrcnn_widgets.viewer import still
from mrcnn_widgets.viewer.canvas import Canvas
from mrcnn_widgets.views import masks as view

# Side of what stands for a grid that there is not.
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
        label: the class whose mask is shown; picking a detection sets it to its own class.
        threshold, exact: as in `paste`.

    Attributes:
        soft: float [28, 28], the soft mask of the picked detection; None without a mask head.
        mask: bool [H, W], the pasted mask.
        truth: the object that the detection found, or None.
    """

    stage = "masks"

    detection = Whole(None, allow_none=True, help="The picked detection.")
    label = Whole(1, min=0, help="The class whose mask is shown.")
    threshold = Real(
        0.5, min=0.01, max=1.0, help="Probability from which on a pixel belongs to the object."
    )
    exact = t.Bool(
        False,
        help="torchvision's paste shifts and grows small masks; the exact one fills the box.",
    )

    def __init__(self, source: Source, **settings: Any) -> None:
        self.trace = as_trace(source)
        photo = self.trace.image
        height, width = photo.shape[1:]
        canvas = Canvas(photo, title=f"Masks · pixels of the photo, {width} × {height}")
        if (self.trace.result["scores"] >= view.LIKELY).any():
            # A hundred masks at once hide the photo; the legend's sliders bring the rest back.
            canvas.thresholds = {
                layer: {"score": [view.LIKELY, None]} for layer in ("detections", "soft masks")
            }
        super().__init__(canvas, own={"threshold": 0.5, "exact": False}, **settings)
        self.soft: Tensor | None = None
        self.mask: Tensor | None = None
        self.truth: view.Truth | None = None
        grid = partial(Canvas, np.zeros((EMPTY, EMPTY, 3), np.uint8), max_height=140)
        self.soft_view, self.target_view = grid(title="soft mask"), grid(title="mask target")
        self.numbers = Readout("Picked detection", lines=10)
        self.arrange(self._controls(), [self._grids(), self.numbers])
        self._draw_detections()
        if self.detection is None:
            self.detection = self._first_to_look_at()
        if "label" not in settings:
            self._choose_label()
        self._draw_context()
        self._draw_mask()
        self.observe(self._on_detection, "detection")
        self.observe(self._draw_mask, "label")
        self.observe(self._draw_pasted, ["threshold", "exact"])
        self.canvas.observe(self._on_pick, "selected")

    def _controls(self) -> list[ipw.Widget]:
        names = distinct_names(self.trace.class_names)
        options = [(name, label) for label, name in enumerate(names)]
        return [
            self.control("label", "mask of class", ipw.Dropdown, options=options),
            self.control("threshold", "threshold"),
            self.control("exact", "paste", options=list(PASTES.items()), width="170px"),
        ]

    def _grids(self) -> ipw.HBox:
        for each in (self.soft_view, self.target_view):
            each.layout.width = "140px"
        return ipw.HBox([self.soft_view, self.target_view], layout=ipw.Layout(grid_gap="8px"))

    # -- What every explorer can be asked ------------------------------------------------------

    def show(self, trace: Trace) -> None:
        """Show another trace of a model with the same classes, with the settings as they are."""
        self.trace = trace
        with self.canvas.hold_sync():
            self._draw_detections(photo=trace.image)
            first = self._first_to_look_at()
            if self.detection == first:
                self._on_detection()
            self.detection = first

    def focus(self, lineage: Lineage | None) -> None:
        """Mark what is followed, and turn to its detection; without one nothing is picked."""
        super().focus(lineage)
        if lineage is not None:
            self.detection = lineage.detection

    def subject(self, pick: tuple[str, int] | None) -> tuple[str, int] | None:
        """Tell what a picked row stands for: an object, or the detection of a box or a mask."""
        if pick is not None and pick[0] in ("detections", "soft masks"):
            return ("detection", pick[1])
        return super().subject(pick)

    # -- Settings ------------------------------------------------------------------------------

    @t.validate("detection")
    def _check_detection(self, change: Any) -> int | None:
        return check_row(change, len(self.trace.detections))

    @t.validate("label")
    def _check_label(self, change: Any) -> int | None:
        return check_row(change, len(self.trace.class_names))

    def _first_to_look_at(self) -> int | None:
        return 0 if len(self.trace.detections) else None

    def _choose_label(self) -> None:
        if self.detection is not None:
            self.label = int(self.trace.detections.labels[self.detection])

    def _on_pick(self, change: Any) -> None:
        if change.new is None:
            self.detection = None
        elif change.new[0] in ("detections", "soft masks"):
            self.detection = change.new[1]

    def _on_detection(self, change: Any = None) -> None:
        with self.canvas.hold_sync():
            self._draw_context()
            before = self.label
            self._choose_label()
            if self.label == before:
                self._draw_mask()

    # -- What is shown -------------------------------------------------------------------------

    def _draw_detections(self, **changes: Any) -> None:
        objects = view.objects_of(self.trace, in_photo=True, visible=False)
        self.draw(objects, view.detections(self.trace), **changes)

    def _draw_context(self) -> None:
        row = self.detection
        self.truth = None if row is None else view.find_truth(self.trace, row)
        self.draw(*view.context(self.trace, row, self.truth))

    def _draw_mask(self, change: Any = None) -> None:
        row = self.detection
        self.soft = None if row is None else view.soft_mask(self.trace, row, self.label)
        self._draw_pasted()

    def _draw_pasted(self, change: Any = None) -> None:
        trace, row, soft = self.trace, self.detection, self.soft
        self.mask = None
        if row is not None and soft is not None:
            self.mask = view.pasted(trace, row, soft, self.threshold, self.exact)
        self.draw(
            view.pasted_layer(trace, row, self.mask),
            selected=None if row is None else ("detections", row),
        )
        for each, grid, threshold, color in self._views():
            picture, inside = view.grid_picture(grid, threshold, color, EMPTY)
            each.update(photo=picture, layers=[inside])
        self.numbers.show(view.facts(trace, row, self.truth, soft, self.mask, self.threshold))

    def _views(self) -> list[tuple[Canvas, Tensor | None, float, str]]:
        """Each small view, its grid, from which value on a sample is inside, and the color."""
        target = None if self.truth is None else self.truth.target
        row = self.detection
        color = BLUE if row is None else view.colors(self.trace)[row]
        return [
            (self.soft_view, self.soft, self.threshold, color),
            (self.target_view, target, 0.5, ORANGE),
        ]

    def _side_pictures(self) -> list[Image.Image]:
        if self.soft is None:
            return super()._side_pictures()
        shown = [each for each, grid, _, _ in self._views() if grid is not None]
        page = Image.new("RGB", (270, 150), PAPER)
        pen = ImageDraw.Draw(page)
        for place, each in enumerate(shown):
            pen.text(
                (138 * place, 9), each.title, "#000000", pillow_font(each.title, 12), anchor="lm"
            )
            grid = still.picture(each.photo, each.layers, width=130)
            page.paste(grid.crop((0, 0, 130, 130)), (138 * place, 20))
        return [page, *super()._side_pictures()]
