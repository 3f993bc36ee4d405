"""The figures of coverage: which share of some objects has an anchor, and how good it is."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Below the first the RPN is trained to say background, by torchvision's and the paper's settings;
# from the last on it is trained to say object.
THRESHOLDS = (0.3, 0.5, 0.7)

# An object that no anchor touches costs as much as one of this IoU, and not infinitely much.
LEAST_IOU = 1e-3


@dataclass(frozen=True)
class Shares:
    """How well anchors cover some objects.

    Attributes:
        objects: how many there are.
        covered: C(t), the share whose best IoU is at least t, for each of `THRESHOLDS`; NaN
            without objects.
        loss: mean of −(1 − u)² ln u, u the best IoU (Zlocha et al., MICCAI 2019); NaN likewise.
    """

    objects: int
    covered: tuple[float, float, float]
    loss: float

    @property
    def half(self) -> float:
        """C(0.5)."""
        return self.covered[1]


def shares(iou: Float[Tensor, "N"]) -> Shares:
    """Sum up best IoUs.

    Args:
        iou: [N] of each object with its best anchor.

    Returns:
        The figures.
    """
    low, half, high = (float((iou >= least).double().mean()) for least in THRESHOLDS)
    u = iou.double().clamp(min=LEAST_IOU)
    return Shares(len(iou), (low, half, high), float((-((1 - u) ** 2) * torch.log(u)).mean()))
