"""Running again: from a stage, or from the photo, as if the model were set otherwise."""

import pytest
import torch

from mrcnn_steps.debug.rerun import SETTINGS, code, current, rerun, variant
from mrcnn_steps.tracing import trace
from tests.debug.scenes import set_to

CHANGES = {
    "rpn.pre_nms_top_n": 50,
    "rpn.min_size": 60.0,
    "rpn.score_thresh": 0.95,
    "rpn.nms_thresh": 0.3,
    "rpn.post_nms_top_n": 20,
    "roi_heads.score_thresh": 0.95,
    "roi_heads.nms_thresh": 0.1,
    "roi_heads.detections_per_img": 7,
}


@pytest.fixture(scope="module")
def model(kind):
    return kind("boxes_only")


@pytest.fixture(scope="module")
def before(model, people):
    return trace(model, people.image)


def check_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_every_setting_is_read_from_a_trace(before, model):
    assert current(before).keys() == SETTINGS.keys() == CHANGES.keys()
    assert current(before)["rpn.nms_thresh"] == model.rpn.nms_thresh
    assert current(before)["rpn.post_nms_top_n"] == model.rpn.post_nms_top_n()


@pytest.mark.parametrize("names", [*([name] for name in CHANGES), list(CHANGES)])
def test_from_the_stage_and_from_the_photo_as_the_model_itself(before, model, people, names):
    """All three ways end with what the model returns when it is really set so."""
    settings = {name: CHANGES[name] for name in names}
    with set_to(model, settings), torch.no_grad():
        [expected] = model([people.image / 255])
    assert expected["scores"].tolist() != before.result["scores"].tolist()
    check_same(rerun(before, settings).result, expected)
    check_same(trace(variant(model, settings), people.image).result, expected)
    check_same(trace(model, people.image).result, before.result)


def test_a_changed_trace_keeps_its_other_settings(before):
    once = rerun(before, {"roi_heads.nms_thresh": 0.1})
    twice = rerun(once, {"rpn.nms_thresh": 0.3})
    check_same(
        twice.result, rerun(before, {k: CHANGES[k] for k in CHANGES if "nms_th" in k}).result
    )


def test_nothing_changed_is_the_trace_itself(before):
    assert rerun(before, current(before)) is before


@pytest.mark.parametrize("name", ["boxes_only", "tiny"])
def test_a_larger_input(kind, people, name):
    model = kind(name)
    small, large = (trace(variant(model, {}, scale), people.image) for scale in (1.0, 2.0))
    assert [2 * side for side in small.image_size] == pytest.approx(large.image_size, abs=1)
    check_same(small.result, trace(model, people.image).result)


def test_the_line_to_paste_sets_the_model(kind):
    model = kind("boxes_only")
    with set_to(model, {}):
        own = model.rpn._post_nms_top_n["testing"]
        exec(code("rpn.post_nms_top_n", 77), {"model": model})
        assert model.rpn.post_nms_top_n() == 77
        exec(code("rpn.post_nms_top_n", own), {"model": model})


def test_an_unknown_setting_is_refused(before):
    with pytest.raises(ValueError, match=r"expected some of rpn.* found 'rpn.speed'"):
        rerun(before, {"rpn.speed": 3})
