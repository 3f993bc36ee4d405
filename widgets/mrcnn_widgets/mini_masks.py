"""The mini-mask explorer: what is lost when a mask is kept as a small picture of its own box."""

from __future__ import annotations

from typing import Any

import ipywidgets as ipw
import torch
import traitlets as t
from PIL import Image

from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.mini_masks import MiniMasks
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.explorer import Explorer, check_row, object_options, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import Source, scene
from mrcnn_widgets.traits import Whole
from mrcnn_widgets.viewer import still
from mrcnn_widgets.viewer.canvas import Canvas
from mrcnn_widgets.views import mini_masks as view
from mrcnn_widgets.views.objects import around


class MiniMaskExplorer(Explorer):
    """Choose an object and a size; see the mini-mask, the mask made of it, and where they differ.

    Args:
        source: a trace, a sample or a bundled photo's name. No network runs.
        **settings: initial values of the traits below.

    Attributes:
        found: the mask of the chosen object, cut to its box; None without objects.
        mini: that mask made small and large again (one row); None without objects.
    """

    stage = "mini_masks"
    object = Whole(0, min=0, help="The annotated object whose mask is made small.")
    size = Whole(min=14, max=112, help="Rows and columns of the mini-mask.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self.scene = scene(source)
        self.trace = self.scene.trace
        self.found: view.ObjectMask | None = None
        self.mini: MiniMasks | None = None
        photo = self.scene.photo
        canvas = Canvas(photo, title=title("Mini-masks", photo))
        super().__init__(canvas, own={"size": 56}, **settings)
        self.small = Canvas(torch.zeros((3, 8, 8), dtype=torch.uint8), max_height=280)
        self._numbers = Readout("This mini-mask", lines=7)
        self._sizes = Readout("The same object at other sizes", lines=5)
        self._objects = self.control("object", "object", ipw.Dropdown, options=self._options())
        size = self.control("size", "mini-mask size")
        self.arrange([self._objects, size], [self._numbers, self.small, self._sizes])
        self.observe(self._choose, ["object"])
        self.observe(self._shrink, ["size"])
        self._choose()

    def show(self, trace: Trace) -> None:
        """Show another trace, with the settings as they are."""
        self.scene, self.trace = scene(trace), trace
        row = self.object if self.object < len(self.scene.names) else 0
        with self.canvas.hold_sync():
            self.draw(photo=self.scene.photo)
            self._objects.options = self._options()
            self.object = row
            self._choose()

    def focus(self, lineage: Lineage | None) -> None:
        """Mark the followed object, and choose it."""
        super().focus(lineage)
        if lineage is not None and lineage.object is not None:
            self.object = lineage.object

    def _options(self) -> list[tuple[str, int]]:
        return object_options(self.scene.names) or [("no annotated objects", 0)]

    @t.validate("object")
    def _check_object(self, proposal: Any) -> int | None:
        return check_row(proposal, max(len(self.scene.names), 1))

    def _choose(self, change: Any = None) -> None:
        """Take another object; its mask travels once, whatever the size."""
        self.found = None
        if self.scene.names:
            self.found = view.cut(self.scene.mask(self.object).cpu())
            rows = view.sizes(self.found)
            self._sizes.show(rows, ("size", "bytes", "IoU"))
            self.canvas.view = around(self.found.box, self.found.photo_size)
        for part in (self.small, self._sizes):
            part.layout.display = "none" if self.found is None else None
        self._shrink()

    def _shrink(self, change: Any = None) -> None:
        self.mini = None if self.found is None else self.found.shrunk(self.size)
        self.draw(*view.layers(self.found, self.mini))
        self._numbers.show(view.facts(self.found, self.mini))
        if self.found is not None and self.mini is not None:
            photo, layers = view.small_picture(self.scene.photo.cpu(), self.found, self.mini)
            self.small.update(photo=photo, layers=layers)

    def _side_pictures(self) -> list[Image.Image]:
        numbers, *others = super()._side_pictures()
        if self.mini is None:
            return [numbers]
        return [numbers, still.picture(self.small.photo, self.small.layers, width=224), *others]
