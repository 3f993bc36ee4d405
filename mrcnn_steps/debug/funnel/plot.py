"""The funnel as a picture: gates, sizes, thresholds, reliability."""

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties

from mrcnn_steps.debug.fates import CAUSES
from mrcnn_steps.debug.funnel.figures import Figures
from mrcnn_steps.debug.funnel.slices import ANECDOTES, ENOUGH_PHOTOS
from mrcnn_steps.debug.statistics import wilson
from mrcnn_steps.draw.style import DASHES, Picture, caption, page, plural, text_size
from mrcnn_steps.fonts import FAMILIES, short
from mrcnn_steps.palette import BLUE, DASHED, DOTTED, GRAY, INK, SKY, SOFT, SOLID, ink_on, palette

# The same color for a cause in every panel.
COLORS = dict(zip(CAUSES, palette(len(CAUSES)), strict=True))

# Classes that have a curve.
MOST_CURVES = 6
SMALL_PRINT = 8


def plot(figures: Figures) -> Picture:
    """Draw where objects are lost, how that depends on size, and what scores are worth.

    Args:
        figures: of a funnel.

    Returns:
        The figure: four panels.
    """
    total = len(figures.objects)
    said = f"{plural(figures.count, 'photo')}, {plural(total, 'object')}"
    few = figures.count < ENOUGH_PHOTOS
    note = ANECDOTES.format(photos=f"{figures.count:,}") if few else ""
    figure, [gates, sizes, curves, bins] = page(
        f"{said}: {figures.found:,} found, {total - figures.found:,} missed",
        f"Bars with 95 % intervals. {note}".strip(),
        aspect=0.78,
        rows=2,
        columns=2,
        axis="share of the objects",
        captions=True,
    )
    _draw_gates(gates, figures)
    _draw_sizes(sizes, figures)
    _draw_curves(curves, figures)
    _draw_reliability(bins, figures)
    return figure


def _draw_gates(ax: Axes, figures: Figures) -> None:
    """Draw a bar for each gate that loses objects, its name behind it."""
    lossy = [gate for gate in figures.gates if gate.lost]
    for row, gate in enumerate(lossy):
        low, high = gate.interval
        ax.barh(row, gate.share, 0.72, color=COLORS[gate.cause])
        _whisker(ax, [low, high], [row, row])
        _write(ax, high, row, f"  {gate.title}: {gate.lost:,}", color=INK, ha="left")
    most = max((gate.interval[1] for gate in lossy), default=0.5)
    # Half of the width is for the names.
    ax.set_xlim(0, 2 * most)
    ax.set_ylim(max(len(lossy), 6) - 0.4, -0.6)
    ax.set_yticks([])
    caption(ax, "Lost at each gate", "in the order of the pipeline")


def _draw_sizes(ax: Axes, figures: Figures) -> None:
    """Draw a bar for each size: what was found, then the causes, each named where it fits."""
    parts = figures.slices["size"]
    for row, part in enumerate(parts):
        shares = {"found": (part.found, GRAY)} | {
            CAUSES[cause].title: (count, COLORS[cause]) for cause, count in part.causes.items()
        }
        left = 0.0
        for title, (count, color) in shares.items():
            share = count / part.objects
            ax.barh(row, share, 0.62, left, color=color, edgecolor="#EEF1F4", linewidth=0.8)
            _name_segment(ax, title, left, share, row, color)
            left += share
        heading = f" {part.name}: {part.found:,} of {plural(part.objects, 'object')} found"
        _write(ax, 0, row - 0.42, heading, color=INK, ha="left")
    ax.set_xlim(0, 1)
    ax.set_ylim(max(len(parts), 3) - 0.4, -0.7)
    ax.set_yticks([])
    caption(ax, "Causes by size", "area of the mask: small < 32², medium < 96² pixels of the photo")


def _name_segment(ax: Axes, title: str, left: float, share: float, row: int, color: str) -> None:
    """Write a name into its segment of a bar if there is room."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    room = share * ax.get_window_extent().width
    if text_size(figure, title, SMALL_PRINT)[0] + 6 < room:
        _write(ax, left + share / 2, row, title, color=ink_on(color), ha="center")


def _draw_curves(ax: Axes, figures: Figures) -> None:
    """Draw F1 against the threshold for the classes with the most objects."""
    known = [each for each in figures.curves if each.objects and len(each.f1)][:MOST_CURVES]
    looks = zip(palette(MOST_CURVES), [SOLID, DASHED, DOTTED] * 2, strict=True)
    for curve, (color, dash) in zip(known, looks, strict=False):
        ax.step(
            curve.threshold,
            curve.f1,
            where="post",
            color=color,
            linestyle=DASHES[dash],
            linewidth=1.6,
            label=short(curve.name),
        )
        if curve.best is not None:
            ax.plot(curve.best.threshold, curve.best.f1, "o", color=color, markersize=4)
    _frame(ax, "score threshold", "F1")
    if known:
        legend = ax.legend(prop=FontProperties(family=FAMILIES, size=SMALL_PRINT), frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
            text.set_color(INK)
    caption(ax, "F1 by threshold", "the classes with the most objects; a dot where F1 is best")


def _draw_reliability(ax: Axes, figures: Figures) -> None:
    """Draw how often detections are right, against the score that they have."""
    ax.plot([0, 1], [0, 1], color=SOFT, linestyle=DASHES[DASHED], linewidth=1)
    for each in figures.reliability:
        if each.score is None or each.precision is None:
            continue
        middle = (each.low + each.high) / 2
        ax.bar(middle, each.precision, 0.086, color=SKY)
        right = round(each.precision * each.detections)
        _whisker(ax, [middle, middle], list(wilson(right, each.detections)))
        ax.plot(each.score, each.precision, "o", color=BLUE, markersize=4)
    _frame(ax, "score", f"share that is right at IoU {figures.iou:g}")
    caption(
        ax, "Reliability of scores", "dots at the mean score; on the dashed line, a score is true"
    )


def _frame(ax: Axes, across: str, up: str) -> None:
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel(across, fontsize=SMALL_PRINT, color=SOFT, labelpad=4)
    ax.set_ylabel(up, fontsize=SMALL_PRINT, color=SOFT, labelpad=3)


def _whisker(ax: Axes, x: list[float], y: list[float]) -> None:
    ax.plot(x, y, color=INK, linewidth=1, solid_capstyle="butt")


def _write(ax: Axes, x: float, y: float, text: str, color: str, ha: str) -> None:
    ax.text(
        x,
        y,
        text,
        size=SMALL_PRINT,
        family=FAMILIES,
        color=color,
        ha=ha,
        va="center",
        parse_math=False,
    )
