"""Which objects of a COCO file are as they should be: nearly all, found by a few NumPy passes."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mrcnn_steps.data.annotation import MOST
from mrcnn_steps.data.sample import BOX_TOLERANCE
from mrcnn_steps.data.segmentation import LONGEST_OUTLINE, NUMBERS

# The numbers of so many records stay in a processor's cache, and take little memory.
BATCH = 2048


def agreeing(records: list[Any], sizes: Mapping[int, tuple[int, int]]) -> Iterator[bool]:
    """Tell of each record whether its polygons lie in its photo, and box and area are theirs.

    The others need a closer look, and may be right as well: boxes without masks, run lengths,
    polygons that overlap.

    Args:
        records: the list `annotations` of a COCO file, nothing about it checked.
        sizes: `(height, width)` of each image, by its id.

    Yields:
        For each record, in their order.
    """
    for start in range(0, len(records), BATCH):
        batch = records[start : start + BATCH]
        outlined = np.array([_is_outlined(record, sizes) for record in batch])
        chosen = [record for record, yes in zip(batch, outlined, strict=True) if yes]
        if chosen:
            outlined[outlined] = _agree(chosen, sizes)
        yield from outlined.tolist()


def _is_outlined(record: Any, sizes: Mapping[int, tuple[int, int]]) -> bool:
    """Whether a record has polygons, a box, an area and a photo, whatever is in their lists."""
    if type(record) is not dict:
        return False
    polygons, bbox = record.get("segmentation"), record.get("bbox")
    if type(polygons) is not list or type(bbox) is not list or len(bbox) != 4:
        return False
    for points in polygons:
        if type(points) is not list or len(points) < 6 or len(points) % 2:
            return False
    image_id = record.get("image_id")
    return bool(polygons) and "area" in record and type(image_id) is int and image_id in sizes


def _agree(
    records: list[dict[str, Any]], sizes: Mapping[int, tuple[int, int]]
) -> Bool[np.ndarray, "N"]:
    """Compare box and area with the polygons, as `read_annotation` does it one by one."""
    polygons = [points for record in records for points in record["segmentation"]]
    points = _numbers(list(chain.from_iterable(polygons)))
    boxes = _numbers(list(chain.from_iterable(record["bbox"] for record in records)))
    areas = _numbers([record["area"] for record in records])
    if points is None or boxes is None or areas is None:
        # All of them get the closer look, which names what is wrong with one.
        return np.zeros(len(records), dtype=bool)
    x, y = points[::2].copy(), points[1::2].copy()
    # Where each polygon begins among the points, and each object among the polygons.
    lengths = np.array([len(each) // 2 for each in polygons])
    parts = np.array([len(record["segmentation"]) for record in records])
    polygon, first = lengths.cumsum() - lengths, parts.cumsum() - parts
    inside = np.add.reduceat(_polygon_areas(x, y, polygon, lengths), first)
    begin, count = polygon[first], np.add.reduceat(lengths, first)
    low = np.stack([np.minimum.reduceat(values, begin) for values in (x, y)], axis=1)
    high = np.stack([np.maximum.reduceat(values, begin) for values in (x, y)], axis=1)
    photo = np.array([sizes[record["image_id"]] for record in records])[:, ::-1]
    corner, sides = boxes.reshape(-1, 4)[:, :2], boxes.reshape(-1, 4)[:, 2:]
    one, other = low.clip(0, photo), high.clip(0, photo)
    slack = 2 * BOX_TOLERANCE * ((other - one).sum(axis=1) + 2 * BOX_TOLERANCE)
    return (
        ((-photo <= low) & (high <= 2 * photo) & (sides >= 0)).all(axis=1)
        & (abs(corner - one) <= BOX_TOLERANCE).all(axis=1)
        & (abs(corner + sides - other) <= BOX_TOLERANCE).all(axis=1)
        & (areas >= 0)
        & (abs(areas - inside) <= slack)
        & (count * (high - low).max(axis=1) <= LONGEST_OUTLINE)
    )


def _numbers(values: list[Any]) -> Float[np.ndarray, "V"] | None:
    """Give the values as an array; None if one is no number, as true and NaN, or too large."""
    if not NUMBERS.issuperset(map(type, values)):
        return None
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:  # a whole number beyond floats
        return None
    return numbers if (abs(numbers) < MOST).all() else None


def _polygon_areas(
    x: Float[np.ndarray, "V"],
    y: Float[np.ndarray, "V"],
    begin: Int[np.ndarray, "P"],
    lengths: Int[np.ndarray, "P"],
) -> Float[np.ndarray, "P"]:
    """Gauss's formula for polygons that follow one another."""
    after = np.arange(1, len(x) + 1)
    after[begin + lengths - 1] = begin
    return abs(np.add.reduceat(x * y[after] - x[after] * y, begin)) / 2
