"""One look for one thing: colors that stay apart, and ink that can be read on them."""

import pytest

from mrcnn_steps.palette import (
    EXPECTED,
    GIVEN,
    NEGATIVE,
    NEUTRAL,
    OKABE_ITO,
    POSITIVE,
    YELLOW,
    class_colors,
    ink_on,
    level_colors,
    lightness,
    palette,
)


@pytest.mark.parametrize("count", [0, 1, 7, 80])
def test_as_many_different_colors_as_asked_for(count):
    colors = palette(count)
    assert len(set(colors)) == len(colors) == count
    assert colors[:7] == list(OKABE_ITO[:count])


def test_a_class_keeps_its_color_however_many_there_are():
    assert class_colors(81)[:5] == class_colors(5)


def test_a_level_never_looks_like_an_object():
    assert YELLOW not in level_colors(12)


@pytest.mark.parametrize("looks", [(POSITIVE, NEGATIVE, NEUTRAL), (EXPECTED, GIVEN)])
def test_what_is_told_apart_differs_in_dash_as_well(looks):
    assert len({look.dash for look in looks}) == len({look.color for look in looks}) == len(looks)


def test_lightness_by_hand():
    assert lightness("#FF0000") == pytest.approx(0.299)
    assert (lightness("#000000"), lightness("#FFFFFF")) == (0, pytest.approx(1))


@pytest.mark.parametrize("color", palette(80))
def test_ink_can_be_read(color):
    assert contrast(color, ink_on(color)) >= 4.5


def contrast(one, other):
    """Contrast ratio of two colors (WCAG 2.1)."""

    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
