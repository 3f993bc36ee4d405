"""The house style of all pictures: colors, dashes, text that stays text, and the page.

Nothing here reads or changes matplotlib's global state (no `pyplot`, no `rcParams`), so that
pictures look the same in every notebook and can be drawn in threads.
"""

import io
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox, BboxBase

from mrcnn_steps.fonts import FAMILIES
from mrcnn_steps.fonts import short as short
from mrcnn_steps.notebook_picture import Part, html_picture, small_png
from mrcnn_steps.palette import BLUE, DASHED, DOTTED, GRAY, INK, PAPER, SKY, SOFT, SOLID

# Lengths of stroke and gap in line widths.
DASHES: dict[str, Any] = {SOLID: "solid", DASHED: (0, (4, 2)), DOTTED: (0, (1, 1.4))}

# 0…1 from paper to blue: monotone in lightness, so it also reads without color.
MASK_COLORS = LinearSegmentedColormap.from_list("mask", ["#EEF1F4", SKY, BLUE])

DPI = 100
WIDTH = 900
MARGIN = 14
MAX_HEIGHT = 740
GAP = 14
LINE, LEGEND_LINE = 18, 24
# Half of the width of a legend's line.
STROKE = 2


class Swatch(NamedTuple):
    """An entry of a legend: what lines of this color and dash mean."""

    text: str
    color: str
    dash: str = SOLID


class Picture(Figure):
    """A matplotlib figure that a notebook shows without `%matplotlib` and without `pyplot`.

    Attributes:
        heading: its title and subtitle in words, for those who do not see it.
    """

    heading = ""

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Write the figure; see matplotlib. A dark style sheet does not change its paper."""
        super().savefig(fname, **({"facecolor": PAPER} | kwargs))

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()

    def _repr_html_(self) -> str:
        png = self._repr_png_()
        return html_picture(small_png(png), self.heading, colored_parts(self))


def colored_parts(figure: Figure, page: Bbox | None = None) -> list[Part]:
    """Find what must keep its colors: photos and masks, and the legend of what is drawn on them.

    Args:
        figure: as it was drawn last.
        page: the part of the figure that was saved, in pixels; by default all of it.

    Returns:
        The parts, none where no panel holds a picture.
    """
    paper: BboxBase = page or figure.bbox
    pictures = [
        Bbox.intersection(image.get_window_extent(), ax.get_window_extent())
        for ax in figure.axes
        for image in ax.images
    ]
    lines = [artist for artist in figure.artists if isinstance(artist, Line2D) and pictures]
    strokes = [line.get_window_extent().padded(STROKE) for line in lines]
    return [
        (
            (box.x0 - paper.x0) / paper.width,
            (paper.y1 - box.y1) / paper.height,
            (box.x1 - paper.x0) / paper.width,
            (paper.y1 - box.y0) / paper.height,
        )
        for box in (*pictures, *strokes)
        if box is not None
    ]


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: "1 object", "1,000 objects"."""
    many = noun + "es" if noun.endswith(("x", "s")) else noun + "s"
    return f"{count:,} {noun if count == 1 else many}"


def size_in_bytes(count: int) -> str:
    """Write a number of bytes in the unit that fits: "19.9 MB"."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def text_size(figure: Figure, text: str, points: float) -> tuple[float, float]:
    """Measure a line of text.

    Args:
        figure: made by `page`.
        text: one line.
        points: font size.

    Returns:
        Width and height in pixels of the figure, as matplotlib lays a line out.
    """
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    font = FontProperties(family=FAMILIES, size=points)
    width, height, _ = renderer.get_text_width_height_descent(text, font, ismath=False)
    _, usual, _ = renderer.get_text_width_height_descent("lp", font, ismath=False)
    return width, max(height, usual)


def page(
    title: str,
    subtitle: str = "",
    aspect: float = 1.0,
    rows: int = 1,
    columns: int = 1,
    legend: Sequence[Swatch] = (),
    axis: str | None = None,
    captions: bool = False,
) -> tuple[Picture, list[Axes]]:
    """Lay out a figure of 900 pixels width: title, subtitle, legend, and a grid of equal panels.

    Args:
        title: what one sees, in one line.
        subtitle: details in small print; wrapped.
        aspect: height / width of a panel.
        rows: rows of panels.
        columns: columns of panels.
        legend: what the colors mean, in a line under the subtitle.
        axis: what the coordinates are; without it no axes are drawn.
        captions: whether every panel has a line of its own above it, for `caption`.

    Returns:
        The figure and its panels, row by row.
    """
    beside, below = (48, 40) if axis else (0, 0)
    above = 2 * LINE if captions else 0
    width = (WIDTH - 2 * MARGIN - columns * beside - (columns - 1) * GAP) / columns
    height = width * min(max(aspect, 0.12), 8.0)
    if height * rows > MAX_HEIGHT:
        width, height = width * MAX_HEIGHT / (height * rows), MAX_HEIGHT / rows
    figure = Picture(dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    figure.heading = f"{title}. {subtitle}".strip()
    lines = textwrap.wrap(subtitle, 128)
    places = _arrange(figure, legend)
    top = MARGIN + 32 + len(lines) * LINE + (places[-1][1] + 1 if places else 0) * LEGEND_LINE
    row_height = above + height + below
    total = top + rows * row_height + (rows - 1) * GAP + MARGIN
    figure.set_size_inches(WIDTH / DPI, total / DPI)
    _write_header(figure, title, lines, legend, places)
    content = columns * (width + beside) + (columns - 1) * GAP
    left = max(MARGIN, (WIDTH - content) / 2) + beside
    panels = []
    for row in range(rows):
        y = top + row * (row_height + GAP) + above
        for column in range(columns):
            x = left + column * (width + beside + GAP)
            frame = (x / WIDTH, 1 - (y + height) / total, width / WIDTH, height / total)
            panels.append(_panel(figure, frame, axis))
    return figure, panels


def _write_header(
    figure: Figure,
    title: str,
    lines: Sequence[str],
    legend: Sequence[Swatch],
    places: Sequence[tuple[float, int]],
) -> None:
    """Title, subtitle and legend at the top of a page."""
    total = figure.get_figheight() * DPI

    def write(x: float, y: float, text: str, size: float, color: str, weight: str) -> None:
        figure.text(
            x / WIDTH,
            1 - y / total,
            text,
            size=size,
            family=FAMILIES,
            color=color,
            weight=weight,
            va="center",
            parse_math=False,
        )

    write(MARGIN, MARGIN + 10, title, 13, INK, "bold")
    for number, line in enumerate(lines):
        write(MARGIN, MARGIN + 34 + number * LINE, line, 9, SOFT, "normal")
    for swatch, (x, line_number) in zip(legend, places, strict=True):
        y = MARGIN + 36 + len(lines) * LINE + line_number * LEGEND_LINE
        stroke = Line2D(
            [x / WIDTH, (x + 28) / WIDTH],
            [1 - y / total] * 2,
            color=swatch.color,
            linestyle=DASHES[swatch.dash],
            linewidth=2.2,
        )
        figure.add_artist(stroke)
        write(x + 35, y, swatch.text, 9, INK, "normal")


def _arrange(figure: Figure, legend: Sequence[Swatch]) -> list[tuple[float, int]]:
    """Where each entry of a legend stands: x in pixels, and its line."""
    places: list[tuple[float, int]] = []
    x, line = float(MARGIN), 0
    for swatch in legend:
        width = 35 + text_size(figure, swatch.text, 9)[0] + 22
        if x + width > WIDTH and x > MARGIN:
            x, line = float(MARGIN), line + 1
        places.append((x, line))
        x += width
    return places


def _panel(figure: Figure, frame: tuple[float, float, float, float], axis: str | None) -> Axes:
    ax = figure.add_axes(frame)
    ax.set_anchor("N")
    ax.grid(False)
    ax.set_facecolor("#EEF1F4")
    for spine in ax.spines.values():
        spine.set_visible(axis is not None)
        spine.set_color(GRAY)
        spine.set_linewidth(0.8)
    if axis is None:
        ax.set_xticks([])
        ax.set_yticks([])
        return ax
    ax.tick_params(
        labelsize=8, colors=SOFT, color=GRAY, length=3, width=0.8, pad=3.5, direction="out"
    )
    ax.set_xlabel(axis, fontsize=8, color=SOFT, labelpad=4, parse_math=False)
    return ax


def caption(ax: Axes, text: str, small: str = "") -> None:
    """Write a line above a panel, and a smaller one below it.

    Args:
        ax: a panel of a page with captions.
        text: what the panel shows.
        small: a detail.
    """
    above: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset pixels",
        "va": "bottom",
        "family": FAMILIES,
        "parse_math": False,
    }
    room = 3 + (14 if small else 0)
    ax.annotate(text, (0, 1), (0, room), size=9, color=INK, weight="bold", **above)
    ax.annotate(small, (0, 1), (0, 2), size=8, color=SOFT, **above)
