"""Which score to ask for: precision, recall and F1 by threshold, and what a score is worth."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mrcnn_steps.debug.funnel.precision import Claims

BINS = 10

# Thresholds that a curve is written at.
STEPS = 21


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of one class at every threshold that makes a difference.

    Attributes:
        name: the class.
        objects: how many there are.
        threshold: [N] scores in falling order; a detection counts if its score reaches it.
        precision: [N] of the detections that count, the share that found an object.
        recall: [N] of the objects, the share that was found; 0 without objects.
        f1: [N] their harmonic mean.
    """

    name: str
    objects: int
    threshold: Float[np.ndarray, "N"]
    precision: Float[np.ndarray, "N"]
    recall: Float[np.ndarray, "N"]
    f1: Float[np.ndarray, "N"]

    @property
    def best(self) -> "Operation | None":
        """Where F1 is highest, of equal ones at the highest score; None if nothing is found."""
        if not len(self.f1) or not self.f1.any():
            return None
        return self.at(int(self.f1.argmax()))

    def thinned(self) -> list["Operation"]:
        """Give the points nearest below the thresholds 1, 0.95, … 0, for a table or a file."""
        rows = np.searchsorted(-self.threshold, -np.linspace(1, 0, STEPS), side="right") - 1
        return [self.at(row) for row in dict.fromkeys(rows.tolist()) if row >= 0]

    def at(self, row: int) -> "Operation":
        """Give one point of the curve."""
        values = (self.threshold, self.precision, self.recall, self.f1)
        return Operation(*(float(each[row]) for each in values))


class Operation(NamedTuple):
    """What a class comes to at one threshold; see `Curve`."""

    threshold: float
    precision: float
    recall: float
    f1: float


class Bin(NamedTuple):
    """The detections whose scores lie in one tenth of 0…1.

    Attributes:
        low: they are above it (and 0 belongs to the first bin).
        high: they do not exceed it.
        detections: how many.
        score: their mean; None of an empty bin.
        precision: the share that found an object; None of an empty bin.
    """

    low: float
    high: float
    detections: int
    score: float | None
    precision: float | None


def curves(found: Claims) -> tuple[Curve, ...]:
    """Compute the curve of each class.

    Args:
        found: the detections.

    Returns:
        Those of the classes of `found`, the ones with the most objects first.
    """
    order = sorted(range(len(found.names)), key=lambda place: -int(found.objects[place]))
    return tuple(_curve(found, place) for place in order)


def reliability(found: Claims) -> tuple[Bin, ...]:
    """Compare scores with how often they are right (Guo et al. 2017, §2).

    Args:
        found: the detections.

    Returns:
        Ten bins, from the lowest scores to the highest.
    """
    edges = np.arange(BINS + 1) / BINS
    place = np.searchsorted(edges, found.score).clip(1) - 1
    bins = []
    for each, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        own = place == each
        count = int(own.sum())
        score = float(found.score[own].mean()) if count else None
        precision = float(found.right[own].mean()) if count else None
        bins.append(Bin(low, high, count, score, precision))
    return tuple(bins)


def calibration_error(bins: tuple[Bin, ...]) -> float | None:
    """Give the expected calibration error: the mean gap between score and precision.

    Args:
        bins: made by `reliability`.

    Returns:
        0…1, weighted by detections (Guo et al. 2017, eq. 3); None without any.
    """
    total = sum(each.detections for each in bins)
    gaps = (
        each.detections * abs(each.score - each.precision)
        for each in bins
        if each.score is not None and each.precision is not None
    )
    return sum(gaps) / total if total else None


def _curve(found: Claims, place: int) -> Curve:
    own = found.label == place
    order = np.argsort(-found.score[own], kind="stable")
    score, objects = found.score[own][order], int(found.objects[place])
    hits = np.cumsum(found.right[own][order])
    # Detections of equal score count together or not at all.
    last = np.append(score[1:] != score[:-1], True)[: len(score)].nonzero()[0]
    hits, count = hits[last], last + 1.0
    return Curve(
        name=found.names[place],
        objects=objects,
        threshold=score[last],
        precision=hits / count,
        recall=hits / max(objects, 1),
        # 2PR / (P + R) with P = hits / count and R = hits / objects.
        f1=2 * hits / (count + objects),
    )
