"""The price of a change: what else it finds and loses, on a photo or on a data set."""

from dataclasses import astuple, dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mrcnn_steps.debug.fates import found_objects
from mrcnn_steps.matching import match, match_trace
from mrcnn_steps.tracing import Trace

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Price:
    """What a change of a setting brings and costs.

    Attributes:
        photos: how many it was measured on.
        gained: objects found that were not.
        lost: objects found no more.
        false_positives_gained: detections that are wrong and were not there.
        false_positives_lost: wrong detections that are gone.
        more_boxes: detections more, over all photos; negative if there are fewer.
    """

    photos: int
    gained: int
    lost: int
    false_positives_gained: int
    false_positives_lost: int
    more_boxes: int

    @property
    def boxes(self) -> float:
        """Detections more, a photo."""
        return self.more_boxes / self.photos

    def __add__(self, other: "Price") -> "Price":
        return Price(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        where = "this photo" if self.photos == 1 else f"{self.photos:,} photos"
        return (
            f"on {where}: objects +{self.gained} −{self.lost}, false positives "
            f"+{self.false_positives_gained} −{self.false_positives_lost}, "
            f"{self.boxes:+.3g} boxes a photo"
        )


NOTHING = Price(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Tally:
    """What counts of a trace, in pixels of the photo.

    Attributes:
        objects: [G] rows of the sample.
        object_boxes: [G, 4] their boxes.
        found: [G] whether each is found.
        boxes: [D, 4] the detections.
        labels: [D] their classes.
        scores: [D] their scores.
        wrong: [D] whether each is a false positive: it neither finds an object nor is ignored.
    """

    objects: Int[Tensor, "G"]
    object_boxes: Float[Tensor, "G 4"]
    found: Bool[Tensor, "G"]
    boxes: Float[Tensor, "D 4"]
    labels: Int[Tensor, "D"]
    scores: Float[Tensor, "D"]
    wrong: Bool[Tensor, "D"]

    def placed(self, boxes: Float[Tensor, "D 4"]) -> "Tally":
        """Say where the detections lie in another photo, of which this one was made."""
        return replace(self, boxes=boxes)

    def within(self, window: Window) -> "Tally":
        """Keep the objects that lie in a window, and the detections whose center does."""
        left, top, right, bottom = window
        x1, y1, x2, y2 = self.object_boxes.unbind(dim=1)
        inside = (x1 >= left) & (y1 >= top) & (x2 <= right) & (y2 <= bottom)
        x, y = ((self.boxes[:, :2] + self.boxes[:, 2:]) / 2).unbind(dim=1)
        near = (x >= left) & (y >= top) & (x < right) & (y < bottom)
        return Tally(
            self.objects[inside],
            self.object_boxes[inside],
            self.found[inside],
            self.boxes[near],
            self.labels[near],
            self.scores[near],
            self.wrong[near],
        )


def tally(trace: Trace, iou: float, found: Bool[Tensor, "G"] | None = None) -> Tally:
    """Count what a trace finds.

    Args:
        trace: of a photo with annotations or without.
        iou: from which IoU on a box, or a mask, is an object's.
        found: [G] whether each object is found, where that is known already.

    Returns:
        What counts of it.
    """
    truth, detections = trace.ground_truth, trace.detections
    matches = match_trace(trace, iou)
    nothing = detections.labels[:0]
    objects = detections.boxes[:0] if truth is None else truth.boxes
    if found is None:
        found = nothing.bool() if truth is None else found_objects(trace, iou)
    return Tally(
        objects=nothing if truth is None else truth.objects,
        object_boxes=trace.letterbox.undo_boxes(objects),
        found=found,
        boxes=trace.letterbox.undo_boxes(detections.boxes),
        labels=detections.labels,
        scores=detections.scores,
        wrong=(matches.object_of < 0) & ~matches.ignored,
    )


def price(before: Tally, after: Tally, iou: float) -> Price:
    """Compare a photo before and after a change.

    False positives are the same one if they match by COCO's rule.

    Args:
        before: the photo as it was.
        after: the same photo, or a part of it.
        iou: from which IoU on two boxes match.

    Returns:
        The price, on one photo.
    """
    was = dict(zip(before.objects.tolist(), before.found.tolist(), strict=True))
    now = dict(zip(after.objects.tolist(), after.found.tolist(), strict=True))
    both = was.keys() & now.keys()
    nothing = torch.zeros_like(before.boxes[:0])
    same = match(
        after.boxes[after.wrong],
        after.labels[after.wrong],
        after.scores[after.wrong],
        before.boxes[before.wrong],
        before.labels[before.wrong],
        nothing,
        before.labels[:0],
        iou,
    )
    return Price(
        photos=1,
        gained=sum(now[row] and not was[row] for row in both),
        lost=sum(was[row] and not now[row] for row in both),
        false_positives_gained=int((same.object_of < 0).sum()),
        false_positives_lost=int((same.detection_of < 0).sum()),
        more_boxes=len(after.boxes) - len(before.boxes),
    )
