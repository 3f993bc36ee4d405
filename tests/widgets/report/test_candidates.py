"""From the candidates of real traces the page computes what torchvision itself returns."""

import json
import math
import random
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from mrcnn_steps import load_model, sample
from mrcnn_steps.tracing import glance
from mrcnn_widgets.report import candidates
from mrcnn_widgets.report.packing import in_block
from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.views import anchors as anchors_view
from tests.debug.conftest import KINDS
from tests.debug.scenes import set_to
from tests.parity.conftest import liven
from tests.widgets.test_js import node

PROGRAM = Path(__file__).with_name("candidates.mjs")
# Of each kind of model, how many settings are tried.
MODELS = {"bundled": 200, "class_agnostic": 10, "one_class": 10, "boxes_only": 10}


def build(kind, image):
    if kind == "bundled":
        model = load_model("tiny")
        # As torchvision's models: NMS of its own ten thousand takes a second each time.
        model.rpn._pre_nms_top_n["testing"] = 1000
        return model
    torch.manual_seed(0)
    return liven(KINDS[kind]().eval(), image)


@pytest.fixture(scope="module", params=MODELS)
def seen(request):
    """A trace, what torchvision gave its two filters on the way, and how many settings to try."""
    image = sample("voc_people").image
    model = build(request.param, image / 255)
    rpn, heads = model.rpn, model.roi_heads
    with (
        patch.object(rpn, "filter_proposals", wraps=rpn.filter_proposals) as propose,
        patch.object(heads, "postprocess_detections", wraps=heads.postprocess_detections) as detect,
        # Masks are not asked for.
        set_to(model, {"roi_heads.detections_per_img": 0}),
        torch.no_grad(),
    ):
        model([image / 255])
    given = propose.call_args.args, detect.call_args.args
    return glance(model, image), *given, MODELS[request.param]


def shown(record, payload, tried):
    """What the page shows at the last step of a stage, setting by setting."""
    addresses = ["&".join(f"{name}={value!r}" for name, value in each.items()) for each in tried]
    question = {"record": record, "html": payload.html(), "addresses": addresses}
    done = node(PROGRAM, input=json.dumps(question))
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    for settings, answer in zip(tried, answers, strict=True):
        assert answer["settings"] == record["settings"] | settings
    return answers


def same(boxes, answer):
    return torch.equal(boxes, torch.tensor(answer["boxes"]).reshape(-1, 4))


def test_stage_4_ends_with_the_proposals_of_torchvision(seen):
    trace, given, _, count = seen
    payload, dice = Payload(), random.Random(count)
    every = in_block(anchors_view.every(trace.anchors), payload, "anchors")
    stage = candidates.proposals(trace, payload, "case", every)
    record = {"key": "proposals", "tables": [], **stage}
    tried = [
        {
            "score": dice.choice([0.0, 0.5, dice.random()]),
            "nms": dice.choice([0.0, 0.7, 1.0, dice.random()]),
            "limit": dice.choice([1, 50, 1000]),
            "min_size": dice.choice([0.0, 16.0, dice.random() * 100]),
        }
        for _ in range(count)
    ]
    for settings, answer in zip(tried, shown(record, payload, tried), strict=True):
        asked = {
            "rpn.score_thresh": settings["score"],
            "rpn.nms_thresh": settings["nms"],
            "rpn.post_nms_top_n": settings["limit"],
            "rpn.min_size": settings["min_size"],
        }
        with set_to(trace.model, asked):
            [boxes], [scores] = trace.model.rpn.filter_proposals(*given)
        assert same(boxes, answer), settings
        assert scores.tolist() == answer["scores"], settings


def test_stage_6_ends_with_the_detections_of_torchvision(seen):
    trace, _, given, count = seen
    payload, dice = Payload(), random.Random(count)
    own = trace.detections.score_threshold
    stage = candidates.detection(trace, payload, "case", own)
    record = {"key": "detection", "tables": [], **stage}
    least = min(own, math.ceil(record["floor"] * 100) / 100)
    tried = [
        {
            "score": max(least, dice.choice([0.0, own, dice.random()])),
            "nms": dice.choice([0.0, 0.5, 1.0, dice.random()]),
            "limit": dice.choice([1, 20, 300]),
        }
        for _ in range(count)
    ]
    for settings, answer in zip(tried, shown(record, payload, tried), strict=True):
        asked = {
            "roi_heads.score_thresh": settings["score"],
            "roi_heads.nms_thresh": settings["nms"],
            "roi_heads.detections_per_img": settings["limit"],
        }
        with set_to(trace.model, asked):
            [boxes], [scores], [labels] = trace.model.roi_heads.postprocess_detections(*given)
        assert same(boxes, answer), settings
        assert scores.tolist() == answer["scores"], settings
        assert labels.tolist() == answer["groups"], settings
