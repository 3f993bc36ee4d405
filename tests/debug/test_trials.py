"""Trials: what a rerun finds, with nothing computed twice."""

import pytest
import torch

from mrcnn_steps.debug.fates import found_objects
from mrcnn_steps.debug.price import tally
from mrcnn_steps.debug.rerun import rerun
from mrcnn_steps.debug.trials import Trials

SETTINGS = [
    {"roi_heads.nms_thresh": 0.6},
    {"roi_heads.detections_per_img": 20},
    {"rpn.nms_thresh": 0.8},
    {"rpn.post_nms_top_n": 300, "rpn.pre_nms_top_n": 4000},
    {"rpn.post_nms_top_n": 1500, "roi_heads.score_thresh": 0.3},
]


@pytest.fixture(scope="module")
def trials(traced):
    """One for all settings, so that they share what they can."""
    return Trials(traced, 0.5)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_trial_finds_what_a_rerun_finds(trials, traced, settings):
    trial, whole = trials.run(settings), rerun(traced, settings)
    assert torch.equal(trial.proposals.rows, whole.proposals.rows)
    assert torch.equal(trial.detections.labels, whole.detections.labels)
    assert torch.allclose(trial.detections.boxes, whole.detections.boxes, atol=1e-2)
    assert torch.equal(trials.found(trial), found_objects(whole))
    assert torch.equal(trials.tally(trial).wrong, tally(whole, 0.5).wrong)


def test_without_a_change_it_is_the_trace(trials, traced):
    assert trials.run({}) is traced
    assert torch.equal(trials.found(traced), found_objects(traced))


def test_the_heads_are_asked_once(trials, traced, monkeypatch):
    settings = {"rpn.nms_thresh": 0.77}
    trials.run(settings)
    monkeypatch.setattr(type(traced), "classify", lambda *_: pytest.fail("asked again"))
    trials.run(settings)
    trials.run({"rpn.nms_thresh": 0.77, "rpn.post_nms_top_n": 500})


def test_an_unknown_setting_is_refused(trials):
    with pytest.raises(ValueError, match="setting: expected some of rpn"):
        trials.run({"rpn.speed": 3})
