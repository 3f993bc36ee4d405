"""The mini-mask explorer: what is lost when a mask is kept as a small picture of its own box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw
import torch
import torch.nn.functional as F
import traitlets as t
from PIL import Image
from torch import Tensor

from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.mini_masks import MiniMasks, boxes_from_masks, round_trip
from mrcnn_steps.palette import ORANGE, PURPLE, SKY, VERMILLION
from mrcnn_widgets.explorer import Explorer, check_row, object_options, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import Source, scene
from mrcnn_widgets.viewer import still
from mrcnn_widgets.viewer.canvas import Canvas, Group, MaskLayer

ORIGINAL = Group("original", SKY)
MINI = Group("mini-mask", ORANGE)
EXPANDED = Group("expanded", ORANGE)
LOST = Group("lost", VERMILLION)
GAINED = Group("gained", PURPLE)
# Sizes that are compared in the table; 28 is the mask head's, 56 the notes'.
SIZES = (14, 28, 56, 112)


class MiniMaskExplorer(Explorer):
    """Choose an object and a size; see the mini-mask, the mask made of it, and where they differ.

    Args:
        source: a trace, a sample or a bundled photo's name. No network runs.
        **settings: initial values of the traits below.

    Attributes:
        box: float [4], the box of the chosen object's mask in pixels of the network's input.
        mini: the part of the mask inside that box, there and back (one row); None without objects.
        lost: bool [h, w], pixels of the box that the mask has and the expanded one lacks.
        gained: bool [h, w], pixels of the box that only the expanded mask has.
        full_bytes: size of the full mask in bytes, one byte a pixel.
    """

    stage = "mini_masks"
    object = t.Int(0, min=0, help="The annotated object whose mask is made small.")
    size = t.Int(min=14, max=112, help="Rows and columns of the mini-mask.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self.scene = scene(source)
        self.trace = self.scene.trace
        photo = self.scene.photo
        self._count = len(self.scene.names)
        canvas = Canvas(photo, title=title("Mini-masks", photo))
        super().__init__(canvas, own={"size": 56}, **settings)
        self.mini: MiniMasks | None = None
        self.full_bytes = photo.shape[1] * photo.shape[2]
        self.small = Canvas(torch.zeros((3, 8, 8), dtype=torch.uint8), max_height=280)
        self._numbers = Readout("This mini-mask", lines=7)
        self._sizes = Readout("The same object at other sizes", lines=5)
        self.arrange(self._controls(), [self._numbers, self.small, self._sizes])
        self.observe(self._choose, ["object"])
        self.observe(self._shrink, ["size"])
        self._choose()

    def _controls(self) -> list[ipw.Widget]:
        options = object_options(self.scene.names) or [("no annotated objects", 0)]
        return [
            self.control("object", "object", ipw.Dropdown, options=options),
            self.control("size", "mini-mask size"),
        ]

    @t.validate("object")
    def _check_object(self, proposal: Any) -> int | None:
        return check_row(proposal, max(self._count, 1))

    def focus(self, lineage: Lineage | None) -> None:
        """Mark the followed object, and choose it."""
        super().focus(lineage)
        if lineage is not None and lineage.object is not None:
            self.object = lineage.object

    def _choose(self, change: Any = None) -> None:
        """Takes another object; its mask travels once, whatever the size."""
        if not self._count:
            self._numbers.show([("no annotated objects", "")])
            names = {"original": [ORIGINAL], "expanded": [EXPANDED], "difference": [LOST, GAINED]}
            self.draw(*(_layer(name, groups, [], torch.zeros(4)) for name, groups in names.items()))
            return
        mask = self.scene.mask(self.object).cpu()
        self.box = boxes_from_masks(mask[None])[0]
        x1, y1, x2, y2 = self.box.int().tolist()
        # Nothing outside of its box matters to a mini-mask.
        self._mask = mask[y1:y2, x1:x2].contiguous()
        rows = []
        for size in SIZES:
            mini = round_trip(self._mask[None], (size, size))
            rows.append((f"{size} × {size}", f"{size * size:,}", f"{float(mini.iou):.4f}"))
        self._sizes.show(rows, ("size", "bytes", "IoU"))
        self._original = _layer("original", [ORIGINAL], self._mask[None], self.box, opacity=0.15)
        self._shrink()
        self.canvas.view = _around(self.box, mask.shape)

    def _shrink(self, change: Any = None) -> None:
        if not self._count:
            return
        self.mini = mini = round_trip(self._mask[None], (self.size, self.size))
        expanded = mini.expanded[0]
        self.lost, self.gained = self._mask & ~expanded, expanded & ~self._mask
        self.draw(
            self._original,
            _layer("expanded", [EXPANDED], expanded[None], self.box, opacity=0.0),
            _layer(
                "difference",
                [LOST, GAINED],
                [self.lost, self.gained],
                self.box,
                opacity=0.85,
                outline=False,
            ),
        )
        square = torch.tensor([0.0, 0.0, self.size, self.size])
        self.small.update(
            photo=_crop(self.scene.photo.cpu(), self.box, self.size),
            layers=[_layer("mini-mask", [MINI], mini.mini_masks, square, opacity=0.5)],
        )
        self._report(mini)

    def _report(self, mini: MiniMasks) -> None:
        x1, y1, x2, y2 = self.box.tolist()
        self._numbers.show(
            [
                ("box", f"{x2 - x1:.0f} × {y2 - y1:.0f} px"),
                ("full mask", f"{self.full_bytes:,} bytes"),
                ("mini-mask", f"{mini.mini_mask_bytes:,} bytes"),
                ("smaller by", f"{self.full_bytes / mini.mini_mask_bytes:,.0f} ×"),
                ("IoU with the original", f"{float(mini.iou):.4f}"),
                ("pixels lost", f"{int(self.lost.sum()):,}"),
                ("pixels gained", f"{int(self.gained.sum()):,}"),
            ]
        )

    def _side_pictures(self) -> list[Image.Image]:
        numbers, *others = super()._side_pictures()
        if self.mini is None:
            return [numbers, *others]
        small = self.small
        return [numbers, still.picture(small.photo, small.layers, width=224), *others]


def _layer(
    name: str, groups: Sequence[Group], masks: Any, box: Tensor, **options: Any
) -> MaskLayer:
    """Masks over one box, each in a group of its own."""
    count = len(masks)
    return MaskLayer(
        name,
        masks,
        box.expand(count, 4),
        groups=groups,
        group_index=range(count),
        pickable=False,
        **options,
    )


def _around(box: Tensor, shape: torch.Size) -> tuple[float, float, float, float]:
    """The part of the photo to look at: the box with a margin."""
    x1, y1, x2, y2 = box.tolist()
    margin = 0.25 * max(x2 - x1, y2 - y1, 32)
    height, width = shape
    return (
        max(x1 - margin, 0),
        max(y1 - margin, 0),
        min(x2 + margin, width),
        min(y2 + margin, height),
    )


def _crop(photo: Tensor, box: Tensor, size: int) -> Tensor:
    """What the mini-mask lies on: the photo inside the box, as coarse as the mini-mask."""
    x1, y1, x2, y2 = box.round().int().tolist()
    if x2 <= x1 or y2 <= y1:
        return photo.new_zeros((3, size, size))
    inside = photo[None, :, y1:y2, x1:x2]
    return F.interpolate(inside, (size, size), mode="bilinear", antialias=True)[0]
