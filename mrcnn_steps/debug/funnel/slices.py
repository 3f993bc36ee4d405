"""Slices: the same funnel for objects that have something in common."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.rows import ObjectRow
from mrcnn_steps.debug.statistics import Interval, wilson

# COCO's limits between small, medium and large: areas of masks in pixels of the photo.
SMALL, LARGE = 32**2, 96**2

# Fewer photos than this, and one odd photo decides what a slice looks like.
ENOUGH_PHOTOS = 500
ANECDOTES = (
    "{photos} photos are fewer than 500: slices are anecdotes; read the counts, not the shares."
)


class Slice(NamedTuple):
    """A way to divide objects.

    Attributes:
        title: what it divides by.
        key: which part an object belongs to; parts are sorted by it.
        name: what a part is called.
    """

    title: str
    key: Callable[[ObjectRow], Any]
    name: Callable[[Any], str]


class Part(NamedTuple):
    """The objects of one part of a slice.

    Attributes:
        name: what they have in common.
        objects: how many there are.
        found: how many were found.
        interval: Wilson's, 95 %, of the share that was found.
        causes: how many were lost to each cause, in the order of the pipeline; none with 0.
    """

    name: str
    objects: int
    found: int
    interval: Interval
    causes: dict[str, int]


def _size(row: ObjectRow) -> int:
    return 0 if row.area < SMALL else 1 if row.area < LARGE else 2


def _octave(row: ObjectRow) -> int:
    return math.floor(math.log2(row.side)) if row.side > 0 else 0


def _octave_name(octave: int) -> str:
    return f"{2.0**octave:g}–{2.0 ** (octave + 1):g} px"


def _ratio(row: ObjectRow) -> int:
    """Nearest power of two of height / width, from a quarter to four."""
    return max(-2, min(2, round(math.log2(row.aspect)))) if row.aspect > 0 else 0


def _crowding(row: ObjectRow) -> int:
    return 0 if row.crowding == 0 else 1 if row.crowding < 3 else 2


SLICES = {
    "class": Slice("class", lambda row: row.name, str),
    "size": Slice("COCO size", _size, lambda key: ("small", "medium", "large")[key]),
    "side": Slice("side at the network's input", _octave, _octave_name),
    "aspect": Slice(
        "height / width", _ratio, lambda key: ("≤ 1:4", "1:2", "1:1", "2:1", "≥ 4:1")[key + 2]
    ),
    "crowding": Slice(
        "objects of its class on it", _crowding, lambda key: ("0", "1–2", "≥ 3")[key]
    ),
    "border": Slice(
        "photo's border", lambda row: row.at_border, lambda key: "touched" if key else "not touched"
    ),
    "level": Slice("pyramid level", lambda row: row.level, str),
}

# What these divide by is known of a model's objects only.
OF_A_MODEL = {"side", "level"}


def divide(objects: Iterable[ObjectRow], by: str) -> tuple[Part, ...]:
    """Divide objects into the parts of a slice.

    Args:
        objects: of any photos.
        by: a key of `SLICES`.

    Returns:
        The parts that have objects: classes with the most objects first, others by size.

    Raises:
        ValueError: there is no such slice.
    """
    if by not in SLICES:
        raise ValueError(f"by: expected one of {', '.join(SLICES)}, found {by!r}")
    _, key, name = SLICES[by]
    found: dict[Any, dict[str, int]] = {}
    for each in objects:
        causes = found.setdefault(key(each), {})
        causes[each.cause] = causes.get(each.cause, 0) + 1
    parts = [_part(name(each), found[each]) for each in sorted(found)]
    return tuple(sorted(parts, key=lambda part: -part.objects) if by == "class" else parts)


def _part(name: str, causes: dict[str, int]) -> Part:
    objects, found = sum(causes.values()), causes.get(FOUND, 0)
    lost = {cause: causes[cause] for cause in CAUSES if cause in causes}
    return Part(name, objects, found, wilson(found, objects), lost)
