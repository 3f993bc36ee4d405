"""Small data sets and models that the tests of coverage share."""

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from mrcnn_steps.data import Sample
from tests.parity.conftest import Strided

NAMES = ("background", "cup", "plate")
HEIGHT, WIDTH = 240, 320


def photo(boxes: Tensor, labels: list[int] | None = None, crowd: list[bool] | None = None):
    """A black photo of boxes."""
    count = len(boxes)
    return Sample(
        torch.zeros((3, HEIGHT, WIDTH), dtype=torch.uint8),
        boxes.float().reshape(-1, 4),
        torch.tensor([1] * count if labels is None else labels, dtype=torch.int64),
        None,
        torch.tensor([False] * count if crowd is None else crowd, dtype=torch.bool),
        NAMES,
        "photo",
    )


def photos(count: int, objects: int, side: float, seed: int = 0) -> list[Sample]:
    """Photos of objects about as large, up to twice as wide as high or the reverse."""
    generator = torch.Generator().manual_seed(seed)

    def boxes() -> Tensor:
        spread = torch.rand((objects, 2), generator=generator)
        root = 2 ** (spread[:, 1] - 0.5)
        size = side * 2 ** (spread[:, :1] - 0.5) * torch.stack((root, 1 / root), dim=1)
        corner = torch.rand((objects, 2), generator=generator) * (
            torch.tensor([WIDTH, HEIGHT]) - size
        )
        return torch.cat((corner, corner + size), dim=1)

    return [photo(boxes()) for _ in range(count)]


def one_map(*sizes: float, ratios: tuple[float, ...] = (0.5, 1.0, 2.0)) -> FasterRCNN:
    """A detector whose input is the photo itself, with cells every 16 pixels."""
    return FasterRCNN(
        Strided(),
        num_classes=len(NAMES),
        min_size=HEIGHT,
        max_size=WIDTH,
        rpn_anchor_generator=AnchorGenerator((sizes,), (ratios,)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
    ).eval()
