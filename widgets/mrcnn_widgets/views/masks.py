"""Stage 7 as it is shown: the soft masks, the pasted one, and the mask of the object."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from mrcnn_steps.masks import class_probs, mask_targets, paste
from mrcnn_steps.matching import match_trace, most_overlapped
from mrcnn_steps.palette import BLUE, YELLOW, palette
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.classes import distinct_names
from mrcnn_widgets.viewer.layers import BoxLayer, Category, Group, Layer, MaskLayer
from mrcnn_widgets.views.objects import as_boxes, object_labels, objects_of

LIKELY = 0.5
MOST_LABELED = 40


@dataclass(frozen=True, eq=False)
class Truth:
    """The object that a detection found.

    Attributes:
        object: row of `trace.ground_truth`.
        mask: [H, W] its mask in the photo.
        target: [28, 28] what the mask head should say about the detection's box; None without a
            mask head.
    """

    object: int
    mask: Bool[Tensor, "H W"]
    target: Float[Tensor, "m m"] | None


def find_truth(trace: Trace, detection: int) -> Truth | None:
    """Find the object that a detection is matched with.

    Args:
        trace: of a photo.
        detection: row of `trace.detections`.

    Returns:
        The object and what it asks of the mask; None for a detection that found none.
    """
    row = int(match_trace(trace).object_of[detection])
    truth, photo = trace.ground_truth, trace.sample
    if row < 0 or truth is None or photo is None:
        return None
    roi, target = trace.detections.boxes[detection : detection + 1], None
    if trace.mask_logits is not None:
        first = torch.zeros(1, dtype=torch.int64, device=roi.device)
        size = trace.mask_logits.shape[-1]
        own = truth.masks[row : row + 1], truth.boxes[row : row + 1]
        target = mask_targets(*own, roi, first, size)[0]
    return Truth(row, photo.masks_or_rectangles()[int(truth.objects[row])].to(roi.device), target)


def soft_mask(trace: Trace, detection: int, label: int) -> Float[Tensor, "m m"] | None:
    """Take a detection's soft mask of any class.

    The detection's own class gives the very row of `trace.mask_probs`, on every processor: all
    rows are computed as there, because the sigmoid of one row alone may take another path.

    Args:
        trace: of a photo.
        detection: row of `trace.detections`.
        label: the class whose mask is meant.

    Returns:
        [m, m] in 0…1; None without a mask head.
    """
    if trace.mask_logits is None:
        return None
    labels = trace.detections.labels.clone()
    labels[detection] = label
    return class_probs(trace.mask_logits, labels)[detection]


def pasted(
    trace: Trace,
    detection: int,
    soft: Float[Tensor, "m m"],
    threshold: float = 0.5,
    exact: bool = False,
) -> Bool[Tensor, "H W"]:
    """Put a detection's soft mask into the photo; see `mrcnn_steps.masks.paste`."""
    box = trace.result["boxes"][detection : detection + 1]
    height, width = trace.image.shape[1:]
    return paste(soft[None], box, (height, width), threshold, exact)[0]


def mask_iou(one: Bool[Tensor, "H W"], other: Bool[Tensor, "H W"]) -> float:
    """Count the pixels that two masks share, as a part of those that either has; 0 for none."""
    both = torch.count_nonzero(one & other)
    either = torch.count_nonzero(one | other)
    return float(both / either.clamp(min=1))


def layers(
    trace: Trace,
    detection: int | None = None,
    label: int | None = None,
    threshold: float = 0.5,
    exact: bool = False,
) -> list[Layer]:
    """Show stage 7.

    Args:
        trace: of a photo.
        detection: the picked detection, if any.
        label: the class of its mask; its own without.
        threshold: see `mrcnn_steps.masks.paste`.
        exact: see there.

    Returns:
        All detections and their soft masks, and of the picked one the pasted mask and the
        object's; in pixels of the photo.
    """
    truth = mask = None
    if detection is not None:
        own = int(trace.detections.labels[detection])
        soft = soft_mask(trace, detection, own if label is None else label)
        truth = find_truth(trace, detection)
        mask = None if soft is None else pasted(trace, detection, soft, threshold, exact)
    return [
        objects_of(trace, in_photo=True, visible=False),
        detections(trace),
        *context(trace, detection, truth),
        pasted_layer(trace, detection, mask),
    ]


def colors(trace: Trace) -> list[str]:
    """Give each detection a color: masks tell instances of one class apart."""
    return palette(len(trace.detections))


def detections(trace: Trace) -> BoxLayer:
    """Show the detections in the photo: the layer "detections"."""
    names = distinct_names(trace.class_names)
    labels, scores = trace.result["labels"].tolist(), trace.result["scores"]
    texts = [f"{names[n]} {s:.2f}" for n, s in zip(labels, scores.tolist(), strict=True)]
    return BoxLayer(
        "detections",
        as_boxes(trace.result["boxes"]),
        groups=[Group("detections", BLUE)],
        colors=colors(trace),
        labels=texts if (scores >= LIKELY).sum() <= MOST_LABELED else None,
        fields={"class": Category(labels, names), "score": scores},
        threshold="score",
    )


def context(trace: Trace, detection: int | None, truth: Truth | None) -> list[Layer]:
    """Show what lies around the picked mask.

    Args:
        trace: of a photo.
        detection: the picked detection, whose soft mask is left out.
        truth: the object that it found.

    Returns:
        The layers "soft masks" of the other detections, stretched over their boxes, and "mask of
        the object".
    """
    probs = trace.mask_probs
    grids = [] if probs is None else list(probs.cpu())
    if grids and detection is not None:
        grids[detection] = torch.zeros_like(grids[detection])
    count = len(grids)
    return [
        MaskLayer(
            "soft masks",
            grids,
            as_boxes(trace.result["boxes"])[:count],
            groups=[Group("soft masks", BLUE)],
            colors=colors(trace)[:count],
            fields={"score": trace.result["scores"][:count]},
            threshold="score",
            opacity=0.5,
        ),
        object_layer(truth),
    ]


def object_layer(truth: Truth | None) -> MaskLayer:
    """Show the mask of the object that was found: the layer "mask of the object"."""
    return MaskLayer(
        "mask of the object",
        [] if truth is None else [truth.mask],
        groups=[Group("mask of the object", YELLOW)],
        opacity=0.0,
        pickable=False,
    )


def pasted_layer(
    trace: Trace, detection: int | None, mask: Bool[Tensor, "H W"] | None
) -> MaskLayer:
    """Show the picked detection's mask in pixels: the layer "pasted mask"."""
    color = BLUE if detection is None else colors(trace)[detection]
    return MaskLayer(
        "pasted mask",
        [] if mask is None else [mask],
        groups=[Group("pasted mask", color)],
        opacity=0.45,
        pickable=False,
    )


def grid_picture(
    grid: Float[Tensor, "m m"] | None, threshold: float, color: str, side: int
) -> tuple[UInt8[Tensor, "h w 3"], MaskLayer]:
    """Show a small mask by itself, with the outline of what is above a threshold.

    Args:
        grid: [m, m] in 0…1, or None.
        threshold: value from which on a sample is inside.
        color: of the outline, `#rrggbb`.
        side: of the black square that stands for a missing grid, in samples.

    Returns:
        A gray picture, and the outline.
    """
    pixels = torch.zeros((side, side), dtype=torch.uint8)
    if grid is not None:
        pixels = (grid.cpu() * 255).round().to(torch.uint8)
    height, width = pixels.shape
    inside = MaskLayer(
        f"≥ {threshold:.2f}",
        [] if grid is None else [grid >= threshold],
        None if grid is None else [[0, 0, width, height]],
        groups=[Group("above", color)],
        opacity=0.0,
        pickable=False,
    )
    return pixels[:, :, None].expand(-1, -1, 3), inside


def facts(
    trace: Trace,
    detection: int | None,
    truth: Truth | None = None,
    soft: Float[Tensor, "m m"] | None = None,
    mask: Bool[Tensor, "H W"] | None = None,
    threshold: float = 0.5,
) -> list[tuple[str, str]]:
    """Put the picked detection and its mask into numbers.

    Args:
        trace: of a photo.
        detection: row of `trace.detections`, or None.
        truth: the object that it found.
        soft: [m, m] its soft mask.
        mask: [H, W] its mask in the photo.
        threshold: value from which on a sample of the soft mask is inside.

    Returns:
        What a number is, and the number.
    """
    if detection is None:
        return [("click a box on the photo" if len(trace.detections) else "no detection", "")]
    names = distinct_names(trace.class_names)
    pixels = "none: this model has no mask head"
    if mask is not None:
        pixels = f"{int(torch.count_nonzero(mask)):,} pixels"
    lines = [
        ("detection", f"{detection}"),
        ("class", names[int(trace.result["labels"][detection])]),
        ("score", f"{float(trace.result['scores'][detection]):.3f}"),
        ("mask", pixels),
        *_object_facts(trace, detection, truth),
    ]
    if truth is not None and truth.target is not None and soft is not None and mask is not None:
        wrong = (soft >= threshold) ^ (truth.target >= 0.5)
        lines.append(("IoU of the masks", f"{mask_iou(mask, truth.mask):.3f}"))
        lines.append(("28×28 samples that differ", f"{float(wrong.float().mean()):.1%}"))
    return lines


def _object_facts(trace: Trace, detection: int, truth: Truth | None) -> Sequence[tuple[str, str]]:
    """Give the object that a detection found, or else the one that it overlaps most."""
    annotated = trace.ground_truth
    if annotated is None:
        return [("object found", "none: no annotations")]
    box = trace.detections.boxes[detection : detection + 1]
    labels = object_labels([trace.class_names[label] for label in annotated.labels.tolist()])
    if truth is not None:
        [iou] = most_overlapped(box, annotated.boxes[truth.object : truth.object + 1]).iou.tolist()
        return [("object found", labels[truth.object]), ("IoU of the boxes", f"{iou:.3f}")]
    [iou], [nearest] = (part.tolist() for part in most_overlapped(box, annotated.boxes))
    if iou <= 0:
        return [("object found", "none, and it overlaps none")]
    return [
        ("object found", "none"),
        ("most overlapped", labels[nearest]),
        ("IoU of the boxes", f"{iou:.3f}"),
    ]
