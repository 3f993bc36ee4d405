"""The proposal explorer: from a score and a delta per anchor to the boxes worth a second look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import ipywidgets as ipw
import numpy as np
import torch
import traitlets as t
from torchvision.ops import box_iou

from mrcnn_steps.nms import Overlaps
from mrcnn_steps.palette import GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from mrcnn_steps.proposals import Proposals, propose
from mrcnn_steps.settings import proposal_settings
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.explorer import Explorer, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import Source, as_trace
from mrcnn_widgets.viewer.canvas import ArrowLayer, BoxLayer, Canvas, Category, Group, as_numpy
from mrcnn_widgets.views.objects import as_boxes, objects_layer

STEPS = ("score", "refined", "clipped", "NMS", "final")
TOOLTIPS = (
    "The anchors of highest objectness.",
    "Each anchor moved by its predicted delta.",
    "Cut to the image; boxes that are too small leave.",
    "Of boxes that overlap, the best one stays.",
    "The best of what is left: the proposals.",
)
# What becomes of a candidate, in the order in which it can leave.
FATES = ("too small", "low score", "suppressed", "surplus", "proposal")
TOO_SMALL, LOW_SCORE, SUPPRESSED, SURPLUS, PROPOSAL = range(5)
CANDIDATE = len(FATES)
BEFORE = Group("before this step", GREY, "dotted")
MOVES = Group("moves", ORANGE)
# The last fate that is known at each step.
KNOWN = {"score": -1, "refined": -1, "clipped": LOW_SCORE, "NMS": SUPPRESSED, "final": PROPOSAL}
GROUPS = (
    Group("too small", GREY, "dotted"),
    Group("low score", GREY, "dashed"),
    Group("suppressed", VERMILLION, "dashed"),
    Group("surplus", ORANGE, "dotted"),
    Group("proposal", GREEN, "solid"),
    Group("candidate", SKY, "solid"),
)
# An object counts as reached by a box of this IoU: the box head is trained on such a box.
REACHED = 0.5


def fates(proposals: Proposals) -> np.ndarray:
    """What became of each candidate: int [K], positions in `FATES`."""
    fate = torch.full_like(proposals.top_index, TOO_SMALL)
    fate[proposals.large_rows] = LOW_SCORE
    fate[proposals.scored_rows] = SUPPRESSED
    fate[proposals.nms_rows] = SURPLUS
    fate[proposals.rows] = PROPOSAL
    return fate.cpu().numpy()


class ProposalExplorer(Explorer):
    """Scrub through score, refined, clipped, NMS and final; hover a suppressed box to see by whom.

    Args:
        source: a trace; or a sample or a bundled photo's name, which the bundled model then sees.
        **settings: initial values of the traits below; the model's own without.

    Attributes:
        trace: the trace whose objectness and deltas are used.
        proposals: every step under the current settings.
        counts: how many boxes are left after each step.
        reached: how many objects have a box of IoU 0.5 or more after each step.
        drawn: the candidates that are drawn, best first: row i of the layer "candidates" is
            candidate `drawn[i]`.
    """

    stage = "proposals"
    step = t.Enum(STEPS, "final", help="The step whose boxes are drawn.")
    pre_nms_top_n = t.Int(
        min=1,
        help="Candidates that enter: the anchors of highest objectness (of each level, or all).",
    )
    nms_threshold = t.Float(
        min=0.0, max=1.0, help="A box goes if its IoU with a better one exceeds this."
    )
    min_size = t.Float(
        min=0.0, max=256.0, help="A clipped box goes if a side is shorter than this many pixels."
    )
    post_nms_top_n = t.Int(min=1, help="Proposals that may remain, over all levels.")
    limit = t.Int(100, min=1, max=2000, help="Boxes to draw: the best of the step.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self.trace = as_trace(source)
        own = proposal_settings(self.trace.model, self.trace.anchors)
        self._fixed = {name: own.pop(name) for name in ("level_sizes", "score_threshold")}
        largest = max(self._fixed["level_sizes"] or [len(self.trace.anchors)])
        self._most = {
            "pre_nms_top_n": max(own["pre_nms_top_n"], min(largest, 20_000)),
            "post_nms_top_n": max(own["post_nms_top_n"], 2000),
        }
        photo = self.trace.letterbox.image
        super().__init__(Canvas(photo, title=title("Proposals", photo)), own=own, **settings)
        self._steps = Readout("Left after each step", lines=7)
        self.proposals: Proposals
        self._overlaps: Overlaps | None = None
        self._followed = -1
        self._shown_suppressor: int | None = None
        self._one = Readout("Box under the pointer", lines=9)
        self.arrange(self._controls(), [self._steps, self._one])
        truth = self.trace.ground_truth
        self._objects = self.trace.objectness.new_zeros((0, 4)) if truth is None else truth.boxes
        labels = [] if truth is None else truth.labels.tolist()
        names = [self.trace.class_names[label] for label in labels]
        self.draw(objects_layer(self._objects, names, visible=False))
        self.observe(self._propose, ["pre_nms_top_n", "nms_threshold", "min_size"])
        self.observe(self._cut, ["post_nms_top_n"])
        self.observe(self._draw, ["step", "limit"])
        self.canvas.observe(self._inspect, ["hovered"])
        self.canvas.observe(self._follow, ["selected"])
        self._propose()

    def _controls(self) -> list[ipw.Widget]:
        per_level = self._fixed["level_sizes"] is not None
        return [
            self.control(
                "step",
                "",
                ipw.ToggleButtons,
                options=STEPS,
                tooltips=TOOLTIPS,
                width="100%",
                style={"button_width": "100px"},
            ),
            self.control(
                "pre_nms_top_n",
                "top k of each level" if per_level else "top k",
                max=self._most["pre_nms_top_n"],
            ),
            self.control("nms_threshold", "NMS threshold"),
            self.control("min_size", "minimum size", step=1.0, readout_format=".0f"),
            self.control("post_nms_top_n", "post-NMS count", max=self._most["post_nms_top_n"]),
            self.control("limit", "draw at most"),
        ]

    @t.validate("pre_nms_top_n", "post_nms_top_n")
    def _check_most(self, proposal: Any) -> int:
        most = self._most[proposal.trait.name]
        if proposal.value > most:
            raise t.TraitError(
                f"{proposal.trait.name}: expected at most {most}, found {proposal.value}"
            )
        return proposal.value

    @property
    def picked(self) -> int | None:
        """The candidate that the user picked, or None."""
        return self._candidate(self.canvas.selected)

    def _candidate(self, pick: tuple[str, int] | None) -> int | None:
        return None if pick is None or pick[0] != "candidates" else int(self.drawn[pick[1]])

    def onward(self, trace: Trace) -> Trace:
        """Give the trace these proposals, and let the heads answer them."""
        return trace.with_proposals(self.proposals) if self.changed else trace

    def _propose(self, change: Any = None) -> None:
        trace, per_level = self.trace, self._fixed["level_sizes"] is not None
        other_candidates = change is None or change["name"] == "pre_nms_top_n"
        if other_candidates:
            self._overlaps = None
        elif self._overlaps is None and not per_level:  # NMS of one level at a time is quick
            self._overlaps = Overlaps(self.proposals.clipped, self.proposals.top_scores)
        self.proposals = propose(
            trace.objectness,
            trace.rpn_deltas,
            trace.anchors,
            trace.image_size,
            pre_nms_top_n=self.pre_nms_top_n,
            post_nms_top_n=self.post_nms_top_n,
            nms_threshold=self.nms_threshold,
            min_size=self.min_size,
            overlaps=self._overlaps,
            **self._fixed,
        )
        if other_candidates:
            self._overlap_objects()
        self._count()

    def _cut(self, change: Any) -> None:
        """Another number of proposals needs no other NMS."""
        most = self.post_nms_top_n
        rows = self.proposals.nms_rows[:most]
        self.proposals = replace(self.proposals, rows=rows, post_nms_top_n=most)
        self._count()

    def _overlap_objects(self) -> None:
        """What depends on the top k alone: order, levels, and IoU with all objects."""
        p = self.proposals
        self._by_score = as_numpy(p.top_scores.argsort(descending=True, stable=True))
        self._levels = as_numpy(self.trace.anchors.levels(p.top_index))
        self._iou = [box_iou(self._objects, b) for b in (p.top_anchors, p.refined, p.clipped)]

    def _count(self) -> None:
        p = self.proposals
        clipped = self._iou[2]
        every = slice(None)
        left = {
            "score": (len(p.top_index), self._iou[0], every),
            "refined": (len(p.top_index), self._iou[1], every),
            "clipped": (len(p.scored_rows), clipped, p.scored_rows),
            "NMS": (len(p.nms_rows), clipped, p.nms_rows),
            "final": (len(p.rows), clipped, p.rows),
        }
        self.counts = {"anchors": len(self.trace.anchors)} | {k: v[0] for k, v in left.items()}
        self.reached = {
            step: int((iou[:, rows] >= REACHED).any(dim=1).sum())
            for step, (_, iou, rows) in left.items()
        }
        self._fate = fates(p)
        self._draw()

    def _draw(self, change: Any = None) -> None:
        p, step = self.proposals, self.step
        self.drawn = rows = self._best_of_step()
        boxes = {"score": p.top_anchors, "refined": p.refined}.get(step, p.clipped)[rows]
        before = {"refined": p.top_anchors, "clipped": p.refined}.get(step, p.clipped)[rows]
        moved = as_numpy((boxes != before).any(dim=1)) & (step in ("refined", "clipped"))
        fate = self._fate[rows]
        start, end = as_boxes(before)[moved], as_boxes(boxes)[moved]
        anchors = as_numpy(p.top_index)[rows]
        candidates = BoxLayer(
            "candidates",
            as_boxes(boxes),
            groups=GROUPS,
            group_index=np.where(fate <= KNOWN[step], fate, CANDIDATE),
            fields={
                "score": p.top_scores[rows],
                "level": Category(self._levels[rows], self.trace.anchors.level_names),
                "anchor": anchors,
            },
        )
        anchor = self._followed
        followed = np.flatnonzero(anchors == anchor)
        self.draw(
            BoxLayer("before", start, groups=[BEFORE], width=1, pickable=False),
            ArrowLayer("moves", start, end, groups=[MOVES], pickable=False),
            candidates,
            selected=("candidates", int(followed[0])) if followed.size else None,
        )
        # A box that is not drawn at this step is picked again where it is.
        self._followed = anchor
        self._steps.show(*self._table(), marked=1 + STEPS.index(step))
        self._inspect()

    def _best_of_step(self) -> np.ndarray:
        """The candidates to draw, best first."""
        if self.step == "final":
            return as_numpy(self.proposals.nms_rows[: self.limit])
        # A box that is too small takes no part in NMS.
        least = SUPPRESSED if self.step == "NMS" else TOO_SMALL
        return self._by_score[self._fate[self._by_score] >= least][: self.limit]

    def _table(self) -> tuple[Sequence[Sequence[str]], Sequence[str]]:
        names = ("anchors", *STEPS)
        left = [self.counts[name] for name in names]
        gone = ["", *(f"−{a - b:,}" if a > b else "" for a, b in pairwise(left))]
        rows = [(name, f"{n:,}", g) for name, n, g in zip(names, left, gone, strict=True)]
        if not len(self._objects):
            return rows, ("", "boxes", "gone")
        reached = ["", *(f"{self.reached[step]} of {len(self._objects)}" for step in STEPS)]
        return [(*row, r) for row, r in zip(rows, reached, strict=True)], (
            "",
            "boxes",
            "gone",
            f"objects ≥ {REACHED}",
        )

    def _follow(self, change: Any) -> None:
        """Remembers the picked box by its anchor, which no setting changes."""
        self._followed = -1 if self.picked is None else int(self.proposals.top_index[self.picked])
        self._inspect()

    def _inspect(self, change: Any = None) -> None:
        """Says what became of the box under the pointer, and shows what suppressed it."""
        row = self._candidate(self.canvas.hovered)
        row = self.picked if row is None else row
        by = None if row is None or self.step != "NMS" else self.proposals.suppressor(row)
        if row is None:
            self._one.show([("hover a box, or click to keep it", "")])
        else:
            self._one.show(self._describe(row, by))
        if by != self._shown_suppressor:
            self._shown_suppressor = by
            self.draw(self._suppressor_layer(row, by))

    def _overlap(self, row: int, other: int) -> float:
        clipped = self.proposals.clipped
        return float(box_iou(clipped[row : row + 1], clipped[other : other + 1]))

    def _suppressor_layer(self, row: int | None, by: int | None) -> BoxLayer:
        found = [] if row is None or by is None else [(by, self._overlap(row, by))]
        return BoxLayer(
            "suppressor",
            as_boxes(self.proposals.clipped[[box for box, _ in found]]),
            groups=[Group("suppressor", PURPLE, "solid")],
            labels=[f"kept instead · IoU {iou:.2f}" for _, iou in found],
            width=3,
            pickable=False,
        )

    def _describe(self, row: int, by: int | None) -> list[tuple[str, str]]:
        p, fate = self.proposals, self._fate[row]
        x1, y1, x2, y2 = p.clipped[row].tolist()
        place = self.trace.anchors.locate(int(p.top_index[row]))
        lines = [
            ("score", f"{p.top_scores[row]:.4f}"),
            ("anchor", f"{int(p.top_index[row]):,}"),
            ("level", self.trace.anchors.level_names[place.level]),
            ("row, column, ratio", f"{place.row}, {place.column}, {place.ratio}"),
            ("clipped size", f"{x2 - x1:.0f} × {y2 - y1:.0f}"),
            ("becomes", FATES[fate]),
        ]
        if by is not None:
            lines += [
                ("kept instead, score", f"{p.top_scores[by]:.4f}"),
                ("IoU with it", f"{self._overlap(row, by):.3f}"),
            ]
        return lines
