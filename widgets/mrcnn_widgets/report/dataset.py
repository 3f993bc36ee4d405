"""The report on a data set: its summary, all cases to search, and the worst with their photos.

What fits is put in, the worst first: cases as rows to search; then photos, each stored once and
scaled, with their objects and detections; then, of the worst, what only a trace can say. What had
to be left out is said.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from torchvision.models.detection.faster_rcnn import FasterRCNN
from tqdm import tqdm

from mrcnn_steps.data import Sample
from mrcnn_steps.debug.datasets import Dataset, entry_at
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.figures import Figures
from mrcnn_steps.debug.funnel.rows import PhotoRow
from mrcnn_steps.debug.funnel.running import evenly
from mrcnn_steps.debug.funnel.summary import Funnel
from mrcnn_steps.debug.funnel.worst import lost_at
from mrcnn_steps.draw.style import plural
from mrcnn_steps.files import write_text
from mrcnn_steps.palette import OBJECT, PURPLE, VERMILLION
from mrcnn_steps.stages import STAGES
from mrcnn_widgets.report.addresses import case_page
from mrcnn_widgets.report.cases import MISSED, WRONG, Case, list_cases, pack_cases
from mrcnn_widgets.report.dataset_summary import link, section, summary
from mrcnn_widgets.report.made import versions
from mrcnn_widgets.report.page import page
from mrcnn_widgets.report.paths import check_path, twin_of
from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.report.pictures import crop, picture, side_for
from mrcnn_widgets.report.retraced import LINEAGE_BYTES, MOST_TRACED, Read, Stored, add_traces
from mrcnn_widgets.report.scenes import pack_photo

# Of photos with what lies on them, and of cases. With the rest, a page stays below 15 MB.
MOST_BYTES, MOST_CASES = 11_000_000, 50_000
# Bytes of a photo's objects and detections, about; pictures share what they leave.
SCENE_BYTES = 4000
# Cases that the summary shows, and pixels of a side.
SHOWN, CROP = 12, 160
# Of boxes in crops.
COLORS = {FOUND: OBJECT.color, MISSED: VERMILLION, WRONG: PURPLE}


@dataclass(frozen=True)
class Packed:
    """What of a data set is in a page, and of how much.

    Attributes:
        block: name of the block from which the program unpacks the cases.
        cases: how many are listed.
        stored: photos that are stored, with or without their picture.
        photos: how many have cases that are listed.
        traced: stored photos that were traced again.
        whole: traced photos with all that their stages computed.
    """

    block: str
    cases: int
    stored: int
    photos: int
    traced: int
    whole: int


def write_dataset(
    funnel: Funnel,
    path: Path,
    model: FasterRCNN | None,
    dataset: Dataset | None,
    pictures: bool,
    command: str | None,
) -> Path:
    """Write the report on a funnel; see `mrcnn_widgets.report`.

    Args:
        funnel: what became of every object.
        path: of the HTML file.
        model: to trace the worst photos with; None: none is traced.
        dataset: that the funnel is of; None: no picture is stored, nor a photo traced.
        pictures: False leaves photos themselves out.
        command: what made the report, to be told in it.

    Returns:
        The absolute path; what `Funnel.from_json` reads lies beside it.

    Raises:
        ValueError: the dataset is not the funnel's, or the path does not end in ".html".
        OSError: the file cannot be written.
    """
    path = path.absolute()
    check_path(path)
    read = None if dataset is None else _reader(funnel, dataset)
    figures = funnel.figures
    cases = list_cases(funnel.photos, MOST_CASES)
    payload = Payload()
    packed = pack_dataset(payload, cases, funnel, model, read, pictures)
    payload.add_json("report", {"cases": packed.block})
    title = f"Where objects are lost: {plural(figures.count, 'photo')}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        summary(figures, funnel.source),
        section("What is in this page", _said(packed, figures, pictures)),
        section("How it was made", _made(funnel, command)),
    ]
    if read is not None and pictures and cases:
        parts.insert(2, _worst_cases(cases[:SHOWN], read))
    write_text(path, page(title, "\n".join(parts), payload, "dataset"))
    funnel.to_json(twin_of(path))
    return path


def _reader(funnel: Funnel, dataset: Dataset) -> Read:
    """Give what reads the photo of a row; a funnel of some photos is given the whole data set."""
    if len(dataset) != funnel.header.photos:
        dataset = evenly(dataset, funnel.header.photos)

    def read(row: PhotoRow) -> Sample:
        found = entry_at(dataset, row.index, funnel.header.class_names)
        if found.image_id != row.image_id:
            raise ValueError(
                f"dataset[{row.index}]: expected photo {row.image_id} of the funnel, "
                f"found {found.image_id}"
            )
        return found.sample

    return read


def pack_dataset(
    payload: Payload,
    cases: Sequence[Case],
    funnel: Funnel,
    model: FasterRCNN | None,
    read: Read | None,
    pictures: bool,
) -> Packed:
    """Put the cases of a data set into a page.

    Args:
        payload: gets the blocks.
        cases: those to list, the worst first.
        funnel: that they are of.
        model: see `write_dataset`.
        read: gives a photo; None if there are none.
        pictures: see `write_dataset`.

    Returns:
        What was put in.
    """
    table = pack_cases(cases)
    rows = list({case.photo.image_id: case.photo for case in cases}.values())
    side = side_for(len(rows), MOST_BYTES * 3 // 4 - SCENE_BYTES * len(rows))
    traceable = MOST_TRACED if model is not None and read is not None else 0
    room = MOST_BYTES - LINEAGE_BYTES * min(traceable, len(rows))
    stored: list[Stored] = []
    bar = tqdm(rows, desc="photos of the report", unit="", leave=False, disable=None)
    for row, about in zip(bar, table["photos"], strict=True):
        sample = None if read is None else read(row)
        step = 1.0
        if sample is not None and pictures:
            jpeg, width = picture(sample.image, side)
            about["picture"] = payload.add(f"picture-{row.image_id}", jpeg)
            step = row.width / width
        packed = pack_photo(row, step, funnel.source if funnel.figures.explained else None)
        about["packed"] = payload.add_json(f"photo-{row.image_id}", packed)
        stored.append(Stored(row, about.get("picture"), step))
        if payload.size > room:
            break
    traced: list[str] = []
    whole = 0
    if model is not None and read is not None:
        traced, whole = add_traces(payload, model, funnel, read, stored[:MOST_TRACED], MOST_BYTES)
    for about, block in zip(table["photos"], traced, strict=False):
        about["traced"] = block
    table |= {
        "colors": COLORS,
        "causes": {cause: lost_at(cause) for cause in CAUSES},
        "stages": [stage.key for stage in STAGES],
    }
    block = payload.add_json("cases", table)
    return Packed(block, len(cases), len(stored), len(rows), len(traced), whole)


def _worst_cases(cases: Sequence[Case], read: Read) -> str:
    """Show the first cases as crops, which need no JavaScript and can be printed."""
    items = []
    for case in cases:
        jpeg = crop(read(case.photo).image, case.row.box, CROP, COLORS[case.verdict])
        text = escape(f"{case.verdict}: {case.row.name}")
        items.append(
            f'<li><a href="{case_page(case)}"><img width="{CROP}" height="{CROP}" alt="" '
            f'src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">{text}</a></li>'
        )
    return section("The worst cases", f'<ul class="cases">{"".join(items)}</ul>')


def _said(packed: Packed, figures: Figures, pictures: bool) -> str:
    """Say what there is, and what there was no room for."""
    every = len(figures.objects) + sum(kind.detections for kind in figures.kinds)
    lines = [
        f"{link(f'{packed.cases:,} of {every:,}')} cases can be searched.",
        f"{packed.stored:,} of {packed.photos:,} photos are in it, those of the worst cases first.",
        _said_of_traces(packed),
    ]
    if not pictures:
        lines.append("The pictures themselves were left out.")
    return "".join(f"<p>{line}</p>" for line in lines)


def _said_of_traces(packed: Packed) -> str:
    if not packed.traced:
        return "None of them was traced again: their cases have no lineage, stage by stage."
    every = "All" if packed.traced == packed.photos else f"{packed.traced:,}"
    said = (
        f"{link(every, 'traced:yes')} of them were traced again, so that their cases have a "
        "lineage, stage by stage"
    )
    if packed.whole < packed.traced:
        said += (
            f"; with all else that the stages computed in {packed.whole:,}, which is what there "
            "is room for"
        )
    return f"{said}."


def _made(funnel: Funnel, command: str | None) -> str:
    """Say what the numbers come from."""
    header = funnel.header
    about = {
        "command": command,
        "versions": versions(),
        "counted by mrcnn-steps": header.version,
        "SHA-256 of the weights": header.weights_sha256,
        "SHA-256 of the annotations": header.annotations_sha256,
        **header.settings,
    }
    lines = (
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(str(value))}</dd>"
        for name, value in about.items()
        if value is not None
    )
    return f'<dl class="made">{"".join(lines)}</dl>'
