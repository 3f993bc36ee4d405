"""Files written so that a reader sees the old one or the new one, never half of one.

Nothing is written through a symbolic link, rights are neither widened nor narrowed, and what a
killed process left half-written is removed by the next one that writes the same file.
"""

import glob
import hashlib
import json
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Ends the name of every temporary file, so that none of a user's own is taken for one.
PART = ".mrcnn-part"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, then move it there.

    Args:
        path: where it belongs; a symbolic link there is replaced, not followed.
        write: writes it to the path it is given.

    Raises:
        OSError: it cannot be written; names `path` and the reason. What was there is untouched.
    """
    remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        # Exclusive: never a file, nor a link, that somebody else put there.
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with suppress(OSError):  # a file system without locks
                _mark_as_alive(handle)
            write(temporary)
            os.fsync(handle)
        finally:
            os.close(handle)
        with suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                temporary.chmod(stat.S_IMODE(mode))
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def describe(error: OSError) -> str:
    """Tell an error of the system as "file: reason"."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of writing a file.

    Args:
        path: where the file belongs.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        # Another process is writing it just now, or has removed it: then it is no leftover.
        with suppress(OSError):
            _unlink_if_dead(left)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically; see `write_atomically`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically; see `write_atomically`."""
    write_atomically(path, lambda file: file.write_bytes(content))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; see `write_atomically`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def sha256(path: Path) -> str:
    """Hash a file's content, a piece at a time.

    Args:
        path: of the file.

    Returns:
        64 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same folder out of it.

    Args:
        folder: must exist.

    Raises:
        ValueError: another process has it.
        OSError: the folder cannot be written.
    """
    path = folder / ".lock"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(handle)
        except OSError as error:
            os.close(handle)
            raise ValueError(f"{folder}: is in use by another process that writes there") from error
        # Whoever had the lock before may have removed the file that it was on.
        if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
            break
        os.close(handle)
    try:
        yield
    finally:
        # Windows removes no open file; an unlocked one that stays does no harm.
        with suppress(OSError):
            path.unlink()
        os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def _mark_as_alive(handle: int) -> None:
        """Windows removes no open file."""

    def _unlink_if_dead(path: Path) -> None:
        path.unlink()

else:
    import fcntl

    def _lock(handle: int) -> None:
        # Unlike `flock`, not inherited by the processes that load photos.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _mark_as_alive(handle: int) -> None:
        # Unlike `lockf`, not lost when `write` closes the file.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlink_if_dead(path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(handle)
