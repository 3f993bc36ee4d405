"""Files written so that a reader sees the old one or the new one, never half of one."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, then move it there.

    Args:
        path: where it belongs.
        write: writes it to the path it is given.

    Raises:
        OSError: it cannot be written; what was at `path` is untouched.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(Path(temporary))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically; see `write_atomically`."""
    write_atomically(path, lambda file: file.write_bytes(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; see `write_atomically`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
