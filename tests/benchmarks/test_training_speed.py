"""Photos per second in training, against the loop that torchvision's users write."""

import copy
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.bundled import PHOTOS
from mrcnn_steps.mini_masks import expand
from mrcnn_steps.model.augment import Augmentation
from mrcnn_steps.model.losses import Losses
from mrcnn_steps.model.network import tiny
from mrcnn_steps.model.schedule import Average
from mrcnn_steps.model.train import Run, training_step
from mrcnn_steps.model.training_set import Batch, TrainingSet, collate

CANVAS, BATCH, ROUNDS = 256, 4, 4


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


def optimizer_of(model: MaskRCNN) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def test_training_is_no_slower_than_the_plain_loop() -> None:
    """Ours does more (clipping, running average, check for NaN) and must still not be slower.

    Both take turns in one process, so that whatever else the machine does slows both.
    """
    torch.manual_seed(0)
    plain = tiny(image_size=CANVAS)
    model = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    run = Run(model, Average(model, 0.999), optimizer_of(model))
    losses, plain_optimizer = Losses(model), optimizer_of(plain)
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

    def seconds(work) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    train_ours(), train_plain()
    rounds = [(seconds(train_ours), seconds(train_plain)) for _ in range(ROUNDS)]
    photos = len(ours) * BATCH
    speed, plain_speed = (photos / statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(plain / ours for ours, plain in rounds)
    print(f"\ntraining: {speed:.2f} photos/s, plain loop {plain_speed:.2f}, ratio {ratio:.2f}")
    assert ratio >= 1.0
