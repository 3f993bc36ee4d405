"""The objects of a data set, and where they lie on a model's input: boxes and sizes, no pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FasterRCNN
from tqdm import tqdm

from mrcnn_steps.debug.datasets import Dataset, outline_at
from mrcnn_steps.settings import InputGrid, boxes_on_input, input_grid


@dataclass(frozen=True, eq=False)
class Objects:
    """The annotated objects of a data set that are neither crowds nor without pixels.

    Attributes:
        sizes: `(height, width)` of each photo.
        photo: [N] the photo of each object, in rising order.
        boxes: [N, 4] in pixels of the photo.
        labels: [N] rows of `class_names`.
        class_names: what the classes are called, the background first.
        left_out: crowds, and objects without pixels.
    """

    sizes: tuple[tuple[int, int], ...]
    photo: Int[Tensor, "N"]
    boxes: Float[Tensor, "N 4"]
    labels: Int[Tensor, "N"]
    class_names: tuple[str, ...]
    left_out: int

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Placed:
    """Objects on the input of a model, photo by photo.

    Attributes:
        photo: [N] the photo of each object, in rising order.
        boxes: [N, 4] in pixels of the input.
        grids: the sizes that the model's input takes.
        grid_of: [P] which of them each photo has.
    """

    photo: Int[Tensor, "N"]
    boxes: Float[Tensor, "N 4"]
    grids: tuple[InputGrid, ...]
    grid_of: Int[Tensor, "P"]

    def __len__(self) -> int:
        return len(self.boxes)

    def anchors_a_photo(self, per_cell: Sequence[int]) -> float:
        """Count the anchors of a photo on average, with so many on each cell of each level."""
        counts = torch.tensor([float(grid.count(per_cell)) for grid in self.grids])
        return float(counts[self.grid_of].mean())

    def rows(self, grid: int) -> Int[Tensor, "M"]:
        """Give the objects whose photos have this size."""
        return (self.grid_of[self.photo] == grid).nonzero().flatten()

    def keep(self, photos: Bool[Tensor, "P"]) -> "Placed":
        """Keep the objects of some photos; photos and grids stay numbered as they are."""
        kept = photos[self.photo]
        return Placed(self.photo[kept], self.boxes[kept], self.grids, self.grid_of)


def read_objects(dataset: Dataset, class_names: Sequence[str] | None = None) -> Objects:
    """Read the objects of a data set, photo by photo; those of a `CocoFolder` without its photos.

    Args:
        dataset: gives samples or pairs.
        class_names: see `outline_at`.

    Returns:
        The objects that a training would see.

    Raises:
        TypeError, ValueError, OSError: see `outline_at`.
    """
    number = {"background": 0}
    sizes, counts, boxes, annotated = [], [], [], 0
    labels: list[int] = []
    for index in tqdm(range(len(dataset)), "read boxes", unit="", leave=False, disable=None):
        outline = outline_at(dataset, index, class_names)
        taken = (outline.filled & ~outline.crowd).nonzero().flatten().cpu()
        annotated += len(outline.labels)
        sizes.append(outline.size)
        counts.append(len(taken))
        boxes.append(outline.boxes.cpu()[taken])
        # Samples may each number their classes otherwise.
        names = [outline.class_names[label] for label in outline.labels.cpu()[taken].tolist()]
        labels.extend(number.setdefault(name, len(number)) for name in names)
    return Objects(
        sizes=tuple(sizes),
        photo=torch.arange(len(sizes)).repeat_interleave(torch.tensor(counts, dtype=torch.int64)),
        boxes=torch.cat([torch.zeros((0, 4)), *boxes]),
        labels=torch.tensor(labels, dtype=torch.int64),
        class_names=tuple(number),
        left_out=annotated - sum(counts),
    )


def place(model: FasterRCNN, objects: Objects) -> Placed:
    """Move objects to a model's input, by its own transform.

    Args:
        model: any.
        objects: of a data set.

    Returns:
        The same objects, and the sizes of the inputs.
    """
    boxes, size_of = objects.boxes.clone(), dict[int, tuple[int, int]]()
    by_size: dict[tuple[int, int], list[int]] = {}
    for photo, size in enumerate(objects.sizes):
        by_size.setdefault(size, []).append(photo)
    for photo_size, photos in by_size.items():
        rows = torch.isin(objects.photo, torch.tensor(photos)).nonzero().flatten()
        boxes[rows], size = boxes_on_input(model, photo_size, objects.boxes[rows])
        size_of |= dict.fromkeys(photos, size)
    sizes = list(dict.fromkeys(size_of.values()))
    grids = tqdm(sizes, "lay grids", unit="", leave=False, disable=None)
    return Placed(
        photo=objects.photo,
        boxes=boxes,
        grids=tuple(input_grid(model, size) for size in grids),
        grid_of=torch.tensor(
            [sizes.index(size_of[photo]) for photo in range(len(objects.sizes))],
            dtype=torch.int64,
        ),
    )
