"""What coverage is: a row an object, and their sums by class, side, aspect and level."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mrcnn_steps.debug.coverage.advice import Advice, Advised, Option
from mrcnn_steps.debug.coverage.fit import Fit
from mrcnn_steps.debug.coverage.shares import THRESHOLDS, Shares, shares

if TYPE_CHECKING:
    from mrcnn_steps.draw.style import Picture

Kind = Literal["class", "side", "aspect", "level"]
KINDS: tuple[Kind, ...] = ("class", "side", "aspect", "level")


@dataclass(frozen=True)
class Slice:
    """How well the anchors cover some of the objects.

    Attributes:
        name: what these objects share, such as "16–32 px".
        shares: coverage and loss.
        positives: anchors that the RPN is trained to move onto one of them, on average.
        forced: share of them whose best anchor is below the RPN's threshold for positives: only
            the rule that every object gets its best anchor trains it on them.
        by_shape: how many lack an IoU of 0.5 and have the shape to blame: no anchor has one near
            theirs. Other sizes and ratios mend it.
        by_grid: how many lack it and have the grid to blame: the cells of that level stand too far
            apart for objects so small. Such a size on a finer level mends it, or a larger input.
    """

    name: str
    shares: Shares
    positives: float
    forced: float
    by_shape: int
    by_grid: int


@dataclass(frozen=True, eq=False)
class Coverage:
    """The anchors of a model against the objects of a data set.

    Attributes:
        photos: how many there are.
        photo: [N] the photo of each object.
        labels: [N] rows of `class_names`.
        boxes: [N, 4] in pixels of the network's input.
        fit: best IoU, level, bounds and positives, a row an object.
        left_out: crowds, and objects without pixels.
        class_names: what the classes are called, the background first.
        level_names: what the pyramid levels are called, the finest first.
        shapes: [K, 2] width and height of every anchor of a cell, level by level.
        anchors: of a photo on average.
        positive_iou: from which IoU on an anchor is trained on an object.
        most_positives: so many positives of a photo the RPN is trained on at most.
        advised: other anchors that fit better, with their proof.
    """

    photos: int
    photo: Int[Tensor, "N"]
    labels: Int[Tensor, "N"]
    boxes: Float[Tensor, "N 4"]
    fit: Fit
    left_out: int
    class_names: tuple[str, ...]
    level_names: tuple[str, ...]
    shapes: Float[Tensor, "K 2"]
    anchors: float
    positive_iou: float
    most_positives: int
    advised: Advised

    @property
    def advice(self) -> tuple[Advice, ...]:
        """Sets of anchors that fit better; none where none is needed or found."""
        return self.advised.sets

    @property
    def overall(self) -> Slice:
        """All objects."""
        return self._slice("all", torch.ones(len(self.boxes), dtype=torch.bool))

    @property
    def positives_a_photo(self) -> float:
        """Positives that the RPN is trained on in a photo, on average over all photos."""
        if not self.photos:
            return math.nan
        counts = torch.zeros(self.photos, dtype=torch.int64)
        counts.index_add_(0, self.photo, self.fit.positives)
        return float(counts.clamp(max=self.most_positives).double().mean())

    def slices(self, kind: Kind) -> tuple[Slice, ...]:
        """Sum up the objects by class, side (log2), aspect (log2 of height / width) or level.

        Args:
            kind: one of `KINDS`.

        Returns:
            The slices that have objects: sides and levels rise, classes come in their order.

        Raises:
            ValueError: there is no such kind.
        """
        sides = (self.boxes[:, 2:] - self.boxes[:, :2]).double()
        width, height = sides.unbind(dim=1)
        keyed: dict[str, tuple[Tensor, Callable[[int], str]]] = {
            "class": (self.labels, lambda label: self.class_names[label]),
            "side": ((width * height).sqrt().log2().floor().long(), _side),
            "aspect": ((height / width).log2().round().long(), _aspect),
            "level": (self.fit.level, lambda level: self.level_names[level]),
        }
        if kind not in keyed:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, found {kind!r}")
        keys, names = keyed[kind]
        return tuple(self._slice(names(key), keys == key) for key in keys.unique().tolist())

    def _slice(self, name: str, rows: Tensor) -> Slice:
        iou, positives = self.fit.iou[rows], self.fit.positives[rows].double()
        low, shape_lower = iou < THRESHOLDS[1], self.fit.shape[rows] <= self.fit.grid[rows]
        return Slice(
            name=name,
            shares=shares(iou),
            positives=float(positives.mean()),
            forced=float((iou < self.positive_iou).double().mean()),
            by_shape=int((low & shape_lower).sum()),
            by_grid=int((low & ~shape_lower).sum()),
        )

    def table(self) -> str:
        """Write the figures and the advice for a terminal."""
        from mrcnn_steps.debug.coverage.text import table

        return table(self)

    def __str__(self) -> str:
        return self.table()

    def record(self) -> dict[str, Any]:
        """Give the figures and the advice as JSON has them; None where there is no number."""
        now = self.advised.now
        return {
            "photos": self.photos,
            "objects": len(self.boxes),
            "left_out": self.left_out,
            "anchors_a_photo": _number(self.anchors),
            "positive_iou": self.positive_iou,
            "positives_a_photo": _number(self.positives_a_photo),
            "most_positives": self.most_positives,
            "all": _of_slice(self.overall),
            **{f"by_{kind}": _of_slices(self.slices(kind)) for kind in KINDS},
            "no_advice": self.advised.reason,
            "photos_learned": self.advised.learned,
            "photos_proved": self.advised.proved,
            "as_it_is": None if now is None else _of_option(now),
            "advice": [
                _of_option(each) | {"line": each.line, "code": each.code, "cost": each.cost}
                for each in self.advice
            ],
            "enlarged": [_of_option(each) for each in self.advised.enlarged],
        }

    def draw(self) -> "Picture":
        """Draw coverage against IoU, and the objects' sides among those of the anchors.

        Returns:
            The figure.
        """
        # matplotlib is loaded for a picture only.
        from mrcnn_steps.debug.coverage.picture import figure_coverage

        return figure_coverage(self)

    def _repr_png_(self) -> bytes:
        return self.draw()._repr_png_()


def _side(exponent: int) -> str:
    return f"{2.0**exponent:g}–{2.0 ** (exponent + 1):g} px"


def _aspect(exponent: int) -> str:
    """Write height / width, such as "1 : 2" for twice as wide as high."""
    return f"{2.0 ** max(exponent, 0):g} : {2.0 ** max(-exponent, 0):g}"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _of_shares(found: Shares) -> dict[str, Any]:
    covered = {f"{t:g}": _number(c) for t, c in zip(THRESHOLDS, found.covered, strict=True)}
    return {"objects": found.objects, "covered": covered, "loss": _number(found.loss)}


def _of_slice(found: Slice) -> dict[str, Any]:
    return {
        "name": found.name,
        **_of_shares(found.shares),
        "positives": _number(found.positives),
        "forced": _number(found.forced),
        "by_shape": found.by_shape,
        "by_grid": found.by_grid,
    }


def _of_slices(found: Sequence[Slice]) -> list[dict[str, Any]]:
    return [_of_slice(each) for each in found]


def _of_option(found: Option) -> dict[str, Any]:
    return {"change": found.change, **_of_shares(found.shares), "anchors_a_photo": found.anchors}
