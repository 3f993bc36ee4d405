"""What travels to the browser: a scene as a description in JSON and a buffer for each layer.

Pure: a photo and layers in, plain data out. The widget sends it piece by piece, a page without a
kernel holds all of it at once (`export`).
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mrcnn_widgets.viewer.layers import (
    ArrowLayer,
    BoxLayer,
    Category,
    GridLayer,
    Group,
    Layer,
    MaskLayer,
    PointLayer,
    as_numpy,
    one_line,
)

# Longer sides are made smaller for the wire; coordinates stay those of the photo.
MAX_SIDE = 2048
# Up to this many pixels a photo travels without loss.
LOSSLESS = 128 * 128

Encoded = tuple[dict[str, Any], bytes]


def export(photo: np.ndarray, layers: Sequence[Layer], **state: Any) -> dict[str, Any]:
    """All that `mount(element, state)` of the viewer's JavaScript needs to show a scene.

    Args:
        photo: uint8 [H, W, 3].
        layers: what lies on it, the first at the bottom.
        **state: further traits of `Canvas`, such as `hidden`, `selected` or `title`.

    Returns:
        Values for JSON; whoever writes them into HTML escapes `<`.
    """
    step = wire_step(photo)
    encoded = [encode(layer, step) for layer in layers]
    buffers = {"_photo": compress(photo, step)}
    buffers |= {f"_layer_{i}": buffer for i, (_, buffer) in enumerate(encoded)}
    texts = {name: base64.b64encode(buffer).decode() for name, buffer in buffers.items()}
    return {"_scene": scene(photo, [about for about, _ in encoded]), **texts, **state}


def scene(photo: np.ndarray, layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Describe a photo, uint8 [H, W, 3], with the descriptions that `encode` made of its layers.

    `width` and `height` are those of the photo; its picture and its masks hold every `step`-th
    pixel.
    """
    height, width = photo.shape[:2]
    return {"width": width, "height": height, "step": wire_step(photo), "layers": list(layers)}


def wire_step(photo: np.ndarray) -> int:
    """Every how many pixels of a photo travel: 1 up to a side of `MAX_SIDE`."""
    return -(-max(photo.shape[:2]) // MAX_SIDE)


def as_photo(photo: Any) -> np.ndarray:
    """Give a photo of NumPy's or torch's as uint8 [H, W, 3].

    Raises:
        ValueError: it is not uint8 RGB of shape [3, H, W] or [H, W, 3].
    """
    pixels = as_numpy(photo)
    if pixels.ndim == 3 and pixels.shape[0] == 3 and pixels.shape[2] != 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise ValueError(
            "photo: expected uint8 RGB of shape [3, H, W] or [H, W, 3], "
            f"found {pixels.dtype} {pixels.shape}"
        )
    return np.ascontiguousarray(pixels)


def compress(photo: np.ndarray, step: int) -> bytes:
    """Give a photo, uint8 [H, W, 3], as PNG if it is small, as JPEG if not."""
    image = Image.fromarray(photo)
    if step > 1:
        image = image.reduce(step)
    file = io.BytesIO()
    if image.width * image.height <= LOSSLESS:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()


def encode(layer: Layer, mask_step: int = 1, level: int = 1) -> Encoded:
    """Encode a layer: a description that is JSON, and one compressed buffer of its arrays.

    Args:
        layer: what to send.
        mask_step: sends every `mask_step`-th pixel of masks (a photo that was made smaller for
            the wire needs no more).
        level: of the compression, 1 (fast) to 9 (small).

    Returns:
        The description; its `arrays` maps a name to (offset in bytes, count, type). And the buffer.
    """
    arrays: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {
        "kind": type(layer).__name__.removesuffix("Layer").lower(),
        "name": layer.name,
        "rows": len(layer),
        "groups": [_group(group) for group in layer.groups],
        "width": layer.width,
        "pickable": layer.pickable,
        "threshold": layer.threshold,
        "labels": None if layer.labels is None else [one_line(text) for text in layer.labels],
        "colors": None if layer.colors is None else list(layer.colors),
    }
    if isinstance(layer, GridLayer):
        about |= {"stride": layer.stride, "shape": layer.shape, "origin": layer.origin}
        arrays["cells"] = layer.cells.T
    else:
        arrays["group"] = layer.group_index
        about["fields"] = []
        for name, values in layer.fields.items():
            names = None
            if isinstance(values, Category):
                names, values = [one_line(text) for text in values.names], values.index
            about["fields"].append({"name": name, "names": names})
            arrays[f"field {name}"] = values
    match layer:
        # Column by column: the browser reads x1, y1, x2 and y2 as four arrays, and neighbors in
        # a column resemble each other, which compresses better.
        case BoxLayer():
            arrays["boxes"] = layer.boxes.T
        case ArrowLayer():
            arrays["start"], arrays["end"] = layer.start.T, layer.end.T
        case PointLayer():
            arrays["points"], about["radius"] = layer.points.T, layer.radius
        case MaskLayer():
            about |= {"opacity": layer.opacity, "outline": layer.outline}
            # A grid with a box of its own is no crop of the photo and keeps its resolution.
            step = mask_step if layer.cropped else 1
            grids = [grid[::step, ::step] for grid in layer.masks]
            about["grids"] = [[*grid.shape, grid.dtype == bool] for grid in grids]
            packed = [np.packbits(g) if g.dtype == bool else g.ravel() for g in grids]
            about["step"] = step if layer.cropped else None
            arrays["boxes"] = layer.boxes.T
            arrays["masks"] = np.concatenate([*packed, np.zeros(0, np.uint8)])
    about["arrays"], raw = lay_out(arrays)
    return about, zlib.compress(raw, level)


def _group(group: Group) -> dict[str, str]:
    """Give a group by its name, the key that hides it, and the text of its chip."""
    text = one_line(group.name)
    return {"name": group.name, "text": text, "color": group.color, "dash": group.dash}


def lay_out(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], bytes]:
    """Arrays one after the other, each on a multiple of four bytes as typed arrays ask for."""
    places: dict[str, Any] = {}
    parts: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        places[name] = [offset, array.size, array.dtype.name]
        parts += [raw, bytes(-len(raw) % 4)]
        offset += len(raw) + -len(raw) % 4
    return places, b"".join(parts)
