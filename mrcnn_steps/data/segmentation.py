"""COCO's segmentations: polygons or run lengths, checked, measured and drawn."""

from math import isfinite
from operator import mul
from typing import Any

import numpy as np

from mrcnn_steps.data.field_error import ABSENT, FieldError
from mrcnn_steps.data.runs import Runs

Box = tuple[float, float, float, float]

# Drawing an outline takes memory for every pixel on its way: 100 bytes, 200 MB at this length.
LONGEST_OUTLINE = 2_000_000

NUMBERS = frozenset((int, float))


def is_none(segmentation: Any) -> bool:
    """Whether an annotation has no mask: tools that draw boxes write nothing, null or []."""
    return segmentation is None or segmentation is ABSENT or segmentation in ([], [[]])


def check_polygons(segmentation: Any, height: int, width: int) -> Box:
    """Make sure that a segmentation without run lengths is a list of polygons in its photo.

    Args:
        segmentation: what a file has.
        height: of the photo in pixels.
        width: of the photo in pixels.

    Returns:
        The box `(x1, y1, x2, y2)` around the points, inside the photo; what is thinner than a
        pixel has no pixels there.

    Raises:
        FieldError: it is not.
    """
    if not isinstance(segmentation, list):
        raise FieldError("segmentation", segmentation, "polygons or run lengths")
    first = segmentation[0]
    if isinstance(first, dict) and "counts" in first:
        raise FieldError(
            "segmentation", segmentation, "run lengths without the brackets around them"
        )
    if type(first) in NUMBERS:
        raise FieldError(
            "segmentation",
            segmentation,
            "a list of polygons, with one more pair of brackets: [[x1, y1, x2, y2, …]]",
        )
    x1, y1, x2, y2 = float(width), float(height), 0.0, 0.0
    for points in segmentation:
        left, top, right, bottom = _check_polygon(points, height, width)
        x1, y1, x2, y2 = min(x1, left), min(y1, top), max(x2, right), max(y2, bottom)
    return max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)


def runs(segmentation: Any, height: int, width: int) -> Runs:
    """Draw a segmentation.

    Args:
        segmentation: polygons that `check_polygons` has let through, or run lengths.
        height: of the photo in pixels.
        width: of the photo in pixels.

    Returns:
        Its pixels.

    Raises:
        FieldError: these are no run lengths of a mask of this size.
    """
    from pycocotools import mask as coco_mask

    size = (height, width)
    if isinstance(segmentation, list):
        drawn = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        found = Runs.of_counts(drawn["counts"].decode(), size)
        assert found is not None
        return found
    # Numbers that are no whole ones would compare as equal.
    given = segmentation.get("size", ABSENT)
    if given != [height, width] or not all(type(side) is int for side in given):
        expected = f"{[height, width]}, height and width of the photo"
        swapped = "segmentation_swapped" if given == [width, height] else ""
        raise FieldError("segmentation.size", given, expected, swapped)
    counts = segmentation.get("counts", ABSENT)
    found = Runs.of_counts(counts, size)
    if found is None:
        expected = f"run lengths that add up to the {height * width} pixels"
        raise FieldError("segmentation.counts", counts, expected)
    return found


def outlined_area(polygons: list[list[float]]) -> float:
    """Compute the area inside polygons by Gauss's formula, as if they did not overlap."""
    total = 0.0
    for points in polygons:
        # In plain Python: for the few points of an outline, NumPy takes ten times as long.
        x, y = points[::2], points[1::2]
        left, right = sum(map(mul, x[:-1], y[1:])), sum(map(mul, x[1:], y[:-1]))
        total += 0.5 * abs(left + x[-1] * y[0] - right - x[0] * y[-1])
    return total


def _flat(points: Any) -> str:
    """Say what to do about a polygon of pairs."""
    pairs = type(points) is list and list in map(type, points)
    return ", without brackets around each point" if pairs else ""


def _check_polygon(points: Any, height: int, width: int) -> tuple[float, float, float, float]:
    """Check one polygon; returns the box around its points."""
    if type(points) is not list or len(points) < 6 or len(points) % 2:
        expected = f"at least 3 points [x1, y1, x2, y2, x3, y3, …] a polygon{_flat(points)}"
        raise FieldError("segmentation", points, expected, "segmentation_points")
    near = f"numbers near the {width}×{height} photo"
    if not NUMBERS.issuperset(map(type, points)):
        raise FieldError("segmentation", points, near + _flat(points))
    xs, ys = points[::2], points[1::2]
    x1, y1, x2, y2 = min(xs), min(ys), max(xs), max(ys)
    # Points may lie outside the photo a little. NaN is neither less nor more, but spoils a sum.
    inside = -width <= x1 and x2 <= 2 * width and -height <= y1 and y2 <= 2 * height
    if not inside or not isfinite(sum(points)):
        raise FieldError("segmentation", points, near, "segmentation_outside")
    if len(xs) * max(x2 - x1, y2 - y1) > LONGEST_OUTLINE:
        _check_length(points)
    return x1, y1, x2, y2


def _check_length(points: list[float]) -> None:
    corners = np.array(points, dtype=np.float64).reshape(-1, 2)
    steps = np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1)
    if steps.sum() > LONGEST_OUTLINE:
        expected = f"an outline of at most {LONGEST_OUTLINE:,} pixels"
        raise FieldError("segmentation", f"{steps.sum():,.0f} pixels of outline", expected)
