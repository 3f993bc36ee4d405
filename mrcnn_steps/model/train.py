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
from mrcnn_steps.files import describe, write_json
from mrcnn_steps.model.evaluate import evaluate, place_in_group, table
from mrcnn_steps.model.log import Log
from mrcnn_steps.model.losses import Losses
from mrcnn_steps.model.run import Run, save
from mrcnn_steps.model.schedule import learning_rate_factor
from mrcnn_steps.model.training_set import Batch, BatchStream, TrainingSet, collate

LARGEST_GRADIENT = 10.0

# Ctrl-C, and what machines send before they go down or to make room for others.
STOPPING = (signal.SIGINT, signal.SIGTERM)


class TrainingError(ValueError):
    """What ended a training, and what of it is saved, in one line."""


class NonFiniteLossError(ValueError):
    """A loss or gradient is NaN or infinite: the weights would be lost."""


def train(
    args: argparse.Namespace,
    state: Run,
    training: TrainingSet,
    validation: CocoFolder | None,
    device: torch.device,
) -> int:
    """Train until the end of the schedule, Ctrl-C or SIGTERM.

    Returns:
        The exit status: 0, or 128 and the number of the signal.

    Raises:
        TrainingError: Something went wrong; what was learned is saved.
    """
    rank, world = place_in_group()
    losses: nn.Module = Losses(state.model)
    if world > 1:
        losses = DistributedDataParallel(losses)
    log = Log(args.out, state.step)
    bar = tqdm(
        total=None if args.minutes else args.iterations,
        initial=state.step,
        disable=rank > 0,
        mininterval=1,
        unit="step",
    )
    with interruptions() as received, bar:
        try:
            batches = load_batches(args, training, state.step, device, rank, world)
            return loop(args, state, losses, batches, validation, log, bar, received, device)
        except Exception as error:
            if received and isinstance(error, RuntimeError):
                # SIGTERM may end the workers too, and then there is no last batch.
                bar.write(f"interrupted: {rescue(state, args, log)}")
                return 128 + received[0]
            kept = "" if rank > 0 else f"; {rescue(state, args, log)}"
            raise TrainingError(f"step {state.step}: {reason_of(error)}{kept}") from error


def loop(
    args: argparse.Namespace,
    state: Run,
    losses: nn.Module,
    batches: Iterator[Batch],
    validation: CocoFolder | None,
    log: Log,
    bar: tqdm,
    received: list[int],
    device: torch.device,
) -> int:
    """Take the steps of `train`, and save and measure in between; returns the exit status."""
    rank, world = place_in_group()
    generator = torch.Generator(device)
    before, began = state.seconds, time.monotonic()
    saved, evaluated = began, int(progress_of(args, state) * args.evaluations)
    while (progress := progress_of(args, state)) < 1:
        factor = learning_rate_factor(state.step, progress, args.warmup)
        for group in state.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        seed_step(args.seed, state.step, rank, generator)
        values = training_step(state, losses, next(batches), generator, device)
        state.step += 1
        state.average.update(state.model, state.step)
        seconds = before + time.monotonic() - began
        stop, state.seconds = agree(max(received, default=0), seconds, device, world)
        log.add(state.step, state.seconds, args.lr * factor, values)
        bar.update()
        bar.set_postfix(log.latest, refresh=False)
        due = int(progress_of(args, state) * args.evaluations)
        measure = not stop and validation is not None and evaluated < due < args.evaluations
        late = time.monotonic() - saved > 60 * args.save_minutes
        if rank == 0 and (stop or measure or late):
            if stop:
                log.close_line()
            save(state, args, log)
            saved = time.monotonic()
        if stop:
            if rank == 0:
                bar.write(f"interrupted after step {state.step}; --resume continues")
            return 128 + stop
        if validation is not None and measure:
            evaluated = due
            report(state, args, validation, device, bar)
    if rank == 0:
        log.close_line()
        save(state, args, log)
    if validation is not None:
        report(state, args, validation, device, bar)
    return 0


def rescue(state: Run, args: argparse.Namespace, log: Log) -> str:
    """Save what was learned after an error; tells what there is to go on from."""
    if state.step == 0:
        return "nothing was learned yet"
    try:
        log.close_line()
        save(state, args, log)
    except OSError:
        if (args.out / "last.pth").is_file():
            return "the last checkpoint is still there; --resume continues"
        return "no checkpoint could be written"
    return f"the checkpoint of step {state.step} is written; --resume continues"


def reason_of(error: Exception) -> str:
    """Tell an error in one line, from a worker that loads photos too."""
    text = describe(error) if isinstance(error, OSError) else str(error)
    # A worker's error comes with the worker's traceback, whose last line says what it was.
    lines = text.strip().splitlines()[-1:] if "Original Traceback" in text else text.split("\n")
    kind = type(error).__name__
    line = " ".join(line.strip() for line in lines).strip().removeprefix(f"{kind}: ")
    return line if isinstance(error, ValueError | OSError) and line else f"{kind}: {line}"


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
        raise NonFiniteLossError(f"found {values}, expected finite losses; image ids: {ids}")
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
    """Give the batches from a step on, made by worker processes."""
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
    batches = iter(loader)
    if hasattr(signal, "SIGCHLD"):
        # A worker that is killed is missed where its batch is due, not in the middle of a step.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return batches


def leave_interrupts_to_parent(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal, but the trainer still needs its last batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def interruptions() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list; a second one acts as usual."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous = {number: signal.signal(number, note) for number in STOPPING}
    try:
        yield received
    finally:
        restore()


def agree(stop: int, seconds: float, device: torch.device, world: int) -> tuple[int, float]:
    """Give the signal that any process got (or 0), and the time: all end after the same step."""
    if world == 1:
        return stop, seconds
    most = torch.tensor([float(stop), seconds], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
    return int(most[0].item()), most[1].item()


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
