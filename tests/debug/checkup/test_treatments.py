"""What is tried on a model: only what is not so already, and limits beyond the usual ones."""

from dataclasses import replace

import pytest

from mrcnn_steps.debug.checkup.clues import no_clues
from mrcnn_steps.debug.checkup.normalizations import applied_normalization
from mrcnn_steps.debug.checkup.setup import Setup
from mrcnn_steps.debug.checkup.treatments import treatments
from tests.debug.scenes import set_to


@pytest.fixture(scope="module")
def model(kind):
    return kind("boxes_only")


def tried(model, most_objects=0):
    """The settings that are tried, each by its gate."""
    names = model.class_names
    clues = replace(no_clues(len(names)), most_objects=most_objects)
    listed = treatments(model, names, applied_normalization(model), Setup(), clues)
    return {each.code: dict(each.setup.settings) for each in listed if each.setup.settings}


def test_what_is_stricter_than_usual_is_tried_at_its_usual_value(model):
    with set_to(model, {"roi_heads.score_thresh": 0.9, "roi_heads.detections_per_img": 3}):
        settings = tried(model)
    assert settings["score_threshold"] == {"roi_heads.score_thresh": 0.05}
    assert settings["detection_limit"] == {"roi_heads.detections_per_img": 100}


def test_a_usual_limit_is_tried_higher_for_photos_with_many_objects(model):
    assert model.roi_heads.detections_per_img == 100
    usual, crowded = tried(model, most_objects=50), tried(model, most_objects=51)
    assert set(usual) == {"top_k"}
    assert crowded == usual | {"detection_limit": {"roi_heads.detections_per_img": 300}}
    assert tried(model, most_objects=501)["proposal_limit"] == {"rpn.post_nms_top_n": 3000}
