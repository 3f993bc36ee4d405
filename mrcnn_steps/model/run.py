"""A training run between two steps: model, average, optimizer, and their checkpoint."""

import argparse
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from mrcnn_steps.model.architectures import build, check_tail
from mrcnn_steps.model.checkpoint import fit, save_state, save_weights
from mrcnn_steps.model.log import Log
from mrcnn_steps.model.pretrained import freeze_norms, keep_norms, load_backbone, start_from
from mrcnn_steps.model.resuming import load_moments, read_state
from mrcnn_steps.model.schedule import Average
from mrcnn_steps.model.training_set import TrainingSet

# What ImageNet has taught: of R-CNN, RetinaNet and FCOS the body, of SSD the features.
PRETRAINED = ("backbone.body.", "backbone.features.")


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


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """Give the arguments in types that a checkpoint may hold."""

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return str(value) if isinstance(value, Path) else value

    # What was typed is no setting: --resume is in it.
    told = {name: value for name, value in vars(args).items() if name not in ("command", "typed")}
    return {name: plain(value) for name, value in told.items()}


def start(args: argparse.Namespace, training: TrainingSet, device: torch.device) -> Run:
    """Build the model, its optimizer and average: fresh, or as the last checkpoint left them."""
    torch.manual_seed(args.seed)
    model: Any = build(args.model, training.class_names, args.image_size, args.pretrained_backbone)
    if args.backbone_weights is not None:
        check_tail(args.model)
        freeze_norms(model.backbone)
    if args.resume:
        before = read_state(args.out / "last.pth", settings_of(args), model.class_names)
        keep_norms(model, before["model"])
    elif args.weights is not None:
        start_from(model, args.model, args.weights)
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
        resume(state, before, args.out / "last.pth")
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


def resume(state: Run, before: dict[str, Any], path: Path) -> None:
    """Take up the state of the last checkpoint."""
    fit(state.model, before["model"], path)
    fit(state.average.model, before["average"], path)
    load_moments(state.optimizer, before["optimizer"], path)
    state.step, state.seconds = before["step"], float(before["seconds"])
