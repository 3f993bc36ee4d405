"""Find the known mistake behind a learner's wrong results."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from mrcnn_steps.exercises.attempt import copy
from mrcnn_steps.exercises.compare import Parts, as_parts, same_parts
from mrcnn_steps.exercises.exercise import Exercise, Mistake
from mrcnn_steps.exercises.trials import COMPARED_CASES, Case, Trial


def recognize(exercise: Exercise, trials: list[Trial]) -> str | None:
    """Find the known mistake whose results are the learner's results, case by case.

    Args:
        exercise: that the trials are of.
        trials: what the learner's function did; some of them fail.

    Returns:
        The name of the mistake; None if it is an unknown one.
    """
    broken = [trial.mistake for trial in trials if trial.mistake]
    if broken:
        return Counter(broken).most_common(1)[0][0]
    if exercise.verify is not None:
        return None
    failed = [trial.case for trial in trials if trial.failure]
    alone = next((m for m in exercise.mistakes if _fails_alone(m, failed)), None)
    if alone is not None:
        return alone.name
    compared = [t for t in trials if t.comparison is not None and t.comparison.parts is not None]
    if not any(t.comparison.verdict != "right" for t in compared if t.comparison):
        return None
    failing = [t for t in compared if t.failure][:COMPARED_CASES]
    passing = [t for t in compared if not t.failure][:COMPARED_CASES]
    agreement = {m.name: _agreement(exercise, m, failing, passing) for m in exercise.mistakes}
    found = max(agreement, key=lambda name: agreement[name])
    return found if agreement[found] >= 0.9 else None


def _fails_alone(mistake: Mistake, failed: list[Case]) -> bool:
    """Whether all that failed are inputs that only this mistake gets wrong."""
    return bool(failed) and all(mistake.alone(**copy(case.inputs)) for case in failed)


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
    parts = trial.comparison.parts
    return any(
        _same(exercise, wrong, trial.case, parts) for wrong in (mistake.wrong, *mistake.also)
    )


def _same(exercise: Exercise, wrong: Callable[..., Any], case: Case, given: Parts) -> bool:
    try:
        value = wrong(*copy(case.inputs).values())
    except (ValueError, IndexError, RuntimeError):
        return False  # some wrong ways fail on some inputs, such as empty ones
    parts = as_parts(value, len(exercise.returns))
    return isinstance(parts, tuple) and same_parts(given, parts, exercise.tolerance)


def shows(exercise: Exercise, mistake: str | None, trial: Trial) -> bool:
    """Whether a trial fails because of the recognized mistake.

    Args:
        exercise: that the trial is of.
        mistake: what `recognize` found.
        trial: one that fails.
    """
    if mistake is None or exercise.verify is not None:
        return trial.mistake == mistake
    return any(
        m.name == mistake and (_fails_alone(m, [trial.case]) or _agrees(exercise, m, trial))
        for m in exercise.mistakes
    )
