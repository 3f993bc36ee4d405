"""What explorers and the debugger are: boxes of widgets that free what they showed.

The kernel keeps whatever was displayed: ipywidgets' registry holds every widget that was not
closed, and `Out` the value of every cell. So a panel that is closed lets go of all that it held,
wherever it is still mentioned itself; and a panel is closed when its cell is run again.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any
from weakref import WeakKeyDictionary

import ipywidgets as ipw
from IPython import get_ipython

from mrcnn_widgets.viewer.twin import StaticView

# What a widget without attributes of its own consists of.
_TRAITLETS = frozenset(
    (
        "_trait_values",
        "_trait_notifiers",
        "_trait_validators",
        "_cross_validation_lock",
        "_model_id",
    )
)
# The cells that show a panel, and the run of each that did.
_shown: WeakKeyDictionary[Panel, dict[str, str]] = WeakKeyDictionary()


class Panel(StaticView, ipw.VBox):
    """A box of widgets that is closed with all in it, at the latest when its cell is run again."""

    children: Any

    def close(self) -> None:
        """Free all that is in the panel; it cannot be shown or asked any more."""
        kept_aside = [part for part in vars(self).values() if isinstance(part, ipw.Widget)]
        for part in (self, *kept_aside):
            for widget in _descendants(part):
                widget.close()
        for part in kept_aside:
            part.close()
        super().close()
        self.children = ()
        for name in vars(self).keys() - _TRAITLETS:
            delattr(self, name)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        cell, run = current_run()
        if cell:
            _take_place(self, cell, run)
        return super()._repr_mimebundle_(**kwargs)


def current_run() -> tuple[str, str]:
    """Name the cell that is being run, and the run; both empty outside a notebook's cells."""
    parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    return parent.get("metadata", {}).get("cellId", ""), parent.get("header", {}).get("msg_id", "")


def _take_place(panel: Panel, cell: str, run: str) -> None:
    """Close the panels that only earlier runs of this cell showed."""
    closed = False
    for other, places in list(_shown.items()):
        if other is not panel and places.get(cell, run) != run:
            del places[cell]
            if not places:
                del _shown[other]
                other.close()
                closed = True
    if closed:
        _give_back_memory()
    _shown.setdefault(panel, {})[cell] = run


def _give_back_memory() -> None:
    """Frees what is held by nothing else, and lets the system have it."""
    # Widgets and their callbacks hold each other, and Python counts objects, not megabytes.
    gc.collect()
    if sys.platform == "linux":
        # The GNU C library keeps freed memory for itself until it is asked to trim.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _descendants(widget: ipw.Widget) -> list[ipw.Widget]:
    inner: list[ipw.Widget] = []
    for child in getattr(widget, "children", ()):
        inner += [*_descendants(child), child]
    styles = (getattr(widget, name, None) for name in ("layout", "style"))
    return [*inner, *(style for style in styles if isinstance(style, ipw.Widget))]
