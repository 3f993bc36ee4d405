"""Normalizations that the pixels may have got, or not, by mistake."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.debug.checkup.setup import Normalization

# Of what is commonly trained with, for pixels in 0…1.
COMMON = {
    "ImageNet's": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "to −1…1": Normalization((0.5,) * 3, (0.5,) * 3),
    "none, 0…1": Normalization((0.0,) * 3, (1.0,) * 3),
    "of 0…255 by ImageNet's mean alone": Normalization((0.485, 0.456, 0.406), (1 / 255,) * 3),
    "none, 0…255": Normalization((0.0,) * 3, (1 / 255,) * 3),
}

# A lower deviation multiplies the pixels so much that they cannot have been meant in 0…1.
RANGE_255 = 1 / 50

MISSING, TWICE, RANGE, OTHER = (
    "normalization_missing",
    "normalization_twice",
    "input_range",
    "normalization",
)

MISTAKES = {
    MISSING: "the backbone seems to see pixels that nobody has normalized",
    TWICE: "the pixels seem to be normalized twice",
    RANGE: "the pixels seem to be in 0…255 where 0…1 is meant, or the reverse",
    OTHER: "the pixels seem to be normalized otherwise than in training",
}

# Side of the plain picture that a transform is asked about.
PROBE = 64


class Candidate(NamedTuple):
    """A normalization to try.

    Attributes:
        code: of the mistake that it would undo.
        name: what is done.
        normalization: of pixels in 0…1, instead of the present one.
    """

    code: str
    name: str
    normalization: Normalization

    @property
    def mistake(self) -> str:
        """What it suggests if it helps."""
        return MISTAKES[self.code]


def applied_normalization(model: FasterRCNN) -> Normalization:
    """Measure the normalization that a model's transform applies, whatever its attributes say.

    Args:
        model: in eval mode.

    Returns:
        The normalization that turns black and white into what the transform makes of them.
    """
    weight = next(model.parameters())
    seen = []
    for value in (0.0, 1.0):
        plain = weight.new_full((3, PROBE, PROBE), value)
        images, _ = model.transform([plain])
        rows, columns = images.image_sizes[0]
        seen.append(images.tensors[0, :, rows // 2, columns // 2].double())
    black, white = seen
    std = 1 / (white - black)
    return Normalization(tuple((-black * std).tolist()), tuple(std.tolist()))


def normalizations(own: Normalization) -> tuple[Candidate, ...]:
    """List the normalizations that may be right where the present one is wrong.

    Applied twice, `(x − m) / s` comes to `(x − m − m s) / s²`; so one that is suspected to be twice
    another has that one's deviation √S and mean M / (1 + √S).

    Args:
        own: the present one.

    Returns:
        Those that differ from it, and from each other.
    """
    chosen: list[Candidate] = []
    for each in _candidates(own):
        others = [own, *(other.normalization for other in chosen)]
        if not any(each.normalization.like(other) for other in others):
            chosen.append(each)
    return tuple(chosen)


def _candidates(own: Normalization) -> Iterator[Candidate]:
    mean, std = (torch.tensor(part, dtype=torch.float64) for part in (own.mean, own.std))
    plain = COMMON["none, 0…1"]
    if (std > RANGE_255).all() and not own.like(plain):
        root = std.sqrt()
        yield Candidate(TWICE, "normalized once instead of twice", _of(mean / (1 + root), root))
        yield Candidate(TWICE, "not normalized before the backbone", plain)
    for factor, how in ((255.0, "divided by 255"), (1 / 255, "multiplied by 255")):
        yield Candidate(RANGE, f"pixels {how}", _of(mean * factor, std * factor))
        yield Candidate(RANGE, f"the backbone's input {how}", _of(mean, std * factor))
    if not own.like(plain):
        yield Candidate(MISSING, "normalized once more", _of(mean + mean * std, std**2))
    elsewhere = RANGE if bool((std.abs() < RANGE_255).any()) else OTHER
    kind = MISSING if own.like(plain) else elsewhere
    for name, normalization in COMMON.items():
        yield Candidate(kind, f"normalized {name}", normalization)


def _of(mean: torch.Tensor, std: torch.Tensor) -> Normalization:
    return Normalization(tuple(mean.tolist()), tuple(std.tolist()))
