"""What the photos say about values to try: a scale of the anchors, an order of the labels."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mrcnn_steps.boxes import centers_and_sizes
from mrcnn_steps.debug.checkup.examination import Examination
from mrcnn_steps.debug.checkup.scoring import scores_by_label
from mrcnn_steps.debug.checkup.setup import Setup
from mrcnn_steps.debug.checkup.significance import LEAST_SHARE
from mrcnn_steps.matching import overlaps

# Factors of the anchors' sides, an eighth of an octave apart.
SCALES = tuple(2 ** (step / 8) for step in range(-20, 21))

# Refined anchors of highest objectness that are compared with the objects.
LIKELY = 300

# A scale that fits less than this much better is the model's own.
BETTER_FIT = 1.02


@dataclass(frozen=True, eq=False)
class Clues:
    """What photos say, added up.

    Attributes:
        confusions: [C, C] of the objects of each label: how sure each class is called there.
        fits: [S] how well the likely boxes cover the objects, were the anchors so much larger.
        most_objects: that one photo has.
    """

    confusions: Float[Tensor, "C C"]
    fits: Float[Tensor, "S"]
    most_objects: int

    def __add__(self, other: "Clues") -> "Clues":
        return Clues(
            self.confusions + other.confusions,
            self.fits + other.fits,
            max(self.most_objects, other.most_objects),
        )

    @property
    def anchor_scale(self) -> float | None:
        """The factor of the anchors' sides that fits best; None if it is 1 or hardly better."""
        best, own = int(self.fits.argmax()), SCALES.index(1.0)
        better = self.fits[best] > BETTER_FIT * self.fits[own]
        return SCALES[best] if better and best != own else None

    @property
    def permutation(self) -> tuple[int, ...] | None:
        """The order of the labels that is called; None if the model's own is about as good.

        The surest pair of an object's label and a class comes first, and each has one partner: no
        label is called by two names. What was never seen stays, or fills what is left.
        """
        classes = len(self.confusions)
        partner: dict[int, int] = {0: 0}
        for place in self.confusions.flatten().argsort(descending=True, stable=True).tolist():
            label, said = divmod(place, classes)
            if self.confusions[label, said] <= 0:
                break
            if label not in partner and said not in partner.values():
                partner[label] = said
        free = set(range(classes)) - set(partner.values())
        for label in range(classes):
            if label not in partner and label in free:
                partner[label] = label
                free.remove(label)
        rest = sorted(free)
        for label in range(classes):
            if label not in partner:
                partner[label] = rest.pop(0)
        order = tuple(partner[label] for label in range(classes))
        own = self.confusions.diagonal().sum()
        said = self.confusions[range(classes), order].sum()
        # What brings less than a finding has to is not worth a test.
        return order if said > (1 + LEAST_SHARE) * own else None


def no_clues(classes: int) -> Clues:
    """Give what no photo says."""
    return Clues(torch.zeros((classes, classes)), torch.zeros(len(SCALES)), 0)


def clues(photo: Examination, setup: Setup, classes: int, iou: float) -> Clues:
    """Ask one photo.

    Args:
        photo: under examination.
        setup: to run it in.
        classes: of the model, background included.
        iou: from which IoU on a box is an object's.

    Returns:
        What it says.
    """
    said = scores_by_label(photo.detections(setup), photo.boxes, classes, iou)
    confusions = said.new_zeros((classes, classes)).index_add(0, photo.labels, said)
    # The score of no object.
    confusions[:, 0] = 0
    return Clues(confusions.float().cpu(), _fits(photo, setup).float().cpu(), len(photo.labels))


def _fits(photo: Examination, setup: Setup) -> Tensor:
    """Add up the best IoU of each object with the likely boxes, for every scale.

    With anchors of other sizes the RPN says the same, so its boxes only grow, and move in
    proportion: nothing has to be run again.
    """
    objectness, _, _ = photo.rpn(setup)
    likely = objectness.topk(min(LIKELY, len(objectness))).indices
    before, after = photo.anchors(setup)[likely], photo.refined(setup, likely)
    x, y, _, _ = centers_and_sizes(before)
    new_x, new_y, width, height = centers_and_sizes(after)
    fits = []
    for scale in SCALES:
        center_x, center_y = x + (new_x - x) * scale, y + (new_y - y) * scale
        across, down = width * scale / 2, height * scale / 2
        boxes = torch.stack(
            (center_x - across, center_y - down, center_x + across, center_y + down), dim=1
        )
        fits.append(overlaps(boxes, photo.boxes).amax(dim=0).sum())
    return torch.stack(fits)
