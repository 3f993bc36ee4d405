"""The figures of a funnel: what rows add up to, as pure functions of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from mrcnn_steps.debug.coarse import MECHANISMS, mechanism
from mrcnn_steps.debug.errors import KINDS, SURE
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.curves import Bin, Curve, calibration_error, curves, reliability
from mrcnn_steps.debug.funnel.precision import (
    Claims,
    ap50,
    ap50_by_class,
    claims,
    gain_of_kind,
    gains_of_gates,
)
from mrcnn_steps.debug.funnel.rows import ObjectRow, PhotoRow
from mrcnn_steps.debug.funnel.slices import OF_A_MODEL, SLICES, Part, divide
from mrcnn_steps.debug.statistics import Interval, wilson

# Others match one to one, and find less.
RECALL_RULE = "some proposal overlaps the object by an IoU of {iou:g} or more"


class Gate(NamedTuple):
    """A gate of the pipeline, and what is lost there.

    Attributes:
        cause: a key of `debug.fates.CAUSES`.
        title: what loses objects there, in words.
        lost: how many objects.
        alive: how many come further: lost later, or found.
        share: lost, of all objects.
        interval: Wilson's, 95 %, of that share.
        gain: rise of AP50 if nothing were lost there, in points of percent; None at the mask, as
            it is that of boxes, and of an unknown class. See `precision.score_put_back`.
    """

    cause: str
    title: str
    lost: int
    alive: int
    share: float
    interval: Interval
    gain: float | None


class Kind(NamedTuple):
    """A kind of false positive.

    Attributes:
        kind: one of `debug.errors.KINDS`.
        detections: how many there are.
        sure: how many of them have a score of 0.5 or more.
        gain: rise of AP50 without them, in points of percent; see `precision.gain_of_kind`.
    """

    kind: str
    detections: int
    sure: int
    gain: float


@dataclass(frozen=True, eq=False)
class Figures:
    """What the rows of some photos add up to; each figure is computed when it is asked for.

    Rows may lie in a file: none but those of the objects are kept.

    Attributes:
        rows: of the photos, also of those that could not be read.
        iou: that they were judged at.
    """

    rows: Sequence[PhotoRow]
    iou: float = 0.5

    @property
    def ap_name(self) -> str:
        """What average precision is called at this IoU: AP50."""
        return f"AP{100 * self.iou:g}"

    def photos(self) -> Iterator[PhotoRow]:
        """Give the row of each photo that could be read."""
        return (row for row in self.rows if row.error is None)

    @cached_property
    def count(self) -> int:
        """How many photos could be read."""
        return sum(1 for _ in self.photos())

    @cached_property
    def objects(self) -> tuple[ObjectRow, ...]:
        """Every object, photo by photo."""
        return tuple(each for photo in self.photos() for each in photo.objects)

    @property
    def explained(self) -> bool:
        """Whether a model told where its objects were lost; else there are only detections."""
        return all(each.stage for each in self.objects)

    @cached_property
    def found(self) -> int:
        """How many objects were found."""
        return sum(each.cause == FOUND for each in self.objects)

    @property
    def proposal_recall(self) -> float | None:
        """The share of objects that some proposal overlaps by the IoU; None without a model.

        One proposal may reach several objects: a one-to-one matching, as detectron2's, finds less.
        """
        told = [each.proposed for each in self.objects if each.proposed is not None]
        return sum(told) / len(told) if told else None

    @cached_property
    def claims(self) -> Claims:
        """The detections that are right or wrong."""
        return claims(self.photos())

    @cached_property
    def ap50(self) -> float | None:
        """AP50 of the boxes, in percent, at the IoU of the rows; None without objects."""
        return ap50(self.claims)

    @cached_property
    def ap50_by_class(self) -> dict[str, float]:
        """AP50 of the boxes of each class that has objects, in percent."""
        return ap50_by_class(self.claims)

    @cached_property
    def gates(self) -> tuple[Gate, ...]:
        """Every gate, in the order of the pipeline; none without a model."""
        if not self.explained:
            return ()
        return gates(self.objects, gains_of_gates(self.claims, self.objects))

    @cached_property
    def mechanisms(self) -> dict[str, int]:
        """How many objects each published mechanism lost, see `coarse`; none without a model."""
        if not self.explained:
            return {}
        named = [mechanism(each.cause, each.kind) for each in self.objects]
        return {name: named.count(name) for name in MECHANISMS}

    @cached_property
    def slices(self) -> dict[str, tuple[Part, ...]]:
        """The parts of every slice; without a model, of those that need none."""
        known = SLICES if self.explained else SLICES.keys() - OF_A_MODEL
        return {by: divide(self.objects, by) for by in SLICES if by in known}

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """Every kind of false positive."""
        wrong: Counter[tuple[str, bool]] = Counter(
            (each.kind, each.score >= SURE) for photo in self.photos() for each in photo.detections
        )
        return tuple(
            Kind(
                kind,
                wrong[kind, True] + wrong[kind, False],
                wrong[kind, True],
                gain_of_kind(self.claims, kind),
            )
            for kind in KINDS
        )

    @cached_property
    def suspected(self) -> int:
        """How many detections speak against an annotation."""
        return sum(each.suspected is not None for p in self.photos() for each in p.detections)

    @cached_property
    def curves(self) -> tuple[Curve, ...]:
        """Precision, recall and F1 of each class, those with the most objects first."""
        return curves(self.claims)

    @cached_property
    def reliability(self) -> tuple[Bin, ...]:
        """Scores against how often they are right, in ten bins."""
        return reliability(self.claims)

    def record(self) -> dict[str, Any]:
        """Give all figures as JSON."""
        return {
            "photos": self.count,
            "objects": len(self.objects),
            "found": self.found,
            self.ap_name: self.ap50,
            "proposal_recall": self.proposal_recall,
            "proposal_recall_rule": RECALL_RULE.format(iou=self.iou),
            "gates": [each._asdict() for each in self.gates],
            "mechanisms": self.mechanisms,
            "slices": {by: [part._asdict() for part in parts] for by, parts in self.slices.items()},
            "false_positives": [each._asdict() for each in self.kinds],
            "suspected_labels": self.suspected,
            "classes": [self._class_record(each) for each in self.curves],
            "reliability": [each._asdict() for each in self.reliability],
            "calibration_error": calibration_error(self.reliability),
        }

    def _class_record(self, curve: Curve) -> dict[str, Any]:
        return {
            "name": curve.name,
            "objects": curve.objects,
            self.ap_name: self.ap50_by_class.get(curve.name),
            "best": None if curve.best is None else curve.best._asdict(),
            "curve": [each._asdict() for each in curve.thinned()],
        }


def gates(
    objects: Iterable[ObjectRow], gains: dict[str, float | None] | None = None
) -> tuple[Gate, ...]:
    """Count what is lost at every gate.

    Args:
        objects: of any photos.
        gains: by cause; see `Gate`.

    Returns:
        Every gate, in the order of the pipeline.
    """
    causes = [each.cause for each in objects]
    total = alive = len(causes)
    found = []
    for cause, (_, title) in CAUSES.items():
        lost = causes.count(cause)
        alive -= lost
        share = lost / total if total else 0.0
        gain = None if gains is None else gains[cause]
        found.append(Gate(cause, title, lost, alive, share, wilson(lost, total), gain))
    return tuple(found)
