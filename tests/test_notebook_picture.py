"""Pictures as a notebook keeps them."""

import base64
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from mrcnn_steps import draw
from mrcnn_steps.draw.style import colored_parts
from mrcnn_steps.notebook_picture import WHOLE, html_picture, small_png
from mrcnn_steps.palette import OKABE_ITO


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def noise(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def test_the_words_are_text_and_the_picture_is_whole():
    content, found = png(noise(4, 3)), []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(html_picture(content, 'a "quoted" <b>name</b>'))
    [attributes] = [attributes for tag, attributes in found if tag == "img"]
    assert attributes["alt"] == 'a "quoted" <b>name</b>'
    address, data = attributes["src"].split(",")
    assert address == "data:image/png;base64"
    assert base64.b64decode(data) == content


def test_a_wide_picture_is_made_narrower():
    small = Image.open(io.BytesIO(small_png(png(noise(1200, 300)), 16, 600)))
    assert small.size == (600, 150)
    assert len(small.convert("RGB").getcolors()) <= 16


def test_a_thin_line_keeps_its_color():
    image = noise(200, 200)
    image.paste(OKABE_ITO[0], (0, 100, 200, 101))
    small = Image.open(io.BytesIO(small_png(png(image), 32))).convert("RGB")
    assert small.getpixel((50, 100)) == image.getpixel((50, 100))


def test_a_picture_never_grows():
    file = io.BytesIO()
    Image.new("1", (64, 64)).save(file, "PNG", optimize=True)
    assert len(small_png(file.getvalue())) <= len(file.getvalue())


def corners(page):
    """The shape that covers the paper, as rows of x and y in percent."""
    [shape] = re.findall(r"polygon\(evenodd, ([^)]*)\)", page)
    return np.array([[float(v.rstrip("%")) for v in p.split()] for p in shape.split(", ")])


@pytest.mark.parametrize(
    ("kept", "covered"),
    [
        ([], [True, True, True]),
        ([(0.1, 0.1, 0.5, 0.5)], [False, True, True]),
        # A part within another one, as masks within a photo, does not uncover it again.
        ([(0.15, 0.15, 0.4, 0.4), (0.1, 0.1, 0.5, 0.5)], [False, True, True]),
        ([(0.1, 0.1, 0.5, 0.5), (0.6, 0.6, 0.8, 0.8)], [False, False, True]),
        ([WHOLE], [False, False, False]),
    ],
)
def test_all_but_what_keeps_its_colors_is_covered(kept, covered):
    shape = corners(html_picture(png(noise(4, 3)), "noise", kept))
    points = np.array([[20, 20], [70, 70], [90, 30]])
    # matplotlib fills by the nonzero rule: count crossings of a ray to the right by hand.
    inside = [
        sum(
            (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1)
            for (x1, y1), (x2, y2) in zip(shape, [*shape[1:], shape[0]], strict=True)
        )
        % 2
        == 1
        for x, y in points
    ]
    assert inside == covered


def test_a_figure_keeps_the_colors_of_its_photo_and_legend():
    red = Image.new("RGB", (40, 30), "#FF0000")
    figure, [ax] = draw.page("Red", legend=(draw.Swatch("line", "#00FF00"),), aspect=0.75)
    draw.photo(ax, torch.from_numpy(np.array(red)).permute(2, 0, 1))
    image = np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("RGB"))
    height, width = image.shape[:2]
    kept = np.zeros((height, width), bool)
    for part in colored_parts(figure):
        left, top, right, bottom = np.array(part) * (width, height, width, height)
        kept[math.floor(top) : math.ceil(bottom), math.floor(left) : math.ceil(right)] = True
    colored = np.ptp(image.astype(int), axis=2) > 100
    assert colored.any()
    assert kept[colored].all()
    assert kept.sum() < colored.sum() * 1.02
