"""Reading rows from a file that somebody may have changed: every field is checked."""

import math
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mrcnn_steps.data.field_error import ABSENT, FieldError
from mrcnn_steps.debug.errors import KINDS
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.rows import (
    IGNORED,
    TRUE_POSITIVE,
    UNEXPLAINED,
    DetectionRow,
    Header,
    ObjectRow,
    PhotoRow,
)

Made = TypeVar("Made")

_HINTS: dict[type, dict[str, Any]] = {
    kind: get_type_hints(kind) for kind in (Header, PhotoRow, ObjectRow, DetectionRow)
}

_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    NoneType: "null",
    dict: "an object",
    tuple: "a list",
}


def read_header(record: Any) -> Header:
    """Read a header from what `header_record` made of it.

    Args:
        record: from a JSON file.

    Returns:
        The header.

    Raises:
        FieldError: a field is missing, unknown, or no such value.
    """
    header = _make(Header, record)
    _value(header.settings.get("iou", ABSENT), float, "settings.iou")
    return header


def read_photo(record: Any) -> PhotoRow:
    """Read a photo from what `photo_record` made of it.

    Args:
        record: from a JSON file.

    Returns:
        The row.

    Raises:
        FieldError: a field is missing, unknown, or no such value.
    """
    photo = _make(PhotoRow, record)
    for place, each in enumerate(photo.objects):
        _expect(f"objects[{place}].cause", each.cause, (FOUND, UNEXPLAINED, *CAUSES))
    for place, claim in enumerate(photo.detections):
        _expect(f"detections[{place}].kind", claim.kind, (TRUE_POSITIVE, IGNORED, *KINDS))
    return photo


def _make(kind: type[Made], record: Any, where: str = "") -> Made:
    if not isinstance(record, dict):
        raise FieldError(where or "the record", record, "an object")
    prefix = f"{where}." if where else ""
    hints = _HINTS[kind]
    for name in record:
        if name not in hints:
            raise FieldError(f"{prefix}{name}", record[name], "no such field")
    return kind(
        **{
            name: _value(record.get(name, ABSENT), hint, prefix + name)
            for name, hint in hints.items()
        }
    )


def _value(found: Any, hint: Any, where: str) -> Any:
    """Turn a value of JSON into one of a type."""
    if hint in (ObjectRow, DetectionRow):
        return _make(hint, found, where)
    if get_origin(hint) is tuple:
        return _list(found, get_args(hint), where)
    if get_origin(hint) is dict:
        hint = dict
    choices = get_args(hint)
    if choices:
        for each in choices:
            if (found is None) == (each is NoneType):
                return _value(found, each, where)
    fits = type(found) in ((int, float) if hint is float else (hint,))
    if not fits or (hint is float and not math.isfinite(found)):
        raise FieldError(where, found, _WORDS[hint])
    return found


def _list(found: Any, items: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(found, list):
        raise FieldError(where, found, _WORDS[tuple])
    hints = [items[0]] * len(found) if items[-1] is Ellipsis else list(items)
    if len(found) != len(hints):
        raise FieldError(where, found, f"a list of {len(hints)}")
    pairs = enumerate(zip(found, hints, strict=True))
    return tuple(_value(each, hint, f"{where}[{place}]") for place, (each, hint) in pairs)


def _expect(where: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise FieldError(where, found, f"one of {', '.join(map(repr, known))}")
