"""Pictures of what a photo brings along: annotations, letterbox, mini-masks."""

import numpy as np
import torch
from torch import Tensor

from mrcnn_steps.data import Sample
from mrcnn_steps.draw.primitives import Tile, boxes, crop, labels, masks, photo, tile_page, to_numpy
from mrcnn_steps.draw.scene import (
    INPUT,
    NO_ANNOTATIONS,
    PHOTO,
    enlarged,
    largest_first,
    nothing,
    object_names,
    ratio,
    tally,
    unpadded,
)
from mrcnn_steps.draw.style import Picture, Swatch, caption, page, plural, short, size_in_bytes
from mrcnn_steps.mini_masks import MiniMasks
from mrcnn_steps.palette import DASHED, ORANGE, SKY, VERMILLION, YELLOW, palette
from mrcnn_steps.tracing import Trace


def figure_sample(trace: Trace | Sample) -> Picture:
    """Draw the photo with its annotations: masks, boxes computed from them, class names.

    Args:
        trace: of a photo, or a sample.

    Returns:
        The figure, in pixels of the photo.
    """
    sample = trace if isinstance(trace, Sample) else trace.sample
    image = trace.image
    size = f"{image.shape[2]:,} × {image.shape[1]:,} pixels"
    if sample is None or not len(sample.labels):
        name = short(sample.name) if sample else "Photo"
        figure, [ax] = page(f"{name}: no annotations", size, ratio(image), axis=PHOTO)
        photo(ax, image)
        return figure
    names = [short(sample.class_names[label]) for label in sample.labels.tolist()]
    title = f"{short(sample.name)}: {plural(len(names), 'object')}"
    figure, [ax] = page(title, f"{tally(names)}. {size}.", ratio(image), axis=PHOTO)
    photo(ax, image)
    colors = palette(len(names))
    masks(ax, sample.masks_or_rectangles(), colors)
    largest = largest_first(sample.boxes)
    boxes(ax, sample.boxes, colors, width=1.2)
    labels(
        ax,
        sample.boxes[largest],
        [names[i] + (" (crowd)" if sample.crowd[i] else "") for i in largest.tolist()],
        [colors[i] for i in largest.tolist()],
    )
    return figure


def figure_letterbox(trace: Trace) -> Picture:
    """Draw the photo beside the network's input, with the window that the photo fills.

    Args:
        trace: of a photo.

    Returns:
        The figure; each panel in its own pixels.
    """
    box = trace.letterbox
    (height, width), (rows, columns) = box.photo_size, box.image.shape[1:]
    x1, y1, x2, y2 = box.window
    figure, [left, right] = page(
        f"Letterbox: {width:,} × {height:,} pixels become {columns:,} × {rows:,}",
        f"Scale {box.scale:.4g}; the window is ({x1}, {y1}) – ({x2}, {y2}); black padding: "
        f"left {x1}, top {y1}, right {columns - x2}, bottom {rows - y2} pixels.",
        max(ratio(trace.image), ratio(box.image)),
        columns=2,
        legend=(Swatch("window: where the photo lies", ORANGE, DASHED),),
        axis="pixels",
        captions=True,
    )
    photo(left, trace.image)
    caption(left, "the photo")
    photo(right, box.image)
    boxes(right, box.image.new_tensor([box.window], dtype=torch.float32), ORANGE, DASHED, 2.2)
    caption(right, "the network's input")
    return figure


def figure_mini_masks(trace: Trace, limit: int = 20) -> Picture:
    """Draw each object beside its mini-mask.

    Args:
        trace: of a sample.
        limit: objects to draw, the first ones.

    Returns:
        The figure.
    """
    truth = trace.ground_truth
    if truth is None or not len(truth.boxes):
        return nothing(trace, "Mini-masks: no objects", NO_ANNOTATIONS)
    mini = truth.mini_masks
    height, width = mini.mini_masks.shape[1:]
    count = min(limit, len(mini.boxes))
    names = object_names(trace, truth)
    pictures = []
    for row in range(count):
        x1, y1, x2, y2 = mini.boxes[row].long().tolist()
        pictures.append(
            Tile(
                crop(unpadded(trace), mini.boxes[row], truth.masks[row]),
                to_numpy(mini.mini_masks[row]),
                names[row],
                f"{x2 - x1} × {y2 - y1} → {width} × {height}   IoU {mini.iou[row]:.3f}",
            )
        )
    return tile_page(
        f"{plural(len(mini.boxes), 'mini-mask')} of {width} × {height}" + _some(count, mini.boxes),
        "Each mask is cut to its object's box and resized, whatever the box's shape: "
        f"{size_in_bytes(mini.mask_bytes)} become {size_in_bytes(mini.mini_mask_bytes)}.",
        pictures,
    )


def _some(count: int, rows: Tensor) -> str:
    """Tell what a title adds where not all rows are drawn."""
    return f", {count:,} shown" if count < len(rows) else ""


def figure_mini_mask_round_trip(trace: Trace) -> Picture:
    """Draw the mini-masks resized back over the photo, and the pixels that differ.

    Args:
        trace: of a sample.

    Returns:
        The figure: all objects, and the object that lost most, enlarged.
    """
    truth = trace.ground_truth
    if truth is None or not len(truth.boxes):
        return nothing(trace, "Mini-mask round trip: no objects", NO_ANNOTATIONS)
    mini = truth.mini_masks
    lost, gained = _differences(truth.masks, mini)
    ratio_of_sizes = mini.mask_bytes / mini.mini_mask_bytes
    figure, [left, right] = page(
        f"Mini-masks and back: mean IoU {float(mini.iou.mean()):.3f}, "
        f"{size_in_bytes(mini.mask_bytes)} in {size_in_bytes(mini.mini_mask_bytes)}",
        f"{plural(len(mini.boxes), 'object')}, {ratio_of_sizes:,.0f} times smaller; "
        f"{plural(int(lost.sum()), 'pixel')} lost, {int(gained.sum()):,} gained.",
        ratio(trace.letterbox.image),
        columns=2,
        legend=(
            Swatch("mini-masks, resized back", SKY),
            Swatch("pixels lost", VERMILLION),
            Swatch("pixels gained", YELLOW),
        ),
        captions=True,
    )
    worst = int(mini.iou.argmin())
    views = (None, enlarged(trace.letterbox.image, mini.boxes[worst]))
    for ax, view in zip((left, right), views, strict=True):
        photo(ax, trace.letterbox.image, view)
        masks(ax, mini.expanded, [SKY] * len(mini.boxes))
        for changed, color in ((lost, VERMILLION), (gained, YELLOW)):
            masks(ax, changed[None], [color], opacity=1)
    largest = largest_first(mini.boxes)
    labels(left, mini.boxes[largest], [f"{mini.iou[i]:.3f}" for i in largest.tolist()], SKY)
    caption(left, "IoU of every object", INPUT)
    caption(
        right,
        f"the largest loss: {object_names(trace, truth)[worst]}",
        f"IoU {mini.iou[worst]:.3f}, enlarged",
    )
    return figure


def _differences(masks: Tensor, mini: MiniMasks) -> tuple[Tensor, Tensor]:
    """Give the pixels that some mask lost and gained in the round trip, each [h, w]."""
    lost, gained = np.zeros((2, *masks.shape[1:]), dtype=bool)
    # Nothing differs outside an object's box: no second stack of masks is made.
    for mask, back, (x1, y1, x2, y2) in zip(
        to_numpy(masks), to_numpy(mini.expanded), mini.boxes.long().tolist(), strict=True
    ):
        part = slice(y1, y2), slice(x1, x2)
        lost[part] |= mask[part] & ~back[part]
        gained[part] |= back[part] & ~mask[part]
    return torch.from_numpy(lost), torch.from_numpy(gained)
