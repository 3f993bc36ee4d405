"""Numbers as settings take them: a truth value, NaN or half a row is refused in words."""

import math
import numbers
import reprlib
from typing import Any

import traitlets as t


class Whole(t.Int):
    """A whole number within bounds, of Python, NumPy or torch."""

    def validate(self, obj: Any, value: Any) -> int | None:
        """Check a value; see `_number`."""
        if value is None and self.allow_none:
            return None
        number = _number(self, value, "a whole number")
        if number != int(number):
            raise t.TraitError(_words(self, value, "a whole number"))
        return int(number)


class Real(t.Float):
    """A finite number within bounds, of Python, NumPy or torch."""

    def validate(self, obj: Any, value: Any) -> float | None:
        """Check a value; see `_number`."""
        if value is None and self.allow_none:
            return None
        return float(_number(self, value, "a number"))


def _number(trait: Any, value: Any, kind: str) -> Any:
    """The value as a Python number.

    Raises:
        TraitError: it is none, not finite, or out of the trait's bounds.
    """
    if getattr(value, "shape", None) == ():
        value = value.item()
    low, high = trait.min, trait.max
    fits = (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (low is None or value >= low)
        and (high is None or value <= high)
    )
    if not fits:
        raise t.TraitError(_words(trait, value, kind))
    return value


def _words(trait: Any, value: Any, kind: str) -> str:
    low, high = trait.min, trait.max
    bounds = {
        (True, True): "",
        (False, True): f" of {low} or more",
        (True, False): f" of {high} or less",
        (False, False): f" from {low} to {high}",
    }[low is None, high is None]
    name = trait.name or "value"  # one of several numbers has no name of its own
    return f"{name}: expected {kind}{bounds}, found {reprlib.repr(value)}"
