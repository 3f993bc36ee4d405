"""The normalizations that are tried hold the right one, whichever mistake was made."""

import copy

import pytest
import torch

from mrcnn_steps.debug.checkup.normalizations import applied_normalization, normalizations
from mrcnn_steps.debug.checkup.setup import Normalization

# What a model was trained with, and its own numbers for it.
TRAINED = {
    "ImageNet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "bundled": Normalization((127 / 255,) * 3, (128 / 255,) * 3),
}


def twice(mean, std):
    """Compose `(x − m) / s` with itself."""
    return Normalization(
        tuple(m + m * s for m, s in zip(mean, std, strict=True)), tuple(s * s for s in std)
    )


MISTAKES = {
    "normalization_missing": lambda mean, std: Normalization((0.0,) * 3, (1.0,) * 3),
    "normalization_twice": twice,
    # (255 x − m) / s, and (x − 255 m) / (255 s)
    "input_range": lambda mean, std: Normalization(
        tuple(m / 255 for m in mean), tuple(s / 255 for s in std)
    ),
    "input_range of the mean": lambda mean, std: Normalization(
        tuple(m * 255 for m in mean), tuple(s * 255 for s in std)
    ),
}


@pytest.mark.parametrize("trained", TRAINED)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_right_one_is_tried_under_the_right_code(trained, mistake):
    right = TRAINED[trained]
    tried = normalizations(MISTAKES[mistake](right.mean, right.std))
    codes = {each.code for each in tried if each.normalization.like(right)}
    assert codes == {mistake.split()[0]}


def test_pixels_in_0_to_255_are_not_taken_for_normalized_twice():
    tried = normalizations(MISTAKES["input_range"](TRAINED["bundled"].mean, TRAINED["bundled"].std))
    assert "normalization_twice" not in {each.code for each in tried}


@pytest.mark.parametrize("trained", TRAINED)
def test_none_is_tried_twice_nor_the_present_one(trained):
    own = TRAINED[trained]
    every = [own, *(each.normalization for each in normalizations(own))]
    assert len(every) > 6
    assert not any(a.like(b) for i, a in enumerate(every) for b in every[:i])


@pytest.mark.parametrize("name", ["own_anchors", "tiny"])
def test_what_a_transform_applies_is_measured(kind, bundled, name):
    model = bundled if name == "tiny" else kind(name)
    found, told = applied_normalization(model), model.transform
    assert found.mean == pytest.approx(told.image_mean, abs=1e-5)
    assert found.std == pytest.approx(told.image_std, abs=1e-5)


def test_also_where_its_attributes_tell_otherwise(kind):
    model = copy.copy(kind("boxes_only"))
    model._modules = dict(model._modules)
    model.transform = copy.copy(model.transform)
    model.transform.normalize = lambda image: image
    with torch.no_grad():
        found = applied_normalization(model)
    assert found.mean == pytest.approx((0, 0, 0), abs=1e-6)
    assert found.std == pytest.approx((1, 1, 1), abs=1e-6)
