"""The picture that a widget leaves in a saved notebook, where no widget can run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mrcnn_steps.fonts import pillow_font
from mrcnn_steps.palette import INK, PAPER, RIM, ink_on, lightness
from mrcnn_widgets.viewer.layers import (
    ArrowLayer,
    BoxLayer,
    Dash,
    GridLayer,
    Layer,
    MaskLayer,
    PointLayer,
    one_line,
)

# Above this many rows a group is drawn as density, like in the browser.
DENSE = 400
# How many pixels of a line are drawn, and after how many it repeats.
DASHES = {"solid": (1, 1), "dashed": (5, 8), "dotted": (2, 4)}
MAX_BYTES = 200_000
# A photo that is higher than so many times the picture's width is made smaller.
MAX_RATIO = 8
# Chips of a layer, and labels of all.
MAX_CHIPS, MAX_LABELS = 24, 250
# Nothing is drawn further off than so many pixels: what lies beyond is not seen.
FAR = 9999


def picture(
    photo: np.ndarray,
    layers: Sequence[Layer],
    hidden: Sequence[str] = (),
    thresholds: Mapping[str, Any] | None = None,
    selected: tuple[str, int] | None = None,
    width: int = 640,
) -> Image.Image:
    """Draws a scene.

    Args:
        photo: uint8 [H, W, 3].
        layers: what lies on it, the first at the bottom.
        hidden: keys `layer` and `layer/group` that are not drawn.
        thresholds: layer -> field -> (low, high).
        selected: (layer, row) to emphasize.
        width: of the picture, in pixels.
    """
    scale = min(width / photo.shape[1], MAX_RATIO * width / photo.shape[0])
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    sampling = Image.Resampling.NEAREST if scale > 3 else Image.Resampling.BILINEAR
    image = Image.fromarray(photo).resize(size, sampling, reducing_gap=2)
    rows = {layer.name: layer.shown(hidden, thresholds or {}) for layer in layers}
    for layer in layers:
        _draw_layer(image, layer, rows[layer.name], scale)
    for layer in layers:
        if selected is not None and selected[0] == layer.name and rows[layer.name][selected[1]]:
            _emphasize(image, layer, selected[1], scale)
    _write_labels(image, layers, rows, scale)
    return _with_legend(image, layers, rows)


def png(image: Image.Image) -> bytes:
    """`image` as a PNG of at most 200 kB: a notebook holds many of them."""
    while True:
        file = io.BytesIO()
        colors = image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        colors.save(file, "PNG", compress_level=6)
        if file.tell() <= MAX_BYTES or image.width < 64:
            return file.getvalue()
        smaller = 0.95 * (MAX_BYTES / file.tell()) ** 0.5
        image = image.resize((int(image.width * smaller), int(image.height * smaller)))


def _draw_layer(image: Image.Image, layer: Layer, shown: np.ndarray, scale: float) -> None:
    if not shown.any():
        return
    pen = ImageDraw.Draw(image, "RGBA")
    match layer:
        case GridLayer():
            _draw_grid(pen, layer, scale)
            return
        case MaskLayer():
            for row in np.flatnonzero(shown).tolist():
                _draw_mask(image, layer, row, scale)
    for index, group in enumerate(layer.groups):
        rows = np.flatnonzero(shown & (layer.group_index == index))
        if isinstance(layer, BoxLayer) and rows.size > DENSE:
            _draw_density(image, layer.boxes[rows].astype(float) * scale, group.color)
            continue
        for row in rows.tolist():
            color = color_of(layer, row)
            match layer:
                case BoxLayer():
                    _outline(pen, _near(layer.boxes[row], scale), color, layer.width, group.dash)
                case ArrowLayer():
                    _arrow(pen, _near(layer.start[row], scale), _near(layer.end[row], scale), color)
                case PointLayer():
                    x, y = _near(layer.points[row], scale)
                    r = layer.radius
                    pen.ellipse((x - r, y - r, x + r, y + r), color, (0, 0, 0, 160))


def color_of(layer: Layer, row: int) -> str:
    """Give the color of a row: its own, or its group's."""
    return (
        layer.colors[row]
        if layer.colors is not None
        else layer.groups[layer.group_index[row]].color
    )


def anchor_box(layer: Layer, row: int) -> np.ndarray:
    """Give the box around a row, whatever it is."""
    match layer:
        case BoxLayer() | MaskLayer():
            return layer.boxes[row]
        case ArrowLayer():
            return layer.end[row]
        case PointLayer():
            return np.concatenate([layer.points[row], layer.points[row]])
    raise TypeError(f"a {type(layer).__name__} has no rows to point at")


def _near(places: np.ndarray, scale: float) -> np.ndarray:
    """Coordinates of the photo as pixels of the picture, cut far outside of it."""
    return np.clip(places.astype(float) * scale, -FAR, FAR)


def _outline(
    pen: ImageDraw.ImageDraw, box: np.ndarray, color: str, width: float, dash: str
) -> None:
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    x2, y2, thick = max(x2 - 1, x1), max(y2 - 1, y1), max(1, round(width))
    if dash == "solid":
        pen.rectangle((x1, y1, x2, y2), outline=color, width=thick)
        return
    on, period = DASHES[dash]
    for x in range(max(x1, 0), min(x2, pen.im.size[0]), period):
        for y in (y1, y2):
            pen.line((x, y, min(x + on - 1, x2), y), color, thick)
    for y in range(max(y1, 0), min(y2, pen.im.size[1]), period):
        for x in (x1, x2):
            pen.line((x, y, x, min(y + on - 1, y2)), color, thick)


def _draw_density(image: Image.Image, boxes: np.ndarray, color: str) -> None:
    """Shades each pixel by how many outlines run through it.

    Only the ends of each edge are counted; a running sum then fills the edge. So the cost does
    not depend on how long the edges are.
    """
    width, height = image.size
    x1, y1, x2, y2 = np.clip(np.round(boxes), -1, max(width, height) + 1).astype(int).T
    x2, y2 = np.maximum(x2 - 1, x1), np.maximum(y2 - 1, y1)
    across = _runs(y1, x1, x2, (height, width)) + _runs(y2, x1, x2, (height, width))
    down = _runs(x1, y1, y2, (width, height)) + _runs(x2, y1, y2, (width, height))
    counts = across + down.T
    usual = counts[counts > 0].mean() if counts.any() else 1.0
    alpha = 0.65 * (1 - np.exp(-counts / max(0.6, 1.1 * usual)))
    ink = Image.new("RGB", image.size, color)
    image.paste(ink, mask=Image.fromarray(np.round(alpha * 255).astype(np.uint8)))


def _runs(line: np.ndarray, start: np.ndarray, end: np.ndarray, shape: tuple[int, int]) -> Any:
    """How many runs `start`…`end` of `line` cover each cell of a [lines, length] array."""
    lines, length = shape
    inside = (line >= 0) & (line < lines) & (end >= 0) & (start < length)
    line = line[inside] * (length + 1)
    starts = np.bincount(line + np.maximum(start[inside], 0), minlength=lines * (length + 1))
    ends = np.bincount(line + np.minimum(end[inside] + 1, length), minlength=lines * (length + 1))
    return (starts - ends).reshape(lines, length + 1).cumsum(axis=1)[:, :length]


def _draw_mask(image: Image.Image, layer: MaskLayer, row: int, scale: float) -> None:
    grid = layer.masks[row]
    x1, y1, x2, y2 = (round(float(v) * scale) for v in layer.boxes[row])
    # What is in the picture, and a pixel around it: an outline does not follow the picture's edge.
    left, top = max(x1, -1), max(y1, -1)
    right, bottom = min(x2, image.width + 1), min(y2, image.height + 1)
    if grid.size == 0 or right <= left or bottom <= top:
        return
    values = Image.fromarray(grid.astype(np.uint8) * 255 if grid.dtype == bool else grid)
    across, down = values.width / (x2 - x1), values.height / (y2 - y1)
    part = (left - x1) * across, (top - y1) * down, (right - x1) * across, (bottom - y1) * down
    values = values.resize((right - left, bottom - top), Image.Resampling.NEAREST, part)
    alpha = np.asarray(values).astype(np.float32) * layer.opacity
    if grid.dtype == bool and layer.outline:
        on = np.pad(np.asarray(values) > 0, 1)
        inner = on[:-2, 1:-1] & on[2:, 1:-1] & on[1:-1, :-2] & on[1:-1, 2:]
        alpha[on[1:-1, 1:-1] & ~inner] = 255
    ink = Image.new("RGB", values.size, color_of(layer, row))
    image.paste(ink, (left, top), Image.fromarray(alpha.astype(np.uint8)))


def _arrow(pen: ImageDraw.ImageDraw, start: np.ndarray, end: np.ndarray, color: str) -> None:
    rgb = _rgb(color)
    for x, y in ((0, 1), (2, 1), (0, 3), (2, 3)):
        pen.line((start[x], start[y], end[x], end[y]), (*rgb, 130), 1)
    tail, tip = (start[:2] + start[2:]) / 2, (end[:2] + end[2:]) / 2
    pen.line((*tail, *tip), (*rgb, 255), 2)
    length = float(np.hypot(*(tip - tail)))
    if length > 3:
        along = (tip - tail) / length * min(7, length)
        across = np.array([-along[1], along[0]]) / 2
        pen.polygon([*tip, *(tip - along + across), *(tip - along - across)], (*rgb, 255))


def _draw_grid(pen: ImageDraw.ImageDraw, layer: GridLayer, scale: float) -> None:
    rows, columns = layer.shape
    (left, top), (step_x, step_y) = np.array(layer.origin) * scale, np.array(layer.stride) * scale
    rgb = _rgb(layer.groups[0].color)
    for row, column in layer.cells:
        x, y = left + column * step_x, top + row * step_y
        box = np.clip((x, y, x + step_x, y + step_y), -FAR, FAR)
        pen.rectangle(tuple(box), (*rgb, 110), (*rgb, 255))
    alpha = round(110 * min(1, min(step_x, step_y) / 12))
    if not alpha:
        return
    width, height = pen.im.size
    right, bottom = min(left + columns * step_x, width), min(top + rows * step_y, height)
    for x in _lines(left, step_x, columns, width):
        pen.line((x, max(top, 0), x, bottom), (*rgb, alpha), 1)
    for y in _lines(top, step_y, rows, height):
        pen.line((max(left, 0), y, right, y), (*rgb, alpha), 1)


def _lines(start: float, step: float, count: int, end: int) -> np.ndarray:
    """Where those of `count` + 1 lines, `step` apart, are that lie between 0 and `end`."""
    first, last = max(0, np.ceil(-start / step)), min(count, np.floor((end - start) / step))
    return start + step * np.arange(first, max(first, last + 1))


def _emphasize(image: Image.Image, layer: Layer, row: int, scale: float) -> None:
    pen = ImageDraw.Draw(image, "RGBA")
    x1, y1, x2, y2 = _near(anchor_box(layer, row), scale)
    for margin, color in ((3, "#000000"), (2, "#FFFFFF"), (0, color_of(layer, row))):
        box = np.array([x1 - margin, y1 - margin, x2 + margin, y2 + margin])
        _outline(pen, box, color, 2, "solid")


def _write_labels(
    image: Image.Image, layers: Sequence[Layer], rows: Mapping[str, np.ndarray], scale: float
) -> None:
    """Write the labels on top of everything."""
    pen, taken = ImageDraw.Draw(image), np.zeros((0, 4))
    for layer in layers:
        if layer.labels is None:
            continue
        for row in np.flatnonzero(rows[layer.name]).tolist():
            text, color = one_line(layer.labels[row]), color_of(layer, row)
            if not text:
                continue
            font, box = pillow_font(text, 11), _near(anchor_box(layer, row), scale)
            tag = _free_place(box, font.getlength(text) + 6, image.size, taken)
            if tag is None or len(taken) == MAX_LABELS:
                continue
            taken = np.vstack((taken, tag))
            pen.rectangle(tuple(tag), color)
            pen.text((tag[0] + 3, tag[1] + 7), text, ink_on(color), font, anchor="lm")


def _free_place(
    box: np.ndarray, width: float, size: tuple[int, int], taken: np.ndarray
) -> np.ndarray | None:
    """Give the first place for a tag that is free: as the browser does, see `js/labels.js`."""
    left, top, right, bottom = box
    if right < 0 or bottom < 0 or left > size[0] or top > size[1]:
        return None
    x = max(0, min(left, size[0] - width))
    x1, y1, x2, y2 = taken.T
    for y in (top - 14, max(0, top), bottom):
        covers = (x < x2) & (x + width > x1) & (y < y2) & (y + 14 > y1)
        if 0 <= y <= size[1] - 14 and not covers.any():
            return np.array([x, y, x + width, y + 14])
    return None


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _with_legend(
    image: Image.Image, layers: Sequence[Layer], rows: Mapping[str, np.ndarray]
) -> Image.Image:
    """Give the picture with a line of chips below it: swatch, name, count."""
    chips = [chip for layer in layers for chip in _chips(layer, rows[layer.name])]
    places, x, y = [], 8.0, 8
    for color, dash, text in chips:
        font = pillow_font(text, 12)
        width = 22 + font.getlength(text) + 16
        if x + width > image.width and x > 8:
            x, y = 8.0, y + 20
        places.append((x, y, color, dash, text, font))
        x += width
    page = Image.new("RGB", (image.width, image.height + (y + 20 if chips else 0)), PAPER)
    page.paste(image)
    pen = ImageDraw.Draw(page)
    for x, y, color, dash, text, font in places:
        x1, y1, x2, y2 = x, image.height + y, x + 16, image.height + y + 12
        if lightness(color) > 0.8:  # on white paper
            _outline(pen, np.array([x1 - 1, y1 - 1, x2 + 1, y2 + 1]), RIM, 4, dash)
        _outline(pen, np.array([x1, y1, x2, y2]), color, 2, dash)
        pen.text((x + 22, image.height + y + 6), text, INK, font, anchor="lm")
    return page


def _chips(layer: Layer, shown: np.ndarray) -> list[tuple[str, Dash, str]]:
    """Color, dash and text of the groups of a layer that have rows on show."""
    if isinstance(layer, GridLayer):
        return [(layer.groups[0].color, "solid", layer.name)] if shown.any() else []
    counts = np.bincount(layer.group_index[shown], minlength=len(layer.groups))
    return [
        (group.color, group.dash, f"{one_line(group.name)} {count:,}")
        for group, count in zip(layer.groups, counts, strict=True)
        if count
    ][:MAX_CHIPS]
