"""Average precision of rows, and what it would be if something had gone right.

COCO's AP50 of boxes: 101 recalls, 100 detections of a class in a photo, mean over the classes that
have objects; in percent, as `evaluate` gives it.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mrcnn_steps.debug.errors import KINDS
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.rows import IGNORED, ObjectRow, PhotoRow

# Detections of one class in one photo that COCO's evaluation looks at.
MOST_DETECTIONS = 100

RECALLS = np.linspace(0, 1, 101)

# A wrong detection of these kinds would have found its object with a better box, or another class.
MENDABLE = ("localization", "class")

NOTHING = -1


@dataclass(frozen=True, eq=False)
class Claims:
    """The detections of many photos that are right or wrong, as columns.

    Attributes:
        names: the classes that have an object or a detection, in alphabetical order.
        objects: [C] how many objects each class has.
        label: [D] the class of each detection, a place in `names`.
        score: [D] in 0…1.
        kind: [D] a place in `KINDS`; -1 of a true positive.
        meant: [D] of a wrong detection, the class of the missed object that it would have found;
            -1 if that is none, or another detection stands for it.
    """

    names: tuple[str, ...]
    objects: Int[np.ndarray, "C"]
    label: Int[np.ndarray, "D"]
    score: Float[np.ndarray, "D"]
    kind: Int[np.ndarray, "D"]
    meant: Int[np.ndarray, "D"]

    @property
    def right(self) -> Bool[np.ndarray, "D"]:
        """Which detections found an object."""
        return self.kind == NOTHING


class Put(NamedTuple):
    """An object that is put back: it counts as found, at a score.

    Attributes:
        name: its class.
        score: of the detection that it would have had.
    """

    name: str
    score: float


def claims(photos: Iterable[PhotoRow]) -> Claims:
    """Collect the detections of photos; those that are ignored are left out.

    Args:
        photos: rows of a funnel.

    Returns:
        The columns, photos in the order of their ids: of equal scores, the first comes first.
    """
    objects: dict[str, int] = {}
    # Columns, since a list of half a million rows takes more room than the network.
    images, labels, scores = array("q"), array("i"), array("d")
    kinds, meanings = array("b"), array("i")
    # Classes in the order in which they appear.
    number: dict[str, int] = {}
    for photo in photos:
        missed = {each.object: each.name for each in photo.objects if not is_matched(each)}
        # The best detection of a missed object stands for it (TIDE, §2.3).
        free = {(kind, object): name for object, name in missed.items() for kind in MENDABLE}
        for each in photo.objects:
            objects[each.name] = objects.get(each.name, 0) + 1
            number.setdefault(each.name, len(number))
        counted: dict[str, int] = {}
        for claim in sorted(photo.detections, key=lambda claim: -claim.score):
            counted[claim.name] = counted.get(claim.name, 0) + 1
            if claim.kind == IGNORED or counted[claim.name] > MOST_DETECTIONS:
                continue
            meant = None if claim.object is None else free.pop((claim.kind, claim.object), None)
            images.append(photo.image_id)
            labels.append(number.setdefault(claim.name, len(number)))
            scores.append(claim.score)
            kinds.append(KINDS.index(claim.kind) if claim.kind else NOTHING)
            meanings.append(NOTHING if meant is None else number[meant])
    names = tuple(sorted(number))
    # The last place is that of NOTHING.
    place = np.array([*map(names.index, number), NOTHING])
    order = np.argsort(np.array(images, dtype=np.int64), kind="stable")
    return Claims(
        names=names,
        objects=np.array([objects.get(name, 0) for name in names], dtype=np.int64),
        label=place[np.array(labels, dtype=np.int64)[order]],
        score=np.array(scores, dtype=np.float64)[order],
        kind=np.array(kinds, dtype=np.int64)[order],
        meant=place[np.array(meanings, dtype=np.int64)[order]],
    )


def is_matched(row: ObjectRow) -> bool:
    """Tell whether some detection's box matches an object, whatever its mask."""
    return row.cause in (FOUND, "mask")


def average_precision(
    score: Float[np.ndarray, "D"], right: Bool[np.ndarray, "D"], objects: int
) -> float | None:
    """Compute the average precision of one class as pycocotools does.

    Args:
        score: [D] of its detections.
        right: [D] whether each found an object.
        objects: how many objects there are.

    Returns:
        0…1: the mean over the recalls 0, 0.01, … 1 of the best precision at that recall or a higher
        one; None without objects.
    """
    if objects == 0:
        return None
    hits = np.cumsum(right[np.argsort(-score, kind="stable")])
    precision = hits / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / objects, RECALLS, side="left")
    return float(np.append(best, 0.0)[places].mean())


def ap50_by_class(found: Claims) -> dict[str, float]:
    """Compute the average precision of each class that has objects, in percent."""
    return _by_class(found, found.label, found.score, found.right)


def ap50(found: Claims) -> float | None:
    """Compute the mean average precision, in percent; None without objects."""
    return _mean(ap50_by_class(found))


def gain_of_objects(found: Claims, put: Iterable[Put]) -> float:
    """Tell how much AP50 would rise if some missed objects had been found.

    Args:
        found: the detections as they are.
        put: those objects.

    Returns:
        The rise, in points of percent.
    """
    place = {name: label for label, name in enumerate(found.names)}
    back = [(place[name], score) for name, score in put]
    label = np.array([label for label, _ in back], dtype=np.int64)
    score = np.array([score for _, score in back], dtype=np.float64)
    return _rise(
        found,
        np.append(found.label, label),
        np.append(found.score, score),
        np.append(found.right, np.ones(len(back), dtype=bool)),
    )


def gain_of_kind(found: Claims, kind: str) -> float:
    """Tell how much AP50 would rise without a kind of false positive (TIDE, §2.3).

    Of the mendable kinds, the best detection of each missed object finds it; all others of the
    kind are taken away.

    Args:
        found: the detections as they are.
        kind: one of `KINDS`.

    Returns:
        The rise, in points of percent.
    """
    of_kind = found.kind == KINDS.index(kind)
    mended = of_kind & (found.meant != NOTHING)
    stays = ~of_kind | mended
    label = np.where(mended, found.meant, found.label)
    return _rise(found, label[stays], found.score[stays], (found.right | mended)[stays])


def score_put_back(row: ObjectRow) -> float | None:
    """Give the score at which a missed object is put back to price the gate that lost it.

    Args:
        row: an object.

    Returns:
        That of its able candidate. Where none is able, the gate itself would have to do better:
        then the probability that the decisive candidate has (`class`, `box`), or that the object's
        own box would have (`anchors`, `rpn_box`). None for what was found, and elsewhere.
    """
    if row.cause == FOUND:
        return None
    if row.able_score is not None:
        return row.able_score
    return {
        "class": row.score,
        "box": row.score,
        "anchors": row.perfect_probability,
        "rpn_box": row.perfect_probability,
    }.get(row.cause)


def gains_of_gates(found: Claims, objects: Iterable[ObjectRow]) -> dict[str, float | None]:
    """Price every gate: the rise of AP50 if nothing were lost there; see `score_put_back`.

    Args:
        found: the detections as they are.
        objects: all objects of the same photos.

    Returns:
        By cause, in points of percent; None where objects were lost of which none can be priced.
    """
    put: dict[str, list[Put]] = {cause: [] for cause in CAUSES}
    lost = dict.fromkeys(CAUSES, 0)
    for each in objects:
        if each.cause != FOUND:
            lost[each.cause] += 1
            if (score := score_put_back(each)) is not None:
                put[each.cause].append(Put(each.name, score))
    return {
        cause: None if lost[cause] and not back else gain_of_objects(found, back)
        for cause, back in put.items()
    }


def _rise(found: Claims, label: np.ndarray, score: np.ndarray, right: np.ndarray) -> float:
    before, after = ap50(found), _mean(_by_class(found, label, score, right))
    return 0.0 if before is None or after is None else after - before


def _by_class(
    found: Claims, label: np.ndarray, score: np.ndarray, right: np.ndarray
) -> dict[str, float]:
    values = {}
    for place, name in enumerate(found.names):
        own = label == place
        value = average_precision(score[own], right[own], int(found.objects[place]))
        if value is not None:
            values[name] = 100 * value
    return values


def _mean(values: dict[str, float]) -> float | None:
    return sum(values.values()) / len(values) if values else None
