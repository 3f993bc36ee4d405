"""Pictures as a notebook keeps them: small, and with words for those who do not see them."""

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image, ImageColor

from mrcnn_steps.palette import BLACK, GRAY, OKABE_ITO, WHITE

LINES = (*OKABE_ITO, GRAY, WHITE, BLACK)

# A part of a picture: left, top, right and bottom as shares of its width and height.
Part = tuple[float, float, float, float]
WHOLE: Part = (0, 0, 1, 1)

# On a dark page paper turns dark, and what is written on it light, in about the same hue: a cover
# of the paper does so, which is nothing to see on other pages or where style sheets are removed.
# `invert(.93)` makes white the ground of JupyterLab's dark theme.
DARK = """<style>
body[data-jp-theme-light="false"] .mrcnn-paper, body.vscode-dark .mrcnn-paper {
  backdrop-filter: invert(.93) hue-rotate(180deg); }
</style>"""


def html_picture(png: bytes, alt: str, kept: Sequence[Part] = ()) -> str:
    """Give a picture as HTML: a notebook shows no words with a PNG alone.

    Args:
        png: the picture, dark on white paper.
        alt: what it shows, in words.
        kept: photos and the like, whose colors stay as they are on a dark page.

    Returns:
        HTML that needs nothing else.
    """
    source = base64.b64encode(png).decode()
    return (
        f'{DARK}<div style="position: relative; display: inline-block; max-width: 100%;">'
        f'<img alt="{html.escape(alt)}" style="max-width: 100%; display: block; margin: 0;" '
        f'src="data:image/png;base64,{source}">'
        '<span class="mrcnn-paper" style="position: absolute; inset: 0; pointer-events: none; '
        f'clip-path: {_around(kept)};"></span></div>'
    )


def _around(parts: Sequence[Part]) -> str:
    """Give the whole without some parts, as a shape of CSS: a walk around each from one corner.

    By the even-odd rule what lies in a part is outside; the ways to the parts enclose nothing.
    """
    points = []
    for left, top, right, bottom in (WHOLE, *_largest(parts)):
        corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top), (0, 0))
        points += [f"{100 * x:.2f}% {100 * y:.2f}%" for x, y in corners]
    return f"polygon(evenodd, {', '.join(points)})"


def _largest(parts: Sequence[Part]) -> list[Part]:
    """Leave out the parts that lie in another one."""
    largest: list[Part] = []
    for part in sorted(set(parts), key=lambda p: (p[2] - p[0]) * (p[3] - p[1]), reverse=True):
        if not any(_inside(part, other) for other in largest):
            largest.append(part)
    return largest


def _inside(part: Part, other: Part, slack: float = 0.002) -> bool:
    starts = all(part[i] >= other[i] - slack for i in (0, 1))
    return starts and all(part[i] <= other[i] + slack for i in (2, 3))


def small_png(png: bytes, colors: int = 256, width: int = 1000) -> bytes:
    """Store a picture with a palette, if that is smaller.

    Args:
        png: the picture.
        colors: entries of the palette.
        width: a wider picture is made this wide, in pixels.

    Returns:
        The picture as a PNG.
    """
    image = Image.open(io.BytesIO(png)).convert("RGB")
    if image.width > width:
        height = round(image.height * width / image.width)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Without dithering flat areas stay flat, which is what makes the file small.
    few = image.quantize(palette=_palette(image, colors), dither=Image.Dither.NONE)
    few.save(buffer, "PNG", optimize=True)
    return min(buffer.getvalue(), png, key=len)


def _palette(image: Image.Image, colors: int) -> Image.Image:
    """Choose the picture's own colors, and those of our lines: thin as they are, they stay."""
    # Choosing from a quarter of the pixels a side takes a fifth of the time.
    own = image.reduce(4).quantize(colors - len(LINES)).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*(v for color in LINES for v in ImageColor.getrgb(color)[:3]), *own])
    return palette
