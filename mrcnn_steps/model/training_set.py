"""The training data: COCO folders, drawn in an order that only depends on the seed.

Batch number t is the same whatever ran before it, so a resumed run goes on where it stopped by
counting, without any state of the sampler in the checkpoint.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from mrcnn_steps.class_names import difference
from mrcnn_steps.data.coco import CocoFolder
from mrcnn_steps.model.augment import Augmentation, Example, augment
from mrcnn_steps.model.targets import Targets

# A photo that shows a class found in fewer than this share of all photos is repeated
# (LVIS, 2019, appendix B.2).
REPEAT_THRESHOLD = 0.02


@dataclass(frozen=True)
class Batch:
    """A training batch.

    Attributes:
        images: [B, 3, S, S].
        targets: Their ground truth.
        image_ids: The id of each photo in its annotation file.
    """

    images: UInt8[Tensor, "B 3 S S"]
    targets: Targets
    image_ids: tuple[int, ...]

    def pin_memory(self) -> "Batch":
        """Lock the memory, as `DataLoader` asks, so that copying to a GPU need not wait."""
        return Batch(self.images.pin_memory(), self.targets.pin_memory(), self.image_ids)


class TrainingSet(Dataset):
    """Augmented photos of one or more COCO folders.

    Args:
        folders: The photos; all with the same classes.
        canvas: Side of the training pictures.
        how: The augmentation.

    Raises:
        ValueError: The folders name different classes.
    """

    def __init__(self, folders: list[CocoFolder], canvas: int, how: Augmentation):
        for folder in folders[1:]:
            if told := difference(folders[0].class_names, folder.class_names):
                raise ValueError(
                    f"{folder.annotations}: categories, in the order of their ids, differ from "
                    f"those of {folders[0].annotations}: {told}; data sets trained on together "
                    "must share names and ids"
                )
        self.folders, self.canvas, self.how = folders, canvas, how
        self.class_names = folders[0].class_names
        self.places = [(f, i) for f, folder in enumerate(folders) for i in range(len(folder))]
        self.factors = repeat_factors([folders[f].labels_present(i) for f, i in self.places])
        self.total = self.factors.cumsum(dim=0)

    def __len__(self) -> int:
        return len(self.places)

    def image_id(self, index: int) -> int:
        """Give the id of a photo in its annotation file."""
        folder, place = self.places[index]
        return self.folders[folder].image_ids[place]

    def __getitem__(self, request: tuple[int, int]) -> tuple[Example, Tensor, int]:
        """Make a training picture.

        Args:
            request: Which photo, and the seed of its augmentation.

        Returns:
            The picture, bool [C] the classes its photo is labeled for, the photo's id.
        """
        index, seed = request
        generator = torch.Generator().manual_seed(seed)
        folder, place = self.places[index]
        source = None
        if torch.rand((), generator=generator) < self.how.paste:
            source = self._draw(generator)
        sample = self.folders[folder][place]
        example = augment(sample, source, self.canvas, self.how, generator)
        labeled = torch.ones(len(self.class_names), dtype=torch.bool)
        known = self.folders[folder].labelled_labels(place)
        if known is not None:
            labeled[1:] = False
            labeled[list(known)] = True
        return example, labeled, self.image_id(index)

    def _draw(self, generator: torch.Generator):
        """Give a photo to paste from, those with rare classes more often."""
        luck = torch.rand((), generator=generator) * self.total[-1]
        index = int(torch.searchsorted(self.total, luck).clamp(max=len(self) - 1))
        folder, place = self.places[index]
        return self.folders[folder][place]


def repeat_factors(classes: list[frozenset[int]], threshold: float = REPEAT_THRESHOLD) -> Tensor:
    """How often each photo is shown per epoch: `max over its classes of √(threshold / share)`.

    Args:
        classes: The labels that occur in each photo.
        threshold: Classes found in a larger share of the photos do not count.

    Returns:
        float64 [photos], at least 1 each.
    """
    seen: dict[int, int] = {}
    for photo in classes:
        for label in photo:
            seen[label] = seen.get(label, 0) + 1
    weight = {
        label: max(1.0, (threshold * len(classes) / count) ** 0.5) for label, count in seen.items()
    }
    return torch.tensor(
        [max((weight[label] for label in photo), default=1.0) for photo in classes],
        dtype=torch.float64,
    )


class BatchStream(Sampler):
    """An endless row of batches of `(index, seed)`, starting at any step.

    Args:
        factors: [photos] how often each photo is shown per epoch.
        batch_size: Photos per batch, over all processes.
        seed: Seed of the order and of every augmentation.
        start: Number of the first batch.
        rank: This process.
        world: Number of processes; each takes every `world`-th photo of a batch.
    """

    def __init__(
        self,
        factors: Tensor,
        batch_size: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        self.factors, self.batch_size, self.seed = factors, batch_size, seed
        self.start, self.rank, self.world = start, rank, world

    def _photos(self) -> Iterator[int]:
        epoch = 0
        while True:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            luck = torch.rand(len(self.factors), generator=generator, dtype=torch.float64)
            repeats = self.factors.floor() + (luck < self.factors.frac())
            photos = torch.arange(len(self.factors)).repeat_interleave(repeats.long())
            yield from photos[torch.randperm(len(photos), generator=generator)].tolist()
            epoch += 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        photos, step = self._photos(), 0
        while True:
            batch = [
                (next(photos), self.seed * 1_000_003 + step * self.batch_size + i)
                for i in range(self.batch_size)
            ]
            if step >= self.start:
                yield batch[self.rank :: self.world]
            step += 1


def collate(items: list[tuple[Example, Tensor, int]]) -> Batch:
    """Put pictures together, their ground truth padded to the same number of objects."""
    examples = [example for example, _, _ in items]

    def pad(values: list[Tensor], at_least: int) -> Tensor:
        count = max(at_least, *(len(value) for value in values), 0)
        padded = values[0].new_zeros((len(values), count, *values[0].shape[1:]))
        for row, value in zip(padded, values, strict=True):
            row[: len(value)] = value
        return padded

    targets = Targets(
        boxes=pad([e.boxes for e in examples], 1),
        labels=pad([e.labels for e in examples], 1),
        minis=pad([e.minis for e in examples], 1),
        crowds=pad([e.crowds for e in examples], 0),
        labeled=torch.stack([labeled for _, labeled, _ in items]),
    )
    return Batch(
        torch.stack([e.image for e in examples]), targets, tuple(image_id for *_, image_id in items)
    )
