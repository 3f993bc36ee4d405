"""Runs the lessons in place and leaves them fit to be committed.

    python -m tests.lessons.execute                   # all of them
    python -m tests.lessons.execute 03                # those whose names begin so

A notebook is its own source: edit it in JupyterLab, save, and run this. What is committed reads
well where no widget can run: every explorer leaves a picture, and pictures are small.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from mrcnn_steps.notebook_picture import small_png

FOLDER = Path(__file__).parents[2] / "lessons"

# Seconds that one cell may take.
CELL_LIMIT = 120

WIDGET = "application/vnd.jupyter.widget-view+json"
MAX_BYTES = 1_500_000

# Colors and greatest width of the pictures: the first pair that makes a notebook small enough.
QUALITIES = ((256, 1000), (160, 1000), (96, 900), (64, 800), (40, 700), (24, 600))
# A picture in HTML, as `html_picture` writes it.
IN_HTML = re.compile(r'(?<=src="data:image/png;base64,)[^"]+')


def lesson_paths(*beginnings: str) -> list[Path]:
    """List the lessons.

    Args:
        *beginnings: of the wanted names, such as "03"; all lessons without any.

    Returns:
        Their files in order.

    Raises:
        ValueError: no lesson's name begins like one of these.
    """
    paths = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
    for beginning in beginnings:
        if not any(path.name.startswith(beginning) for path in paths):
            names = ", ".join(path.stem for path in paths)
            raise ValueError(f"no lesson begins with {beginning!r}; there are {names}")
    return [path for path in paths if not beginnings or path.name.startswith(beginnings)]


def code_hash(notebook: NotebookNode) -> str:
    """Hash the code of a notebook, to tell whether its outputs are those of another code.

    Args:
        notebook: the notebook.

    Returns:
        The SHA-256 of its code cells, as 64 hexadecimal digits.
    """
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def stored_hash(notebook: NotebookNode) -> str | None:
    """The hash of the code that the notebook's outputs come from."""
    return notebook.metadata.get("mrcnn_steps", {}).get("code_sha256")


def run(notebook: NotebookNode, folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a notebook from top to bottom in a kernel of its own.

    Args:
        notebook: gets new outputs.
        folder: where the kernel starts.
        env: the kernel's environment variables; by default those of this process.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises.
        nbclient.exceptions.CellTimeoutError: a cell takes longer than `CELL_LIMIT`.
    """
    client = NotebookClient(
        notebook,
        timeout=CELL_LIMIT,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(**({} if env is None else {"env": dict(env)}))


def tidy(notebook: NotebookNode) -> None:
    """Remove from a notebook what differs from run to run, and what only a kernel can show.

    Args:
        notebook: is changed in place.
    """
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        mrcnn_steps={"code_sha256": code_hash(notebook)},
    )
    for cell in notebook.cells:
        for name in ("execution", "collapsed", "scrolled"):
            cell.metadata.pop(name, None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET in data:
                del data[WIDGET], data["text/plain"]
            if IN_HTML.search(data.get("text/html", "")):
                data.pop("image/png", None)  # the same picture, without words
            output.pop("transient", None)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("data") != {}]


def pictures_in(page: str) -> list[bytes]:
    """Give the pictures of an output of HTML, as PNG."""
    return [base64.b64decode(found) for found in IN_HTML.findall(page)]


def shrink_pictures(notebook: NotebookNode, limit: int = MAX_BYTES) -> None:
    """Store the pictures with few enough colors that the notebook stays below a size.

    Args:
        notebook: is changed in place.
        limit: bytes of the notebook's file.

    Raises:
        ValueError: the notebook is too large even so.
    """
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = [output.data for output in outputs if "text/html" in output.get("data", {})]
    originals = [data["text/html"] for data in pages]
    for colors, width in QUALITIES:

        def smaller(picture: re.Match[str], colors: int = colors, width: int = width) -> str:
            return base64.b64encode(small_png(base64.b64decode(picture[0]), colors, width)).decode()

        for data, original in zip(pages, originals, strict=True):
            data["text/html"] = IN_HTML.sub(smaller, original)
        if len(nbformat.writes(notebook).encode()) < limit:
            return
    raise ValueError(f"still above {limit:,} bytes with the smallest pictures: show fewer")


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook; an interruption leaves the old one."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False
    ) as file:
        nbformat.write(notebook, file)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def execute(path: Path) -> float:
    """Run a lesson and write it back, ready to be committed.

    Args:
        path: the notebook.

    Returns:
        Seconds that its cells took.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises; the file stays as it was.
        ValueError: the notebook is too large.
    """
    notebook: Any = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    run(notebook, path.parent)
    seconds = time.perf_counter() - start
    tidy(notebook)
    shrink_pictures(notebook)
    write(notebook, path)
    return seconds


def main() -> int:
    """Run the lessons that the command line names."""
    parser = argparse.ArgumentParser(description="Run lessons in place.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="beginning of a lesson's name")
    for path in lesson_paths(*parser.parse_args().names):
        seconds = execute(path)
        print(f"{path.stem}: {seconds:.1f} s, {path.stat().st_size / 1e6:.2f} MB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
