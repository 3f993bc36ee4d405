"""One color and one name for every class, the same in every explorer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mrcnn_steps.class_names import short
from mrcnn_steps.palette import DOTTED, class_colors
from mrcnn_widgets.viewer.layers import Group

# A layer has at most 256 groups; one is left for what is of no class.
MOST = 255


def distinct_names(class_names: Sequence[str]) -> list[str]:
    """Give each label a name on one line that no other label has.

    A name that occurs twice is followed by its label: among COCO's 91 ids several are "N/A".

    Args:
        class_names: by label, whatever a file called them.

    Returns:
        A name for each label.
    """
    names = [short(name) for name in class_names]
    often = Counter(names)
    return [name if often[name] == 1 else f"{name} ({label})" for label, name in enumerate(names)]


def class_groups(class_names: Sequence[str], *, background: bool = True) -> list[Group]:
    """Give each label a group, the background dotted.

    A model of more classes than a layer has groups shares its last group among the rest.

    Args:
        class_names: by label.
        background: False: the background starts hidden.

    Returns:
        At most `MOST` groups, by label.
    """
    names = distinct_names(class_names)
    colors = class_colors(len(names))
    groups = [Group(name, color) for name, color in zip(names[1:MOST], colors[1:MOST], strict=True)]
    return [Group(names[0], colors[0], DOTTED, visible=background), *groups]
