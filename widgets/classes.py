"""One color and one name for every class, the same in every explorer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from widgets.layers import GREY, palette


def class_colors(count: int) -> list[str]:
    """A color for each of `count` labels: the background is grey."""
    return [GREY, *palette(count - 1)]


def distinct_names(class_names: Sequence[str]) -> list[str]:
    """Names that tell the labels apart: a name that occurs twice is followed by its label.

    COCO's 91 ids contain several "N/A".
    """
    often = Counter(class_names)
    return [
        name if often[name] == 1 else f"{name} ({label})" for label, name in enumerate(class_names)
    ]
