"""The report on one photo, and its twin in JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mrcnn_steps.debug.fates import operating_threshold
from mrcnn_steps.debug.remedies import Remedy
from mrcnn_steps.files import write_json, write_text
from mrcnn_steps.tensors import Table, tabulate
from mrcnn_steps.tracing import Trace
from mrcnn_widgets import following
from mrcnn_widgets.report.case import add_case, photo_file, photo_step, words_of
from mrcnn_widgets.report.made import made
from mrcnn_widgets.report.origin import Origin, ways_back
from mrcnn_widgets.report.page import page
from mrcnn_widgets.report.paths import check_path, twin_of
from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.report.summary import summary
from mrcnn_widgets.views.verdicts import Verdict, verdicts

# That objects are judged at.
IOU = 0.5
# The only photo, as addresses name it.
PHOTO_ID = 0


def write_photo(
    trace: Trace,
    path: Path,
    photos: bool,
    remedies: Mapping[int, Sequence[Remedy]],
    score_threshold: float | None,
    origin: Origin | None,
    command: str | None,
) -> Path:
    """Write the report on a trace; see `mrcnn_widgets.report.report`."""
    path = path.absolute()
    check_path(path)
    count = 0 if trace.ground_truth is None else len(trace.ground_truth.boxes)
    for row in remedies:
        if not 0 <= row < count:
            raise ValueError(f"remedies: expected objects below {count}, found {row}")
    name = "photo" if trace.sample is None else trace.sample.name
    score = operating_threshold(trace.detections.score_threshold, IOU, score_threshold)
    judged, tensors = verdicts(trace, IOU, score), tabulate(trace.tensors())
    payload, photo = Payload(), photo_file(trace) if photos else None
    photo_id = f"photo-{PHOTO_ID}"
    shown = photo_id if photos else None
    step = photo_step(trace)
    block = add_case(payload, trace, PHOTO_ID, name, judged, shown, step, score, remedies)
    case = {"id": PHOTO_ID, "block": block}
    payload.add_json("report", {"case": case, "ways": ways_back(origin, score_threshold)})
    told = made(trace, command, photos, score)
    address = f"#/case/{PHOTO_ID}"
    first = summary(trace, name, judged, tensors, photo, photo_id, address, told, score)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page(f"{name}: a Mask R-CNN, step by step", first, payload, "photo"))
    write_json(twin_of(path), _twin(trace, name, judged, tensors, told, score))
    return path


def _twin(
    trace: Trace,
    name: str,
    judged: Sequence[Verdict],
    tensors: Table,
    told: Sequence[tuple[str, str]],
    score_threshold: float,
) -> dict[str, Any]:
    """Say in JSON what the report says."""
    boxes = trace.result["boxes"].tolist()
    verdict_of = {verdict.subject: verdict for verdict in judged}
    found = []
    for row, box in enumerate(boxes):
        if trace.detections.scores[row] <= score_threshold:
            continue
        subject = ("detection", row)
        lineage, verdict = following.lineage_of(trace, subject), verdict_of.get(subject)
        found.append(
            {
                "detection": row,
                "class": trace.class_names[int(trace.detections.labels[row])],
                "score": float(trace.detections.scores[row]),
                "box": box,
                "verdict": None if verdict is None else verdict.words,
                "words": words_of(trace, verdict, lineage),
                "lineage": asdict(lineage),
            }
        )
    return {
        "made": dict(told),
        "photo": name,
        "objects": [
            asdict(verdict.fate)
            | {"verdict": verdict.words, "words": words_of(trace, verdict, None)}
            for verdict in judged
            if verdict.fate is not None
        ],
        "detections": found,
        "tensors": [
            {"name": each, "shape": shape, "min": low, "max": high}
            for each, shape, low, high in tensors.rows
        ],
    }
