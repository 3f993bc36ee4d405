"""Make a failing input smaller as long as it still fails."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from mrcnn_steps.exercises.exercise import Inputs

# More elements than this nobody reads one by one.
MOST_NUMBERS = 100


def shrink(inputs: Inputs, shapes: dict[str, str], still_fails: Callable[[Inputs], bool]) -> Inputs:
    """Take the first simpler input that still fails, again and again.

    Rows go first, then numbers become 0, 1, whole, or half. Every step drops a row or makes a
    number simpler, so this ends.

    Args:
        inputs: an input that fails.
        shapes: dimensions of the tensors, see `Exercise.shapes`.
        still_fails: says whether a simpler input fails in the same way; it may say no to
            everything when time is up.

    Returns:
        An input that fails and of which no simpler one is known to fail.
    """
    improved = True
    while improved:
        improved = False
        for simpler in _simpler(inputs, shapes):
            if still_fails(simpler):
                inputs, improved = simpler, True
                break
    return inputs


def _simpler(inputs: Inputs, shapes: dict[str, str]) -> Iterator[Inputs]:
    yield from _with_fewer_rows(inputs, shapes)
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            for moved in _moved_to_the_edge(value):
                yield inputs | {name: moved}
    yield from _with_simpler_number(inputs)
    for name, value in inputs.items():
        for simpler in _simpler_values(value):
            yield inputs | {name: simpler}


def _with_fewer_rows(inputs: Inputs, shapes: dict[str, str]) -> Iterator[Inputs]:
    """Drop half of a dimension's rows, or one; at least one stays."""
    places: dict[str, list[tuple[str, int]]] = {}
    for name, shape in shapes.items():
        for axis, letter in enumerate(shape.split()):
            if not letter.isdigit():
                places.setdefault(letter, []).append((name, axis))
    for where in places.values():
        length = inputs[where[0][0]].shape[where[0][1]]
        rows = torch.arange(length)
        halves = [rows[: length // 2], rows[length // 2 :]] if length > 3 else []
        singles = [rows[rows != row] for row in range(length - 1, -1, -1)] if length > 1 else []
        for kept in (*halves, *singles):
            yield inputs | {name: inputs[name].index_select(axis, kept) for name, axis in where}


def _with_simpler_number(inputs: Inputs) -> Iterator[Inputs]:
    """Replace a number wherever it stands: what only fails for equal boxes keeps them equal."""
    tensors = {
        name: value
        for name, value in inputs.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel() <= MOST_NUMBERS
    }
    numbers = {number for tensor in tensors.values() for number in tensor.flatten().tolist()}
    for number in sorted(numbers, key=_effort, reverse=True):
        for simpler in _simpler_numbers(number):
            yield inputs | {
                name: torch.where(tensor == number, simpler, tensor)
                for name, tensor in tensors.items()
            }


def _simpler_values(value: Any) -> Iterator[Any]:
    if isinstance(value, bool | torch.Generator):
        return
    if isinstance(value, int):
        yield from sorted({v for v in (0, 1, value // 2, value - 1) if 0 <= v < value})
    elif isinstance(value, Tensor):
        yield from _simpler_tensors(value)


def _simpler_tensors(tensor: Tensor) -> Iterator[Tensor]:
    if tensor.numel() > MOST_NUMBERS:
        return
    flat = tensor.flatten()
    for position, number in enumerate(flat.tolist()):
        for simpler in _simpler_numbers(number):
            changed = flat.clone()
            changed[position] = simpler
            yield changed.reshape(tensor.shape)


def _moved_to_the_edge(tensor: Tensor) -> Iterator[Tensor]:
    """Move one box until it touches the left or the upper edge of the image."""
    if tensor.ndim != 2 or tensor.shape[1] != 4 or not tensor.is_floating_point():
        return
    for row, box in enumerate(tensor.tolist()):
        for axis in (0, 1):
            if 0 < box[axis] < box[axis + 2]:
                moved = tensor.clone()
                moved[row, axis::2] -= box[axis]
                yield moved


def _simpler_numbers(number: float) -> Iterator[float]:
    if isinstance(number, bool):
        if number:
            yield False
        return
    # Large steps first, or 900 would need 676 steps to 224.
    shares = (number // 2, number * 3 // 4, number * 15 // 16)
    candidates = (0, 1, round(number), *shares, number - 1)
    for candidate in candidates:
        if _effort(candidate) < _effort(number):
            yield candidate


def _effort(number: float) -> tuple[bool, float]:
    return (number != int(number), abs(number)) if abs(number) < 2**31 else (True, abs(number))
