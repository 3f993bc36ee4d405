"""Data against a model: its classes, its input size, what its backbone sees."""

import copy

import pytest
import torch
from torch import nn
from torchvision.transforms.functional import normalize

from mrcnn_steps import load_model, sample, samples
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.bundled import PHOTOS
from mrcnn_steps.debug.preflight import preflight
from tests.debug.preflight.drawn import Pairs, content, pairs, write

# pycocotools 2.0.11 has not heard of the copy keyword of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def tiny():
    return load_model("tiny")


def codes(findings):
    return {each.code: each for each in findings}


def test_the_bundled_photos_and_the_bundled_model_fit(tiny):
    folder = CocoFolder(PHOTOS, PHOTOS / "instances.json", strict=False)
    for dataset in (folder, [sample(name) for name in samples()]):
        assert {each.level for each in preflight(dataset, tiny)} <= {"note"}


def test_a_clean_data_set_fits_in_both_forms(tiny, tmp_path):
    for dataset in (CocoFolder(*write(tmp_path)), pairs()):
        [note] = preflight(dataset, tiny)
        assert note.code == "class_only_in_model"
        assert note.sentence.startswith("Found 78 classes that only the model has: 'person'")


def test_classes_that_the_model_lacks(tiny, tmp_path):
    changed = content()
    changed["categories"][0]["name"] = "Cat "
    findings = codes(preflight(CocoFolder(*write(tmp_path, changed)), tiny))
    assert "'Cat', but 'cat'" in findings["class_unknown_to_model"].sentence
    assert "class_only_in_model" in findings


def test_objects_too_small_for_the_network(tmp_path):
    changed = content()
    changed["images"][0].update(width=96, height=64)
    for row, side in ((0, 0.9), (1, 5.0)):
        one = changed["annotations"][row]
        x, y = one["bbox"][:2]
        one["bbox"], one["area"] = [x, y, side, side], side * side
        del one["segmentation"]
    folder = CocoFolder(*write(tmp_path, changed), strict=False)
    # Photos of 96 pixels in a square of 128 are enlarged by 4 / 3; a cell is 8 pixels.
    small = load_model("tiny")
    small.transform.image_size = 128
    findings = codes(preflight(folder, small))
    assert findings["object_below_cell"].annotation_ids == (101, 102)
    assert "has 1.20×1.20 pixels" in findings["object_below_cell"].sentence
    assert codes(preflight(folder))["object_below_pixel"].annotation_ids == (101,)


def changed(image):
    """The pairs with each image changed."""
    return Pairs((image(photo), target) for photo, target in pairs())


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize(
    ("code", "image"),
    [
        ("input_0_255", lambda photo: photo * 255),
        ("input_normalized_twice", lambda photo: normalize(photo, **IMAGENET)),
        ("input_too_dark", lambda photo: photo / 255),
        ("input_overshoots", lambda photo: photo * 1.02),
    ],
)
@pytest.mark.parametrize("with_model", [False, True])
def test_images_in_another_range(tiny, code, image, with_model):
    findings = preflight(changed(image), tiny if with_model else None)
    assert {each.code for each in findings if each.level == "error"} == {code}
    [found] = [each for each in findings if each.code == code]
    assert found.image_ids == (1, 2, 3)
    assert found.sentence.startswith("Found 3 inputs")
    assert "mean" in found.sentence


def test_numbers_that_are_none(tiny):
    findings = preflight(changed(lambda photo: photo / photo.min()), tiny)
    [error] = [each for each in findings if each.level == "error"]
    assert (error.code, error.image_ids) == ("input_not_finite", (1, 2, 3))


def test_a_data_set_and_a_model_that_both_normalize_wrongly(tiny):
    model = copy.deepcopy(tiny)
    hooked(model)
    found = {each.code for each in preflight(changed(lambda photo: photo * 255), model)}
    assert {"input_0_255", "input_changed"} <= found


class Normalizing(nn.Sequential):
    """A backbone that normalizes what is normalized."""

    def forward(self, x):
        return self[0]((x - 0.498) / 0.502)


def wrapped(model):
    model.backbone = Normalizing(model.backbone)


def scaled(model):
    model.transform.image_mean, model.transform.image_std = [0.0] * 3, [1 / 255] * 3


def bare(model):
    model.transform.image_mean, model.transform.image_std = [0.0] * 3, [1.0] * 3


def hooked(model):
    model.backbone.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 3 - 7,))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("input_normalized_twice", wrapped),
        ("input_0_255", scaled),
        ("input_not_normalized", bare),
        ("input_changed", hooked),
    ],
)
def test_models_that_normalize_wrongly(tiny, code, change):
    model = copy.deepcopy(tiny)
    change(model)
    findings = preflight(pairs(), model)
    assert {each.code for each in findings if each.level != "note"} == {code}
    assert "the backbone sees mean" in codes(findings)[code].sentence


def test_a_backbone_that_normalizes_in_place_of_the_transform_is_right(tiny):
    model = copy.deepcopy(tiny)
    bare(model)
    wrapped(model)
    assert {each.level for each in preflight(pairs(), model)} == {"note"}


def test_a_model_that_refuses_the_photos(tiny):
    model = copy.deepcopy(tiny)

    def refuse(*_):
        raise ValueError("no photos of 96 pixels")

    model.register_forward_pre_hook(refuse)
    found = codes(preflight(pairs(), model))["input_refused"]
    assert "no photos of 96 pixels" in found.sentence


def test_the_model_is_left_as_it_was(tiny):
    model = copy.deepcopy(tiny).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    preflight(pairs(), model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(part._forward_pre_hooks for part in model.modules())
