"""The search for anchors that fit objects better: sizes and ratios by differential evolution."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator

from mrcnn_steps.boxes import centers_and_sizes
from mrcnn_steps.debug.coverage.fit import lay_regular
from mrcnn_steps.debug.coverage.objects import Placed
from mrcnn_steps.debug.coverage.shares import LEAST_IOU

# Of the objects to learn from, so many are enough for a dozen numbers.
MOST_OBJECTS = 1000

# Generations, and vectors in each for every number that is looked for.
GENERATIONS, POPULATION = 60, 8

# An anchor is between one and so many steps of its level wide: published pyramids have 2 to 32.
WIDEST = 32

# Ratios are looked for between 1 / this and this.
MOST_RATIO = 8.0


@dataclass(frozen=True)
class AnchorSet:
    """Sizes and ratios, as torchvision's `AnchorGenerator` takes them.

    Attributes:
        sizes: square roots of the anchors' areas in pixels of the input, for each level.
        aspect_ratios: height / width, the same on every level.
    """

    sizes: tuple[tuple[float, ...], ...]
    aspect_ratios: tuple[float, ...]

    @property
    def per_cell(self) -> int:
        """Anchors of a cell."""
        return len(self.sizes[0]) * len(self.aspect_ratios)

    @property
    def line(self) -> str:
        """The Python that makes the generator."""
        sizes = ", ".join(_tuple(level) for level in self.sizes)
        levels = len(self.sizes)
        comma = "," if levels == 1 else ""
        ratios = f"({_tuple(self.aspect_ratios)},) * {levels}"
        return f"AnchorGenerator(sizes=({sizes}{comma}), aspect_ratios={ratios})"

    def generator(self) -> AnchorGenerator:
        """Make the generator."""
        return AnchorGenerator(self.sizes, (self.aspect_ratios,) * len(self.sizes))


class Scene(NamedTuple):
    """Objects to fit anchors to.

    Attributes:
        width: [N] in pixels of the input.
        height: [N] likewise.
        off_x: [L, N] distance from the object's center to the nearest cell of each level.
        off_y: [L, N] likewise.
        steps: [L] the distance of each level's cells, the shorter of the two.
        longest: the longest side of an input.
    """

    width: np.ndarray
    height: np.ndarray
    off_x: np.ndarray
    off_y: np.ndarray
    steps: np.ndarray
    longest: float


def scene(
    generator: AnchorGenerator, like: Tensor, placed: Placed, choice: torch.Generator
) -> Scene:
    """Choose objects to learn from, and see how far each is from the cells around it.

    Args:
        generator: of the model; where its cells stand does not depend on its sizes.
        like: a weight of the model.
        placed: the objects.
        choice: chooses `MOST_OBJECTS` of them.

    Returns:
        What the loss of a set of anchors depends on.
    """
    chosen = torch.randperm(len(placed), generator=choice)[:MOST_OBJECTS].sort().values
    boxes = placed.boxes[chosen]
    on_grid = placed.grid_of[placed.photo[chosen]]
    offsets = torch.zeros((2, len(placed.grids[0].maps), len(chosen)))
    steps = torch.full((offsets.shape[1],), torch.inf)
    for number in on_grid.unique().tolist():
        anchors = lay_regular(placed.grids[number].lay(generator, like))
        rows = (on_grid == number).nonzero().flatten()
        x, y, _, _ = centers_and_sizes(boxes[rows])
        for level, (grid, part) in enumerate(zip(anchors.grids, anchors.level_slices, strict=True)):
            first_x, first_y, _, _ = centers_and_sizes(anchors.boxes[part.start, None])
            for axis, center, first, step, count in (
                (0, x, first_x, grid.stride[1], grid.columns),
                (1, y, first_y, grid.stride[0], grid.rows),
            ):
                cell = ((center - first) / step).round().clamp(0, count - 1)
                offsets[axis, level, rows] = (center - first - cell * step).abs()
            steps[level] = steps[level].clamp(max=min(grid.stride))
    _, _, width, height = (each.numpy() for each in centers_and_sizes(boxes))
    longest = max(max(grid.size) for grid in placed.grids)
    off_x, off_y = offsets.numpy()
    return Scene(width, height, off_x, off_y, steps.numpy(), float(longest))


def search(start: AnchorSet, seen: Scene, seed: int) -> AnchorSet:
    """Look for sizes and ratios that fit the objects better, as many as there are.

    The loss is the mean of −(1 − u)² ln u (Zlocha et al., MICCAI 2019), u the IoU with the best
    anchor, rounded to whole pixels as torchvision does.

    Args:
        start: where to start.
        seen: the objects.
        seed: of the evolution; the same gives the same.

    Returns:
        The best set that was found, with numbers of three digits.
    """
    # scipy takes a third of a second to load.
    from scipy.optimize import differential_evolution

    counts = [len(level) for level in start.sizes]
    steps = np.repeat(seen.steps, counts)
    ratio = np.log2(MOST_RATIO)
    most = np.minimum(WIDEST * steps, np.maximum(seen.longest, 2 * steps))
    low = np.concatenate((np.log2(steps), np.full(len(start.aspect_ratios), -ratio)))
    high = np.concatenate((np.log2(most), np.full(len(start.aspect_ratios), ratio)))
    now = np.log2([*(size for level in start.sizes for size in level), *start.aspect_ratios])
    found = differential_evolution(
        lambda numbers: loss(_anchor_set(numbers, counts), seen),
        list(zip(low, high, strict=True)),
        x0=now.clip(low, high),
        maxiter=GENERATIONS,
        popsize=POPULATION,
        rng=seed,
        polish=False,
    )
    return _anchor_set(found.x, counts)


def loss(anchors: AnchorSet, seen: Scene) -> float:
    """Measure how badly anchors fit objects.

    Args:
        anchors: sizes and ratios.
        seen: the objects.

    Returns:
        Mean of −(1 − u)² ln u over the objects.
    """
    root = np.sqrt(np.array(anchors.aspect_ratios))
    shapes = [
        (level, 2 * np.round(size / r / 2), 2 * np.round(size * r / 2))
        for level, sizes in enumerate(anchors.sizes)
        for size in sizes
        for r in root
    ]
    level, a, b = np.array(shapes, dtype=np.float32).T[:, :, None]
    rows = level[:, 0].astype(int)
    w, h = seen.width, seen.height
    along_x = np.minimum(np.minimum(w, a), (w + a) / 2 - seen.off_x[rows]).clip(min=0)
    along_y = np.minimum(np.minimum(h, b), (h + b) / 2 - seen.off_y[rows]).clip(min=0)
    shared = along_x * along_y
    u = (shared / (w * h + a * b - shared)).max(axis=0).clip(min=LEAST_IOU)
    return float(np.mean(-((1 - u) ** 2) * np.log(u)))


def _anchor_set(numbers: np.ndarray, counts: Sequence[int]) -> AnchorSet:
    """Read a vector of the evolution: log2 of all sizes, level by level, then of the ratios."""
    values = [float(f"{value:.3g}") for value in 2.0**numbers]
    places = np.cumsum([0, *counts])
    sizes = tuple(tuple(sorted(values[start:end])) for start, end in itertools.pairwise(places))
    return AnchorSet(sizes, tuple(sorted(values[places[-1] :])))


def _tuple(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)}{',' if len(values) == 1 else ''})"
