"""The funnel as text for a terminal."""

from collections.abc import Sequence

from mrcnn_steps.class_names import printable
from mrcnn_steps.debug.fates import CAUSES
from mrcnn_steps.debug.funnel.columns import Row, cell, columns, percent, points, span
from mrcnn_steps.debug.funnel.curves import calibration_error
from mrcnn_steps.debug.funnel.figures import Figures
from mrcnn_steps.debug.funnel.slices import ANECDOTES, ENOUGH_PHOTOS, SLICES, Part
from mrcnn_steps.debug.funnel.worst import (
    missed_in,
    suspected_labels,
    why_command,
    worst_objects,
    worst_photos,
    wrong_in,
)
from mrcnn_steps.debug.statistics import wilson
from mrcnn_steps.draw.style import plural

# Classes that are listed; a file has all.
MOST_CLASSES = 15
LISTED = 5


def table(figures: Figures, source: Sequence[str] = ()) -> str:
    """Write all figures of a funnel.

    Args:
        figures: of the funnel.
        source: see `why_command`.

    Returns:
        Sections with a blank line between them; those about nothing are left out.
    """
    sections = [overview(figures)]
    if figures.objects:
        sections += [_gates(figures), _slices(figures)]
    if len(figures.claims.score):
        sections += detections(figures)
    return "\n\n".join("\n".join(each) for each in [*sections, *worst(figures, source)] if each)


def overview(figures: Figures) -> list[str]:
    """Say in a sentence what was found."""
    total, found = len(figures.objects), figures.found
    said = f"{plural(figures.count, 'photo')}, {plural(total, 'object')}"
    if not total:
        return [f"{said}: nothing to find."]
    interval = span(wilson(found, total))
    return [
        f"{said}: {found:,} found ({percent(found / total)}, 95 % interval {interval}), "
        f"{total - found:,} missed; AP50 of the boxes {figures.ap50:.1f}."
    ]


def _gates(figures: Figures) -> list[str]:
    rows: list[Row] = [("objects are lost at", "lost", "share", "95 %", "left", "ΔAP50")]
    rows += [
        (
            gate.title,
            f"{gate.lost:,}",
            percent(gate.share),
            span(gate.interval),
            f"{gate.alive:,}",
            points(gate.gain),
        )
        for gate in figures.gates
        if gate.lost
    ]
    if len(rows) == 1:
        return []
    return [
        *columns(rows, "<>>>>>", indent=0),
        "ΔAP50: if nothing were lost there, each object found at the score that it would have.",
    ]


def _slices(figures: Figures) -> list[str]:
    rows: list[Row] = []
    for by, (title, *_) in SLICES.items():
        parts = figures.slices[by]
        rows += [("",) * 6] if rows else []
        rows.append((title, "objects", "found", "share", "95 %", "most are lost at"))
        rows += [_part(part) for part in parts[:MOST_CLASSES]]
        if len(parts) > MOST_CLASSES:
            rows.append((f"  and {len(parts) - MOST_CLASSES} more", "", "", "", "", ""))
    lines = columns(rows, "<>>>><", indent=0)
    if figures.count < ENOUGH_PHOTOS:
        lines.append(ANECDOTES.format(photos=f"{figures.count:,}"))
    return lines


def _part(part: Part) -> Row:
    worst = max(part.causes, key=lambda cause: part.causes[cause], default=None)
    return (
        f"  {cell(part.name)}",
        f"{part.objects:,}",
        f"{part.found:,}",
        percent(part.found / part.objects),
        span(part.interval),
        "" if worst is None else f"{CAUSES[worst].title} ({part.causes[worst]:,})",
    )


def detections(figures: Figures) -> list[list[str]]:
    """Write the kinds of false positives, the thresholds, and whether scores can be trusted."""
    return [_kinds(figures), _thresholds(figures), _reliability(figures)]


def _kinds(figures: Figures) -> list[str]:
    rows: list[Row] = [("false positives", "detections", "score ≥ 0.5", "ΔAP50")]
    rows += [
        (each.kind, f"{each.detections:,}", f"{each.sure:,}", points(each.gain))
        for each in figures.kinds
    ]
    lines = columns(rows, "<>>>", indent=0)
    if figures.suspected:
        found = plural(figures.suspected, "detection")
        lines.append(f"{found} may be right, and an annotation missing or of a wrong class.")
    return lines


def _thresholds(figures: Figures) -> list[str]:
    rows: list[Row] = [("best F1", "objects", "AP50", "score ≥", "precision", "recall", "F1")]
    known = [each for each in figures.curves if each.objects]
    for each in known[:MOST_CLASSES]:
        best, value = each.best, figures.ap50_by_class[each.name]
        numbers = ("–",) * 4 if best is None else tuple(f"{number:.2f}" for number in best)
        rows.append((cell(each.name), f"{each.objects:,}", f"{value:.1f}", *numbers))
    lines = columns(rows, "<>>>>>>", indent=0)
    if len(known) > MOST_CLASSES:
        lines.append(f"and {len(known) - MOST_CLASSES} more classes")
    return lines


def _reliability(figures: Figures) -> list[str]:
    rows: list[Row] = [("scores", "detections", "mean score", "right at IoU 0.5")]
    rows += [
        (
            f"{each.low:.1f}–{each.high:.1f}",
            f"{each.detections:,}",
            f"{each.score:.2f}",
            f"{each.precision:.2f}",
        )
        for each in figures.reliability
        if each.score is not None
    ]
    error = calibration_error(figures.reliability)
    return [*columns(rows, "<>>>", indent=0), f"Expected calibration error: {error:.3f}."]


def worst(figures: Figures, source: Sequence[str]) -> list[list[str]]:
    """List the worst photos, the largest missed objects and the suspected labels."""
    photos = [
        f"  {cell(photo.photo)}: {missed_in(photo)} of {len(photo.objects)} objects missed, "
        f"{plural(wrong_in(photo), 'false positive')}\n"
        f"    {printable(why_command(photo.image_id, photo.index, None, source))}"
        for photo in worst_photos(figures.photos(), LISTED)
    ]
    objects = [
        f"  {cell(photo.photo)}: {cell(each.name)}, {each.side:.0f} px, lost at "
        f"{CAUSES[each.cause].title}\n"
        f"    {printable(why_command(photo.image_id, photo.index, each.object, source))}"
        for photo, each in worst_objects(figures.photos(), LISTED)
    ]
    labels = [
        f"  {cell(photo.photo)}: {cell(each.name)} {each.score:.2f} at "
        f"({', '.join(f'{edge:.0f}' for edge in each.box)}): {each.suspected}"
        for photo, each in suspected_labels(figures.photos(), LISTED)
    ]
    titled = (
        ("the worst photos", photos),
        ("the largest missed objects (side at the network's input)", objects),
        ("suspected labels: look at these before blaming the model", labels),
    )
    return [[title, *lines] for title, lines in titled if lines]
