"""The worst photos of a data set, traced again: what only a trace can say of their cases."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torchvision.models.detection.faster_rcnn import FasterRCNN
from tqdm import tqdm

from mrcnn_steps.data import Sample
from mrcnn_steps.debug.fates import operating_threshold
from mrcnn_steps.debug.funnel.rows import PhotoRow
from mrcnn_steps.debug.funnel.summary import Funnel
from mrcnn_steps.tracing import Trace, trace
from mrcnn_widgets.report.case import add_case
from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.views.verdicts import verdicts

# Each takes as long as in the diagnosis; of a data set as small as this, none is left out.
MOST_TRACED = 60
# Of a photo's lineages in the page, about.
LINEAGE_BYTES = 40_000

Read = Callable[[PhotoRow], Sample]


@dataclass(frozen=True)
class Stored:
    """A photo that is in the page.

    Attributes:
        row: of the funnel.
        picture: block of its picture, if that is stored.
        step: how many of its pixels one of the picture spans.
    """

    row: PhotoRow
    picture: str | None
    step: float


def add_traces(
    payload: Payload,
    model: FasterRCNN,
    funnel: Funnel,
    read: Read,
    photos: Sequence[Stored],
    most: int,
) -> tuple[list[str], int]:
    """Trace photos again; the first with all that their stages compute, as far as there is room.

    Args:
        payload: gets the blocks.
        model: that the funnel is of.
        funnel: of the data set.
        read: gives a photo with its annotations.
        photos: the worst first.
        most: bytes of the page that all its blocks may take.

    Returns:
        A block for each of the first photos; and how many of them have all.
    """
    blocks: list[str] = []
    whole = 0
    bar = tqdm(photos, desc="traces of the report", unit="", leave=False, disable=None)
    for place, photo in enumerate(bar):
        found = trace(model, read(photo.row), funnel.header.class_names)
        kept, ahead = len(payload), LINEAGE_BYTES * (len(photos) - place - 1)
        if whole == place:
            block = _add(payload, found, funnel, photo, None)
            if payload.size + ahead <= most:
                whole += 1
                blocks.append(block)
                continue
            payload.keep_first(kept)
        block = _add(payload, found, funnel, photo, _left_out(photo.row, funnel.source))
        if payload.size > most:
            payload.keep_first(kept)
            break
        blocks.append(block)
    return blocks, whole


def _add(
    payload: Payload, found: Trace, funnel: Funnel, photo: Stored, left_out: str | None
) -> str:
    row, settings = photo.row, funnel.header.settings
    score = operating_threshold(
        found.detections.score_threshold, settings["iou"], settings["score"]
    )
    return add_case(
        payload,
        found,
        row.image_id,
        row.photo,
        verdicts(found, settings["iou"], score),
        photo.picture,
        photo.step,
        score,
        left_out=left_out,
    )


def _left_out(row: PhotoRow, source: Sequence[str]) -> str:
    """Say that the stages are not there, and what writes a report that has them."""
    file = f"case-{row.image_id}.html"
    command = f"report(trace(model, sample_at(dataset, {row.index})), {file!r})"
    if source:
        command = shlex.join(["mrcnn-steps", "why", str(row.image_id), *source, "--report", file])
    return (
        "Only what is followed is here: all else that this stage computed was left out to keep the "
        f"file small. A report that has it: {command}"
    )
