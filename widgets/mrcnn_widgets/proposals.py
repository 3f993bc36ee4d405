"""The proposal explorer: from a score and a delta per anchor to the boxes worth a second look."""

from __future__ import annotations

from typing import Any

import ipywidgets as ipw
import numpy as np
import traitlets as t

from mrcnn_steps.debug.lineage import Lineage
from mrcnn_steps.nms import Overlaps
from mrcnn_steps.proposals import Proposals, propose
from mrcnn_steps.settings import proposal_settings
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.explorer import Explorer, object_options, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import Source, as_trace, scene
from mrcnn_widgets.traits import Choice, Real, Whole
from mrcnn_widgets.viewer.canvas import Canvas
from mrcnn_widgets.views import proposals as view
from mrcnn_widgets.views.objects import around

STEPS = tuple(view.VIEWS)
WHOLE_PHOTO = -1
# Boxes that one can still tell apart.
FEW = 10
# No slider, which would round the usual 0.001 to its step.
PIXELS = {"min": 0.0, "max": 256.0, "step": 1.0, "width": "170px"}


class ProposalExplorer(Explorer):
    """Scrub through score, refined, clipped, NMS and final; hover a suppressed box to see by whom.

    Args:
        source: a trace; or a sample or a bundled photo's name, which the bundled model then sees.
        **settings: initial values of the traits below; the model's own without, and the best few
            boxes around the object of the surest detection.

    Attributes:
        trace: the trace whose objectness and deltas are used.
        proposals: every step under the current settings.
        counts: how many boxes are left after each step.
        reached: how many objects have a box of IoU 0.5 or more after each step.
        drawn: the candidates that are drawn, best first: row i of the layer "candidates" is
            candidate `drawn[i]`.
    """

    stage = "proposals"
    step = Choice(STEPS, "final", help="The step whose boxes are drawn.")
    object = Whole(
        WHOLE_PHOTO, min=WHOLE_PHOTO, help="Boxes around this object are drawn; -1 for all."
    )
    limit = Whole(FEW, min=1, max=view.MOST, help="Boxes to draw: the best of the step.")
    pre_nms_top_n = Whole(
        min=1,
        help="Candidates that enter: the anchors of highest objectness (of each level, or all).",
    )
    nms_threshold = Real(
        min=0.0, max=1.0, help="A box goes if its IoU with a better one exceeds this."
    )
    min_size = Real(
        min=0.0, max=256.0, help="A clipped box goes if a side is shorter than this many pixels."
    )
    score_threshold = Real(
        min=0.0, max=1.0, help="A box goes if its objectness, 0 to 1, is below this."
    )
    post_nms_top_n = Whole(min=1, help="Proposals that may remain, over all levels.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self._look_at(as_trace(source))
        own = proposal_settings(self.trace.model, self.trace.anchors)
        self._level_sizes = own.pop("level_sizes")
        largest = max(self._level_sizes or [len(self.trace.anchors)])
        self._most = {
            "pre_nms_top_n": max(own["pre_nms_top_n"], min(largest, 20_000)),
            "post_nms_top_n": max(own["post_nms_top_n"], 2000),
        }
        photo = self.trace.letterbox.image
        canvas = Canvas(photo, title=title("Proposals", photo))
        super().__init__(canvas, own=own, **{"object": _first(self.trace), **settings})
        self.proposals: Proposals
        self._overlaps: Overlaps | None = None
        self._followed = -1
        self._shown_suppressor: int | None = None
        self._steps = Readout("Left after each step", lines=8)
        self._one = Readout("Box under the pointer", lines=9)
        self.arrange(self._controls(), [self._steps, self._one])
        self.observe(
            self._propose, ["pre_nms_top_n", "nms_threshold", "min_size", "score_threshold"]
        )
        self.observe(self._limit, ["post_nms_top_n"])
        self.observe(self._draw, ["step", "limit"])
        self.observe(self._turn, ["object"])
        self.canvas.observe(self._inspect, ["hovered"])
        self.canvas.observe(self._follow, ["selected"])
        self._propose()
        self._turn()

    def _controls(self) -> list[ipw.Widget]:
        per_level = self._level_sizes is not None
        score = self.control("score_threshold", "objectness ≥")
        # Hardly any model asks for one, and there is no room to spare.
        score.layout.display = None if self.own["score_threshold"] else "none"
        self._objects = self.control(
            "object", "boxes around", ipw.Dropdown, options=self._options(), width="230px"
        )
        self._all = ipw.Button(
            description="Show all",
            tooltip="The boxes of the whole photo, as many as can be drawn.",
            layout=ipw.Layout(width="90px", flex="0 0 auto"),
        )
        self._all.on_click(lambda _: self.show_all())
        return [
            self.control(
                "step",
                "",
                ipw.ToggleButtons,
                options=STEPS,
                tooltips=[each.tooltip for each in view.VIEWS.values()],
                width="100%",
                style={"button_width": "100px"},
            ),
            self._objects,
            self._all,
            self.control("limit", "draw at most"),
            self.control(
                "pre_nms_top_n",
                "top k of each level" if per_level else "top k",
                max=self._most["pre_nms_top_n"],
            ),
            self.control("nms_threshold", "NMS threshold"),
            self.control("min_size", "minimum size", ipw.BoundedFloatText, **PIXELS),
            score,
            self.control("post_nms_top_n", "post-NMS count", max=self._most["post_nms_top_n"]),
        ]

    def _options(self) -> list[tuple[str, int]]:
        return [("the whole photo", WHOLE_PHOTO), *object_options(self.scene.names)]

    @t.validate("pre_nms_top_n", "post_nms_top_n")
    def _check_most(self, proposal: Any) -> int:
        most = self._most[proposal.trait.name]
        if proposal.value > most:
            raise t.TraitError(
                f"{proposal.trait.name}: expected at most {most:,}, found {proposal.value:,}"
            )
        return proposal.value

    @t.validate("object")
    def _check_object(self, proposal: Any) -> int:
        count = len(self.scene.names)
        if proposal.value >= count:
            raise t.TraitError(f"object: expected less than {count}, found {proposal.value}")
        return proposal.value

    # -- What the others ask -------------------------------------------------------------------

    def show(self, trace: Trace) -> None:
        """Show another trace, with the settings as they are."""
        before = self.scene
        self._look_at(trace)
        same = before.names == self.scene.names
        with self.canvas.hold_sync():
            self.draw(photo=trace.letterbox.image)
            row = self.object if same else _first(trace)
            self._objects.options = self._options()
            self.object = row
            self._propose()
            self._turn()

    def onward(self, trace: Trace) -> Trace:
        """Give the trace these proposals, and let the heads answer them."""
        return trace.with_proposals(self.proposals) if self.changed else trace

    def focus(self, lineage: Lineage | None) -> None:
        """Mark the followed object, its anchor and its proposal, and draw the boxes around it."""
        super().focus(lineage)
        if lineage is not None:
            self._followed = -1 if lineage.anchor is None else lineage.anchor
            if lineage.object is not None:
                self.object = lineage.object
            self._draw()

    def show_all(self) -> None:
        """Draw the boxes of the whole photo, as many as can be drawn."""
        self.limit, self.object = view.MOST, WHOLE_PHOTO

    @property
    def picked(self) -> int | None:
        """The candidate that the user picked, or None."""
        return self._candidate(self.canvas.selected)

    @property
    def counts(self) -> dict[str, int]:
        """How many boxes are left after each step."""
        return view.counts(self.proposals, len(self.trace.anchors))

    # -- Computing -----------------------------------------------------------------------------

    def _look_at(self, trace: Trace) -> None:
        self.trace, self.scene = trace, scene(trace)
        self._overlaps = None

    def _propose(self, change: Any = None) -> None:
        trace, per_level = self.trace, self._level_sizes is not None
        if change is None or change["name"] == "pre_nms_top_n":
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
            score_threshold=self.score_threshold,
            level_sizes=self._level_sizes,
            overlaps=self._overlaps,
        )
        self._count()

    def _limit(self, change: Any) -> None:
        """Another number of proposals needs no other NMS."""
        self.proposals = self.proposals.limited(self.post_nms_top_n)
        self._count()

    def _count(self) -> None:
        self.reached = view.reached(self.proposals, self.scene.boxes)
        self._draw()

    # -- What is shown -------------------------------------------------------------------------

    def _turn(self, change: Any = None) -> None:
        """Turn to another object, or back to the whole photo."""
        row = None if self.object == WHOLE_PHOTO else self.object
        self.draw(*view.object_layers(self.scene.boxes, self.scene.names, row))
        height, width = self.scene.photo.shape[1:]
        part = None if row is None else around(self.scene.boxes[row], (height, width))
        self.canvas.update(view=part)
        self._draw()

    def _draw(self, change: Any = None) -> None:
        p, anchor = self.proposals, self._followed
        box = None if self.object == WHOLE_PHOTO else self.scene.boxes[self.object]
        self.drawn = view.chosen(p, self.step, self.limit, box)
        layers = view.layers(p, self.trace.anchors, self.step, self.drawn)
        followed = np.flatnonzero(p.top_index.cpu().numpy()[self.drawn] == anchor)
        self.draw(*layers, selected=("candidates", int(followed[0])) if followed.size else None)
        # A box that is not drawn at this step is picked again where it is.
        self._followed = anchor
        header, *rows = view.table(
            self.counts, self.reached, len(self.scene.names), len(self.drawn)
        )
        self._steps.show(rows, header, marked=1 + STEPS.index(self.step))
        self._inspect()

    def _candidate(self, pick: tuple[str, int] | None) -> int | None:
        return None if pick is None or pick[0] != "candidates" else int(self.drawn[pick[1]])

    def _follow(self, change: Any) -> None:
        """Remembers the picked box by its anchor, which no setting changes."""
        pick = self.canvas.selected
        if pick is not None and pick[0] == "objects":
            self.object = pick[1]
            return
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
            self._one.show(view.facts(self.proposals, self.trace.anchors, row, by))
        if by != self._shown_suppressor:
            self._shown_suppressor = by
            self.draw(view.suppressor_layer(self.proposals, row, by))


def _first(trace: Trace) -> int:
    """Give the object to begin with; the whole photo without objects."""
    row = view.plainest(trace)
    return WHOLE_PHOTO if row is None else row
