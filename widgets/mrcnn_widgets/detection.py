"""Explore stage 6, detection: how classified proposals become at most 100 boxes.

explorer = DetectionExplorer("voc_people")
explorer.score_threshold = 0.3       # everything from here on is computed again
explorer.step = "nms"                # the candidates that NMS keeps, and those that leave
explorer.candidate = 1234            # or click a box: what became of it
"""

from __future__ import annotations

from typing import Any

import ipywidgets as ipw
import torch
import traitlets as t

from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.detection import detect
from mrcnn_steps.settings import detection_settings
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.explorer import Explorer, check_row, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import Source, as_trace
from mrcnn_widgets.traits import Real, Whole
from mrcnn_widgets.viewer.canvas import Canvas
from mrcnn_widgets.views import detection as view
from mrcnn_widgets.views.detection import STEPS

TOOLTIPS = (
    "Every candidate: its proposal, moved by the delta of its class.",
    "Candidates of the class background leave.",
    "Candidates that do not exceed the score threshold leave.",
    "Boxes that clipping left almost nothing of leave.",
    "Of two candidates of a class that overlap too much the weaker leaves.",
    "Only the best remain: these are the detections.",
)


class DetectionExplorer(Explorer):
    """The candidates step by step: which leave where, which remain, and who suppressed whom.

    Args:
        source: a trace, a sample, or the name of a bundled photo.
        **settings: initial values of the traits; those of stage 6 are the model's own otherwise.

    Traits:
        score_threshold, nms_threshold, max_detections, best_class_only: as in `detect`.
        step: the step that is shown, one of `STEPS`.
        likely_only: whether only scores of 0.5 or more are drawn.
        candidate: the picked candidate, a row of `detections.refined`, or None.

    Attributes:
        detections: the result of `detect` with these settings.
        counts: how many candidates are left after each step.
        drawn: int [N], the candidate of each row of the layer "candidates", the best first.
    """

    stage = "detection"

    score_threshold = Real(0.05, min=0.0, max=1.0, help="A candidate has to exceed this score.")
    nms_threshold = Real(
        0.5,
        min=0.0,
        max=1.0,
        help="A candidate goes if it overlaps a better one of its class by more than this IoU.",
    )
    max_detections = Whole(100, min=1, help="How many of the best candidates become detections.")
    best_class_only = t.Bool(
        False,
        help="On, as in the Keras-era implementation: a proposal speaks for its most probable "
        "class alone. Off, as in torchvision: every class of every proposal is a candidate.",
    )
    step = t.Enum(
        tuple(STEPS), "detection_limit", help="The step after which the candidates are shown."
    )
    likely_only = t.Bool(
        True,
        help="On: only candidates with a score of 0.5 or more are drawn, or the best if there "
        "are none. Off: all candidates of the step.",
    )
    candidate = Whole(None, allow_none=True, help="The picked candidate.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self.trace = as_trace(source)
        self.detections = self.trace.detections
        model = detection_settings(self.trace.model)
        own = {name: model[name] for name in model if name in self.trait_names()}
        self._most = max(300, own["max_detections"])
        photo = self.trace.letterbox.image
        super().__init__(
            Canvas(photo, title=title("Detection", photo)),
            own={**own, "best_class_only": False},
            **settings,
        )
        self.drawn = torch.zeros(0, dtype=torch.int64)
        self.steps = Readout("Candidates left after each step", lines=len(STEPS) + 1)
        self.numbers = Readout("Picked candidate", lines=9)
        self.arrange(self._controls(), [self.steps, self.numbers])
        self._draw_objects()
        self._recompute()
        self.observe(self._recompute, list(self.own))
        self.observe(self._draw, ["step", "likely_only"])
        self.observe(self._draw_picked, "candidate")
        self.canvas.observe(self._on_pick, "selected")
        self.canvas.observe(self._on_hover, "hovered")

    def _controls(self) -> list[ipw.Widget]:
        return [
            self.control(
                "step",
                "",
                ipw.ToggleButtons,
                options=[(text, step) for step, text in STEPS.items()],
                tooltips=TOOLTIPS,
                width="100%",
                style={"button_width": "auto"},
            ),
            self.control("score_threshold", "score >"),
            self.control("nms_threshold", "NMS IoU >"),
            self.control("max_detections", "at most", max=self._most),
            self.control("best_class_only", "best class only"),
            self.control("likely_only", f"draw scores ≥ {view.LIKELY} only"),
        ]

    # -- What every explorer can be asked ------------------------------------------------------

    def show(self, trace: Trace) -> None:
        """Show another trace of a model with the same classes, with the settings as they are."""
        self.trace = trace
        with self.canvas.hold_sync():
            self._draw_objects()
            self._recompute(photo=trace.letterbox.image)

    def onward(self, trace: Trace) -> Trace:
        """Give the trace its detections under these settings, and their masks."""
        if self.trace is not trace:
            self.show(trace)
        unchanged = self.detections is trace.detections
        return trace if unchanged else trace.with_detections(self.detections)

    def focus(self, lineage: Lineage | None) -> None:
        """Mark what is followed, and turn to its detection; without one nothing is picked."""
        super().focus(lineage)
        if lineage is not None:
            row = lineage.detection
            self.candidate = None if row is None else int(self.detections.rows[row])

    def subject(self, pick: tuple[str, int] | None) -> tuple[str, int] | None:
        """Tell what a picked row stands for: an object, or the detection it became."""
        if pick is None or pick[0] != "candidates":
            return super().subject(pick)
        place = (self.detections.rows == self.drawn[pick[1]]).nonzero()
        return ("detection", int(place[0])) if len(place) else None

    # -- Settings ------------------------------------------------------------------------------

    @t.validate("max_detections")
    def _check_max_detections(self, change: Any) -> int:
        if change.value > self._most:
            raise t.TraitError(f"max_detections: expected 1 to {self._most}, found {change.value}")
        return change.value

    @t.validate("candidate")
    def _check_candidate(self, change: Any) -> int | None:
        return check_row(change, len(self.detections.refined))

    @property
    def counts(self) -> dict[str, int]:
        """How many candidates are left after each step."""
        return view.counts(self.detections)

    def _recompute(self, change: Any = None, **changes: Any) -> None:
        """Stage 6 with the settings as they are; the trace's own result if they are the model's."""
        if change is not None and change.name == "best_class_only":
            self.candidate = None  # the two ways number their candidates differently
        trace, answer = self.trace, self.trace.classification
        self.detections = trace.detections
        if self.changed:
            settings = detection_settings(trace.model) | {n: getattr(self, n) for n in self.own}
            with torch.no_grad():
                self.detections = detect(
                    trace.proposals, answer.probs, answer.deltas, trace.image_size, **settings
                )
        self._draw(**changes)

    # -- What is shown -------------------------------------------------------------------------

    def _draw_objects(self) -> None:
        self.draw(view.objects_of(self.trace, visible=False))

    def _draw(self, change: Any = None, **changes: Any) -> None:
        """Give the candidates that the step left or turned away."""
        found, step = self.detections, self.step
        self.drawn = view.drawn(found, step, self.likely_only)
        if self.candidate is not None and self.candidate >= len(found.refined):
            self.candidate = None
        self._show_steps()
        with self.canvas.hold_sync():
            self.draw(view.candidates(self.trace, found, step, self.drawn), **changes)
            self._draw_picked()

    def _show_steps(self) -> None:
        seen = len(view.before(self.detections, self.step))
        rows = [(STEPS[step], f"{count:,}") for step, count in self.counts.items()]
        drawn = ("drawn here", f"the best {len(self.drawn):,} of {seen:,}")
        self.steps.show([*rows, drawn], marked=list(STEPS).index(self.step))

    def _row_of(self, candidate: int | None) -> int | None:
        """Give the row of a candidate in the layer, if it is drawn."""
        rows = (self.drawn == (-1 if candidate is None else candidate)).nonzero().flatten()
        return int(rows[0]) if len(rows) else None

    def _on_pick(self, change: Any) -> None:
        if change.new is None or change.new[0] == "candidates":
            self.candidate = None if change.new is None else int(self.drawn[change.new[1]])

    def _on_hover(self, change: Any) -> None:
        on_candidate = change.new is not None and change.new[0] == "candidates"
        self._explain(int(self.drawn[change.new[1]]) if on_candidate else self.candidate)

    def _draw_picked(self, change: Any = None) -> None:
        row = self._row_of(self.candidate)
        self._explain(self.candidate, selected=None if row is None else ("candidates", row))

    def _explain(self, candidate: int | None, **changes: Any) -> None:
        """Where a candidate came from and what became of it, on the photo and in numbers."""
        self.numbers.show(view.facts(self.trace, self.detections, candidate))
        self.draw(*view.details(self.trace, self.detections, candidate), **changes)
