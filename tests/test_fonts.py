"""Names in any script are written with letters, if a font here has them."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mrcnn_steps.fonts import FAMILIES, pillow_font

NAMES = {"DejaVu Sans": "кошка ×", "Noto Sans Devanagari": "कप", "Noto Sans Thai": "แมว"}
NAMES |= {"Noto Sans CJK SC": "猫", "WenQuanYi Zen Hei": "猫"}


def written(text):
    """A line as `pillow_font` writes it, bool [H, W]."""
    image = Image.new("L", (200, 40))
    ImageDraw.Draw(image).text((5, 5), text, 255, pillow_font(text, 20))
    return np.asarray(image) > 128


@pytest.mark.parametrize("family", sorted(set(NAMES) & set(FAMILIES)))
def test_pillow_writes_letters_and_not_boxes(family):
    text = NAMES[family]
    font = pillow_font(text, 20)
    box = bytes(font.getmask("\U0010ffff"))  # no font has this
    assert all(bytes(font.getmask(letter)) != box for letter in text if letter != " ")
    assert written(text).any()


def test_a_script_without_a_font_is_written_somehow():
    assert written("\U0010ffff").any()
