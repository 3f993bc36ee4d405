"""Pictures of where an answer differs: expected in green, given in dashed red."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mrcnn_steps import palette

# From inputs, expected and given value to a figure; None if there is nothing to draw.
Picture = Callable[[dict[str, Any], Sequence[Tensor], Sequence[Tensor]], Figure | None]

EXPECTED, GIVEN, INPUT = palette.EXPECTED.color, palette.GIVEN.color, palette.GRAY

# More outlines than this hide each other.
MOST_BOXES = 40


def boxes(inputs: dict[str, Any], expected: Sequence[Tensor], given: Sequence[Tensor]) -> Figure:
    """Draw expected and given boxes over the mask or boxes they were made from."""
    figure, axes = _axes()
    if "mask" in inputs:
        _show(axes, inputs["mask"])
    # The row that is most wrong tells most; one pair of boxes can be compared by eye.
    right, wrong = expected[0].reshape(-1, 4), given[0].reshape(-1, 4)
    if len(right) == len(wrong):
        apart = (right - wrong).abs().nan_to_num(torch.inf).amax(dim=1)
        rows = apart.argsort(descending=True, stable=True)[:3]
        right, wrong = right[rows], wrong[rows]
    right, wrong = right[:MOST_BOXES], wrong[:MOST_BOXES]
    _outline(axes, right, EXPECTED, "expected")
    _outline(axes, wrong, GIVEN, "given", dashed=True)
    _frame(axes, inputs, torch.cat((right, wrong)))
    return figure


def kept(inputs: dict[str, Any], expected: Sequence[Tensor], given: Sequence[Tensor]) -> Figure:
    """Draw the boxes of the input, and which of them were kept rightly and wrongly."""
    figure, axes = _axes()
    every = inputs["boxes"]
    right, wrong = set(expected[0].tolist()), set(given[0].tolist())
    groups = (
        ("dropped", INPUT, set(range(len(every))) - right - wrong, False),
        ("kept, rightly", EXPECTED, right & wrong, False),
        ("should be kept", EXPECTED, right - wrong, True),
        ("should be dropped", GIVEN, wrong - right, True),
    )
    for label, color, rows, dashed in groups:
        chosen = sorted(int(row) for row in rows if 0 <= row < len(every))[:MOST_BOXES]
        _outline(axes, every[chosen], color, label, dashed)
        if len(every) <= MOST_BOXES // 4:
            for row in chosen:
                x1, y1 = every[row, :2].tolist()
                axes.text(x1, y1, f" {row}", color=color, fontsize=9, va="top")
    _frame(axes, inputs, every)
    return figure


def points(inputs: dict[str, Any], expected: Sequence[Tensor], given: Sequence[Tensor]) -> Figure:
    """Draw expected and given points (x, y), numbered if they are few."""
    figure, axes = _axes()
    for values, color, marker, label in (
        (expected[0], EXPECTED, "o", "expected"),
        (given[0], GIVEN, "x", "given"),
    ):
        shown = values.reshape(-1, 2)
        x, y = shown.T.numpy()
        axes.plot(x, y, marker, color=color, label=label, markersize=8, markerfacecolor="none")
        if len(shown) <= 25:
            for row, point in enumerate(shown.tolist()):
                offset = (5, 5) if marker == "o" else (5, -11)
                axes.annotate(f"{row}", point, offset, textcoords="offset points", color=color)
    if "box" in inputs:
        _outline(axes, inputs["box"].reshape(1, 4), INPUT, "box")
    axes.margins(0.15)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    _legend(axes)
    return figure


def grids(
    inputs: dict[str, Any], expected: Sequence[Tensor], given: Sequence[Tensor]
) -> Figure | None:
    """Draw expected and given masks or maps side by side, and where they differ."""
    right, wrong = expected[0].double(), given[0].double()
    if right.ndim == 3 and right.numel():
        row = int((right - wrong).abs().nan_to_num(torch.inf).flatten(1).sum(dim=1).argmax())
        right, wrong = right[row], wrong[row]
    if right.ndim != 2 or not right.numel():
        return None
    figure = Figure(figsize=(7.5, 2.8), layout="constrained")
    both = torch.cat((right.flatten(), wrong.flatten())).nan_to_num()
    low, high = min(float(both.min()), 0.0), max(float(both.max()), 1.0)
    for axes, values, title, color in zip(
        figure.subplots(1, 3),
        (right, wrong, (right - wrong).abs()),
        ("expected", "given", "difference"),
        (EXPECTED, GIVEN, "black"),
        strict=True,
    ):
        colors = "Reds" if title == "difference" else "gray"
        bottom = 0 if title == "difference" else low
        axes.imshow(values.numpy(), cmap=colors, vmin=bottom, vmax=high, interpolation="nearest")
        if values.numel() <= 36:
            _write_values(axes, values)
        axes.set_title(title, color=color, fontsize=10)
        axes.tick_params(labelsize=7)
    return figure


def _write_values(axes: Axes, values: Tensor) -> None:
    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}
            axes.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=8, bbox=box)


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set_aspect("equal")
    axes.set_xlabel("x", fontsize=9)
    axes.set_ylabel("y", fontsize=9)
    axes.tick_params(labelsize=8)
    return figure, axes


def _show(axes: Axes, mask: Tensor) -> None:
    height, width = mask.shape
    # Pixel (0, 0) fills the square from 0 to 1, as boxes measure it.
    axes.imshow(mask.numpy(), cmap="Greys", alpha=0.5, extent=(0, width, height, 0), vmin=0, vmax=1)


def _outline(axes: Axes, rows: Tensor, color: str, label: str, dashed: bool = False) -> None:
    for row, (x1, y1, x2, y2) in enumerate(rows.tolist()):
        outline = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=2)
        if dashed:
            outline.set(linestyle=(0, (4, 3)), zorder=3)
        if row == 0:
            outline.set_label(label)
        axes.add_patch(outline)
        if x1 == x2 and y1 == y2:
            axes.plot(x1, y1, "x", color=color, markersize=9)


def _frame(axes: Axes, inputs: dict[str, Any], shown: Tensor) -> None:
    """Make room for all boxes, with y pointing down as in images."""
    corners = [shown.reshape(-1, 2).nan_to_num(0)]
    if "mask" in inputs:
        height, width = inputs["mask"].shape
        corners.append(torch.tensor([[0.0, 0.0], [width, height]]))
    if "image_size" in inputs:
        height, width = inputs["image_size"]
        _outline(axes, torch.tensor([[0.0, 0.0, width, height]]), "black", "image")
        corners.append(torch.tensor([[0.0, 0.0], [width, height]]))
    low, high = torch.cat(corners).aminmax(dim=0)
    margin = 0.06 * float((high - low).max()) + 0.1
    axes.set_xlim(float(low[0]) - margin, float(high[0]) + margin)
    axes.set_ylim(float(high[1]) + margin, float(low[1]) - margin)
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, fontsize=8, frameon=False)
