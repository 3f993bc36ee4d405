"""A trace ends with exactly what the model itself returns."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from mrcnn_steps import trace


def returned(model, image):
    with torch.no_grad():
        return model([image])[0]


def assert_same(result, peer):
    assert result.keys() == peer.keys()
    for name, value in peer.items():
        assert result[name].dtype == value.dtype
        assert torch.equal(result[name], value), name


class Stretching(GeneralizedRCNNTransform):
    """Looks at the photo."""

    def normalize(self, image):
        return super().normalize(image / image.max().item())


def test_a_transform_that_looks_at_the_photo_sees_it_where_objects_are_moved_too(small, landscape):
    usual = trace(small, landscape).ground_truth
    small.transform.__class__ = Stretching
    dim = replace(landscape, image=landscape.image // 2)
    traced = trace(small, dim)
    assert_same(traced.result, returned(small, dim.image / 255))
    for part in ("boxes", "masks", "mask_targets"):
        assert getattr(traced.ground_truth, part).shape[1:] == getattr(usual, part).shape[1:]
    assert torch.equal(traced.ground_truth.boxes, usual.boxes)
    assert torch.equal(traced.ground_truth.masks, usual.masks)


# --- every kind of model --------------------------------------------------------------------


@pytest.mark.parametrize("photo", ["landscape", "portrait"])
def test_the_result_is_the_models_to_the_last_bit(model, photo, request):
    image = request.getfixturevalue(photo).image / 255
    traced = trace(model, image)
    assert len(traced.detections.confident_rows) >= 200, "hundreds have to pass the threshold"
    assert len(traced.detections.nms_rows) < len(traced.detections.large_rows) - 50
    assert len(traced.proposals.nms_rows) < len(traced.proposals.scored_rows) - 50
    assert len(traced.detections) >= 20
    assert_same(traced.result, returned(model, image))


def test_each_stage_is_the_models(model, landscape):
    """The anchors, proposals and class scores inside, not only what comes out at the end."""
    traced = trace(model, landscape)
    with torch.no_grad():
        images, _ = model.transform([landscape.image / 255])
        features = model.backbone(images.tensors)
        if isinstance(features, torch.Tensor):
            features = {"0": features}
        [proposals], _ = model.rpn(images, features)
        pooled = model.roi_heads.box_roi_pool(features, [proposals], images.image_sizes)
        logits, deltas = model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
        [anchors] = model.rpn.anchor_generator(images, list(features.values()))
    assert torch.equal(traced.input, images.tensors)
    assert traced.image_size == tuple(images.image_sizes[0])
    for name, feature in features.items():
        assert torch.equal(traced.features[name], feature)
    assert torch.equal(traced.anchors.boxes, anchors)
    assert torch.equal(traced.proposals.boxes, proposals)
    assert torch.equal(traced.classification.logits, logits)
    assert torch.equal(traced.classification.deltas.flatten(1), deltas)


def test_anchors_stand_where_their_grid_says(model, landscape):
    anchors = trace(model, landscape).anchors
    assert sum(grid.count for grid in anchors.grids) == len(anchors)
    for part, grid in zip(anchors.level_slices, anchors.grids, strict=True):
        cells = anchors.boxes[part].reshape(grid.rows, grid.columns, grid.per_cell, 4)
        step_y, step_x = grid.stride
        down, right = cells.new_tensor([[0, step_y] * 2, [step_x, 0] * 2])
        assert torch.allclose(cells.diff(dim=0), down, atol=1e-3)
        assert torch.allclose(cells.diff(dim=1), right, atol=1e-3)


# --- the ends -------------------------------------------------------------------------------


@pytest.fixture
def settings(lively):
    """Change a setting of a shared model's box head for one test."""
    changed = []

    def change(name, **values):
        model = lively(name)
        for key, value in values.items():
            changed.append((model.roi_heads, key, getattr(model.roi_heads, key)))
            setattr(model.roi_heads, key, value)
        return model

    yield change
    for heads, key, value in changed:
        setattr(heads, key, value)


@pytest.mark.parametrize(
    "name", ["maskrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "tiny"]
)
def test_no_detections(settings, landscape, name):
    model = settings(name, score_thresh=0.99999)
    image = landscape.image / 255
    traced = trace(model, image)
    assert len(traced.detections) == 0
    assert_same(traced.result, returned(model, image))


@pytest.mark.parametrize("name", ["maskrcnn_resnet50_fpn", "tiny"])
def test_more_than_a_hundred(settings, landscape, name):
    model = settings(name, score_thresh=0.02)
    image = landscape.image / 255
    traced = trace(model, image)
    assert len(traced.detections.nms_rows) > 150
    assert len(traced.detections) == 100
    assert_same(traced.result, returned(model, image))


def test_another_limit(settings, landscape):
    model = settings("tiny", detections_per_img=131, score_thresh=0.02)
    image = landscape.image / 255
    traced = trace(model, image)
    assert len(traced.detections) == 131
    assert_same(traced.result, returned(model, image))


@pytest.mark.parametrize("weights", [(10.0, 10.0, 5.0, 5.0), [0.7, 3, 1.3, 0.9]])
def test_an_rpn_whose_deltas_are_weighted(small, landscape, weights):
    image = landscape.image / 255
    unweighted = trace(small, image)
    small.rpn.box_coder.weights = weights
    traced = trace(small, image)
    assert not torch.equal(traced.proposals.boxes, unweighted.proposals.boxes)
    assert_same(traced.result, returned(small, image))


def test_no_proposals(small, landscape):
    small.rpn.score_thresh = 1.1
    traced = trace(small, landscape)
    assert len(traced.proposals) == 0
    assert_same(traced.result, returned(small, landscape.image / 255))


@pytest.mark.parametrize("size", [(40, 700), (700, 40), (33, 33), (320, 200)])
def test_photos_of_unusual_shape(small, size):
    image = torch.rand((3, *size), generator=torch.Generator().manual_seed(0))
    assert_same(trace(small, image).result, returned(small, image))


def test_a_model_that_has_seen_another_photo_first(small, landscape, portrait):
    """torchvision infers the scales of its pooling from the first photo, for good."""
    strip = torch.rand((3, 40, 700), generator=torch.Generator().manual_seed(0))
    fresh = trace(small, landscape).result
    returned(small, strip)
    scales = small.roi_heads.box_roi_pool.scales
    assert scales == [1 / 8], "padding doubled the few rows; the stride is 16"
    for image in (portrait.image / 255, landscape.image / 255, strip):
        assert_same(trace(small, image).result, returned(small, image))
    assert small.roi_heads.box_roi_pool.scales is scales
    assert not torch.equal(trace(small, landscape).result["scores"], fresh["scores"])


def test_maps_are_pooled_in_the_backbones_order_whatever_the_order_of_their_names(
    lively, landscape
):
    model = lively("own_anchors")
    pooler = model.roi_heads.mask_roi_pool
    pooler.featmap_names = pooler.featmap_names[::-1]
    image = landscape.image / 255
    try:
        assert_same(trace(model, image).result, returned(model, image))
    finally:
        pooler.featmap_names = pooler.featmap_names[::-1]
        pooler.scales = pooler.map_levels = None


# --- photos ---------------------------------------------------------------------------------


def test_a_sample_its_bytes_and_its_fractions_are_the_same_photo(small, landscape):
    whole = trace(small, landscape)
    for image in (landscape.image, landscape.image / 255):
        traced = trace(small, image)
        assert_same(traced.result, whole.result)
        assert torch.equal(traced.image, landscape.image)
        assert traced.sample is None
        assert traced.ground_truth is None
    assert whole.sample is landscape


def test_double_precision(small, landscape):
    model, image = small.double(), landscape.image.double() / 255
    traced = trace(model, image)
    assert traced.result["boxes"].dtype == torch.float64
    assert_same(traced.result, returned(model, image))


def test_a_photo_in_another_memory_layout(small, landscape):
    image = (landscape.image / 255).permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert not image.is_contiguous()
    assert_same(trace(small, image).result, returned(small, image))


# --- nothing is changed ---------------------------------------------------------------------


def test_neither_model_nor_photo_is_changed(small, landscape):
    weights = {name: value.clone() for name, value in small.state_dict().items()}
    image = landscape.image / 255
    pixels = image.clone()
    random_state = torch.get_rng_state()
    needs_grad = [parameter.requires_grad for parameter in small.parameters()]

    traced = trace(small, image)
    trace(small, landscape)

    assert torch.equal(image, pixels)
    assert all(torch.equal(value, weights[name]) for name, value in small.state_dict().items())
    assert [parameter.requires_grad for parameter in small.parameters()] == needs_grad
    assert all(parameter.grad is None for parameter in small.parameters())
    assert not any(module.training for module in small.modules())
    assert small.roi_heads.box_roi_pool.scales is None
    assert small.roi_heads.mask_roi_pool.map_levels is None
    assert not any(module._forward_hooks for module in small.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.is_grad_enabled()
    assert not any(value.requires_grad for value in traced.result.values())


def test_a_model_in_training_mode_is_traced_as_in_eval_mode_and_stays_as_it_was(lively, landscape):
    """Frozen parts keep their mode, batch norm its statistics; dropout draws no random number."""
    model = copy.deepcopy(lively("own_anchors"))
    model.roi_heads.box_head.add_module("dropout", nn.Dropout(0.5))
    image = landscape.image / 255
    peer = returned(model.eval(), image)
    for pool in (model.roi_heads.box_roi_pool, model.roi_heads.mask_roi_pool):
        pool.scales = pool.map_levels = None
    model.train()
    model.backbone.body.layer1.eval()
    model.rpn.head.register_forward_hook(lambda *_: calls.append("head"))
    calls = []
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    hooks = [len(module._forward_hooks) for module in model.modules()]
    random_state = torch.get_rng_state()

    traced = trace(model, landscape)
    assert_same(traced.result, peer)
    assert calls == ["head"]
    assert_same(traced.with_proposals(traced.proposals).result, peer)

    assert [module.training for module in model.modules()] == modes
    assert any(modes)
    assert not all(modes)
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all((parameter.grad == 1).all() for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.roi_heads.box_roi_pool.scales is None
    assert torch.is_grad_enabled()


def test_a_model_that_fails_keeps_its_mode(small, landscape):
    small.train().roi_heads.mask_predictor.mask_fcn_logits.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        trace(small, landscape)
    assert all(module.training for module in small.modules())


def tensors_of(value, seen):
    """Every tensor that can be reached from an object, whatever holds it."""
    if id(value) in seen or isinstance(value, str | int | float | type | None):
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_of(part, seen)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_of(part, seen)
    elif hasattr(value, "__dict__"):
        yield from tensors_of(vars(value), seen)


def test_nothing_that_a_trace_hands_out_belongs_to_the_model(model, landscape):
    """Whoever changes a trace in a notebook must not change the model."""
    traced = replace(trace(model, landscape), sample=None)
    of_model = {tensor.untyped_storage().data_ptr() for tensor in tensors_of(model, set())}
    tensors = list(tensors_of(vars(traced) | {"model": None}, set()))
    assert len(tensors) > 40
    assert not any(tensor.untyped_storage().data_ptr() in of_model for tensor in tensors)


def test_two_traces_are_the_same(small, landscape):
    assert_same(trace(small, landscape).result, trace(small, landscape).result)


def test_no_tensor_is_larger_than_the_models_own(lively, landscape):
    """No soft mask of the photo's size for every proposal, nor for every class."""
    model = lively("tiny")

    class Largest(TorchDispatchMode):
        bytes = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                self.bytes = max(self.bytes, out.untyped_storage().nbytes())
            return out

    with Largest() as ours:
        assert trace(model, landscape.image).result["masks"].any()
    with Largest() as theirs:
        returned(model, landscape.image / 255)
    assert 0 < ours.bytes <= theirs.bytes
