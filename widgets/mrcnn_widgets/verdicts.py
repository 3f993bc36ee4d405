"""The verdicts on all objects and detections: a list to pick from, and what would help."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as ipw
import traitlets as t

from mrcnn_steps.debug.errors import describe_error
from mrcnn_steps.debug.explanation import nothing_helps
from mrcnn_steps.debug.fates import Fate
from mrcnn_steps.debug.lineage import describe
from mrcnn_steps.debug.remedies import BoxOnly, Remedy
from mrcnn_steps.debug.rerun import SETTINGS, Value
from mrcnn_steps.debug.words import sentences
from mrcnn_steps.tracing import Trace
from mrcnn_widgets import following
from mrcnn_widgets.views import verdicts as view
from mrcnn_widgets.views.verdicts import Verdict

# Rows of the list that are seen at once.
ROWS = 8
EVERYTHING = ""
# A setting that moves is at rest after this time.
REST_SECONDS = 0.4


class Verdicts(ipw.VBox):
    """A list of objects and detections with what became of each.

    Args:
        find: finds the remedies for an object, and what brings back its box alone; may take a
            while.
        use: sets the explorers to a remedy.
        iou: from which IoU on a box, or a mask, is an object's.
        score_threshold: that a detection has to exceed to count; None for the trace's own.

    Traits:
        picked: ("object", row) or ("detection", row) of the trace that was judged, or None.
        reason: the cause or kind that is listed; everything if empty.

    Attributes:
        judged: the verdicts.
        remedies: those that were found for the picked object.
    """

    picked: Any = t.Tuple(
        t.Unicode(), t.Int(), default_value=None, allow_none=True, help="What is explained."
    )
    reason = t.Unicode(EVERYTHING, help="List only what has this cause, or is of this kind.")

    def __init__(
        self,
        find: Callable[[Fate], tuple[Sequence[Remedy], BoxOnly | None]],
        use: Callable[[Mapping[str, Value]], None],
        iou: float = 0.5,
        score_threshold: float | None = None,
    ) -> None:
        super().__init__()
        self.trace: Trace | None = None
        self.judged: list[Verdict] = []
        self.remedies: Sequence[Remedy] = ()
        self._find, self._use, self._quiet = find, use, False
        self._thresholds = iou, score_threshold
        self._filter = ipw.Dropdown(
            description="show", tooltip=self.traits()["reason"].help, layout={"width": "98%"}
        )
        self._filter.style.description_width = "48px"
        self._list = ipw.Select(rows=ROWS, layout={"width": "98%"})
        self._list.add_class("mrv-keys")  # the arrow keys move through it; see js/lists.js
        self._text = ipw.HTML()
        self._ask = ipw.Button(
            description="What would bring it back?",
            tooltip="Try other settings, and other views of the photo: this takes a while.",
            layout={"width": "auto"},
        )
        self._offers = ipw.VBox([])
        side = ipw.VBox([self._filter, self._list], layout={"flex": "1 1 340px"})
        told = ipw.VBox([self._text, self._ask, self._offers], layout={"flex": "1 1 340px"})
        self.children = [
            ipw.HBox([side, told], layout={"flex_flow": "row wrap", "grid_gap": "0 10px"})
        ]
        self._filter.observe(self._on_filter, "value")
        self._list.observe(self._on_list, "value")
        self._ask.on_click(self._on_ask)
        self.observe(self._show, ["picked"])
        self.observe(self._fill, ["reason"])

    def show(self, trace: Trace) -> None:
        """Judge a trace, unless it is the one that was judged last."""
        if trace is not self.trace:
            self.trace, self.judged = trace, view.verdicts(trace, *self._thresholds)
            if all(verdict.reason != self.reason for verdict in self.judged):
                self.reason = EVERYTHING
            if self.of(self.picked) is None:
                self.picked = None
            self._fill()
            self._show()

    def of(self, subject: following.Subject | None) -> Verdict | None:
        """Find the verdict on an object or a detection."""
        return next((verdict for verdict in self.judged if verdict.subject == subject), None)

    def _fill(self, change: Any = None) -> None:
        """List what the filter lets through."""
        count = len(self.judged)
        options = [(f"everything · {count}", EVERYTHING)]
        options += [(f"{name} · {number}", name) for name, number in view.reasons(self.judged)]
        shown = [each for each in self.judged if self.reason in (EVERYTHING, each.reason)]
        listed = [(f"{each.name}: {each.words}", each.subject) for each in shown]
        self._quiet = True
        self._filter.options, self._filter.value = options, self.reason
        self._list.options = listed
        self._quiet = False
        self._select()

    def _select(self) -> None:
        """Select what is picked, if it is listed; the list itself stays, and so does its focus."""
        listed = [subject for _, subject in self._list.options]
        self._quiet = True
        self._list.value = self.picked if self.picked in listed else None
        self._quiet = False

    def _on_filter(self, change: Any) -> None:
        if not self._quiet:
            self.reason = change.new

    def _on_list(self, change: Any) -> None:
        if not self._quiet and change.new is not None:
            self.picked = change.new

    def _show(self, change: Any = None) -> None:
        """Explains what is picked; what was found for another object is gone."""
        verdict = self.of(self.picked)
        self.remedies, self._offers.children = (), ()
        self._ask.disabled = verdict is None or not verdict.mendable
        self._say([] if verdict is None or self.trace is None else self._words(verdict, self.trace))
        self._select()

    def _words(self, verdict: Verdict, trace: Trace) -> list[str]:
        if verdict.fate is not None:
            return sentences(trace, verdict.fate)
        if verdict.error is not None:
            return [f"{verdict.name}: {describe_error(trace, verdict.error)}."]
        return [describe(trace, following.lineage_of(trace, verdict.subject))]

    def _say(self, lines: Sequence[str]) -> None:
        nothing = "Pick an object or a detection: it is followed through all stages."
        self._text.value = (
            '<div style="height: 150px; overflow-y: auto; line-height: 18px; font-size: 12px; '
            'color: var(--jp-ui-font-color1, inherit); overflow-wrap: anywhere;" '
            f'aria-live="polite">{_paragraphs(lines or [nothing])}</div>'
        )

    def _on_ask(self, button: Any) -> None:
        verdict, trace = self.of(self.picked), self.trace
        assert trace is not None
        assert verdict is not None
        assert verdict.fate is not None
        self.remedies, box_only = self._find(verdict.fate)
        offers = [self._offer(remedy) for remedy in self.remedies]
        if not offers:
            said = nothing_helps(trace, verdict.fate, *self._thresholds, box_only)
            offers = [ipw.HTML(_paragraphs(said))]
        self._offers.children = offers

    def _offer(self, remedy: Remedy) -> ipw.Widget:
        """Give a remedy with its price: a button, if it is of settings that explorers have."""
        if not remedy.settings.keys() <= SETTINGS.keys():  # but a view of the photo
            return ipw.Label(str(remedy))
        button = ipw.Button(
            description=str(remedy),
            tooltip="Set the explorers so.",
            layout={"width": "auto", "height": "auto"},
        )
        button.add_class("mrcnn-remedy")
        button.on_click(lambda _: self._use(remedy.settings))
        return button


def _paragraphs(lines: Sequence[str]) -> str:
    return "".join(f"<div>{html.escape(line)}</div>" for line in lines)


class Rest:
    """Calls something once it was not asked for during a while; at once where no loop runs."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._waiting: asyncio.TimerHandle | None = None

    def __call__(self, change: Any = None) -> None:
        """Ask for the call."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._act()
            return
        self.cancel()
        self._waiting = loop.call_later(REST_SECONDS, self._act)

    def cancel(self) -> None:
        """Call nothing any more."""
        if self._waiting is not None:
            self._waiting.cancel()
