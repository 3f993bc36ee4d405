"""Check a learner's function against the reference and answer like a tutor."""

import difflib
import inspect
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

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
    softmax,
    solved,
    suppression,
    suppressors,
    whole_detection,
)
from mrcnn_steps.exercises.answer import Answer, Folded, Text
from mrcnn_steps.exercises.compare import Parts
from mrcnn_steps.exercises.exercise import Exercise, Inputs, Mistake
from mrcnn_steps.exercises.recognize import recognize, shows
from mrcnn_steps.exercises.shrinking import shrink
from mrcnn_steps.exercises.trials import (
    CALL_LIMIT,
    PART_OF_PHOTO,
    Trial,
    make_case,
    run_trials,
    try_case,
)

MODULES = (
    mini_masks,
    anchors,
    rpn_targets,
    sampling,
    proposals,
    suppression,
    classification,
    softmax,
    detection,
    whole_detection,
    masks,
    missed,
    suppressors,
)
EXERCISES = {exercise.name: exercise for module in MODULES for exercise in module.EXERCISES}

# Seconds.
SHRINK_FOR = 0.4

_hints_given: Counter[str] = Counter()


class ExerciseList(tuple[Exercise, ...]):
    """Exercises that show as a list of tasks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n\n".join(f"{e.signature}   ({e.lesson}; {e.rating})\n{e.task}" for e in self)


def exercises(lesson: str | None = None) -> ExerciseList:
    """List the exercises with their tasks.

    Args:
        lesson: the beginning of a lesson's name, such as "03"; all lessons if left out.

    Returns:
        The exercises in the order of the lessons.
    """
    return ExerciseList(e for e in EXERCISES.values() if e.lesson.startswith(lesson or ""))


def hint(exercise: Callable[..., Any] | str, number: int | None = None) -> Text:
    """Give the next hint, from a gentle push to nearly the answer.

    Args:
        exercise: the exercise's name, or the learner's function of that name.
        number: which hint to read again; the next one if left out.

    Returns:
        The hint; after the last one, the last one again.

    Raises:
        ValueError: there is no hint of that number.
    """
    found = _find(exercise)
    if isinstance(found, str):
        return Text(found)
    count = len(found.hints)
    if number is None:
        number = _hints_given[found.name] = min(_hints_given[found.name] + 1, count)
    if not 1 <= number <= count:
        raise ValueError(
            f"number: expected 1 to {count}, the hints of {found.name}, found {number}"
        )
    again = f'\nhint("{found.name}", 1) reads the first one again.' * (number > 1)
    ending = f'\nThat was the last one; solution("{found.name}") shows ours.' * (number == count)
    return Text(f"Hint {number} of {count}: {found.hints[number - 1]}{again}{ending}")


def solution(exercise: Callable[..., Any] | str) -> Text:
    """Show our solution, unless a teacher keeps the solutions locked.

    Args:
        exercise: the exercise's name, or the learner's function of that name.

    Returns:
        Its source, which runs wherever torch is imported; a notebook folds it away.
    """
    found = _find(exercise)
    if isinstance(found, str):
        return Text(found)
    if solved.locked():
        return Text(f'The solutions are locked here. hint("{found.name}") gives a hint.')
    return Folded("Our solution (open it to compare)", found.source)


def progress() -> Text:
    """Tell which exercises were solved in the folder of the lessons that is the current one.

    Returns:
        A line an exercise.

    Raises:
        ValueError: the file that keeps it is damaged.
    """
    return Text(solved.table(EXERCISES.values(), solved.read()))


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
    trials = run_trials(exercise, function)
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


def _right(exercise: Exercise, trials: list[Trial]) -> Answer:
    count, last = len(trials) - 1, trials[-1].case
    where = f"on {count} small inputs and on the photo"
    lines = [exercise.why, solved.record(exercise.name)]
    if last.kind == PART_OF_PHOTO:
        where = f"on {count} small inputs and on a part of the photo's"
        lines.insert(
            0,
            f"On the whole photo it is not done after {CALL_LIMIT:g} s: operations on whole "
            "tensors instead of loops over rows make it many times as fast.",
        )
    said = "\n".join(line for line in lines if line)
    return Answer(True, f"{exercise.name} is right: {where}.\n{said}")


def _wrong(
    exercise: Exercise, function: Callable[..., Any], trials: list[Trial], failing: list[Trial]
) -> Answer:
    mistake = recognize(exercise, trials)
    first = min(
        (trial for trial in failing if shows(exercise, mistake, trial)),
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
        message=_message(exercise, smallest, named, everywhere=len(failing) == len(trials)),
        mistake=mistake,
        failing_input=smallest.case.inputs,
        expected=_value(smallest.case.expected),
        given=smallest.attempt.value if parts is None else _value(parts),
        printed=smallest.attempt.printed,
        draw=draw,
    )


def _value(parts: Parts) -> Any:
    return parts[0] if len(parts) == 1 else parts


def _smallest(
    exercise: Exercise, function: Callable[..., Any], first: Trial, mistake: str | None
) -> Trial:
    """Find the trial of the smallest input that fails in the same way."""
    if first.failure == "out of time":
        return first
    smallest = first
    deadline = time.monotonic() + SHRINK_FOR

    def still_fails(inputs: Inputs) -> bool:
        nonlocal smallest
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        try:
            case = make_case(exercise, "shrunk", inputs)
        except (ValueError, IndexError, RuntimeError):
            return False  # the smaller input is not a possible one
        if case is None:
            return False
        trial = try_case(exercise, function, case, left)
        if trial.failure != first.failure or not shows(exercise, mistake, trial):
            return False
        smallest = trial
        return True

    shrink(first.case.inputs, exercise.shapes, still_fails)
    return smallest


def _message(exercise: Exercise, trial: Trial, mistake: Mistake | None, everywhere: bool) -> str:
    """Write what is wrong; what fails on every input does so for no oddity of this one."""
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
    if mistake is None and trial.case.oddity and not everywhere:
        lines.append(trial.case.oddity)
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
