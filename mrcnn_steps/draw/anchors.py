"""Pictures of the anchors: the cell in the middle of each level, and where the cells stand."""

import torch
from matplotlib.axes import Axes
from torch import Tensor

from mrcnn_steps.anchors import AnchorLocation
from mrcnn_steps.draw.primitives import boxes, labels, photo, to_numpy
from mrcnn_steps.draw.scene import INPUT, around, ratio
from mrcnn_steps.draw.style import Picture, caption, page, plural
from mrcnn_steps.palette import level_colors
from mrcnn_steps.tracing import Trace


def _center_cell(trace: Trace, level: int) -> Tensor:
    """Give the anchors of the cell in the middle of a level, as rows."""
    grid = trace.anchors.grids[level]
    first = AnchorLocation(level, grid.rows // 2, grid.columns // 2, 0)
    start = trace.anchors.index(first)
    return torch.arange(start, start + grid.per_cell)


def _centers(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _dots(ax: Axes, trace: Trace, level: int, color: str, diameter: float) -> None:
    """Give the anchor positions of a level."""
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
    colors = level_colors(levels)
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
        cell = anchors.boxes[rows]
        hull = torch.cat((cell[:, :2].amin(dim=0), cell[:, 2:].amax(dim=0)))
        photo(ax, image, around(hull, 1.0, 1.12))
        _dots(ax, trace, level, color, 5)
        boxes(ax, cell, color, width=2)
        labels(ax, cell, [f"{row:,}" for row in rows.tolist()], color)
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
    for level, (color, grid) in enumerate(zip(level_colors(len(grids)), grids, strict=True)):
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
