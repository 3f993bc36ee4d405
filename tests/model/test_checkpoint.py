"""Checkpoints: what `load_model` loads, and what it says about files that it cannot use."""

import inspect
import io
import json
import os
from email.message import Message
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import detection

from mrcnn_steps.data import COCO_CLASSES, sample
from mrcnn_steps.model import checkpoint, load_model
from mrcnn_steps.model.architectures import (
    build,
    count_classes,
    default_class_names,
    infer_architecture,
    outline,
)
from mrcnn_steps.model.checkpoint import fit
from mrcnn_steps.model.network import tiny

CLASSES = ("background", "cat", "dog")
MOBILENET = "fasterrcnn_mobilenet_v3_large_320_fpn"


# --- there and back -------------------------------------------------------------------------------


def test_saved_weights_come_back_in_half_precision(model: nn.Module, saved: Path) -> None:
    loaded = load_model(saved)
    assert not loaded.training
    assert loaded.class_names == CLASSES
    assert loaded.transform.image_size == 256
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value.half().float()), key
    assert saved.stat().st_size < 16_000_000
    assert os.listdir(saved.parent) == [saved.name]


# --- the bundled model ----------------------------------------------------------------------------


def test_tiny_needs_no_network(offline: Path) -> None:
    tiny_model = load_model("tiny")
    assert not tiny_model.training
    assert tiny_model.class_names == COCO_CLASSES
    assert checkpoint.BUNDLED.stat().st_size <= 16_000_000
    with torch.inference_mode():
        assert len(tiny_model([torch.rand(3, 64, 96)])) == 1


@pytest.mark.parametrize(
    ("photo", "name", "found"),
    [
        ("astronaut", "person", 1),
        ("cat", "cat", 1),
        ("coffee", "cup", 1),
        ("dogs", "dog", 2),
        ("motorcycle", "motorcycle", 1),
        ("wine", "bottle", 1),
        ("voc_people", "person", 5),
    ],
)
def test_tiny_finds_the_obvious_objects(photo: str, name: str, found: int) -> None:
    """With a score above 0.5, and a mask that follows the outline: an IoU of 0.6 or more."""
    annotated, label = sample(photo), COCO_CLASSES.index(name)
    with torch.inference_mode():
        result = load_model("tiny")([annotated.image / 255])[0]
    sure = (result["scores"] > 0.5) & (result["labels"] == label)
    masks = (result["masks"][sure] > 0.5).flatten(1).float()
    objects = annotated.masks[annotated.labels == label].flatten(1).float()
    shared = objects @ masks.T
    iou = shared / (objects.sum(dim=1)[:, None] + masks.sum(dim=1) - shared)
    assert int((iou >= 0.6).any(dim=1).sum()) >= found


def test_a_package_without_weights_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checkpoint, "BUNDLED", tmp_path / "tiny.safetensors")
    with pytest.raises(FileNotFoundError, match="mrcnn-steps train"):
        load_model("tiny")


# --- torchvision's models -------------------------------------------------------------------------


def test_coco_without_a_network_names_the_alternatives(offline: Path) -> None:
    with pytest.raises(ConnectionError) as caught:
        load_model("coco")
    message = str(caught.value)
    assert detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.url in message
    assert 'load_model("tiny")' in message
    assert str(offline) in message


def test_a_download_with_a_wrong_hash_is_refused(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Response(io.BytesIO):
        def info(self) -> Message:
            return Message()

    monkeypatch.setattr("torch.hub.urlopen", lambda *args, **kwargs: Response(b"something else"))
    with pytest.raises(ConnectionError, match="invalid hash"):
        load_model("coco")
    assert os.listdir(offline) == []


def test_coco_from_the_cache(offline: Path) -> None:
    """Once downloaded, no network is needed; here a file of the same name and shapes."""
    weights = detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1
    state = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(state, offline / Path(weights.url).name)
    loaded = load_model("coco")
    assert not loaded.training
    assert len(loaded.class_names) == 91
    assert loaded.class_names[:2] == ("background", "person")
    assert loaded.class_names[90] == "toothbrush"
    assert torch.equal(
        loaded.state_dict()["rpn.head.cls_logits.bias"], state["rpn.head.cls_logits.bias"]
    )
    # The same file by its path: the architecture shows in its keys.
    again = load_model(offline / Path(weights.url).name)
    assert isinstance(again, detection.MaskRCNN)
    assert again.class_names == loaded.class_names
    for key, value in loaded.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_unknown_architecture() -> None:
    with pytest.raises(ValueError, match=r"found 'resnet7', expected one of tiny, .*maskrcnn"):
        build("resnet7", CLASSES)


@pytest.mark.parametrize("name", ["maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"])
def test_architecture_shows_in_the_keys(name: str) -> None:
    assert infer_architecture(outline(name, CLASSES, 1024)) == name


@pytest.mark.parametrize(
    "name",
    [
        "retinanet_resnet50_fpn",
        "fcos_resnet50_fpn",
        "ssd300_vgg16",
        "ssdlite320_mobilenet_v3_large",
    ],
)
def test_the_number_of_classes_shows_in_the_shapes(name: str) -> None:
    """Files of others tell no class names; 91 rows are those of torchvision."""
    for count in (4, 91):
        weights = outline(name, ("background",) * count, 1024)
        assert count_classes(weights) == count
        names = default_class_names(count)
        assert len(names) == count
        assert names[1] == ("class 1" if count == 4 else "person")


# --- files that cannot be used --------------------------------------------------------------------


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    for name in ("no.safetensors", "no.pth"):
        with pytest.raises(FileNotFoundError, match=rf"{name}: no such checkpoint"):
            load_model(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r'tyni: no such .* "tiny", "coco"'):
        load_model("tyni")


@pytest.mark.parametrize("name", [None, 3, b"tiny", ["tiny"]])
def test_what_is_no_name_is_told(name) -> None:
    # Through the function below the checked annotation, which a user does not have.
    with pytest.raises(TypeError, match=r'expected "tiny", "coco"'):
        inspect.unwrap(checkpoint.load)(name)


@pytest.mark.parametrize("part", [0, 5, 100, 0.5])
def test_a_file_cut_off(saved: Path, part: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: part if part != 0.5 else len(whole) // 2])
    with pytest.raises(
        ValueError, match=r"model\.safetensors: found .*expected a safetensors file"
    ):
        load_model(saved)


def test_a_torch_file_cut_off(model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"model\.pth: found .*weights_only=True"):
        load_model(path)


def test_metadata_that_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"class_names": "[1,", "architecture": "tiny"})
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load_model(path)


def test_wrong_shapes_name_the_first_keys(model: nn.Module, tmp_path: Path) -> None:
    state = model.state_dict()
    del state["backbone.body.stem.weight"]
    state["backbone.body.stem.bias"] = torch.zeros(7)
    state["extra"] = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="does not fit") as caught:
        fit(tiny(CLASSES, 256), state, Path("some.pth"))
    assert str(caught.value) == (
        "some.pth: does not fit the model: "
        "backbone.body.stem.weight: found nothing, expected [32, 3, 3, 3]; "
        "backbone.body.stem.bias: found [7], expected [32]; "
        "extra: found [2, 3], expected nothing"
    )
    with pytest.raises(ValueError, match=r"stem\.weight: found nothing.* … and \d+ more$"):
        fit(tiny(CLASSES, 256), {}, tmp_path)


def test_keys_nobody_knows(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"cannot tell the architecture.*layer\.weight"):
        load_model(tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"does not fit the model: backbone"):
        load_model(tmp_path / "model.pth", "tiny")


def test_names_and_rows_that_disagree(model: nn.Module, tmp_path: Path) -> None:
    """The file tells four names but has the rows of three classes."""
    path = tmp_path / "model.safetensors"
    names = json.dumps([*CLASSES, "horse"])
    metadata = {"class_names": names, "architecture": "tiny", "image_size": "256"}
    save_file(model.state_dict(), path, metadata)
    pattern = (
        r"class_names: found 4 names \(background, cat, dog and horse\), expected 3: the model"
    )
    with pytest.raises(ValueError, match=pattern):
        load_model(path)
