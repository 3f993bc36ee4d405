"""The tensors of a trace under the names of the notes, and the table of them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mrcnn_steps.anchors import Anchors
from mrcnn_steps.classification import Classification
from mrcnn_steps.detection import Detections
from mrcnn_steps.ground_truth import GroundTruth
from mrcnn_steps.proposals import Proposals


@dataclass(frozen=True)
class Table:
    """Name, shape, minimum and maximum of tensors.

    Attributes:
        rows: `(name, shape, minimum, maximum)` of each; an empty tensor has no extremes.
    """

    rows: tuple[tuple[str, tuple[int, ...], float | None, float | None], ...]

    def __str__(self) -> str:
        width = max(len(name) for name, *_ in self.rows)
        return "\n".join(
            f"{name:<{width}}  shape: {shape!s:<22}"
            + ("" if low is None or high is None else f"  min: {low:>11.5f}  max: {high:>11.5f}")
            for name, shape, low, high in self.rows
        )

    def _ipython_display_(self) -> None:
        """Show nothing: `Trace.table` has printed it."""


def tabulate(tensors: dict[str, Tensor]) -> Table:
    """Measure tensors.

    Args:
        tensors: by name.

    Returns:
        A row for each, in their order.
    """
    rows = []
    for name, tensor in tensors.items():
        extremes = (None, None) if tensor.numel() == 0 else map(float, tensor.aminmax())
        rows.append((name, tuple(tensor.shape), *extremes))
    return Table(tuple(rows))


def target_tensors(truth: GroundTruth, anchors: Anchors) -> dict[str, Tensor]:
    """Collect what the network is trained on.

    Args:
        truth: of a trace.
        anchors: of the same trace.

    Returns:
        Tensors by the names of the notes.
    """
    targets = truth.rpn_targets
    return {
        "gt_boxes": truth.boxes,
        "gt_masks": truth.masks,
        "mini_masks": truth.mini_masks.mini_masks,
        "target_rpn_match": targets.labels,
        "target_rpn_bbox": targets.deltas,
        "positive_anchors": anchors.boxes[targets.labels == 1],
        "negative_anchors": anchors.boxes[targets.labels == -1],
        "neutral_anchors": anchors.boxes[targets.labels == 0],
        "refined_positive_anchors": targets.refined,
        "mask_targets": truth.mask_targets,
    }


def rpn_tensors(
    anchors: Anchors,
    objectness: Float[Tensor, "A"],
    deltas: Float[Tensor, "A 4"],
    proposals: Proposals,
) -> dict[str, Tensor]:
    """Collect what the RPN computes.

    Args:
        anchors: all A anchors.
        objectness: [A] the RPN's logits.
        deltas: [A, 4] the RPN's deltas.
        proposals: made of these.

    Returns:
        Tensors by the names of the notes, with a leading batch axis of 1, and padded with zeros,
        where the notes' network does so.
    """
    foreground = objectness.sigmoid()
    return {
        "anchors": anchors.boxes,
        "rpn_class": torch.stack((1 - foreground, foreground), dim=1)[None],
        "rpn_bbox": deltas[None],
        "pre_nms_anchors": proposals.top_anchors[None],
        "refined_anchors": proposals.refined[None],
        "refined_anchors_clipped": proposals.clipped[None],
        "post_nms_anchor_ix": proposals.rows,
        "proposals": proposals.padded()[None],
    }


def head_tensors(
    classification: Classification,
    detections: Detections,
    mask_logits: Float[Tensor, "D C m m"] | None,
) -> dict[str, Tensor]:
    """Collect what the second stage computes.

    Args:
        classification: of every proposal.
        detections: made of it.
        mask_logits: [D, C, 28, 28] of every detection; None for a Faster R-CNN.

    Returns:
        Tensors by the names of the notes, with a leading batch axis of 1, and padded with zeros
        to the most detections there may be.
    """
    found = {"probs": classification.probs[None], "deltas": classification.deltas[None]}
    missing = detections.max_detections - len(detections)
    if mask_logits is not None:
        masks = mask_logits.sigmoid().permute(0, 2, 3, 1)
        found["masks"] = F.pad(masks, (0, 0, 0, 0, 0, 0, 0, missing))[None]
    rows = (detections.boxes, detections.labels[:, None], detections.scores[:, None])
    found["detections"] = F.pad(torch.cat(rows, dim=1), (0, 0, 0, missing))[None]
    return found
