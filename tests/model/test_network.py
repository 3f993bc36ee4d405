"""The bundled network: a torchvision Mask R-CNN whose geometry is that of the notes."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from mrcnn_steps.anchors import pyramid
from mrcnn_steps.data import COCO_CLASSES, letterbox
from mrcnn_steps.model.backbone import EfficientNetLite, convert, fold
from mrcnn_steps.model.network import LetterboxTransform, tiny


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    torch.manual_seed(0)
    return tiny().eval()


# --- backbone -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "published"), [("lite0", 2_998_304), ("lite1", 3_774_624)])
def test_backbone_has_the_size_of_the_published_network(variant: str, published: int) -> None:
    """Numbers in the published files without the classifier, where each channel of a BatchNorm
    has four (scale, shift, mean, variance); folded, only a bias is left of them."""
    parameters = dict(EfficientNetLite(variant).named_parameters())
    channels = sum(len(value) for name, value in parameters.items() if name.endswith("bias"))
    assert sum(value.numel() for value in parameters.values()) == published - 3 * channels


def test_backbone_maps_have_strides_4_to_32() -> None:
    maps = EfficientNetLite("lite1").eval()(torch.zeros(1, 3, 128, 192))
    assert {name: tuple(each.shape[1:]) for name, each in maps.items()} == {
        "0": (24, 32, 48),
        "1": (40, 16, 24),
        "2": (112, 8, 12),
        "3": (320, 4, 6),
    }


def test_folding_a_batchnorm_changes_nothing() -> None:
    conv, norm = torch.nn.Conv2d(5, 7, 3, bias=False), torch.nn.BatchNorm2d(7, eps=1e-3)
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        torch.nn.init.uniform_(value, 0.5, 2)
    weight, bias = fold(conv.weight, norm.state_dict())
    x = torch.randn(2, 5, 9, 9)
    torch.testing.assert_close(F.conv2d(x, weight, bias), norm.eval()(conv(x)))


def test_published_weights_fit_the_backbone_key_for_key() -> None:
    """Names and shapes of the published file, rebuilt from our own network."""
    published = {}
    parts = {"expand": ("_expand_conv", "_bn0"), "filter": ("_depthwise_conv", "_bn1")}
    parts |= {"project": ("_project_conv", "_bn2"), "stem": ("_conv_stem", "_bn0")}
    body = EfficientNetLite("lite1")
    for key, value in body.state_dict().items():
        if not key.endswith(".weight"):
            continue
        *block, part, _ = key.replace("blocks", "_blocks").split(".")
        conv, norm = (".".join([*block, name]) for name in parts[part])
        published[f"{conv}.weight"] = torch.ones_like(value)
        for field in ("weight", "bias", "running_mean", "running_var"):
            published[f"{norm}.{field}"] = torch.ones(len(value))
        published[f"{norm}.running_var"] = torch.full((len(value),), 4 - 1e-3)
    published |= {"_fc.weight": torch.ones(1000, 1280), "_conv_head.weight": torch.ones(1)}
    body.load_state_dict(convert(published))  # strict
    for value in body.state_dict().values():  # 1 / √4, and 1 - 1 / √4
        torch.testing.assert_close(value, torch.full_like(value, 0.5))


# --- anchors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "count"), [(1024, 65_472), (640, 25_575)])
def test_anchors_are_those_of_the_notes(model: MaskRCNN, size: int, count: int) -> None:
    """Strides 8 to 128 on every cell = strides 4 to 64 on every other cell."""
    maps = [torch.empty(1, 128, size // stride, size // stride) for stride in (8, 16, 32, 64, 128)]
    image = ImageList(torch.empty(1, 3, size, size), [(size, size)])
    boxes = model.rpn.anchor_generator(image, maps)[0]
    assert len(boxes) == count
    assert torch.equal(boxes, pyramid(size, anchor_stride=2).boxes)
    # Level, row, column, ratio: the fourth anchor is the next column's first, 8 pixels on.
    root = 2**0.5
    tall = [-16 / root, -16 * root, 16 / root, 16 * root]
    torch.testing.assert_close(boxes[0], torch.tensor(tall))
    torch.testing.assert_close(boxes[3], torch.tensor(tall) + torch.tensor([8.0, 0, 8, 0]))


def test_the_head_predicts_one_value_for_each_anchor(model: MaskRCNN) -> None:
    with torch.inference_mode():
        features = model.backbone(torch.zeros(1, 3, 1024, 1024))
        objectness, deltas = model.rpn.head(list(features.values()))
    assert [each.shape[-1] for each in features.values()] == [128, 64, 32, 16, 8]
    assert sum(each.numel() for each in objectness) == 65_472
    assert sum(each.numel() for each in deltas) == 4 * 65_472


# --- proposals ------------------------------------------------------------------------------------


def test_proposals_are_ranked_and_suppressed_over_all_levels(model: MaskRCNN) -> None:
    """Against a plain greedy loop over the best of all levels."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(400, 2, generator=generator) * 200 - 20
    boxes = torch.cat((corner, corner + 20 + torch.rand(400, 2, generator=generator) * 60), dim=1)
    logits = torch.randn(400, generator=generator)
    rpn = model.rpn
    found, scores = rpn.filter_proposals(boxes[None], logits[None], [(192, 192)], [300, 100])

    kept: list[int] = []
    clipped = boxes.clamp(0, 192)
    for i in logits.argsort(descending=True).tolist():
        flat = ((clipped[i, 2:] - clipped[i, :2]) < 1e-3).any()
        if not flat and all(box_iou(clipped[i][None], clipped[k][None]) <= 0.7 for k in kept):
            kept.append(i)
    assert torch.equal(found[0], clipped[kept])
    assert torch.equal(scores[0], logits[kept].sigmoid())
    assert rpn._pre_nms_top_n["testing"] == 10_000
    assert rpn._post_nms_top_n["testing"] == 1000


# --- transform ------------------------------------------------------------------------------------


@pytest.mark.parametrize("photo_size", [(300, 512), (480, 360), (200, 200)])
def test_transform_pads_the_raw_photo_with_black(photo_size: tuple[int, int]) -> None:
    transform = LetterboxTransform(512, [127 / 255] * 3, [128 / 255] * 3).eval()
    photo = torch.rand(3, *photo_size)
    images, _ = transform([photo])
    expected = (letterbox(photo, 512).image * 255 - 127) / 128
    torch.testing.assert_close(images.tensors[0], expected, atol=1e-5, rtol=0)
    assert images.image_sizes == [(512, 512)]


@pytest.mark.parametrize("photo_size", [(300, 512), (480, 360), (1000, 77)])
def test_predictions_come_back_to_the_photo(photo_size: tuple[int, int]) -> None:
    """The box of the whole photo and one inside it survive the way there and back."""
    transform = LetterboxTransform(512, [0.5] * 3, [0.5] * 3).eval()
    height, width = photo_size
    boxes = torch.tensor([[0.0, 0, width, height], [3.5, 10, width / 2, height / 2]])
    there = letterbox(torch.zeros(3, *photo_size), 512).boxes(boxes)
    masks = torch.ones(2, 1, 28, 28)
    result = [{"boxes": there, "masks": masks}]
    back = transform.postprocess(result, [(512, 512)], [photo_size])[0]
    torch.testing.assert_close(back["boxes"], boxes, atol=1e-3, rtol=0)
    assert back["masks"].shape == (2, 1, height, width)
    mask = back["masks"][0, 0] > 0.5  # pasting rounds the corners and blurs the rim
    assert mask[height // 2, 2:-2].all()
    assert mask[2:-2, width // 2].all()


def test_boxes_on_the_padding_are_clipped_to_the_photo() -> None:
    transform = LetterboxTransform(512, [0.5] * 3, [0.5] * 3).eval()
    result = [{"boxes": torch.tensor([[0.0, 0, 512, 512]])}]
    back = transform.postprocess(result, [(512, 512)], [(256, 512)])[0]
    assert back["boxes"].tolist() == [[0, 0, 512, 256]]


def test_targets_go_through_the_letterbox() -> None:
    transform = LetterboxTransform(256, [0.5] * 3, [0.5] * 3)
    masks = torch.zeros(1, 64, 128, dtype=torch.uint8)
    masks[0, 10:20, 30:60] = 1
    target = {"boxes": torch.tensor([[30.0, 10, 60, 20]]), "masks": masks}
    _, targets = transform([torch.rand(3, 64, 128)], [target])
    assert targets[0]["boxes"].tolist() == [[60, 84, 120, 104]]
    assert targets[0]["masks"].sum() == 60 * 20
    assert targets[0]["masks"][0, 84:104, 60:120].all()
    assert target["boxes"].tolist() == [[30, 10, 60, 20]], "the caller's target is not changed"


def test_transform_refuses_bytes() -> None:
    with pytest.raises(TypeError, match="floating point"):
        tiny().eval()([torch.zeros(3, 64, 64, dtype=torch.uint8)])


# --- the whole ------------------------------------------------------------------------------------


def test_weights_fit_into_16_megabytes_of_half_precision(model: MaskRCNN) -> None:
    assert 2 * sum(p.numel() for p in model.parameters()) <= 15_950_000
    assert model.class_names == COCO_CLASSES


def test_image_size_must_fit_the_coarsest_map() -> None:
    with pytest.raises(ValueError, match="multiple of 128"):
        tiny(image_size=1000)


def test_torchvision_training_works_too() -> None:
    """The plain torchvision loop: `model(images, targets)` gives the five losses."""
    torch.manual_seed(0)
    model = tiny(("background", "thing"), image_size=256)
    masks = torch.zeros(1, 100, 200, dtype=torch.uint8)
    masks[0, 20:80, 50:150] = 1
    target = {
        "boxes": torch.tensor([[50.0, 20, 150, 80]]),
        "labels": torch.tensor([1]),
        "masks": masks,
    }
    losses = model([torch.rand(3, 100, 200)], [target])
    assert len(losses) == 5
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    assert model.backbone.body.stem.weight.grad.abs().sum() > 0
