"""The RPN target explorer: what the region proposal network is trained to say about each anchor."""

from __future__ import annotations

from typing import Any

import ipywidgets as ipw
import torch

from mrcnn_steps.anchors import pyramid
from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.rpn_targets import RPNTargets, build_matched, compare
from mrcnn_steps.settings import rpn_training_settings
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.explorer import Explorer, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import SIDE, Source, scene
from mrcnn_widgets.traits import Choice, Real, Whole
from mrcnn_widgets.viewer.canvas import Canvas
from mrcnn_widgets.views import rpn_targets as view
from mrcnn_widgets.views.objects import as_boxes

VIEWS = ("anchors", "refinement")
LABELS = ("after sampling", "before sampling")
TRAINING = ("positive_iou", "negative_iou", "count", "positive_fraction")


class RPNTargetExplorer(Explorer):
    """See which anchors are positive, negative and neutral, and where the positives should move.

    Args:
        source: a trace, whose anchors and training settings are then used; or a sample or a bundled
            photo's name, for which no network runs.
        **settings: initial values of the traits below; without a trace those of Faster R-CNN.

    Attributes:
        anchors: the anchors.
        targets: the targets under the current settings, as `rpn_targets.build` returns them.
        picked: the anchor that the user picked, or None.
    """

    stage = "rpn_targets"
    view = Choice(
        VIEWS, "anchors", help="Anchors by label, or positives before (dotted) and after (solid)."
    )
    labels = Choice(
        LABELS, "after sampling", help="Labels of all anchors, or of those that are trained on."
    )
    positive_iou = Real(
        0.7, min=0.0, max=1.0, help="From this IoU with an object on, an anchor is positive."
    )
    negative_iou = Real(
        0.3, min=0.0, max=1.0, help="Below this IoU with all objects, an anchor is negative."
    )
    count = Whole(256, min=0, max=2048, help="How many anchors are trained on.")
    positive_fraction = Real(
        0.5, min=0.0, max=1.0, help="The largest share of positives among them."
    )
    seed = Whole(0, min=0, max=999, help="Seed of the generator that chooses the sample.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self._look_at(source)
        self.targets: RPNTargets
        self.picked: int | None = None
        self._picked_in = "after"
        own = {name: self.trait_defaults(name) for name in (*TRAINING, "seed")}
        if self.trace is not None:
            own |= rpn_training_settings(self.trace.model)
        photo = self.scene.photo
        canvas = Canvas(photo, title=title("RPN targets", photo))
        super().__init__(canvas, own=own, **settings)
        self._numbers = Readout("Anchors", lines=6)
        self._one = Readout("Anchor under the pointer", lines=14)
        self.arrange(self._controls(), [self._numbers, self._one])
        self.draw(*view.scene_layers(self.scene))
        self.observe(self._match, ["positive_iou", "negative_iou"])
        self.observe(self._sample, ["count", "positive_fraction", "seed"])
        self.observe(self._draw_anchors, ["labels"])
        self.observe(self._draw_view, ["view"])
        self.canvas.observe(self._inspect, ["hovered"])
        self.canvas.observe(self._pick, ["selected"])
        self._match()
        self._draw_view()

    def show(self, trace: Trace) -> None:
        """Show another trace, with the settings as they are."""
        self._look_at(trace)
        self.picked = None
        with self.canvas.hold_sync():
            self.draw(*view.scene_layers(self.scene), photo=self.scene.photo, selected=None)
            self._match()

    def focus(self, lineage: Lineage | None) -> None:
        """Mark the followed object and its anchor, and pick the anchor."""
        super().focus(lineage)
        if lineage is not None and lineage.anchor is not None:
            self.picked = lineage.anchor
            self.canvas.update(**self._selection())

    def _look_at(self, source: Source) -> None:
        self.scene = scene(source)
        self.trace = self.scene.trace
        self.anchors = self.scene.anchors or pyramid(SIDE, anchor_stride=2)
        self._drawable = as_boxes(self.anchors.boxes)
        self._overlaps = compare(self.anchors, self.scene.boxes, self.scene.crowd_boxes)

    def _controls(self) -> list[ipw.Widget]:
        return [
            self._choice("view", "what to show"),
            self._choice("labels", "which labels"),
            self.control("positive_iou", "positive IoU ≥"),
            self.control("negative_iou", "negative IoU <"),
            self.control("count", "sample size"),
            self.control("positive_fraction", "positives at most"),
            self.control("seed", "seed"),
        ]

    def _choice(self, name: str, label: str) -> ipw.Widget:
        buttons = self.control(
            name, "", ipw.ToggleButtons, width="auto", style={"button_width": "128px"}
        )
        buttons.tooltips = [f"{label}: {option}" for option in buttons.options]
        return buttons

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Anchors before and after sampling: positive, forced, negative and neutral."""
        return view.counts(self.targets)

    def _match(self, change: Any = None) -> None:
        """Labels every anchor. A threshold that is pushed over the other takes it along."""
        if self.negative_iou > self.positive_iou:
            moved = "positive_iou" if change is None else change["name"]
            other = {"positive_iou": "negative_iou", "negative_iou": "positive_iou"}[moved]
            setattr(self, other, getattr(self, moved))  # which comes back here
            return
        self._matched = self._overlaps.match(self.positive_iou, self.negative_iou)
        self._sample()

    def _sample(self, change: Any = None) -> None:
        """Chooses the sample anew, without another match."""
        self.targets = build_matched(
            self._matched,
            self.anchors,
            self.scene.boxes,
            self.count,
            self.positive_fraction,
            torch.Generator(self._matched.labels.device).manual_seed(self.seed),
        )
        before, after = (list(counts.items()) for counts in self.counts.values())
        self._numbers.show(
            [(name, f"{a:,}", f"{b:,}") for (name, a), (_, b) in zip(before, after, strict=True)],
            ("", "all", "sample"),
        )
        self.draw(
            *view.refinement_layers(self.anchors, self.targets, self.scene.names),
            **self._selection(),
        )
        self._draw_anchors()

    def _draw_anchors(self, change: Any = None) -> None:
        sampled = self.labels == "after sampling"
        labels = self.targets.labels if sampled else self._matched.labels
        self.draw(
            view.anchors_layer(
                self.anchors, self._drawable, self._matched, labels, self.scene.names
            )
        )
        self._inspect()

    def _draw_view(self, change: Any = None) -> None:
        """Show the layers of the view, and hides those of the other."""
        mine = {"anchors": ["anchors"], "refinement": [*view.REFINEMENT]}
        switched = [name for names in mine.values() for name in names]
        kept = [key for key in self.canvas.hidden if key not in switched]
        hidden = [*kept, *(n for n in switched if n not in mine[self.view])]
        self.canvas.update(hidden=hidden, **self._selection())

    def _pick(self, change: Any = None) -> None:
        """Remembers the picked anchor, whose row among the sampled positives may change."""
        selected = self.canvas.selected
        self.picked = self._anchor(selected)
        if selected is not None and selected[0] in view.REFINEMENT:
            self._picked_in = selected[0]
        self._inspect()

    def _selection(self) -> dict[str, Any]:
        """Give the row that stands for the picked anchor in this view, if there is one."""
        if self.picked is None:
            return {}
        rows = (self.targets.positive_index == self.picked).nonzero().flatten().tolist()
        if self.view == "refinement" and rows:
            return {"selected": (self._picked_in, rows[0])}
        return {"selected": ("anchors", self.picked)}

    def _anchor(self, pick: tuple[str, int] | None) -> int | None:
        """Give the anchor behind a row of a layer."""
        if pick is None or pick[0] not in ("anchors", *view.REFINEMENT):
            return None
        return pick[1] if pick[0] == "anchors" else int(self.targets.positive_index[pick[1]])

    def _inspect(self, change: Any = None) -> None:
        row = self._anchor(self.canvas.hovered)
        row = self.picked if row is None else row
        if row is not None:
            self._one.show(view.facts(self.anchors, self.targets, self.scene, row))
        elif self.scene.names:
            self._one.show([("hover an anchor, or click to keep it", "")])
        else:
            self._one.show([(view.NO_OBJECTS, "")])
