"""The funnel's answer: rows, and the ways to read them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mrcnn_steps.data.field_error import ABSENT, FieldError
from mrcnn_steps.debug.funnel.figures import Figures
from mrcnn_steps.debug.funnel.reading import read_header, read_photo
from mrcnn_steps.debug.funnel.rows import (
    Header,
    ObjectRow,
    PhotoRow,
    header_record,
    photo_record,
)
from mrcnn_steps.files import write_atomically

if TYPE_CHECKING:
    from mrcnn_steps.draw.style import Picture


@dataclass(frozen=True, eq=False)
class Funnel:
    """What became of every object of a dataset.

    Attributes:
        header: what was judged, and how.
        photos: a row for each photo.
        source: arguments of `mrcnn-steps why` that name the data and the model; empty for a dataset
            that only Python knows.
    """

    header: Header
    photos: Sequence[PhotoRow]
    source: tuple[str, ...] = ()

    @property
    def causes(self) -> tuple[ObjectRow, ...]:
        """A row for each object: what became of it."""
        return self.figures.objects

    @cached_property
    def figures(self) -> Figures:
        """What the rows add up to."""
        return Figures(self.photos, self.header.settings["iou"])

    def table(self) -> str:
        """Write the figures for a terminal."""
        from mrcnn_steps.debug.funnel.table import table

        return table(self.figures, self.source)

    def to_json(self, path: str | Path) -> None:
        """Write header, figures and rows as JSON; see `from_json`.

        Args:
            path: the file.

        Raises:
            OSError: it cannot be written; what was there is untouched.
        """
        head = {
            "header": header_record(self.header),
            "source": list(self.source),
            "figures": self.figures.record(),
        }

        def write(file: Path) -> None:
            with file.open("w", encoding="utf-8") as text:
                self._write(text, head)

        write_atomically(Path(path), write)

    def to_csv(self, path: str | Path) -> None:
        """Write a row for each object as comma-separated values.

        Args:
            path: the file.

        Raises:
            OSError: it cannot be written; what was there is untouched.
        """
        from mrcnn_steps.debug.funnel.causes_file import write_causes

        write_causes(Path(path), self.photos)

    def plot(self) -> "Picture":
        """Draw the gates, the causes by size, the thresholds and the reliability of scores."""
        from mrcnn_steps.debug.funnel.plot import plot

        return plot(self.figures)

    @classmethod
    def from_json(cls, path: str | Path) -> "Funnel":
        """Read what `to_json` wrote.

        Args:
            path: the file.

        Returns:
            The funnel.

        Raises:
            OSError: it cannot be read.
            ValueError: it is not what `to_json` writes.
        """
        file = Path(path)
        try:
            content = json.loads(file.read_bytes())
            if not isinstance(content, dict):
                raise FieldError("the file", content, "an object")
            for key, kind in (("photos", list), ("source", list)):
                if not isinstance(content.get(key, ABSENT), kind):
                    raise FieldError(key, content.get(key, ABSENT), "a list")
            header = read_header(content.get("header", ABSENT))
            photos = tuple(map(read_photo, content["photos"]))
            return cls(header, photos, tuple(map(str, content["source"])))
        except (FieldError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{file}: {error}; expected a funnel as `mrcnn-steps diagnose` writes it"
            ) from None

    def _write(self, text: IO[str], head: dict[str, Any]) -> None:
        """Write a line for each photo, so that the file can be looked through."""
        opened = json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False)
        text.write(opened.removesuffix("\n}") + ',\n "photos": [')
        for number, photo in enumerate(self.photos):
            line = json.dumps(photo_record(photo), ensure_ascii=False, allow_nan=False)
            text.write(f"{',' if number else ''}\n  {line}")
        text.write("\n ]\n}\n")
