"""Check a learner's function against the reference and answer like a tutor."""

import difflib
import inspect
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from mrcnn_steps.data import Sample, sample
from mrcnn_steps.exercises import (
    anchors,
    classification,
    detection,
    masks,
    mini_masks,
    missed,
    proposals,
    rpn_targets,
    sampling,
    suppression,
    suppressors,
    whole_detection,
)
from mrcnn_steps.exercises.answer import Answer, Folded, Text
from mrcnn_steps.exercises.attempt import Attempt, attempt, copy
from mrcnn_steps.exercises.compare import Comparison, Parts, as_parts, compare, same_parts
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Inputs, Mistake
from mrcnn_steps.exercises.shrinking import shrink

MODULES = (
    mini_masks,
    anchors,
    rpn_targets,
    sampling,
    proposals,
    suppression,
    classification,
    detection,
    whole_detection,
    masks,
    missed,
    suppressors,
)
EXERCISES = {exercise.name: exercise for module in MODULES for exercise in module.EXERCISES}

PHOTO = "voc_people"
RANDOM_CASES = 60

# As many failing and as many passing cases tell known mistakes apart.
COMPARED_CASES = 25

# Seconds; a check ends in less than two, its picture included.
CALL_LIMIT = 1.0
RANDOM_UNTIL = 0.5
SHRINK_FOR = 0.4

_hints_given: Counter[str] = Counter()


class ExerciseList(tuple[Exercise, ...]):
    """Exercises that show as a list of tasks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n\n".join(f"{e.signature}   ({e.lesson})\n{e.task}" for e in self)


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


def exercises(lesson: str | None = None) -> ExerciseList:
    """List the exercises with their tasks.

    Args:
        lesson: the beginning of a lesson's name, such as "03"; all lessons if left out.

    Returns:
        The exercises in the order of the lessons.
    """
    return ExerciseList(e for e in EXERCISES.values() if e.lesson.startswith(lesson or ""))


def hint(exercise: Callable[..., Any] | str) -> Text:
    """Give the next hint, from a gentle push to nearly the answer.

    Args:
        exercise: the exercise's name, or the learner's function of that name.

    Returns:
        The hint; after the last one, the last one again.
    """
    found = _find(exercise)
    if isinstance(found, str):
        return Text(found)
    count = len(found.hints)
    number = min(_hints_given[found.name] + 1, count)
    _hints_given[found.name] = number
    ending = f'\nThat was the last one; solution("{found.name}") shows ours.' * (number == count)
    return Text(f"Hint {number} of {count}: {found.hints[number - 1]}{ending}")


def solution(exercise: Callable[..., Any] | str) -> Text:
    """Show our solution.

    Args:
        exercise: the exercise's name, or the learner's function of that name.

    Returns:
        Its source, which runs wherever torch is imported; a notebook folds it away.
    """
    found = _find(exercise)
    if isinstance(found, str):
        return Text(found)
    return Folded("Our solution (open it to compare)", found.source)


def check(function: Any, name: str | None = None) -> Answer:
    """Check a function against the reference: edge cases, random inputs, and the lesson's photo.

    Args:
        function: the learner's function, named like the exercise.
        name: the exercise's name, if the function has another one.

    Returns:
        Whether it is right; if not, the smallest input that shows it, the expected and the given
        value, and a hint for the mistake if it is a known one.
    """
    if not callable(function):
        return Answer(
            False,
            "check takes the function itself, without calling it: check(iou), not check(iou(…)).",
        )
    exercise = _find(name if name is not None else function)
    if isinstance(exercise, str):
        return Answer(False, exercise)
    problem = _signature_problem(exercise, function)
    if problem:
        return Answer(False, f"{exercise.name}: {problem}")
    trials = _run(exercise, function)
    failing = [trial for trial in trials if trial.failure]
    if not failing:
        return _right(exercise, trials)
    return _wrong(exercise, function, trials, failing)


def _find(wanted: Callable[..., Any] | str) -> Exercise | str:
    """Find the exercise of this name, or a message that there is none."""
    name = wanted if isinstance(wanted, str) else getattr(wanted, "__name__", "")
    if name in EXERCISES:
        return EXERCISES[name]
    similar = difflib.get_close_matches(name, EXERCISES, n=3, cutoff=0.5)
    advice = f"Did you mean {' or '.join(similar)}?" if similar else f"There are {_names()}."
    return (
        f"There is no exercise {name!r}. {advice}\n"
        'Name your function like the exercise, or say which it is: check(my_function, "iou").'
    )


def _names() -> str:
    return ", ".join(EXERCISES)


def _signature_problem(exercise: Exercise, function: Callable[..., Any]) -> str:
    count = len(inspect.signature(exercise.solution).parameters)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""  # some functions written in C do not tell
    try:
        signature.bind(*range(count))
    except TypeError:
        return f"it is called as {exercise.signature}; yours takes {signature}."
    return ""


@cache
def _photo() -> Sample:
    return sample(PHOTO)


def _case(exercise: Exercise, kind: str, inputs: Inputs) -> Case | None:
    """Make a case, unless its input is not fair."""
    if not exercise.fair(**copy(inputs)):
        return None
    expected = as_parts(exercise.reference(*copy(inputs).values()), len(exercise.returns))
    assert isinstance(expected, tuple), expected
    return Case(kind, inputs, expected)


@cache
def _small_cases(exercise: Exercise) -> tuple[Case, ...]:
    edge = [_case(exercise, "edge", exercise.named(values)) for values in exercise.edge_cases]
    drawn = [
        _case(exercise, "random", exercise.named(exercise.random(Dice(seed), 1 + seed % 5)))
        for seed in range(RANDOM_CASES)
    ]
    return tuple(case for case in (*edge, *drawn) if case is not None)


@cache
def _photo_case(exercise: Exercise) -> Case:
    case = _case(exercise, "photo", exercise.named(exercise.photo(_photo())))
    assert case is not None, f"{exercise.name}: the photo's input is not fair"
    return case


def _try(
    exercise: Exercise, function: Callable[..., Any], case: Case, seconds: float = CALL_LIMIT
) -> Trial:
    made = attempt(function, case.inputs, seconds)
    if made.ending != "returned":
        return Trial(case, made, None)
    if exercise.verify is None:
        return Trial(case, made, compare(exercise, case.expected, made.value))
    comparison = compare(exercise, case.expected, made.value)
    if comparison.verdict == "wrong form":
        return Trial(case, made, comparison)
    assert comparison.parts is not None
    broken = exercise.verify(copy(case.inputs), comparison.parts[0])
    return Trial(case, made, Comparison("right", parts=comparison.parts), broken)


def _run(exercise: Exercise, function: Callable[..., Any]) -> list[Trial]:
    """Try all cases; the photo last, and only if all is well until then."""
    trials: list[Trial] = []
    cases = _small_cases(exercise)
    start = time.monotonic()
    for number, case in enumerate(cases):
        failed = sum(bool(trial.failure) for trial in trials)
        enough = failed >= COMPARED_CASES or time.monotonic() - start > RANDOM_UNTIL
        if enough and number >= len(exercise.edge_cases):
            break
        trials.append(_try(exercise, function, case))
        if trials[-1].failure == "out of time":
            return trials
    if not any(trial.failure for trial in trials):
        trials.append(_try(exercise, function, _photo_case(exercise)))
    return trials


def _right(exercise: Exercise, trials: list[Trial]) -> Answer:
    count = len(trials) - 1
    return Answer(
        True,
        f"{exercise.name} is right: on {count} small inputs and on the photo.\n{exercise.why}",
    )


def _wrong(
    exercise: Exercise, function: Callable[..., Any], trials: list[Trial], failing: list[Trial]
) -> Answer:
    mistake = _recognize(exercise, trials)
    first = min(
        (trial for trial in failing if _shows(exercise, mistake, trial)),
        key=lambda trial: (trial.case.is_empty, trial.case.size),
    )
    smallest = _smallest(exercise, function, first, mistake)
    comparison = smallest.comparison
    parts = None if comparison is None else comparison.parts
    draw = None
    if exercise.picture is not None and smallest.failure == "wrong value" and parts is not None:
        picture = exercise.picture

        def draw() -> Any:
            return picture(smallest.case.inputs, smallest.case.expected, parts)

    named = next((m for m in exercise.mistakes if m.name == mistake), None)
    return Answer(
        right=False,
        message=_message(exercise, smallest, named),
        mistake=mistake,
        failing_input=smallest.case.inputs,
        expected=_value(smallest.case.expected),
        given=smallest.attempt.value if parts is None else _value(parts),
        printed=smallest.attempt.printed,
        draw=draw,
    )


def _value(parts: Parts) -> Any:
    return parts[0] if len(parts) == 1 else parts


def _recognize(exercise: Exercise, trials: list[Trial]) -> str | None:
    """Find the known mistake whose results are the learner's results, case by case."""
    broken = [trial.mistake for trial in trials if trial.mistake]
    if broken:
        return Counter(broken).most_common(1)[0][0]
    if exercise.verify is not None:
        return None
    compared = [t for t in trials if t.comparison is not None and t.comparison.parts is not None]
    if not any(t.comparison.verdict != "right" for t in compared if t.comparison):
        return None
    failing = [t for t in compared if t.failure][:COMPARED_CASES]
    passing = [t for t in compared if not t.failure][:COMPARED_CASES]
    agreement = {m.name: _agreement(exercise, m, failing, passing) for m in exercise.mistakes}
    found = max(agreement, key=lambda name: agreement[name])
    return found if agreement[found] >= 0.9 else None


def _agreement(
    exercise: Exercise, mistake: Mistake, failing: list[Trial], passing: list[Trial]
) -> float:
    """How often the mistake leads to the learner's results: the worse of failing and all."""
    same_failing = sum(_agrees(exercise, mistake, trial) for trial in failing)
    if same_failing < 0.9 * len(failing):
        return 0.0
    same_passing = sum(_agrees(exercise, mistake, trial) for trial in passing)
    count = len(failing) + len(passing)
    return min(same_failing / len(failing), (same_failing + same_passing) / count)


def _agrees(exercise: Exercise, mistake: Mistake, trial: Trial) -> bool:
    """Whether the mistake leads to the same result in this trial."""
    if trial.comparison is None or trial.comparison.parts is None:
        return False
    try:
        value = mistake.wrong(*copy(trial.case.inputs).values())
    except (ValueError, IndexError, RuntimeError):
        return False  # some wrong ways fail on some inputs, such as empty ones
    parts = as_parts(value, len(exercise.returns))
    return isinstance(parts, tuple) and same_parts(
        trial.comparison.parts, parts, exercise.tolerance
    )


def _shows(exercise: Exercise, mistake: str | None, trial: Trial) -> bool:
    """Whether the trial fails because of the recognized mistake."""
    if mistake is None or exercise.verify is not None:
        return trial.mistake == mistake
    return any(m.name == mistake and _agrees(exercise, m, trial) for m in exercise.mistakes)


def _smallest(
    exercise: Exercise, function: Callable[..., Any], first: Trial, mistake: str | None
) -> Trial:
    """Find the trial of the smallest input that fails in the same way."""
    if first.failure == "out of time" or first.case.kind == "photo":
        return first
    smallest = first
    deadline = time.monotonic() + SHRINK_FOR

    def still_fails(inputs: Inputs) -> bool:
        nonlocal smallest
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        try:
            case = _case(exercise, "shrunk", inputs)
        except (ValueError, IndexError, RuntimeError):
            return False  # the smaller input is not a possible one
        if case is None:
            return False
        trial = _try(exercise, function, case, left)
        if trial.failure != first.failure or not _shows(exercise, mistake, trial):
            return False
        smallest = trial
        return True

    shrink(first.case.inputs, exercise.shapes, still_fails)
    return smallest


def _message(exercise: Exercise, trial: Trial, mistake: Mistake | None) -> str:
    lines = [f"{exercise.name}: {_headline(trial, mistake)}"]
    if trial.attempt.ending == "raised":
        lines.append(trial.attempt.error)
    elif trial.comparison is not None and trial.comparison.problem:
        lines.append(trial.comparison.problem)
    if trial.attempt.changed:
        names = ", ".join(trial.attempt.changed)
        lines.append(
            f"Your function changes its input {names} in place: whoever calls it still needs the "
            "old values. Work on a copy (clone), or with operations that make a new tensor."
        )
    if mistake is not None:
        lines.append(mistake.hint)
    elif trial.failure == "wrong value":
        lines.append(f'Try this input by hand; hint("{exercise.name}") gives a hint.')
    return "\n".join(lines)


def _headline(trial: Trial, mistake: Mistake | None) -> str:
    if mistake is not None:
        return f"not yet: {mistake.name}."
    if trial.failure == "out of time" and trial.case.kind == "photo":
        return (
            f"right on small inputs, but on the photo not done after {CALL_LIMIT:g} s. Replace "
            "loops over rows or pixels by operations on whole tensors."
        )
    if trial.failure == "out of time":
        return f"it was stopped after {CALL_LIMIT:g} s. Is there a loop that never ends?"
    return {
        "raised": "it stops with an error on this input.",
        "wrong value": "not yet: the value is wrong.",
        "wrong form": "it returns the wrong kind of value.",
        "changed input": "the value is right, but it has a side effect.",
    }[trial.failure]
