"""Explore stage 6, detection: how classified proposals become at most 100 boxes.

explorer = DetectionExplorer("voc_people")
explorer.score_threshold = 0.3       # everything from here on is computed again
explorer.step = "suppressed"         # the candidates that NMS keeps, and those that leave
explorer.candidate = 1234            # or click a box: explorer.fate() says what became of it
"""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import torch
import traitlets as t
from torch import Tensor
from torchvision.ops import box_iou

from mrcnn_steps.detection import detect
from mrcnn_steps.palette import GREY, ORANGE, PURPLE, VERMILLION
from mrcnn_steps.settings import detection_settings
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.classes import MOST, class_groups, distinct_names
from mrcnn_widgets.explorer import Explorer, check_row, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import Source, as_trace
from mrcnn_widgets.viewer.canvas import ArrowLayer, BoxLayer, Canvas, Category, Group
from mrcnn_widgets.views.objects import as_boxes, objects_layer

# The steps in their order: what the scrubber says, and what the table says.
STEPS = {
    "refined": "refined boxes",
    "foreground": "background out",
    "confident": "low scores out",
    "large": "tiny boxes out",
    "suppressed": "NMS per class",
    "detections": "best ones",
}
TOOLTIPS = (
    "Every candidate: its proposal, moved by the delta of its class.",
    "Candidates of the class background leave.",
    "Candidates that do not exceed the score threshold leave.",
    "Boxes that clipping left almost nothing of leave.",
    "Of two candidates of a class that overlap too much the weaker leaves.",
    "Only the best remain: these are the detections.",
)
# torchvision lets 80 candidates of every proposal compete. More than this hide the photo.
MOST_DRAWN = 3000
MOST_LABELED = 40


class DetectionExplorer(Explorer):
    """The candidates step by step: which leave where, which remain, and who suppressed whom.

    Args:
        source: a trace, a sample, or the name of a bundled photo.
        **settings: initial values of the traits; those of stage 6 are the model's own otherwise.

    Traits:
        score_threshold, nms_threshold, max_detections, best_class_only: as in `detect`.
        step: the step that is shown, one of `STEPS`.
        candidate: the picked candidate, a row of `detections.refined`, or None.

    What is shown:
        detections: the result of `detect` with these settings.
        counts: how many candidates are left after each step.
        drawn: int [N], the candidate of each row of the layer "candidates", the best first.
    """

    score_threshold = t.Float(
        0.05, min=0.0, max=1.0, help="A candidate has to exceed this probability."
    )
    nms_threshold = t.Float(
        0.5,
        min=0.0,
        max=1.0,
        help="A candidate goes if it overlaps a better one of its class by more than this IoU.",
    )
    max_detections = t.Int(100, min=1, help="How many of the best candidates become detections.")
    best_class_only = t.Bool(
        False,
        help="On, the notes' way: a proposal speaks for its most probable class alone. "
        "Off, torchvision's way: every class of every proposal is a candidate.",
    )
    step = t.Enum(tuple(STEPS), "detections", help="The step after which the candidates are shown.")
    candidate = t.Int(None, allow_none=True, help="The picked candidate.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self.trace = as_trace(source)
        own = detection_settings(self.trace.model)
        initial = {name: own[name] for name in own if name in self.trait_names()}
        self._most = max(300, own["max_detections"])
        photo = self.trace.letterbox.image
        canvas = Canvas(photo, title=title("Detection", photo))
        self.detections = self.trace.detections
        super().__init__(canvas, **{**initial, **settings})
        self.drawn = torch.zeros(0, dtype=torch.int64)
        self.steps = Readout("Candidates left after each step", lines=len(STEPS))
        self.numbers = Readout("Picked candidate", lines=9)
        self.arrange(
            [
                self.control(
                    "step",
                    "",
                    widgets.ToggleButtons,
                    options=[(text, step) for step, text in STEPS.items()],
                    tooltips=TOOLTIPS,
                    width="100%",
                    style={"button_width": "auto"},
                ),
                self.control("score_threshold", "score >"),
                self.control("nms_threshold", "NMS IoU >"),
                self.control("max_detections", "at most", max=self._most),
                self.control("best_class_only", "best class only (the notes' way)"),
            ],
            [self.steps, self.numbers],
        )
        self._draw_objects()
        self._recompute()
        numbers = ["score_threshold", "nms_threshold", "max_detections", "best_class_only"]
        self.observe(self._recompute, numbers)
        self.observe(self._draw, "step")
        self.observe(self._draw_picked, "candidate")
        self.canvas.observe(self._on_pick, "selected")
        self.canvas.observe(self._on_hover, "hovered")

    def show(self, trace: Trace) -> None:
        """Shows another trace of a model with the same classes, with the settings as they are."""
        self.trace = trace
        with self.canvas.hold_sync():
            self._draw_objects()
            self._recompute(photo=trace.letterbox.image)

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
        return {step: len(rows) for step, rows in self._rows().items()}

    def fate(self, candidate: int) -> str:
        """What became of a candidate, in a few words."""
        found = self.detections
        for step, rows in self._rows().items():
            if not (rows == candidate).any():
                return self._reason(candidate, step)
        return f"detection {int((found.rows == candidate).nonzero())}"

    def _reason(self, candidate: int, step: str) -> str:
        found = self.detections
        match step:
            case "foreground":
                return "left: it is background"
            case "confident":
                return f"left: score ≤ {found.score_threshold:.2f}"
            case "large":
                return "left: too small"
            case "suppressed":
                return f"suppressed by candidate {found.suppressor(candidate)}"
        return f"left: not among the best {found.max_detections}"

    def _iou(self, a: int, b: int) -> float:
        boxes = self.detections.clipped
        return float(box_iou(boxes[a : a + 1], boxes[b : b + 1]))

    def _rows(self) -> dict[str, Tensor]:
        """The candidates that are left after each step."""
        found = self.detections
        every = torch.arange(len(found.refined), device=found.refined.device)
        left = (
            every,
            found.foreground_rows,
            found.confident_rows,
            found.large_rows,
            found.nms_rows,
            found.rows,
        )
        return dict(zip(STEPS, left, strict=True))

    def _recompute(self, change: Any = None, **changes: Any) -> None:
        """Stage 6 with the settings as they are; the trace's own result if they are the model's."""
        if change is not None and change.name == "best_class_only":
            self.candidate = None  # the two ways number their candidates differently
        trace, found = self.trace, self.trace.classification
        chosen = {
            **detection_settings(trace.model),
            "score_threshold": self.score_threshold,
            "nms_threshold": self.nms_threshold,
            "max_detections": self.max_detections,
            "best_class_only": self.best_class_only,
        }
        if chosen == {**detection_settings(trace.model), "best_class_only": False}:
            self.detections = trace.detections
        else:
            with torch.no_grad():
                self.detections = detect(
                    trace.proposals, found.probs, found.deltas, trace.image_size, **chosen
                )
        self._draw(**changes)

    def _draw_objects(self) -> None:
        truth = self.trace.ground_truth
        names = distinct_names(self.trace.class_names)
        objects = objects_layer(
            torch.zeros((0, 4)) if truth is None else truth.boxes,
            [] if truth is None else [names[label] for label in truth.labels.tolist()],
            visible=False,
        )
        self.draw(objects)

    def _draw(self, change: Any = None, **changes: Any) -> None:
        """The candidates that the step left or turned away."""
        rows = self._rows()
        place = list(STEPS).index(self.step)
        stay = rows[self.step]
        before = stay if place == 0 else rows[list(STEPS)[place - 1]]
        found = self.detections
        staying = torch.zeros(len(found.refined), dtype=torch.bool, device=before.device)
        staying[stay] = True
        best = found.candidate_score[before].argsort(descending=True, stable=True)
        shown = before[best[:MOST_DRAWN]]
        self.drawn = shown
        self._show_steps(len(before))
        names = distinct_names(self.trace.class_names)
        labels = found.candidate_label[shown]
        boxes = found.refined if place == 0 else found.clipped
        layer = BoxLayer(
            "candidates",
            as_boxes(boxes[shown]),
            groups=[Group("leave here", VERMILLION, "dashed"), *class_groups(names)],
            group_index=torch.where(staying[shown], labels.clamp(max=MOST - 1) + 1, 0),
            fields={
                "class": Category(labels, names),
                "score": found.candidate_score[shown],
                "proposal": found.candidate_proposal[shown],
                "candidate": shown,
            },
            labels=self._labels(shown, staying),
            threshold="score",
        )
        if self.candidate is not None and self.candidate >= len(found.refined):
            self.candidate = None
        with self.canvas.hold_sync():
            self.draw(layer, **changes)
            self._draw_picked()

    def _labels(self, shown: Tensor, staying: Tensor) -> list[str] | None:
        """Class and score beside the boxes that stay, where there is room."""
        found = self.detections
        names = distinct_names(self.trace.class_names)
        if self.counts[self.step] > MOST_LABELED:
            return None
        return [
            f"{names[label]} {score:.2f}" if stays else ""
            for label, score, stays in zip(
                found.candidate_label[shown].tolist(),
                found.candidate_score[shown].tolist(),
                staying[shown].tolist(),
                strict=True,
            )
        ]

    def _show_steps(self, before: int) -> None:
        counts = self.counts
        rows = [(text, f"{counts[step]:,}") for step, text in STEPS.items()]
        self.steps.heading = (
            f"Candidates left (best {MOST_DRAWN:,} drawn)"
            if before > MOST_DRAWN
            else "Candidates left after each step"
        )
        self.steps.show(rows, marked=list(STEPS).index(self.step))

    def _row_of(self, candidate: int | None) -> int | None:
        """The row of a candidate in the layer, if it is drawn."""
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
        found = self.detections
        nothing = torch.zeros((0, 4))
        if candidate is None:
            came_from = refined = rival_box = nothing
            self.numbers.show([("point at a box, or click one", "")])
        else:
            proposal = int(found.candidate_proposal[candidate])
            came_from = self.trace.proposals.boxes[proposal : proposal + 1]
            refined = found.clipped[candidate : candidate + 1]
            rival = found.suppressor(candidate)
            rival_box = nothing if rival is None else found.clipped[rival : rival + 1]
            self._show_numbers(candidate, proposal)
        origin, here, there = as_boxes(came_from), as_boxes(refined), as_boxes(rival_box)
        self.draw(
            BoxLayer(
                "its proposal",
                origin,
                groups=[Group("its proposal", GREY, "dotted")],
                pickable=False,
            ),
            ArrowLayer(
                "refinement", origin, here, groups=[Group("refinement", ORANGE)], pickable=False
            ),
            BoxLayer(
                "its suppressor",
                there,
                groups=[Group("its suppressor", PURPLE)],
                labels=["suppressor"] * len(there),
                width=3,
                pickable=False,
            ),
            **changes,
        )

    def _show_numbers(self, candidate: int, proposal: int) -> None:
        found = self.detections
        names = distinct_names(self.trace.class_names)
        box = found.clipped[candidate].tolist()
        self.numbers.show(
            [
                ("candidate", f"{candidate:,}"),
                ("proposal", f"{proposal}"),
                ("class", names[int(found.candidate_label[candidate])]),
                ("score", f"{float(found.candidate_score[candidate]):.3f}"),
                ("box", ", ".join(f"{value:.0f}" for value in box)),
                *self._fate_lines(candidate),
            ]
        )

    def _fate_lines(self, candidate: int) -> list[tuple[str, str]]:
        rival = self.detections.suppressor(candidate)
        if rival is None:
            return [("what became of it", self.fate(candidate))]
        names = distinct_names(self.trace.class_names)
        return [
            ("what became of it", "suppressed by"),
            ("candidate", f"{rival:,}"),
            ("class", names[int(self.detections.candidate_label[rival])]),
            ("score", f"{float(self.detections.candidate_score[rival]):.3f}"),
            ("IoU of the two", f"{self._iou(candidate, rival):.3f}"),
        ]
