"""A picture of coverage: how many objects reach which IoU, and where anchors are missing."""

import torch
from matplotlib.axes import Axes

from mrcnn_steps.debug.coverage.result import Coverage
from mrcnn_steps.debug.coverage.shares import THRESHOLDS
from mrcnn_steps.draw.style import Picture, Swatch, caption, page
from mrcnn_steps.palette import ANCHOR, BLUE, DASHED, RIM, SOFT, VERMILLION

COVERED, LACKS = BLUE, VERMILLION

# Objects that are drawn; more would cover each other.
MOST_DOTS = 5000


def figure_coverage(coverage: Coverage) -> Picture:
    """Draw coverage.

    Args:
        coverage: of a data set.

    Returns:
        The figure: C(t) on the left; on the right each object as a dot at its width and height,
        a cross where
        no anchor reaches an IoU of 0.5, among the shapes of the anchors.
    """
    low, half, high = coverage.overall.shares.covered
    figure, [curve, sides] = page(
        f"{len(coverage.boxes):,} objects against {coverage.anchors:,.0f} anchors a photo",
        f"An anchor with an IoU of 0.3 has {low:.1%} of the objects, of 0.5 {half:.1%}, of 0.7 "
        f"{high:.1%}.",
        columns=2,
        legend=(
            Swatch("shape of an anchor", ANCHOR.color),
            Swatch("object with an anchor of IoU ≥ 0.5", COVERED),
            Swatch("without (×)", LACKS, DASHED),
        ),
        axis="IoU with the best anchor",
        captions=True,
    )
    _curve(curve, coverage)
    _sides(sides, coverage)
    return figure


def _curve(ax: Axes, coverage: Coverage) -> None:
    iou = coverage.fit.iou.sort().values
    share = 1 - torch.arange(len(iou)) / max(len(iou), 1)
    caption(ax, "coverage", "share of the objects that have an anchor of at least this IoU")
    ax.step([0, *iou.tolist(), 1], [1, *share.tolist(), 0], where="pre", color=COVERED, linewidth=2)
    for least in THRESHOLDS:
        ax.axvline(least, color=RIM, linestyle=(0, (4, 2)), linewidth=1)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)


def _sides(ax: Axes, coverage: Coverage) -> None:
    some = torch.arange(0, len(coverage.boxes), max(1, -(-len(coverage.boxes) // MOST_DOTS)))
    caption(ax, "sides", "of the objects, in pixels of the network's input")
    covered = coverage.fit.iou[some] >= THRESHOLDS[1]
    for rows, color, marker in ((covered, COVERED, "."), (~covered, LACKS, "x")):
        width, height = (coverage.boxes[some, 2:] - coverage.boxes[some, :2])[rows].T.tolist()
        ax.scatter(width, height, s=14, marker=marker, color=color, linewidths=0.8)
    a, b = coverage.shapes.T.tolist()
    ax.scatter(a, b, s=70, marker="s", facecolors="none", edgecolors=ANCHOR.color, linewidths=1.8)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("width", fontsize=8, color=SOFT, labelpad=4)
    ax.set_ylabel("height", fontsize=8, color=SOFT, labelpad=4)
