"""Layers for a page: as the viewer takes them, in blocks of their own or, if small, in JSON."""

import zlib
from typing import Any

import numpy as np

from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.viewer import wire
from mrcnn_widgets.viewer.layers import Layer

# Digits after the point of a number in JSON: a hundredth of a pixel.
DECIMALS = 2

Packed = dict[str, Any]


def in_block(layer: Layer, payload: Payload, name: str, mask_step: int = 1) -> Packed:
    """Store a layer in a block.

    Args:
        layer: what to show.
        payload: gets the block.
        name: of the block.
        mask_step: see `wire.encode`.

    Returns:
        What the program needs: the layer's description, what of it starts hidden, and the block.
    """
    about, buffer = wire.encode(layer, mask_step, level=9)
    return {
        "about": about,
        "hidden": _hidden(layer),
        "block": payload.add_compressed(name, buffer),
    }


def in_json(layer: Layer) -> Packed:
    """Give a layer of a few rows as JSON, its coordinates to a hundredth of a pixel.

    Args:
        layer: what to show; no mask.

    Returns:
        What the program needs: the description, what starts hidden, and the arrays as lists.
    """
    about, buffer = wire.encode(layer)
    raw = zlib.decompress(buffer)
    arrays = {
        name: [kind, np.frombuffer(raw, kind, count, offset).round(DECIMALS).tolist()]
        for name, (offset, count, kind) in about.pop("arrays").items()
    }
    return {"about": about, "hidden": _hidden(layer), "arrays": arrays}


def _hidden(layer: Layer) -> list[str]:
    """Give the keys of what starts hidden."""
    own = [] if layer.visible else [layer.name]
    return own + [f"{layer.name}/{group.name}" for group in layer.groups if not group.visible]
