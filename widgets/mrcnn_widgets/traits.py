"""Numbers as settings take them: a truth value, NaN or half a row is refused in words."""

import math
import numbers
import reprlib
from typing import Any

import numpy as np
import traitlets as t


class Whole(t.Int):
    """A whole number within bounds, of Python, NumPy or torch."""

    def validate(self, obj: Any, value: Any) -> int | None:
        """Check a value and make it Python's own.

        Raises:
            TraitError: it is no whole number, or out of bounds.
        """
        if value is None and self.allow_none:
            return None
        number = _number(value)
        if number is None or number != int(number) or not _is_within(number, self.min, self.max):
            raise _refusal(self, "a whole number", value)
        return int(number)


class Real(t.Float):
    """A finite number within bounds, of Python, NumPy or torch."""

    def validate(self, obj: Any, value: Any) -> float | None:
        """Check a value and make it Python's own.

        Raises:
            TraitError: it is no finite number, or out of bounds.
        """
        if value is None and self.allow_none:
            return None
        number = _number(value)
        if number is None or not _is_within(number, self.min, self.max):
            raise _refusal(self, "a number", value)
        return float(number)


class Choice(t.Enum[str]):
    """One of several words."""

    def validate(self, obj: Any, value: Any) -> str:
        """Check a value.

        Raises:
            TraitError: it is none of the words.
        """
        if not isinstance(value, str) or value not in (self.values or ()):
            words = ", ".join(self.values or ())
            raise t.TraitError(f"{self.name}: expected one of {words}, found {reprlib.repr(value)}")
        return value


class Sizes(t.TraitType[tuple[float, ...], Any]):
    """A few positive numbers, in a sequence.

    Args:
        default_value: the numbers at first.
        below: what each of them has to stay below.
        most: how many there may be.
        **options: as other traits take them.
    """

    def __init__(
        self, default_value: tuple[float, ...], below: float, most: int, **options: Any
    ) -> None:
        self.below, self.most = below, most
        super().__init__(default_value, **options)

    def validate(self, obj: Any, value: Any) -> tuple[float, ...]:
        """Check the numbers and make them Python's own.

        Raises:
            TraitError: they are too many or none, or one is not positive or too large.
        """
        found = list(value) if isinstance(value, list | tuple | np.ndarray) else []
        sizes = [_number(part) for part in found]
        if not 1 <= len(sizes) <= self.most or not all(
            size is not None and 0 < size < self.below for size in sizes
        ):
            raise t.TraitError(
                f"{self.name}: expected 1 to {self.most} numbers above 0 and below "
                f"{self.below:,}, found {reprlib.repr(value)}"
            )
        return tuple(float(size) for size in sizes if size is not None)


def _number(value: Any) -> float | None:
    """Give the value as a finite number of Python's; None if it is none."""
    if getattr(value, "shape", None) == ():
        value = value.item()
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def _is_within(number: float, low: float | None, high: float | None) -> bool:
    return (low is None or number >= low) and (high is None or number <= high)


def _refusal(trait: Any, kind: str, value: Any) -> t.TraitError:
    low, high = trait.min, trait.max
    bounds = {
        (True, True): "",
        (False, True): f" of {low} or more",
        (True, False): f" of {high} or less",
        (False, False): f" from {low} to {high}",
    }[low is None, high is None]
    # One of several numbers has no name of its own.
    name = trait.name or "value"
    return t.TraitError(f"{name}: expected {kind}{bounds}, found {reprlib.repr(value)}")
