"""The funnel as text for a terminal."""

from collections.abc import Sequence

from mrcnn_steps.class_names import printable
from mrcnn_steps.debug.fates import CAUSES
from mrcnn_steps.debug.funnel.columns import Row, cell, columns, percent, points, span
from mrcnn_steps.debug.funnel.curves import calibration_error
from mrcnn_steps.debug.funnel.figures import RECALL_RULE, Figures
from mrcnn_steps.debug.funnel.rows import PhotoRow
from mrcnn_steps.debug.funnel.slices import ANECDOTES, ENOUGH_PHOTOS, SLICES, Part
from mrcnn_steps.debug.funnel.worst import (
    lost_at,
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

FALSE = "false positive"
WITHOUT_MODEL = (
    "Detections do not tell why an object was missed. With --model, diagnose says at which gate "
    "each one was lost, what that costs, and what would bring it back."
)


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
        sections += [_gates(figures), _mechanisms(figures), _slices(figures)]
    if len(figures.claims.score):
        sections += detections(figures)
    sections += worst(figures, source)
    if not figures.explained:
        sections.append([WITHOUT_MODEL])
    return "\n\n".join("\n".join(each) for each in sections if each)


def overview(figures: Figures) -> list[str]:
    """Say in a sentence what was found."""
    total, found = len(figures.objects), figures.found
    said = f"{plural(figures.count, 'photo')}, {plural(total, 'object')}"
    told = _unread(figures)
    if not total:
        return [f"{said}: nothing to find.", *told]
    interval = span(wilson(found, total))
    lines = [
        f"{said}: {found:,} found ({percent(found / total)}, 95 % interval {interval}), "
        f"{total - found:,} missed; {figures.ap_name} of the boxes {figures.ap50:.1f}."
    ]
    if figures.proposal_recall is not None:
        rule = RECALL_RULE.format(iou=figures.iou)
        lines.append(f"Proposal recall {percent(figures.proposal_recall)}: {rule}.")
    return lines + told


def _unread(figures: Figures) -> list[str]:
    """Count the photos that could not be read, and say why the first one could not."""
    count = len(figures.rows) - figures.count
    if not count:
        return []
    why = next(each.error for each in figures.rows if each.error is not None)
    first = ", the first" if count > 1 else ""
    return [printable(f"{plural(count, 'photo')} could not be read{first}: {why}.")]


def _gates(figures: Figures) -> list[str]:
    rows: list[Row] = [
        ("objects are lost at", "lost", "share", "95 %", "left", f"Δ{figures.ap_name}")
    ]
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
        f"Δ{figures.ap_name}: if nothing were lost there, each found at the score it would have.",
    ]


def _mechanisms(figures: Figures) -> list[str]:
    total = sum(figures.mechanisms.values())
    shares = [
        f"{name} {percent(lost / total)}" for name, lost in figures.mechanisms.items() if lost
    ]
    if not shares:
        return []
    return [f"As Miller et al. (2022) count {plural(total, 'miss')}: {', '.join(shares)}."]


def _slices(figures: Figures) -> list[str]:
    rows: list[Row] = []
    most = "most are lost at" if figures.explained else ""
    for by, parts in figures.slices.items():
        rows += [("",) * 6] if rows else []
        rows.append((SLICES[by].title, "objects", "found", "share", "95 %", most))
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
    rows: list[Row] = [("false positives", "detections", "score ≥ 0.5", f"Δ{figures.ap_name}")]
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
    rows: list[Row] = [
        ("best F1", "objects", figures.ap_name, "score ≥", "precision", "recall", "F1")
    ]
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
    rows: list[Row] = [("scores", "detections", "mean score", f"right at IoU {figures.iou:g}")]
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

    def why(photo: PhotoRow, object: int | None) -> list[str]:
        if not figures.explained:
            return []
        return [f"    {printable(why_command(photo.image_id, photo.index, object, source))}"]

    photos, objects = [], []
    for photo in worst_photos(figures.photos(), LISTED):
        missed = f"{missed_in(photo)} of {len(photo.objects)} objects missed"
        photos.append(f"  {cell(photo.photo)}: {missed}, {plural(wrong_in(photo), FALSE)}")
        photos += why(photo, None)
    for photo, each in worst_objects(figures.photos(), LISTED):
        seen = f"{cell(each.name)}, {each.side:.0f} px, {lost_at(each.cause)}"
        objects.append(f"  {cell(photo.photo)}: {seen}")
        objects += why(photo, each.object)
    labels = [
        f"  {cell(photo.photo)}: {cell(each.name)} {each.score:.2f} at "
        f"({', '.join(f'{edge:.0f}' for edge in each.box)}): {each.suspected}"
        for photo, each in suspected_labels(figures.photos(), LISTED)
    ]
    where = "at the network's input" if figures.explained else "in the photo"
    titled = (
        ("the worst photos", photos),
        (f"the largest missed objects (side {where})", objects),
        ("suspected labels: look at these before blaming the model", labels),
    )
    return [[title, *lines] for title, lines in titled if lines]
