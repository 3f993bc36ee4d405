"""The photos of a COCO file: none may lie outside their folder, and none is hard to find."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote


class Inside:
    """Tells whether a `file_name` stays inside a folder, wherever links lead."""

    def __init__(self, folder: Path) -> None:
        """Look up where the folder really is.

        Args:
            folder: of the photos.
        """
        self._root = os.path.realpath(folder)
        # Most photos share few folders; only links are followed one by one.
        self._parents: dict[str, bool] = {}

    def __call__(self, name: str) -> bool:
        """Whether a file of this name would lie inside the folder."""
        parent, base = os.path.split(name)
        if base in ("", ".", "..") or "\0" in name:
            return False
        if parent not in self._parents:
            self._parents[parent] = self._is_inside(os.path.join(self._root, parent))
        if not self._parents[parent]:
            return False
        path = os.path.join(self._root, name)
        return not os.path.islink(path) or self._is_inside(path)

    def _is_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._root or real.startswith(self._root.rstrip(os.sep) + os.sep)


class Lookalikes:
    """Finds the photo that a `file_name` may mean, where there is none of that name."""

    def __init__(self, folder: Path) -> None:
        """Look through the folder once, when it is first asked.

        Args:
            folder: of the photos.
        """
        self._folder = folder

    def __call__(self, name: str) -> tuple[str, str] | None:
        """Find the photo that a name may mean.

        Args:
            name: as the file has it, with backslashes, percent codes, a folder too many, ….

        Returns:
            The name of a photo that is there, and how the two differ; None if none is alike.
        """
        wanted = _plain(name)
        if (there := self._by_path.get(wanted)) is not None:
            return there, _difference(name, there)
        if (there := self._by_name.get(PurePosixPath(wanted).name)) is not None:
            return there, "in another folder"
        there = self._by_stem.get(PurePosixPath(wanted).stem)
        return None if there is None else (there, "with another ending")

    @cached_property
    def _by_path(self) -> dict[str, str]:
        return _first_of_each(_plain, _files(self._folder))

    @cached_property
    def _by_name(self) -> dict[str, str]:
        return _first_of_each(
            lambda there: PurePosixPath(_plain(there)).name, self._by_path.values()
        )

    @cached_property
    def _by_stem(self) -> dict[str, str]:
        return _first_of_each(
            lambda there: PurePosixPath(_plain(there)).stem, self._by_path.values()
        )


def _first_of_each(key: Callable[[str], str], names: Iterable[str]) -> dict[str, str]:
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(key(name), name)
    return first


def _files(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield (Path(parent) / name).relative_to(folder).as_posix()


def _plain(name: str) -> str:
    """Give a name without what file systems and tools write in different ways."""
    path = unquote(name).replace("\\", "/").strip()
    return os.path.normpath(unicodedata.normalize("NFC", path).casefold())


def _difference(name: str, there: str) -> str:
    ways = {
        "with / instead of \\": lambda text: text.replace("\\", "/"),
        "without percent codes": unquote,
        "its letters composed otherwise": lambda text: unicodedata.normalize("NFC", text),
        "in other upper and lower case": str.casefold,
        "without blanks around it": str.strip,
    }
    return next((words for words, way in ways.items() if way(name) == way(there)), "alike")
