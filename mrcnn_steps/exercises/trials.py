"""Cases to try a learner's function on, and what it does with them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from mrcnn_steps.data import Sample, sample
from mrcnn_steps.exercises.attempt import Attempt, attempt, copy
from mrcnn_steps.exercises.compare import Comparison, Parts, as_parts, compare
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Inputs

PHOTO = "voc_people"
RANDOM_CASES = 60

# As many failing and as many passing cases tell known mistakes apart.
COMPARED_CASES = 25

# Seconds; a check ends in less than two, its picture included, unless the photo takes too long.
CALL_LIMIT = 1.0
RANDOM_UNTIL = 0.5

# A function that is too slow for the photo is tried on an eighth of its rows, then on a 64th.
PART = 8
PART_OF_PHOTO = "part of the photo"


@dataclass(frozen=True, eq=False)
class Case:
    """One input with the value that the reference returns for it."""

    kind: str
    inputs: Inputs
    expected: Parts

    @property
    def is_empty(self) -> bool:
        """Whether some argument has no elements."""
        return any(isinstance(v, Tensor) and v.numel() == 0 for v in self.inputs.values())

    @property
    def oddity(self) -> str:
        """What is special about the input, in words; empty if nothing is."""
        for name, value in self.inputs.items():
            if isinstance(value, Tensor) and value.numel() == 0:
                return f"Here {name} is empty: it has the shape {list(value.shape)}."
            if isinstance(value, Tensor) and value.dtype == torch.bool and not value.any():
                return f"Here {name} has no True at all: that case needs an answer of its own."
        return ""

    @property
    def size(self) -> int:
        """Number of elements of all arguments."""
        return sum(v.numel() for v in self.inputs.values() if isinstance(v, Tensor))


@dataclass(frozen=True, eq=False)
class Trial:
    """What the learner's function did with a case."""

    case: Case
    attempt: Attempt
    comparison: Comparison | None
    mistake: str | None = None

    @property
    def failure(self) -> str:
        """The kind of failure, or "" if all is well."""
        if self.comparison is None:
            return self.attempt.ending
        if self.comparison.verdict != "right":
            return self.comparison.verdict
        if self.mistake:
            return "broken rule"
        return "changed input" if self.attempt.changed else ""


@cache
def _photo() -> Sample:
    return sample(PHOTO)


def make_case(exercise: Exercise, kind: str, inputs: Inputs) -> Case | None:
    """Make a case.

    Args:
        exercise: whose reference judges.
        kind: where the input comes from.
        inputs: the arguments by name.

    Returns:
        The case; None if its input is not fair.
    """
    if not exercise.fair(**copy(inputs)):
        return None
    expected = as_parts(exercise.reference(*copy(inputs).values()), len(exercise.returns))
    assert isinstance(expected, tuple), expected
    return Case(kind, inputs, expected)


@cache
def _small_cases(exercise: Exercise) -> tuple[Case, ...]:
    edge = [make_case(exercise, "edge", exercise.named(values)) for values in exercise.edge_cases]
    drawn = [
        make_case(exercise, "random", exercise.named(exercise.random(Dice(seed), 1 + seed % 5)))
        for seed in range(RANDOM_CASES)
    ]
    return tuple(case for case in (*edge, *drawn) if case is not None)


@cache
def _photo_case(exercise: Exercise) -> Case:
    case = make_case(exercise, "photo", exercise.named(exercise.photo(_photo())))
    assert case is not None, f"{exercise.name}: the photo's input is not fair"
    return case


def try_case(exercise: Exercise, function: Callable[..., Any], case: Case, seconds: float) -> Trial:
    """Call a learner's function with a case.

    Args:
        exercise: that the function is for.
        function: the learner's.
        case: what it is called with.
        seconds: after this time the call is stopped.

    Returns:
        What it did.
    """
    made = attempt(function, case.inputs, seconds)
    if made.ending != "returned":
        return Trial(case, made, None)
    if exercise.verify is None:
        return Trial(case, made, compare(exercise, case.expected, made.value))
    comparison = compare(exercise, case.expected, made.value)
    if comparison.verdict == "wrong form":
        return Trial(case, made, comparison)
    assert comparison.parts is not None
    broken = exercise.verify(copy(case.inputs), comparison.parts[0], made.left)
    return Trial(case, made, Comparison("right", parts=comparison.parts), broken)


def run_trials(exercise: Exercise, function: Callable[..., Any]) -> list[Trial]:
    """Try all cases; the photo last, and only if all is well until then.

    Args:
        exercise: that the function is for.
        function: the learner's.

    Returns:
        The trials in order.
    """
    trials: list[Trial] = []
    start = time.monotonic()
    for number, case in enumerate(_small_cases(exercise)):
        failed = sum(bool(trial.failure) for trial in trials)
        enough = failed >= COMPARED_CASES or time.monotonic() - start > RANDOM_UNTIL
        if enough and number >= len(exercise.edge_cases):
            break
        trials.append(try_case(exercise, function, case, CALL_LIMIT))
        if trials[-1].failure == "out of time":
            return trials
    if not any(trial.failure for trial in trials):
        whole = try_case(exercise, function, _photo_case(exercise), CALL_LIMIT)
        slow = whole.failure == "out of time"
        trials.append((_slow_but_right(exercise, function) if slow else None) or whole)
    return trials


def _slow_but_right(exercise: Exercise, function: Callable[..., Any]) -> Trial | None:
    """Judge a function that is too slow for the photo by the growth of its time.

    The clock says how fast the machine is, and how busy. How the time grows says what was
    written: a loop over all pairs of rows takes at most `PART`² times as long for `PART` times as
    many rows.

    Returns:
        The trial of the largest part of the photo that ends in time; None if there is none, or if
        more than twice that growth lies between it and the limit that the larger part broke.
    """
    for parts in (PART, PART**2):
        case = _part_of(exercise, _photo_case(exercise), parts)
        if case is None:
            return None
        trial = try_case(exercise, function, case, CALL_LIMIT)
        if trial.failure != "out of time":
            explained = 2 * PART**2 * trial.attempt.seconds >= CALL_LIMIT
            return trial if trial.failure or explained else None
    return None


def _part_of(exercise: Exercise, case: Case, parts: int) -> Case | None:
    """Cut the longest dimension of an input; None if that leaves nothing to try."""
    lengths = {
        letter: (size, name, axis)
        for name, shape in exercise.shapes.items()
        for axis, (letter, size) in enumerate(
            zip(shape.split(), case.inputs[name].shape, strict=True)
        )
        if not letter.isdigit()
    }
    if not lengths:
        return None
    longest = max(lengths, key=lambda letter: lengths[letter][0])
    kept = torch.arange(lengths[longest][0] // parts)
    if not len(kept):
        return None
    cut = {
        name: case.inputs[name].index_select(axis, kept)
        for name, shape in exercise.shapes.items()
        for axis, letter in enumerate(shape.split())
        if letter == longest
    }
    return make_case(exercise, PART_OF_PHOTO, case.inputs | cut)
