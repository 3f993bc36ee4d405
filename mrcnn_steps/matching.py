"""Matching: which annotated object a detection has found. One rule, COCO's.

Two other questions look alike and have names of their own: which object a box overlaps most
(`most_overlapped`), and which objects some proposal reaches (`recalled`). Which object an anchor or
a proposal is *trained* on is a fourth, that of stage 3 (`mrcnn_steps.rpn_targets.match`).
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mrcnn_steps.boxes import check_boxes
from mrcnn_steps.checks import INDEX, check_floats, check_no_nan, check_number, check_tensor
from mrcnn_steps.tracing import Trace

NOTHING = -1


@dataclass(frozen=True, eq=False)
class Matches:
    """Which detection found which object.

    Attributes:
        object_of: [D] the object that each detection found; -1 if none.
        detection_of: [G] the detection that found each object; -1 if none.
        ignored: [D] detections that are neither right nor wrong.
    """

    object_of: Int[Tensor, "D"]
    detection_of: Int[Tensor, "G"]
    ignored: Bool[Tensor, "D"]


class Overlap(NamedTuple):
    """What boxes overlap most.

    Attributes:
        iou: [N] IoU with it, 0…1.
        row: [N] its row; -1 where there is nothing to overlap.
    """

    iou: Float[Tensor, "N"]
    row: Int[Tensor, "N"]


def overlaps(
    boxes: Float[Tensor, "N 4"], objects: Float[Tensor, "G 4"], crowd: bool = False
) -> Float[Tensor, "N G"]:
    """Compute IoU as pycocotools does: in double precision, 0 for boxes that only touch.

    Args:
        boxes: [N, 4] in pixels.
        objects: [G, 4] in the same pixels.
        crowd: whether the objects are crowds; then intersection / area of the box.

    Returns:
        [N, G] in double precision, 0…1.

    Raises:
        ValueError: see `check_boxes`.
    """
    check_boxes(boxes, "boxes")
    check_boxes(objects, "objects")
    here, there = boxes.double()[:, None], objects.double()
    corner = torch.maximum(here[..., :2], there[..., :2])
    sides = torch.minimum(here[..., 2:], there[..., 2:]) - corner
    shared = sides[..., 0] * sides[..., 1]
    areas = [
        (part[..., 2] - part[..., 0]) * (part[..., 3] - part[..., 1]) for part in (here, there)
    ]
    whole = areas[0].expand_as(shared) if crowd else areas[0] + areas[1] - shared
    return torch.where((sides > 0).all(dim=-1), shared / whole, 0.0)


def match(
    boxes: Float[Tensor, "D 4"],
    labels: Int[Tensor, "D"],
    scores: Float[Tensor, "D"],
    objects: Float[Tensor, "G 4"],
    object_labels: Int[Tensor, "G"],
    crowd_boxes: Float[Tensor, "K 4"],
    crowd_labels: Int[Tensor, "K"],
    iou: float = 0.5,
    score_threshold: float = -math.inf,
    known_labels: Collection[int] | None = None,
) -> Matches:
    """Match detections with objects as COCO's evaluation does, at one IoU threshold.

    In falling score, each detection takes the object of its class, not yet taken, that it overlaps
    most, if the IoU reaches the threshold; ties go to the later object. A detection without an
    object that lies on a crowd of its class is ignored. As `COCOeval.evaluateImg` in pycocotools.

    Args:
        boxes: [D, 4] the detections, in pixels.
        labels: [D] their classes.
        scores: [D] their scores; of equal ones the first comes first.
        objects: [G, 4] the annotated objects, no crowds, in the same pixels.
        object_labels: [G] their classes.
        crowd_boxes: [K, 4] boxes around crowds.
        crowd_labels: [K] their classes.
        iou: threshold, reached or exceeded; for a crowd, intersection / area of the detection.
        score_threshold: score that a detection has to exceed to take part.
        known_labels: the classes of which every object is annotated; of other classes, a detection
            without an object is ignored: it may have found one that is not annotated (as in LVIS,
            Gupta et al. 2019). All without.

    Returns:
        The matches, on the device of the boxes.

    Raises:
        ValueError: boxes are not finite, or shapes do not fit together.
    """
    iou_of_objects = overlaps(boxes, objects)
    iou_of_crowds = overlaps(boxes, crowd_boxes, crowd=True)
    for name, rows, kinds in (
        ("labels", boxes, labels),
        ("object_labels", objects, object_labels),
        ("crowd_labels", crowd_boxes, crowd_labels),
    ):
        check_tensor(kinds, name, INDEX, (len(rows),))
    check_floats(scores, "scores", (len(boxes),))
    check_no_nan(scores, "scores")
    check_number(iou, "iou")
    check_number(score_threshold, "score_threshold")
    least = min(iou, 1 - 1e-10)
    reach = _of_class(iou_of_objects, labels, object_labels)
    reach_crowd = _of_class(iou_of_crowds, labels, crowd_labels)
    object_of = np.full(len(boxes), NOTHING)
    detection_of = np.full(len(objects), NOTHING)
    ignored = np.zeros(len(boxes), dtype=bool)
    unsure = np.zeros(len(boxes), dtype=bool)
    if known_labels is not None:
        unsure = ~np.isin(labels.cpu().numpy(), list(known_labels))
    order = scores.argsort(descending=True, stable=True)
    for row in order[scores[order] > score_threshold].tolist():
        best = _last_best(reach[row])
        if best is not None and reach[row, best] >= least:
            object_of[row], detection_of[best] = best, row
            reach[:, best] = NOTHING
        else:
            ignored[row] = unsure[row] or (reach_crowd[row] >= least).any()
    return Matches(
        *(torch.from_numpy(part).to(boxes.device) for part in (object_of, detection_of, ignored))
    )


def _of_class(iou: Tensor, labels: Tensor, object_labels: Tensor) -> np.ndarray:
    """IoU of boxes with the objects of their own class; below any threshold with others."""
    return iou.where(labels[:, None] == object_labels, NOTHING).cpu().numpy()


def _last_best(values: np.ndarray) -> int | None:
    """Give the last place of the largest value."""
    return len(values) - 1 - int(values[::-1].argmax()) if len(values) else None


def match_trace(trace: Trace, iou: float = 0.5, score_threshold: float | None = None) -> Matches:
    """Match the detections of a trace with its annotated objects; see `match`.

    Boxes are compared in pixels of the network's input, cut at the photo's edge; see `in_photo`.

    Args:
        trace: of a photo; without annotations nothing is matched.
        iou: see `match`.
        score_threshold: score that a detection has to exceed to take part; all do without.

    Returns:
        The matches: rows of `trace.detections` and of `trace.ground_truth`.
    """
    found, truth = trace.detections, trace.ground_truth
    annotated = (
        (found.boxes[:0], found.labels[:0], found.boxes[:0], found.labels[:0])
        if truth is None
        else (truth.boxes, truth.labels, truth.crowd_boxes, truth.crowd_labels)
    )
    return match(
        in_photo(trace, found.boxes),
        found.labels,
        found.scores,
        *annotated,
        iou,
        -math.inf if score_threshold is None else score_threshold,
    )


def in_photo(trace: Trace, boxes: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
    """Cut boxes at the photo's edge, where a model cuts what it returns.

    A letterboxed network clips boxes to its square, and then to the photo when it maps them back
    (the notes clip detections to the window, too). An evaluation sees them cut, and so does
    whatever asks here if a detection has found an object. Other networks clip to the photo in the
    first place: nothing is left to cut.

    Args:
        trace: of the photo.
        boxes: [N, 4] in pixels of the network's input.

    Returns:
        [N, 4] in the same pixels; a box on the padding has no area.
    """
    x1, y1, x2, y2 = trace.letterbox.window
    cut = (boxes[:, 0::2].clamp(x1, x2), boxes[:, 1::2].clamp(y1, y2))
    return torch.stack(cut, dim=2).flatten(1)


def most_overlapped(boxes: Float[Tensor, "N 4"], objects: Float[Tensor, "G 4"]) -> Overlap:
    """Find what each box overlaps most: an object of any class, taken by another box or not.

    Args:
        boxes: [N, 4] in pixels.
        objects: [G, 4] in the same pixels.

    Returns:
        IoU and row of the object, the first of those that tie.

    Raises:
        ValueError: see `check_boxes`.
    """
    iou = overlaps(boxes, objects)
    if not len(objects):
        return Overlap(iou.new_zeros(len(boxes)), iou.new_full((len(boxes),), NOTHING).long())
    return Overlap(*iou.max(dim=1))


def recalled(
    proposals: Float[Tensor, "R 4"], objects: Float[Tensor, "G 4"], iou: float = 0.5
) -> Bool[Tensor, "G"]:
    """Tell which objects some proposal reaches: the rule of proposal recall.

    One proposal may reach several objects, unlike in a one-to-one matching.

    Args:
        proposals: [R, 4] in pixels.
        objects: [G, 4] in the same pixels.
        iou: threshold, reached or exceeded.

    Returns:
        [G] whether a proposal overlaps the object by that much.

    Raises:
        ValueError: see `check_boxes`.
    """
    return most_overlapped(objects, proposals).iou >= iou
