"""What the viewer can draw on a photo: boxes, masks, arrows, grid cells and points.

Everything is in pixels of the photo. A layer is plain data, checked when it is made; it knows
nothing of the widget that shows it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any
from unicodedata import category

import numpy as np

from mrcnn_steps import palette
from mrcnn_steps.palette import SKY, Dash

# Letters of a text that is shown: a longer one would cover the photo.
MAX_TEXT = 80


@dataclass(frozen=True)
class Group:
    """Rows of a layer that look alike, share a chip in the legend and are shown or hidden together.

    Attributes:
        name: text of the chip.
        color: `#rrggbb`.
        dash: how outlines are drawn, so that groups differ in more than hue.
        visible: False: starts hidden.
    """

    name: str
    color: str = SKY
    dash: Dash = "solid"
    visible: bool = True

    def __post_init__(self) -> None:
        _check_color(f"group {self.name!r}", self.color)


def _check_color(where: str, color: str) -> None:
    if not re.fullmatch("#[0-9a-fA-F]{6}", color):
        raise ValueError(f"{where}, color: expected #rrggbb, found {color!r}")


POSITIVE = Group(*palette.POSITIVE)
NEGATIVE = Group(*palette.NEGATIVE)
NEUTRAL = Group(*palette.NEUTRAL)


@dataclass(frozen=True)
class Category:
    """A field whose values are names: row i shows `names[index[i]]`.

    Attributes:
        index: int [N], a position in `names` for each row.
        names: the texts. They are shown as text, whatever they contain.
    """

    index: Any
    names: Sequence[str]


@dataclass(frozen=True, eq=False)
class Layer(ABC):
    """What all layers have in common.

    Attributes:
        name: unique in a canvas; the key of `Canvas.hidden`, `thresholds` and `selected`.
        groups: the kinds of rows, in drawing order (the last is drawn on top).
        group_index: int [N], the group of each row; None: all rows are of the first.
        colors: a color for each row, instead of its group's.
        labels: a short text for each row, drawn beside it.
        fields: name -> float [N] or `Category`; the lines of the hover card.
        threshold: the field for which the legend offers a slider.
        width: of outlines, in screen pixels.
        visible: False: starts hidden.
        pickable: False: the pointer ignores the layer.
    """

    name: str
    _: KW_ONLY
    groups: Sequence[Group] = ()
    group_index: Any = None
    colors: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    threshold: str | None = None
    width: float = 1.5
    visible: bool = True
    pickable: bool = True

    @abstractmethod
    def __len__(self) -> int:
        """Give the number of rows."""

    def _set(self, **values: Any) -> None:
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def _check_common(self) -> None:
        """Turn what was given into arrays and refuses what does not fit the rows."""
        if not self.name or "/" in self.name:
            raise ValueError(f"layer name: expected text without '/', found {self.name!r}")
        groups = tuple(self.groups) or (Group(self.name),)
        index = np.zeros(len(self), np.uint8)
        if self.group_index is not None:
            given = as_numpy(self.group_index)
            self._check_rows("group_index", given)
            if given.size and not (given.min() >= 0 and given.max() < len(groups)):
                raise ValueError(
                    f"layer {self.name!r}, group_index: expected 0 to {len(groups) - 1}, "
                    f"found {given.min()} to {given.max()}"
                )
            index = given.astype(np.uint8)
        if len({group.name for group in groups}) != len(groups) or len(groups) > 256:
            raise ValueError(f"layer {self.name!r}, groups: expected at most 256 different names")
        fields = {name: self._field(name, values) for name, values in self.fields.items()}
        for texts in ("colors", "labels"):
            if getattr(self, texts) is not None:
                self._check_rows(texts, getattr(self, texts))
        for color in set(self.colors or ()):
            _check_color(f"layer {self.name!r}", color)
        if self.threshold is not None and self.threshold not in fields:
            raise ValueError(
                f"layer {self.name!r}, threshold: expected one of {sorted(fields)}, "
                f"found {self.threshold!r}"
            )
        self._set(groups=groups, group_index=index, fields=fields)

    def _check_rows(self, what: str, values: Any) -> None:
        if len(values) != len(self):
            raise ValueError(
                f"layer {self.name!r}, {what}: expected {len(self)} rows, found {len(values)}"
            )

    def _field(self, name: str, values: Any) -> np.ndarray | Category:
        if isinstance(values, Category):
            index = as_numpy(values.index).astype(np.int32)
            self._check_rows(f"field {name!r}", index)
            if index.size and not (index.min() >= 0 and index.max() < len(values.names)):
                raise ValueError(
                    f"layer {self.name!r}, field {name!r}: expected an index below "
                    f"{len(values.names)}, found {index.min()} to {index.max()}"
                )
            return Category(index, tuple(values.names))
        array = as_numpy(values)
        self._check_rows(f"field {name!r}", array)
        if array.ndim != 1:
            raise ValueError(
                f"layer {self.name!r}, field {name!r}: expected one number for each row, "
                f"found shape {array.shape}"
            )
        exact = np.issubdtype(array.dtype, np.integer) or array.dtype == bool
        return array.astype(np.int32 if exact else np.float32)

    def _finite(self, what: str, values: Any, columns: int) -> np.ndarray:
        """`values` as float32 [N, columns], all of them numbers."""
        array = as_numpy(values).astype(np.float32)
        if array.size == 0:
            array = array.reshape(-1, columns)
        if array.ndim != 2 or array.shape[1] != columns:
            raise ValueError(
                f"layer {self.name!r}, {what}: expected shape [N, {columns}], found {array.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            raise ValueError(
                f"layer {self.name!r}, {what}: expected finite numbers, "
                f"found {array[bad[0]].tolist()} in row {bad[0]} ({bad.size} such rows)"
            )
        return array

    def _boxes(self, what: str, values: Any) -> np.ndarray:
        boxes = self._finite(what, values, 4)
        bad = np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))
        if bad.size:
            raise ValueError(
                f"layer {self.name!r}, {what}: expected x1 <= x2 and y1 <= y2, "
                f"found {boxes[bad[0]].tolist()} in row {bad[0]} ({bad.size} such rows)"
            )
        return boxes

    def shown(self, hidden: Sequence[str], thresholds: Mapping[str, Any]) -> np.ndarray:
        """Which rows are shown: neither hidden nor outside a threshold (bool [N])."""
        if self.name in hidden:
            return np.zeros(len(self), bool)
        off = [f"{self.name}/{group.name}" in hidden for group in self.groups]
        rows = ~np.array(off, bool)[self.group_index]
        for name, (low, high) in thresholds.get(self.name, {}).items():
            # A bound outlives the layer it was set on; the next of that name may lack the field.
            if name not in self.fields:
                continue
            values = self.fields[name]
            values = values.index if isinstance(values, Category) else values
            if low is not None:
                rows &= values >= low
            if high is not None:
                rows &= values <= high
        return rows


@dataclass(frozen=True, eq=False)
class BoxLayer(Layer):
    """Boxes, drawn as outlines.

    Attributes:
        boxes: float [N, 4], (x1, y1, x2, y2) with x2, y2 exclusive.
    """

    boxes: Any

    def __post_init__(self) -> None:
        self._set(boxes=self._boxes("boxes", self.boxes))
        self._check_common()

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class MaskLayer(Layer):
    """Masks, drawn as an outline and a translucent fill.

    Each row is a grid of values that is stretched over a box: a full mask is cut to its box here,
    a 56×56 mini-mask or a 28×28 soft mask brings its box along.

    Attributes:
        masks: [N, H, W] or a list of [h, w]; bool, or float in 0…1 for soft masks, whose values
            turn into opacity.
        boxes: float [N, 4], what each grid covers; None: every grid covers the whole photo.
        opacity: of the fill.
        outline: whether to draw the edge of a bool mask.
    """

    masks: Any
    boxes: Any = None
    _: KW_ONLY
    opacity: float = 0.4
    outline: bool = True
    cropped: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        grids = [self._grid(i, as_numpy(mask)) for i, mask in enumerate(self.masks)]
        if self.boxes is None:
            cut = [_cut(grid) for grid in grids]
            grids = [grid for grid, _ in cut]
            boxes = np.array([box for _, box in cut], np.float32).reshape(-1, 4)
        else:
            boxes = self._boxes("boxes", self.boxes)
        self._set(masks=tuple(grids), boxes=boxes, cropped=self.boxes is None)
        self._check_rows("boxes", boxes)
        self._check_common()

    def __len__(self) -> int:
        return len(self.masks)

    def _grid(self, row: int, mask: np.ndarray) -> np.ndarray:
        if mask.ndim != 2:
            raise ValueError(
                f"layer {self.name!r}, masks: expected [H, W] for each row, "
                f"found shape {mask.shape} in row {row}"
            )
        if mask.dtype == bool:
            return mask
        if not (np.issubdtype(mask.dtype, np.floating) and (mask >= 0).all() and (mask <= 1).all()):
            raise ValueError(
                f"layer {self.name!r}, masks: expected bool, or float in 0 to 1, "
                f"found {mask.dtype} in row {row}"
            )
        return np.round(mask * 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class ArrowLayer(Layer):
    """Arrows from boxes to what they became: center to center, and the corners joined.

    Attributes:
        start: float [N, 4], the boxes before.
        end: float [N, 4], the boxes after.
    """

    start: Any
    end: Any

    def __post_init__(self) -> None:
        self._set(start=self._boxes("start", self.start), end=self._boxes("end", self.end))
        self._check_rows("end", self.end)
        self._check_common()

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, eq=False)
class PointLayer(Layer):
    """Points, such as anchor centers or the samples of RoIAlign.

    Attributes:
        points: float [N, 2], (x, y).
        radius: in screen pixels.
    """

    points: Any
    _: KW_ONLY
    radius: float = 3

    def __post_init__(self) -> None:
        self._set(points=self._finite("points", self.points, 2))
        self._check_common()

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, eq=False)
class GridLayer(Layer):
    """The cells of a feature map.

    Attributes:
        stride: (x, y), size of a cell in pixels of the photo.
        shape: (rows, columns).
        origin: (x, y) of the grid's top left corner.
        cells: int [M, 2], (row, column) of cells to fill.
    """

    stride: tuple[float, float]
    shape: tuple[int, int]
    _: KW_ONLY
    origin: tuple[float, float] = (0.0, 0.0)
    cells: Any = ()

    def __post_init__(self) -> None:
        if min(self.stride) <= 0 or min(self.shape) < 0:
            raise ValueError(
                f"layer {self.name!r}: expected a positive stride and shape, "
                f"found {self.stride} and {self.shape}"
            )
        self._set(cells=self._finite("cells", self.cells, 2), pickable=False)
        self._check_common()

    def __len__(self) -> int:
        return int(self.shape[0] * self.shape[1])

    def shown(self, hidden: Sequence[str], thresholds: Mapping[str, Any]) -> np.ndarray:
        """Give a grid is shown as a whole or not at all."""
        return np.full(1, self.name not in hidden)

    def _check_common(self) -> None:
        self._set(groups=tuple(self.groups) or (Group(self.name, "#FFFFFF"),))


def one_line(text: object) -> str:
    """Make a text of the data one line of at most `MAX_TEXT` letters: names may be anything."""
    line = " ".join("".join(" " if category(c) in ("Cc", "Cs") else c for c in str(text)).split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def as_numpy(values: Any) -> np.ndarray:
    """Give an array of what numpy or torch holds, wherever it lies."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def _cut(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Give a full mask as its tight crop and that crop's box; an empty mask has a zero box."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return mask[:0, :0], (0, 0, 0, 0)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return mask[top:bottom, left:right], (left, top, right, bottom)
