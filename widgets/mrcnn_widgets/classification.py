"""Explore stage 5, classification: what the box head says about each proposal.

explorer = ClassificationExplorer("voc_people")
explorer.proposal = 4                # or click a box
explorer.label = 1                   # its refined box, as if it were a person
explorer.picked                      # probs, refined_box, level, points, …
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw
import traitlets as t
from PIL import Image, ImageDraw

from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.fonts import pillow_font
from mrcnn_steps.palette import INK, PAPER
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.classes import distinct_names
from mrcnn_widgets.explorer import Explorer, check_row, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import Source, as_trace
from mrcnn_widgets.traits import Whole
from mrcnn_widgets.viewer.canvas import Canvas
from mrcnn_widgets.views import classification as view


class ClassificationExplorer(Explorer):
    """The proposals by class; of the picked one its probabilities, RoI samples and refined box.

    Args:
        source: a trace, a sample, or the name of a bundled photo.
        **settings: initial values of the traits.

    Traits:
        proposal: the picked proposal, or None.
        label: the class for which the refined box is shown; picking a proposal sets it to the
            most probable class that is not the background.

    Attributes:
        picked: all about the picked proposal, a `PickedProposal`, or None.
    """

    stage = "classification"

    proposal = Whole(None, allow_none=True, help="The picked proposal.")
    label = Whole(1, min=0, help="The class for which the refined box is shown.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self.trace = as_trace(source)
        photo = self.trace.letterbox.image
        super().__init__(Canvas(photo, title=title("Classification", photo)), **settings)
        self.picked: view.PickedProposal | None = None
        self.bars = Bars()
        self.numbers = Readout("Picked proposal", lines=9)
        self.counts = Readout("Most probable class", lines=5)
        names = distinct_names(self.trace.class_names)
        label = self.control(
            "label", "refine as", ipw.Dropdown, options=[(n, i) for i, n in enumerate(names)]
        )
        self.arrange([label], [self.bars, self.numbers, self.counts])
        self._draw_proposals()
        if self.proposal is None:
            self.proposal = self._first_to_look_at()
        if "label" not in settings:
            self._choose_label()
        self._draw_picked()
        self.observe(self._on_proposal, "proposal")
        self.observe(self._draw_picked, "label")
        self.canvas.observe(self._on_pick, "selected")

    def show(self, trace: Trace) -> None:
        """Show another trace of a model with the same classes; what is picked is let go."""
        self.trace = trace
        with self.canvas.hold_sync():
            self._draw_proposals(photo=trace.letterbox.image)
            self._turn_to(self._first_to_look_at())

    def focus(self, lineage: Lineage | None) -> None:
        """Mark what is followed, and turn to its proposal; without one nothing is picked."""
        super().focus(lineage)
        if lineage is not None:
            self.proposal = lineage.proposal

    @t.validate("proposal")
    def _check_proposal(self, change: Any) -> int | None:
        return check_row(change, len(self.trace.proposals))

    @t.validate("label")
    def _check_label(self, change: Any) -> int | None:
        return check_row(change, len(self.trace.class_names))

    def _first_to_look_at(self) -> int | None:
        """Give the proposal that is surest not to be background."""
        surest = self.trace.classification.probs[:, 1:].amax(dim=1)
        return int(surest.argmax()) if len(surest) else None

    def _choose_label(self) -> None:
        if self.proposal is not None:
            self.label = int(self.trace.classification.probs[self.proposal, 1:].argmax()) + 1

    def _turn_to(self, proposal: int | None) -> None:
        """Pick a proposal of another trace, though its number be the same."""
        if self.proposal == proposal:
            self._on_proposal()
        self.proposal = proposal

    def _on_pick(self, change: Any) -> None:
        if change.new is None or change.new[0] == "proposals":
            self.proposal = None if change.new is None else change.new[1]

    def _on_proposal(self, change: Any = None) -> None:
        with self.canvas.hold_sync():
            before = self.label
            self._choose_label()
            if self.label == before:
                self._draw_picked()

    def _draw_proposals(self, **changes: Any) -> None:
        self.draw(*view.overview(self.trace), **changes)
        self.counts.show(view.class_counts(self.trace))

    def _draw_picked(self, change: Any = None) -> None:
        """Give the picked proposal: on the photo, as bars and in numbers."""
        row, self.picked = self.proposal, None
        if row is not None:
            self.picked = view.look_at(self.trace, row, self.label)
        self.draw(
            *view.details(self.trace, self.picked),
            selected=None if row is None else ("proposals", row),
        )
        bars = [] if self.picked is None else view.bars(self.trace, self.picked)
        self.bars.show(bars, self.label)
        self.numbers.show(view.facts(self.trace, self.picked))

    def _side_pictures(self) -> list[Image.Image]:
        bars = [self.bars.picture()] if self.bars.rows else []
        return [*bars, *super()._side_pictures()]


class Bars(ipw.HTML):
    """Probabilities as bars. Names are text, whatever they contain; the height never changes."""

    def __init__(self) -> None:
        self.rows: Sequence[view.Bar] = ()
        self.marked: int | None = None
        super().__init__(layout=ipw.Layout(width="auto", margin="0 0 10px 0"))
        self.show([])

    def show(self, rows: Sequence[view.Bar], marked: int | None = None) -> None:
        """Replace the bars.

        Args:
            rows: a bar each, `BARS` of them at most.
            marked: the label to emphasize.
        """
        self.rows, self.marked = rows, marked
        self.value = (
            '<div style="font-size: 12px; line-height: 20px; color: var(--jp-ui-font-color1, '
            'inherit); font-variant-numeric: tabular-nums;" role="img" '
            f'aria-label="{html.escape(self._spoken())}">'
            '<div style="font-weight: 600; padding: 0 6px;">Class probabilities</div>'
            f'<div style="height: {20 * view.BARS}px;">{"".join(map(self._bar, rows))}</div></div>'
        )

    def _bar(self, bar: view.Bar) -> str:
        text = html.escape(bar.name)
        weight = 700 if bar.label == self.marked else 400
        return (
            '<div style="display: grid; grid-template-columns: 104px minmax(0, 1fr) 46px; '
            f'gap: 6px; padding: 0 6px; font-weight: {weight};">'
            '<span style="overflow: hidden; text-overflow: ellipsis; white-space: nowrap;" '
            f'title="{text}">{text}</span>'
            '<span style="align-self: center; height: 12px; border-radius: 2px; '
            'background: var(--jp-layout-color2, rgba(128, 128, 128, .18));">'
            f'<span style="display: block; height: 12px; width: {100 * bar.value:.2f}%; '
            f'min-width: 1px; border-radius: 2px; background: {bar.color};"></span></span>'
            f'<span style="text-align: right;">{bar.value:.3f}</span></div>'
        )

    def _spoken(self) -> str:
        return ", ".join(f"{bar.name} {bar.value:.2f}" for bar in self.rows) or "nothing picked"

    def picture(self, width: int = 270) -> Image.Image:
        """Draw the bars for the PNG."""
        image = Image.new("RGB", (width, 18 * (len(self.rows) + 1) + 4), PAPER)
        pen, small = ImageDraw.Draw(image), pillow_font("".join(bar.name for bar in self.rows), 11)
        pen.text((0, 9), "Class probabilities", "#000000", pillow_font("", 12), anchor="lm")
        left, right = 100, width - 44
        for line, bar in enumerate(self.rows, start=1):
            y, name = 18 * line + 9, bar.name
            while small.getlength(name) > left - 6:
                name = name[:-1]
            pen.text((0, y), name, INK, small, anchor="lm")
            pen.rectangle((left, y - 5, right, y + 5), "#EEEEEE")
            pen.rectangle((left, y - 5, left + bar.value * (right - left), y + 5), bar.color)
            pen.text((width, y), f"{bar.value:.3f}", INK, small, anchor="rm")
        return image
