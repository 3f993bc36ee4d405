"""What a trace would have to tell lies about is refused."""

import jaxtyping
import pytest
import torch
from torch import nn
from torchvision.models.detection import KeypointRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign

from mrcnn_steps import trace


@pytest.fixture
def type_refused():
    """A wrong type stops at the checked annotation, or else at our own message."""
    return TypeError, jaxtyping.TypeCheckError


def test_a_model_in_training_mode(small, landscape):
    with pytest.raises(ValueError, match=r"training mode; call model.eval\(\) first"):
        trace(small.train(), landscape)
    assert small.training


def test_a_model_with_keypoints(small, landscape):
    anchors = AnchorGenerator(((16, 48, 128),), ((0.5, 1.0, 2.0),))
    poolers = [MultiScaleRoIAlign(["0"], size, 2) for size in (7, 14)]
    model = KeypointRCNN(
        small.backbone,
        num_classes=2,
        rpn_anchor_generator=anchors,
        box_roi_pool=poolers[0],
        keypoint_roi_pool=poolers[1],
    ).eval()
    with pytest.raises(ValueError, match="keypoint head"):
        trace(model, landscape)


def test_another_kind_of_model(small, landscape, type_refused):
    retina = RetinaNet(
        small.backbone, num_classes=3, anchor_generator=AnchorGenerator(((16,),), ((1.0,),))
    )
    for model in (retina.eval(), nn.Linear(2, 2), None):
        with pytest.raises(type_refused):
            trace(model, landscape)


def own_step(*arguments):
    raise AssertionError("never called")


@pytest.mark.parametrize(
    ("part", "base", "step"),
    [
        ("rpn", RegionProposalNetwork, "filter_proposals"),
        ("rpn", RegionProposalNetwork, "forward"),
        ("roi_heads", RoIHeads, "postprocess_detections"),
        ("roi_heads", RoIHeads, "forward"),
    ],
)
@pytest.mark.parametrize("where", ["subclass", "instance"])
def test_a_step_of_ones_own_is_named(small, landscape, part, base, step, where):
    module = getattr(small, part)
    if where == "subclass":
        module.__class__ = type("Own", (base,), {step: own_step})
    else:
        setattr(module, step, own_step)
    with pytest.raises(ValueError, match=rf"model\.{part}\.{step}: expected torchvision's own"):
        trace(small, landscape)


def test_a_pooling_of_ones_own_is_named(small, landscape):
    small.roi_heads.mask_roi_pool = nn.Identity()
    with pytest.raises(ValueError, match=r"model\.roi_heads\.mask_roi_pool: expected torchvision"):
        trace(small, landscape)


def test_a_photo_that_is_none(small, refused, type_refused):
    grey, alpha = torch.rand(1, 40, 50), torch.rand(4, 40, 50)
    for image in (grey, grey[0], alpha, grey[None]):
        with pytest.raises(refused):
            trace(small, image)
    for image in ("photo.jpg", None, [torch.rand(3, 40, 50)]):
        with pytest.raises(type_refused):
            trace(small, image)


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.5, 255.0])
def test_brightness_outside_the_unit_range(small, value):
    """A photo of 0…255 in floating point is the usual mistake, and gives confident nonsense."""
    image = torch.rand(3, 40, 50)
    image[1, 2, 3] = value
    with pytest.raises(ValueError, match="floating point in 0…1"):
        trace(small, image)


def test_a_photo_of_another_precision_than_the_model(small, landscape):
    with pytest.raises(ValueError, match="float64"):
        trace(small, landscape.image.double() / 255)


def test_names_that_do_not_fit_the_model(small, landscape):
    with pytest.raises(ValueError, match="the model has 5 classes, found 2 names"):
        trace(small, landscape.image, class_names=("background", "person"))


def test_a_label_outside_the_models_classes(small, landscape):
    names = ("background", "person", "chair", "cup", "dining table")
    with pytest.raises(ValueError, match=r"bottle.* are not among the model's 5 classes"):
        trace(small, landscape, class_names=names)
