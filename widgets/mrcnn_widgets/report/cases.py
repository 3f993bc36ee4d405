"""The cases of a data set: annotated objects, and detections that found none, the worst first."""

from collections.abc import Sequence
from heapq import nsmallest
from itertools import chain, zip_longest
from math import floor, sqrt
from typing import Any, NamedTuple

from mrcnn_steps.debug.errors import KINDS
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.precision import is_matched
from mrcnn_steps.debug.funnel.rows import DetectionRow, ObjectRow, PhotoRow
from mrcnn_steps.debug.funnel.slices import SLICES
from mrcnn_steps.debug.funnel.worst import worst_objects

MISSED, WRONG = "missed", "wrong"


class Case(NamedTuple):
    """An object, or a detection that is wrong.

    Attributes:
        photo: that it is in.
        row: what is known about it.
    """

    photo: PhotoRow
    row: ObjectRow | DetectionRow

    @property
    def verdict(self) -> str:
        """Say "found" or "missed" of an object, "wrong" of a detection."""
        if isinstance(self.row, DetectionRow):
            return WRONG
        return FOUND if self.row.cause == FOUND else MISSED

    @property
    def score(self) -> float:
        """Give the score of a detection, or that with which an object was (nearly) found; or 0."""
        return self.row.score or 0.0


def list_cases(photos: Sequence[PhotoRow], most: int) -> list[Case]:
    """List the worst cases.

    Args:
        photos: of a funnel; they may lie in a file, and are gone through three times.
        most: how many cases to list.

    Returns:
        In turn a missed object, the largest first, and a wrong detection, the surest first; then
        the objects that were found, those with the lowest score first.
    """
    missed = [Case(photo, row) for photo, row in worst_objects(photos, most)]
    detections = (Case(photo, row) for photo in photos for row in photo.detections)
    wrong = (case for case in detections if case.row.kind in KINDS)
    objects = (Case(photo, row) for photo in photos for row in photo.objects)
    found = (case for case in objects if case.verdict == FOUND)
    surest = nsmallest(most, wrong, key=lambda case: -case.score)
    in_turn = chain.from_iterable(zip_longest(missed, surest))
    worst = [case for case in in_turn if case is not None]
    return [*worst, *nsmallest(most, found, key=lambda case: case.score)][:most]


def pack_cases(cases: Sequence[Case]) -> dict[str, Any]:
    """Put cases into columns for the page's search and gallery.

    Args:
        cases: in the order in which they are shown.

    Returns:
        JSON: `photos`, and for each case its `photo` (a place there), `row`, `box`, and by key of
        the search its `texts` and `numbers`.
    """
    photos = {case.photo.image_id: case.photo for case in cases}
    place = {image_id: place for place, image_id in enumerate(photos)}
    items = [_item(case) for case in cases]
    columns = {key: [item[key] for item in items] for key in (items[0] if items else ())}
    return {
        "photos": [
            {
                "id": photo.image_id,
                "name": photo.photo,
                "width": photo.width,
                "height": photo.height,
            }
            for photo in photos.values()
        ],
        "photo": [place[case.photo.image_id] for case in cases],
        "row": [number_of(case) for case in cases],
        "box": [[round(value, 1) for value in case.row.box] for case in cases],
        "texts": {key: _by_name(columns[key]) for key in TEXTS if key in columns},
        "numbers": {key: columns[key] for key in NUMBERS if key in columns},
    }


def number_of(case: Case) -> int:
    """Give the number of an object or a detection in its photo."""
    return case.row.detection if isinstance(case.row, DetectionRow) else case.row.object


TEXTS = (
    *("is", "cause", "kind", "class", "stage", "level", "border", "shape", "suspected"),
    *("detected", "past"),
)
NUMBERS = ("size", "side", "aspect", "crowding", "score")


def _item(case: Case) -> dict[str, Any]:
    """Give what the search looks at."""
    row = case.row
    common = {"is": case.verdict, "class": row.name, "kind": row.kind, "score": _exact(row.score)}
    if isinstance(row, DetectionRow):
        nothing = dict.fromkeys((*TEXTS, *NUMBERS))
        x1, y1, x2, y2 = row.box
        size = _floor(sqrt(max(x2 - x1, 0) * max(y2 - y1, 0)))
        suspected = "no" if row.suspected is None else "yes"
        more = {"size": size, "suspected": suspected, "detected": "yes"}
        return nothing | common | more
    shape = SLICES["aspect"]
    return common | {
        "cause": row.cause if row.cause in CAUSES else None,
        "stage": row.stage if row.cause in CAUSES else None,
        "level": row.level or None,
        "border": "yes" if row.at_border else "no",
        "shape": shape.name(shape.key(row)),
        "suspected": None,
        "detected": "yes" if is_matched(row) else "no",
        "past": _past(row.cause),
        "size": _floor(sqrt(row.area)),
        "side": _floor(row.side),
        "aspect": _floor(row.aspect),
        "crowding": row.crowding,
    }


def _past(cause: str) -> tuple[str, ...] | None:
    """Name the gates behind which an object was still alive; None where no model told of them."""
    gates = tuple(CAUSES)
    if cause == FOUND:
        return gates
    return gates[: gates.index(cause)] if cause in CAUSES else None


def _floor(value: float) -> float:
    """Cut a number off: what is below a bound with three decimals or fewer stays below."""
    return floor(value * 1000) / 1000


def _exact(score: float | None) -> float | None:
    """Round a score so little that it stays on its side of every bound, whichever counts."""
    return None if score is None else round(score, 9)


def _by_name(texts: Sequence[Any]) -> dict[str, Any]:
    """Write each text once."""
    names = {name: place for place, name in enumerate(dict.fromkeys(texts))}
    return {"names": list(names), "index": [names[text] for text in texts]}
