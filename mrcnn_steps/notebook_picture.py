"""Pictures as a notebook keeps them: small, and with words for those who do not see them."""

import base64
import html
import io

from PIL import Image, ImageColor

from mrcnn_steps.palette import BLACK, GRAY, OKABE_ITO, WHITE

LINES = (*OKABE_ITO, GRAY, WHITE, BLACK)


def html_picture(png: bytes, alt: str) -> str:
    """Give a picture as HTML: a notebook shows no words with a PNG alone.

    Args:
        png: the picture.
        alt: what it shows, in words.

    Returns:
        HTML that needs nothing else.
    """
    source = base64.b64encode(png).decode()
    return (
        f'<img alt="{html.escape(alt)}" style="max-width: 100%;" '
        f'src="data:image/png;base64,{source}">'
    )


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
