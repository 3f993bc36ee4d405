"""Fonts for names in any script: class names come from files, and not all of them are Latin."""

import warnings
from functools import cache

from matplotlib import font_manager
from PIL import ImageFont

from mrcnn_steps import class_names

# matplotlib's own font, and those with the letters of other scripts that systems bring along.
WANTED = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "IPAGothic",
    "NanumGothic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Arial Unicode MS",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Nirmala UI",
    "Leelawadee UI",
)
FAMILIES = tuple(name for name in WANTED if name in font_manager.fontManager.get_font_names())

# Stands for a letter that no font here has.
MISSING = "□"


def short(name: str) -> str:
    """Make a name from a file fit on one line of a picture, in letters that can be drawn.

    Args:
        name: of a class or a photo, whatever it contains.

    Returns:
        One line; letters that no font of `FAMILIES` has are boxes, and a warning tells which.
    """
    line = class_names.short(name)
    lacking = {letter for letter in line if ord(letter) not in _letters()}
    if lacking:
        warnings.warn(
            f"{line}: no font here has {', '.join(sorted(lacking))}; install one that has, such "
            "as Noto Sans CJK for Chinese, Japanese and Korean",
            stacklevel=2,
        )
    return "".join(MISSING if letter in lacking else letter for letter in line)


@cache
def _letters() -> frozenset[int]:
    """Give the code points that can be drawn, in titles and in small print alike."""
    normal, bold = (
        frozenset().union(*(_letters_of(name, weight) for name in FAMILIES))
        for weight in ("normal", "bold")
    )
    return normal & bold


@cache
def _letters_of(family: str, weight: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(_file_of(family, weight)).get_charmap())


def _file_of(family: str, weight: str) -> str:
    wanted = font_manager.FontProperties(family=family, weight=weight)
    return font_manager.findfont(wanted, fallback_to_default=False)


def pillow_font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Choose a font for a line of text that Pillow writes: it takes all letters from one.

    Args:
        text: the line.
        size: in pixels.

    Returns:
        The first of `FAMILIES` that lacks the fewest of its letters.
    """
    lacking = {
        family: sum(ord(letter) not in _letters_of(family, "normal") for letter in text)
        for family in FAMILIES
    }
    return _pillow_font(min(FAMILIES, key=lambda family: lacking[family]), size)


@cache
def _pillow_font(family: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_file_of(family, "normal"), size)
