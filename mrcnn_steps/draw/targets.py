"""Pictures of what a photo brings along: annotations, letterbox, mini-masks, anchors, targets."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from mrcnn_steps.anchors import AnchorLocation
from mrcnn_steps.data import Sample
from mrcnn_steps.draw.primitives import (
    Tile,
    boxes,
    crop,
    joins,
    labels,
    masks,
    photo,
    tile_page,
    to_numpy,
)
from mrcnn_steps.draw.style import (
    DASHED,
    DOTTED,
    GREY,
    ORANGE,
    SKY,
    SOLID,
    VERMILLION,
    YELLOW,
    Picture,
    Swatch,
    caption,
    page,
    palette,
    plural,
    short,
    size_in_bytes,
)
from mrcnn_steps.mini_masks import MiniMasks
from mrcnn_steps.trace import GroundTruth, Trace

INPUT = "pixels of the network's input"
PHOTO = "pixels of the photo"

# A label has one look in all pictures: it differs in dash as well as in hue.
POSITIVE = Swatch("positive", SKY, SOLID)
NEGATIVE = Swatch("negative", VERMILLION, DASHED)
NEUTRAL = Swatch("neutral", GREY, DOTTED)


def ratio(image: Tensor) -> float:
    """Height / width of an image."""
    return image.shape[-2] / image.shape[-1]


def unpadded(trace: Trace) -> Tensor:
    """The network's input without the padding that batching adds: masks have its size."""
    height, width = trace.image_size
    return trace.letterbox.image[:, :height, :width]


def on_input(
    trace: Trace, title: str, subtitle: str, shown: Tensor, legend: tuple[Swatch, ...] = ()
) -> tuple[Picture, Axes]:
    """Make a page with the network's input, and room around it for boxes that reach beyond it."""
    image = trace.letterbox.image
    height, width = image.shape[1:]
    frame = image.new_tensor([0, 0, width, height], dtype=torch.float32)
    room = 0.12 * max(height, width)
    corners = torch.cat((shown, frame[None]))
    x1, y1 = corners[:, :2].amin(dim=0).clamp(min=-room).tolist()
    x2, y2 = corners[:, 2:].amax(dim=0).minimum(frame[2:] + room).tolist()
    figure, [ax] = page(title, subtitle, (y2 - y1) / (x2 - x1), legend=legend, axis=INPUT)
    photo(ax, image, (x1, y1, x2, y2))
    return figure, ax


def nothing(trace: Trace, title: str, why: str) -> Picture:
    """Show the network's input and say why there is nothing to draw on it."""
    return on_input(trace, title, why, trace.anchors.boxes[:0])[0]


NO_ANNOTATIONS = "This photo has no annotations, so there is nothing to compare with or to learn."


def tally(names: Sequence[str]) -> str:
    """Count names, the most frequent first; of very many, the first ones."""
    counts = Counter(names).most_common()
    more = f" and {plural(len(counts) - 8, 'more class')}" if len(counts) > 8 else ""
    return ", ".join(f"{name} × {count:,}" for name, count in counts[:8]) + more


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
    masks(ax, sample.masks, colors)
    largest = _largest_first(sample.boxes)
    boxes(ax, sample.boxes, colors, width=1.2)
    labels(
        ax,
        sample.boxes[largest],
        [names[i] + (" (crowd)" if sample.crowd[i] else "") for i in largest.tolist()],
        [colors[i] for i in largest.tolist()],
    )
    return figure


def _largest_first(boxes: Tensor) -> Tensor:
    """Rows of boxes by descending area."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides.prod(dim=1).argsort(descending=True, stable=True)


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
    """What a title adds where not all rows are drawn."""
    return f", {count:,} shown" if count < len(rows) else ""


def object_names(trace: Trace, truth: GroundTruth) -> list[str]:
    """The class of each ground-truth object, as short text."""
    return [short(trace.class_names[label]) for label in truth.labels.tolist()]


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
    views = (None, _enlarged(trace.letterbox.image, mini.boxes[worst]))
    for ax, view in zip((left, right), views, strict=True):
        photo(ax, trace.letterbox.image, view)
        masks(ax, mini.expanded, [SKY] * len(mini.boxes))
        for changed, color in ((lost, VERMILLION), (gained, YELLOW)):
            masks(ax, changed[None], [color], opacity=1)
    largest = _largest_first(mini.boxes)
    labels(left, mini.boxes[largest], [f"{mini.iou[i]:.3f}" for i in largest.tolist()], SKY)
    caption(left, "IoU of every object", INPUT)
    caption(
        right,
        f"the largest loss: {object_names(trace, truth)[worst]}",
        f"IoU {mini.iou[worst]:.3f}, enlarged",
    )
    return figure


def _differences(masks: Tensor, mini: MiniMasks) -> tuple[Tensor, Tensor]:
    """The pixels that some mask lost and gained in the round trip, each [h, w]."""
    lost, gained = np.zeros((2, *masks.shape[1:]), dtype=bool)
    # Nothing differs outside an object's box: no second stack of masks is made.
    for mask, back, (x1, y1, x2, y2) in zip(
        to_numpy(masks), to_numpy(mini.expanded), mini.boxes.long().tolist(), strict=True
    ):
        part = slice(y1, y2), slice(x1, x2)
        lost[part] |= mask[part] & ~back[part]
        gained[part] |= back[part] & ~mask[part]
    return torch.from_numpy(lost), torch.from_numpy(gained)


def _around(box: Tensor, aspect: float, room: float) -> tuple[float, float, float, float]:
    """A view of a box with some room around it, in a panel's shape (height / width)."""
    x1, y1, x2, y2 = box.tolist()
    half_width = max((x2 - x1) / 2, (y2 - y1) / 2 / aspect, 1) * room
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    half_height = half_width * aspect
    return x - half_width, y - half_height, x + half_width, y + half_height


def _enlarged(image: Tensor, box: Tensor) -> tuple[float, float, float, float] | None:
    """A view of a box; of one as large as the image, the image itself."""
    view = _around(box, ratio(image), 1.3)
    return view if view[2] - view[0] < image.shape[2] else None


def _center_cell(trace: Trace, level: int) -> Tensor:
    """The anchors of the cell in the middle of a level, as rows."""
    grid = trace.anchors.grids[level]
    first = AnchorLocation(level, grid.rows // 2, grid.columns // 2, 0)
    start = trace.anchors.index(first)
    return torch.arange(start, start + grid.per_cell)


def _centers(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _dots(ax: Axes, trace: Trace, level: int, color: str, diameter: float) -> None:
    """The anchor positions of a level."""
    part, grid = trace.anchors.level_slices[level], trace.anchors.grids[level]
    x, y = to_numpy(_centers(trace.anchors.boxes[part][:: grid.per_cell])).T
    ax.plot(x, y, ".", color=color, markersize=diameter, markeredgewidth=0, gid="cells")


def _level_title(trace: Trace, level: int) -> tuple[str, str]:
    """How large and how many a level's anchors are."""
    grid, part = trace.anchors.grids[level], trace.anchors.level_slices[level]
    cell = trace.anchors.boxes[part][: grid.per_cell]
    side = (cell[:, 2:] - cell[:, :2]).prod(dim=1).sqrt()
    sizes = dict.fromkeys((f"{float(side.amin()):.0f}", f"{float(side.amax()):.0f}"))
    y, x = grid.stride
    every = f"{x:g}" if x == y else f"{x:g} × {y:g}"
    return (
        f"{trace.anchors.level_names[level]}: {'–'.join(sizes)} px, every {every} px",
        f"{grid.rows} × {grid.columns} cells × {grid.per_cell} = {grid.count:,} anchors",
    )


def figure_anchor_cell(trace: Trace) -> Picture:
    """Draw the anchors of the cell in the middle of each level, with their order numbers.

    Args:
        trace: of a photo.

    Returns:
        The figure: all levels on one photo, then each level enlarged.
    """
    image, anchors = trace.letterbox.image, trace.anchors
    levels = len(anchors.grids)
    colors = palette(levels)
    cells = [_center_cell(trace, level) for level in range(levels)]
    total = sum(len(cell) for cell in cells)
    figure, [whole, *panels] = page(
        f"{total} of {len(anchors):,} anchors: the middle cell of each of "
        f"{plural(levels, 'level')}",
        "Numbers are rows among all anchors, which are ordered level by level, in a level row by "
        "row, in a row column by column, in a cell ratio by ratio. Dots are the level's cells.",
        rows=-(-(levels + 1) // 3),
        columns=3,
        captions=True,
    )
    photo(whole, image)
    caption(whole, "all levels", INPUT)
    for level, (rows, color) in enumerate(zip(cells, colors, strict=True)):
        boxes(whole, anchors.boxes[rows], color, width=1.2)
        ax = panels[level]
        around = anchors.boxes[rows]
        hull = torch.cat((around[:, :2].amin(dim=0), around[:, 2:].amax(dim=0)))
        photo(ax, image, _around(hull, 1.0, 1.12))
        _dots(ax, trace, level, color, 5)
        boxes(ax, around, color, width=2)
        labels(ax, around, [f"{row:,}" for row in rows.tolist()], color)
        caption(ax, *_level_title(trace, level))
    for ax in panels[levels:]:
        ax.set_axis_off()
    return figure


def figure_anchor_levels(trace: Trace) -> Picture:
    """Draw where the anchors of each pyramid level stand, and one cell of each.

    Args:
        trace: of a photo.

    Returns:
        The figure, a panel for each level.
    """
    image, grids = trace.letterbox.image, trace.anchors.grids
    figure, panels = page(
        f"{len(trace.anchors):,} anchors on {plural(len(grids), 'pyramid level')}",
        "A dot is a cell; the outlines are the anchors of the cell in the middle.",
        ratio(image),
        rows=-(-len(grids) // 3),
        columns=3,
        captions=True,
    )
    for level, (color, grid) in enumerate(zip(palette(len(grids)), grids, strict=True)):
        ax = panels[level]
        photo(ax, image)
        ax.apply_aspect()
        spacing = ax.get_window_extent().width / max(grid.columns, 1)
        _dots(ax, trace, level, color, min(max(0.45 * spacing, 0.9), 6))
        boxes(ax, trace.anchors.boxes[_center_cell(trace, level)], color, width=1.2)
        caption(ax, *_level_title(trace, level))
    for ax in panels[len(grids) :]:
        ax.set_axis_off()
    return figure


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
    return _anchors_on_objects(
        trace,
        truth.masks,
        rows,
        f"{plural(len(rows), 'positive anchor')} for {plural(len(truth.boxes), 'object')}",
        f"{len(rows) - forced:,} overlap an object with an IoU of at least "
        f"{trace.model.rpn.proposal_matcher.high_threshold:g}; {forced:,} only more than any other "
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
    return _anchors_on_objects(
        trace,
        truth.masks,
        rows,
        plural(len(rows), "negative anchor"),
        f"Every IoU with an object is below {trace.model.rpn.proposal_matcher.low_threshold:g}. "
        f"Sampled from {before:,}.",
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
    matcher = trace.model.rpn.proposal_matcher
    return _anchors_on_objects(
        trace,
        truth.masks,
        shown,
        f"{plural(count, 'neutral anchor')}, {len(shown):,} shown",
        f"{len(between):,} are neither: IoU from {matcher.low_threshold:g} to "
        f"{matcher.high_threshold:g}, or on a crowd (these are shown). {count - len(between):,} "
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
    how: Swatch,
    width: float = 1.6,
) -> Picture:
    """Anchors over the masks of the objects, in pixels of the network's input."""
    shown = trace.anchors.boxes[rows]
    legend = (how, Swatch("mask of an object", ORANGE))
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
            Swatch("anchor", GREY, DOTTED),
            Swatch("refined: the object's box", GREY, SOLID),
        ),
    )
    joins(ax, before, targets.refined, colors)
    boxes(ax, before, colors, DOTTED, 1.5)
    boxes(ax, targets.refined, colors)
    reached = objects.unique()
    names = object_names(trace, truth)
    reached = reached[_largest_first(truth.boxes[reached])]
    labels(
        ax,
        truth.boxes[reached],
        [names[i] for i in reached.tolist()],
        [palette_of_objects[i] for i in reached.tolist()],
    )
    return figure
