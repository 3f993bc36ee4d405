"""The classic mistakes, and for each the change that undoes it without training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.boxes import Weights
from mrcnn_steps.debug.checkup.clues import Clues
from mrcnn_steps.debug.checkup.normalizations import normalizations
from mrcnn_steps.debug.checkup.setup import Normalization, Setup
from mrcnn_steps.debug.remedies import FLOORS
from mrcnn_steps.debug.rerun import Value, code, value_in

# What deltas are multiplied by: torchvision's RPN, and its box head.
DELTA_WEIGHTS: tuple[Weights, ...] = ((1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0))

# Far from the usual one, which may be a little off for any model.
MASK_THRESHOLDS = (0.5, 0.1, 0.05, 0.9, 0.95)

# What torchvision sets, or more; and the gate that a stricter value closes.
LOOSE: dict[str, tuple[str, Value]] = {
    "rpn.pre_nms_top_n": ("top_k", 2000),
    "rpn.min_size": ("rpn_min_size", 0.001),
    "rpn.score_thresh": ("rpn_score", 0.0),
    "rpn.nms_thresh": ("rpn_nms", 0.7),
    "rpn.post_nms_top_n": ("proposal_limit", 1000),
    "roi_heads.score_thresh": ("score_threshold", 0.05),
    "roi_heads.nms_thresh": ("nms", 0.5),
    "roi_heads.detections_per_img": ("detection_limit", 100),
}

# Limits that even as they usually are may be too low for a photo with many objects, how many times
# as much is tried then, and the share of the limit that is many.
LIMITS, MORE, MANY = ("rpn.post_nms_top_n", "roi_heads.detections_per_img"), 3, 0.5


@dataclass(frozen=True)
class Treatment:
    """A change that undoes a mistake.

    Attributes:
        code: of the mistake.
        name: what is done.
        mistake: what it suggests if it helps, in a clause.
        remedy: what to change for good.
        setup: to run the photos in.
        of_masks: whether the masks are compared, not the boxes.
    """

    code: str
    name: str
    mistake: str
    remedy: str
    setup: Setup
    of_masks: bool = False


def treatments(
    model: FasterRCNN, class_names: Sequence[str], own: Normalization, setup: Setup, clues: Clues
) -> tuple[Treatment, ...]:
    """List what can be tried on a model.

    Args:
        model: what does not apply to it is left out.
        class_names: the name of each of its labels.
        own: the normalization that its transform applies.
        setup: what is done already; each treatment adds one thing.
        clues: of the photos.

    Returns:
        The treatments; of two that help alike the first is the simpler one.
    """
    boxes = (
        *_of_input(own, setup),
        *_of_labels(class_names, setup, clues),
        *_of_rpn(model, setup),
        *_of_anchors(setup, clues),
        *_of_box_head(model, setup),
        *_of_settings(model, setup, clues),
    )
    return (*boxes, *_of_masks(setup)) if model.roi_heads.has_mask() else boxes


def _of_input(own: Normalization, setup: Setup) -> Iterator[Treatment]:
    yield Treatment(
        "channels_reversed",
        "the channels in the other order",
        "the photos seem to have their channels in another order than the model learned, BGR for "
        "RGB",
        "Give the model RGB: image = image[[2, 1, 0]] where photos are read as BGR.",
        replace(setup, channels_reversed=not setup.channels_reversed),
    )
    for each in normalizations(setup.normalization or own):
        mean, std = (
            "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
            for values in (each.normalization.mean, each.normalization.std)
        )
        yield Treatment(
            each.code,
            each.name,
            each.mistake,
            "Normalize the pixels once, as in training: model.transform.image_mean, "
            f"model.transform.image_std = {mean}, {std}.",
            replace(setup, normalization=each.normalization),
        )


def _of_labels(class_names: Sequence[str], setup: Setup, clues: Clues) -> Iterator[Treatment]:
    classes = len(class_names)
    own = setup.columns or tuple(range(classes))
    for step, neighbor, how in ((-1, "previous", "low"), (1, "next", "high")):
        foreground = tuple((label - 1 + step) % (classes - 1) + 1 for label in range(1, classes))
        every = tuple((label + step) % classes for label in range(classes))
        for order, where in (((0, *foreground), ""), (every, ", the background among them")):
            yield from _relabeled(
                setup,
                tuple(own[label] for label in order),
                "labels_off_by_one",
                f"every label taken for the {neighbor} one{where}",
                f"the model's labels are one too {how} for the data's",
                f"Map the labels: the model's label is the data's {step:+d}; label 0 is the "
                "background in both.",
            )
    permutation = clues.permutation
    if permutation is None:
        return
    pairs = ", ".join(
        f"{class_names[label]} → {class_names[own[partner]]}"
        for label, partner in enumerate(permutation)
        if label != partner and clues.confusions[label, partner] > 0
    )
    yield from _relabeled(
        setup,
        tuple(own[label] for label in permutation),
        "labels_permuted",
        f"labels exchanged: {pairs}",
        "the model calls classes by each other's names",
        f"Bring class_names and the order of the model's labels together: {pairs}.",
    )


def _relabeled(
    setup: Setup, columns: tuple[int, ...], mistake: str, name: str, suggests: str, remedy: str
) -> Iterator[Treatment]:
    """Take the deltas of the other label too, as for labels of the data, or its score alone."""
    if columns == (setup.columns or tuple(range(len(columns)))):
        return
    for follow, what in ((True, ""), (False, ", for the scores alone")):
        changed = replace(setup, columns=columns, deltas_follow=follow)
        yield Treatment(mistake, name + what, suggests, remedy, changed)


def _of_rpn(model: FasterRCNN, setup: Setup) -> Iterator[Treatment]:
    now = setup.rpn_weights or tuple(model.rpn.box_coder.weights)
    for weights in DELTA_WEIGHTS:
        if weights != now:
            yield Treatment(
                "rpn_delta_weights",
                f"the RPN's delta weights {_listed(now)} → {_listed(weights)}",
                "the RPN's deltas were trained with other weights than they are decoded with",
                f"model.rpn.box_coder.weights = {weights}",
                replace(setup, rpn_weights=weights),
            )
    yield Treatment(
        "rpn_xy_swapped",
        "x and y exchanged in the RPN's deltas",
        "the RPN's deltas seem to be (dy, dx, dh, dw) where (dx, dy, dw, dh) is read",
        "Reorder the rows of model.rpn.head.bbox_pred, four an anchor, by [1, 0, 3, 2].",
        replace(setup, rpn_swapped=not setup.rpn_swapped),
    )


def _of_anchors(setup: Setup, clues: Clues) -> Iterator[Treatment]:
    scales = [2.0, 0.5] if clues.anchor_scale is None else [clues.anchor_scale]
    yield Treatment(
        "anchor_cells_transposed",
        "the anchors of each level read column by column",
        "the anchors are listed column by column, the feature maps row by row",
        "List anchors level by level, row by row, column by column, and in a cell ratio by ratio.",
        replace(setup, cells_transposed=not setup.cells_transposed),
    )
    yield Treatment(
        "anchor_ratios_inverted",
        "width and height of every anchor exchanged",
        "the aspect ratios of the anchors are width / height where height / width is meant, or the "
        "reverse",
        "Give AnchorGenerator(aspect_ratios=…) as height / width, in the order of training.",
        replace(setup, ratios_inverted=not setup.ratios_inverted),
    )
    yield Treatment(
        "anchor_levels_reversed",
        "the anchor sizes of the levels in the other order",
        "the anchor sizes are given from the coarsest level to the finest",
        "Give AnchorGenerator(sizes=…) from the finest level to the coarsest.",
        replace(setup, levels_reversed=not setup.levels_reversed),
    )
    for scale in scales:
        yield Treatment(
            "anchor_sizes",
            f"anchors × {scale:.3g}",
            "the anchors have another size than in training",
            f"Multiply the sizes of model.rpn.anchor_generator by {scale:.3g}.",
            replace(setup, anchor_scale=setup.anchor_scale * scale),
        )


def _of_box_head(model: FasterRCNN, setup: Setup) -> Iterator[Treatment]:
    now = setup.box_weights or tuple(model.roi_heads.box_coder.weights)
    for weights in DELTA_WEIGHTS:
        if weights != now:
            yield Treatment(
                "box_delta_weights",
                f"the box head's delta weights {_listed(now)} → {_listed(weights)}",
                "the box head's deltas were trained with other weights than they are decoded with",
                f"model.roi_heads.box_coder.weights = {weights}",
                replace(setup, box_weights=weights),
            )
    yield Treatment(
        "box_xy_swapped",
        "x and y exchanged in the box head's deltas",
        "the box head's deltas seem to be (dy, dx, dh, dw) where (dx, dy, dw, dh) is read",
        "Reorder the rows of model.roi_heads.box_predictor.bbox_pred, four a class, by "
        "[1, 0, 3, 2].",
        replace(setup, box_swapped=not setup.box_swapped),
    )
    for zoom in (2.0, 0.5):
        yield Treatment(
            "roi_scale",
            f"the scales of the box head's RoIAlign × {zoom:g}",
            "RoIAlign reads the feature maps at another scale than they have",
            f"Multiply model.roi_heads.box_roi_pool.scales by {zoom:g}.",
            replace(setup, box_zoom=setup.box_zoom * zoom),
        )


def _of_settings(model: FasterRCNN, setup: Setup, clues: Clues) -> Iterator[Treatment]:
    changed = dict(setup.settings)
    for name, (gate, value) in LOOSE.items():
        now = changed.get(name, value_in(model, name))
        if name in LIMITS and now >= value and clues.most_objects > MANY * now:
            value = MORE * now
        if (now > value) if name in FLOORS else (now < value):
            yield Treatment(
                gate,
                f"{name} {now:g} → {value:g}",
                f"{name} is stricter than is good for the model",
                code(name, value),
                replace(setup, settings=tuple((changed | {name: value}).items())),
            )


def _of_masks(setup: Setup) -> Iterator[Treatment]:
    turned: list[tuple[str, str, dict[str, Any]]] = [
        ("mask_upside_down", "upside down", {"mask_upside_down": not setup.mask_upside_down}),
        ("mask_mirrored", "mirrored", {"mask_mirrored": not setup.mask_mirrored}),
        ("mask_transposed", "transposed", {"mask_transposed": not setup.mask_transposed}),
    ]
    for mistake, how, change in turned:
        yield Treatment(
            mistake,
            f"masks turned: {how}",
            f"the masks lie {how} in their boxes",
            "Turn the mask targets of the training back, or the mask head's answer.",
            replace(setup, **change),
            of_masks=True,
        )
    for threshold in MASK_THRESHOLDS:
        if threshold != setup.mask_threshold:
            yield Treatment(
                "mask_threshold",
                f"mask threshold {setup.mask_threshold:g} → {threshold:g}",
                "the masks are cut at another probability than suits them",
                f"mask = probability >= {threshold:g}",
                replace(setup, mask_threshold=threshold),
                of_masks=True,
            )
    for zoom in (2.0, 0.5):
        yield Treatment(
            "mask_roi_scale",
            f"the scales of the mask head's RoIAlign × {zoom:g}",
            "the mask head's RoIAlign reads the feature maps at another scale than they have",
            f"Multiply model.roi_heads.mask_roi_pool.scales by {zoom:g}.",
            replace(setup, mask_zoom=setup.mask_zoom * zoom),
            of_masks=True,
        )


def _listed(weights: Sequence[float]) -> str:
    return "(" + ", ".join(f"{weight:g}" for weight in weights) + ")"
