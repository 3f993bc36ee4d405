"""HTML that is read without JavaScript. Whatever comes from data is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape

# A table's head and rows; a cell is text, or a text with the address that it links to.
Cell = str | tuple[str, str]


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Make a table; the first cell of a row is its heading."""
    titles = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{_cell(first)}</th>'
        + "".join(f"<td>{_cell(cell)}</td>" for cell in rest)
        + "</tr>\n"
        for first, *rest in rows
    )
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{named}'
        f"<thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>"
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
