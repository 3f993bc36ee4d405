"""Models of every kind with random weights, whose heads find hundreds of things in any photo."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import MultiScaleRoIAlign

from mrcnn_steps.data import Sample, sample
from mrcnn_steps.model.network import tiny

CLASSES = ("background", "person", "chair", "bottle", "dining table")
UNTRAINED = {"weights": None, "weights_backbone": None}
SMALL = {"min_size": 256, "max_size": 400}


def liven(model: FasterRCNN, photo: Tensor) -> FasterRCNN:
    """Scale the heads of an untrained model so that its outputs are as spread as a trained one's.

    On its first call each output layer is centered and scaled by what it gives for a real photo.
    """
    heads = model.roi_heads
    spreads = {
        model.rpn.head.cls_logits: 2.0,
        model.rpn.head.bbox_pred: 0.3,
        heads.box_predictor.cls_score: 2.5,
        heads.box_predictor.bbox_pred: 1.0,
    }
    if heads.has_mask():
        spreads[heads.mask_predictor.mask_fcn_logits] = 2.0
    hooks = []

    def standardize(layer: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
        if layer not in spreads:
            return None
        axes = [axis for axis in range(output.ndim) if axis != 1]
        mean = output.mean(dim=axes)
        factor = spreads.pop(layer) / (output - output.mean(dim=axes, keepdim=True)).std()
        layer.weight *= factor
        layer.bias.copy_((layer.bias - mean) * factor)
        return (output - output.mean(dim=axes, keepdim=True)) * factor

    with torch.no_grad():
        for layer in spreads:
            hooks.append(layer.register_forward_hook(standardize))
        model([photo])
    for hook in hooks:
        hook.remove()
    assert not spreads
    # What was cached about the first photo belongs to nobody.
    for pooler in (heads.box_roi_pool, heads.mask_roi_pool):
        if pooler is not None:
            pooler.scales = pooler.map_levels = None
    return model


def own_anchors() -> MaskRCNN:
    """Twelve anchors on a cell, and a setting of its own for everything."""
    model = MaskRCNN(
        resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5),
        num_classes=len(CLASSES) + 2,
        min_size=190,
        max_size=310,
        image_mean=[0.5, 0.4, 0.3],
        image_std=[0.2, 0.3, 0.25],
        rpn_anchor_generator=AnchorGenerator(
            tuple((size, size * 1.3, size * 1.6) for size in (11, 24, 50, 100, 210)),
            ((0.3, 0.8, 1.7, 4.0),) * 5,
        ),
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=210,
        rpn_nms_thresh=0.6,
        rpn_score_thresh=0.4,
        box_score_thresh=0.12,
        box_nms_thresh=0.3,
        box_detections_per_img=30,
        bbox_reg_weights=(8.0, 9.0, 4.0, 3.0),
        box_roi_pool=MultiScaleRoIAlign(["1", "2"], 7, 0, canonical_scale=90, canonical_level=4),
        mask_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], 14, 1, canonical_scale=60),
    )
    model.class_names = (*CLASSES, "cat", "cup")
    return model


class Strided(nn.Sequential):
    """One feature map, as torchvision's tutorial makes one from a classifier."""

    out_channels = 24

    def __init__(self) -> None:
        layers = []
        for inputs, outputs in ((3, 12), (12, 24), (24, 24), (24, 24)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
        super().__init__(*layers)


def single_map() -> MaskRCNN:
    model = MaskRCNN(
        Strided(),
        num_classes=len(CLASSES),
        min_size=200,
        max_size=320,
        rpn_anchor_generator=AnchorGenerator(((16, 48, 128),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
        mask_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
    )
    model.class_names = CLASSES
    return model


MODELS: dict[str, Callable[[], FasterRCNN]] = {
    "maskrcnn_resnet50_fpn": lambda: detection.maskrcnn_resnet50_fpn(**UNTRAINED, **SMALL),
    "maskrcnn_resnet50_fpn_v2": lambda: detection.maskrcnn_resnet50_fpn_v2(**UNTRAINED, **SMALL),
    "fasterrcnn_mobilenet_v3_large_fpn": lambda: detection.fasterrcnn_mobilenet_v3_large_fpn(
        **UNTRAINED, **SMALL
    ),
    "fasterrcnn_mobilenet_v3_large_320_fpn": lambda: (
        detection.fasterrcnn_mobilenet_v3_large_320_fpn(**UNTRAINED)
    ),
    "own_anchors": own_anchors,
    "single_map": single_map,
    "tiny": lambda: tiny(image_size=384),
}


@pytest.fixture(scope="session")
def landscape() -> Sample:
    """Nineteen people, chairs and bottles around tables."""
    return sample("voc_people")


@pytest.fixture(scope="session")
def portrait(landscape: Sample) -> Sample:
    return Sample.from_masks(
        landscape.image.transpose(1, 2).contiguous(),
        landscape.masks.transpose(1, 2).contiguous(),
        landscape.labels,
        landscape.crowd,
        landscape.class_names,
        "portrait",
    )


@pytest.fixture(scope="session")
def lively(landscape: Sample) -> Callable[[str], FasterRCNN]:
    """Build a model by its name, once a session; who changes it, changes it back."""
    built: dict[str, FasterRCNN] = {}

    def build(name: str) -> FasterRCNN:
        if name not in built:
            torch.manual_seed(0)
            built[name] = liven(MODELS[name]().eval(), landscape.image / 255)
        return built[name]

    return build


@pytest.fixture(params=list(MODELS))
def model(request: pytest.FixtureRequest, lively: Callable[[str], FasterRCNN]) -> FasterRCNN:
    return lively(request.param)


@pytest.fixture
def small(lively: Callable[[str], FasterRCNN]) -> FasterRCNN:
    """A quick model of one's own, to break; it has seen no photo yet."""
    copied = copy.deepcopy(lively("single_map"))
    for pooler in (copied.roi_heads.box_roi_pool, copied.roi_heads.mask_roi_pool):
        pooler.scales = pooler.map_levels = None
    return copied
