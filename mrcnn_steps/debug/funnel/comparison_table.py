"""A comparison as text for a terminal."""

from mrcnn_steps.class_names import printable
from mrcnn_steps.debug.fates import CAUSES
from mrcnn_steps.debug.funnel.columns import Row, cell, columns
from mrcnn_steps.debug.funnel.comparison import Comparison, Shift, Turn
from mrcnn_steps.debug.funnel.slices import ENOUGH_PHOTOS
from mrcnn_steps.debug.funnel.worst import MOST_LISTED, lost_at, why_command
from mrcnn_steps.draw.style import plural


def table(comparison: Comparison) -> str:
    """Write a comparison.

    Args:
        comparison: made by `compare`.

    Returns:
        Sections with a blank line between them; those about nothing are left out.
    """
    sections = [
        _overview(comparison),
        _gates(comparison),
        _listed("fixed: missed before, found now", comparison.fixed),
        _newly_missed(comparison),
        _settings(comparison),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _overview(comparison: Comparison) -> list[str]:
    found, (before, after) = comparison.found, comparison.ap50
    said = f"{plural(comparison.photos, 'photo')}, {plural(comparison.objects, 'object')}"
    lines = [f"{said}: {found.before:,} found before, {found.after:,} now{_in_words(found)}."]
    if before is not None and after is not None:
        lines[0] += f" AP50 of the boxes {before:.1f} before, {after:.1f} now."
    if not comparison.gates:
        lines.append("Detections alone do not tell at which gate an object was lost.")
    if comparison.unread:
        lines.append(f"{plural(comparison.unread, 'photo')} could not be read, and are left out.")
    return lines


def _gates(comparison: Comparison) -> list[str]:
    changed = [each for each in comparison.gates if each.before or each.after]
    if not changed:
        return []
    rows: list[Row] = [("objects", "before", "now", "change", "points of percent, 95 %", "")]
    rows += [
        (
            title,
            f"{each.before:,}",
            f"{each.after:,}",
            f"{each.after - each.before:+,}",
            _points(each),
            "clear" if _is_clear(each) else "",
        )
        for title, each in [
            (comparison.found.title, comparison.found),
            *((f"lost at {each.title}", each) for each in changed),
        ]
    ]
    lines = columns(rows, "<>>>><", indent=0)
    if any(map(_is_clear, (comparison.found, *changed))):
        lines.append("clear: the interval leaves out 0; of so many gates, one may by chance.")
    if comparison.photos < ENOUGH_PHOTOS:
        lines.append(f"{comparison.photos:,} photos are few: small changes stay unseen.")
    return lines


def _points(shift: Shift) -> str:
    """Write a change and its interval as "+6.1, +2.0 … +10.2"."""
    if shift.interval is None:
        return "–"
    low, high = shift.interval
    return f"{100 * shift.change:+.1f}, {100 * low:+.1f} … {100 * high:+.1f}"


def _in_words(shift: Shift) -> str:
    if shift.interval is None:
        return ""
    low, high = shift.interval
    return (
        f" ({100 * shift.change:+.1f} points of percent, 95 % interval {100 * low:+.1f} … "
        f"{100 * high:+.1f})"
    )


def _is_clear(shift: Shift) -> bool:
    return shift.interval is not None and (shift.interval[0] > 0 or shift.interval[1] < 0)


def _newly_missed(comparison: Comparison) -> list[str]:
    lines = _listed("newly missed: found before, missed now", comparison.newly_missed)
    if lines and comparison.newly_missed[0].cause in CAUSES:
        worst = comparison.newly_missed[0]
        command = why_command(worst.image_id, worst.index, worst.object, comparison.source)
        lines.append(f"  Why the first one: {printable(command)}")
    return lines


def _listed(title: str, turns: tuple[Turn, ...]) -> list[str]:
    if not turns:
        return []
    lines = [f"{title} ({len(turns):,})"]
    lines += [
        f"  {cell(each.photo)} (image {each.image_id}), object {each.object}: {cell(each.name)}, "
        f"{each.side:.0f} px, {lost_at(each.cause)}"
        for each in turns[:MOST_LISTED]
    ]
    if len(turns) > MOST_LISTED:
        lines.append(f"  and {len(turns) - MOST_LISTED:,} more")
    return lines


def _settings(comparison: Comparison) -> list[str]:
    differing = comparison.settings.items()
    lines = [printable(f"  {name}: {own} before, {other} now") for name, (own, other) in differing]
    return ["settings that differ", *lines] if lines else []
