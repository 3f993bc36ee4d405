"""The command `mrcnn-steps lab`: copies the lessons to a folder and opens JupyterLab there.

A learner's changes are never overwritten: a manifest in the folder tells what we wrote, so that a
changed notebook is recognized. A newer lesson then lands beside it, under another name. A notebook
that was only run or saved is not a changed one.
"""

import argparse
import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path

from mrcnn_steps.files import write_bytes, write_json

FIRST_LESSON = "00_the_pipeline.ipynb"
MANIFEST = ".mrcnn-lessons.json"


@dataclass(frozen=True)
class Copied:
    """What became of each lesson in the learner's folder, by file name.

    Attributes:
        written: new, or newer than the unchanged copy that was there.
        unchanged: already there as it is now.
        kept: changed by the learner, and the lesson is the same as before.
        beside: changed by the learner; the newer lesson lies beside it under the second name.
    """

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    kept: tuple[str, ...]
    beside: tuple[tuple[str, str], ...]


def copy_lessons(lessons: dict[str, bytes], folder: Path) -> Copied:
    """Copy lessons into a folder without overwriting what the learner changed.

    Args:
        lessons: the content of each notebook by its file name.
        folder: made if it is missing.

    Returns:
        What became of each lesson.

    Raises:
        ValueError: the folder is a file, or its manifest is not ours.
        OSError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: found a file, expected a folder for the lessons")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = _read_manifest(folder)
    written, unchanged, kept, beside = [], [], [], []
    for name, content in lessons.items():
        path, ours = folder / name, _digest(content)
        found = _found(path)
        if found == ours:
            unchanged.append(name)
        elif found in (None, manifest.get(name)):
            write_bytes(path, content)
            written.append(name)
        elif manifest.get(name) == ours:
            kept.append(name)
        else:
            other = _free_name(path)
            write_bytes(other, content)
            manifest[other.name] = ours
            beside.append((name, other.name))
        manifest[name] = ours
        # After every lesson: an interruption must not make our own copies look like changed ones.
        write_json(folder / MANIFEST, dict(sorted(manifest.items())))
    return Copied(tuple(written), tuple(unchanged), tuple(kept), tuple(beside))


def _found(path: Path) -> str | None:
    """Give the digest of what lies at a lesson's place; None if nothing does."""
    if not os.path.lexists(path):
        return None
    # A link, or a pipe that would never end, is the learner's own: like no lesson of ours.
    return _digest(path.read_bytes()) if stat.S_ISREG(path.lstat().st_mode) else ""


def _digest(content: bytes) -> str:
    """Hash what a learner writes in a notebook: its cells, not what running and saving add."""
    try:
        cells = [
            [cell["cell_type"], "".join(cell["source"])] for cell in json.loads(content)["cells"]
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        # No notebook any more: then every byte counts.
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def set_aside(lessons: Iterable[str], folder: Path, lesson: str) -> str | None:
    """Make room for a fresh copy of a lesson, and keep the learner's under another name.

    Args:
        lessons: the file names of all lessons.
        folder: the learner's.
        lesson: the name of one, with or without its ending.

    Returns:
        The name of the copy; None if there was none to keep.

    Raises:
        ValueError: there is no such lesson.
    """
    names = {name.removesuffix(".ipynb"): name for name in lessons}
    name = names.get(lesson.removesuffix(".ipynb"))
    if name is None:
        raise ValueError(f"--reset: found {lesson!r}, expected one of {', '.join(names)}")
    path = folder / name
    if not os.path.lexists(path):
        return None
    return path.rename(_free_name(path)).name


def _read_manifest(folder: Path) -> dict[str, str]:
    """Give the hash of what we last wrote, by file name."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, found {error}; delete it to start anew") from None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ValueError(f"{path}: expected a hash for each lesson; delete it to start anew")
    return found


def _free_name(path: Path) -> Path:
    names = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(name for name in names if not os.path.lexists(name))


def bundled_lessons() -> dict[str, bytes]:
    """Read the lessons that come with the package.

    Returns:
        The content of each notebook by its file name, in order.
    """
    package = Path(str(files("mrcnn_steps")))
    # A wheel carries them inside the package; in a checkout they lie beside it.
    installed = package / "lessons"
    folder = installed if installed.is_dir() else package.parent / "lessons"
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.ipynb"))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command.

    Args:
        parser: of the subcommand.
    """
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("mrcnn-lessons"),
        help="where the lessons go (default: %(default)s)",
    )
    parser.add_argument(
        "--reset",
        metavar="LESSON",
        help="fetch this lesson anew, such as 01_mini_masks; yours is kept under another name",
    )
    parser.add_argument(
        "--lock-solutions",
        action="store_true",
        help="for a teacher: keep the solutions of this folder locked",
    )
    parser.add_argument(
        "--progress",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="for a teacher: print what is solved in these folders, as a table and as CSV, and end",
    )
    parser.add_argument("--copy-only", action="store_true", help="copy, but do not open JupyterLab")
    parser.add_argument("--no-browser", action="store_true", help="print the address to open")
    parser.add_argument("--port", type=int, help="the port that JupyterLab listens on")
    parser.add_argument("--allow-root", action="store_true", help="let root run JupyterLab")


def run(args: argparse.Namespace) -> int:
    """Copy the lessons, then become JupyterLab.

    Args:
        args: as `add_arguments` declares them.

    Returns:
        0 if only copying was asked for; otherwise JupyterLab takes the place of this process.

    Raises:
        ValueError: see `copy_lessons`.
        OSError: the folder cannot be written, or JupyterLab cannot be started.
    """
    if args.progress is not None:
        return _print_progress(args.progress)
    folder, lessons = args.folder.expanduser(), bundled_lessons()
    if args.reset is not None and (copy := set_aside(lessons, folder, args.reset)):
        print(f"Yours is now {copy}.")
    print(report(copy_lessons(lessons, folder), folder), flush=True)
    if args.lock_solutions:
        _lock(folder)
    if args.copy_only:
        return 0
    os.chdir(folder)
    command = lab_command(args)
    # Not a child process: Ctrl-C then means to JupyterLab what it always means.
    os.execv(command[0], command)


def _lock(folder: Path) -> None:
    # Loads torch, which opening JupyterLab does not need.
    from mrcnn_steps.commands import classroom

    classroom.lock(folder)


def _print_progress(folders: Sequence[Path]) -> int:
    from mrcnn_steps.commands import classroom

    solved = classroom.collect([folder.expanduser() for folder in folders])
    print(f"{classroom.table(solved)}\n\n{classroom.comma_separated(solved)}", end="")
    return 0


def lab_command(args: argparse.Namespace) -> list[str]:
    """Compose the command that opens the first lesson in JupyterLab.

    Args:
        args: as `add_arguments` declares them.

    Returns:
        The words of the command, to be run in the folder of the lessons.
    """
    named = {"--no-browser": args.no_browser, "--allow-root": args.allow_root}
    flags = [flag for flag, given in named.items() if given]
    port = [] if args.port is None else [f"--port={args.port}"]
    # Given the file instead, JupyterLab would print an address that leads past the lesson.
    first = f"--LabApp.default_url=/lab/tree/{FIRST_LESSON}"
    # -P: a learner's random.py in the folder must not be taken for Python's own.
    return [sys.executable, "-P", "-m", "jupyterlab", first, *flags, *port]


def report(copied: Copied, folder: Path) -> str:
    """Tell the learner what became of the lessons.

    Args:
        copied: what `copy_lessons` returned.
        folder: where they are.

    Returns:
        A line or more.
    """
    total = len(copied.written) + len(copied.unchanged) + len(copied.kept) + len(copied.beside)
    lines = [f"{total} lessons in {folder}: {len(copied.written)} written."]
    if copied.kept:
        lines.append(f"Yours stay as you left them: {', '.join(copied.kept)}.")
    lines += [
        f"{name} has changed, and you had changed yours: the new one is {other}."
        for name, other in copied.beside
    ]
    return "\n".join(lines)
