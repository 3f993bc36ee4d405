"""What pictures look like: twins in `tests/pictures`, small enough to look at in a review.

`RENEW_PICTURES=1 pytest tests/test_pictures.py` draws them anew.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from mrcnn_steps import draw, load_model, sample, trace
from mrcnn_steps.palette import class_colors
from mrcnn_widgets.viewer.layers import (
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    ArrowLayer,
    BoxLayer,
    GridLayer,
    Group,
    Layer,
    MaskLayer,
    PointLayer,
)
from mrcnn_widgets.viewer.still import picture

FOLDER = Path(__file__).parent / "pictures"
# Another JPEG decoder, FreeType or matplotlib shifts shades a little, and the rims of letters; a
# color, a dash, a line's width or a place that differs shows in more pixels than that.
SHADES, SHARE = 24, 0.002


def ground() -> np.ndarray:
    """The cows out of focus: a PNG of every hair would be large."""
    cows = Image.fromarray(sample("cows").image.permute(1, 2, 0).numpy())
    return np.asarray(cows.reduce(16).resize(cows.size, Image.Resampling.BICUBIC))


def boxes(count: int, side: float, seed: int = 0) -> np.ndarray:
    """Boxes on a photo of 640 × 480."""
    generator = np.random.default_rng(seed)
    corner = generator.uniform((0, 0), (600, 440), (count, 2))
    return np.concatenate([corner, corner + generator.uniform(20, side, (count, 2))], axis=1)


def objects() -> Layer:
    """The cows, each in the color of its class."""
    cows = sample("cows")
    names = [cows.class_names[label] for label in cows.labels.tolist()]
    colors = class_colors(len(cows.class_names))
    colors = [colors[label] for label in cows.labels.tolist()]
    return MaskLayer("objects", cows.masks, labels=names, colors=colors)


def targets(count: int, side: float) -> Layer:
    """Boxes of every kind of match."""
    groups, index = [NEUTRAL, NEGATIVE, POSITIVE], np.arange(count) % 3
    return BoxLayer("anchors", boxes(count, side), groups=groups, group_index=index)


def soft_mask() -> np.ndarray:
    """28 × 28 values that fall off from the middle."""
    return np.exp(-((np.indices((28, 28)) - 14) ** 2).sum(axis=0) / 60)


STILLS: dict[str, Callable[[], list[Layer]]] = {
    "masks": lambda: [objects()],
    "few-boxes": lambda: [targets(12, 200)],
    "many-boxes": lambda: [targets(1500, 60)],
    "arrows": lambda: [ArrowLayer("refined", boxes(8, 150), boxes(8, 150, seed=1))],
    "cells-and-points": lambda: [
        GridLayer("cells", (64, 64), (8, 10), cells=[(2, 3), (5, 7)]),
        PointLayer("centers", boxes(60, 30)[:, :2], groups=[Group("centers", "#F0E442")], radius=5),
    ],
    "soft-mask": lambda: [MaskLayer("soft", [soft_mask()], [[150, 80, 450, 400]])],
}
FIGURES = (
    draw.figure_sample,
    draw.figure_letterbox,
    draw.figure_mini_masks,
    draw.figure_anchor_levels,
    draw.figure_positive_anchors,
    draw.figure_negative_anchors,
)


@pytest.mark.parametrize("name", STILLS)
def test_still(name):
    selected = ("anchors", 2) if name == "few-boxes" else None
    compare(f"still-{name}", picture(ground(), STILLS[name](), selected=selected, width=260))


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.__name__)
def test_figure(figure, cows):
    """Without its words, whose letters differ from one matplotlib to the next."""
    made = figure(cows)
    for text in made.findobj(Text):
        text.set_visible(False)
    file = io.BytesIO()
    made.savefig(file, format="png", dpi=200 / made.get_figwidth())
    compare(figure.__name__.replace("figure_", "figure-").replace("_", "-"), Image.open(file))


def test_the_measure_sees_a_change_of_look():
    """One kind of box in another color, or drawn in another way."""
    before = picture(ground(), STILLS["few-boxes"](), width=260)
    for look in (Group("positive", "#009E73"), Group("positive", POSITIVE.color, "dashed")):
        layer = STILLS["few-boxes"]()[0]
        changed = BoxLayer(
            "anchors",
            layer.boxes,
            groups=[*layer.groups[:2], look],
            group_index=layer.group_index,
        )
        assert differing(before, picture(ground(), [changed], width=260)) > SHARE


@pytest.fixture(scope="module")
def cows():
    """What the figures need: a trace with its ground truth."""
    torch.manual_seed(0)
    return trace(load_model("tiny"), sample("cows"))


def compare(name: str, image: Image.Image) -> None:
    """Holds a picture against its twin, or makes it the twin."""
    path, image = FOLDER / f"{name}.png", image.convert("RGB")
    if os.environ.get("RENEW_PICTURES"):
        image.save(path, optimize=True)
    with Image.open(path) as opened:
        twin = opened.convert("RGB")
    assert image.size == twin.size
    share = differing(image, twin)
    assert share <= SHARE, f"{path.name}: {share:.2%} of the pixels differ"


def differing(image: Image.Image, twin: Image.Image) -> float:
    """The share of pixels of which a channel differs by more than `SHADES`."""
    found, expected = (np.asarray(each.convert("RGB")).astype(int) for each in (image, twin))
    return float((np.abs(found - expected) > SHADES).any(axis=2).mean())
