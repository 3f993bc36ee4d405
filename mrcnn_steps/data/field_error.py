"""What is wrong with a record of a file: the field, what was found, what was expected."""

import reprlib
from collections.abc import Mapping
from typing import Any, NoReturn

_repr = reprlib.Repr()
# Enough of a value to recognize it; a polygon may have a million numbers.
_repr.maxlist, _repr.maxdict, _repr.maxstring, _repr.maxother, _repr.maxlong = 8, 8, 80, 80, 40

ABSENT = object()


class FieldError(Exception):
    """Raised by a check that knows the field; who knows file and record makes a ValueError of it.

    Attributes:
        field: the field, such as "bbox" or "segmentation.counts".
        found: what the record has there; `ABSENT` for a missing field.
        expected: in words.
        code: what kind of mistake it is, such as "bbox_corners", where the field alone does not
            tell.
    """

    def __init__(self, field: str, found: Any, expected: str, code: str = "") -> None:
        """Keep the parts; see the class."""
        super().__init__(field, found, expected)
        self.field, self.found, self.expected, self.code = field, found, expected, code

    def __str__(self) -> str:
        """`field: found …, expected …`."""
        found = "nothing" if self.found is ABSENT else _repr.repr(self.found)
        found = found if len(found) <= 80 else f"{found[:79]}…"
        return f"{self.field}: found {found}, expected {self.expected}"


def whole_number(record: Mapping[str, Any], field: str, expected: str) -> int:
    """Read a field that has to be a whole number of 64 bits.

    Args:
        record: an object of the file.
        field: its key.
        expected: what the number stands for.

    Returns:
        The number.

    Raises:
        FieldError: it is missing, a text, a fraction, true or false, or too large.
    """
    found = record.get(field, ABSENT)
    # `type(…) is`: True is an int to `isinstance`.
    if type(found) is int and -(2**63) <= found < 2**63:
        return found
    fail_number(field, found, expected)


def fail_number(field: str, found: Any, expected: str) -> NoReturn:
    """Refuse what is not the number that was expected, and say which number may be meant.

    Args:
        field: the key.
        found: its value.
        expected: what the number stands for.

    Raises:
        FieldError: always.
    """
    digits = found.strip() if isinstance(found, str) else ""
    if isinstance(found, float) and found.is_integer():
        whole = "" if expected == "a whole number" else ", as a whole number"
        expected = f"{expected}{whole}: {int(found)}"
    elif digits.isascii() and digits.isdigit():
        expected = f"{expected}, as a number: {digits[:20]} without quotes"
    raise FieldError(field, found, expected)
