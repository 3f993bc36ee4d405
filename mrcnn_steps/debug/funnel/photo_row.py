"""From a trace to a row: what became of a photo's objects, and what its detections are worth."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mrcnn_steps.debug.candidates import GATES, PIECE_CELLS
from mrcnn_steps.debug.datasets import Entry
from mrcnn_steps.debug.errors import FalsePositive, false_positives
from mrcnn_steps.debug.evidence import corners
from mrcnn_steps.debug.fates import Fate, fates, operating_threshold
from mrcnn_steps.debug.funnel.rows import (
    IGNORED,
    TRUE_POSITIVE,
    UNKNOWN,
    DetectionRow,
    ObjectRow,
    PhotoRow,
)
from mrcnn_steps.matching import (
    Matches,
    in_photo,
    match_trace,
    most_overlapped,
    overlaps,
    recalled,
)
from mrcnn_steps.tracing import Trace

# From which IoU on two objects of a class crowd each other.
CROWDING_IOU = 0.1

# How near to the photo's border, in pixels, an object's box touches it.
BORDER = 1.0


def photo_row(
    trace: Trace,
    entry: Entry,
    index: int = 0,
    iou: float = 0.5,
    score_threshold: float | None = None,
) -> PhotoRow:
    """Give what a funnel keeps of a photo.

    Args:
        trace: of the entry's sample.
        entry: the photo with its ids.
        index: its place in the dataset.
        iou: see `fates`.
        score_threshold: see `fates`.

    Returns:
        The row.

    Raises:
        ValueError: see `fates`.
    """
    score = operating_threshold(trace.detections.score_threshold, iou, score_threshold)
    height, width = trace.image.shape[1:]
    return PhotoRow(
        index=index,
        image_id=entry.image_id,
        photo=entry.name,
        width=width,
        height=height,
        objects=_object_rows(trace, entry, fates(trace, iou, score), iou),
        detections=_detection_rows(trace, entry, iou, score),
    )


def unread_row(index: int, image_id: int, photo: str, error: Exception) -> PhotoRow:
    """Give the row of a photo that could not be read."""
    return PhotoRow(index, image_id, photo, 0, 0, (), (), str(error))


def _object_rows(
    trace: Trace, entry: Entry, every: tuple[Fate, ...], iou: float
) -> tuple[ObjectRow, ...]:
    truth = trace.ground_truth
    if truth is None:
        return ()
    boxes = torch.cat((truth.boxes, truth.unknown_boxes))
    places = zip(
        every,
        boxes,
        _levels(trace, boxes),
        crowding(boxes, [each.name for each in every]),
        _proposed(trace, boxes, iou),
        strict=True,
    )
    return tuple(_object_row(trace, entry, *place) for place in places)


def _object_row(
    trace: Trace,
    entry: Entry,
    fate: Fate,
    box: Tensor,
    level: str,
    crowding: int,
    proposed: bool,
) -> ObjectRow:
    truth, photo, evidence = trace.ground_truth, entry.sample, fate.evidence
    assert truth is not None
    row = fate.sample_object
    own = photo.boxes[row]
    width, height = (box[2:] - box[:2]).tolist()
    return ObjectRow(
        image_id=entry.image_id,
        annotation_id=entry.annotation_ids[row],
        object=fate.object,
        name=fate.name,
        label=int(truth.labels[fate.object]) if fate.object < len(truth.labels) else UNKNOWN,
        cause=fate.cause,
        kind=fate.kind,
        stage=fate.stage,
        score=evidence.probability,
        box=corners(own),
        area=float((own[2:] - own[:2]).prod() if photo.masks is None else photo.masks[row].sum()),
        side=(width * height) ** 0.5,
        aspect=height / width,
        crowding=crowding,
        at_border=at_border(own, photo.image.shape[1:]),
        level=level,
        **_able(trace, fate),
        mask_iou=evidence.mask_iou,
        detection=evidence.detection,
        value=evidence.value,
        threshold=evidence.threshold,
        runner_up=evidence.runner_up,
        perfect_probability=None if evidence.perfect is None else evidence.perfect.probability,
        proposed=proposed,
    )


def _able(trace: Trace, fate: Fate) -> dict[str, Any]:
    """Give the able candidate that decided the cause, if any did."""
    if fate.cause not in GATES or fate.evidence.moved is None:
        return {"able_score": None, "able_box": None}
    moved = trace.detections.boxes.new_tensor([fate.evidence.moved])
    [box] = trace.letterbox.undo_boxes(moved)
    return {"able_score": fate.evidence.probability, "able_box": corners(box)}


def _levels(trace: Trace, boxes: Float[Tensor, "N 4"]) -> list[str]:
    """Name the pyramid level of the anchor that overlaps each box most."""
    anchors = trace.anchors
    parts = boxes.split(max(1, PIECE_CELLS // len(anchors)))
    best = torch.cat([most_overlapped(part, anchors.boxes).row for part in parts])
    return [anchors.level_names[level] for level in anchors.levels(best).tolist()]


def _proposed(trace: Trace, boxes: Float[Tensor, "N 4"], iou: float) -> list[bool]:
    """Tell which boxes some proposal, cut at the photo's edge, overlaps by the IoU."""
    parts = boxes.split(max(1, PIECE_CELLS // max(1, len(trace.proposals))))
    proposals = in_photo(trace, trace.proposals.boxes)
    return torch.cat([recalled(proposals, part, iou) for part in parts]).tolist()


def crowding(boxes: Float[Tensor, "N 4"], names: list[str]) -> list[int]:
    """Count the other boxes of the same class that overlap each box by an IoU above 0.1.

    Args:
        boxes: [N, 4] of objects.
        names: the class of each.

    Returns:
        A count for each box.
    """
    near = (overlaps(boxes, boxes) > CROWDING_IOU).tolist()
    return [
        sum(close and name == names[row] for close, name in zip(line, names, strict=True)) - 1
        for row, line in enumerate(near)
    ]


def at_border(box: Float[Tensor, "4"], size: Sequence[int]) -> bool:
    """Tell whether a box comes within a pixel of the border.

    Args:
        box: in pixels of the photo.
        size: height and width of the photo.

    Returns:
        Whether it does.
    """
    x1, y1, x2, y2 = box.tolist()
    height, width = size
    return min(x1, y1, width - x2, height - y2) <= BORDER


def _detection_rows(
    trace: Trace, entry: Entry, iou: float, score: float
) -> tuple[DetectionRow, ...]:
    found, matches = trace.detections, match_trace(trace, iou, score)
    wrong = {each.detection: each for each in false_positives(trace, iou, score)}
    boxes, names = trace.result["boxes"], trace.class_names
    rows = []
    for row in (found.scores > score).nonzero().flatten().tolist():
        label = int(found.labels[row])
        known = entry.labelled is None or names[label] in entry.labelled
        rows.append(
            DetectionRow(
                detection=row,
                name=names[label],
                label=label,
                score=float(found.scores[row]),
                box=corners(boxes[row]),
                **_verdict(trace, matches, row, wrong.get(row) if known else None),
            )
        )
    return tuple(rows)


def _verdict(
    trace: Trace, matches: Matches, row: int, error: FalsePositive | None
) -> dict[str, Any]:
    """Say what a detection is worth, and which object that is about."""
    object = int(matches.object_of[row])
    if object >= 0:
        assert trace.ground_truth is not None
        box = in_photo(trace, trace.detections.boxes[row, None])
        iou = float(overlaps(box, trace.ground_truth.boxes[object, None]))
        return {"kind": TRUE_POSITIVE, "object": object, "iou": iou, "suspected": None}
    if error is None:
        return {"kind": IGNORED, "object": None, "iou": 0.0, "suspected": None}
    evidence = error.evidence
    return {
        "kind": error.kind,
        "object": evidence.object,
        "iou": evidence.iou,
        "suspected": error.suspected,
    }
