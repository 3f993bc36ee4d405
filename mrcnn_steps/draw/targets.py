"""Pictures of the RPN targets: what each anchor is taught, and where the positives should move."""

import torch
from torch import Tensor

from mrcnn_steps.draw.primitives import boxes, joins, labels, masks
from mrcnn_steps.draw.scene import NO_ANNOTATIONS, largest_first, nothing, object_names, on_input
from mrcnn_steps.draw.style import Picture, Swatch, plural
from mrcnn_steps.palette import (
    DOTTED,
    GRAY,
    NEGATIVE,
    NEUTRAL,
    ORANGE,
    POSITIVE,
    SOLID,
    Look,
    palette,
)
from mrcnn_steps.settings import rpn_training_settings
from mrcnn_steps.tracing import Trace


def figure_positive_anchors(trace: Trace) -> Picture:
    """Draw the anchors that the RPN is trained to call an object.

    Args:
        trace: of a sample.

    Returns:
        The figure, in pixels of the network's input.
    """
    truth = trace.ground_truth
    if truth is None:
        return nothing(trace, "No positive anchors", NO_ANNOTATIONS)
    targets = truth.rpn_targets
    rows = targets.positive_index
    forced = int(targets.match.forced[rows].sum())
    before = int((targets.match.labels == 1).sum())
    set_to = rpn_training_settings(trace.model)
    return _anchors_on_objects(
        trace,
        truth.masks,
        rows,
        f"{plural(len(rows), 'positive anchor')} for {plural(len(truth.boxes), 'object')}",
        f"{len(rows) - forced:,} overlap an object with an IoU of at least "
        f"{set_to['positive_iou']:g}; {forced:,} only more than any other "
        f"anchor does. Sampled from {before:,}.",
        POSITIVE,
    )


def figure_negative_anchors(trace: Trace) -> Picture:
    """Draw the anchors that the RPN is trained to call background.

    Args:
        trace: of a sample.

    Returns:
        The figure, in pixels of the network's input.
    """
    truth = trace.ground_truth
    if truth is None:
        return nothing(trace, "No negative anchors", NO_ANNOTATIONS)
    targets = truth.rpn_targets
    rows = (targets.labels == -1).nonzero().flatten()
    before = int((targets.match.labels == -1).sum())
    set_to = rpn_training_settings(trace.model)
    return _anchors_on_objects(
        trace,
        truth.masks,
        rows,
        plural(len(rows), "negative anchor"),
        f"Every IoU with an object is below {set_to['negative_iou']:g}. Sampled from {before:,}.",
        NEGATIVE,
        width=1.3,
    )


def figure_neutral_anchors(trace: Trace, limit: int = 100) -> Picture:
    """Draw some of the anchors that the RPN is not trained on.

    Args:
        trace: of a sample.
        limit: anchors to draw, chosen at random: the same ones every time.

    Returns:
        The figure, in pixels of the network's input.
    """
    truth = trace.ground_truth
    if truth is None:
        return nothing(trace, "No neutral anchors", NO_ANNOTATIONS)
    targets = truth.rpn_targets
    count = int((targets.labels == 0).sum())
    between = (targets.match.labels == 0).nonzero().flatten()
    order = torch.randperm(len(between), generator=torch.Generator().manual_seed(0))
    shown = between[order[:limit].to(between.device)]
    set_to = rpn_training_settings(trace.model)
    return _anchors_on_objects(
        trace,
        truth.masks,
        shown,
        f"{plural(count, 'neutral anchor')}, {len(shown):,} shown",
        f"{len(between):,} are neither: IoU from {set_to['negative_iou']:g} to "
        f"{set_to['positive_iou']:g}, or on a crowd (these are shown). {count - len(between):,} "
        "are positives and negatives that the sampling left out.",
        NEUTRAL,
        width=1.4,
    )


def _anchors_on_objects(
    trace: Trace,
    objects: Tensor,
    rows: Tensor,
    title: str,
    subtitle: str,
    how: Look,
    width: float = 1.6,
) -> Picture:
    """Anchors over the masks of the objects, in pixels of the network's input."""
    shown = trace.anchors.boxes[rows]
    legend = (Swatch(*how), Swatch("mask of an object", ORANGE))
    figure, ax = on_input(trace, title, subtitle, shown, legend)
    masks(ax, objects, [ORANGE] * len(objects), 0.2)
    boxes(ax, shown, how.color, how.dash, width)
    return figure


def figure_refined_positives(trace: Trace) -> Picture:
    """Draw the positive anchors before (dotted) and after refinement (solid).

    Args:
        trace: of a sample.

    Returns:
        The figure, in pixels of the network's input.
    """
    truth = trace.ground_truth
    if truth is None:
        return nothing(trace, "No positive anchors to refine", NO_ANNOTATIONS)
    targets = truth.rpn_targets
    rows = targets.positive_index
    before = trace.anchors.boxes[rows]
    objects = targets.match.gt_index[rows]
    palette_of_objects = palette(len(truth.boxes))
    colors = [palette_of_objects[i] for i in objects.tolist()]
    figure, ax = on_input(
        trace,
        f"{plural(len(rows), 'positive anchor')} before and after refinement",
        "The deltas that the RPN has to learn move each anchor onto the object it overlaps most; "
        "a color is an object.",
        before,
        (
            Swatch("anchor", GRAY, DOTTED),
            Swatch("refined: the object's box", GRAY, SOLID),
        ),
    )
    joins(ax, before, targets.refined, colors)
    boxes(ax, before, colors, DOTTED, 1.5)
    boxes(ax, targets.refined, colors)
    reached = objects.unique()
    names = object_names(trace, truth)
    reached = reached[largest_first(truth.boxes[reached])]
    labels(
        ax,
        truth.boxes[reached],
        [names[i] for i in reached.tolist()],
        [palette_of_objects[i] for i in reached.tolist()],
    )
    return figure
