"""The anchor explorer: the boxes that every proposal starts from, their order, what they miss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw
import traitlets as t
from torch import Tensor

from mrcnn_steps.anchors import AnchorLocation, Anchors, best_anchors, pyramid
from mrcnn_steps.boxes import centers_and_sizes
from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.explorer import Explorer, object_options, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import SIDE, Source, scene
from mrcnn_widgets.traits import Choice, Real, Sizes, Whole
from mrcnn_widgets.viewer.canvas import Canvas
from mrcnn_widgets.views import anchors as view

ALL_LEVELS = -1
NO_OBJECT = -1
ANCHOR_STRIDES = (1, 2, 4)


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
        best: IoU and row of each object's best anchor.
    """

    stage = "anchors"
    level = Whole(ALL_LEVELS, min=ALL_LEVELS, help="The level whose anchors a click shows.")
    point = t.Tuple(Real(), Real(), help="Where you clicked: (x, y) in pixels of the input.")
    index = Whole(
        0, min=0, help="The current anchor. They are ordered by level, row, column and ratio."
    )
    play_by = Choice(
        ("ratio", "column", "row"), "ratio", help="How far each step of the play goes."
    )
    scales = Sizes(
        (32.0, 64.0, 128.0, 256.0, 512.0),
        below=10_000,
        most=5,
        help="Side of the square anchor of each level, in pixels.",
    )
    ratios = Sizes(
        (0.5, 1.0, 2.0), below=100, most=9, help="Width / height of the anchors on each cell."
    )
    anchor_stride = Whole(2, min=1, help="Cells of the level from one anchor to the next.")
    coverage_iou = Real(
        0.5, min=0.0, max=1.0, help="An object is covered if an anchor has this IoU with it."
    )
    object = Whole(NO_OBJECT, min=NO_OBJECT, help="The object whose best anchor is shown.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self.scene = scene(source)
        self.trace = self.scene.trace
        photo = self.scene.photo
        self.anchors = self.scene.anchors or pyramid(SIDE)
        self.best = best_anchors(self.anchors, self.scene.boxes)
        tried = () if self.trace else ("scales", "ratios", "anchor_stride")
        own = {name: self.trait_defaults(name) for name in ("coverage_iou", *tried)}
        height, width = photo.shape[1:]
        center = {"point": (width / 2, height / 2)}
        canvas = Canvas(photo, title=title("Anchors", photo))
        super().__init__(canvas, own=own, **{**center, **settings})
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

    # -- Controls ------------------------------------------------------------------------------

    def _controls(self) -> list[ipw.Widget]:
        names = self.anchors.level_names
        levels = [("all levels", ALL_LEVELS), *((name, i) for i, name in enumerate(names))]
        self._objects = self.control(
            "object", "object", ipw.Dropdown, options=self._options(), width="190px"
        )
        last = len(self.anchors) - 1
        self._play = ipw.Play(max=last, interval=150, tooltip="Play the order of the anchors.")
        self._slider = self.control("index", "anchor", max=last, width="420px")
        t.link((self, "index"), (self._play, "value"))
        controls = [
            self.control("level", "level", options=levels, width="150px"),
            self._objects,
            self.control("coverage_iou", "covered at IoU ≥"),
        ]
        if self.trace is None:
            stride = self.control(
                "anchor_stride", "anchor stride", options=ANCHOR_STRIDES, width="160px"
            )
            controls += [
                self._numbers("scales", "scales", "250px"),
                self._numbers("ratios", "ratios", "180px"),
                stride,
                self._message,
            ]
        play_by = self.control("play_by", "by", width="110px")
        return [*controls, ipw.HBox([self._play, self._slider, play_by])]

    def _options(self) -> list[tuple[str, int]]:
        return [("none", NO_OBJECT), *object_options(self.scene.names)]

    def _numbers(self, name: str, label: str, width: str) -> ipw.Text:
        """Give a field of numbers; what is refused is said beside it."""
        field = ipw.Text(
            description=label,
            tooltip=self.traits()[name].help,
            continuous_update=False,
            layout=ipw.Layout(width=width),
            style={"description_width": "initial"},
        )

        def show(change: Any = None) -> None:
            field.value = ", ".join(f"{value:g}" for value in getattr(self, name))

        def read(change: Any) -> None:
            try:
                setattr(self, name, _parse(name, field.value))
                self._message.value = ""
            except t.TraitError as error:
                self._message.value = str(error)

        show()
        self.observe(show, [name])
        field.observe(read, ["value"])
        self.register(name, field)
        return field

    @t.validate("scales", "ratios", "anchor_stride")
    def _check_pyramid(self, proposal: Any) -> Any:
        name, values = proposal.trait.name, proposal.value
        if self.scene.anchors is not None:
            raise t.TraitError(
                f"{name}: the anchors are the model's own; pass its photo to try others"
            )
        if name == "anchor_stride" and values not in ANCHOR_STRIDES:
            raise t.TraitError(f"anchor_stride: expected 1, 2 or 4, found {values}")
        levels = len(self.anchors.grids)
        if name == "scales" and len(values) != levels:
            raise t.TraitError(f"scales: expected {levels}, one a level, found {len(values)}")
        return values

    @t.validate("level", "index", "object")
    def _check_row(self, proposal: Any) -> int:
        name, value = proposal.trait.name, proposal.value
        rows = {
            "level": len(self.anchors.grids),
            "index": len(self.anchors),
            "object": len(self.scene.names),
        }[name]
        if value >= rows:
            raise t.TraitError(f"{name}: expected less than {rows:,}, found {value:,}")
        return value

    # -- Results -------------------------------------------------------------------------------

    @property
    def counts(self) -> dict[str, int]:
        """The number of anchors of each level, by its name."""
        grids = self.anchors.grids
        return {name: g.count for name, g in zip(self.anchors.level_names, grids, strict=True)}

    @property
    def cells(self) -> tuple[AnchorLocation, ...]:
        """The cells at `point`, as their first anchors: of the chosen level, or of all."""
        every = range(len(self.anchors.grids))
        return view.cells(
            self.anchors, self.point, every if self.level == ALL_LEVELS else [self.level]
        )

    @property
    def covered(self) -> Tensor:
        """Whether each object has an anchor of IoU `coverage_iou` or more: bool [G]."""
        return self.best.iou >= self.coverage_iou

    # -- What is shown -------------------------------------------------------------------------

    def show(self, trace: Trace) -> None:
        """Show another trace, with the settings as they are; the anchors are then its own."""
        self.scene, self.trace = scene(trace), trace
        row = self.object if self.object < len(self.scene.names) else NO_OBJECT
        with self.canvas.hold_sync():
            self.draw(photo=self.scene.photo)
            self._objects.options = self._options()
            self.object = row
            self._lay()

    def focus(self, lineage: Lineage | None) -> None:
        """Mark the followed object and its anchor, and turn to both."""
        super().focus(lineage)
        if lineage is None:
            return
        self.object = NO_OBJECT if lineage.object is None else lineage.object
        if lineage.anchor is not None:
            x, y, _, _ = centers_and_sizes(self.anchors.boxes[lineage.anchor][None])
            self.point = (float(x), float(y))
            self.index = lineage.anchor

    def _click(self, change: Any = None) -> None:
        if self.canvas.clicked is None:
            return
        self.point = self.canvas.clicked
        self.index = self.anchors.index(self.cells[0])
        picked = self.canvas.selected
        if picked is not None and picked[0] == "objects":
            self.object = picked[1]
        elif picked is not None:
            self.canvas.update(selected=None)  # those anchors have just made room for others

    def _lay(self, change: Any = None) -> None:
        """Lays other anchors, and does everything anew that depends on them."""
        self.anchors = self.scene.anchors or self._pyramid()
        last = len(self.anchors) - 1
        self.index = min(self.index, last)
        self._slider.max = self._play.max = last
        self.best = best_anchors(self.anchors, self.scene.boxes)
        self._show_coverage()
        self._show_cell()
        self._show_current()

    def _pyramid(self) -> Anchors:
        return pyramid(
            SIDE, scales=self.scales, ratios=self.ratios, anchor_stride=self.anchor_stride
        )

    def _show_cell(self, change: Any = None) -> None:
        self.draw(view.cell_layer(self.anchors, self.cells, self.scene))

    def _show_current(self, change: Any = None) -> None:
        """Give the current anchor in the grid of its level, with the marks of those before."""
        level = self.anchors.locate(self.index).level
        grid = self.anchors.grids[level]
        self._play.step = {
            "ratio": 1,
            "column": grid.per_cell,
            "row": grid.per_cell * grid.columns,
        }[self.play_by]
        self.draw(*view.current_layers(self.anchors, self.index, self._play.step))
        self._one.show(view.facts(self.anchors, self.index))
        header = ("", "step", "cells × ratios", "anchors")
        self._levels.show(view.counts(self.anchors), header, marked=level)

    def _show_coverage(self, change: Any = None) -> None:
        chosen = None if self.object == NO_OBJECT else self.object
        header, *rows = view.coverage(self.anchors, self.scene.names, self.best, self.covered)
        self._coverage.show(rows, header, marked=chosen)
        self.draw(*view.coverage_layers(self.anchors, self.scene, self.best, self.covered, chosen))


def _parse(name: str, text: str) -> Sequence[float]:
    """Give the numbers of a field, separated by commas or blanks.

    Raises:
        TraitError: there is something else among them.
    """
    numbers = []
    for part in text.replace(",", " ").split():
        try:
            numbers.append(float(part))
        except ValueError:
            raise t.TraitError(
                f"{name}: expected numbers such as 0.5, 1, 2, found {part[:20]!r}"
            ) from None
    return tuple(numbers)
