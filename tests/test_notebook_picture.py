"""Pictures as a notebook keeps them."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from mrcnn_steps.notebook_picture import html_picture, small_png
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
    [(tag, attributes)] = found
    assert tag == "img"
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
