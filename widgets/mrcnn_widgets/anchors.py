"""The anchor explorer: the boxes that every proposal starts from, their order, what they miss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw
import torch
import traitlets as t
from torch import Tensor
from torchvision.ops import box_iou

from mrcnn_steps.anchors import AnchorLocation, Anchors, pyramid
from mrcnn_steps.boxes import centers_and_sizes
from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.palette import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, YELLOW
from mrcnn_widgets.explorer import Explorer, object_options, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import SIDE, Source, scene
from mrcnn_widgets.viewer.canvas import (
    BoxLayer,
    Canvas,
    Category,
    GridLayer,
    Group,
    PointLayer,
    as_numpy,
)
from mrcnn_widgets.views.objects import as_boxes, objects_layer

ALL_LEVELS = -1
NO_OBJECT = -1
# None of them looks like an object, covered or not.
LEVEL_COLORS = (SKY, ORANGE, GREEN, PURPLE, BLUE)
CURRENT = "#FFFFFF"
COVERED = Group("covered", YELLOW, "solid")
MISSED = Group("not covered", VERMILLION, "dashed")
# How many of the anchors before the current one leave a mark.
TRAIL = 60
MAX_RATIOS = 9


def best_anchors(anchors: Anchors, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The anchor that overlaps each box most.

    The anchors of one level and ratio have one size. Their IoU with a box falls with the distance
    of the centers along x and along y, so only the cell nearest to the box's center can be best: a
    handful of anchors to compare instead of all.

    Args:
        anchors: a pyramid.
        boxes: float [G, 4].

    Returns:
        The best IoU (float [G]) and the row of that anchor (int [G]).
    """
    x, y, _, _ = centers_and_sizes(boxes)
    rows = []
    for grid, part in zip(anchors.grids, anchors.level_slices, strict=True):
        if not grid.count:
            continue
        first_x, first_y, _, _ = centers_and_sizes(anchors.boxes[part][: grid.per_cell])
        column = ((x[:, None] - first_x) / grid.stride[1]).round().clamp(0, grid.columns - 1)
        row = ((y[:, None] - first_y) / grid.stride[0]).round().clamp(0, grid.rows - 1)
        cell = (row * grid.columns + column).long()
        ratio = torch.arange(grid.per_cell, device=cell.device)
        rows.append(part.start + cell * grid.per_cell + ratio)
    near = torch.cat(rows, dim=1)
    iou = torch.stack(
        [box_iou(box[None], anchors.boxes[some])[0] for box, some in zip(boxes, near, strict=True)]
        or [boxes.new_zeros(near.shape[1])]
    )[: len(boxes)]
    best, place = iou.max(dim=1)
    return best, near.gather(1, place[:, None])[:, 0]


class AnchorExplorer(Explorer):
    """Click on the photo to see the anchors of that place; play their order; see what they miss.

    With a trace the anchors are the model's own. With a sample or a bundled photo's name no network
    runs: they are those of a pyramid on a square of 1024 pixels, whose scales, ratios and stride
    can be tried.

    Args:
        source: a trace, a sample or a bundled photo's name.
        **settings: initial values of the traits below; -1 stands for all levels and for no object.

    Attributes:
        anchors: the anchors that are shown.
        counts: the number of anchors of each level, by its name.
        best_iou: float [G], IoU of each object with its best anchor.
        best_index: int [G], that anchor.
        covered: bool [G], whether that IoU reaches `coverage_iou`.
    """

    stage = "anchors"
    level = t.Int(ALL_LEVELS, min=ALL_LEVELS, help="The level whose anchors a click shows.")
    point = t.Tuple(t.Float(), t.Float(), help="Where you clicked: (x, y) in pixels of the input.")
    index = t.Int(
        0, min=0, help="The current anchor. They are ordered by level, row, column and ratio."
    )
    play_by = t.Enum(
        ("ratio", "column", "row"), "ratio", help="How far each step of the play goes."
    )
    scales = t.Tuple(
        (32.0, 64.0, 128.0, 256.0, 512.0),
        help="Side of the square anchor of each level, in pixels.",
    )
    ratios = t.Tuple((0.5, 1.0, 2.0), help="Width / height of the anchors on each cell.")
    anchor_stride = t.Enum((1, 2, 4), 2, help="Cells of the level from one anchor to the next.")
    coverage_iou = t.Float(
        0.5, min=0.0, max=1.0, help="An object is covered if an anchor has this IoU with it."
    )
    object = t.Int(NO_OBJECT, min=NO_OBJECT, help="The object whose best anchor is shown.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self.scene = scene(source)
        self.trace = self.scene.trace
        photo = self.scene.photo
        self.anchors = self.scene.anchors or pyramid(SIDE)
        height, width = photo.shape[1:]
        super().__init__(
            Canvas(photo, title=title("Anchors", photo)),
            **{"point": (width / 2, height / 2), **settings},
        )
        self._levels = Readout("Anchors", lines=7)
        self._one = Readout("Current anchor", lines=6)
        self._coverage = Readout("Objects and their best anchor", lines=10)
        self._message = ipw.Label()
        self.arrange(self._controls(), [self._levels, self._one, self._coverage])
        self.observe(self._lay, ["scales", "ratios", "anchor_stride"])
        self.observe(self._show_cell, ["point", "level"])
        self.observe(self._show_current, ["index", "play_by"])
        self.observe(self._show_coverage, ["coverage_iou", "object"])
        self.canvas.observe(self._click, ["clicked"])
        self._lay()
        if "index" not in settings:
            self.index = self.anchors.index(self.cells[0])

    def _controls(self) -> list[ipw.Widget]:
        names = self.anchors.level_names
        levels = [("all levels", ALL_LEVELS), *((name, i) for i, name in enumerate(names))]
        objects = [("none", NO_OBJECT), *object_options(self.scene.names)]
        last = len(self.anchors) - 1
        self._play = ipw.Play(max=last, interval=150, tooltip="Play the order of the anchors.")
        slider = self.control("index", "anchor", max=last, width="420px")
        t.link((self, "index"), (self._play, "value"))
        self._slider = slider
        controls = [
            self.control("level", "level", options=levels, width="150px"),
            self.control("object", "object", ipw.Dropdown, options=objects, width="190px"),
            self.control("coverage_iou", "covered at IoU ≥"),
        ]
        if self.scene.anchors is None:
            controls += [
                self._numbers("scales", "scales", "250px"),
                self._numbers("ratios", "ratios", "180px"),
                self.control("anchor_stride", "anchor stride", width="150px"),
                self._message,
            ]
        play = ipw.HBox([self._play, slider, self.control("play_by", "by", width="110px")])
        return [*controls, play]

    def _numbers(self, name: str, label: str, width: str) -> ipw.Text:
        """A field of numbers separated by commas; what is refused is said beside it."""
        field = ipw.Text(
            description=label,
            tooltip=self.traits()[name].help,
            continuous_update=False,
            layout=ipw.Layout(width=width),
            style={"description_width": "initial"},
        )
        self.register(name, field)

        def show(change: Any = None) -> None:
            field.value = ", ".join(f"{value:g}" for value in getattr(self, name))

        def read(change: Any) -> None:
            try:
                setattr(self, name, tuple(float(part) for part in field.value.split(",")))
                self._message.value = ""
            except (ValueError, t.TraitError) as error:
                self._message.value = str(error)

        show()
        self.observe(show, [name])
        field.observe(read, ["value"])
        return field

    @t.validate("scales", "ratios", "anchor_stride")
    def _check_pyramid(self, proposal: Any) -> Any:
        name, values = proposal.trait.name, proposal.value
        if self.scene.anchors is not None:
            raise t.TraitError(
                f"{name}: the anchors are the model's own; pass its photo to try others"
            )
        if name == "anchor_stride":
            return values
        if not values or not all(0 < value < 1e4 for value in values):
            raise t.TraitError(f"{name}: expected positive numbers, found {values}")
        levels = len(self.anchors.grids)
        if name == "scales" and len(values) != levels:
            raise t.TraitError(f"scales: expected {levels}, one a level, found {len(values)}")
        if len(values) > MAX_RATIOS:
            raise t.TraitError(f"ratios: expected at most {MAX_RATIOS}, found {len(values)}")
        return tuple(float(value) for value in values)

    @t.validate("level", "index", "object")
    def _check_row(self, proposal: Any) -> int:
        name, value = proposal.trait.name, proposal.value
        rows = {
            "level": len(self.anchors.grids),
            "index": len(self.anchors),
            "object": len(self.scene.names),
        }[name]
        if value >= rows:
            raise t.TraitError(f"{name}: expected less than {rows}, found {value}")
        return value

    @property
    def counts(self) -> dict[str, int]:
        """The number of anchors of each level, by its name."""
        grids = self.anchors.grids
        return {name: g.count for name, g in zip(self.anchors.level_names, grids, strict=True)}

    @property
    def cells(self) -> tuple[AnchorLocation, ...]:
        """The cells at `point`, as their first anchors: of the chosen level, or of all."""
        x, y = self.point
        every = range(len(self.anchors.grids))
        places = []
        for level in every if self.level == ALL_LEVELS else [self.level]:
            grid = self.anchors.grids[level]
            row = min(max(int(y // grid.stride[0]), 0), grid.rows - 1)
            column = min(max(int(x // grid.stride[1]), 0), grid.columns - 1)
            places.append(AnchorLocation(level, row, column, 0))
        return tuple(places)

    def _click(self, change: Any) -> None:
        if self.canvas.clicked is None:
            return
        self.point = self.canvas.clicked
        self.index = self.anchors.index(self.cells[0])
        picked = self.canvas.selected
        if picked is not None and picked[0] == "objects":
            self.object = picked[1]
        elif picked is not None:
            self.canvas.update(selected=None)  # those anchors have just made room for others

    def focus(self, lineage: Lineage | None) -> None:
        """Mark the followed object and its anchor, and choose the object."""
        super().focus(lineage)
        if lineage is not None and lineage.object is not None:
            self.object = lineage.object

    def _lay(self, change: Any = None) -> None:
        """Lays other anchors, and does everything anew that depends on them."""
        if self.scene.anchors is None:
            self.anchors = pyramid(
                SIDE,
                scales=self.scales,
                ratios=self.ratios,
                anchor_stride=self.anchor_stride,
            )
        last = len(self.anchors) - 1
        self.index = min(self.index, last)
        self._slider.max = self._play.max = last
        self.best_iou, self.best_index = best_anchors(self.anchors, self.scene.boxes)
        self._show_coverage()
        self._show_cell()
        self._show_current()

    def _show_cell(self, change: Any = None) -> None:
        """All anchors at the point, a color for each level."""
        names = self.anchors.level_names
        rows = [
            self.anchors.index(place) + ratio
            for place in self.cells
            for ratio in range(self.anchors.grids[place.level].per_cell)
        ]
        boxes = self.anchors.boxes[rows]
        levels = as_numpy(self.anchors.levels(torch.tensor(rows)))
        _, _, width, height = centers_and_sizes(boxes)
        self.draw(
            BoxLayer(
                "anchors here",
                as_boxes(boxes),
                groups=[
                    Group(name, LEVEL_COLORS[level % len(LEVEL_COLORS)])
                    for level, name in enumerate(names)
                ],
                group_index=levels,
                fields={"anchor": rows, "width / height": width / height, **self._iou(boxes)},
            )
        )

    def _iou(self, boxes: Tensor) -> dict[str, Any]:
        """The object that each box overlaps most, for the hover card."""
        if not len(self.scene.boxes):
            return {}
        best, row = box_iou(boxes, self.scene.boxes).max(dim=1)
        return {"best IoU": best, "object": Category(row, _labels(self.scene.names))}

    def _show_current(self, change: Any = None) -> None:
        """The current anchor in the grid of its level, with the trail of those before."""
        place = self.anchors.locate(self.index)
        grid = self.anchors.grids[place.level]
        self._play.step = {
            "ratio": 1,
            "column": grid.per_cell,
            "row": grid.per_cell * grid.columns,
        }[self.play_by]
        first = self.anchors.level_slices[place.level].start
        trail = range(
            self.index, max(self.index - TRAIL * self._play.step, first - 1), -self._play.step
        )
        x, y, width, height = centers_and_sizes(self.anchors.boxes[list(trail)])
        self.draw(
            GridLayer(
                "grid",
                (grid.stride[1], grid.stride[0]),
                (grid.rows, grid.columns),
                cells=[[place.row, place.column]],
            ),
            PointLayer(
                "order",
                torch.stack((x, y), dim=1),
                groups=[Group("order", CURRENT)],
                pickable=False,
            ),
            BoxLayer(
                "current",
                as_boxes(self.anchors.boxes[self.index][None]),
                groups=[Group("current", CURRENT)],
                labels=[f"{self.index:,}"],
                width=3,
                pickable=False,
            ),
        )
        self._one.show(
            [
                ("anchor", f"{self.index:,}"),
                ("level", self.anchors.level_names[place.level]),
                ("row", f"{place.row} of {grid.rows}"),
                ("column", f"{place.column} of {grid.columns}"),
                ("ratio", f"{place.ratio} · width / height {float(width[0] / height[0]):.2f}"),
                ("size", f"{float(width[0]):.0f} × {float(height[0]):.0f} px"),
            ]
        )
        self._show_counts(place.level)

    def _show_counts(self, level: int) -> None:
        grids, names = self.anchors.grids, self.anchors.level_names
        rows = [
            (name, f"{g.stride[1]:g}", f"{g.rows} × {g.columns} × {g.per_cell}", f"{g.count:,}")
            for name, g in zip(names, grids, strict=True)
        ]
        total = ("all", "", "", f"{len(self.anchors):,}")
        self._levels.show([*rows, total], ("", "step", "cells × ratios", "anchors"), marked=level)

    @property
    def covered(self) -> Tensor:
        """Whether each object has an anchor of IoU `coverage_iou` or more: bool [G]."""
        return self.best_iou >= self.coverage_iou

    def _show_coverage(self, change: Any = None) -> None:
        names = self.anchors.level_names
        covered = as_numpy(self.covered)
        levels = as_numpy(self.anchors.levels(self.best_index))
        rows = [
            (label, f"{iou:.2f}", names[level], "covered" if yes else "missed")
            for label, iou, level, yes in zip(
                _labels(self.scene.names), self.best_iou.tolist(), levels, covered, strict=True
            )
        ]
        total = f"{covered.sum()} of {covered.size} covered" if rows else "no annotated objects"
        chosen = [] if self.object == NO_OBJECT else [self.object]
        self._coverage.show(rows, (total, "IoU", "level", ""), marked=chosen[0] if chosen else None)
        self.draw(
            objects_layer(
                self.scene.boxes,
                self.scene.names,
                groups=[COVERED, MISSED],
                group_index=(~self.covered).int(),
                labels=None,
                pickable=True,
                fields={
                    "object": Category(range(len(rows)), _labels(self.scene.names)),
                    "best IoU": self.best_iou,
                    "anchor": self.best_index,
                },
            ),
            BoxLayer(
                "best anchor",
                as_boxes(self.anchors.boxes[self.best_index[chosen]]),
                groups=[Group("best anchor", GREEN, "dashed")],
                labels=[
                    f"{_labels(self.scene.names)[row]} · best anchor, IoU {self.best_iou[row]:.2f}"
                    for row in chosen
                ],
                width=3,
                pickable=False,
            ),
        )


def _labels(names: Sequence[str]) -> list[str]:
    return [label for label, _ in object_options(names)]
