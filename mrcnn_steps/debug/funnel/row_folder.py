"""A folder that rows are collected in, by one process or many, until every photo has one.

It holds `rows.jsonl`, and while a run goes on a file of new rows for each process.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from torch import distributed

from mrcnn_steps.debug.funnel.progress import observed
from mrcnn_steps.debug.funnel.row_file import Rows, appending, merge, read_rows, scan
from mrcnn_steps.debug.funnel.rows import Header, PhotoRow
from mrcnn_steps.files import exclusive
from mrcnn_steps.model.evaluate import place_in_group

# The rows of a whole run, and those that a process has added to them.
ROWS, NEW = "rows.jsonl", "new-rows-{}.jsonl"


def collect_rows(
    out: Path,
    header: Header,
    observe: Callable[[int], PhotoRow],
    resume: bool = False,
    progress: bool = False,
) -> Rows:
    """Observe the photos that have no row yet, and put all rows into one file.

    Args:
        out: the folder; made if it is missing.
        header: of the rows.
        observe: gives the row of a photo, by its index.
        resume: go on with the rows that are in the folder; photos that could not be read are tried
            again.
        progress: show a bar on a terminal.

    Returns:
        The rows of all photos, in every process.

    Raises:
        FileExistsError: there are rows in the folder, and nobody said to go on.
        ValueError: they have another header, or another process collects rows there.
        OSError: the folder cannot be written; the rows until then are kept.
    """
    rank, world = place_in_group()
    rows = out / ROWS
    with _own_folder(out, resume) if rank == 0 else nullcontext():
        if rank == 0:
            _collect(out, header)
        _wait()
        _, done = scan(rows)
        todo = [i for i in range(header.photos) if i not in done or done[i].unread][rank::world]
        with appending(out / NEW.format(rank), header) as write:
            for row in observed(observe, todo, Rows(rows, list(done.values())), progress):
                write(row)
        _wait()
        if rank == 0:
            _collect(out, header)
        _wait()
    return read_rows(rows)[1]


@contextmanager
def _own_folder(out: Path, resume: bool) -> Iterator[None]:
    """Have the folder for oneself."""
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out):
        check_folder(out, resume)
        yield


def check_folder(out: Path, resume: bool) -> None:
    """Refuse a folder that holds rows which nobody wants.

    Args:
        out: the folder; it may be missing.
        resume: whether to go on with rows that are there.

    Raises:
        FileExistsError: there are rows in it, and nobody said to go on.
    """
    there = _files(out)
    if there and not resume:
        raise FileExistsError(f"{there[0]}: holds rows already; --resume goes on with them")


def _files(out: Path) -> list[Path]:
    return [*out.glob(ROWS), *sorted(out.glob(NEW.format("*")))]


def _collect(out: Path, header: Header) -> None:
    """Put everything that processes have written into one file, and remove theirs."""
    files = _files(out)
    merge(files, out / ROWS, header)
    for path in files:
        if path.name != ROWS:
            path.unlink()


def _wait() -> None:
    """Wait for the other processes, if there are any."""
    if place_in_group()[1] > 1:
        distributed.barrier()
