"""A photo of a report: its stages, its objects and detections with what became of each."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any, TypeVar

from tqdm import tqdm

from mrcnn_steps.debug.errors import describe_error
from mrcnn_steps.debug.explanation import nothing_helps
from mrcnn_steps.debug.lineage import Lineage, describe
from mrcnn_steps.debug.remedies import Remedy
from mrcnn_steps.debug.words import sentences
from mrcnn_steps.stages import STAGES
from mrcnn_steps.tracing import Trace
from mrcnn_widgets import following
from mrcnn_widgets.report.packing import Packed, in_json
from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.report.pictures import picture
from mrcnn_widgets.report.stages import outlines, stages
from mrcnn_widgets.viewer import wire
from mrcnn_widgets.views import followed
from mrcnn_widgets.views import verdicts as verdicts_view
from mrcnn_widgets.views.verdicts import Verdict

Record = dict[str, Any]
T = TypeVar("T")

# Longer sides of a photo are made smaller; up to the other its file is as good as a notebook's.
MAX_SIDE, SMALL_SIDE = 1280, 640
QUALITY = 85
NO_REMEDIES: Mapping[int, Sequence[Remedy]] = {}


def add_case(
    payload: Payload,
    trace: Trace,
    image_id: int,
    name: str,
    judged: Sequence[Verdict],
    photo: str | None,
    step: float,
    score_threshold: float,
    remedies: Mapping[int, Sequence[Remedy]] = NO_REMEDIES,
    left_out: str | None = None,
) -> str:
    """Store what a report shows of a traced photo.

    Args:
        payload: gets the blocks.
        trace: of the photo.
        image_id: names the case in addresses.
        name: of the photo.
        judged: what became of its objects and detections.
        photo: the block or the image that holds the photo itself; without one a gray field takes
            its place.
        step: how many of the photo's pixels one of the stored photo spans.
        score_threshold: that detections have to exceed; stage 6 starts with it.
        remedies: what would bring objects back, by their numbers.
        left_out: None stores all that the stages computed; a text says that of each only the
            objects and what is followed are there.

    Returns:
        The block with everything else.
    """
    case = f"case-{image_id}"
    if left_out is None:
        made = stages(trace, payload, case, ceil(step), score_threshold)
    else:
        made = outlines(trace, left_out)
    record = {
        "id": image_id,
        "name": name,
        "photo": photo,
        "frames": _frames(trace, step),
        "subjects": [_listed(trace, verdict) for verdict in judged]
        or _unjudged(trace, score_threshold),
        "followed": payload.add_json(f"{case}-followed", _followed(trace, judged, remedies)),
        "stages": list(_progress(made, "stages", len(STAGES))),
    }
    return payload.add_json(case, record)


def photo_step(trace: Trace) -> float:
    """Tell how many of the photo's pixels one of the stored photo spans: 1 up to `MAX_SIDE`."""
    return max(max(trace.image.shape[1:]) / MAX_SIDE, 1.0)


def photo_file(trace: Trace) -> bytes:
    """Make a file of the photo that browsers read; a small one without loss that one sees."""
    if max(trace.image.shape[1:]) <= SMALL_SIDE:
        return wire.compress(wire.as_photo(trace.image), 1)
    return picture(trace.image, MAX_SIDE, QUALITY)[0]


def _progress(each: Iterable[T], what: str, count: int) -> Iterable[T]:
    """Show in a terminal how far it is."""
    return tqdm(each, desc=what, total=count, unit="", leave=False, disable=None)


def _frames(trace: Trace, step: float) -> Record:
    """Give the two pictures that layers lie on: the network's input, and the photo as it came."""
    height, width = trace.letterbox.image.shape[1:]
    photo_height, photo_width = trace.image.shape[1:]
    return {
        "network": {"width": width, "height": height, "window": trace.letterbox.window, "step": 1},
        "photo": {"width": photo_width, "height": photo_height, "step": step},
    }


def _listed(trace: Trace, verdict: Verdict) -> Record:
    """Give what the list of objects and detections says, and what its search looks at."""
    kind, row = verdict.subject
    fate, error = verdict.fate, verdict.error
    judged: Record = {"is": "right" if verdict.found else "wrong"}
    if fate is not None:
        found = {"is": "found" if fate.found else "missed", "cause": fate.cause}
        judged = {**found, "kind": fate.kind, "class": fate.name, "stage": fate.stage}
    elif error is not None:
        judged["kind"] = error.kind
    return {
        "subject": verdict.subject,
        "name": verdict.name,
        "words": verdict.words,
        "found": verdict.found,
        "item": judged | (_detected(trace, row) if kind == "detection" else {}),
    }


def _unjudged(trace: Trace, score_threshold: float) -> list[Record]:
    """List the detections of a photo without annotations, where nothing is known to be wrong."""
    return [
        {
            "subject": subject,
            "name": text,
            "words": "",
            "found": True,
            "item": {"is": "detection", **_detected(trace, subject[1])},
        }
        for text, subject in following.choices(trace)
        if trace.detections.scores[subject[1]] > score_threshold
    ]


def _detected(trace: Trace, row: int) -> Record:
    found = trace.detections
    return {
        "class": trace.class_names[int(found.labels[row])],
        "score": round(float(found.scores[row]), 4),
    }


def _in_words(trace: Trace, verdict: Verdict | None, remedies: Sequence[Remedy]) -> list[str]:
    """Say what brings an object back; where nothing does, what training would have to see."""
    if remedies or verdict is None or verdict.fate is None:
        return [str(remedy) for remedy in remedies]
    return nothing_helps(trace, verdict.fate)


def _followed(
    trace: Trace, judged: Sequence[Verdict], remedies: Mapping[int, Sequence[Remedy]]
) -> Record:
    """Tell of each object and detection what belongs to it, in words and at each stage."""
    records: dict[str, Record] = {}
    verdict_of = {verdict.subject: verdict for verdict in judged}
    choices = following.choices(trace)
    for _, subject in _progress(choices, "objects and detections", len(choices)):
        lineage = following.lineage_of(trace, subject)
        verdict = verdict_of.get(subject)
        found = remedies.get(subject[1]) if subject[0] == "object" else None
        records["-".join(map(str, subject))] = {
            "words": words_of(trace, verdict, lineage),
            "remedies": None if found is None else _in_words(trace, verdict, found),
            "rows": _rows(trace, lineage),
            "layers": {stage.key: _marks(trace, stage.key, lineage, verdict) for stage in STAGES},
        }
    for verdict in judged:  # objects of classes that the model does not know
        said = words_of(trace, verdict, None)
        record: Record = {"words": said, "remedies": None, "rows": {}, "layers": {}}
        records.setdefault("-".join(map(str, verdict.subject)), record)
    return records


def _rows(trace: Trace, lineage: Lineage) -> dict[str, int | None]:
    """Give the row of each stage that belongs to a lineage."""
    proposal, found = lineage.proposal, lineage.detection
    return {
        "mini_masks": lineage.object,
        "anchors": lineage.anchor,
        "rpn_targets": lineage.anchor,
        "proposals": None if proposal is None else int(trace.proposals.rows[proposal]),
        "classification": proposal,
        "detection": None if found is None else int(trace.detections.rows[found]),
        "masks": found,
    }


def words_of(trace: Trace, verdict: Verdict | None, lineage: Lineage | None) -> list[str]:
    """Say what became of an object or a detection, and where it came from.

    Args:
        trace: of the photo.
        verdict: on it; None without annotations.
        lineage: of it; None of an object whose class the model does not know.

    Returns:
        Sentences.
    """
    if verdict is not None and verdict.fate is not None:
        return sentences(trace, verdict.fate)
    way = [] if lineage is None else [describe(trace, lineage)]
    if verdict is not None and verdict.error is not None:
        return [describe_error(trace, verdict.error), *way]
    return way


def _marks(trace: Trace, stage: str, lineage: Lineage, verdict: Verdict | None) -> list[Packed]:
    marks = followed.layers(stage, trace, lineage)
    if verdict is not None and verdict.fate is not None:
        marks += verdicts_view.layers(stage, verdict.fate)
    return [in_json(layer) for layer in marks]
