"""The summary of a photo: what is read first, with or without JavaScript."""

import base64
from collections import Counter
from collections.abc import Sequence
from html import escape

import torch

from mrcnn_steps.palette import GREEN, VERMILLION
from mrcnn_steps.stages import STAGES, stage
from mrcnn_steps.tensors import Table
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.report.html import Cell, link, table, terms
from mrcnn_widgets.views.verdicts import Verdict

# Detections that are listed before the others are folded away.
LISTED = 25


def summary(
    trace: Trace,
    name: str,
    judged: Sequence[Verdict],
    tensors: Table,
    photo: bytes | None,
    photo_id: str,
    address: str,
    made: Sequence[tuple[str, str]],
    score_threshold: float,
) -> str:
    """Write the summary of a photo.

    Args:
        trace: of the photo.
        name: of the photo.
        judged: what became of its objects and detections.
        tensors: the trace's table.
        photo: a JPEG or PNG file; None leaves it out.
        photo_id: the element that the program takes the photo from.
        address: of the photo's page.
        made: how the report was made, name and value.
        score_threshold: that detections have to exceed to be counted.

    Returns:
        HTML.
    """
    stages = [
        (link(f"{address}?stage={each.number}", each.title), escape(each.sentence))
        for each in STAGES
    ]
    listed = "".join(f"<li>{title}<span>{sentence}</span></li>\n" for title, sentence in stages)
    return f"""<h1>{escape(name)}</h1>
<p class="lead">{escape(headline(trace, judged, score_threshold))}</p>
<div class="columns">
<figure>{_picture(trace, name, judged, photo, photo_id, address)}
<figcaption>{escape(_caption(judged))}</figcaption></figure>
<nav aria-label="Stages"><h2>Stages</h2><ol class="stages">{listed}</ol></nav>
</div>
{_verdicts(trace, judged, address)}
<details><summary>Tensors of every stage</summary>
{table("", ("tensor", "shape", "min", "max"), _tensor_rows(tensors))}</details>
<section class="made"><h2>How this was made</h2>
{terms(made)}</section>"""


def headline(trace: Trace, judged: Sequence[Verdict], score_threshold: float) -> str:
    """Say in a sentence what the model made of the photo."""
    count = int((trace.detections.scores > score_threshold).sum())
    said = f"{len(trace.anchors):,} anchors, {len(trace.proposals):,} proposals, "
    said += f"{count} detection{'' if count == 1 else 's'}"
    over = score_threshold > trace.detections.score_threshold
    said += f" with a score above {score_threshold:g}." if over else "."
    objects = [verdict for verdict in judged if verdict.fate is not None]
    if not objects:
        return f"{said} The photo has no annotated objects to compare with."
    found = sum(verdict.found for verdict in objects)
    return f"{found} of {len(objects)} annotated objects found. {said}"


def _caption(judged: Sequence[Verdict]) -> str:
    if not judged:
        return "The photo."
    return "Annotated objects: found ones solid, missed ones dashed. Pick one to follow it."


def _picture(
    trace: Trace,
    name: str,
    judged: Sequence[Verdict],
    photo: bytes | None,
    photo_id: str,
    address: str,
) -> str:
    """Show the photo with its objects, each a link to what became of it."""
    height, width = trace.image.shape[1:]
    image = ""
    if photo is not None:
        kind = "png" if photo.startswith(b"\x89PNG") else "jpeg"
        data = base64.b64encode(photo).decode()
        image = (
            f'<img id="{photo_id}" alt="{escape(name)}" width="{width}" height="{height}" '
            f'src="data:image/{kind};base64,{data}">'
        )
    boxes = "\n".join(_box(trace, verdict, address) for verdict in judged if verdict.fate)
    return (
        f'<div class="picture">{image}<svg viewBox="0 0 {width} {height}" role="group" '
        f'aria-label="Annotated objects">{boxes}</svg></div>'
    )


def _box(trace: Trace, verdict: Verdict, address: str) -> str:
    truth, row = trace.ground_truth, verdict.subject[1]
    assert truth is not None
    boxes = torch.cat((truth.boxes, truth.unknown_boxes))
    x1, y1, x2, y2 = trace.letterbox.undo_boxes(boxes[row][None])[0].tolist()
    color, dash = (GREEN, "") if verdict.found else (VERMILLION, ' stroke-dasharray="6 4"')
    return (
        f'<a href="{address}?object={row}"><rect x="{x1:.1f}" y="{y1:.1f}" '
        f'width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" stroke="{color}"{dash}>'
        f"<title>{escape(f'{verdict.name}: {verdict.words}')}</title></rect></a>"
    )


def _verdicts(trace: Trace, judged: Sequence[Verdict], address: str) -> str:
    """List objects and detections with what became of each."""
    objects = [verdict for verdict in judged if verdict.fate is not None]
    others = [verdict for verdict in judged if verdict.fate is None]
    if not judged:
        return ""
    causes = Counter(verdict.words for verdict in objects)
    lost = [(words, f"{count:,}") for words, count in causes.most_common()]
    rows = [_row(verdict, address) for verdict in others]
    more = ""
    if len(rows) > LISTED:
        rest = table("", ("detection", "verdict"), rows[LISTED:])
        more = f"<details><summary>{len(rows) - LISTED} more detections</summary>{rest}</details>"
    return f"""<div class="columns even">
<section><h2>Objects</h2>
{table("", ("what became of them", "objects"), lost)}
{table("", ("object", "verdict"), [_row(verdict, address) for verdict in objects])}</section>
<section><h2>Detections</h2>
{table("", ("detection", "verdict"), rows[:LISTED])}{more}</section>
</div>"""


def _row(verdict: Verdict, address: str) -> tuple[Cell, Cell]:
    kind, row = verdict.subject
    at = (
        ""
        if verdict.fate is None or verdict.found
        else f"&stage={stage(verdict.fate.stage).number}"
    )
    return (verdict.name, f"{address}?{kind}={row}{at}"), verdict.words


def _tensor_rows(tensors: Table) -> list[tuple[str, ...]]:
    return [
        (name, str(shape), *("" if value is None else f"{value:.5f}" for value in (low, high)))
        for name, shape, low, high in tensors.rows
    ]
