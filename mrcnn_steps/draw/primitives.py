"""What every picture is made of: a photo, boxes, masks, labels that do not overlap, and tiles."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.image import AxesImage
from matplotlib.text import Text
from PIL import Image
from torch import Tensor

from mrcnn_steps.draw.style import DASHES, MARGIN, MASK_COLORS, WIDTH, Picture, page, text_size
from mrcnn_steps.fonts import FAMILIES
from mrcnn_steps.masks import Patch
from mrcnn_steps.mini_masks import boxes_from_masks
from mrcnn_steps.palette import INK, SOFT, SOLID, ink_on, lightness

LABEL_POINTS = 8
LABEL_PAD = 0.25


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Give a tensor's values to matplotlib, wherever and however precise they are."""
    values = tensor.detach().cpu()
    return values.float().numpy() if values.is_floating_point() else values.numpy()


def photo(
    ax: Axes,
    image: UInt8[Tensor, "3 H W"],
    view: tuple[float, float, float, float] | None = None,
) -> AxesImage:
    """Show a photo in its own pixels: pixel (0, 0) covers 0…1 on both axes.

    Args:
        ax: where to draw.
        image: [3, H, W]; a large one is reduced by averaging.
        view: `(x1, y1, x2, y2)` the part of the plane to show, by default the photo.

    Returns:
        The image on the axes.
    """
    height, width = image.shape[1:]
    left, top, right, bottom = view or (0, 0, width, height)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    x1, y1, x2, y2, step = _seen(ax, (height, width))
    pixels = Image.fromarray(
        np.ascontiguousarray(to_numpy(image[:, y1:y2, x1:x2]).transpose(1, 2, 0))
    )
    return ax.imshow(np.asarray(pixels.reduce(step)), extent=(x1, x2, y2, y1), aspect="equal")


def _seen(ax: Axes, image_size: tuple[int, int]) -> tuple[int, int, int, int, int]:
    """Give the part of an image that a panel shows, and how many pixels one of the screen holds.

    More would only cost time.
    """
    height, width = image_size
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    x1, x2 = max(math.floor(left), 0), min(math.ceil(right), width)
    y1, y2 = max(math.floor(top), 0), min(math.ceil(bottom), height)
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    panel = ax.get_window_extent()
    step = min((right - left) / panel.width, (bottom - top) / panel.height)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1), max(1, int(step))


def boxes(
    ax: Axes,
    boxes: Float[Tensor, "N 4"],
    colors: str | Sequence[str],
    dash: str = SOLID,
    width: float = 1.6,
) -> PolyCollection:
    """Draw the outlines of boxes, with a thin contour so that they stand out from any photo.

    Args:
        ax: where to draw, in the boxes' pixels.
        boxes: [N, 4] `(x1, y1, x2, y2)`.
        colors: one for all, or one for each.
        dash: "solid", "dashed" or "dotted".
        width: of the line, in points.

    Returns:
        The outlines: one artist with N paths.
    """
    x1, y1, x2, y2 = to_numpy(boxes).T
    corners = np.stack((x1, y1, x2, y1, x2, y2, x1, y2), axis=1).reshape(-1, 4, 2)
    each = [colors] if isinstance(colors, str) else list(colors)
    contour = ["#00000099" if lightness(color) > 0.4 else "#FFFFFFB3" for color in each]
    wide = width + 1.4
    for edges, line, pattern in (
        (contour, wide, _pattern(dash, width / wide)),
        (each, width, _pattern(dash)),
    ):
        outlines = PolyCollection(
            list(corners),
            facecolors="none",
            edgecolors=edges,
            linewidths=line,
            linestyles=[pattern],
            joinstyle="miter",
        )
        ax.add_collection(outlines, autolim=False)
    return outlines


def _pattern(dash: str, shrink: float = 1.0) -> Any:
    """Give a dash in line widths, shrunk for a wider line that lies below a thinner one."""
    pattern = DASHES[dash]
    if dash == SOLID:
        return pattern
    return (0, tuple(length * shrink for length in pattern[1]))


def joins(
    ax: Axes,
    before: Float[Tensor, "N 4"],
    after: Float[Tensor, "N 4"],
    colors: Sequence[str],
) -> LineCollection:
    """Join the corners of each box with those of the box it became.

    Args:
        ax: where to draw, in the boxes' pixels.
        before: [N, 4].
        after: [N, 4], row by row.
        colors: one for each box.

    Returns:
        The lines: one artist with 4 N lines.
    """
    corners = torch.tensor([[0, 1], [2, 1], [2, 3], [0, 3]], device=before.device)
    ends = torch.stack((before[:, corners], after[:, corners]), dim=2).flatten(0, 1)
    lines = LineCollection(
        list(to_numpy(ends)), colors=np.repeat(list(colors), 4), linewidths=0.8, alpha=0.9
    )
    ax.add_collection(lines, autolim=False)
    return lines


def masks(
    ax: Axes, masks: Bool[Tensor, "N H W"], colors: Sequence[str], opacity: float = 0.45
) -> AxesImage:
    """Tint the pixels of masks, stronger along their outlines.

    Args:
        ax: where to draw; its limits are final.
        masks: [N, H, W] in the axes' pixels; later ones lie on earlier ones.
        colors: one for each mask.
        opacity: of the tint, 0…1.

    Returns:
        The tint: one image of all masks.
    """
    places = boxes_from_masks(masks).long().tolist()
    cut = (
        Patch(slice(y1, y2), slice(x1, x2), mask[y1:y2, x1:x2])
        for mask, (x1, y1, x2, y2) in zip(masks, places, strict=True)
    )
    return tint(ax, cut, (masks.shape[1], masks.shape[2]), colors, opacity)


def tint(
    ax: Axes,
    patches: Iterable[Patch],
    image_size: tuple[int, int],
    colors: Sequence[str],
    opacity: float = 0.45,
) -> AxesImage:
    """Tint the pixels of masks that are known inside a box, one at a time; see `masks`.

    Args:
        ax: where to draw; its limits are final.
        patches: of the image, such as `mrcnn_steps.masks.patches` gives.
        image_size: `(H, W)` of the image in the axes' pixels.
        colors: one for each patch.
        opacity: of the tint, 0…1.

    Returns:
        The tint: one image of all masks.
    """
    x1, y1, x2, y2, _ = _seen(ax, image_size)
    # One sample for each pixel of the page: outlines stay one pixel thick at every size.
    across, down = _centers(ax, x1, x2), _centers(ax, y1, y2)
    layer = np.zeros((len(down), len(across), 4), dtype=np.float32)
    for patch, color in zip(patches, colors, strict=True):
        first, last = np.searchsorted(across, (patch.columns.start, patch.columns.stop))
        upper, lower = np.searchsorted(down, (patch.rows.start, patch.rows.stop))
        rows, columns = down[upper:lower] - patch.rows.start, across[first:last]
        inside = to_numpy(patch.values)[np.ix_(rows, columns - patch.columns.start)]
        padded = np.pad(inside, 1)
        core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        part = layer[upper:lower, first:last]
        part[inside & core] = (*_rgb(color), opacity)
        part[inside & ~core] = (*_rgb(color), min(1, 2 * opacity))
    return ax.imshow(layer, extent=(x1, x2, y2, y1), aspect="equal", interpolation="nearest")


def _centers(ax: Axes, start: int, end: int) -> np.ndarray:
    """Give the image pixel under the center of each pixel of the page, from `start` to `end`."""
    panel, (left, right) = ax.get_window_extent(), ax.get_xlim()
    count = max(1, round((end - start) * panel.width / (right - left)))
    return (start + (np.arange(count) + 0.5) * (end - start) / count).astype(np.int64)


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))


def labels(
    ax: Axes, boxes: Float[Tensor, "N 4"], texts: Sequence[str], colors: str | Sequence[str]
) -> list[Text]:
    """Write a label at each box; no label lies on another one or leaves the panel.

    A label stands above its box, or inside it, or below or beside it, or further down along its
    sides: the first of these places that is free. Earlier boxes choose first; where no place is
    free the label is left out, and a note under the panel counts those.

    Args:
        ax: where to draw; its limits are final.
        boxes: [N, 4] in the axes' pixels, the most important first.
        texts: one for each box; never read as mathematics.
        colors: of the label's background, one for all or one for each.

    Returns:
        The labels that found a place.
    """
    figure = ax.figure.get_figure(root=True)
    ax.apply_aspect()
    panel, to_axes = ax.get_window_extent(), ax.transAxes.inverted()
    corners = ax.transData.transform(to_numpy(boxes).reshape(-1, 2)).reshape(-1, 4)
    each = [colors] * len(texts) if isinstance(colors, str) else colors
    pad = LABEL_PAD * LABEL_POINTS * figure.dpi / 72
    taken = np.zeros((0, 4))
    written = []
    for corner, text, color in zip(corners, texts, each, strict=True):
        width, height = text_size(figure, text, LABEL_POINTS)
        size = np.array([width + 2 * pad, height + 2 * pad]).round() + 1
        place = _free_place(corner, size, np.array(panel.extents), taken)
        if place is None:
            continue
        taken = np.vstack((taken, (*place, *(place + size))))
        x, y = to_axes.transform(place + pad + 0.5)
        written.append(
            ax.text(
                x,
                y,
                text,
                transform=ax.transAxes,
                size=LABEL_POINTS,
                family=FAMILIES,
                color=ink_on(color),
                va="bottom",
                parse_math=False,
                bbox={
                    "boxstyle": f"square,pad={LABEL_PAD}",
                    "facecolor": color,
                    "edgecolor": "none",
                },
            )
        )
    if len(written) < len(texts):
        ax.annotate(
            f"{len(texts) - len(written)} of {len(texts)} labels left out: no room",
            (1, 0),
            (0, -26 if len(ax.get_xticks()) else -2),
            xycoords="axes fraction",
            textcoords="offset pixels",
            ha="right",
            va="top",
            size=7,
            color=SOFT,
        )
    return written


def _free_place(
    corner: np.ndarray, size: np.ndarray, panel: np.ndarray, taken: np.ndarray
) -> np.ndarray | None:
    """Give the lower left corner of the first place for a label that is free, in display pixels."""
    left, top, right, bottom = corner
    width, height = size
    above_and_in = [(left, top + 1), (left + 1, top - height - 1), (right - width, top + 1)]
    below = [(left, bottom - height - 1), (left + 1, bottom + 1), (right - width, bottom - height)]
    beside = [(x, y) for y in (top - height, bottom) for x in (right + 2, left - width - 2)]
    down = [
        (x, top - step * (height + 1) - 1)
        for step in range(2, 2 + min(12, int((top - bottom) / (height + 1))))
        for x in (left + 1, right - width - 1)
    ]
    places = np.array(above_and_in + below + beside + down)
    places = places.clip(panel[:2], np.maximum(panel[2:] - size, panel[:2]))
    ends = places + size
    apart = (
        (places[:, None, 0] >= taken[:, 2])
        | (ends[:, None, 0] <= taken[:, 0])
        | (places[:, None, 1] >= taken[:, 3])
        | (ends[:, None, 1] <= taken[:, 1])
    )
    free = apart.all(axis=1).nonzero()[0]
    return places[free[0]] if len(free) else None


class Tile(NamedTuple):
    """A pair of small pictures with two lines of text above it.

    Attributes:
        crop: what it is about: a part of the photo, uint8 [h, w, 3].
        mask: what is learned or said about it, [h, w] in 0…1.
        title: a line of text.
        small: a smaller line.
    """

    crop: np.ndarray
    mask: np.ndarray
    title: str
    small: str


def crop(
    image: UInt8[Tensor, "3 H W"],
    box: Float[Tensor, "4"],
    mask: Bool[Tensor, "H W"] | None = None,
) -> np.ndarray:
    """Cut a box out of a photo.

    Args:
        image: [3, H, W].
        box: [4] in its pixels; may reach beyond it.
        mask: [H, W]; what lies outside it fades.

    Returns:
        uint8 [h, w, 3], at least one pixel.
    """
    height, width = image.shape[1:]
    x1, y1, x2, y2 = box.round().long().tolist()
    left, top = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    right, bottom = max(min(x2, width), left + 1), max(min(y2, height), top + 1)
    part = slice(top, bottom), slice(left, right)
    pixels = to_numpy(image[:, *part].permute(1, 2, 0))
    if mask is None:
        return pixels
    return np.where(to_numpy(mask[part])[:, :, None], pixels, 178 + pixels * 0.3).astype(np.uint8)


TILE, TILE_STEP, TILE_ROW, TILE_COLUMNS = 100, (WIDTH - 2 * MARGIN) / 4, 144, 4


def tile_page(title: str, subtitle: str, pictures: Sequence[Tile]) -> Picture:
    """Lay out pairs of small pictures, four pairs a row.

    Args:
        title: what one sees.
        subtitle: details in small print.
        pictures: what to draw, at least one.

    Returns:
        The figure; the masks among its images have the group id "mask".
    """
    rows = -(-len(pictures) // TILE_COLUMNS)
    height = rows * TILE_ROW
    figure, [ax] = page(title, subtitle, height / (WIDTH - 2 * MARGIN))
    ax.set_axis_off()
    text: dict[str, Any] = {"va": "center", "family": FAMILIES, "parse_math": False}
    for number, tile in enumerate(pictures):
        row, column = divmod(number, TILE_COLUMNS)
        x, y = column * TILE_STEP, row * TILE_ROW + 34
        _fitted(ax, tile.crop, x, y)
        right = x + TILE + 4
        mask = ax.imshow(
            tile.mask,
            cmap=MASK_COLORS,
            vmin=0,
            vmax=1,
            extent=(right, right + TILE, y + TILE, y),
            interpolation="nearest",
        )
        mask.set_gid("mask")
        ax.text(x, y - 22, tile.title, size=9, color=INK, weight="bold", **text)
        ax.text(x, y - 8, tile.small, size=8, color=SOFT, **text)
    ax.set_xlim(0, WIDTH - 2 * MARGIN)
    ax.set_ylim(height, 0)
    return figure


def _fitted(ax: Axes, picture: np.ndarray, x: float, y: float) -> None:
    """Give a picture in the middle of a square tile, in its own shape."""
    scale = TILE / max(picture.shape[:2])
    height, width = picture.shape[0] * scale, picture.shape[1] * scale
    left, top = x + (TILE - width) / 2, y + (TILE - height) / 2
    ax.imshow(picture, extent=(left, left + width, top + height, top))
