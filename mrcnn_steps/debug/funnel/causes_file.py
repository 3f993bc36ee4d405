"""`causes.csv`: a row an object, for spreadsheets and for joins with other tables."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from mrcnn_steps.debug.funnel.rows import ObjectRow, PhotoRow
from mrcnn_steps.files import write_text

# What comes first; the rest of a row follows in its own order.
IDS = ("image_id", "annotation_id", "photo", "class")
CORNERS = ("x1", "y1", "x2", "y2")
PLAIN = (
    "object",
    "label",
    "cause",
    "kind",
    "stage",
    "score",
    "area",
    "side",
    "aspect",
    "crowding",
    "at_border",
    "level",
    "able_score",
    "mask_iou",
    "value",
    "threshold",
    "runner_up",
    "perfect_probability",
)

# A cell that begins with one of these is run by a spreadsheet as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_causes(path: Path, photos: Iterable[PhotoRow]) -> None:
    """Write the objects of photos as comma-separated values (RFC 4180, UTF-8).

    A text that a spreadsheet would run as a formula has an apostrophe before it.

    Args:
        path: the file.
        photos: rows of a funnel.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*IDS, *CORNERS, *PLAIN])
    for photo in photos:
        for each in photo.objects:
            writer.writerow(_cells(photo, each))
    write_text(path, text.getvalue())


def _cells(photo: PhotoRow, row: ObjectRow) -> list[object]:
    ids = (row.image_id, row.annotation_id, photo.photo, row.name)
    return [_harmless(each) for each in (*ids, *row.box, *(getattr(row, key) for key in PLAIN))]


def _harmless(value: object) -> object:
    dangerous = isinstance(value, str) and value.startswith(FORMULA)
    return f"'{value}" if dangerous else value
