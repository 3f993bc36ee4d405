"""Explore stage 7, masks: from a 28×28 soft mask to pixels of the photo, and its ground truth.

explorer = MaskExplorer("voc_people")
explorer.detection = 2               # or click a box
explorer.threshold = 0.3
explorer.mask, explorer.iou, explorer.target
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
import traitlets as t
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.ops import box_iou

from mrcnn_steps.masks import class_probs, mask_targets, paste
from mrcnn_steps.palette import BLUE, ORANGE, PAPER, YELLOW, palette
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.classes import distinct_names
from mrcnn_widgets.explorer import Explorer, check_row
from mrcnn_widgets.readout import Readout
from mrcnn_widgets.scene import Source, as_trace
from mrcnn_widgets.viewer import still
from mrcnn_widgets.viewer.canvas import BoxLayer, Canvas, Category, Group, MaskLayer
from mrcnn_widgets.views.objects import as_boxes, objects_layer

# What stands for a grid that there is not.
EMPTY = 28
LIKELY = 0.5
MOST_LABELED = 40
PASTES = {"torchvision": False, "exact": True}


@dataclass(frozen=True, eq=False)
class Truth:
    """The object that a detection overlaps most.

    Attributes:
        object: its row in `trace.ground_truth`.
        box_iou: IoU of its box with the detection.
        name: its class.
        mask: bool [H, W], its mask in the photo.
        target: float [28, 28], what the mask head should say about the detection's box; None
            without a mask head.
    """

    object: int
    box_iou: float
    name: str
    mask: Tensor
    target: Tensor | None


def find_truth(trace: Trace, detection: int) -> Truth | None:
    """The object whose box overlaps a detection most; None if none does."""
    truth, photo = trace.ground_truth, trace.sample
    if truth is None or photo is None or not len(truth.boxes):
        return None
    roi = trace.detections.boxes[detection : detection + 1]
    overlap = box_iou(roi, truth.boxes)[0]
    best = int(overlap.argmax())
    if overlap[best] == 0:
        return None
    target = None
    if trace.mask_logits is not None:
        first = torch.zeros(1, dtype=torch.int64, device=roi.device)
        masks, boxes = truth.masks[best : best + 1], truth.boxes[best : best + 1]
        target = mask_targets(masks, boxes, roi, first, trace.mask_logits.shape[-1])[0]
    return Truth(
        object=best,
        box_iou=float(overlap[best]),
        name=trace.class_names[int(truth.labels[best])],
        mask=photo.masks_or_rectangles()[int(truth.objects[best])].to(roi.device),
        target=target,
    )


def soft_mask(mask_logits: Tensor, labels: Tensor, detection: int, label: int) -> Tensor:
    """Take a detection's soft mask of any class.

    The detection's own class gives the very row of `trace.mask_probs`, on every processor: all
    rows are computed as there, because the sigmoid of one row alone may take another path.

    Args:
        mask_logits: float [D, C, h, w], as in a trace.
        labels: int [D], the detected classes.
        detection: a row.
        label: the class whose mask is meant.

    Returns:
        float [h, w] in 0…1.
    """
    chosen = labels.clone()
    chosen[detection] = label
    return class_probs(mask_logits, chosen)[detection]


class MaskExplorer(Explorer):
    """The soft mask of the picked detection, how it becomes pixels, and what it should have been.

    Everything is in pixels of the photo, as the model's result is.

    Args:
        source: a trace, a sample, or the name of a bundled photo.
        **settings: initial values of the traits.

    Traits:
        detection: the picked detection, or None.
        label: the class whose mask is shown; picking a detection sets it to the detected class.
        threshold: probability from which on a pixel belongs to the object.
        exact: paste into exactly the box, or with torchvision's arithmetic; see `paste`.

    What is shown, of the picked detection (None where there is none):
        soft: float [28, 28], the mask of class `label`.
        mask: bool [H, W], the soft mask pasted into the photo.
        truth: the object that it overlaps most, a `Truth`.
        iou: IoU of `mask` with that object's mask, in pixels of the photo.
    """

    detection = t.Int(None, allow_none=True, help="The picked detection.")
    label = t.Int(1, min=0, help="The class whose mask is shown: there is one for every class.")
    threshold = t.Float(
        0.5, min=0.01, max=1.0, help="Probability from which on a pixel belongs to the object."
    )
    exact = t.Bool(
        False,
        help="torchvision's paste shifts and grows small masks; the exact one fills the box.",
    )

    def __init__(self, source: Source, **settings: Any) -> None:
        self.trace = as_trace(source)
        photo = self.trace.image
        height, width = photo.shape[1:]
        canvas = Canvas(photo, title=f"Masks · pixels of the photo, {width} × {height}")
        if (self.trace.result["scores"] >= LIKELY).any():
            # A hundred masks at once hide the photo; the legend's sliders bring the rest back.
            canvas.thresholds = {
                layer: {"score": [LIKELY, None]} for layer in ("detections", "soft masks")
            }
        super().__init__(canvas, **settings)
        grid = partial(Canvas, np.zeros((EMPTY, EMPTY, 3), np.uint8), max_height=140)
        self.soft_view, self.target_view = grid(title="soft mask"), grid(title="mask target")
        self.numbers = Readout("Picked detection", lines=10)
        names = distinct_names(self.trace.class_names)
        self.arrange(
            [
                self.control(
                    "label",
                    "mask of class",
                    widgets.Dropdown,
                    options=[(name, label) for label, name in enumerate(names)],
                ),
                self.control("threshold", "threshold"),
                self.control(
                    "exact", "paste", widgets.Dropdown, options=list(PASTES.items()), width="170px"
                ),
            ],
            [self._grids(), self.numbers],
        )
        self._draw_detections()
        if self.detection is None and len(self.trace.detections):
            self.detection = 0
        if "label" not in settings:
            self._choose_label()
        self._draw_context()
        self._draw_mask()
        self.observe(self._on_detection, "detection")
        self.observe(self._draw_mask, ["label", "threshold", "exact"])
        self.canvas.observe(self._on_pick, "selected")

    def show(self, trace: Trace) -> None:
        """Shows another trace of a model with the same classes, with the settings as they are."""
        self.trace = trace
        with self.canvas.hold_sync():
            self._draw_detections(photo=trace.image)
            first = 0 if len(trace.detections) else None
            if self.detection == first:
                self._on_detection()
            self.detection = first

    @t.validate("detection")
    def _check_detection(self, change: Any) -> int | None:
        return check_row(change, len(self.trace.detections))

    @t.validate("label")
    def _check_label(self, change: Any) -> int | None:
        return check_row(change, len(self.trace.class_names))

    def _on_pick(self, change: Any) -> None:
        if change.new is None:
            self.detection = None
        elif change.new[0] in ("detections", "soft masks"):
            self.detection = change.new[1]

    def _on_detection(self, change: Any = None) -> None:
        with self.canvas.hold_sync():
            self._draw_context()
            before = self.label
            self._choose_label()
            if self.label == before:
                self._draw_mask()

    def _choose_label(self) -> None:
        if self.detection is not None:
            self.label = int(self.trace.detections.labels[self.detection])

    def _paste(self) -> None:
        """The picked detection's mask with the settings as they are."""
        self.soft: Tensor | None = None
        self.mask: Tensor | None = None
        self.iou: float | None = None
        trace, row = self.trace, self.detection
        if row is None or trace.mask_logits is None:
            return
        soft = soft_mask(trace.mask_logits, trace.detections.labels, row, self.label)
        box = trace.result["boxes"][row : row + 1]
        height, width = trace.image.shape[1:]
        mask = paste(soft[None], box, (height, width), self.threshold, self.exact)[0]
        self.soft, self.mask = soft, mask
        if self.truth is not None:
            both = torch.count_nonzero(mask & self.truth.mask)
            either = torch.count_nonzero(mask | self.truth.mask)
            self.iou = float(both / either.clamp(min=1))

    def _draw_detections(self, **changes: Any) -> None:
        trace = self.trace
        names = distinct_names(trace.class_names)
        labels, scores = trace.result["labels"].tolist(), trace.result["scores"]
        truth, nothing = trace.ground_truth, torch.zeros((0, 4))
        objects = objects_layer(
            trace.letterbox.undo_boxes(nothing if truth is None else truth.boxes),
            [] if truth is None else [names[label] for label in truth.labels.tolist()],
            visible=False,
        )
        self._boxes = as_boxes(trace.result["boxes"])
        # A color for each detection: masks tell instances of one class apart.
        self._colors = palette(len(labels))
        texts = [f"{names[n]} {s:.2f}" for n, s in zip(labels, scores.tolist(), strict=True)]
        detections = BoxLayer(
            "detections",
            self._boxes,
            groups=[Group("detections", BLUE)],
            colors=self._colors,
            labels=texts if (scores >= LIKELY).sum() <= MOST_LABELED else None,
            fields={"class": Category(labels, names), "score": scores},
            threshold="score",
        )
        self.draw(objects, detections, **changes)

    def _draw_mask(self, change: Any = None) -> None:
        self._paste()
        color = BLUE if self.detection is None else self._colors[self.detection]
        self.draw(
            MaskLayer(
                "pasted mask",
                [] if self.mask is None else [self.mask],
                groups=[Group("pasted mask", color)],
                opacity=0.45,
                pickable=False,
            ),
            selected=None if self.detection is None else ("detections", self.detection),
        )
        self._draw_grids(color)
        self._show_numbers()

    def _draw_context(self) -> None:
        """The object's own mask; and the soft masks of the others, stretched over their boxes."""
        self.truth = None if self.detection is None else find_truth(self.trace, self.detection)
        probs = self.trace.mask_probs
        grids = [] if probs is None else list(probs.cpu())
        if grids and self.detection is not None:
            grids[self.detection] = torch.zeros_like(grids[self.detection])
        boxes = self._boxes[: len(grids)]
        layer = MaskLayer(
            "soft masks",
            grids,
            boxes,
            groups=[Group("soft masks", BLUE)],
            colors=self._colors[: len(grids)],
            fields={"score": self.trace.result["scores"][: len(grids)]},
            threshold="score",
            opacity=0.5,
        )
        annotated = MaskLayer(
            "mask of the object",
            [] if self.truth is None else [self.truth.mask],
            groups=[Group("mask of the object", YELLOW)],
            opacity=0.0,
            pickable=False,
        )
        self.draw(layer, annotated)

    def _grids(self) -> widgets.HBox:
        for view in (self.soft_view, self.target_view):
            view.layout = widgets.Layout(width="140px")
        return widgets.HBox(
            [self.soft_view, self.target_view], layout=widgets.Layout(grid_gap="8px")
        )

    def _views(self) -> list[tuple[Canvas, Tensor | None, float]]:
        """Each small view, its grid, and from which value on a sample is inside."""
        return [
            (self.soft_view, self.soft, self.threshold),
            (self.target_view, None if self.truth is None else self.truth.target, 0.5),
        ]

    def _draw_grids(self, color: str) -> None:
        """Both 28×28 pictures, with the outline of what is above the threshold."""
        for view, grid, threshold in self._views():
            pixels = np.zeros((EMPTY, EMPTY), np.uint8)
            if grid is not None:
                pixels = np.round(grid.cpu().numpy() * 255).astype(np.uint8)
            height, width = pixels.shape
            inside = MaskLayer(
                f"≥ {threshold:.2f}",
                [] if grid is None else [grid >= threshold],
                None if grid is None else [[0, 0, width, height]],
                groups=[Group("above", color if view is self.soft_view else ORANGE)],
                opacity=0.0,
                pickable=False,
            )
            view.update(photo=np.stack([pixels] * 3, axis=2), layers=[inside])

    def _show_numbers(self) -> None:
        trace, row = self.trace, self.detection
        if row is None:
            missing = "no detection" if not len(trace.detections) else "click a box on the photo"
            self.numbers.show([(missing, "")])
            return
        names, truth = distinct_names(trace.class_names), self.truth
        lines = [
            ("detection", f"{row}"),
            ("class", names[int(trace.result["labels"][row])]),
            ("score", f"{float(trace.result['scores'][row]):.3f}"),
        ]
        if self.mask is None:
            lines.append(("masks", "none: this model has no mask head"))
        else:
            lines.append(("pixels of the mask", f"{int(torch.count_nonzero(self.mask)):,}"))
        if truth is None:
            lines.append(("object", "none overlaps it"))
        else:
            lines.append(("object", f"{truth.object} {truth.name}"))
            lines.append(("IoU of the boxes", f"{truth.box_iou:.3f}"))
        if truth is not None and truth.target is not None and self.soft is not None:
            wrong = (self.soft >= self.threshold) ^ (truth.target >= 0.5)
            lines.append(("IoU of the masks", f"{self.iou:.3f}"))
            lines.append(("28×28 samples that differ", f"{float(wrong.float().mean()):.1%}"))
        self.numbers.show(lines)

    def _side_pictures(self) -> list[Image.Image]:
        if self.soft is None:
            return super()._side_pictures()
        views = [view for view, grid, _ in self._views() if grid is not None]
        page = Image.new("RGB", (270, 150), PAPER)
        pen, font = ImageDraw.Draw(page), ImageFont.load_default(12)
        for place, view in enumerate(views):
            pen.text((138 * place, 9), view.title, "#000000", font, anchor="lm")
            grid = still.picture(view.photo, view.layers, width=130)
            page.paste(grid.crop((0, 0, 130, 130)), (138 * place, 20))
        return [page, *super()._side_pictures()]
