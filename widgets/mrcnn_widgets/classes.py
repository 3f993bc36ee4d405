"""One color and one name for every class, the same in every explorer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mrcnn_steps.palette import class_colors
from mrcnn_widgets.viewer.layers import Group

# A layer has at most 256 groups; one is left for what is of no class.
MOST = 255


def distinct_names(class_names: Sequence[str]) -> list[str]:
    """Names that tell the labels apart: one that occurs twice is followed by its label.

    Among COCO's 91 ids several are "N/A".
    """
    often = Counter(class_names)
    return [
        name if often[name] == 1 else f"{name} ({label})" for label, name in enumerate(class_names)
    ]


def class_groups(class_names: Sequence[str], *, background: bool = True) -> list[Group]:
    """A group for each label, the background dotted and hidden at first.

    A model of more classes than a layer has groups shares its last group among the rest.
    """
    names = distinct_names(class_names)
    colors = class_colors(len(names))
    groups = [Group(name, color) for name, color in zip(names[1:MOST], colors[1:MOST], strict=True)]
    return [Group(names[0], colors[0], "dotted", visible=background), *groups]
