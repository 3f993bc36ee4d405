"""A photo of a report: its stages, its objects and detections with what became of each."""

from collections.abc import Sequence
from typing import Any

from mrcnn_steps.debug.errors import describe_error
from mrcnn_steps.debug.funnel.rows import PhotoRow
from mrcnn_steps.debug.lineage import Lineage, describe
from mrcnn_steps.debug.remedies import remedies
from mrcnn_steps.debug.words import sentences
from mrcnn_steps.stages import STAGES
from mrcnn_steps.tensors import tabulate
from mrcnn_steps.tracing import Trace
from mrcnn_widgets import following
from mrcnn_widgets.report.packing import Packed, in_json
from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.report.stages import outlines, stages
from mrcnn_widgets.viewer import wire
from mrcnn_widgets.views import followed
from mrcnn_widgets.views import verdicts as verdicts_view
from mrcnn_widgets.views.objects import around
from mrcnn_widgets.views.verdicts import Verdict

Record = dict[str, Any]

# Longer sides of a photo are made smaller.
MAX_SIDE = 1600


def add_case(
    payload: Payload,
    trace: Trace,
    image_id: int,
    name: str,
    photos: bool = True,
    explained: Sequence[int] = (),
) -> Record:
    """Store all that a report shows of a photo.

    Args:
        payload: gets the blocks.
        trace: of the photo.
        image_id: names the case in addresses.
        name: of the photo.
        photos: False: the photo itself stays out, a gray field takes its place.
        explained: objects whose remedies are looked for, which takes seconds for each.

    Returns:
        What the list of cases needs: its id, name, size, and the block with everything else.
    """
    case = f"case-{image_id}"
    step = photo_step(trace)
    height, width = trace.image.shape[1:]
    judged = verdicts_view.verdicts(trace)
    record = {
        "id": image_id,
        "name": name,
        "photo": add_photo(payload, trace, f"{case}-photo") if photos else None,
        "frames": _frames(trace, step),
        "subjects": [_listed(verdict) for verdict in judged] or _unjudged(trace),
        "followed": payload.add_json(f"{case}-followed", _followed(trace, judged, explained)),
        "tensors": tabulate(trace.tensors()).rows,
        "stages": list(stages(trace, payload, case, step)),
    }
    block = payload.add_json(case, record)
    return {"id": image_id, "name": name, "width": width, "height": height, "block": block}


def add_outline(
    payload: Payload,
    trace: Trace,
    row: PhotoRow,
    photo: str | None,
    step: float,
    iou: float,
    score_threshold: float | None,
) -> str:
    """Store the lineages in a traced photo, without the data of its stages.

    Args:
        payload: gets the blocks.
        trace: of the photo.
        row: of the funnel, for the photo.
        photo: block of its picture, if it is stored.
        step: how many of its pixels one of that picture spans.
        iou: see `fates`.
        score_threshold: see `fates`.

    Returns:
        The name of the block.
    """
    case = f"case-{row.image_id}"
    judged = verdicts_view.verdicts(trace, iou, score_threshold)
    record = {
        "id": row.image_id,
        "name": row.photo,
        "photo": photo,
        "frames": _frames(trace, step),
        "subjects": [_listed(verdict) for verdict in judged] or _unjudged(trace),
        "followed": payload.add_json(f"{case}-followed", _followed(trace, judged, ())),
        "tensors": tabulate(trace.tensors()).rows,
        "stages": list(outlines(trace)),
    }
    return payload.add_json(case, record)


def photo_step(trace: Trace) -> int:
    """Every how many pixels of the photo are stored: 1 up to a side of `MAX_SIDE`."""
    return -(-max(trace.image.shape[1:]) // MAX_SIDE)


def add_photo(payload: Payload, trace: Trace, name: str) -> str:
    """Store the photo as a file that browsers read.

    Args:
        payload: gets the block.
        trace: of the photo.
        name: of the block.

    Returns:
        The name of the block.
    """
    return payload.add(name, wire.compress(wire.as_photo(trace.image), photo_step(trace)))


def _frames(trace: Trace, step: float) -> Record:
    """Give the two pictures that layers lie on: the network's input, and the photo as it came."""
    height, width = trace.letterbox.image.shape[1:]
    photo_height, photo_width = trace.image.shape[1:]
    return {
        "network": {"width": width, "height": height, "window": trace.letterbox.window, "step": 1},
        "photo": {"width": photo_width, "height": photo_height, "step": step},
    }


def _listed(verdict: Verdict) -> Record:
    return {
        "subject": verdict.subject,
        "name": verdict.name,
        "words": verdict.words,
        "reason": verdict.reason,
        "found": verdict.found,
        "stage": None if verdict.fate is None else verdict.fate.stage,
    }


def _unjudged(trace: Trace) -> list[Record]:
    """List the detections of a photo without annotations, where nothing is known to be wrong."""
    return [
        {
            "subject": subject,
            "name": text,
            "words": "",
            "reason": "detections",
            "found": True,
            "stage": None,
        }
        for text, subject in following.choices(trace)
    ]


def _followed(trace: Trace, judged: Sequence[Verdict], explained: Sequence[int]) -> Record:
    """Tell of each object and detection what belongs to it, in words and at each stage."""
    verdict_of = {verdict.subject: verdict for verdict in judged}
    records = {}
    for _, subject in following.choices(trace):
        lineage = following.lineage_of(trace, subject)
        verdict = verdict_of.get(subject)
        looked = subject[0] == "object" and subject[1] in explained
        records[f"{subject[0]}-{subject[1]}"] = {
            "words": _words(trace, verdict, lineage),
            "remedies": _remedies(trace, subject[1]) if looked else None,
            "rows": {
                "anchors": lineage.anchor,
                "rpn_targets": lineage.anchor,
                "classification": lineage.proposal,
                "masks": lineage.detection,
                "mini_masks": lineage.object,
            },
            "layers": {stage.key: _marks(trace, stage.key, lineage, verdict) for stage in STAGES},
            "view": _view(trace, subject),
        }
    return records


def _words(trace: Trace, verdict: Verdict | None, lineage: Lineage) -> list[str]:
    if verdict is not None and verdict.fate is not None:
        return sentences(trace, verdict.fate)
    if verdict is not None and verdict.error is not None:
        return [describe_error(trace, verdict.error), describe(trace, lineage)]
    return [describe(trace, lineage)]


def _remedies(trace: Trace, row: int) -> list[str]:
    return [str(remedy) for remedy in remedies(trace, row)]


def _marks(trace: Trace, stage: str, lineage: Lineage, verdict: Verdict | None) -> list[Packed]:
    marks = followed.layers(stage, trace, lineage)
    if verdict is not None and verdict.fate is not None:
        marks += verdicts_view.layers(stage, verdict.fate)
    return [in_json(layer) for layer in marks]


def _view(trace: Trace, subject: following.Subject) -> list[float]:
    """Give the part of the network's input to look at."""
    kind, row = subject
    truth = trace.ground_truth
    boxes = trace.detections.boxes if kind == "detection" or truth is None else truth.boxes
    height, width = trace.letterbox.image.shape[1:]
    return [round(value, 1) for value in around(boxes[row], (height, width))]
