"""What the explorers share: controls above a canvas, numbers beside it, settings as traits.

An explorer shows one stage of a Mask R-CNN on one photo. Each is a subclass of `Explorer`:

    class ThresholdExplorer(Explorer):
        least = t.Float(0.5, min=0.0, max=1.0, help="Boxes below this score are not drawn.")

        def __init__(self, source, **settings):
            self.trace = as_trace(source)             # a Trace, a Sample or a bundled photo's name
            photo = self.trace.letterbox.image
            super().__init__(Canvas(photo, title=title("Scores", photo)), **settings)
            self.numbers = Readout("Counts")
            self.arrange([self.control("least", "score ≥")], [self.numbers])
            self.observe(self._recompute, ["least"])    # after the settings are in, before …
            self._recompute()                           # … everything is drawn once

        def _recompute(self, change=None):
            kept = self.trace.proposals.scores >= self.least
            self.draw(BoxLayer("proposals", self.trace.proposals.boxes[kept]))
            self.numbers.show([("kept", f"{int(kept.sum()):,}")])

A *setting* is a trait with bounds and a `help` sentence, which becomes the tooltip of its control.
`control` links the two both ways: the explorer is driven by `explorer.least = 0.8` as by the mouse,
and a value out of bounds is refused with a `TraitError`. What an explorer shows is readable: its
results are attributes, its layers are `explorer.canvas["proposals"]`.

`draw` replaces layers by name. Give back the same layer object for what did not change, or leave
it out: then it does not travel again. Keep the set of layers the same (an empty layer rather than
none), so that what the user hid stays hidden. `pin` keeps a layer on top, such as an object that is
followed through all stages. `settings` is what has to be passed to build the same explorer on
another photo.

Names such as `_compare` belong to ipywidgets: a method of that name breaks the display.

Text from data reaches the page through `Readout`, `Canvas` or the options of a control, which never
read it as HTML.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import matplotlib
import numpy as np
import traitlets as t
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mrcnn_steps.palette import INK, PAPER, YELLOW
from mrcnn_widgets.viewer import still
from mrcnn_widgets.viewer.canvas import BoxLayer, Canvas, Group, StaticView

SIDE_PANEL = "290px"
# Letters of a table's cell that is never broken into lines.
SHORT = 16


def title(stage: str, photo: Tensor) -> str:
    """The line above a canvas that shows the network's input."""
    height, width = photo.shape[1:]
    return f"{stage} · pixels of the network's input, {width} × {height}"


def objects_layer(boxes: Tensor, names: Sequence[str], **options: Any) -> BoxLayer:
    """The annotated objects by their numbers, looking the same in every explorer."""
    look: dict[str, Any] = {
        "groups": [Group("objects", YELLOW, "solid")],
        "labels": [str(row) for row in range(len(names))],
        "pickable": False,
    }
    return BoxLayer("objects", as_boxes(boxes), **(look | options))


def object_options(names: Sequence[str]) -> list[tuple[str, int]]:
    """The objects for a drop-down list: what to show, and the row."""
    return [(f"{row} · {name}", row) for row, name in enumerate(names)]


def check_row(proposal: Any, count: int) -> int | None:
    """For `traitlets.validate`: lets a row below `count` pass, or None if the trait allows it."""
    row = proposal.value
    if row is not None and not 0 <= row < count:
        raise t.TraitError(f"{proposal.trait.name}: expected 0 to {count - 1}, found {row}")
    return row


class Readout(widgets.HTML):
    """A small table of numbers that changes without moving what is around it.

    Args:
        heading: the line above the table.
        lines: how many rows to keep room for; more of them scroll.
    """

    def __init__(self, heading: str, lines: int = 4) -> None:
        self.heading, self.lines = heading, lines
        self.rows: list[tuple[str, ...]] = []
        super().__init__(layout=widgets.Layout(width="auto", margin="0 0 10px 0"))
        self.show([])

    def show(
        self,
        rows: Sequence[Sequence[str]],
        header: Sequence[str] = (),
        marked: int | None = None,
    ) -> None:
        """Replaces the table.

        Args:
            rows: texts; the first column is aligned left, the others right.
            header: a text for each column.
            marked: the row to emphasize.
        """
        self.rows = [
            tuple(str(text) for text in row) for row in (*([header] if header else ()), *rows)
        ]
        lines = []
        for place, row in enumerate(self.rows):
            is_header = bool(header) and place == 0
            look = "color: var(--jp-ui-font-color2, #666);" if is_header else ""
            if marked is not None and place == marked + bool(header):
                look = "font-weight: 700; background: rgba(86, 180, 233, .22);"
            cells = "".join(
                f'<td style="padding: 0 6px; text-align: {"right" if column else "left"}; '
                f'{_wrapping(column, text)}">{html.escape(text)}</td>'
                for column, text in enumerate(row)
            )
            lines.append(f'<tr style="background: none; {look}">{cells}</tr>')
        height = 19 * self.lines
        self.value = (
            '<div style="line-height: 19px; font-size: 12px; font-variant-numeric: tabular-nums; '
            'color: var(--jp-ui-font-color1, inherit);">'
            f'<div style="font-weight: 600; padding: 0 6px;">{html.escape(self.heading)}</div>'
            f'<div style="height: {height}px; overflow-y: auto;">'
            f'<table style="width: 100%; border-collapse: collapse;">{"".join(lines)}</table>'
            "</div></div>"
        )


def _wrapping(column: int, text: str) -> str:
    """A number stays in one piece, however long the name beside it; a long name may break."""
    fits = column > 0 and len(text) <= SHORT
    return "white-space: nowrap;" if fits else "overflow-wrap: anywhere;"


class Explorer(StaticView, widgets.VBox):
    """Controls, a canvas, and numbers beside it; see the module's text.

    Args:
        canvas: what the stage is shown on.
        **settings: initial values of the subclass's traits.
    """

    def __init__(self, canvas: Canvas, **settings: Any) -> None:
        unknown = sorted(set(settings) - set(self.trait_names()))
        if unknown:
            raise TypeError(f"{type(self).__name__} has no setting {unknown}")
        self.canvas = canvas
        self._drawn = {layer.name: layer for layer in canvas.layers}
        self._pinned: tuple[Any, ...] = ()
        self._controlled: list[str] = []
        self._side: Sequence[widgets.Widget] = ()
        super().__init__(**settings)

    @property
    def settings(self) -> dict[str, Any]:
        """What the controls stand on: pass it on to show another photo in the same way."""
        return {name: getattr(self, name) for name in self._controlled}

    def control(
        self, name: str, label: str, kind: type[widgets.Widget] | None = None, **options: Any
    ) -> Any:
        """A control for a setting, linked with it both ways.

        Args:
            name: of the trait; its bounds and `help` become those of the control.
            label: the text before the control.
            kind: the widget; without it a list for options and for an `Enum`, a slider for
                a number, a check box for a bool.
            **options: of the widget, such as `step`, `options` or `width`.
        """
        trait = self.traits()[name]
        numbers = {t.Int: widgets.IntSlider, t.Float: widgets.FloatSlider}
        fitting = {**numbers, t.Bool: widgets.Checkbox}
        if kind is None and "options" not in options:
            kind = next((w for n, w in fitting.items() if isinstance(trait, n)), None)
        kind = kind or widgets.Dropdown
        if kind in numbers.values():
            bounds = {end: getattr(trait, end) for end in ("min", "max")}
            step = {"step": 0.01, "readout_format": ".2f"} if kind is widgets.FloatSlider else {}
            options = {**bounds, **step, **options}
        if kind is widgets.Checkbox:
            options = {"indent": False, **options}
        if isinstance(trait, t.Enum) and "options" not in options:
            options["options"] = list(trait.values or ())
        if "width" in options:
            size = {"width": options.pop("width")}
        elif kind in numbers.values():
            # Sliders share the width of their row: tracks long enough to aim at.
            size = {"flex": "1 1 286px", "max_width": "420px"}
        else:
            size = {"width": "262px"}
        widget = kind(
            value=getattr(self, name),
            description=label,
            tooltip=trait.help,
            layout=widgets.Layout(**size),
            **options,
        )
        if hasattr(widget.style, "description_width"):
            widget.style.description_width = "initial"
        t.link((self, name), (widget, "value"))
        self._controlled.append(name)
        return widget

    def arrange(
        self, controls: Sequence[widgets.Widget], side: Sequence[widgets.Widget] = ()
    ) -> None:
        """Lays out the explorer: controls in rows above the canvas, `side` to its right."""
        self._side = side
        row = widgets.HBox(
            list(controls),
            layout=widgets.Layout(flex_flow="row wrap", grid_gap="0 14px", overflow="hidden"),
        )
        self.canvas.layout.flex, self.canvas.layout.min_width = "1 1 420px", "0"
        panel = widgets.VBox(
            list(side), layout=widgets.Layout(flex=f"0 1 {SIDE_PANEL}", min_width="0")
        )
        stage = widgets.HBox(
            [self.canvas, panel] if side else [self.canvas],
            layout=widgets.Layout(flex_flow="row wrap", grid_gap="0 14px"),
        )
        self.children = [row, stage]

    def draw(self, *layers: Any, **changes: Any) -> None:
        """Replaces the layers of the same names, in one message; others keep their place.

        Args:
            *layers: new ones go on top of what the explorer drew before.
            **changes: `photo`, or traits of the canvas.
        """
        self._drawn |= {layer.name: layer for layer in layers}
        self.canvas.update(layers=[*self._drawn.values(), *self._pinned], **changes)

    def pin(self, *layers: Any) -> None:
        """Keeps these layers on top of whatever the explorer draws; without any, lets go."""
        self._pinned = layers
        self.draw()

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({settings})"

    def close(self) -> None:
        """Frees the explorer with everything in it."""
        for widget in _descendants(self):
            widget.close()
        super().close()

    def to_png(self) -> bytes:
        """The canvas under its title, with the numbers beside it."""
        return still.png(_page(self.canvas.title, _shown(self.canvas), self._side_pictures()))

    def _side_pictures(self) -> list[Image.Image]:
        """What the panel beside the canvas becomes in the PNG; an explorer may add pictures."""
        return [_picture(item) for item in self._side if isinstance(item, Readout) and item.rows]


def _descendants(widget: widgets.Widget) -> list[widgets.Widget]:
    inner: list[widgets.Widget] = []
    for child in getattr(widget, "children", ()):
        inner += [*_descendants(child), child]
    styles = (getattr(widget, name, None) for name in ("layout", "style"))
    return [*inner, *(style for style in styles if isinstance(style, widgets.Widget))]


def _shown(canvas: Canvas, width: int = 560) -> Image.Image:
    """The part of the canvas that `view` asks for, above the legend."""
    photo_height, photo_width = canvas.photo.shape[:2]
    x1, y1, x2, y2 = canvas.view or (0, 0, photo_width, photo_height)
    whole = round(min(width * photo_width / (x2 - x1), 4 * width))
    scale = whole / photo_width
    image = still.picture(
        canvas.photo, canvas.layers, canvas.hidden, canvas.thresholds, canvas.selected, whole
    )
    legend = image.crop((0, round(photo_height * scale), width, image.height))
    part = image.crop(tuple(round(scale * value) for value in (x1, y1, x2, y2)))
    page = Image.new("RGB", (width, part.height + legend.height), PAPER)
    page.paste(part)
    page.paste(legend, (0, part.height))
    return page


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Pillow's own font lacks ×, − and ≥.
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)


def _picture(readout: Readout, width: int = 270) -> Image.Image:
    """A readout's table as a picture."""
    font = _font(11)
    # The lines that the page would show without scrolling, and a few more.
    rows = readout.rows[: max(readout.lines, 12)]
    image = Image.new("RGB", (width, 18 * (len(rows) + 1) + 8), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((0, 9), readout.heading, "#000000", _font(12), anchor="lm")
    columns = max(len(row) for row in rows)
    wide = [max(font.getlength(row[c]) for row in rows if c < len(row)) for c in range(columns)]
    for line, row in enumerate(rows, start=1):
        right = float(width)
        for column in range(len(row) - 1, 0, -1):
            pen.text((right, 18 * line + 9), row[column], INK, font, anchor="rm")
            right -= wide[column] + 10
        text = row[0]
        while text and font.getlength(text) > right:
            text = text[:-1]
        pen.text((0, 18 * line + 9), text, INK, font, anchor="lm")
    return image


def _page(title: str, main: Image.Image, side: Sequence[Image.Image]) -> Image.Image:
    """A title above a picture, others in a column beside it."""
    gap, top = 16, 26
    width = main.width + (gap + max(image.width for image in side) if side else 0)
    height = top + max(main.height, sum(image.height + 10 for image in side))
    page = Image.new("RGB", (width, height), PAPER)
    font = _font(13)
    ImageDraw.Draw(page).text((2, top / 2), title, "#000000", font, anchor="lm")
    page.paste(main, (0, top))
    y = top
    for image in side:
        page.paste(image, (main.width + gap, y))
        y += image.height + 10
    return page


def as_boxes(boxes: Tensor) -> np.ndarray:
    """Boxes as a layer takes them: float32 numpy, finite, x1 <= x2 and y1 <= y2."""
    rows = boxes.detach().cpu().float().numpy().reshape(-1, 4)
    # An untrained network moves anchors by any amount; the canvas needs no more than this.
    rows = np.nan_to_num(rows, nan=0.0, posinf=1e6, neginf=-1e6).clip(-1e6, 1e6)
    return np.concatenate([rows[:, :2], np.maximum(rows[:, 2:], rows[:, :2])], axis=1)
