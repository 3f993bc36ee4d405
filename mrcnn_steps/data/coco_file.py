"""Reading a COCO instances file: checked from end to end before anything is done with it.

An error names the file, the record, the field, what was found and what was expected.
"""

import gc
import json
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mrcnn_steps.data.agreement import agreeing
from mrcnn_steps.data.annotation import Annotation, read_annotation
from mrcnn_steps.data.coco_paths import Inside
from mrcnn_steps.data.field_error import ABSENT, FieldError, fail_number, whole_number
from mrcnn_steps.data.images import MAX_PIXELS

Record = dict[str, Any]
Read = TypeVar("Read")

LISTS = ("images", "annotations", "categories")

# Of so many boxes and areas one may be an annotator's slip; more of them are a wrong format.
SLIPS_ONE_IN = 500


class Photo(NamedTuple):
    """An image record.

    Attributes:
        id: the file's.
        file_name: its path inside the folder.
        width: in pixels.
        height: in pixels.
        labelled: ids of the categories that are exhaustively annotated; None: all are.
    """

    id: int
    file_name: str
    width: int
    height: int
    labelled: tuple[int, ...] | None


class Content(NamedTuple):
    """What a file says.

    Attributes:
        photos: in the order of the file.
        annotations: in the order of the file.
        categories: the name of each category, in the order of their ids.
    """

    photos: tuple[Photo, ...]
    annotations: tuple[Annotation, ...]
    categories: dict[int, str]


def read(path: Path, folder: Path) -> Content:
    """Read and check a COCO instances file.

    Args:
        path: the file.
        folder: of the photos, that no `file_name` may leave.

    Returns:
        Its content.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not complete JSON, or something in it is not what COCO's format says.
    """
    try:
        with _uncollected():
            return _check(json.loads(path.read_bytes()), folder)
    except FieldError as fault:
        raise ValueError(f"{path}: {fault}") from None
    except (json.JSONDecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: found {error}, expected complete JSON") from error
    except ValueError as error:
        # Python refuses to read whole numbers of thousands of digits.
        raise ValueError(f"{path}: found {error}, expected numbers of a photo's size") from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python from looking for garbage among millions of new lists, a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check(content: Any, folder: Path) -> Content:
    # In a function of its own, so that the lists of the JSON are gone when garbage is looked for.
    _check_lists(content)
    categories = _categories(content["categories"])
    photos = _photos(content["images"], folder, categories)
    annotations = _annotations(content["annotations"], photos, categories)
    return Content(photos, annotations, categories)


def _check_lists(content: Any) -> None:
    expected = "an object with images, annotations and categories"
    if isinstance(content, list):
        raise FieldError("the file", content, f"{expected}; a list may be detections of a model")
    if not isinstance(content, dict):
        raise FieldError("the file", content, expected)
    if not any(key in content for key in LISTS):
        text = f"{expected}; a project of another tool has to be exported in COCO format"
        raise FieldError("the file", list(content), text)
    for key in LISTS:
        if not isinstance(content.get(key), list):
            raise FieldError(key, content.get(key, ABSENT), "a list")


def _each(key: str, records: list[Any], read: Callable[[Record], Read]) -> list[Read]:
    """Read every record of a list; an error then names it, by place and id."""
    done: list[Read] = []
    seen: set[int] = set()
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise FieldError(f"{key}[{index}]", record, "an object")
        try:
            number = whole_number(record, "id", "a whole number")
            if number in seen:
                raise FieldError("id", number, "an id that no other record has")
            seen.add(number)
            done.append(read(record))
        except FieldError as fault:
            name = "" if fault.field == "id" else f" (id {record['id']})"
            where = f"{key}[{index}]{name}.{fault.field}"
            raise FieldError(where, fault.found, fault.expected) from None
    return done


def _categories(records: list[Any]) -> dict[int, str]:
    id_of: dict[str, int] = {}

    def read(record: Record) -> tuple[int, str]:
        name = _text(record, "name", "a text")
        if name.strip("_ ").casefold() in ("background", "bg"):
            expected = "a class; the background is no category, what no annotation covers is it"
            raise FieldError("name", name, expected)
        # Nobody can tell apart what differs in spaces around it, or in how letters are composed.
        seen = unicodedata.normalize("NFC", name.strip())
        if seen in id_of:
            expected = f"another name than that of category {id_of[seen]}: one class, one category"
            raise FieldError("name", name, expected)
        id_of[seen] = record["id"]
        return record["id"], name

    return dict(sorted(_each("categories", records, read)))


def _photos(records: list[Any], folder: Path, categories: dict[int, str]) -> tuple[Photo, ...]:
    inside = Inside(folder)

    def read(record: Record) -> Photo:
        width, height = (
            whole_number(record, side, "a number of pixels") for side in ("width", "height")
        )
        if min(width, height) < 1:
            side = "width" if width < 1 else "height"
            raise FieldError(side, record[side], "at least 1")
        if width * height >= MAX_PIXELS:
            expected = f"fewer than {MAX_PIXELS:,} pixels"
            raise FieldError("width and height", f"{width}×{height}", expected)
        name = _text(record, "file_name", f"a file inside {folder}")
        if not inside(name):
            raise FieldError("file_name", name, f"a file inside {folder}")
        return Photo(record["id"], name, width, height, _labelled(record, categories))

    return tuple(_each("images", records, read))


def _labelled(record: Record, categories: dict[int, str]) -> tuple[int, ...] | None:
    ids = record.get("labelled_category_ids", ABSENT)
    if ids is ABSENT:
        return None
    if not isinstance(ids, list):
        raise FieldError("labelled_category_ids", ids, "a list of ids")
    for each in ids:
        if type(each) is not int or each not in categories:
            fail_number("labelled_category_ids", each, "ids of categories")
    return tuple(ids)


def _annotations(
    records: list[Any], photos: tuple[Photo, ...], categories: dict[int, str]
) -> tuple[Annotation, ...]:
    sizes = {photo.id: (photo.height, photo.width) for photo in photos}
    agrees = agreeing(records, sizes)
    read = _each(
        "annotations", records, lambda each: read_annotation(each, sizes, categories, next(agrees))
    )
    slips = [(index, each) for index, each in enumerate(read) if each.slip]
    if len(slips) * SLIPS_ONE_IN > len(read):
        index, each = slips[0]
        field = f"annotations[{index}] (id {each.id}).{each.slip}"
        drawn = each.runs(*sizes[each.image_id])
        x1, y1, x2, y2 = drawn.box
        expected = [x1, y1, x2 - x1, y2 - y1] if each.slip == "bbox" else f"about {drawn.area}"
        raise FieldError(field, getattr(each, str(each.slip)), f"{expected}, as its mask has")
    return tuple(read)


def _text(record: Record, field: str, expected: str) -> str:
    found = record.get(field, ABSENT)
    if type(found) is not str or not found.strip():
        raise FieldError(field, found, expected)
    if any("\ud800" <= character <= "\udfff" for character in found):
        raise FieldError(field, found, "a text without halves of surrogate pairs")
    return found
