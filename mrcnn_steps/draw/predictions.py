"""Pictures of what the network makes of a photo: proposals, classes, detections, masks."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from mrcnn_steps.boxes import normalize
from mrcnn_steps.draw.primitives import (
    Tile,
    boxes,
    crop,
    joins,
    labels,
    photo,
    tile_page,
    tint,
    to_numpy,
)
from mrcnn_steps.draw.scene import (
    INPUT,
    NO_ANNOTATIONS,
    PHOTO,
    nothing,
    object_names,
    on_input,
    ratio,
    tally,
    unpadded,
)
from mrcnn_steps.draw.style import Picture, Swatch, caption, page, plural, short
from mrcnn_steps.masks import patches
from mrcnn_steps.matching import overlaps
from mrcnn_steps.palette import (
    DASHED,
    DOTTED,
    GRAY,
    INK,
    LEAVES,
    PROPOSAL,
    SKY,
    SOLID,
    STAYS,
    VERMILLION,
    class_colors,
    level_colors,
    palette,
)
from mrcnn_steps.settings import positive_roi_iou
from mrcnn_steps.steps import fates
from mrcnn_steps.tracing import Trace


def _top(scores: Tensor, limit: int) -> Tensor:
    """Rows by descending score, the first `limit`."""
    return scores.topk(min(limit, len(scores))).indices


def figure_top_anchors(trace: Trace, limit: int = 100) -> Picture:
    """Draw the anchors that the RPN finds most like an object, before refinement.

    Args:
        trace: of a photo.
        limit: anchors to draw.

    Returns:
        The figure, in pixels of the network's input.
    """
    found = trace.proposals
    rows = _top(found.top_scores, limit)
    levels = trace.anchors.levels(found.top_index[rows]).tolist()
    colors = level_colors(len(trace.anchors.grids))
    scores = found.top_scores[rows]
    between = f", objectness {scores[0]:.3f} … {scores[-1]:.3f}" if len(rows) else ""
    legend = tuple(
        Swatch(f"{trace.anchors.level_names[level]}: {levels.count(level)}", colors[level])
        for level in sorted(set(levels))
    )
    figure, ax = on_input(
        trace,
        f"Top {len(rows)} of {len(trace.anchors):,} anchors{between}",
        f"Before refinement. {len(found.top_index):,} go on to be refined.",
        found.top_anchors[rows],
        legend,
    )
    boxes(ax, found.top_anchors[rows], [colors[level] for level in levels], width=1.3)
    return figure


def figure_refined_anchors(trace: Trace, limit: int = 50) -> Picture:
    """Draw the top anchors refined by their predicted deltas, then clipped to the image.

    Args:
        trace: of a photo.
        limit: anchors to draw.

    Returns:
        The figure, in pixels of the network's input: refined on the left, clipped on the right.
    """
    found = trace.proposals
    rows = _top(found.top_scores, limit)
    before, refined, clipped = (
        part[rows] for part in (found.top_anchors, found.refined, found.clipped)
    )
    cut = (refined != clipped).any(dim=1)
    every = int((found.refined != found.clipped).any(dim=1).sum())
    image = trace.letterbox.image
    height, width = image.shape[1:]
    room = 0.08 * max(height, width)
    view = (-room, -room, width + room, height + room)
    figure, [left, right] = page(
        f"Top {len(rows)} of {plural(len(found.top_index), 'anchor')}: refined, then clipped",
        f"The predicted deltas move and resize every anchor. {int(cut.sum())} of these {len(rows)} "
        f"reach beyond the image and are cut; of all {len(found.top_index):,}, {every:,}.",
        (height + 2 * room) / (width + 2 * room),
        columns=2,
        legend=(
            Swatch("anchor", GRAY, DOTTED),
            Swatch("refined", SKY, SOLID),
            Swatch("beyond the image, cut", VERMILLION, DASHED),
        ),
        captions=True,
    )
    for ax in (left, right):
        photo(ax, image, view)
    boxes(left, before, GRAY, DOTTED, 1.0)
    joins(left, before, refined, [SKY] * len(rows))
    for ax, after in ((left, refined), (right, clipped)):
        boxes(ax, after[~cut], SKY, SOLID, 1.2)
        boxes(ax, after[cut], VERMILLION, DASHED, 1.2)
    caption(left, "refined", INPUT)
    caption(right, "clipped to the image", INPUT)
    return figure


def figure_proposals(trace: Trace, limit: int = 50) -> Picture:
    """Draw the best proposals: refined, clipped and suppressed, as fractions of the image.

    Args:
        trace: of a photo.
        limit: proposals to draw.

    Returns:
        The figure; coordinates run from 0 to 1.
    """
    found = trace.proposals
    shown = found.boxes[:limit]
    height, width = trace.image_size
    image = unpadded(trace)
    figure, [ax] = page(
        f"{plural(len(found), 'proposal')}, the best {len(shown)} shown",
        f"NMS over {plural(len(found.scored_rows), 'box')} kept "
        f"{len(found.nms_rows):,}; at most {found.post_nms_top_n:,} of them become proposals.",
        ratio(image),
        axis="fraction of the image (normalized coordinates)",
    )
    photo(ax, image).set_extent((0, 1, 1, 0))
    ax.set_aspect(height / width)
    ax.set_xlim(0, 1)
    ax.set_ylim(1, 0)
    boxes(ax, normalize(shown, trace.image_size), PROPOSAL.color, PROPOSAL.dash, width=1.3)
    return figure


def figure_classified_proposals(trace: Trace, limit: int = 40) -> Picture:
    """Draw the proposals that are most surely an object, with their most probable class.

    Args:
        trace: of a photo.
        limit: proposals to draw.

    Returns:
        The figure, in pixels of the network's input.
    """
    answer = trace.classification
    chosen = answer.labels
    foreground = (chosen > 0).nonzero().flatten()
    rows = foreground[_top(answer.scores[foreground], limit)]
    said = tally([short(trace.class_names[label]) for label in chosen[foreground].tolist()])
    shown = f", the surest {len(rows)} shown" if len(rows) < len(foreground) else ""
    figure, ax = on_input(
        trace,
        f"{plural(len(chosen), 'classified proposal')}: {len(foreground):,} foreground{shown}",
        f"{len(chosen) - len(foreground):,} are background. {said}",
        trace.proposals.boxes[rows],
    )
    found = chosen[rows].tolist()
    by_label = class_colors(len(trace.class_names))
    colors = [by_label[label] for label in found]
    boxes(ax, trace.proposals.boxes[rows], colors, width=1.3)
    labels(ax, trace.proposals.boxes[rows], _said(trace, found, answer.scores[rows]), colors)
    return figure


def _said(trace: Trace, found: Sequence[int], scores: Tensor) -> list[str]:
    """Class and score of boxes, as labels."""
    return [
        f"{short(trace.class_names[label])} {score:.2f}"
        for label, score in zip(found, scores.tolist(), strict=True)
    ]


def figure_detection_steps(trace: Trace, limit: int = 100) -> Picture:
    """Draw what each step of the detection stage keeps and drops.

    Args:
        trace: of a photo.
        limit: candidates to draw in each panel, the ones of highest score.

    Returns:
        The figure: the proposals, then a panel for each step, in pixels of the network's input.
    """
    found = trace.detections
    by_label = class_colors(len(trace.class_names))
    figure, [first, *panels] = page(
        f"From {plural(len(trace.proposals), 'proposal')} to {plural(len(found), 'detection')}, "
        "step by step",
        f"Each of the {plural(len(found.candidate_label), 'candidate')} is a proposal with a "
        f"class. Shown are the best {limit} that a step keeps and drops.",
        ratio(trace.letterbox.image),
        rows=2,
        columns=3,
        legend=(
            Swatch("candidate: the color of its class", INK),
            Swatch(*LEAVES),
        ),
        captions=True,
    )
    photo(first, trace.letterbox.image)
    boxes(first, trace.proposals.boxes[:limit], STAYS.color, STAYS.dash, width=1)
    caption(first, plural(len(trace.proposals), "proposal"), "from the RPN")
    left = fates(found.steps, len(found.candidate_label))
    for place, (ax, step) in enumerate(zip(panels, found.steps, strict=True)):
        photo(ax, trace.letterbox.image)
        dropped, kept = (
            rows[_top(found.candidate_score[rows], limit)]
            for rows in ((left == place).nonzero().flatten(), step.rows)
        )
        colors = [by_label[label] for label in found.candidate_label[kept].tolist()]
        boxes(ax, found.clipped[dropped], LEAVES.color, LEAVES.dash, 0.9)
        boxes(ax, found.clipped[kept], colors, width=1.2)
        caption(ax, f"{step.title}: {len(step):,}", step.rule)
    return figure


def figure_mask_targets(trace: Trace, limit: int = 20) -> Picture:
    """Draw what the mask head is trained to say about proposals.

    Args:
        trace: of a sample.
        limit: proposals to draw: the best of each object first.

    Returns:
        The figure: what a proposal sees of its object, and the target.
    """
    truth = trace.ground_truth
    if truth is None:
        return nothing(trace, "No mask targets", NO_ANNOTATIONS)
    if trace.mask_logits is None:
        return nothing(trace, "No mask targets", "This model has no mask head.")
    least = positive_roi_iou(trace.model)
    why = f"Trained are the proposals whose IoU with an object is at least {least:g}"
    count = len(truth.mask_targets)
    if not count:
        return nothing(trace, "0 mask targets", f"{why}; this photo has none yet.")
    rois = trace.proposals.boxes[truth.positive_proposals]
    iou = overlaps(rois, truth.boxes).gather(1, truth.positive_objects[:, None])[:, 0]
    names = object_names(trace, truth)
    rows = _best_of_each(truth.positive_objects, iou)[:limit]
    pictures = []
    for row in rows.tolist():
        index = int(truth.positive_objects[row])
        pictures.append(
            Tile(
                crop(unpadded(trace), rois[row], truth.masks[index]),
                to_numpy(truth.mask_targets[row]),
                names[index],
                f"object {index}, box IoU {iou[row]:.2f}",
            )
        )
    height, width = truth.mask_targets.shape[1:]
    reached = len(truth.positive_objects.unique())
    return tile_page(
        f"{plural(count, 'mask target')} of {width} × {height}, {len(pictures)} shown",
        f"{why}: {count:,}, on {reached} of {plural(len(truth.boxes), 'object')}. The target is "
        "the object's mask, cut to the proposal.",
        pictures,
    )


def _best_of_each(objects: Tensor, iou: Tensor) -> Tensor:
    """Order rows so that every object's best comes first, then every object's second best."""
    order = iou.argsort(descending=True, stable=True)
    seen: Counter[int] = Counter()
    rank = []
    for index in objects[order].tolist():
        rank.append(seen[index])
        seen[index] += 1
    return order[torch.tensor(rank, device=order.device).argsort(stable=True)]


def figure_predicted_masks(trace: Trace, limit: int = 20) -> Picture:
    """Draw the soft mask that the mask head gives each detection.

    Args:
        trace: of a photo.
        limit: detections to draw, the first ones.

    Returns:
        The figure: what lies in the detected box, and the mask of its class.
    """
    probs, found = trace.mask_probs, trace.detections
    if probs is None:
        return nothing(trace, "No predicted masks", "This model has no mask head.")
    if not len(probs):
        return nothing(trace, "0 predicted masks", "There is no detection to give a mask to.")
    count = min(limit, len(probs))
    pictures = [
        Tile(
            crop(trace.letterbox.image, found.boxes[row]),
            to_numpy(probs[row]),
            short(trace.class_names[int(found.labels[row])]),
            f"score {found.scores[row]:.2f}",
        )
        for row in range(count)
    ]
    height, width = probs.shape[1:]
    return tile_page(
        f"{plural(len(probs), 'predicted mask')} of {width} × {height}, {count} shown",
        "For each detection, the mask of its own class: the darker, the surer that a point "
        "belongs to the object. Above one half it does.",
        pictures,
    )


def figure_result(trace: Trace, min_score: float = 0.5) -> Picture:
    """Draw what the model returns: boxes, classes and masks over the photo.

    Args:
        trace: of a photo.
        min_score: detections of a lower score are only counted.

    Returns:
        The figure, in pixels of the photo.
    """
    scores = trace.result["scores"]
    rows = (scores >= min_score).nonzero().flatten()
    found = trace.result["labels"][rows].tolist()
    names = [short(trace.class_names[label]) for label in found]
    best = "" if len(rows) or not len(scores) else f" The best one has {scores[0]:.2f}."
    figure, [ax] = page(
        f"{len(rows)} of {plural(len(scores), 'detection')} with a score of {min_score:g} or more",
        (tally(names) or "None.") + best,
        ratio(trace.image),
        axis=PHOTO,
    )
    photo(ax, trace.image)
    colors = palette(len(rows))
    places = trace.result["boxes"][rows]
    probs = trace.mask_probs
    if probs is not None and len(rows):
        size = (trace.image.shape[1], trace.image.shape[2])
        tint(ax, patches(probs[rows], places, size), size, colors)
    boxes(ax, places, colors, width=1.3)
    labels(ax, places, _said(trace, found, scores[rows]), colors)
    return figure
