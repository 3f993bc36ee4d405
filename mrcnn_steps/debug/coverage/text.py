"""Coverage in a terminal."""

import math
import textwrap
from collections.abc import Iterator

from mrcnn_steps.class_names import printable, short
from mrcnn_steps.debug.coverage.advice import Advised, Option
from mrcnn_steps.debug.coverage.result import Coverage, Slice
from mrcnn_steps.debug.coverage.shares import THRESHOLDS, Shares

# Classes that the table shows: those with the most objects that lack an IoU of 0.5.
MOST_CLASSES = 10

WIDTH = 100

HEAD = f"{'':28}{'objects':>8}" + "".join(f"{f'≥ {t:g}':>8}" for t in THRESHOLDS)


def table(coverage: Coverage) -> str:
    """Write the figures and the advice.

    Args:
        coverage: of a data set.

    Returns:
        Lines without control characters, whatever the classes are called.
    """
    return "\n".join(map(printable, _lines(coverage)))


def _lines(coverage: Coverage) -> Iterator[str]:
    objects, overall = len(coverage.boxes), coverage.overall
    out = f" ({coverage.left_out:,} crowds or objects without pixels left out)"
    yield from _sentence(
        f"{objects:,} objects of {coverage.photos:,} photos{out if coverage.left_out else ''} "
        f"against {coverage.anchors:,.0f} anchors a photo: the share whose best anchor has an IoU "
        "of at least …"
    )
    if not objects:
        return
    yield ""
    yield f"{HEAD}{'positives':>11}{'forced':>8}"
    yield _row(overall)
    for title, found in (
        ("by side on the input", coverage.slices("side")),
        ("by height : width", coverage.slices("aspect")),
        ("by level of the best anchor", coverage.slices("level")),
        _classes(coverage),
    ):
        yield title
        yield from map(_row, found)
    yield ""
    yield from _sentence(
        f"Positives: {overall.positives:.1f} anchors an object, "
        f"{coverage.positives_a_photo:.1f} a photo, of at most {coverage.most_positives} that the "
        f"RPN is trained on. Forced: {overall.forced:.0%} of the objects have no anchor of "
        f"IoU ≥ {coverage.positive_iou:g} and are trained on their best one only."
    )
    if lost := overall.by_shape + overall.by_grid:
        yield from _sentence(
            f"Below 0.5: {lost:,} objects. To blame: the shapes for {overall.by_shape:,} (mend "
            f"sizes and ratios), the grid for {overall.by_grid:,} (mend with "
            "finer levels for these sizes, or a larger input)."
        )
    yield ""
    yield from _advised(coverage.advised)


def _sentence(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH)


def _classes(coverage: Coverage) -> tuple[str, list[Slice]]:
    every = coverage.slices("class")
    worst = sorted(every, key=lambda each: -(each.by_shape + each.by_grid))[:MOST_CLASSES]
    some = f", {len(worst)} of {len(every)} with the most objects below 0.5"
    return "by class" + (some if len(worst) < len(every) else ""), worst


def _row(found: Slice) -> str:
    name = short(found.name)
    figures = f"{found.positives:>11.1f}{found.forced:>8.0%}"
    return f"  {name:<26}{found.shares.objects:>8,}{_covered(found.shares)}{figures}"


def _covered(found: Shares) -> str:
    return "".join(f"{'–' if math.isnan(c) else f'{c:.3f}':>8}" for c in found.covered)


def _advised(advised: Advised) -> Iterator[str]:
    if advised.now is None:
        yield from _sentence(f"No advice: {advised.reason}.")
        return
    yield (
        f"Other anchors, made of {advised.learned:,} photos and measured on the "
        f"{advised.proved:,} others:"
    )
    yield f"{HEAD}{'loss':>8}{'anchors':>11}"
    yield from map(_option, (advised.now, *advised.sets, *advised.enlarged))
    if advised.reason:
        yield from _sentence(f"No set is advised: {advised.reason}.")
    for each in advised.sets:
        yield ""
        yield f"{each.change}: {each.cost}"
        yield from (f"    {line}" for line in each.code)


def _option(found: Option) -> str:
    figures = f"{found.shares.loss:>8.3f}{found.anchors:>11,.0f}"
    return f"  {found.change:<26}{found.shares.objects:>8,}{_covered(found.shares)}{figures}"
