"""A trace that is small, and has all there is to report."""

import warnings
from dataclasses import replace

import pytest
import torch
from torchvision.models.detection import MaskRCNN

from mrcnn_steps import Trace, sample, trace
from mrcnn_steps.model.network import tiny


def small_model() -> MaskRCNN:
    """One with random weights that finds something."""
    torch.manual_seed(0)
    model = tiny(image_size=128).eval()
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=8)
    torch.nn.init.normal_(model.rpn.head.cls_logits.weight, std=10)
    model.rpn._post_nms_top_n = {"training": 100, "testing": 100}
    model.roi_heads.detections_per_img = 12
    return model


@pytest.fixture(scope="session")
def small() -> Trace:
    """A small model on a photo with 19 objects."""
    return trace(small_model(), sample("voc_people"))


@pytest.fixture(scope="session")
def bare() -> Trace:
    """A small model on a photo that nobody annotated."""
    return trace(small_model(), sample("cat").image)


HOSTILE = '</script><img src=x onerror="alert(1)">&{row}'


def with_hostile_names(small: Trace) -> Trace:
    """The same with classes and a photo whose names try to be markup."""
    names = tuple(
        name if label == 0 else f"{HOSTILE}{label}" for label, name in enumerate(small.class_names)
    )
    photo = replace(small.sample, class_names=names, name=HOSTILE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return trace(small.model, photo, class_names=names)


@pytest.fixture(scope="session")
def hostile(small) -> Trace:
    """Classes and a photo with names that try to be markup."""
    return with_hostile_names(small)
