"""What the explorers share: controls above a canvas, numbers beside it, settings as traits.

An explorer shows one stage of a Mask R-CNN on one photo. It holds settings and controls only: what
the stage shows is built by the view of that stage, a module of pure functions in `views`. Each is a
subclass of `Explorer`:

    class ThresholdExplorer(Explorer):
        stage = "proposals"
        least = Real(min=0.0, max=1.0, help="Boxes below this score are not drawn.")

        def __init__(self, source, **settings):
            self.trace = as_trace(source)             # a Trace, a Sample or a bundled photo's name
            photo = self.trace.letterbox.image
            canvas = Canvas(photo, title=title("Scores", photo))
            super().__init__(canvas, own={"least": 0.5}, **settings)
            self.numbers = Readout("Counts")
            self.arrange([self.control("least", "score ≥")], [self.numbers])
            self.observe(self._draw, ["least"])       # after the settings are in, before …
            self._draw()                              # … everything is drawn once

        def _draw(self, change=None):
            self.draw(*view.layers(self.trace, self.least))
            self.numbers.show(view.facts(self.trace, self.least))

A *setting* is a trait with bounds and a `help` sentence, which becomes the tooltip of its control.
`control` links the two both ways: the explorer is driven by `explorer.least = 0.8` as by the mouse,
and a value out of bounds is refused with a `TraitError`. `own` holds the values that the model
itself is set to: a control whose setting differs is marked, and `reset` goes back to them. What an
explorer shows is readable: its results are attributes, its layers are
`explorer.canvas["proposals"]`.

All explorers answer to the same three calls, so that whoever holds one need not know which it is:
`show` another trace, `focus` on what is followed through the stages, and tell the `subject` of a
picked row.

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

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import ipywidgets as ipw
import traitlets as t
from PIL import Image, ImageDraw
from torch import Tensor

from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.fonts import pillow_font
from mrcnn_steps.palette import PAPER
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.panel import Panel
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.viewer import still
from mrcnn_widgets.viewer.canvas import Canvas
from mrcnn_widgets.views import followed
from mrcnn_widgets.views.objects import object_labels

# Photo and tables stay side by side down to the sum of these; then the tables go below.
LEAST_CANVAS, LEAST_SIDE, MOST_SIDE = "220px", "225px", "290px"
# Follows the label of a control whose setting differs from the model's own; as wide as the blank.
CHANGED, UNCHANGED = " •", " \u2002"


def title(stage: str, photo: Tensor) -> str:
    """Give the line above a canvas that shows the network's input."""
    height, width = photo.shape[1:]
    return f"{stage} · pixels of the network's input, {width} × {height}"


def object_options(names: Sequence[str]) -> list[tuple[str, int]]:
    """Give the objects for a drop-down list: what to show, and the row."""
    return [(label, row) for row, label in enumerate(object_labels(names))]


def check_row(proposal: Any, count: int) -> int | None:
    """For `traitlets.validate`: lets a row below `count` pass, or None if the trait allows it."""
    row = proposal.value
    if row is not None and not 0 <= row < count:
        raise t.TraitError(f"{proposal.trait.name}: expected 0 to {count - 1}, found {row}")
    return row


class Explorer(Panel):
    """Controls, a canvas, and numbers beside it; see the module's text.

    Args:
        canvas: what the stage is shown on.
        own: the values that the model itself has, of the settings that `reset` puts back.
        **settings: initial values of the subclass's traits.

    Attributes:
        stage: the key of the stage, as `mrcnn_steps.stages` has it.
        trace: the trace that is shown; None where a photo is shown without a network.
        canvas: what the stage is shown on.
        own: the values that `reset` puts back.
    """

    stage: ClassVar[str]
    trace: Any

    def __init__(
        self, canvas: Canvas, own: Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        unknown = sorted(set(settings) - set(self.trait_names()))
        if unknown:
            raise TypeError(f"{type(self).__name__} has no setting {unknown}")
        self.canvas = canvas
        self.own = dict(own or {})
        self._drawn = {layer.name: layer for layer in canvas.layers}
        self._pinned: tuple[Any, ...] = ()
        self._registered: dict[str, tuple[ipw.Widget, str]] = {}
        self._side: Sequence[ipw.Widget] = ()
        super().__init__(**{**self.own, **settings})
        self._reset = ipw.Button(
            description="Reset",
            icon="undo",
            tooltip=f"The model's own settings again, for every control marked{CHANGED}",
            layout=ipw.Layout(width="84px", flex="0 0 auto"),
        )
        self._reset.on_click(lambda _: self.reset())
        self.observe(self._mark_changed, list(self.own))

    # -- What every explorer can be asked ------------------------------------------------------

    def show(self, trace: Trace) -> None:
        """Show another trace of a model with the same classes, with the settings as they are."""
        raise NotImplementedError(f"{type(self).__name__} shows one trace only")

    def onward(self, trace: Trace) -> Trace:
        """Tell what the later stages see: the trace as the settings of this one make it.

        Args:
            trace: that this stage sees.

        Returns:
            A trace that shares with it all that comes before this stage.
        """
        return trace

    def focus(self, lineage: Lineage | None) -> None:
        """Mark what is followed, and turn to it where one thing at a time is shown.

        Args:
            lineage: of `trace`, as the settings make it; None lets go of what was followed.
        """
        marks = [] if lineage is None else followed.layers(self.stage, self.trace, lineage)
        self.pin(*marks)

    def subject(self, pick: tuple[str, int] | None) -> tuple[str, int] | None:
        """Tell what a picked row of the canvas stands for.

        Args:
            pick: (layer, row), as `canvas.selected` has it.

        Returns:
            ("object", row) or ("detection", row) of `trace` as the settings make it, or None.
        """
        return ("object", pick[1]) if pick is not None and pick[0] == "objects" else None

    # -- Settings ------------------------------------------------------------------------------

    @property
    def settings(self) -> dict[str, Any]:
        """What the controls stand on: pass it on to show another photo in the same way."""
        return {name: getattr(self, name) for name in self._registered}

    @property
    def changed(self) -> list[str]:
        """The settings that differ from the model's own."""
        return [name for name, value in self.own.items() if getattr(self, name) != value]

    def reset(self) -> None:
        """Put the model's own settings back; what is looked at stays."""
        for name, value in self.own.items():
            setattr(self, name, value)

    def control(
        self, name: str, label: str, kind: type[ipw.Widget] | None = None, **options: Any
    ) -> Any:
        """Give a control for a setting, linked with it both ways.

        Args:
            name: of the trait; its bounds and `help` become those of the control.
            label: the text before the control.
            kind: the widget; without it a list for options and for an `Enum`, a slider for
                a number, a check box for a bool.
            **options: of the widget, such as `step`, `options` or `width`.
        """
        trait = self.traits()[name]
        kind = kind or (ipw.Dropdown if "options" in options else _widget_for(trait))
        widget = kind(
            value=getattr(self, name),
            description=label,
            tooltip=trait.help,
            **_look(trait, kind, options, self.own.get(name)),
        )
        if hasattr(widget.style, "description_width"):
            widget.style.description_width = "initial"
        t.link((self, name), (widget, "value"))
        self.register(name, widget)
        return widget

    def register(self, name: str, widget: ipw.Widget) -> None:
        """Take note of the control of a setting: it is marked when the setting is changed."""
        self._registered[name] = (widget, widget.description)
        self._mark_changed()

    def _mark_changed(self, change: Any = None) -> None:
        changed = self.changed
        for name in self.own.keys() & self._registered.keys():
            widget, label = self._registered[name]
            widget.description = label + (CHANGED if name in changed else UNCHANGED)
        self._reset.disabled = not changed

    # -- What is shown -------------------------------------------------------------------------

    def arrange(self, controls: Sequence[ipw.Widget], side: Sequence[ipw.Widget] = ()) -> None:
        """Lays out the explorer: controls in rows above the canvas, `side` to its right."""
        self._side = side
        self._reset.layout.display = None if self.own else "none"
        row = ipw.HBox(
            [*controls, self._reset],
            layout=ipw.Layout(flex_flow="row wrap", grid_gap="0 14px", overflow="hidden"),
        )
        row.add_class("mrv-controls")
        self.canvas.layout.flex, self.canvas.layout.min_width = f"1 1 {LEAST_CANVAS}", "0"
        panel = ipw.VBox(
            list(side),
            layout=ipw.Layout(flex=f"1 1 {LEAST_SIDE}", max_width=MOST_SIDE, min_width="0"),
        )
        if side:
            self.canvas.add_class("mrv-told")  # what is picked is told beside it; see viewer.css
        stage = ipw.HBox(
            [self.canvas, panel] if side else [self.canvas],
            layout=ipw.Layout(flex_flow="row wrap", grid_gap="0 14px"),
        )
        self.children = [row, stage]

    def draw(self, *layers: Any, **changes: Any) -> None:
        """Replace the layers of the same names, in one message; others keep their place.

        Args:
            *layers: new ones go on top of what the explorer drew before.
            **changes: `photo`, or traits of the canvas.
        """
        self._drawn |= {layer.name: layer for layer in layers}
        self.canvas.update(layers=[*self._drawn.values(), *self._pinned], **changes)

    @property
    def pinned(self) -> tuple[Any, ...]:
        """The layers that are kept on top."""
        return self._pinned

    def pin(self, *layers: Any) -> None:
        """Keep these layers on top of whatever the explorer draws; without any, lets go."""
        self._pinned = layers
        self.draw()

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({settings})"

    def to_png(self) -> bytes:
        """Give the canvas under its title, with the numbers beside it."""
        return still.png(_page(self.canvas.title, _shown(self.canvas), self._side_pictures()))

    def _side_pictures(self) -> list[Image.Image]:
        """Draw the panel beside the canvas for the PNG; an explorer may add pictures."""
        return [item.picture() for item in self._side if isinstance(item, Readout) and item.rows]


def _widget_for(trait: t.TraitType) -> type[ipw.Widget]:
    fitting = {t.Int: ipw.IntSlider, t.Float: ipw.FloatSlider, t.Bool: ipw.Checkbox}
    return next((w for n, w in fitting.items() if isinstance(trait, n)), ipw.Dropdown)


def _look(trait: Any, kind: type[ipw.Widget], options: dict[str, Any], own: Any) -> dict[str, Any]:
    """Give the options of a control, with the bounds of its setting and a width."""
    size, look = {"width": "262px"}, {}
    if kind in (ipw.IntSlider, ipw.FloatSlider):
        # Sliders share the width of their row: tracks long enough to aim at.
        size = {"flex": "1 1 220px", "max_width": "420px"}
        look = {"min": trait.min, "max": trait.max}
    if kind is ipw.FloatSlider:
        digits = _digits(own)
        look |= {"step": 10.0**-digits, "readout_format": f".{digits}f"}
    if kind is ipw.Checkbox:
        size, look = {"width": "auto"}, {"indent": False}
    if isinstance(trait, t.Enum):
        look = {"options": list(trait.values or ())}
    if "width" in options:
        size = {"width": options.pop("width")}
    return {"layout": ipw.Layout(**size), **look, **options}


def _digits(own: float | None) -> int:
    """Digits after the point that a slider needs: the browser rounds its value to a step."""
    return next((n for n in range(2, 7) if own is not None and round(own, n) == own), 2)


def _shown(canvas: Canvas, width: int = 560) -> Image.Image:
    """Give the part of the canvas that `view` asks for, above the legend."""
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


def _page(title: str, main: Image.Image, side: Sequence[Image.Image]) -> Image.Image:
    """Give a title above a picture, others in a column beside it."""
    gap, top = 16, 26
    width = main.width + (gap + max(image.width for image in side) if side else 0)
    height = top + max(main.height, sum(image.height + 10 for image in side))
    page = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(page).text((2, top / 2), title, "#000000", pillow_font(title, 13), anchor="lm")
    page.paste(main, (0, top))
    y = top
    for image in side:
        page.paste(image, (main.width + gap, y))
        y += image.height + 10
    return page
