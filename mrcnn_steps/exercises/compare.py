"""Compare a returned value with the expected one and say in words how they differ."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mrcnn_steps.exercises.exercise import Exercise

Parts = tuple[Tensor, ...]
Verdict = Literal["right", "wrong value", "wrong form"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """How a returned value relates to the expected one.

    Attributes:
        verdict: right, a wrong value, or a wrong type, shape or dtype.
        problem: the difference in words.
        parts: the returned value as tensors, or None if it cannot be read as such.
    """

    verdict: Verdict
    problem: str = ""
    parts: Parts | None = None


def as_parts(value: Any, count: int) -> Parts | str:
    """Read a returned value as `count` tensors.

    Args:
        value: a tensor, an array, a number, or a list or tuple of these.
        count: how many values the exercise returns.

    Returns:
        The tensors, or what is wrong, in words.
    """
    if value is None:
        return "Your function returned None: is a `return` missing?"
    if count == 1:
        tensor = _as_tensor(value)
        return tensor if isinstance(tensor, str) else (tensor,)
    if not isinstance(value, tuple | list) or len(value) != count:
        found = f"{len(value)}" if isinstance(value, tuple | list) else _kind_of(value)
        return f"Your function should return {count} values; it returned {found}."
    parts = [_as_tensor(part) for part in value]
    problems = [part for part in parts if isinstance(part, str)]
    return problems[0] if problems else tuple(p for p in parts if isinstance(p, Tensor))


def _as_tensor(value: Any) -> Tensor | str:
    if isinstance(value, Tensor):
        return _readable(value.detach())
    if isinstance(value, bool | int | float | list | tuple | np.ndarray | np.generic):
        try:
            return torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            pass
    return f"Your function returned {_kind_of(value)}, which is not a tensor."


def _readable(tensor: Tensor) -> Tensor | str:
    """Bring a tensor to where its values can be compared, or say why it cannot be."""
    if tensor.is_meta:
        return "Your function returned a meta tensor: it has a shape, and no values."
    if tensor.is_quantized or tensor.is_complex():
        return f"Your function returned {_dtype(tensor)} numbers; floating point is expected."
    if tensor.is_nested or tensor.layout != torch.strided:
        return "Your function returned a tensor that is not dense: to_dense() makes it one."
    return tensor.cpu()


def _kind_of(value: Any) -> str:
    article = "an" if type(value).__name__[0] in "aeio" else "a"
    return f"{article} {type(value).__name__}"


def _number_kind(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "bool"
    return "floating point" if tensor.is_floating_point() else "integer"


def compare(exercise: Exercise, expected: Parts, value: Any) -> Comparison:
    """Judge a returned value by the expected one.

    A number type counts as right if it is of the right kind: float64 for float32, int32 for int64.

    Args:
        exercise: says the dimensions and the tolerance.
        expected: the reference's values.
        value: what the learner's function returned.

    Returns:
        The verdict.
    """
    parts = as_parts(value, len(expected))
    if isinstance(parts, str):
        return Comparison("wrong form", parts)
    names = list(exercise.returns) if len(expected) > 1 else [""]
    shapes = exercise.returns.values()
    for name, shape, right, given in zip(names, shapes, expected, parts, strict=True):
        problem = _form_problem(exercise, shape, right, given)
        if problem:
            return Comparison("wrong form", (f"{name}: " if name else "") + problem, parts)
    for name, right, given in zip(names, expected, parts, strict=True):
        if not close(right, given, exercise.tolerance):
            problem = (f"{name}: " if name else "") + _difference(right, given, exercise.tolerance)
            return Comparison("wrong value", problem, parts)
    return Comparison("right", parts=parts)


def _form_problem(exercise: Exercise, shape: str, expected: Tensor, given: Tensor) -> str:
    letters = shape.split()
    found = list(given.shape)
    same = len(found) == len(letters) and all(
        found[d] == expected.shape[d] or _is_free(exercise, letter)
        for d, letter in enumerate(letters)
    )
    if not same:
        wanted = f"[{', '.join(letters)}]" if letters else "[] (one number)"
        here = f", here {list(expected.shape)}" if letters else ""
        return f"The shape should be {wanted}{here}; yours is {found}."
    # An empty list has no dtype of its own.
    if given.numel() and _number_kind(expected) != _number_kind(given):
        return (
            f"The values should be {_number_kind(expected)} ({_dtype(expected)}); "
            f"yours are {_dtype(given)}."
        )
    return ""


def _is_free(exercise: Exercise, letter: str) -> bool:
    return not letter.isdigit() and letter not in exercise.input_dimensions


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def close(expected: Tensor, given: Tensor, tolerance: float) -> bool:
    """Whether two tensors have the same shape and, to the tolerance, the same values."""
    return expected.shape == given.shape and bool(_close(expected, given, tolerance).all())


def _close(expected: Tensor, given: Tensor, tolerance: float) -> Tensor:
    allowed = tolerance if expected.is_floating_point() else 0.0
    relative = 1e-5 if expected.is_floating_point() else 0.0
    return torch.isclose(
        given.double(), expected.double(), rtol=relative, atol=allowed, equal_nan=True
    )


def same_parts(parts: Parts, others: Parts, tolerance: float) -> bool:
    """Whether two results are the same in kind, shape and value."""
    return len(parts) == len(others) and all(
        _number_kind(part) == _number_kind(other) and close(other, part, tolerance)
        for part, other in zip(parts, others, strict=True)
    )


def _difference(expected: Tensor, given: Tensor, tolerance: float) -> str:
    if expected.shape != given.shape:
        rows = "row" if len(expected) == 1 else "rows"
        return f"{len(expected)} {rows} expected, {len(given)} given."
    differs = ~_close(expected, given, tolerance)
    if given.is_floating_point() and bool((given.isnan() & differs).any()):
        return "There is a NaN in your result."
    if expected.numel() == 1:
        return ""
    first = differs.nonzero()[0].tolist()
    return (
        f"{int(differs.sum())} of {expected.numel()} values differ, first at {first}: "
        f"expected {expected[tuple(first)].item():.6g}, given {given[tuple(first)].item():.6g}."
    )
