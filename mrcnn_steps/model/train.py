"""The loop of a training run, from its data to its figures.

Step t of a run depends on the seed, on t and on the weights, on nothing else: its photos, their
augmentation and all other random numbers are drawn from seeds made of these. That is what makes
`--resume` exact.
"""

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from mrcnn_steps.data.coco import CocoFolder
from mrcnn_steps.files import write_json
from mrcnn_steps.model.evaluate import evaluate, place_in_group, table
from mrcnn_steps.model.log import Log
from mrcnn_steps.model.losses import Losses
from mrcnn_steps.model.run import Run, save
from mrcnn_steps.model.schedule import learning_rate_factor
from mrcnn_steps.model.training_set import Batch, BatchStream, TrainingSet, collate

LARGEST_GRADIENT = 10.0
INTERRUPTED = 130


class NonFiniteLossError(ValueError):
    """A loss or gradient is NaN or infinite: the weights would be lost."""


def train(
    args: argparse.Namespace,
    state: Run,
    training: TrainingSet,
    validation: CocoFolder | None,
    device: torch.device,
) -> int:
    """Train until the end of the schedule or Ctrl-C; returns the exit status."""
    rank, world = place_in_group()
    losses: nn.Module = Losses(state.model)
    if world > 1:
        losses = DistributedDataParallel(losses)
    log = Log(args.out, state.step)
    batches = load_batches(args, training, state.step, device, rank, world)
    generator = torch.Generator(device)
    before, began = state.seconds, time.monotonic()
    saved, evaluated = began, int(progress_of(args, state) * args.evaluations)
    bar = tqdm(
        total=None if args.minutes else args.iterations,
        initial=state.step,
        disable=rank > 0,
        mininterval=1,
        unit="step",
    )
    with interruptions() as interrupted, bar:
        while (progress := progress_of(args, state)) < 1:
            factor = learning_rate_factor(state.step, progress, args.warmup)
            for group in state.optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
            seed_step(args.seed, state.step, rank, generator)
            values = training_step(state, losses, next(batches), generator, device)
            state.step += 1
            state.average.update(state.model, state.step)
            seconds = before + time.monotonic() - began
            stop, state.seconds = agree(bool(interrupted), seconds, device, world)
            log.add(state.step, state.seconds, args.lr * factor, values)
            bar.update()
            bar.set_postfix(log.latest, refresh=False)
            if rank == 0 and (stop or time.monotonic() - saved > 60 * args.save_minutes):
                if stop:
                    log.close_line()
                save(state, args, log)
                saved = time.monotonic()
            if stop:
                if rank == 0:
                    bar.write(f"interrupted after step {state.step}; --resume continues")
                return INTERRUPTED
            due = int(progress_of(args, state) * args.evaluations)
            if validation is not None and evaluated < due < args.evaluations:
                evaluated = due
                report(state, args, validation, device, bar)
    if rank == 0:
        log.close_line()
        save(state, args, log)
    if validation is not None:
        report(state, args, validation, device, bar)
    return 0


def progress_of(args: argparse.Namespace, state: Run) -> float:
    """Part of the run that is done, from 0 to 1."""
    return state.seconds / (60 * args.minutes) if args.minutes else state.step / args.iterations


def seed_step(seed: int, step: int, rank: int, generator: torch.Generator) -> None:
    """Make all randomness of a step (sampling, dropout) depend on its number alone."""
    number = (seed * 1_000_003 + step) * 1009 + rank
    torch.manual_seed(number)
    generator.manual_seed(number)


def training_step(
    state: Run, losses: nn.Module, batch: Batch, generator: torch.Generator, device: torch.device
) -> dict[str, float]:
    """One step of gradient descent.

    Returns:
        The losses.

    Raises:
        NonFiniteLossError: A loss or the gradient is NaN or infinite; the weights are untouched.
    """
    images = batch.images.to(device, non_blocking=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        parts = losses(images, batch.targets.to(device), generator)
    state.optimizer.zero_grad()
    torch.stack(list(parts.values())).sum().backward()
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), LARGEST_GRADIENT)
    # Everything in one list: reading numbers from a GPU waits for it, so it is done once.
    numbers = torch.stack([*parts.values(), norm]).tolist()
    values = dict(zip([*parts, "gradient"], numbers, strict=True))
    if not all(map(torch.isfinite, torch.tensor(numbers))):
        ids = ", ".join(map(str, batch.image_ids))
        raise NonFiniteLossError(
            f"step {state.step}: found {values}, expected finite losses; image ids: {ids}"
        )
    state.optimizer.step()
    return values


def load_batches(
    args: argparse.Namespace,
    training: TrainingSet,
    step: int,
    device: torch.device,
    rank: int,
    world: int,
) -> Iterator[Batch]:
    """The batches from a step on, made by worker processes."""
    stream = BatchStream(training.factors, args.batch_size, args.seed, step, rank, world)
    loader = DataLoader(
        training,
        batch_sampler=stream,
        collate_fn=collate,
        num_workers=args.workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if args.workers else None,
        worker_init_fn=leave_interrupts_to_parent if args.workers else None,
    )
    return iter(loader)


def leave_interrupts_to_parent(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal, but the trainer still needs its last batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def interruptions() -> Iterator[list[int]]:
    """Collect Ctrl-C in a list instead of raising; a second one raises as usual."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, previous)


def agree(stop: bool, seconds: float, device: torch.device, world: int) -> tuple[bool, float]:
    """Whether any process wants to stop, and the time: all must end after the same step."""
    if world == 1:
        return stop, seconds
    most = torch.tensor([float(stop), seconds], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
    return bool(most[0].item()), most[1].item()


def report(
    state: Run,
    args: argparse.Namespace,
    validation: CocoFolder,
    device: torch.device,
    bar: tqdm,
) -> None:
    """Evaluate the averaged weights; write and print the figures."""
    metrics = evaluate(state.average.model, validation, device, progress=False)
    if metrics is None:
        return
    metrics = {"step": state.step, "seconds": round(state.seconds, 1)} | metrics
    write_json(args.out / "metrics.json", metrics)
    bar.write(f"step {state.step}\n" + "\n".join(table(metrics).splitlines()[:8]))
