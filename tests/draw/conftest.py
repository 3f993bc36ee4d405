"""The model and the trace that the tests of the pictures share."""

import pytest

from mrcnn_steps import trace
from mrcnn_steps.data import sample
from mrcnn_steps.model.network import tiny
from tests.draw.scenes import lively


@pytest.fixture(scope="module")
def model():
    return lively(tiny(image_size=256))


@pytest.fixture(scope="module")
def traced(model):
    found = trace(model, sample("voc_people"))
    assert len(found.detections) > 10
    assert len(found.ground_truth.mask_targets) > 10
    return found
