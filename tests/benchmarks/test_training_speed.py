"""Photos per second in training, against the loop that torchvision's users write."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.bundled import PHOTOS
from mrcnn_steps.mini_masks import expand
from mrcnn_steps.model.augment import Augmentation
from mrcnn_steps.model.losses import Losses
from mrcnn_steps.model.network import tiny
from mrcnn_steps.model.run import Run
from mrcnn_steps.model.schedule import Average
from mrcnn_steps.model.train import training_step
from mrcnn_steps.model.training_set import Batch, TrainingSet, collate

CANVAS, BATCH = 384, 4


def batches() -> list[Batch]:
    """The eight bundled photos as two batches."""
    folder = CocoFolder(PHOTOS, Path(PHOTOS) / "instances.json")
    photos = TrainingSet([folder], CANVAS, Augmentation((1, 1), color=0, paste=0))
    items = [photos[(index, 0)] for index in range(len(photos))]
    return [collate(items[start : start + BATCH]) for start in range(0, len(items), BATCH)]


def for_torchvision(batch: Batch) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """The same batch as `model(images, targets)` takes it."""
    truth, targets = batch.targets, []
    for boxes, labels, minis in zip(truth.boxes, truth.labels, truth.minis, strict=True):
        real = labels > 0
        masks = expand(minis[real].bool(), boxes[real], (CANVAS, CANVAS)).to(torch.uint8)
        targets.append({"boxes": boxes[real], "labels": labels[real], "masks": masks})
    return list(batch.images.float() / 255), targets


def test_training_is_no_slower_than_the_plain_loop(
    times_as_fast: Callable[..., float],
) -> None:
    """Ours does more (clipping, running average, check for NaN) and must still not be slower.

    Eight photos a round: photos per second are 8 / the printed times.
    """
    torch.manual_seed(0)
    plain = tiny(image_size=CANVAS)
    model = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    # The optimizer as `mrcnn-steps train` makes it, and as one gets it by its name.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    plain_optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-5)
    run = Run(model, Average(model, 0.999), optimizer)
    losses = Losses(model)
    generator, cpu = torch.Generator().manual_seed(0), torch.device("cpu")
    ours = batches()
    theirs = [for_torchvision(batch) for batch in ours]

    def train_ours() -> None:
        for batch in ours:
            training_step(run, losses, batch, generator, cpu)
            run.step += 1
            run.average.update(model, run.step)

    def train_plain() -> None:
        for images, targets in theirs:
            loss = torch.stack(list(plain(images, targets).values())).sum()
            plain_optimizer.zero_grad()
            loss.backward()
            plain_optimizer.step()

    ratio = times_as_fast(train_ours, train_plain, rounds=5)
    assert ratio >= 1.0
