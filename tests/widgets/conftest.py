"""One trace for all tests of the widgets: the bundled network, untrained but lively."""

import asyncio

import pytest
import torch
from torch import nn

from mrcnn_steps.data import Sample, sample
from mrcnn_steps.model.network import tiny
from mrcnn_steps.tracing import Trace, trace
from mrcnn_widgets.debugger import PipelineDebugger


@pytest.fixture(autouse=True)
def _no_loop_runs():
    """As in a script: Playwright leaves its own loop set in the thread that the tests share."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


def _enliven(layer: nn.Conv2d | nn.Linear, mean: float, spread: float) -> None:
    """Rescales a layer on its first call, so that every output channel has this mean and spread."""

    def rescale(_, inputs, output):
        handle.remove()
        channels = output.transpose(0, 1).flatten(1)
        scale = spread / channels.std(dim=1)
        layer.bias.copy_((layer.bias - channels.mean(dim=1)) * scale + mean)
        layer.weight.mul_(scale.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        return layer(*inputs)

    handle = layer.register_forward_hook(rescale)


@pytest.fixture(scope="session")
def lively_model():
    """Random weights, scaled so that scores spread, boxes move and detections appear."""
    torch.manual_seed(0)
    torch.set_num_threads(2)
    model = tiny().eval()
    box_head = model.roi_heads.box_predictor
    _enliven(model.rpn.head.cls_logits, -2.0, 1.5)
    _enliven(model.rpn.head.bbox_pred, 0.0, 0.1)
    _enliven(box_head.cls_score, 0.0, 1.5)
    _enliven(box_head.bbox_pred, 0.0, 1.0)
    _enliven(model.roi_heads.mask_predictor.mask_fcn_logits, 0.0, 2.0)
    with torch.no_grad():
        model([sample("voc_people").image / 255])
    return model


@pytest.fixture(scope="session")
def tiny_trace(lively_model) -> Trace:
    """The people at the tables, with their ground truth."""
    return trace(lively_model, sample("voc_people"))


@pytest.fixture(scope="session")
def bare_sample() -> Sample:
    """A photo without annotations."""
    people = sample("voc_people")
    return Sample.from_masks(
        image=people.image,
        masks=people.masks[:0],
        labels=people.labels[:0],
        crowd=people.crowd[:0],
        class_names=people.class_names,
        name="bare",
    )


@pytest.fixture
def debugger(tiny_trace):
    made = PipelineDebugger(tiny_trace)
    yield made
    made.close()


@pytest.fixture
def calls(lively_model):
    """What ran of the network, by name."""
    ran: list[str] = []
    parts = {
        "backbone": lively_model.backbone,
        "box head": lively_model.roi_heads.box_head,
        "mask head": lively_model.roi_heads.mask_head,
    }
    handles = [
        part.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, part in parts.items()
    ]
    yield ran
    for handle in handles:
        handle.remove()
