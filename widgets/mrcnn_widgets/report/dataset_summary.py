"""What is read first of a data set, with or without JavaScript: HTML whose numbers are links.

All text from data is escaped here, and nothing is styled but by class: a content security policy
lets no style through that stands in an attribute.
"""

from collections.abc import Iterable, Sequence
from html import escape
from math import floor
from typing import Any

from mrcnn_steps.debug.fates import CAUSES
from mrcnn_steps.debug.funnel.columns import percent, points, span
from mrcnn_steps.debug.funnel.curves import Bin, Operation, calibration_error
from mrcnn_steps.debug.funnel.figures import Figures
from mrcnn_steps.debug.funnel.rows import PhotoRow
from mrcnn_steps.debug.funnel.slices import ANECDOTES, ENOUGH_PHOTOS, SLICES, Part
from mrcnn_steps.debug.funnel.table import WITHOUT_MODEL
from mrcnn_steps.debug.funnel.worst import missed_in, why_command, worst_photos, wrong_in
from mrcnn_steps.debug.statistics import Interval, wilson
from mrcnn_widgets.report.addresses import gallery, token
from mrcnn_widgets.report.html import table_of_html

MISSED, WRONG, FOUND = "is:missed", "is:wrong", "is:found"
# What has a detection that is right or wrong; and what has one that is right.
DETECTED = "detected:yes"
RIGHT = (DETECTED, "-is:wrong")
LEADS = "Each number and each bar leads to the cases that it counts."
# Rows of a table that are seen at once; and all that there are, the gallery's search has the rest.
MOST_SEEN, MOST_ROWS = 40, 300

Cells = Sequence[str]


def summary(figures: Figures, source: Sequence[str] = ()) -> str:
    """Write the summary of a funnel.

    Args:
        figures: of the funnel.
        source: arguments of `mrcnn-steps why` that name the data and the model; see `why_command`.

    Returns:
        HTML: sections with tables.
    """
    sections = [_overview(figures)]
    if figures.objects:
        sections += [_gates(figures) if figures.explained else f"<p>{WITHOUT_MODEL}</p>"]
    if len(figures.claims.score):
        sections += [_kinds(figures)]
    if figures.objects:
        sections += [_slices(figures), _thresholds(figures)]
    return "\n".join([*sections, _reliability(figures), _worst(figures, source)])


def link(text: str, *tokens: str) -> str:
    """Link a text to the cases that a search finds."""
    return f'<a href="{gallery(*tokens)}">{escape(text)}</a>'


def bar(share: float, interval: Interval | None = None) -> str:
    """Draw a share, 0…1, as a bar, with its interval as a line; hidden from those who listen."""
    line = ""
    if interval is not None:
        low, high = (100 * each for each in interval)
        line = f'<rect class="span" x="{low:.2f}" y="4" width="{high - low:.2f}" height="2"/>'
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="part" width="{100 * share:.2f}" height="10"/>{line}</svg>'
    )


def table(caption: str, head: Cells, rows: Iterable[Cells]) -> str:
    """Write a table of figures; the cells are HTML, the first of a row names it."""
    return table_of_html(caption, head, rows, "figures")


def _folded(caption: str, head: Cells, rows: Sequence[Cells]) -> str:
    """Write a table of which the first rows are seen at once, and the others when asked for."""
    made, more = table(caption, head, rows[:MOST_SEEN]), rows[MOST_SEEN:MOST_ROWS]
    if more:
        seen = f"<summary>{len(more)} more</summary>"
        made += f"<details>{seen}{table('', head, more)}</details>"
    if len(rows) > MOST_ROWS:
        made += f"<p>{link(f'and {len(rows) - MOST_ROWS:,} more')}</p>"
    return made


def section(title: str, *parts: str) -> str:
    """Write a section; the parts are HTML."""
    return f"<section><h2>{title}</h2>\n" + "\n".join(part for part in parts if part) + "</section>"


def _bar_link(share: float, interval: Interval | None, *tokens: str) -> str:
    """Draw a bar that can be clicked; the number beside it is the link for all others."""
    href = gallery(*tokens)
    return f'<a class="barred" href="{href}" tabindex="-1">{bar(share, interval)}</a>'


def _gain(gain: float | None, *tokens: str) -> str:
    """Link a rise of average precision to the cases without which it would be; or a dash."""
    return points(gain) if gain is None else link(points(gain), *tokens)


def _overview(figures: Figures) -> str:
    total, found = len(figures.objects), figures.found
    wrong = sum(kind.detections for kind in figures.kinds)
    facts = [
        ("photos", link(f"{figures.count:,}")),
        ("objects", link(f"{total:,}", FOUND, MISSED)),
        ("found", link(f"{found:,}", FOUND)),
        ("missed", link(f"{total - found:,}", MISSED)),
        ("wrong detections", link(f"{wrong:,}", WRONG)),
        ("suspected labels", link(f"{figures.suspected:,}", "suspected:yes")),
    ]
    if total:
        low_high = link(f"({span(wilson(found, total))})", FOUND, MISSED)
        share = link(percent(found / total), FOUND)
        facts.insert(3, ("share found", f"{share} <small>{low_high}</small>"))
    if figures.ap50 is not None:
        facts.append((f"{figures.ap_name} of the boxes", link(f"{figures.ap50:.1f}")))
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f'<dl class="tiles">{tiles}</dl><p>{link("Search all cases")}. {LEADS}</p>'


def _gates(figures: Figures) -> str:
    lossy = [gate for gate in figures.gates if gate.lost]
    most = max((gate.interval[1] for gate in lossy), default=1)
    rows = [
        (
            escape(gate.title),
            _bar_link(
                gate.share / most,
                (gate.interval[0] / most, gate.interval[1] / most),
                token("cause", gate.cause),
            ),
            link(f"{gate.lost:,}", token("cause", gate.cause)),
            link(percent(gate.share), token("cause", gate.cause)),
            link(span(gate.interval), token("cause", gate.cause)),
            link(f"{gate.alive:,}", token("past", gate.cause)),
            _gain(gate.gain, token("cause", gate.cause)),
        )
        for gate in lossy
    ]
    if not rows:
        return section("Where objects are lost", "<p>Nowhere: every object was found.</p>")
    return section(
        "Where objects are lost",
        table(
            "The funnel, gate by gate in the order of the pipeline",
            ("lost at", "", "objects", "share", "95 %", "left", f"Δ{figures.ap_name}"),
            rows,
        ),
        f'<p class="note">Δ{figures.ap_name}: how much it would rise if nothing were lost there, '
        "each object found at the score that it would have.</p>",
    )


def _kinds(figures: Figures) -> str:
    most = max((kind.detections for kind in figures.kinds), default=0) or 1
    rows = [
        (
            escape(kind.kind),
            _bar_link(kind.detections / most, None, WRONG, token("kind", kind.kind)),
            link(f"{kind.detections:,}", WRONG, token("kind", kind.kind)),
            link(f"{kind.sure:,}", WRONG, token("kind", kind.kind), "score:>=0.5"),
            _gain(kind.gain, WRONG, token("kind", kind.kind)),
        )
        for kind in figures.kinds
        if kind.detections
    ]
    return section(
        "What is falsely found",
        table(
            "Wrong detections by kind (TIDE)",
            ("kind", "", "detections", "score ≥ 0.5", f"Δ{figures.ap_name}"),
            rows,
        ),
    )


def slice_tokens(by: str, key: Any) -> tuple[str, ...]:
    """Give the search that finds the objects of a part of a slice.

    Args:
        by: a key of `SLICES`.
        key: of the part, as the slice's `key` gives it.

    Returns:
        Tokens of the gallery's search.
    """
    slice_ = SLICES[by]
    match by:
        case "size":
            return (("size:<32",), ("size:>=32", "size:<96"), ("size:>=96",))[key]
        case "side":
            return f"side:>={2.0**key:g}", f"side:<{2.0 ** (key + 1):g}"
        case "aspect":
            return (token("shape", slice_.name(key)),)
        case "crowding":
            return (("crowding:0",), ("crowding:>=1", "crowding:<3"), ("crowding:>=3",))[key]
        case "border":
            return ("border:yes" if key else "border:no",)
    return (token(by, slice_.name(key)),)


def _slices(figures: Figures) -> str:
    said = ""
    if figures.count < ENOUGH_PHOTOS:
        said = f'<p class="note">{ANECDOTES.format(photos=f"{figures.count:,}")}</p>'
    parts = []
    most = "most are lost at" if figures.explained else ""
    for by, every in figures.slices.items():
        slice_ = SLICES[by]
        tokens = {
            slice_.name(key): slice_tokens(by, key)
            for key in {slice_.key(row) for row in figures.objects}
        }
        parts.append(
            _folded(
                f"By {slice_.title}",
                (slice_.title, "found", "share", "95 %", "found", "missed", most),
                [_part(part, tokens[part.name]) for part in every],
            )
        )
    return section("Which objects are lost", said, f'<div class="slices">{"".join(parts)}</div>')


def _part(part: Part, tokens: tuple[str, ...]) -> Cells:
    share, missed = part.found / part.objects, part.objects - part.found
    worst = max(part.causes, key=lambda cause: part.causes[cause], default=None)
    lost_at = ""
    if worst is not None:
        text = f"{CAUSES[worst].title} ({part.causes[worst]:,})"
        lost_at = link(text, token("cause", worst), *tokens)
    return (
        link(part.name, FOUND, MISSED, *tokens),
        _bar_link(share, part.interval, FOUND, MISSED, *tokens),
        link(percent(share), FOUND, MISSED, *tokens),
        link(span(part.interval), FOUND, MISSED, *tokens),
        link(f"{part.found:,}", FOUND, *tokens),
        link(f"{missed:,}", MISSED, *tokens),
        lost_at,
    )


def _thresholds(figures: Figures) -> str:
    known = [curve for curve in figures.curves if curve.objects]
    rows = []
    for curve in known:
        about = token("class", curve.name)
        numbers = ("–",) * 4 if curve.best is None else _operation(curve.best, about)
        rows.append(
            (
                link(curve.name, about),
                link(f"{curve.objects:,}", FOUND, MISSED, about),
                link(f"{figures.ap50_by_class[curve.name]:.1f}", about),
                *numbers,
            )
        )
    head = ("class", "objects", figures.ap_name, "score ≥", "precision", "recall", "F1")
    return section(
        "Which score to ask for", _folded("The score of the best F1, class by class", head, rows)
    )


def _operation(best: Operation, about: str) -> Cells:
    """Link a threshold and what a class comes to there; the bound is a little below it."""
    reached = f"score:>={floor(best.threshold * 1e6) / 1e6:g}"
    detected, right = (about, DETECTED, reached), (about, *RIGHT, reached)
    return (
        link(f"{best.threshold:.2f}", *detected),
        link(f"{best.precision:.2f}", *detected),
        link(f"{best.recall:.2f}", *right),
        link(f"{best.f1:.2f}", *detected),
    )


def _reliability(figures: Figures) -> str:
    if not len(figures.claims.score):
        return ""
    rows = [_bin(each, each.score, each.precision) for each in figures.reliability]
    error = link(f"{calibration_error(figures.reliability):.3f}", DETECTED)
    return section(
        "Whether a score can be trusted",
        table(
            f"Scores against how often they are right; expected calibration error {error}",
            ("scores", "detections", "mean score", "", "right", f"right at IoU {figures.iou:g}"),
            [row for row in rows if row is not None],
        ),
    )


def _bin(each: Bin, score: float | None, precision: float | None) -> Cells | None:
    """Link the figures of the detections in a tenth of the scores; None without any."""
    if score is None or precision is None:
        return None
    within = (*[f"score:>{each.low:g}"] * (each.low > 0), f"score:<={each.high:g}")
    detected, right = (DETECTED, *within), (*RIGHT, *within)
    return (
        link(f"{each.low:.1f}–{each.high:.1f}", *detected),
        link(f"{each.detections:,}", *detected),
        link(f"{score:.2f}", *detected),
        _bar_link(precision, None, *detected),
        link(f"{round(precision * each.detections):,}", *right),
        link(f"{precision:.2f}", *detected),
    )


def _worst(figures: Figures, source: Sequence[str]) -> str:
    rows = [
        (
            link(photo.photo, token("photo", photo.photo)),
            link(f"{missed_in(photo):,}", MISSED, token("photo", photo.photo)),
            link(f"{len(photo.objects):,}", FOUND, MISSED, token("photo", photo.photo)),
            link(f"{wrong_in(photo):,}", WRONG, token("photo", photo.photo)),
            *_explained_by(figures, photo, source),
        )
        for photo in worst_photos(figures.photos())
    ]
    if not rows:
        return ""
    head = ("photo", "missed", "objects", "wrong", *["explain them"] * figures.explained)
    return section("The worst photos", table("Those with the most missed objects", head, rows))


def _explained_by(figures: Figures, photo: PhotoRow, source: Sequence[str]) -> Cells:
    """Give the command that explains the misses of a photo, if a model can be asked."""
    if not figures.explained:
        return ()
    command = why_command(photo.image_id, photo.index, None, source)
    return (f"<code>{escape(command)}</code>",)
