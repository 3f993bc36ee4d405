"""Why an object was missed, in ten lines, with remedies and a picture."""

import html
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING

import torch

from mrcnn_steps.debug.evidence import corners
from mrcnn_steps.debug.fates import Fate, fates
from mrcnn_steps.debug.remedies import (
    OF_THE_WEIGHTS,
    BoxOnly,
    Remedy,
    Search,
    changes_in_words,
)
from mrcnn_steps.debug.words import sentences, to_learn
from mrcnn_steps.palette import ANCHOR, DETECTION, OBJECT, PROPOSAL, SUPPRESSOR
from mrcnn_steps.tracing import Trace

if TYPE_CHECKING:
    from mrcnn_steps.draw.fate import Mark
    from mrcnn_steps.draw.style import Picture

LINES = 10
# Loaded by name, and in a notebook only: the library stands below the widgets.
WIDGETS = "mrcnn_widgets"


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What became of an object, and what would bring it back.

    `str()` says it in at most ten lines; a notebook shows these, the picture, and the debugger at
    the gate where the object ended.

    Attributes:
        trace: of the photo.
        fate: of the object.
        iou: from which IoU on a box, or a mask, is the object's.
        score_threshold: that a detection has to exceed; None for the trace's own.
    """

    trace: Trace
    fate: Fate
    iou: float
    score_threshold: float | None

    @cached_property
    def remedies(self) -> tuple[Remedy, ...]:
        """What brings the object back; looked for when it is first asked for.

        All settings that do; where none does, the first other view of the photo in which it is
        found. `remedies` of this package looks for all views.
        """
        found = self._search.settings
        return found or tuple(islice(self._search.views(), 1))

    @cached_property
    def _search(self) -> Search:
        return Search(self.trace, self.fate, self.iou, self.score_threshold)

    @property
    def lines(self) -> tuple[str, ...]:
        """The explanation, line by line, ten at most."""
        said = sentences(self.trace, self.fate)
        if self.fate.found:
            return tuple(said)
        found = [f"Remedy: {remedy}." for remedy in self.remedies] or nothing_helps(
            self.trace, self.fate, self.iou, self.score_threshold, self._search.box_only
        )
        room = LINES - len(said)
        if len(found) > room:
            more = len(found) - room + 1
            found = [*found[: room - 1], f"And {more} more remedies."]
        return (*said, *found)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def draw(self) -> "Picture":
        """Draw the object, the candidate that decided, and who stood in its way.

        Returns:
            The figure, in pixels of the network's input.
        """
        # matplotlib is loaded for a picture only.
        from mrcnn_steps.draw.fate import figure_marks

        title, happened, *_ = sentences(self.trace, self.fate)
        return figure_marks(self.trace, title, happened, marks(self.trace, self.fate))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        title, *others = map(html.escape, self.lines)
        lines = "".join(f"<li>{line}</li>" for line in others)
        return f"<p><b>{title}</b></p><ul>{lines}</ul>{self.draw()._repr_html_()}"

    def _ipython_display_(self) -> None:
        # Only IPython asks for it, and only then it is loaded.
        from IPython import get_ipython
        from IPython.display import display, publish_display_data

        publish_display_data({"text/plain": str(self), "text/html": self._repr_html_()})
        if hasattr(get_ipython(), "kernel") and find_spec(WIDGETS) is not None:
            display(import_module(WIDGETS).PipelineDebugger(self))


def explain_missed(
    trace: Trace, object_index: int, iou: float = 0.5, score_threshold: float | None = None
) -> Explanation:
    """Explain what became of an annotated object, missed or found.

    Args:
        trace: of a photo with annotations.
        object_index: row of `trace.ground_truth`.
        iou: see `fates`.
        score_threshold: see `fates`.

    Returns:
        The explanation; its remedies are looked for when they are first asked for.

    Raises:
        IndexError: there is no such object.
        ValueError: see `fates`.
    """
    every = fates(trace, iou, score_threshold)
    if not 0 <= object_index < len(every):
        raise IndexError(f"object {object_index} does not exist: there are {len(every)}")
    return Explanation(trace, every[object_index], iou, score_threshold)


def nothing_helps(
    trace: Trace,
    fate: Fate,
    iou: float = 0.5,
    score_threshold: float | None = None,
    box_only: BoxOnly | None = None,
) -> list[str]:
    """Say that training is needed, and what it would have to see.

    Args:
        trace: that the fate belongs to.
        fate: of an object for which no remedy was found.
        iou: see `fates`.
        score_threshold: see `fates`.
        box_only: what brings back its box alone, if anything does.

    Returns:
        One sentence to three.
    """
    said = []
    if box_only is not None:
        changed = changes_in_words(box_only.changes)
        overlap = f"IoU {box_only.mask_iou:.2f} < {iou:g}"
        still = f"With {changed} its box is found, but its mask stays wrong"
        said.append(f"{still} ({overlap}), so that it would still be missed.")
    if fate.cause not in OF_THE_WEIGHTS:
        return [*said, "No setting brings it back: training is needed."]
    least = trace.detections.score_threshold if score_threshold is None else score_threshold
    return [
        *said,
        "No setting brings it back, nor another view of the photo: training is needed.",
        to_learn(trace, fate, iou, least),
    ]


def marks(trace: Trace, fate: Fate) -> "list[Mark]":
    """List the boxes that show a fate: the object, its decisive candidate, who stood in its way.

    Args:
        trace: that the fate belongs to.
        fate: made by `fates`.

    Returns:
        What each box is, where it lies, and what to write on it.
    """
    from mrcnn_steps.draw.fate import Mark

    truth, seen, rival = trace.ground_truth, fate.evidence, fate.evidence.suppressor
    assert truth is not None
    objects = torch.cat((truth.boxes, truth.unknown_boxes))
    made = [Mark(OBJECT, corners(objects[fate.object]), f"{fate.name} (object {fate.object})")]
    other = seen.merged_with if rival is None else rival.object
    if other is not None and other != fate.object:
        name = trace.class_names[int(truth.labels[other])]
        made.append(Mark(OBJECT, corners(objects[other]), f"{name} (object {other})"))
    if seen.anchor is not None:
        box = corners(trace.anchors.boxes[seen.anchor])
        made.append(Mark(ANCHOR, box, f"anchor {seen.anchor:,}"))
    if seen.box is not None:
        name = "refined" if seen.proposal is None else f"proposal {seen.proposal}"
        made.append(Mark(PROPOSAL, seen.box, f"{name}, IoU {seen.iou:.2f}"))
    if seen.moved is not None:
        text = f"{fate.name} {seen.probability:.2f}, IoU {seen.moved_iou:.2f}"
        made.append(Mark(DETECTION, seen.moved, text))
    if rival is not None:
        text = f"suppressor {rival.score:.2f}, IoU {rival.iou:.2f}"
        made.append(Mark(SUPPRESSOR, rival.box, text))
    return made
