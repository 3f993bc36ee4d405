"""What counts: how well each object is found, from 0 to 1."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mrcnn_steps.detection import Detections
from mrcnn_steps.masks import patches
from mrcnn_steps.matching import NOTHING, overlaps


class Best(NamedTuple):
    """The best detection of each object.

    Attributes:
        score: [G] its score; 0 where there is none.
        row: [G] its row; -1 where there is none.
    """

    score: Float[Tensor, "G"]
    row: Int[Tensor, "G"]


def best_detections(
    found: Detections, boxes: Float[Tensor, "G 4"], labels: Int[Tensor, "G"], iou: float
) -> Best:
    """Find for every object the detection of its class, and on it, that has the best score.

    One detection may be the best of several objects: what is asked is whether the model sees an
    object, not how it fares in an evaluation.

    Args:
        found: the detections.
        boxes: [G, 4] the objects, in pixels of the network's input.
        labels: [G] their classes, as the model counts them.
        iou: from which IoU on a box is an object's.

    Returns:
        The score and the row of each.
    """
    on_it = overlaps(boxes, found.boxes) >= iou
    on_it &= labels[:, None] == found.labels
    if not len(found):
        return Best(boxes.new_zeros(len(boxes)), torch.full_like(labels, NOTHING))
    scores = found.scores.expand_as(on_it).where(on_it, 0.0)
    best, row = scores.max(dim=1)
    return Best(best, row.where(best > 0, NOTHING))


def scores_by_label(
    found: Detections, boxes: Float[Tensor, "G 4"], classes: int, iou: float
) -> Float[Tensor, "G C"]:
    """Give the best score of every class for every object: where it lies, whatever it is called.

    Args:
        found: the detections.
        boxes: [G, 4] the objects, in pixels of the network's input.
        classes: of the model, background included.
        iou: from which IoU on a box is an object's.

    Returns:
        [G, C].
    """
    on_it = overlaps(boxes, found.boxes) >= iou
    scores = found.scores.expand_as(on_it).where(on_it, 0.0)
    labels = found.labels.expand_as(on_it)
    table = scores.new_zeros((len(boxes), classes))
    return table.scatter_reduce(1, labels, scores, "amax")


def mask_ious(
    probs: Float[Tensor, "D m m"],
    boxes: Float[Tensor, "D 4"],
    masks: list[Tensor],
    threshold: float,
) -> list[float]:
    """Compare detected masks with those of their objects, in pixels of the photo.

    Args:
        probs: [D, m, m] the mask of each detection's class, 0…1.
        boxes: [D, 4] the detections, in pixels of the photo.
        masks: of the object that each detection is the best of, [H, W] each.
        threshold: probability from which on a pixel is the object's.

    Returns:
        The IoU of each.
    """
    if not masks:
        return []
    height, width = masks[0].shape
    found = []
    for patch, mask in zip(patches(probs, boxes, (height, width), threshold), masks, strict=True):
        shared = int((patch.values & mask[patch.rows, patch.columns]).sum())
        whole = int(patch.values.sum()) + int(mask.sum()) - shared
        found.append(shared / whole if whole else 0.0)
    return found
