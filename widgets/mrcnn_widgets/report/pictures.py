"""Photos of a report: stored once each, scaled so that they all fit; and crops for its summary."""

import io
from math import sqrt

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw
from torch import Tensor

# Longer sides of a stored photo, the best first.
SIDES = (640, 512, 384, 288)
QUALITY = 72
# What a pixel of a JPEG takes at this quality, about: on the safe side for photos of streets.
BYTES_PER_PIXEL = 0.25
# Of a square, what a photo of 4 × 3 fills.
SHARE = 0.75
# Around a box, in shares of its longer side; and what a crop shows at least. As in js/crops.js.
MARGIN, LEAST = 0.3, 48

Corners = tuple[float, float, float, float]


def side_for(count: int, most: int) -> int:
    """Choose how large photos are stored.

    Args:
        count: of photos.
        most: bytes that all together may take.

    Returns:
        The largest of `SIDES` at which they probably fit; else the smallest.
    """
    affordable = sqrt(max(most, 0) / (max(count, 1) * SHARE * BYTES_PER_PIXEL))
    return next((side for side in SIDES if side <= affordable), SIDES[-1])


def picture(image: UInt8[Tensor, "3 H W"], side: int, quality: int = QUALITY) -> tuple[bytes, int]:
    """Make a JPEG of a photo.

    Args:
        image: the photo.
        side: the longer side that it is scaled down to; smaller ones stay as they are.
        quality: of the JPEG.

    Returns:
        The file, and its width in pixels.
    """
    photo = _opened(image)
    photo.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2)
    return _jpeg(photo, quality), photo.width


def crop(image: UInt8[Tensor, "3 H W"], box: Corners, side: int, color: str) -> bytes:
    """Make a JPEG of what is around a box, with the box.

    Args:
        image: the photo.
        box: `(x1, y1, x2, y2)` in its pixels.
        side: of the square crop, in pixels.
        color: of the box.

    Returns:
        The file.
    """
    photo = _opened(image)
    x1, y1, x2, y2 = box
    around = max(max(x2 - x1, y2 - y1) * (1 + 2 * MARGIN), LEAST)
    left, top = (x1 + x2 - around) / 2, (y1 + y2 - around) / 2
    cut = (left, top, left + around, top + around)
    shown = photo.transform((side, side), Image.Transform.EXTENT, cut, Image.Resampling.BICUBIC)
    scale = side / around
    corners = [(value - start) * scale for value, start in zip(box, (left, top) * 2, strict=True)]
    ImageDraw.Draw(shown).rectangle(corners, outline=color, width=2)
    return _jpeg(shown)


def _opened(image: UInt8[Tensor, "3 H W"]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))


def _jpeg(picture: Image.Image, quality: int = QUALITY) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
