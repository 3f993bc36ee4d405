"""Pictures of the whole: the pipeline in one strip, and the network with this photo's shapes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from mrcnn_steps.draw.primitives import boxes, photo, tint
from mrcnn_steps.draw.scene import ratio
from mrcnn_steps.draw.style import MARGIN, WIDTH, Picture, Swatch, caption, page, plural
from mrcnn_steps.masks import patches
from mrcnn_steps.palette import (
    ANCHOR,
    DETECTION,
    GRAY,
    INK,
    ORANGE,
    PROPOSAL,
    PURPLE,
    SKY,
    SOFT,
    ink_on,
    palette,
)
from mrcnn_steps.settings import roi_output_size
from mrcnn_steps.steps import Step
from mrcnn_steps.tracing import Trace

# Boxes drawn in a panel of the strip; more would hide the photo.
FEW = 30


def figure_pipeline(trace: Trace, min_score: float = 0.5) -> Picture:
    """Draw the pipeline in one strip: input, anchors, proposals, detections, objects.

    Args:
        trace: of a photo.
        min_score: detections of a lower score are not among the last panel's objects.

    Returns:
        The figure, in pixels of the network's input.
    """
    image, found = trace.letterbox.image, trace.detections
    size = (image.shape[1], image.shape[2])
    figure, [first, scored, proposed, detected, last] = page(
        f"From {len(trace.anchors):,} anchors to {plural(len(found), 'detection')}",
        f"Photo of {trace.image.shape[2]:,} × {trace.image.shape[1]:,} pixels; "
        f"{plural(len(found.candidate_label), 'candidate')} on the way.",
        ratio(image),
        columns=5,
        captions=True,
    )
    for ax in (first, scored, proposed, detected, last):
        photo(ax, image)
    caption(first, "network's input", f"{size[1]:,} × {size[0]:,} pixels")
    top = trace.proposals.top_scores.topk(min(FEW, len(trace.proposals.top_scores))).indices
    boxes(scored, trace.proposals.top_anchors[top], ANCHOR.color, width=0.7)
    caption(scored, f"{len(trace.anchors):,} anchors", f"top {len(top)} by objectness")
    boxes(proposed, trace.proposals.boxes[:FEW], PROPOSAL.color, width=0.7)
    caption(
        proposed,
        plural(len(trace.proposals), "proposal"),
        f"the best {min(FEW, len(trace.proposals))}",
    )
    boxes(detected, found.boxes[:FEW], DETECTION.color, width=0.7)
    caption(detected, plural(len(found), "detection"), f"the best {min(FEW, len(found))}")
    kept = found.scores >= min_score
    colors = palette(int(kept.sum()))
    probs = trace.mask_probs
    if probs is not None and len(colors):
        tint(last, patches(probs[kept], found.boxes[kept], size), size, colors, 0.6)
    boxes(last, found.boxes[kept], colors, width=0.7)
    caption(last, plural(len(colors), "object"), f"score of {min_score:g} or more")
    return figure


class Node(NamedTuple):
    """A step of the network: what it is, the shape that leaves it, and what trains it."""

    name: str
    shape: str
    color: str = GRAY
    losses: tuple[str, ...] = ()


LANE, NODE_HEIGHT, ARROW = 128, 56, 24
# Left of all lanes: the way of the feature maps to what reads them besides the RPN.
RAIL = -9
ROI_ALIGN = "RoIAlign"
DATA, LEARNED, CHOICE = GRAY, SKY, ORANGE


def figure_network(trace: Trace) -> Picture:
    """Draw the network as a diagram, with the shapes that this photo gave every step.

    Args:
        trace: of a photo.

    Returns:
        The figure: a lane for each stage.
    """
    lanes = [_input_lane(trace), _proposal_lane(trace), _detection_lane(trace)]
    if trace.mask_logits is not None:
        lanes.append(_mask_lane(trace))
    height = len(lanes) * LANE
    name = type(trace.model).__name__.replace("MaskRCNN", "Mask R-CNN")
    count = sum(weight.numel() for weight in trace.model.parameters())
    figure, [ax] = page(
        f"{name.replace('FasterRCNN', 'Faster R-CNN')}: {count / 1e6:.1f} million weights",
        "What flows, with the shapes of this photo. Losses are computed in training only.",
        height / (WIDTH - 2 * MARGIN),
        legend=(
            Swatch("data", DATA),
            Swatch("learned", LEARNED),
            Swatch("arithmetic and choice", CHOICE),
            Swatch("loss", PURPLE),
        ),
    )
    ax.set_axis_off()
    ax.set_xlim(0, WIDTH - 2 * MARGIN)
    ax.set_ylim(height, 0)
    for number, lane in enumerate(lanes):
        _draw_lane(ax, lane, number * LANE, number + 1 < len(lanes))
    _draw_rail(ax, [n for n, lane in enumerate(lanes) if lane[0].name == ROI_ALIGN])
    return figure


def _shape(*sizes: int) -> str:
    return " × ".join(f"{size:,}" for size in sizes)


def _input_lane(trace: Trace) -> list[Node]:
    maps = list(trace.features.values())
    sides = ", ".join(str(part.shape[-1]) for part in maps)
    return [
        Node("photo", _shape(*trace.image.shape), DATA),
        Node("resize, normalize", _shape(*trace.input.shape[1:]), CHOICE),
        Node("backbone + FPN", plural(len(maps), "level"), LEARNED),
        Node("feature maps", f"{maps[0].shape[1]} channels\n{sides} wide", DATA),
    ]


def _proposal_lane(trace: Trace) -> list[Node]:
    found, count = trace.proposals, len(trace.anchors)
    losses = ("loss_objectness", "loss_rpn_box_reg")
    return [
        Node("RPN head", f"{_shape(count)} scores\n{_shape(count, 4)} deltas", LEARNED, losses),
        *_filter_nodes(found.steps),
        Node("proposals", _shape(len(found), 4), DATA),
    ]


def _detection_lane(trace: Trace) -> list[Node]:
    found, answer = trace.detections, trace.classification
    side = _shape(*roi_output_size(trace.model))
    losses = ("loss_classifier", "loss_box_reg")
    return [
        Node(ROI_ALIGN, f"{len(answer.probs):,} of {side}", CHOICE),
        Node(
            "box head",
            f"{_shape(*answer.probs.shape)} probs\n{_shape(*answer.deltas.shape)}",
            LEARNED,
            losses,
        ),
        *_filter_nodes(found.steps),
        Node("detections", _shape(len(found), 6), DATA),
    ]


def _filter_nodes(steps: Sequence[Step]) -> list[Node]:
    """Give a node for each filter but the last, whose result is the stage's."""
    return [Node(step.title, f"{len(step):,} left", CHOICE) for step in steps[:-1]]


def _mask_lane(trace: Trace) -> list[Node]:
    logits = trace.mask_logits
    assert logits is not None
    side = _shape(*roi_output_size(trace.model, "mask"))
    return [
        Node(ROI_ALIGN, f"{len(logits):,} of {side}", CHOICE),
        Node("mask head", _shape(*logits.shape), LEARNED, ("loss_mask",)),
        Node("own class", _shape(len(logits), *logits.shape[2:]), CHOICE),
        Node("paste", _shape(len(logits), *trace.image.shape[1:]), CHOICE),
        Node("result", "boxes, labels,\nscores, masks", DATA),
    ]


def _draw_lane(ax: Axes, lane: Sequence[Node], top: float, goes_on: bool) -> None:
    """Draw a lane of nodes with arrows, and the way from its end to the next lane's start."""
    places = max(len(lane), 6)
    width = (WIDTH - 2 * MARGIN - (places - 1) * ARROW) / places
    middle = top + 10 + NODE_HEIGHT / 2
    for number, node in enumerate(lane):
        left = number * (width + ARROW)
        _draw_node(ax, node, left, top + 10, width)
        if number:
            _arrow(ax, (left - ARROW + 2, middle), (left - 2, middle))
    if goes_on:
        end = (len(lane) - 1) * (width + ARROW) + width / 2
        turn, bottom = top + LANE - 6, top + 10 + NODE_HEIGHT
        start = width * 0.12
        ax.plot([end, end, start, start], [bottom + 2, turn, turn, turn + 4], color=SOFT, lw=1.2)
        _arrow(ax, (start, turn + 2), (start, top + LANE + 9))


def _draw_rail(ax: Axes, lanes: Sequence[int]) -> None:
    """Draw the way of the feature maps, which leave the first lane, to the start of other lanes."""
    middles = [lane * LANE + 10 + NODE_HEIGHT / 2 for lane in lanes]
    start, turn = ax.get_xlim()[1] * 0.02, LANE - 6
    ax.plot(
        [start, RAIL, RAIL], [turn, turn, middles[-1]], color=SOFT, lw=1.2, clip_on=False, zorder=1
    )
    for middle in middles:
        _arrow(ax, (RAIL, middle), (2, middle))


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": SOFT, "lw": 1.2, "mutation_scale": 9}
    ax.annotate("", end, start, arrowprops=style | {"shrinkA": 0, "shrinkB": 0})


def _draw_node(ax: Axes, node: Node, left: float, top: float, width: float) -> None:
    frame = FancyBboxPatch(
        (left + 3, top + 3),
        width - 6,
        NODE_HEIGHT - 6,
        boxstyle="round,pad=3,rounding_size=6",
        facecolor=node.color + "40",
        edgecolor=node.color,
        linewidth=1.4,
        clip_on=False,
    )
    ax.add_patch(frame)
    center = left + width / 2
    style: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
    lines = node.shape.count("\n") + 1
    ax.text(
        center, top + 20 - 5 * lines + 3, node.name, size=8.5, weight="bold", color=INK, **style
    )
    ax.text(center, top + 38 - 2 * (lines - 1), node.shape, size=7.5, color=SOFT, **style)
    for number, loss in enumerate(node.losses):
        ax.text(
            center,
            top + NODE_HEIGHT + 14 + 18 * number,
            loss,
            size=7.5,
            color=ink_on(PURPLE),
            bbox={"boxstyle": "round,pad=0.25", "facecolor": PURPLE, "edgecolor": "none"},
            **style,
        )
