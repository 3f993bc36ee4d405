"""Colors, dashes and looks: decided once, for figures, widgets, exercises and reports.

Two things that differ in color differ in dash as well, so that nothing is told by hue alone.
"""

import colorsys
from functools import cache
from typing import Literal, NamedTuple

# Okabe & Ito, "Color Universal Design" (2008): eight colors that people with any of the common
# color vision deficiencies tell apart.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
OKABE_ITO = (SKY, ORANGE, GREEN, PURPLE, YELLOW, VERMILLION, BLUE)
GRAY, WHITE = "#BBBBBB", "#FFFFFF"

# What pictures are printed on and written with.
PAPER, INK, SOFT, RIM = "#FFFFFF", "#1F2328", "#59636E", "#9AA2AB"

Dash = Literal["solid", "dashed", "dotted"]
SOLID: Dash = "solid"
DASHED: Dash = "dashed"
DOTTED: Dash = "dotted"


class Look(NamedTuple):
    """How one kind of thing is drawn, in every picture.

    Attributes:
        name: what a legend calls it.
        color: `#rrggbb`.
        dash: of its outline.
    """

    name: str
    color: str
    dash: Dash = SOLID


# What an anchor is taught to be.
POSITIVE = Look("positive", SKY, SOLID)
NEGATIVE = Look("negative", VERMILLION, DASHED)
NEUTRAL = Look("neutral", GRAY, DOTTED)

# An annotated object, and the boxes on the way from its anchor to its detection.
OBJECT = Look("object", YELLOW, SOLID)
ANCHOR = Look("anchor", ORANGE, DOTTED)
PROPOSAL = Look("proposal", VERMILLION, DASHED)
DETECTION = Look("detection", BLUE, SOLID)
SUPPRESSOR = Look("suppressor", PURPLE, SOLID)

# What a filter does to its rows.
STAYS = Look("stays", SKY, SOLID)
LEAVES = Look("leaves here", VERMILLION, DASHED)

# What an exercise expects, and what an answer gave instead.
EXPECTED = Look("expected", GREEN, SOLID)
GIVEN = Look("given", VERMILLION, DASHED)

# None of them is the color of an object, covered or not.
_LEVELS = (SKY, ORANGE, GREEN, PURPLE, BLUE)


def palette(count: int) -> list[str]:
    """List `count` colors: Okabe-Ito, then hues a golden angle apart.

    Args:
        count: how many.

    Returns:
        `#rrggbb` colors, distinct for as long as the eye allows.
    """
    return list(_palette(count))


@cache
def _palette(count: int) -> tuple[str, ...]:
    hues = [
        colorsys.hls_to_rgb(0.61803 * i % 1, 0.45 + 0.2 * (i % 3), 0.75)
        for i in range(count - len(OKABE_ITO))
    ]
    extra = ["#" + "".join(f"{round(255 * part):02X}" for part in hue) for hue in hues]
    return (*OKABE_ITO, *extra)[:count]


def class_colors(count: int) -> list[str]:
    """Give each label a color, the same in every picture.

    Args:
        count: labels, background included.

    Returns:
        A color by label; the background is gray.
    """
    return [GRAY, *palette(count - 1)]


def level_colors(count: int) -> list[str]:
    """Give each pyramid level a color, the same in every picture.

    Args:
        count: levels.

    Returns:
        A color by level, the finest first; beyond five they repeat.
    """
    return [_LEVELS[level % len(_LEVELS)] for level in range(count)]


def lightness(color: str) -> float:
    """Perceived lightness of a `#rrggbb` color, 0…1 (Rec. 601)."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def luminance(color: str) -> float:
    """Relative luminance of a `#rrggbb` color, 0…1 (WCAG 2.2)."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def ink_on(color: str) -> str:
    """Choose black or white, whichever contrasts more with `color` (WCAG 2.2): at least 4.5."""
    # Both contrasts, (1 + 0.05) / (L + 0.05) and (L + 0.05) / 0.05, are the same at this luminance.
    return BLACK if luminance(color) > (1.05 * 0.05) ** 0.5 - 0.05 else WHITE
