"""What stage 2 shows: the anchors of a place, their order, and which objects they cover."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mrcnn_steps.anchors import AnchorLocation, Anchors, BestAnchors
from mrcnn_steps.boxes import centers_and_sizes
from mrcnn_steps.matching import most_overlapped
from mrcnn_steps.palette import DASHED, GREEN, OBJECT, SOLID, VERMILLION, WHITE, level_colors
from mrcnn_widgets.scene import Scene
from mrcnn_widgets.viewer.layers import (
    BoxLayer,
    Category,
    GridLayer,
    Group,
    Layer,
    PointLayer,
    as_numpy,
)
from mrcnn_widgets.views.objects import as_boxes, object_labels, objects_layer

COVERED = Group("covered", OBJECT.color, SOLID)
MISSED = Group("not covered", VERMILLION, DASHED)
BEST = Group("best anchor", GREEN, DASHED)
ORDER = Group("order", WHITE)
CURRENT = Group("current", WHITE)
# How many of the anchors before the current one leave a mark.
MARKS = 60
NO_OBJECTS = "This photo has no annotated objects to cover."
# Levels whose anchors start hidden where all are shown.
FINE = 2


def cells(
    anchors: Anchors, point: tuple[float, float], levels: Sequence[int]
) -> tuple[AnchorLocation, ...]:
    """Find the cells at a place, the nearest ones beside the photo.

    Args:
        anchors: a pyramid.
        point: `(x, y)` in pixels of the network's input.
        levels: the levels that are asked for.

    Returns:
        The first anchor of the cell at that place, for each level.
    """
    x, y = point
    places = []
    for level in levels:
        grid = anchors.grids[level]
        row = min(max(int(y // grid.stride[0]), 0), grid.rows - 1)
        column = min(max(int(x // grid.stride[1]), 0), grid.columns - 1)
        places.append(AnchorLocation(level, row, column, 0))
    return tuple(places)


def cell_layer(anchors: Anchors, places: Sequence[AnchorLocation], scene: Scene) -> BoxLayer:
    """Show all anchors of some cells, a color for each level.

    Args:
        anchors: a pyramid.
        places: the cells.
        scene: the photo, whose objects the hover card names.

    Returns:
        The layer "anchors here".
    """
    rows = [
        anchors.index(place) + ratio
        for place in places
        for ratio in range(anchors.grids[place.level].per_cell)
    ]
    boxes = anchors.boxes[rows]
    _, _, width, height = centers_and_sizes(boxes)
    fields: dict[str, Any] = {"anchor": rows, "width / height": width / height}
    if scene.names:
        best, row = most_overlapped(boxes, scene.boxes)
        fields |= {"best IoU": best, "object": Category(row, object_labels(scene.names))}
    names = anchors.level_names
    return BoxLayer(
        "anchors here",
        as_boxes(boxes),
        groups=[Group(*look) for look in zip(names, level_colors(len(names)), strict=True)],
        group_index=as_numpy(anchors.levels(torch.tensor(rows))),
        fields=fields,
    )


def every(anchors: Anchors) -> BoxLayer:
    """Show all anchors by their level; the two finest levels, which cover the photo, start hidden.

    Args:
        anchors: a pyramid.

    Returns:
        The layer "anchors"; its row is the anchor's.
    """
    names, grids = anchors.level_names, anchors.grids
    colors = level_colors(len(names))
    cells = [
        torch.cartesian_prod(*map(torch.arange, (g.rows, g.columns, g.per_cell))).reshape(-1, 3)
        for g in grids
    ]
    row, column, shape = torch.cat(cells).unbind(dim=1)
    return BoxLayer(
        "anchors",
        as_boxes(anchors.boxes),
        groups=[
            Group(name, color, visible=level >= min(FINE, len(names) - 1))
            for level, (name, color) in enumerate(zip(names, colors, strict=True))
        ],
        group_index=as_numpy(anchors.levels(torch.arange(len(anchors)).to(anchors.boxes.device))),
        fields={"row": row, "column": column, "shape": shape},
    )


def current_layers(anchors: Anchors, index: int, step: int) -> list[Layer]:
    """Show one anchor in the grid of its level, and the order in which it is reached.

    Args:
        anchors: a pyramid.
        index: the anchor.
        step: anchors from one mark of the order to the next.

    Returns:
        The layers "grid", "order" and "current".
    """
    place = anchors.locate(index)
    grid, first = anchors.grids[place.level], anchors.level_slices[place.level].start
    before = range(index, max(index - MARKS * step, first - 1), -step)
    x, y, _, _ = centers_and_sizes(anchors.boxes[list(before)])
    return [
        GridLayer(
            "grid",
            (grid.stride[1], grid.stride[0]),
            (grid.rows, grid.columns),
            cells=[[place.row, place.column]],
        ),
        PointLayer("order", torch.stack((x, y), dim=1), groups=[ORDER], pickable=False),
        BoxLayer(
            "current",
            as_boxes(anchors.boxes[index][None]),
            groups=[CURRENT],
            labels=[f"{index:,}"],
            width=3,
            pickable=False,
        ),
    ]


def coverage_layers(
    anchors: Anchors,
    scene: Scene,
    best: BestAnchors,
    covered: Bool[Tensor, "G"],
    chosen: int | None,
) -> list[Layer]:
    """Show which objects have an anchor that fits, and the best anchor of one of them.

    Args:
        anchors: a pyramid.
        scene: the photo with its objects.
        best: the best anchor of each object.
        covered: [G] whether it fits.
        chosen: the object whose best anchor is shown, if any.

    Returns:
        The layers "objects" and "best anchor".
    """
    labels = object_labels(scene.names)
    rows = [] if chosen is None else [chosen]
    objects = objects_layer(
        scene.boxes,
        scene.names,
        groups=[COVERED, MISSED],
        group_index=(~covered).int(),
        labels=None,
        pickable=True,
        fields={
            "object": Category(range(len(labels)), labels),
            "best IoU": best.iou,
            "anchor": best.row,
        },
    )
    return [
        objects,
        BoxLayer(
            "best anchor",
            as_boxes(anchors.boxes[best.row[rows]]),
            groups=[BEST],
            labels=[f"{labels[row]} · best anchor, IoU {best.iou[row]:.2f}" for row in rows],
            width=3,
            pickable=False,
        ),
    ]


def facts(anchors: Anchors, index: int) -> list[tuple[str, str]]:
    """Where an anchor stands, and its shape."""
    place = anchors.locate(index)
    grid = anchors.grids[place.level]
    width, height = _size(anchors.boxes[index])
    return [
        ("anchor", f"{index:,}"),
        ("level", anchors.level_names[place.level]),
        ("row", f"{place.row} of {grid.rows}"),
        ("column", f"{place.column} of {grid.columns}"),
        ("ratio", f"{place.ratio} · width / height {width / height:.2f}"),
        ("size", f"{width:.0f} × {height:.0f} px"),
    ]


def counts(anchors: Anchors) -> list[tuple[str, str, str, str]]:
    """How many anchors each level has: name, pixels from cell to cell, cells × ratios, anchors."""
    levels = zip(anchors.level_names, anchors.grids, strict=True)
    rows = [
        (name, f"{g.stride[1]:g}", f"{g.rows} × {g.columns} × {g.per_cell}", f"{g.count:,}")
        for name, g in levels
    ]
    return [*rows, ("all", "", "", f"{len(anchors):,}")]


def coverage(
    anchors: Anchors, names: Sequence[str], best: BestAnchors, covered: Bool[Tensor, "G"]
) -> list[tuple[str, ...]]:
    """How well each object is covered: a headline, then object, IoU, level and verdict of each.

    Args:
        anchors: a pyramid.
        names: the class of each object.
        best: the best anchor of each object.
        covered: [G] whether it fits.

    Returns:
        The lines of a table, its header first.
    """
    if not names:
        return [(NO_OBJECTS,)]
    levels = [anchors.level_names[level] for level in anchors.levels(best.row).tolist()]
    verdicts = ["covered" if yes else "not covered" for yes in covered.tolist()]
    ious = [f"{iou:.2f}" for iou in best.iou.tolist()]
    headline = (f"{int(covered.sum())} of {len(names)} covered", "IoU", "level", "")
    return [headline, *zip(object_labels(names), ious, levels, verdicts, strict=True)]


def _size(box: Float[Tensor, "4"]) -> tuple[float, float]:
    x1, y1, x2, y2 = box.tolist()
    return x2 - x1, y2 - y1
