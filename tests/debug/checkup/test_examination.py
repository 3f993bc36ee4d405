"""A photo in many setups gives what models that are built so give, and computes nothing twice."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from mrcnn_steps.debug.checkup.examination import Examination
from mrcnn_steps.debug.checkup.normalizations import applied_normalization
from mrcnn_steps.debug.checkup.scoring import best_detections
from mrcnn_steps.debug.checkup.setup import Normalization, Setup
from mrcnn_steps.debug.fates import mask_iou
from mrcnn_steps.tracing import trace
from tests.debug.scenes import imagined, set_to

PLAIN = Setup()


@pytest.fixture(scope="module")
def quick(kind):
    return kind("boxes_only")


@pytest.fixture(scope="module")
def photo(quick, people):
    return imagined(quick, people, found_only=True)


@pytest.fixture(scope="module", autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def examine(model, photo, start=PLAIN):
    own = applied_normalization(model)
    return Examination(model, photo, model.class_names, own, start, 0.5)


def scores_of_trace(model, photo):
    traced = trace(model, photo)
    truth = traced.ground_truth
    return best_detections(traced.detections, truth.boxes, truth.labels, 0.5)


def rebuilt(model, change):
    twin = copy.deepcopy(model)
    change(twin)
    return twin


def swap(layer):
    for parameter in layer.parameters():
        shape = parameter.shape
        parameter.data = parameter.data.reshape(-1, 4, *shape[1:])[:, [1, 0, 3, 2]].reshape(shape)


def roll(layer):
    for parameter in layer.parameters():
        parameter.data = parameter.data.roll(1, dims=0)


def blind(model):
    model.transform.image_mean, model.transform.image_std = [0.0] * 3, [1.0] * 3


def zoom(model):
    model.roi_heads.box_roi_pool.scales = [1 / 32]


# How a model is built otherwise, and the setup that does the same to the model as it is.
REBUILT = {
    "normalization": (blind, {"normalization": Normalization((0.0,) * 3, (1.0,) * 3)}),
    "RPN's deltas": (lambda model: swap(model.rpn.head.bbox_pred), {"rpn_swapped": True}),
    "box head's deltas": (
        lambda model: swap(model.roi_heads.box_predictor.bbox_pred),
        {"box_swapped": True},
    ),
    "box head's weights": (
        lambda model: setattr(model.roi_heads.box_coder, "weights", (2.0, 2.0, 1.0, 1.0)),
        {"box_weights": (2.0, 2.0, 1.0, 1.0)},
    ),
    "scores": (
        lambda model: roll(model.roi_heads.box_predictor.cls_score),
        {"columns": (4, 0, 1, 2, 3), "deltas_follow": False},
    ),
    "settings": (
        lambda model: [setattr(model.rpn, "nms_thresh", 0.3), setattr(model.rpn, "min_size", 40)],
        {"settings": (("rpn.nms_thresh", 0.3), ("rpn.min_size", 40))},
    ),
}


def test_without_changes_the_scores_are_those_of_the_model(quick, photo):
    found = examine(quick, photo).scores(PLAIN)
    assert found.equal(scores_of_trace(quick, photo).score)
    assert (found > 0).all()


@pytest.mark.parametrize("name", REBUILT)
def test_a_setup_does_to_a_model_what_building_it_so_does(quick, photo, name):
    change, fields = REBUILT[name]
    expected = scores_of_trace(rebuilt(quick, change), photo).score
    found = examine(quick, photo).scores(Setup(**fields))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert not found.equal(examine(quick, photo).scores(PLAIN))


@pytest.mark.parametrize("name", REBUILT)
def test_the_order_of_setups_does_not_matter(quick, photo, name):
    """What is kept of one setup is not taken for another's."""
    changed, plain = Setup(**REBUILT[name][1]), PLAIN
    one = examine(quick, photo)
    first = [one.scores(setup) for setup in (plain, changed, plain, changed)]
    two = examine(quick, photo, start=changed)
    second = [two.scores(setup) for setup in (changed, plain, changed, plain)]
    assert first[0].equal(first[2])
    assert first[1].equal(first[3])
    assert second[0].equal(first[1])
    assert second[1].equal(first[0])


def test_the_backbone_runs_once_for_all_setups_of_the_same_input(quick, photo):
    calls = []
    handle = quick.backbone.register_forward_hook(lambda *_: calls.append(1))
    try:
        one = examine(quick, photo)
        for setup in (PLAIN, *(Setup(**fields) for _, fields in REBUILT.values())):
            one.scores(setup)
        # The plain input, and the other normalization.
        assert len(calls) == 2
    finally:
        handle.remove()


def test_masks_are_those_of_the_objects_detections(bundled, people, traced):
    truth = traced.ground_truth
    best = best_detections(traced.detections, truth.boxes, truth.labels, 0.5)
    found = examine(bundled, people).mask_scores(PLAIN)
    assert (best.row >= 0).sum() > 5
    for object, row in enumerate(best.row.tolist()):
        expected = mask_iou(traced, object, row) if row >= 0 else 0
        assert float(found[object]) == pytest.approx(expected, abs=1e-6)


def test_without_masks_there_are_no_mask_scores(quick, photo):
    assert not examine(quick, photo).mask_scores(PLAIN).any()


def test_objects_of_classes_that_the_model_lacks_and_crowds_are_left_out(quick, photo):
    names = list(photo.class_names)
    crowd = photo.crowd.clone()
    crowd[0] = True
    label = int(photo.labels[-1])
    names[label] = "something else"
    changed = replace(photo, class_names=tuple(names), crowd=crowd)
    kept = (photo.labels != label) & ~crowd
    assert examine(quick, changed).objects.tolist() == kept.nonzero().flatten().tolist()


def test_the_model_is_left_as_it_is(quick, photo):
    before = {name: value.clone() for name, value in quick.state_dict().items()}
    with set_to(quick, {"rpn.nms_thresh": 0.65}):
        one = examine(quick, photo)
        for _, fields in REBUILT.values():
            one.scores(Setup(**fields))
        assert quick.rpn.nms_thresh == 0.65
    assert all(value.equal(before[name]) for name, value in quick.state_dict().items())
    assert not isinstance(quick.backbone, nn.Identity)
