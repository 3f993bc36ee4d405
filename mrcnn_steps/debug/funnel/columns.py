"""Tables for a terminal: aligned in every script, and harmless whatever a name contains."""

import unicodedata
from collections.abc import Sequence

from mrcnn_steps.class_names import printable, short

Row = Sequence[str]


def width(text: str) -> int:
    """Count the columns that a text takes in a terminal.

    Args:
        text: one line.

    Returns:
        Two for each letter that East Asian scripts draw wide, none for what combines with the
        letter before (Unicode Standard Annex 11).
    """
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def cell(name: str) -> str:
    """Make a name from a file fit into a cell: short, and without what a terminal obeys."""
    return short(printable(name))


def columns(rows: Sequence[Row], align: str, indent: int = 2) -> list[str]:
    """Align rows of cells.

    Args:
        rows: the cells of each, as many as `align` has letters.
        align: "<" or ">" for each column.
        indent: blanks before every line.

    Returns:
        A line for each row, without blanks at its end.
    """
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            " " * (most - width(each)) + each if side == ">" else each + " " * (most - width(each))
            for each, most, side in zip(row, widths, align, strict=True)
        ]
        lines.append((" " * indent + "  ".join(cells)).rstrip())
    return lines


def percent(share: float) -> str:
    """Write a share as "38.8 %"."""
    return f"{100 * share:.1f} %"


def span(interval: tuple[float, float]) -> str:
    """Write an interval of shares as "33.5–44.3"."""
    low, high = interval
    return f"{100 * low:.1f}–{100 * high:.1f}"


def points(gain: float | None) -> str:
    """Write a difference of percents as "+1.2"; a dash where it is unknown."""
    return "–" if gain is None else f"{gain:+.1f}"
