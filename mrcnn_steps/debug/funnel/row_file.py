"""Row files: the header in the first line, then a photo a line, as they come.

A process that is killed leaves a torn last line, or a torn header; both are dropped. Anything else
that is no row is refused.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, overload

from mrcnn_steps.debug.funnel.rows import (
    Header,
    PhotoRow,
    header_of,
    header_record,
    photo_of,
    photo_record,
)
from mrcnn_steps.files import write_atomically

Row = TypeVar("Row")

# Letters of a value that a message shows.
LONGEST = 60


def line(record: dict[str, Any]) -> bytes:
    """Write a record as a line; equal records give equal bytes."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


class Place(NamedTuple):
    """Where a photo's row stands.

    Attributes:
        path: the file.
        start: of its line, in bytes.
        length: of its line, in bytes.
        unread: whether the row only says that the photo could not be read.
    """

    path: Path
    start: int
    length: int
    unread: bool


class Rows(Sequence[PhotoRow]):
    """The photos of a row file, read when they are asked for: they need no memory.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, places: Sequence[Place]) -> None:
        """Take the rows of one file.

        Args:
            path: the file.
            places: of its rows.
        """
        self.path = path
        self._starts = [place.start for place in places]

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> PhotoRow: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[PhotoRow, ...]: ...

    def __getitem__(self, index: int | slice) -> PhotoRow | tuple[PhotoRow, ...]:
        """Read a photo's row, or some."""
        if isinstance(index, slice):
            return tuple(self._read(self._starts[index]))
        [row] = self._read([self._starts[index]])
        return row

    def __iter__(self) -> Iterator[PhotoRow]:
        """Read one row after the other."""
        return self._read(self._starts)

    def _read(self, starts: list[int]) -> Iterator[PhotoRow]:
        with self.path.open("rb") as file:
            for start in starts:
                file.seek(start)
                yield photo_of(json.loads(file.readline()))


def read_rows(path: Path) -> tuple[Header, Rows]:
    """Open a row file; a torn last line is left out.

    Args:
        path: the file.

    Returns:
        Its header and its rows.

    Raises:
        OSError: it cannot be read.
        ValueError: it has no header, or a line is no row.
    """
    header, places = scan(path)
    if header is None:
        raise ValueError(f"{path}: found no header, expected the rows of a funnel")
    return header, Rows(path, list(places.values()))


def scan(path: Path) -> tuple[Header | None, dict[int, Place]]:
    """Find the rows of a file.

    Args:
        path: the file.

    Returns:
        The header, None if it is torn; the place of each photo's row, by the photo's index.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is no row.
    """
    places: dict[int, Place] = {}
    with path.open("rb") as file:
        first = file.readline()
        if not first.endswith(b"\n"):
            return None, places
        header, start = _parsed(path, 1, first, header_of), len(first)
        for number, text in enumerate(file, start=2):
            if not text.endswith(b"\n"):
                break
            row = _parsed(path, number, text, photo_of)
            if not 0 <= row.index < header.photos:
                raise ValueError(
                    f"{path}, line {number}: index: expected 0 to {header.photos - 1}, found "
                    f"{row.index}"
                )
            place = Place(path, start, len(text), row.error is not None)
            _keep(places, row.index, place)
            start += len(text)
    return header, places


def check_same(path: Path, found: Header, expected: Header) -> None:
    """Refuse rows of something else.

    Args:
        path: where they were found.
        found: their header.
        expected: the header that they should have.

    Raises:
        ValueError: names the first field that differs.
    """
    for field in fields(Header):
        here, there = getattr(found, field.name), getattr(expected, field.name)
        if here == there:
            continue
        name = field.name
        if name == "settings":
            name = next(key for key in here | there if here.get(key) != there.get(key))
            here, there = here.get(name), there.get(name)
        raise ValueError(f"{path}: {name}: expected {_short(there)}, found {_short(here)}")


def merge(paths: Sequence[Path], out: Path, header: Header) -> None:
    """Put the rows of several files into one, in the order of the dataset, each photo once.

    A row of a photo that could be read counts more than one of a photo that could not. The bytes
    do not depend on how the photos were shared among the files.

    Args:
        paths: the files; one with a torn header has no rows.
        out: the file to write, atomically; it may be one of them.
        header: that all have to have.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a header is another, or a line is no row.
    """
    places: dict[int, Place] = {}
    for path in paths:
        own, found = scan(path)
        if own is not None:
            check_same(path, own, header)
        for index, place in found.items():
            _keep(places, index, place)
    ordered = [places[index] for index in sorted(places)]
    write_atomically(out, lambda file: _copy(file, header_record(header), ordered))


@contextmanager
def appending(path: Path, header: Header) -> Iterator[Callable[[PhotoRow], None]]:
    """Write rows as they come.

    Args:
        path: a file that does not exist yet.
        header: of the rows.

    Yields:
        Writes a row. If the disk is full, what was written before stays valid.

    Raises:
        OSError: the file is there, or cannot be written.
    """
    # Unbuffered: a row that was written survives the end of the process, however it ends.
    with path.open("xb", buffering=0) as file:
        _write(file, path, line(header_record(header)))
        yield lambda row: _write(file, path, line(photo_record(row)))
        os.fsync(file.fileno())


def _write(file: FileIO, path: Path, text: bytes) -> None:
    """Write a whole line or nothing of it."""
    start, left = file.tell(), memoryview(text)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        file.truncate(start)
        raise OSError(
            error.errno, f"{error.strerror}; the rows before are kept, and a run can go on", path
        ) from error


def _copy(out: Path, header: dict[str, Any], places: Sequence[Place]) -> None:
    with ExitStack() as stack:
        files = {
            path: stack.enter_context(path.open("rb")) for path in {each.path for each in places}
        }
        target = stack.enter_context(out.open("wb"))
        target.write(line(header))
        for place in places:
            files[place.path].seek(place.start)
            target.write(files[place.path].read(place.length))


def _keep(places: dict[int, Place], index: int, place: Place) -> None:
    if index not in places or (places[index].unread and not place.unread):
        places[index] = place


def _parsed(path: Path, number: int, text: bytes, make: Callable[[dict[str, Any]], Row]) -> Row:
    try:
        return make(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        what = "a header" if number == 1 else "a photo's row"
        raise ValueError(f"{path}, line {number}: expected {what}, found {text[:60]!r}") from error


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
