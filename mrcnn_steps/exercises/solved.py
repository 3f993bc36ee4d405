"""Which exercises are solved: a small file beside the lessons, and a teacher's lock.

Nothing is kept anywhere but in a folder of lessons: who checks a function in a script leaves no
file behind.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from mrcnn_steps.exercises.exercise import Exercise
from mrcnn_steps.files import write_json

FILE = "progress.json"
LOCK = "solutions.locked"
LESSONS = "[0-9][0-9]_*.ipynb"


def locked(folder: Path = Path()) -> bool:
    """Whether a teacher keeps the solutions of a folder locked."""
    return (folder / LOCK).exists()


def read(folder: Path = Path()) -> dict[str, str]:
    """Read what is solved in a folder of lessons.

    Args:
        folder: the learner's.

    Returns:
        The day by the name of the exercise; empty without a file.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, found {error}; delete it to start anew") from None
    if not isinstance(found, dict) or not all(isinstance(day, str) for day in found.values()):
        raise ValueError(f"{path}: expected a day for each exercise; delete it to start anew")
    return found


def record(exercise: str, folder: Path = Path()) -> str:
    """Keep that an exercise is solved, where there are lessons.

    Args:
        exercise: its name.
        folder: the learner's.

    Returns:
        What kept it from being written down, in words; empty if nothing did.
    """
    if not any(folder.glob(LESSONS)):
        return ""
    try:
        solved = read(folder)
        if exercise not in solved:
            write_json(folder / FILE, solved | {exercise: date.today().isoformat()})
    except (ValueError, OSError) as error:
        return f"It is not written down: {error}"
    return ""


def table(exercises: Iterable[Exercise], solved: Mapping[str, str]) -> str:
    """Tell what is solved.

    Args:
        exercises: all of them.
        solved: what `read` gave.

    Returns:
        A line an exercise, and one for all.
    """
    every = list(exercises)
    lines = [
        f"{'✓' if each.name in solved else '·'} {each.lesson:<18} {each.name:<18} "
        f"{solved.get(each.name, '')}".rstrip()
        for each in every
    ]
    done = sum(each.name in solved for each in every)
    return "\n".join([*lines, f"{done} of {len(every)} solved"])
