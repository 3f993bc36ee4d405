"""The viewer: a photo with boxes, masks, arrows, cells and points to zoom into, hover and pick.

It knows nothing of Mask R-CNN. Everything is in pixels of the photo, `x2, y2` exclusive.

    canvas = Canvas(photo, [BoxLayer("anchors", boxes, groups=[NEUTRAL, NEGATIVE, POSITIVE],
                                     group_index=index, fields={"IoU": iou})])
    canvas.observe(print, "selected")        # ("anchors", 4711) once the user clicked one
    canvas.hidden = ["anchors/neutral"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets as t

from mrcnn_widgets.viewer import still, wire
from mrcnn_widgets.viewer.join import SCRIPT, STYLE
from mrcnn_widgets.viewer.layers import (
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    ArrowLayer,
    BoxLayer,
    Category,
    GridLayer,
    Group,
    Layer,
    MaskLayer,
    PointLayer,
    as_numpy,
)
from mrcnn_widgets.viewer.twin import StaticView

__all__ = [
    "NEGATIVE",
    "NEUTRAL",
    "POSITIVE",
    "ArrowLayer",
    "BoxLayer",
    "Canvas",
    "Category",
    "GridLayer",
    "Group",
    "Layer",
    "MaskLayer",
    "PointLayer",
    "as_numpy",
]

MAX_LAYERS = 24


class Canvas(StaticView, anywidget.AnyWidget):
    """A photo with layers.

    Args:
        photo: uint8 RGB, [3, H, W] or [H, W, 3], from numpy or torch.
        layers: what lies on it, the first at the bottom.
        **traits: any of the traits below.

    Traits, synchronized both ways:
        hidden: keys `layer` or `layer/group` of what is not shown.
        thresholds: layer -> field -> [low, high]; rows outside are not shown. None: no bound.
        selected: (layer, row) that the user picked, or None.
        hovered: (layer, row) under the pointer, or None.
        clicked: (x, y) of the last click on the photo, wherever it hit, or None.

    Traits, from Python to the browser:
        title: the line above the photo, and its name for screen readers.
        view: (x1, y1, x2, y2), the part of the photo to move to; None: all of it.
        max_height: of the photo on the screen, in CSS pixels.
    """

    _esm = SCRIPT
    _css = STYLE

    _scene = t.Dict().tag(sync=True)
    _photo = t.Bytes().tag(sync=True)
    # A trait for each layer: only the layers that changed travel again.
    vars().update({f"_layer_{i}": t.Bytes().tag(sync=True) for i in range(MAX_LAYERS)})

    hidden = t.List(t.Unicode()).tag(sync=True)
    thresholds = t.Dict().tag(sync=True)
    selected = t.Tuple(t.Unicode(), t.Int(), default_value=None, allow_none=True).tag(sync=True)
    hovered = t.Tuple(t.Unicode(), t.Int(), default_value=None, allow_none=True).tag(sync=True)
    clicked = t.Tuple(t.Float(), t.Float(), default_value=None, allow_none=True).tag(sync=True)
    title = t.Unicode("").tag(sync=True)
    view = t.Tuple(
        t.Float(), t.Float(), t.Float(), t.Float(), default_value=None, allow_none=True
    ).tag(sync=True)
    max_height = t.Int(560).tag(sync=True)

    def __init__(self, photo: Any, layers: Sequence[Layer] = (), **traits: Any) -> None:
        self._pixels = np.zeros((0, 0, 3), np.uint8)
        self._layers: tuple[Layer, ...] = ()
        self._encoded: dict[Layer, wire.Encoded] = {}
        self._step = 1
        state = self._state_of(wire.as_photo(photo), tuple(layers))
        hidden = [*traits.pop("hidden", ()), *_hidden_at_first(self._layers, ())]
        super().__init__(hidden=hidden, **state, **traits)

    @property
    def photo(self) -> np.ndarray:
        """The photo, uint8 [H, W, 3]."""
        return self._pixels

    @photo.setter
    def photo(self, photo: Any) -> None:
        self.update(photo=photo)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What lies on the photo, the first at the bottom."""
        return self._layers

    @layers.setter
    def layers(self, layers: Sequence[Layer]) -> None:
        self.update(layers=layers)

    def __getitem__(self, name: str) -> Layer:
        """Give the layer of that name."""
        for layer in self._layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r}; there are {[layer.name for layer in self._layers]}")

    def put(self, *layers: Layer) -> None:
        """Replace the layers of the same names, and adds the others on top."""
        fresh = {layer.name: layer for layer in layers}
        kept = [fresh.pop(layer.name, layer) for layer in self._layers]
        self.update(layers=[*kept, *fresh.values()])

    def update(
        self, photo: Any = None, layers: Sequence[Layer] | None = None, **traits: Any
    ) -> None:
        """Change photo, layers and traits in one message, so that the browser paints once.

        Only what differs from before travels. What the user zoomed to, hid and thresholded stays;
        a selected row that is no more is let go. Who observes a trait is told once all is in place,
        and may update in turn.
        """
        before = self._layers
        after = before if layers is None else tuple(layers)
        for name in {"selected", "hovered"} & set(traits):
            _check_pick(name, traits[name], after)
        pixels = self._pixels if photo is None else wire.as_photo(photo)
        state = self._state_of(pixels, after)
        with self.hold_sync(), self.hold_trait_notifications():
            for name in ("selected", "hovered"):
                if not _is_row(getattr(self, name), after):
                    self.set_trait(name, None)
            appeared = _hidden_at_first(after, before)
            self.hidden = [*self.hidden, *(key for key in appeared if key not in self.hidden)]
            for name, value in {**state, **traits}.items():
                setattr(self, name, value)

    def shown(self, name: str) -> np.ndarray:
        """Which rows of a layer are shown now, bool [N]."""
        return self[name].shown(self.hidden, self.thresholds)

    def to_png(self, width: int = 640) -> bytes:
        """Draw what the canvas shows as a PNG, with hidden groups, thresholds and selection."""
        image = still.picture(
            self._pixels, self._layers, self.hidden, self.thresholds, self.selected, width
        )
        return still.png(image)

    def in_words(self) -> str:
        """Tell what the canvas shows, for those who do not see it."""
        layers = ", ".join(f"{len(layer):,} {layer.name}" for layer in self._layers)
        return f"{self.title or 'A photo'}: {layers or 'nothing'} on the photo"

    def export(self) -> dict[str, Any]:
        """All that `mount(element, state)` needs to show this without a kernel."""
        names = ("hidden", "thresholds", "selected", "title", "view", "max_height")
        state = {name: getattr(self, name) for name in names}
        return wire.export(self._pixels, self._layers, **state)

    def __repr__(self) -> str:
        height, width = self._pixels.shape[:2]
        layers = ", ".join(f"{layer.name} {len(layer):,}" for layer in self._layers)
        return f"Canvas({width}×{height}; {layers})"

    def _state_of(self, pixels: np.ndarray, layers: tuple[Layer, ...]) -> dict[str, Any]:
        """Take over photo and layers; returns the traits that describe them."""
        names = [layer.name for layer in layers]
        if len(set(names)) != len(names) or len(names) > MAX_LAYERS:
            raise ValueError(
                f"layers: expected at most {MAX_LAYERS} different names, found {names}"
            )
        step = wire.wire_step(pixels)
        known = self._encoded if step == self._step else {}
        self._encoded = {layer: known.get(layer) or wire.encode(layer, step) for layer in layers}
        state: dict[str, Any] = {}
        if pixels is not self._pixels:
            state["_photo"] = wire.compress(pixels, step)
        state["_scene"] = wire.scene(pixels, [about for about, _ in self._encoded.values()])
        buffers = [buffer for _, buffer in self._encoded.values()]
        buffers += [b""] * (MAX_LAYERS - len(layers))
        state |= {f"_layer_{i}": buffer for i, buffer in enumerate(buffers)}
        self._pixels, self._layers, self._step = pixels, layers, step
        return state

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take over what the browser reports, but for picks in layers that have changed since.

        A page may send anything: what is none of the traits it reports, or not of their form, is
        left out.
        """
        reports: dict[str, Callable[[Any], bool]] = {
            "selected": lambda pick: _is_row(pick, self._layers),
            "hovered": lambda pick: _is_row(pick, self._layers),
            "clicked": _is_place,
            "hidden": lambda keys: isinstance(keys, list) and all(isinstance(k, str) for k in keys),
            "thresholds": _are_thresholds,
        }
        fine = {k: v for k, v in sync_data.items() if k in reports and reports[k](v)}
        super().set_state(fine)

    @t.validate("selected", "hovered")
    def _check_own_pick(self, proposal: Any) -> Any:
        _check_pick(proposal.trait.name, proposal.value, self._layers)
        return proposal.value

    @t.validate("thresholds")
    def _check_own_thresholds(self, proposal: Any) -> Any:
        if not _are_thresholds(proposal.value):
            raise t.TraitError(
                "thresholds: expected {layer: {field: (low, high)}}, finite numbers or None, "
                f"found {proposal.value!r:.200}"
            )
        return proposal.value


def _is_row(pick: Any, layers: Sequence[Layer]) -> bool:
    """Whether a pick is none or (layer, row) of a row that is there; a grid has none."""
    rows = {layer.name: len(layer) for layer in layers if not isinstance(layer, GridLayer)}
    match pick:
        case None:
            return True
        case (str(name), int(row)):
            return not isinstance(row, bool) and 0 <= row < rows.get(name, 0)
    return False


def _are_numbers(values: Sequence[Any]) -> bool:
    # NaN compares as false; a whole number of JSON may be beyond any float.
    return all(
        isinstance(value, float | int | np.number) and -1e300 <= value <= 1e300 for value in values
    )


def _is_place(place: Any) -> bool:
    """Whether something is none or (x, y)."""
    return place is None or (
        isinstance(place, list | tuple) and len(place) == 2 and _are_numbers(place)
    )


def _are_thresholds(thresholds: Any) -> bool:
    """Whether something is layer -> field -> (low, high), each a finite number or None."""
    if not _is_mapping(thresholds) or not all(map(_is_mapping, thresholds.values())):
        return False
    bounds = [bound for fields in thresholds.values() for bound in fields.values()]
    if not all(isinstance(bound, list | tuple) and len(bound) == 2 for bound in bounds):
        return False
    return _are_numbers([end for bound in bounds for end in bound if end is not None])


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _check_pick(name: str, pick: tuple[str, int] | None, layers: Sequence[Layer]) -> None:
    if not _is_row(pick, layers):
        there = [(layer.name, len(layer)) for layer in layers]
        raise t.TraitError(f"{name}: no such row {pick}; there are {there}")


def _hidden_at_first(layers: Sequence[Layer], before: Sequence[Layer]) -> list[str]:
    """Keys of layers and groups that ask to start hidden and were not there before."""
    known = {layer.name for layer in before}
    fresh = [layer for layer in layers if layer.name not in known]
    return [layer.name for layer in fresh if not layer.visible] + [
        f"{layer.name}/{group.name}"
        for layer in fresh
        for group in layer.groups
        if not group.visible
    ]
