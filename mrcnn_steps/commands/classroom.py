"""What a teacher does with folders of lessons: collect what is solved, lock the solutions."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from mrcnn_steps.exercises import exercises
from mrcnn_steps.exercises.solved import LOCK, read
from mrcnn_steps.files import write_bytes, write_text

# A spreadsheet takes what begins with one of these for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def collect(folders: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Read what is solved in folders of lessons.

    Args:
        folders: a learner's each.

    Returns:
        The day by the name of the exercise, by folder.

    Raises:
        NotADirectoryError: a folder is none.
        ValueError: a file of progress is damaged.
    """
    for folder in folders:
        if not folder.is_dir():
            raise NotADirectoryError(f"--progress: expected folders of lessons, found {folder}")
    return {str(folder): read(folder) for folder in folders}


def table(solved: dict[str, dict[str, str]]) -> str:
    """Tell how many exercises of each lesson every learner solved.

    Args:
        solved: what `collect` gave.

    Returns:
        A line a folder, below a line with the numbers of the lessons.
    """
    by_lesson: dict[str, list[str]] = {}
    for exercise in exercises():
        by_lesson.setdefault(exercise.lesson[:2], []).append(exercise.name)
    width = max(len("folder"), *(len(_plain(folder)) for folder in solved))
    head = "".join(f"{lesson:>6}" for lesson in by_lesson)
    lines = [f"{'folder':<{width}}{head}   all"]
    for folder, days in solved.items():
        counts = [_share(names, days) for names in by_lesson.values()]
        total = _share([e.name for e in exercises()], days)
        lines.append(f"{_plain(folder):<{width}}{''.join(f'{c:>6}' for c in counts)}{total:>6}")
    return "\n".join(lines)


def _share(names: Iterable[str], days: dict[str, str]) -> str:
    every = list(names)
    return f"{sum(name in days for name in every)}/{len(every)}"


def _plain(text: str) -> str:
    """Leave out what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def comma_separated(solved: dict[str, dict[str, str]]) -> str:
    """Write what is solved for a spreadsheet.

    Args:
        solved: what `collect` gave.

    Returns:
        A row a folder and a column an exercise, with the day or nothing.
    """
    names = [exercise.name for exercise in exercises()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["folder", *names])
    for folder, days in solved.items():
        row = [folder, *(days.get(name, "") for name in names)]
        writer.writerow(["'" + cell if cell.startswith(FORMULA) else cell for cell in row])
    return text.getvalue()


def lock(folder: Path) -> None:
    """Keep the solutions of a folder of lessons locked until the file `LOCK` is deleted.

    Outputs of former runs that show a solution are emptied; the cells stay.

    Args:
        folder: of lessons.

    Raises:
        OSError: a file cannot be written.
    """
    write_text(folder / LOCK, "The solutions are locked here. Deleting this file unlocks them.\n")
    for path in sorted(folder.glob("*.ipynb")):
        content = path.read_bytes()
        hidden = without_solutions(content)
        if hidden != content:
            write_bytes(path, hidden)


def without_solutions(notebook: bytes) -> bytes:
    """Empty the outputs of the cells that show a solution.

    Args:
        notebook: its file's content.

    Returns:
        The same content if there is nothing to empty, or it is no notebook.
    """
    try:
        found = json.loads(notebook)
        showing = [
            cell
            for cell in found["cells"]
            if cell.get("outputs") and "solution(" in "".join(cell["source"])
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return notebook
    if not showing:
        return notebook
    for cell in showing:
        cell["outputs"] = []
    return (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode()
