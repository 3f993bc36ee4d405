"""HTML that is read without JavaScript. Whatever comes from data is escaped here."""

import re
from collections.abc import Iterable, Sequence
from html import escape

# Characters that turn the direction of all that follows, beyond the name that holds them.
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")

# A table's head and rows; a cell is text, or a text with the address that it links to.
Cell = str | tuple[str, str]


def straight(text: str) -> str:
    """Leave out of a text what would turn the direction of the text after it."""
    return TURNING.sub("", text)


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Make a table; the first cell of a row is its heading."""
    cells = ([_cell(cell) for cell in row] for row in rows)
    return table_of_html(escape(caption), [escape(name) for name in head], cells)


def table_of_html(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = ""
) -> str:
    """Make a table of what is HTML already.

    Args:
        caption: above it; none if empty.
        head: the name of each column.
        rows: their cells; the first is the row's heading.
        kind: class of the table in the style sheet; none if empty.

    Returns:
        The table, in a box that scrolls where it is too wide.
    """
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>\n'
        for first, *rest in rows
    )
    named = f"<caption>{caption}</caption>" if caption else ""
    of_kind = f' class="{kind}"' if kind else ""
    return (
        f'<div class="wide"><table{of_kind}>{named}'
        f"<thead><tr>{names}</tr></thead><tbody>\n{lines}</tbody></table></div>"
    )


def terms(pairs: Iterable[tuple[str, str]]) -> str:
    """Make a list of names and values."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in pairs)
    return f"<dl>{lines}</dl>"


def link(address: str, text: str) -> str:
    """Make a link to another view of the page."""
    return f'<a href="{escape(address)}">{escape(text)}</a>'


def _cell(cell: Cell) -> str:
    return escape(cell) if isinstance(cell, str) else link(cell[1], cell[0])
