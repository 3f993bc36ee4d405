"""What speaks for a fate: the numbers, rows and rivals that the verdict on an object rests on."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

Box = tuple[float, float, float, float]

SAME_OBJECT, ANOTHER_OBJECT, BACKGROUND = "same object", "another object", "background"

# A box that overlaps every object by less than this lies on the background (TIDE, §3: t_b).
BACKGROUND_IOU = 0.1


@dataclass(frozen=True)
class Suppressor:
    """The box that NMS kept in a candidate's place.

    Attributes:
        anchor: row of `trace.anchors`.
        proposal: row of `trace.proposals`; None if the limit cut it off afterwards.
        detection: row of `trace.detections`; None before the detection stage, or over its limit.
        box: in pixels of the network's input.
        score: its objectness, or its probability of the object's class.
        iou: with the candidate.
        kind: "same object", a worse box of it · "another object" · "background".
        object: what it covers, a row of `trace.ground_truth`; None on the background.
        object_iou: with what it covers; on the background, with the nearest object.
        bound: IoU of the missed object with the other one: with boxes that fit perfectly, one of
            the two is suppressed at any threshold below. None unless it covers another object.
    """

    anchor: int
    proposal: int | None
    detection: int | None
    box: Box
    score: float
    iou: float
    kind: str
    object: int | None
    object_iou: float
    bound: float | None


@dataclass(frozen=True)
class PerfectBox:
    """What the second stage says of the object's own box: an oracle for the RPN's part.

    Attributes:
        probability: of the object's class; None for a class that the model does not know.
        winner: the most probable label, 0 for background.
        winner_probability: of that label.
        iou: of the box with itself after the refinement; None as above.
    """

    probability: float | None
    winner: int
    winner_probability: float
    iou: float | None


@dataclass(frozen=True)
class Evidence:
    """Numbers and rows behind a verdict; None where a thing does not exist.

    The *decisive* candidate is the one that the verdict is about: of an object that was found,
    its detection's; else the able candidate that came furthest, or the landed one of highest
    probability, or the anchor that comes nearest.

    Attributes:
        quantity: what `value` counts, such as "IoU with its suppressor".
        value: the decisive number.
        threshold: what it was compared with.
        anchor: row of `trace.anchors` of the decisive candidate.
        candidate: its row among the candidates of `trace.proposals`.
        proposal: row of `trace.proposals`.
        detection: row of `trace.detections`; of a merged object, the one that it is.
        box: the refined and clipped anchor, in pixels of the network's input.
        iou: of that box with the object.
        objectness: of the anchor, 0…1.
        probability: of the object's class in that box, as the second stage says.
        winner: its most probable label, 0 for background.
        winner_probability: of that label.
        moved: the box after the second stage moved it for the object's class, cut at the photo's
            edge.
        moved_iou: of that with the object.
        mask_iou: of the detection's mask with the object's, in the photo's pixels.
        suppressor: of an object lost at NMS.
        merged_with: the object that took the detection of a merged one.
        landed: refined anchors on the object; at most 500.
        reached: how many able candidates reached each gate.
        runner_up: the cause if the decisive gate's candidates had not been there.
        best_anchor_iou: of any anchor with the object; only of one where nothing landed.
        perfect: what the second stage says of the object's own box.
    """

    quantity: str | None = None
    value: float | None = None
    threshold: float | None = None
    anchor: int | None = None
    candidate: int | None = None
    proposal: int | None = None
    detection: int | None = None
    box: Box | None = None
    iou: float | None = None
    objectness: float | None = None
    probability: float | None = None
    winner: int | None = None
    winner_probability: float | None = None
    moved: Box | None = None
    moved_iou: float | None = None
    mask_iou: float | None = None
    suppressor: Suppressor | None = None
    merged_with: int | None = None
    landed: int | None = None
    reached: dict[str, int] = field(default_factory=dict)
    runner_up: str | None = None
    best_anchor_iou: float | None = None
    perfect: PerfectBox | None = None

    @property
    def missed_by(self) -> float | None:
        """How far the decisive number is from its threshold."""
        if self.value is None or self.threshold is None:
            return None
        return abs(self.value - self.threshold)


def corners(box: Float[Tensor, "4"]) -> Box:
    """Give a box as four numbers that are no tensor."""
    x1, y1, x2, y2 = box.tolist()
    return x1, y1, x2, y2
