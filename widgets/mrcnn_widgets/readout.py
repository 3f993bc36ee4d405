"""A small table of numbers beside a canvas, on the page and as a picture."""

from __future__ import annotations

import html
from collections.abc import Sequence

import ipywidgets as ipw
from PIL import Image, ImageDraw

from mrcnn_steps.class_names import LONGEST_NAME
from mrcnn_steps.fonts import pillow_font
from mrcnn_steps.palette import INK, PAPER

# Letters of a table's cell that is never broken into lines.
SHORT = 16


class Readout(ipw.HTML):
    """A small table of numbers that changes without moving what is around it.

    Args:
        heading: the line above the table.
        lines: how many rows to keep room for; more of them scroll.
    """

    def __init__(self, heading: str, lines: int = 4) -> None:
        self.heading, self.lines = heading, lines
        self.rows: list[tuple[str, ...]] = []
        super().__init__(layout=ipw.Layout(width="auto", margin="0 0 10px 0"))
        self.show([])

    def show(
        self,
        rows: Sequence[Sequence[str]],
        header: Sequence[str] = (),
        marked: int | None = None,
    ) -> None:
        """Replace the table.

        Args:
            rows: texts; the first column is aligned left, the others right.
            header: a text for each column.
            marked: the row to emphasize.
        """
        self.rows = [
            tuple(str(text) for text in row) for row in (*([header] if header else ()), *rows)
        ]
        lines = []
        for place, row in enumerate(self.rows):
            is_header = bool(header) and place == 0
            look = "color: var(--jp-ui-font-color2, #666);" if is_header else ""
            if marked is not None and place == marked + bool(header):
                look = "font-weight: 700; background: rgba(86, 180, 233, .22);"
            cells = "".join(
                f'<td style="padding: 0 6px; text-align: {"right" if column else "left"}; '
                f'{_wrapping(column, text)}">{html.escape(text)}</td>'
                for column, text in enumerate(row)
            )
            lines.append(f'<tr style="background: none; {look}">{cells}</tr>')
        height = 19 * self.lines
        self.value = (
            '<div style="line-height: 19px; font-size: 12px; font-variant-numeric: tabular-nums; '
            'color: var(--jp-ui-font-color1, inherit);">'
            f'<div style="font-weight: 600; padding: 0 6px;">{html.escape(self.heading)}</div>'
            f'<div style="height: {height}px; overflow-y: auto;">'
            f'<table style="width: 100%; border-collapse: collapse;">{"".join(lines)}</table>'
            "</div></div>"
        )

    def picture(self, width: int = 270) -> Image.Image:
        """Give the table as a picture, with the lines that the page would show and a few more."""
        letters = pillow_font("".join(text for row in self.rows for text in row), 11)
        rows = self.rows[: max(self.lines, 12)]
        image = Image.new("RGB", (width, 18 * (len(rows) + 1) + 8), PAPER)
        pen = ImageDraw.Draw(image)
        pen.text((0, 9), self.heading, "#000000", pillow_font(self.heading, 12), anchor="lm")
        columns = range(max(len(row) for row in rows))
        wide = [max(letters.getlength(row[c]) for row in rows if c < len(row)) for c in columns]
        for line, row in enumerate(rows, start=1):
            right = float(width)
            for column in range(len(row) - 1, 0, -1):
                pen.text((right, 18 * line + 9), row[column], INK, letters, anchor="rm")
                right -= wide[column] + 10
            text = row[0]
            while text and letters.getlength(text) > right:
                text = text[:-1]
            pen.text((0, 18 * line + 9), text, INK, letters, anchor="lm")
        return image


def _wrapping(column: int, text: str) -> str:
    """Lines break between words: no number is torn apart, however long the name beside it."""
    if column > 0 and len(text) <= SHORT:
        return "white-space: nowrap;"
    longest = max(map(len, text.split()), default=0)
    return "overflow-wrap: anywhere;" if longest > LONGEST_NAME else ""
