"""Keeping everything costs next to nothing."""

import pytest
import torch
from torch import nn

from mrcnn_steps import sample, trace
from mrcnn_steps.model.network import tiny


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """The bundled network with fresh weights, spread so that it finds its hundred objects."""
    torch.manual_seed(0)
    model = tiny().eval()
    with torch.no_grad():
        model.rpn.head.cls_logits.weight *= 100
        model.roi_heads.box_predictor.cls_score.weight *= 100
    return model


def test_a_trace_takes_at_most_a_tenth_longer_than_the_model(times_as_fast, model):
    photo = sample("voc_people").image

    def peer():
        with torch.no_grad():
            return model([photo / 255])[0]

    traced = trace(model, photo)
    assert len(traced.proposals) == 1000
    assert len(traced.detections) == 100
    assert torch.equal(traced.result["boxes"], peer()["boxes"])
    assert times_as_fast(lambda: trace(model, photo), peer, 9) >= 1 / 1.1
