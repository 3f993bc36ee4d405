"""Where a report and its twin in JSON are written: never over a file that is something else."""

import re
from pathlib import Path

from mrcnn_widgets.report.page import GENERATOR

# What the twin of a photo's report begins with, and that of a data set's.
TWIN = re.compile(r'\{\s*"(?:made|header)": ?\{')
# Bytes at the beginning of a file that tell what it is.
LOOKED_AT = 2000


def check_path(path: Path) -> None:
    """Refuse a path that no report can be written to.

    Args:
        path: of the HTML file.

    Raises:
        ValueError: it does not end in ".html", is a folder, or it or its twin would replace a file
            that is no report.
    """
    if path.suffix != ".html":
        raise ValueError(f"{path}: expected a file to write that ends in .html")
    if path.is_dir():
        raise ValueError(f"{path}: found a folder, expected a file to write")
    if path.exists() and GENERATOR not in _beginning(path):
        raise ValueError(f"{path}: found a file that is no report; expected a name that is free")
    twin = twin_of(path)
    if twin.exists() and not TWIN.match(_beginning(twin)):
        raise ValueError(
            f"{twin}: found a file that is no report, where the JSON of {path.name} belongs; "
            "expected another name for the report"
        )


def twin_of(path: Path) -> Path:
    """Name the JSON file beside a report."""
    return path.with_suffix(".json")


def _beginning(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(LOOKED_AT).decode(errors="replace")
