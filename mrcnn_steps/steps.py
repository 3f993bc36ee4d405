"""The filters of a stage as data: which candidates each of them keeps, and where one left.

A stage keeps the rows that each of its filters let pass. Listed in order they are its history,
which scrubbers, pictures and the search for a lost object read with one vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

# What a filter is called, and what is said of a candidate that it turned away.
TITLES = {
    "top_k": "top k",
    "rpn_min_size": "size",
    "rpn_score": "score",
    "rpn_nms": "NMS",
    "proposal_limit": "limit",
    "foreground": "foreground",
    "score": "score",
    "min_size": "size",
    "nms": "NMS per class",
    "detection_limit": "limit",
}
TURNED_AWAY = {
    "top_k": "not in the top k",
    "rpn_min_size": "too small",
    "rpn_score": "low score",
    "rpn_nms": "suppressed",
    "proposal_limit": "over the limit",
    "foreground": "background",
    "score": "low score",
    "min_size": "too small",
    "nms": "suppressed",
    "detection_limit": "over the limit",
}


@dataclass(frozen=True, eq=False)
class Step:
    """A filter of a stage.

    Attributes:
        name: the filter's key, such as "rpn_nms"; see `TITLES`.
        rule: what a candidate needs to stay, with the threshold, in a few words.
        rows: [M] the candidates that stay, as the next filter sees them.
    """

    name: str
    rule: str
    rows: Int[Tensor, "M"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def title(self) -> str:
        """What the filter is called, in words."""
        return TITLES[self.name]

    @property
    def turned_away(self) -> str:
        """What is said of a candidate that left here, such as "suppressed"."""
        return TURNED_AWAY[self.name]


def fate(steps: Sequence[Step], row: int) -> str | None:
    """Name the step at which a candidate left.

    Args:
        steps: the filters of a stage in order.
        row: a candidate.

    Returns:
        The name of the step after the last one that keeps it; None if the last step does.
    """
    passed = (place for place, step in enumerate(steps, start=1) if (step.rows == row).any())
    place = max(passed, default=0)
    return None if place == len(steps) else steps[place].name


def fates(steps: Sequence[Step], count: int) -> Int[Tensor, "count"]:
    """Find the step at which each candidate left.

    Args:
        steps: the filters of a stage in order, at least one.
        count: how many candidates there are.

    Returns:
        [count] the position of that step among `steps`; `len(steps)` for a candidate that stayed.
    """
    place = torch.zeros(count, dtype=torch.int64, device=steps[0].rows.device)
    for passed, step in enumerate(steps, start=1):
        place[step.rows] = passed
    return place
