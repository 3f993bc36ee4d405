"""The RPN target explorer: what the region proposal network is trained to say about each anchor."""

from __future__ import annotations

from typing import Any

import ipywidgets as ipw
import numpy as np
import torch
import traitlets as t
from torchvision.ops import box_iou

from mrcnn_steps.anchors import pyramid
from mrcnn_steps.palette import ORANGE, palette
from mrcnn_steps.rpn_targets import Match, build_matched, compare
from mrcnn_widgets.explorer import Explorer, object_options, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import SIDE, Source, scene
from mrcnn_widgets.viewer.canvas import (
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    ArrowLayer,
    BoxLayer,
    Canvas,
    Category,
    Group,
    as_numpy,
)
from mrcnn_widgets.views.objects import as_boxes, objects_layer

VIEWS = ("anchors", "refinement")
# The layers of that view.
REFINEMENT = ("moves", "before", "after")
LABELS = ("after sampling", "before sampling")
# In drawing order: the few positives on top.
GROUPS = (Group("neutral", NEUTRAL.color, NEUTRAL.dash, visible=False), NEGATIVE, POSITIVE)
BEFORE = Group("before", POSITIVE.color, "dotted")
AFTER = Group("after", POSITIVE.color, "solid")
CROWDS = Group("crowds", ORANGE, "dotted")
# The group of the labels 0, 1 and -1.
GROUP_OF = np.array([0, 2, 1])


class RPNTargetExplorer(Explorer):
    """See which anchors are positive, negative and neutral, and where the positives should move.

    Args:
        source: a trace, whose anchors and training settings are then used; or a sample or a bundled
            photo's name, for which no network runs.
        **settings: initial values of the traits below; without a trace those of Faster R-CNN.

    Attributes:
        anchors: the anchors.
        targets: the targets under the current settings, as `rpn_targets.build` returns them.
        counts: "before sampling" and "after sampling": positive, forced, negative and neutral.
        picked: the anchor that the user picked, or None.
    """

    stage = "rpn_targets"
    view = t.Enum(
        VIEWS, "anchors", help="Anchors by label, or positives before (dotted) and after (solid)."
    )
    labels = t.Enum(
        LABELS, "after sampling", help="Labels of all anchors, or of those that are trained on."
    )
    positive_iou = t.Float(
        min=0.0, max=1.0, help="From this IoU with an object on, an anchor is positive."
    )
    negative_iou = t.Float(
        min=0.0, max=1.0, help="Below this IoU with all objects, an anchor is negative."
    )
    count = t.Int(min=0, max=2048, help="How many anchors are trained on.")
    positive_fraction = t.Float(min=0.0, max=1.0, help="The largest share of positives among them.")
    seed = t.Int(0, min=0, max=999, help="Seed of the generator that chooses the sample.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self.scene = scene(source)
        self.trace = self.scene.trace
        self.anchors = self.scene.anchors or pyramid(SIDE, anchor_stride=2)
        photo = self.scene.photo
        super().__init__(
            Canvas(photo, title=title("RPN targets", photo)), own=self._own(), **settings
        )
        self._numbers = Readout("Anchors", lines=6)
        self._one = Readout("Anchor under the pointer", lines=14)
        self.arrange(self._controls(), [self._numbers, self._one])
        self._objects = [label for label, _ in object_options(self.scene.names)]
        self._drawable = as_boxes(self.anchors.boxes)
        self._overlaps = compare(self.anchors, self.scene.boxes, self.scene.crowd_boxes)
        self.picked: int | None = None
        self._picked_in = "after"
        self.draw(
            objects_layer(self.scene.boxes, self.scene.names),
            BoxLayer("crowds", as_boxes(self.scene.crowd_boxes), groups=[CROWDS], pickable=False),
        )
        self.observe(self._match, ["positive_iou", "negative_iou"])
        self.observe(self._sample, ["count", "positive_fraction", "seed"])
        self.observe(self._draw_anchors, ["labels"])
        self.observe(self._draw_view, ["view"])
        self.canvas.observe(self._inspect, ["hovered"])
        self.canvas.observe(self._pick, ["selected"])
        self._match()
        self._draw_view()

    def _own(self) -> dict[str, Any]:
        """The settings that a trace's model is trained with; without a trace, Faster R-CNN's."""
        seed = {"seed": 0}
        if self.scene.trace is None:
            usual = {"positive_iou": 0.7, "negative_iou": 0.3}
            return {**usual, "count": 256, "positive_fraction": 0.5, **seed}
        rpn = self.scene.trace.model.rpn
        matcher, sampler = rpn.proposal_matcher, rpn.fg_bg_sampler
        return {
            "positive_iou": matcher.high_threshold,
            "negative_iou": matcher.low_threshold,
            "count": sampler.batch_size_per_image,
            "positive_fraction": sampler.positive_fraction,
            **seed,
        }

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
        self.counts = {
            "before sampling": _counts(self._matched, self._matched.labels),
            "after sampling": _counts(self._matched, self.targets.labels),
        }
        before, after = (list(counts.items()) for counts in self.counts.values())
        self._numbers.show(
            [(name, f"{a:,}", f"{b:,}") for (name, a), (_, b) in zip(before, after, strict=True)],
            ("", "all", "sample"),
        )
        self._draw_refinement()
        self._draw_anchors()

    def _draw_anchors(self, change: Any = None) -> None:
        sampled = self.labels == "after sampling"
        labels = self.targets.labels if sampled else self._matched.labels
        self.draw(
            BoxLayer(
                "anchors",
                self._drawable,
                groups=GROUPS,
                group_index=GROUP_OF[as_numpy(labels)],
                fields=self._fields(slice(None)),
            )
        )
        self._inspect()

    def _fields(self, rows: Any) -> dict[str, Any]:
        """What the hover card says about some anchors."""
        index = torch.arange(len(self.anchors), device=self.anchors.boxes.device)[rows]
        fields: dict[str, Any] = {
            "level": Category(self.anchors.levels(index), self.anchors.level_names)
        }
        if self._objects:
            fields["best IoU"] = self._matched.iou[rows]
            fields["object"] = Category(self._matched.gt_index[rows], self._objects)
        return fields

    def _draw_refinement(self) -> None:
        """The sampled positives and what their deltas make of them, a color for each object."""
        rows = self.targets.positive_index
        before, after = as_boxes(self.anchors.boxes[rows]), as_boxes(self.targets.refined)
        object_colors = palette(len(self._objects))
        look: dict[str, Any] = {
            "colors": [object_colors[row] for row in self._matched.gt_index[rows].tolist()],
            "fields": {"anchor": rows, **self._fields(rows)},
        }
        self.draw(
            ArrowLayer("moves", before, after, groups=[Group("moves", POSITIVE.color)], **look),
            BoxLayer("before", before, groups=[BEFORE], **look),
            BoxLayer("after", after, groups=[AFTER], width=2, **look),
            **self._selection(),
        )

    def _draw_view(self, change: Any = None) -> None:
        """Shows the layers of the view, and hides those of the other."""
        mine = {"anchors": ["anchors"], "refinement": [*REFINEMENT]}
        switched = [name for names in mine.values() for name in names]
        kept = [key for key in self.canvas.hidden if key not in switched]
        hidden = [*kept, *(n for n in switched if n not in mine[self.view])]
        self.canvas.update(hidden=hidden, **self._selection())

    def _pick(self, change: Any = None) -> None:
        """Remembers the picked anchor, whose row among the sampled positives may change."""
        selected = self.canvas.selected
        self.picked = self._anchor(selected)
        if selected is not None and selected[0] in REFINEMENT:
            self._picked_in = selected[0]
        self._inspect()

    def _selection(self) -> dict[str, Any]:
        """The row that stands for the picked anchor in this view, if there is one."""
        if self.picked is None:
            return {}
        rows = (self.targets.positive_index == self.picked).nonzero().flatten().tolist()
        if self.view == "refinement" and rows:
            return {"selected": (self._picked_in, rows[0])}
        return {"selected": ("anchors", self.picked)}

    def _anchor(self, pick: tuple[str, int] | None) -> int | None:
        """The anchor behind a row of a layer."""
        if pick is None or pick[0] not in ("anchors", *REFINEMENT):
            return None
        return pick[1] if pick[0] == "anchors" else int(self.targets.positive_index[pick[1]])

    def iou(self, anchor: int) -> torch.Tensor:
        """IoU of an anchor with every object, float [G]."""
        return box_iou(self.anchors.boxes[anchor][None], self.scene.boxes)[0]

    def _inspect(self, change: Any = None) -> None:
        row = self._anchor(self.canvas.hovered)
        row = self.picked if row is None else row
        if row is None:
            self._one.show([("hover an anchor, or click to keep it", "")])
            return
        names = {1: "positive", -1: "negative", 0: "neutral"}
        label = names[int(self._matched.labels[row])]
        forced = ", forced" if bool(self._matched.forced[row]) else ""
        place = self.anchors.locate(row)
        iou = self.iou(row)
        touched = [i for i in iou.argsort(descending=True).tolist() if iou[i] > 0]
        self._one.show(
            [
                ("anchor", f"{row:,}"),
                ("level", self.anchors.level_names[place.level]),
                ("before sampling", label + forced),
                ("after sampling", names[int(self.targets.labels[row])]),
                ("IoU with", f"{len(touched)} of {len(iou)} objects"),
                *((f"  {self._objects[i]}", f"{iou[i]:.3f}") for i in touched),
            ]
        )


def _counts(matched: Match, labels: torch.Tensor) -> dict[str, int]:
    positive = labels == 1
    return {
        "positive": int(positive.sum()),
        "of these forced": int((positive & matched.forced).sum()),
        "negative": int((labels == -1).sum()),
        "neutral": int((labels == 0).sum()),
        "all": len(labels),
    }
