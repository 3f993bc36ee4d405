"""The report on one photo."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from mrcnn_steps.files import write_text
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.report.case import add_case
from mrcnn_widgets.report.page import page
from mrcnn_widgets.report.payload import Payload

PHOTO_ID = 0


def write_photo(
    trace: Trace, path: Path, photos: bool, explained: Sequence[int], command: str | None
) -> Path:
    """Write the report on a trace; see `mrcnn_widgets.report`."""
    name = "photo" if trace.sample is None else trace.sample.name
    payload = Payload()
    case = add_case(payload, trace, PHOTO_ID, name, photos, explained)
    payload.add_json("report", {"kind": "photo", "case": case})
    title = f"{name}: a Mask R-CNN, step by step"
    write_text(
        path.absolute(),
        page(title, f"<h1>{escape(title)}</h1><p><a href='#/case/0'>stages</a></p>", payload),
    )
    return path.absolute()
