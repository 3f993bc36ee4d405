"""Random inputs that a person can read: whole numbers, few digits, always the same ones."""

import torch
from torch import Tensor


class Dice:
    """Makes random tensors from one seeded generator."""

    def __init__(self, seed: int) -> None:
        """Start at a seed.

        Args:
            seed: the same seed gives the same inputs.
        """
        self.generator = torch.Generator().manual_seed(seed)

    def integer(self, low: int, high: int) -> int:
        """Roll a whole number, `low` to `high` inclusive."""
        return int(self.integers((), low, high))

    def integers(self, shape: tuple[int, ...], low: int, high: int) -> Tensor:
        """Roll whole numbers of dtype int64, `low` to `high` inclusive."""
        return torch.randint(low, high + 1, shape, generator=self.generator)

    def numbers(self, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        """Roll floating-point numbers with two decimals."""
        spread = torch.rand(shape, generator=self.generator) * (high - low) + low
        return (spread * 100).round() / 100

    def distinct(self, count: int) -> Tensor:
        """Make scores in 0…1 of which no two are equal."""
        return (torch.randperm(count, generator=self.generator) + 1) / (count + 1)

    def boxes(self, count: int, extent: int = 24, smallest: int = 1) -> Tensor:
        """Make boxes with area on whole pixels of a square image."""
        corner = self.integers((count, 2), 0, extent - smallest)
        room = extent - corner - smallest
        size = smallest + (torch.rand((count, 2), generator=self.generator) * (room + 1)).long()
        return torch.cat((corner, corner + size), dim=1).float()

    def mask(self, height: int, width: int) -> Tensor:
        """Make a mask with a random ellipse of True, and some specks."""
        x1, y1, x2, y2 = self.boxes(1, extent=min(height, width))[0].tolist()
        y, x = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None, :] + 0.5
        u, v = (2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1)
        return (u * u + v * v <= 1) | (
            torch.rand((height, width), generator=self.generator) < 1 / (height * width)
        )
