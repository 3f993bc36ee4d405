"""Stage 5 as it is shown: the proposals by class, and what the box head says of one of them."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_iou, clip_boxes_to_image

from mrcnn_steps.boxes import decode
from mrcnn_steps.classification import sample_points
from mrcnn_steps.palette import ORANGE, SKY, YELLOW, class_colors
from mrcnn_steps.settings import RoIPooling, detection_settings, roi_pooling
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.classes import MOST, class_groups, distinct_names
from mrcnn_widgets.viewer.layers import (
    ArrowLayer,
    BoxLayer,
    Category,
    GridLayer,
    Group,
    Layer,
    PointLayer,
)
from mrcnn_widgets.views.objects import as_boxes, objects_of

BARS = 8


@dataclass(frozen=True, eq=False)
class PickedProposal:
    """What stage 5 makes of one proposal. Boxes and points are in pixels of the network's input.

    Attributes:
        proposal: row of `trace.proposals`.
        label: the class for which the box is refined.
        box: [4] the proposal.
        probs: [C] the probability of each class.
        level: index of the feature map that it is pooled from, 0 is the finest.
        scale: feature pixels per pixel of the network's input on that map.
        output_size: (rows, columns) of bins.
        samples: (rows, columns) of points that RoIAlign reads.
        points: [rows · columns, 2] where it reads the map, row by row.
        delta: [4] the delta for the class.
        refined_box: [4] the box moved by that delta and clipped to the image.
    """

    proposal: int
    label: int
    box: Float[Tensor, "4"]
    probs: Float[Tensor, "C"]
    level: int
    scale: float
    output_size: tuple[int, int]
    samples: tuple[int, int]
    points: Float[Tensor, "P 2"]
    delta: Float[Tensor, "4"]
    refined_box: Float[Tensor, "4"]


class Bar(NamedTuple):
    """The probability of one class.

    Attributes:
        label: the class.
        name: its name.
        value: its probability, 0…1.
        color: its color, `#rrggbb`.
    """

    label: int
    name: str
    value: float
    color: str


def look_at(trace: Trace, proposal: int, label: int) -> PickedProposal:
    """Collect all that stage 5 computed about a proposal.

    Args:
        trace: of a photo.
        proposal: row of `trace.proposals`.
        label: the class for which its box is refined.

    Returns:
        What the box head saw and said.
    """
    box = trace.proposals.boxes[proposal]
    found = trace.classification
    pooling = roi_pooling(trace.model, trace.features, trace.image_size)
    level = int(found.roi_level[proposal])
    scale = pooling.scales[level]
    samples = roi_samples(pooling, box, scale)
    return PickedProposal(
        proposal=proposal,
        label=label,
        box=box,
        probs=found.probs[proposal],
        level=level,
        scale=scale,
        output_size=pooling.output_size,
        samples=samples,
        # Points of the bins as bins of one point: rows and columns may differ in number.
        points=sample_points(box, scale, samples, sampling_ratio=1),
        # A head may share one delta among all classes.
        delta=found.deltas[proposal, label if found.deltas.shape[1] > 1 else 0],
        refined_box=refined_box(trace, proposal, label),
    )


def refined_box(trace: Trace, proposal: int, label: int) -> Float[Tensor, "4"]:
    """Find the box that a proposal becomes as a class: the candidate that stage 6 starts from.

    Where only the best class of each proposal is a candidate, the box of another class is computed
    here.

    Args:
        trace: of a photo.
        proposal: row of `trace.proposals`.
        label: the class.

    Returns:
        [4] in pixels of the network's input, clipped to the image.
    """
    found = trace.detections
    same = (found.candidate_proposal == proposal) & (found.candidate_label == label)
    if same.any():
        return found.clipped[int(same.nonzero()[0])]
    deltas, boxes = trace.classification.deltas, trace.proposals.boxes
    delta = deltas[proposal, [label if deltas.shape[1] > 1 else 0]]
    moved = decode(delta, boxes[proposal][None], detection_settings(trace.model)["weights"])
    return clip_boxes_to_image(moved, trace.image_size)[0]


def roi_samples(pooling: RoIPooling, box: Float[Tensor, "4"], scale: float) -> tuple[int, int]:
    """Count the points that RoIAlign reads for one RoI.

    A sampling ratio of 0 or less means as many as a bin has feature pixels, rounded up.

    Args:
        pooling: how the head's RoIs are cut out.
        box: [4] the RoI in pixels of the network's input.
        scale: feature pixels per pixel of the network's input.

    Returns:
        Rows and columns of points.
    """
    rows, columns = pooling.output_size
    ratio = pooling.sampling_ratio
    if ratio > 0:
        return rows * ratio, columns * ratio
    x1, y1, x2, y2 = (box * scale).tolist()
    height, width = max(y2 - y1, 1.0), max(x2 - x1, 1.0)
    return rows * math.ceil(height / rows), columns * math.ceil(width / columns)


def map_names(trace: Trace) -> list[str]:
    """Name the maps that RoIs are pooled from as the levels of the anchors, with their strides."""
    pooling = roi_pooling(trace.model, trace.features, trace.image_size)
    order, names = list(trace.features), trace.anchors.level_names
    return [
        f"{names[order.index(key)]}, stride {round(1 / scale)}"
        for key, scale in zip(pooling.maps, pooling.scales, strict=True)
    ]


def layers(trace: Trace, proposal: int | None = None, label: int = 1) -> list[Layer]:
    """Show stage 5.

    Args:
        trace: of a photo.
        proposal: the picked proposal, if any.
        label: the class for which its refined box is shown.

    Returns:
        All proposals and objects, and what belongs to the picked proposal.
    """
    picked = None if proposal is None else look_at(trace, proposal, label)
    return [*overview(trace), *details(trace, picked)]


def overview(trace: Trace) -> list[Layer]:
    """Show all proposals by their most probable class, and the annotated objects.

    Args:
        trace: of a photo.

    Returns:
        The layers "proposals", whose row is the proposal's, and "objects".
    """
    proposals, found = trace.proposals, trace.classification
    names = distinct_names(trace.class_names)
    layer = BoxLayer(
        "proposals",
        as_boxes(proposals.boxes),
        groups=class_groups(names, background=False),
        group_index=found.labels.clamp(max=MOST - 1),
        fields={
            "class": Category(found.labels, names),
            "probability": found.scores,
            "objectness": proposals.scores,
            "feature map": Category(found.roi_level, map_names(trace)),
        },
        threshold="probability",
    )
    return [layer, objects_of(trace, visible=False)]


def details(trace: Trace, picked: PickedProposal | None) -> list[Layer]:
    """Show where RoIAlign reads the map for the picked proposal, and how its box moves.

    Args:
        trace: of a photo.
        picked: a proposal, or None.

    Returns:
        The layers "RoI bins", "RoIAlign samples", "refinement" and "refined box"; without a
        picked proposal there is nothing in them.
    """
    nothing = torch.zeros((0, 4))
    box = as_boxes(nothing if picked is None else picked.box)
    refined = as_boxes(nothing if picked is None else picked.refined_box)
    names = distinct_names(trace.class_names)
    label = 0 if picked is None else picked.label
    return [
        _bins(picked),
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
            groups=[Group("refined box", class_colors(len(names))[label], "dashed")],
            labels=[f"as {names[label]}"] * len(refined),
            width=2.5,
            pickable=False,
        ),
    ]


def _bins(picked: PickedProposal | None) -> GridLayer:
    """Give the 7×7 bins. RoIAlign reads half a pixel of the feature map off: so are they drawn."""
    look = [Group("bins", SKY)]
    if picked is None:
        return GridLayer("RoI bins", (1, 1), (0, 0), groups=look, origin=(-9.0, -9.0))
    rows, columns = picked.output_size
    x1, y1, x2, y2 = picked.box.tolist()
    pixel = 1 / picked.scale
    stride = (max(x2 - x1, pixel) / columns, max(y2 - y1, pixel) / rows)
    origin = (x1 + 0.5 * pixel, y1 + 0.5 * pixel)
    return GridLayer("RoI bins", stride, (rows, columns), groups=look, origin=origin)


def bars(trace: Trace, picked: PickedProposal) -> list[Bar]:
    """List the most probable classes of a proposal, the chosen one among them.

    Args:
        trace: of a photo.
        picked: a proposal.

    Returns:
        The best eight, of which the last gives way to the chosen class if that is none of them.
    """
    top = picked.probs.argsort(descending=True, stable=True)[:BARS].tolist()
    if picked.label not in top:
        top[-1] = picked.label
    names, colors = distinct_names(trace.class_names), class_colors(len(trace.class_names))
    return [Bar(label, names[label], float(picked.probs[label]), colors[label]) for label in top]


def facts(trace: Trace, picked: PickedProposal | None) -> list[tuple[str, str]]:
    """Put the picked proposal into numbers.

    Args:
        trace: of a photo.
        picked: a proposal, or None.

    Returns:
        What a number is, and the number.
    """
    if picked is None:
        return [("click a box on the photo", "")]
    width, height = (picked.box[2:] - picked.box[:2]).tolist()
    rows, columns = picked.samples
    dx, dy, dw, dh = picked.delta.tolist()
    overlap = float(box_iou(picked.box[None], picked.refined_box[None]))
    return [
        ("proposal", f"{picked.proposal}"),
        ("objectness", f"{float(trace.proposals.scores[picked.proposal]):.3f}"),
        ("size, network pixels", f"{width:.1f} × {height:.1f}"),
        ("feature map", map_names(trace)[picked.level]),
        ("size there", f"{width * picked.scale:.1f} × {height * picked.scale:.1f}"),
        ("RoIAlign samples", f"{columns} × {rows}"),
        ("dx, dy", f"{dx:+.2f}, {dy:+.2f}"),
        ("dw, dh", f"{dw:+.2f}, {dh:+.2f}"),
        ("IoU before and after", f"{overlap:.2f}"),
    ]


def class_counts(trace: Trace) -> list[tuple[str, str]]:
    """Count the proposals by their most probable class, the most frequent first."""
    names = distinct_names(trace.class_names)
    count = torch.bincount(trace.classification.labels, minlength=len(names))
    order = count.argsort(descending=True, stable=True).tolist()
    return [(names[label], f"{int(count[label]):,}") for label in order if count[label]]
