"""Reading a COCO instances file: checked from end to end before anything is done with it.

An error names the file, the record, the field, what was found and what was expected.
"""

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mrcnn_steps.class_names import composed
from mrcnn_steps.data.agreement import agreeing
from mrcnn_steps.data.annotation import Annotation, read_annotation
from mrcnn_steps.data.coco_paths import Inside
from mrcnn_steps.data.field_error import ABSENT, FieldError, fail_number, whole_number
from mrcnn_steps.data.images import MAX_PIXELS

Record = dict[str, Any]
Read = TypeVar("Read")

# In bytes: what file systems take for the name of a file or a folder.
LONGEST_NAME = 255

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


class Fault(NamedTuple):
    """A record that cannot be used.

    Attributes:
        key: the list that it stands in: "images", "annotations" or "categories".
        place: its place in that list, from 0.
        record: as the file has it, whatever that is.
        field: what is wrong with it; empty if it is no object at all.
        found: the field's value; `ABSENT` if it is missing.
        expected: in words.
        code: of the mistake, where the field alone does not tell.
    """

    key: str
    place: int
    record: Any
    field: str
    found: Any
    expected: str
    code: str

    def error(self) -> FieldError:
        """Give it as the error of its file."""
        known = self.field not in ("", "id")
        number = f" (id {self.record['id']})" if known else ""
        field = f".{self.field}" if self.field else ""
        where = f"{self.key}[{self.place}]{number}{field}"
        return FieldError(where, self.found, self.expected, self.code)


class Content(NamedTuple):
    """What a file says.

    Attributes:
        photos: in the order of the file.
        annotations: in the order of the file.
        categories: the name of each category, in the order of their ids.
        left_out: the records that cannot be used.
    """

    photos: tuple[Photo, ...]
    annotations: tuple[Annotation, ...]
    categories: dict[int, str]
    left_out: tuple[Fault, ...]


def read(path: Path, folder: Path, strict: bool = True) -> Content:
    """Read and check a COCO instances file.

    Args:
        path: the file.
        folder: of the photos, that no `file_name` may leave.
        strict: whether a record that cannot be used is an error; it is left out otherwise.

    Returns:
        Its content.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not complete JSON, it lacks one of the three lists, or, if `strict`,
            something in it is not what COCO's format says.
    """
    try:
        with _uncollected():
            return _check(json.loads(path.read_bytes()), folder, strict)
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


def _check(content: Any, folder: Path, strict: bool) -> Content:
    # In a function of its own, so that the lists of the JSON are gone when garbage is looked for.
    _check_lists(content)
    faults: list[Fault] | None = None if strict else []
    categories = _categories(content["categories"], faults)
    photos = _photos(content["images"], folder, categories, faults)
    annotations = _annotations(content["annotations"], photos, categories, faults)
    return Content(photos, annotations, categories, tuple(faults or ()))


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


def _each(
    key: str,
    records: list[Any],
    faults: list[Fault] | None,
    read: Callable[[Record, int], Read],
) -> list[Read]:
    """Read every record of a list, by itself and its place.

    A record that cannot be used is added to the faults, or an error where there is no such list.
    """
    done: list[Read] = []
    seen: set[int] = set()
    for place, record in enumerate(records):
        try:
            if not isinstance(record, dict):
                raise FieldError("", record, "an object")
            number = whole_number(record, "id", "a whole number")
            if number in seen:
                raise FieldError("id", number, "an id that no other record has", "id_twice")
            seen.add(number)
            done.append(read(record, place))
        except FieldError as fault:
            found, expected = fault.found, fault.expected
            told = Fault(key, place, record, fault.field, found, expected, fault.code)
            if faults is None:
                raise told.error() from None
            faults.append(told)
    return done


def _categories(records: list[Any], faults: list[Fault] | None) -> dict[int, str]:
    id_of: dict[str, int] = {}

    def read(record: Record, place: int) -> tuple[int, str]:
        name = _text(record, "name", "a text")
        if name.strip("_ ").casefold() in ("background", "bg"):
            expected = "a class; the background is no category, what no annotation covers is it"
            raise FieldError("name", name, expected, "category_background")
        seen = composed(name)
        if seen in id_of:
            expected = f"another name than that of category {id_of[seen]}: one class, one category"
            raise FieldError("name", name, expected, "category_name_twice")
        id_of[seen] = record["id"]
        return record["id"], seen

    return dict(sorted(_each("categories", records, faults, read)))


def _photos(
    records: list[Any], folder: Path, categories: dict[int, str], faults: list[Fault] | None
) -> tuple[Photo, ...]:
    inside = Inside(folder)

    def read(record: Record, place: int) -> Photo:
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
        if max(len(part.encode()) for part in name.split("/")) > LONGEST_NAME:
            raise FieldError("file_name", name, f"names of at most {LONGEST_NAME} bytes")
        if not inside(name):
            raise FieldError("file_name", name, f"a file inside {folder}", "file_name_outside")
        return Photo(record["id"], name, width, height, _labelled(record, categories))

    return tuple(_each("images", records, faults, read))


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
    records: list[Any],
    photos: tuple[Photo, ...],
    categories: dict[int, str],
    faults: list[Fault] | None,
) -> tuple[Annotation, ...]:
    sizes = {photo.id: (photo.height, photo.width) for photo in photos}

    agrees = list(agreeing(records, sizes))

    def look(record: Record, place: int) -> Annotation:
        return read_annotation(record, sizes, categories, agrees[place])

    read = _each("annotations", records, faults, look)
    slips = [(index, each) for index, each in enumerate(read) if each.slip]
    if faults is None and len(slips) * SLIPS_ONE_IN > len(read):
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
