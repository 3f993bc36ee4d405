"""A close look at a few boxes of a photo: an object, what came near it, what stood in its way."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from mrcnn_steps.draw.primitives import boxes, labels, photo
from mrcnn_steps.draw.scene import INPUT
from mrcnn_steps.draw.style import Picture, Swatch, page
from mrcnn_steps.palette import Look
from mrcnn_steps.tracing import Trace

Box = tuple[float, float, float, float]


class Mark(NamedTuple):
    """A box to draw.

    Attributes:
        look: what it is.
        box: in pixels of the network's input.
        text: what is written on it.
    """

    look: Look
    box: Box
    text: str


def figure_marks(trace: Trace, title: str, subtitle: str, marks: Sequence[Mark]) -> Picture:
    """Draw some boxes of a photo, as large as the page allows.

    Args:
        trace: of the photo.
        title: of the page.
        subtitle: below it.
        marks: the boxes, at least one; the first are labeled first.

    Returns:
        The figure, in pixels of the network's input.
    """
    corners = torch.tensor([mark.box for mark in marks])
    x1, y1, x2, y2 = _view(trace, corners)
    looks = dict.fromkeys(mark.look for mark in marks)
    legend = tuple(Swatch(look.name, look.color, look.dash) for look in looks)
    height = (y2 - y1) / (x2 - x1)
    figure, [ax] = page(title, subtitle, height, legend=legend, axis=INPUT)
    photo(ax, trace.letterbox.image, (x1, y1, x2, y2))
    for mark, box in zip(marks, corners, strict=True):
        boxes(ax, box[None], mark.look.color, mark.look.dash, 2.4)
    labels(ax, corners, [mark.text for mark in marks], [mark.look.color for mark in marks])
    return figure


def _view(trace: Trace, corners: torch.Tensor) -> Box:
    """Give the part of the input around some boxes, with room on each side."""
    height, width = trace.letterbox.image.shape[1:]
    x1, y1 = corners[:, :2].amin(dim=0).tolist()
    x2, y2 = corners[:, 2:].amax(dim=0).tolist()
    room = 0.35 * max(x2 - x1, y2 - y1, 1.0)
    left, top = max(min(x1 - room, width - 1), 0.0), max(min(y1 - room, height - 1), 0.0)
    right, bottom = min(x2 + room, float(width)), min(y2 + room, float(height))
    return left, top, max(right, left + 1), max(bottom, top + 1)
