"""Explore stage 5, classification: what the box head says about each proposal.

explorer = ClassificationExplorer("voc_people")
explorer.proposal = 4                # or click a box
explorer.label = 1                   # its refined box, as if it were a person
explorer.probs, explorer.refined_box, explorer.level, explorer.points
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import torch
import traitlets as t
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.ops import box_iou, clip_boxes_to_image

from mrcnn_steps.boxes import decode
from mrcnn_steps.classification import sample_points
from mrcnn_steps.palette import INK, ORANGE, PAPER, SKY, YELLOW, class_colors
from mrcnn_steps.settings import detection_settings, roi_scales
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.classes import MOST, class_groups, distinct_names
from mrcnn_widgets.explorer import Explorer, check_row, title
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import Source, as_trace
from mrcnn_widgets.viewer.canvas import (
    ArrowLayer,
    BoxLayer,
    Canvas,
    Category,
    GridLayer,
    Group,
    PointLayer,
)
from mrcnn_widgets.views.objects import as_boxes, objects_layer

BARS = 8


@dataclass(frozen=True, eq=False)
class PickedProposal:
    """What stage 5 makes of one proposal. Boxes and points are in pixels of the network's input.

    Attributes:
        box: [4] the proposal.
        probs: [C] the probability of each class.
        level: index of the feature map that it is pooled from, 0 is the finest.
        scale: feature pixels per pixel of the network's input on that map.
        samples: (rows, columns) of points that RoIAlign reads.
        points: [rows · columns, 2] where it reads the map, row by row.
        delta: [4] the delta for one class.
        refined_box: [4] the box moved by that delta and clipped to the image.
    """

    box: Tensor
    probs: Tensor
    level: int
    scale: float
    samples: tuple[int, int]
    points: Tensor
    delta: Tensor
    refined_box: Tensor


def look_at(trace: Trace, proposal: int, label: int) -> PickedProposal:
    """All that stage 5 computed about a proposal, with the refined box of class `label`."""
    box = trace.proposals.boxes[proposal]
    found = trace.classification
    level = int(found.roi_level[proposal])
    scale = _scales(trace)[level]
    samples = roi_samples(trace, box, scale)
    return PickedProposal(
        box=box,
        probs=found.probs[proposal],
        level=level,
        scale=scale,
        samples=samples,
        # Points of the bins as bins of one point: rows and columns may differ in number.
        points=sample_points(box, scale, samples, sampling_ratio=1),
        # A head may share one delta among all classes.
        delta=found.deltas[proposal, label if found.deltas.shape[1] > 1 else 0],
        refined_box=refined_box(trace, proposal, label),
    )


def refined_box(trace: Trace, proposal: int, label: int) -> Tensor:
    """Find the box that a proposal becomes as a class: float [4], clipped to the image.

    It is the candidate that stage 6 starts from. Where only the best class of each proposal is a
    candidate, the box of another class is computed here.
    """
    found = trace.detections
    same = (found.candidate_proposal == proposal) & (found.candidate_label == label)
    if same.any():
        return found.clipped[int(same.nonzero()[0])]
    deltas, boxes = trace.classification.deltas, trace.proposals.boxes
    delta = deltas[proposal, [label if deltas.shape[1] > 1 else 0]]
    moved = decode(delta, boxes[proposal][None], detection_settings(trace.model)["weights"])
    return clip_boxes_to_image(moved, trace.image_size)[0]


class ClassificationExplorer(Explorer):
    """The proposals by class; of the picked one its probabilities, RoI samples and refined box.

    Args:
        source: a trace, a sample, or the name of a bundled photo.
        **settings: initial values of the traits.

    Traits:
        proposal: the picked proposal, or None.
        label: the class for which the refined box is shown; picking a proposal sets it to the
            most probable class that is not the background.

    What is shown:
        picked: all about the picked proposal, a `PickedProposal`, or None.
    """

    proposal = t.Int(None, allow_none=True, help="The picked proposal.")
    label = t.Int(1, min=0, help="The class for which the refined box is shown.")

    def __init__(self, source: Source, **settings: Any) -> None:
        self.trace = as_trace(source)
        photo = self.trace.letterbox.image
        super().__init__(Canvas(photo, title=title("Classification", photo)), **settings)
        self.bars = Bars()
        self.numbers = Readout("Picked proposal", lines=9)
        self.counts = Readout("Most probable class", lines=5)
        names = distinct_names(self.trace.class_names)
        self._label_control = self.control(
            "label", "refine as", widgets.Dropdown, options=[(n, i) for i, n in enumerate(names)]
        )
        self.arrange([self._label_control], [self.bars, self.numbers, self.counts])
        self._draw_proposals()
        if self.proposal is None and len(self.trace.proposals):
            self.proposal = self._first_to_look_at()
        if "label" not in settings:
            self._choose_label()
        self._draw_picked()
        self.observe(self._on_proposal, "proposal")
        self.observe(self._draw_picked, "label")
        self.canvas.observe(self._on_pick, "selected")

    def show(self, trace: Trace) -> None:
        """Shows another trace of a model with the same classes; what is picked is let go."""
        self.trace = trace
        with self.canvas.hold_sync():
            self._draw_proposals(photo=trace.letterbox.image)
            first = self._first_to_look_at() if len(trace.proposals) else None
            if self.proposal == first:
                self._on_proposal()
            self.proposal = first

    @t.validate("proposal")
    def _check_proposal(self, change: Any) -> int | None:
        return check_row(change, len(self.trace.proposals))

    @t.validate("label")
    def _check_label(self, change: Any) -> int | None:
        return check_row(change, len(self.trace.class_names))

    @property
    def picked(self) -> PickedProposal | None:
        """All about the picked proposal."""
        return None if self.proposal is None else look_at(self.trace, self.proposal, self.label)

    def _first_to_look_at(self) -> int:
        return int(self.trace.classification.probs[:, 1:].amax(dim=1).argmax())

    def _choose_label(self) -> None:
        if self.proposal is not None:
            self.label = int(self.trace.classification.probs[self.proposal, 1:].argmax()) + 1

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
        proposals, found = self.trace.proposals, self.trace.classification
        names = distinct_names(self.trace.class_names)
        truth = self.trace.ground_truth
        layer = BoxLayer(
            "proposals",
            as_boxes(proposals.boxes),
            groups=class_groups(names, background=False),
            group_index=found.labels.clamp(max=MOST - 1),
            fields={
                "class": Category(found.labels, names),
                "probability": found.scores,
                "objectness": proposals.scores,
                "feature map": Category(found.roi_level, map_names(self.trace)),
            },
            threshold="probability",
        )
        objects = objects_layer(
            torch.zeros((0, 4)) if truth is None else truth.boxes,
            [] if truth is None else [names[label] for label in truth.labels.tolist()],
            visible=False,
        )
        self.draw(layer, objects, **changes)
        count = torch.bincount(found.labels, minlength=len(names))
        most = [i for i in count.argsort(descending=True, stable=True).tolist() if count[i]]
        self.counts.show([(names[i], f"{int(count[i]):,}") for i in most])

    def _draw_picked(self, change: Any = None) -> None:
        """The picked proposal: on the photo, as bars and in numbers."""
        picked = self.picked
        nothing = torch.zeros((0, 4))
        box = as_boxes(nothing if picked is None else picked.box)
        refined = as_boxes(nothing if picked is None else picked.refined_box)
        name = distinct_names(self.trace.class_names)[self.label]
        color = class_colors(len(self.trace.class_names))[self.label]
        self.draw(
            self._bins(picked),
            PointLayer(
                "RoIAlign samples",
                nothing[:, :2] if picked is None else picked.points,
                groups=[Group("RoIAlign samples", YELLOW)],
                radius=1.3,
                pickable=False,
            ),
            ArrowLayer(
                "refinement", box, refined, groups=[Group("refinement", ORANGE)], pickable=False
            ),
            BoxLayer(
                "refined box",
                refined,
                groups=[Group("refined box", color, "dashed")],
                labels=[f"as {name}"] * len(refined),
                width=2.5,
                pickable=False,
            ),
            selected=None if self.proposal is None else ("proposals", self.proposal),
        )
        self._show_bars(picked)
        self._show_numbers(picked)

    def _bins(self, picked: PickedProposal | None) -> GridLayer:
        """The 7×7 bins. RoIAlign reads half a pixel of the feature map off: so are they drawn."""
        look = [Group("bins", SKY)]
        if picked is None:
            return GridLayer("RoI bins", (1, 1), (0, 0), groups=look, origin=(-9.0, -9.0))
        rows, columns = self.trace.model.roi_heads.box_roi_pool.output_size
        x1, y1, x2, y2 = picked.box.tolist()
        pixel = 1 / picked.scale
        stride = (max(x2 - x1, pixel) / columns, max(y2 - y1, pixel) / rows)
        origin = (x1 + 0.5 * pixel, y1 + 0.5 * pixel)
        return GridLayer("RoI bins", stride, (rows, columns), groups=look, origin=origin)

    def _show_bars(self, picked: PickedProposal | None) -> None:
        if picked is None:
            self.bars.show([], [], [], None)
            return
        top = picked.probs.argsort(descending=True, stable=True)[:BARS].tolist()
        if self.label not in top:
            top[-1] = self.label
        names = distinct_names(self.trace.class_names)
        colors = class_colors(len(names))
        self.bars.show(
            [names[i] for i in top],
            picked.probs[top].tolist(),
            [colors[i] for i in top],
            top.index(self.label),
        )

    def _show_numbers(self, picked: PickedProposal | None) -> None:
        if picked is None:
            self.numbers.show([("click a box on the photo", "")])
            return
        width, height = (picked.box[2:] - picked.box[:2]).tolist()
        rows, columns = picked.samples
        dx, dy, dw, dh = picked.delta.tolist()
        overlap = float(box_iou(picked.box[None], picked.refined_box[None]))
        self.numbers.show(
            [
                ("proposal", f"{self.proposal}"),
                ("objectness", f"{float(self.trace.proposals.scores[self.proposal]):.3f}"),
                ("size, network pixels", f"{width:.1f} × {height:.1f}"),
                ("feature map", map_names(self.trace)[picked.level]),
                ("size there", f"{width * picked.scale:.1f} × {height * picked.scale:.1f}"),
                ("RoIAlign samples", f"{columns} × {rows}"),
                ("dx, dy", f"{dx:+.2f}, {dy:+.2f}"),
                ("dw, dh", f"{dw:+.2f}, {dh:+.2f}"),
                ("IoU before and after", f"{overlap:.2f}"),
            ]
        )

    def _side_pictures(self) -> list[Image.Image]:
        bars = [self.bars.picture()] if self.bars.rows else []
        return [*bars, *super()._side_pictures()]


def _scales(trace: Trace) -> tuple[float, ...]:
    return roi_scales(trace.model, trace.features, trace.image_size)


def map_names(trace: Trace) -> list[str]:
    """What to call the maps that RoIs are pooled from: the finest is P2, as in the FPN paper."""
    return [
        f"P{level + 2}, stride {round(1 / scale)}" for level, scale in enumerate(_scales(trace))
    ]


def roi_samples(trace: Trace, box: Tensor, scale: float) -> tuple[int, int]:
    """How many points RoIAlign reads for one RoI: rows and columns.

    A sampling ratio of 0 or less means as many as a bin has feature pixels, rounded up.
    """
    pool = trace.model.roi_heads.box_roi_pool
    rows, columns = pool.output_size
    if pool.sampling_ratio > 0:
        return rows * pool.sampling_ratio, columns * pool.sampling_ratio
    x1, y1, x2, y2 = (box * scale).tolist()
    height, width = max(y2 - y1, 1.0), max(x2 - x1, 1.0)
    return rows * math.ceil(height / rows), columns * math.ceil(width / columns)


class Bars(widgets.HTML):
    """Probabilities as bars. Names are text, whatever they contain; the height never changes."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, str]] = []
        self.marked: int | None = None
        super().__init__(layout=widgets.Layout(width="auto", margin="0 0 10px 0"))
        self.show([], [], [], None)

    def show(
        self,
        names: Sequence[str],
        values: Sequence[float],
        colors: Sequence[str],
        marked: int | None,
    ) -> None:
        """Replaces the bars; `marked` is the row to emphasize."""
        self.rows, self.marked = list(zip(names, values, colors, strict=True)), marked
        bars = "".join(self._bar(row) for row in range(len(self.rows)))
        self.value = (
            '<div style="font-size: 12px; line-height: 20px; color: var(--jp-ui-font-color1, '
            'inherit); font-variant-numeric: tabular-nums;" role="img" '
            f'aria-label="{html.escape(self._spoken())}">'
            '<div style="font-weight: 600; padding: 0 6px;">Class probabilities</div>'
            f'<div style="height: {20 * BARS}px;">{bars}</div></div>'
        )

    def _bar(self, row: int) -> str:
        name, value, color = self.rows[row]
        text = html.escape(name)
        weight = 700 if row == self.marked else 400
        return (
            '<div style="display: grid; grid-template-columns: 104px minmax(0, 1fr) 46px; '
            f'gap: 6px; padding: 0 6px; font-weight: {weight};">'
            '<span style="overflow: hidden; text-overflow: ellipsis; white-space: nowrap;" '
            f'title="{text}">{text}</span>'
            '<span style="align-self: center; height: 12px; border-radius: 2px; '
            'background: var(--jp-layout-color2, rgba(128, 128, 128, .18));">'
            f'<span style="display: block; height: 12px; width: {100 * value:.2f}%; '
            f'min-width: 1px; border-radius: 2px; background: {color};"></span></span>'
            f'<span style="text-align: right;">{value:.3f}</span></div>'
        )

    def _spoken(self) -> str:
        return ", ".join(f"{name} {value:.2f}" for name, value, _ in self.rows) or "nothing picked"

    def picture(self, width: int = 270) -> Image.Image:
        """The bars for the PNG."""
        image = Image.new("RGB", (width, 18 * (len(self.rows) + 1) + 4), PAPER)
        pen = ImageDraw.Draw(image)
        font = ImageFont.load_default(12)
        heading = ImageFont.load_default(13)
        pen.text((0, 9), "Class probabilities", "#000000", heading, anchor="lm")
        left, right = 100, width - 44
        for line, (name, value, color) in enumerate(self.rows, start=1):
            y = 18 * line + 9
            while font.getlength(name) > left - 6:
                name = name[:-1]
            pen.text((0, y), name, INK, font, anchor="lm")
            pen.rectangle((left, y - 5, right, y + 5), "#EEEEEE")
            pen.rectangle((left, y - 5, left + value * (right - left), y + 5), color)
            pen.text((width, y), f"{value:.3f}", INK, font, anchor="rm")
        return image
