"""Detectors without proposals: torchvision's own losses, and what is not background."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mrcnn_steps.model.architectures import CANVAS, build
from mrcnn_steps.model.losses import Losses, classification_loss
from mrcnn_steps.model.single_stage import join_with_background
from mrcnn_steps.model.targets import Targets

FAMILIES = {
    "RetinaNet": "retinanet_resnet50_fpn",
    "RetinaNet v2": "retinanet_resnet50_fpn_v2",
    "FCOS": "fcos_resnet50_fpn",
    "SSD": "ssd300_vgg16",
    "SSDLite": "ssdlite320_mobilenet_v3_large",
}
CLASSES = ("background", "a", "b")

# One of each class of torchvision; the others differ in what happens before the losses.
one_of_each = pytest.mark.parametrize("family", ["RetinaNet", "FCOS", "SSDLite"], indirect=True)

# As shares of the canvas: an object in the first image, two in the second.
BOXES = [[[0.1, 0.2, 0.6, 0.9]], [[0.3, 0.1, 0.5, 0.4], [0.5, 0.5, 0.95, 0.9]]]
LABELS = [[2], [1, 2]]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Any:
    """A model whose scores are all over the place, so that no loss is trivial."""
    torch.manual_seed(0)
    model: Any = build(FAMILIES[request.param], CLASSES)
    model.canvas = CANVAS.get(FAMILIES[request.param], 128)
    model.softmax = request.param.startswith("SSD")
    with torch.no_grad():
        for name, value in model.head.classification_head.named_parameters():
            if name.endswith("bias"):
                value.copy_(torch.randn_like(value))
    return model.train()


def batch(size: int, crowds: list[list[float]] | None = None) -> tuple[Tensor, Targets]:
    """The objects above; crowds lie in both images."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, 3, size, size), generator=generator, dtype=torch.uint8)
    most = max(len(boxes) for boxes in BOXES)
    boxes, labels = torch.zeros(2, most, 4), torch.zeros(2, most, dtype=torch.int64)
    for i in range(2):
        boxes[i, : len(BOXES[i])] = torch.tensor(BOXES[i]) * size
        labels[i, : len(LABELS[i])] = torch.tensor(LABELS[i])
    return images, Targets(
        boxes=boxes,
        labels=labels,
        minis=torch.zeros(2, most, 28, 28, dtype=torch.uint8),
        crowds=torch.tensor([crowds or []] * 2).reshape(2, -1, 4) * size,
        labeled=torch.ones(2, len(CLASSES), dtype=torch.bool),
    )


def gradients(model: Any, images: Tensor, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the loss for class logits, and for what only positive rows have a loss of (the
    box deltas); the rows' anchors."""
    model = copy.deepcopy(model)
    seen: dict[str, Any] = {}

    def keep_outputs(module: Any, inputs: Any, output: dict[str, Tensor]) -> None:
        for value in output.values():
            value.retain_grad()
        seen.update(output)

    def keep_anchors(module: Any, inputs: Any, output: list[Tensor]) -> None:
        seen["anchors"] = output[0]

    model.head.register_forward_hook(keep_outputs)
    model.anchor_generator.register_forward_hook(keep_anchors)
    losses = Losses(model)(images, targets, torch.Generator())
    torch.stack(list(losses.values())).sum().backward()
    assert all(
        parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad
    ), "`DistributedDataParallel` waits for the gradient of each"
    # A box that FCOS predicts with no size may have no gradient; its centerness always has one.
    of_positives = seen.get("bbox_ctrness", seen["bbox_regression"])
    return seen["cls_logits"].grad, of_positives.grad, seen["anchors"]


def test_losses_are_torchvisions_when_everything_is_known(family: Any) -> None:
    """Against `model(images, targets)`, whose transform is set to the size of the canvas."""
    size = family.canvas
    images, targets = batch(size)
    theirs = copy.deepcopy(family)
    theirs.transform.min_size, theirs.transform.max_size = (size,), size
    truth = [
        {"boxes": torch.tensor(boxes) * size, "labels": torch.tensor(labels)}
        for boxes, labels in zip(BOXES, LABELS, strict=True)
    ]
    expected = theirs([image.float() / 255 for image in images], truth)
    found = Losses(copy.deepcopy(family))(images, targets, torch.Generator())
    assert found.keys() == {f"loss_{name}" for name in expected}
    assert len(found) == (3 if type(family).__name__ == "FCOS" else 2)
    for name, value in expected.items():
        assert value > 0
        torch.testing.assert_close(found[f"loss_{name}"], value, rtol=1e-6, atol=0)


@one_of_each
def test_crowds_are_neither_objects_nor_background(family: Any) -> None:
    """A crowd over the left half, and one inside an object; objects stay what they are."""
    crowds = [[0.0, 0.0, 0.5, 1.0], [0.6, 0.6, 0.8, 0.8]]
    classes, boxes, anchors = gradients(family, *batch(family.canvas, crowds))
    classes_before, boxes_before, _ = gradients(family, *batch(family.canvas))
    assert torch.equal(boxes, boxes_before)
    positive = (boxes != 0).any(dim=-1)

    def share_inside(anchor: list[float]) -> float:
        x1, y1, x2, y2 = anchor
        shared = [
            max(0.0, min(x2, a[2] * family.canvas) - max(x1, a[0] * family.canvas))
            * max(0.0, min(y2, a[3] * family.canvas) - max(y1, a[1] * family.canvas))
            for a in crowds
        ]
        return max(shared) / ((x2 - x1) * (y2 - y1))

    inside = torch.tensor([share_inside(anchor) >= 0.5 for anchor in anchors.tolist()])
    ignored = inside & ~positive
    assert ignored.any(dim=1).all()
    assert (positive & inside).any()
    assert (classes_before[ignored] != 0).any()
    assert (classes[ignored] == 0).all()
    rest = positive if family.softmax else ~ignored  # SSD chooses other negatives instead
    assert torch.equal(classes[rest], classes_before[rest])
    assert (classes[~ignored & ~positive] != 0).any()


@one_of_each
def test_a_crowd_everywhere_leaves_no_background(family: Any) -> None:
    classes, boxes, _ = gradients(family, *batch(family.canvas, [[-9.0, -9.0, 9.0, 9.0]]))
    positive = (boxes != 0).any(dim=-1)
    assert (classes[~positive] == 0).all()
    assert (classes[positive] != 0).any(dim=-1).all()


@one_of_each
def test_unlabeled_classes_are_not_background(family: Any) -> None:
    """The first image is not labeled for b, and yet its one object (a pasted one) is a b."""
    images, targets = batch(family.canvas)
    before, boxes, _ = gradients(family, images, targets)
    targets.labeled[0, 2] = False
    classes, boxes, _ = gradients(family, images, targets)
    positive = (boxes != 0).any(dim=-1)
    assert torch.equal(classes[positive], before[positive])
    assert (classes[0, positive[0], 2] < 0).all(), "more of b"
    assert torch.equal(classes[1], before[1]), "the other image is as before"
    unsure = classes[0, ~positive[0]]
    assert (before[0, ~positive[0]][:, 2] > 0).any()
    assert (unsure[:, 2] <= 0).all(), "nowhere less of b"
    assert (unsure[:, 1] > 0).any(), "less of a"


def test_background_of_a_softmax_stands_for_the_unlabeled_classes() -> None:
    """Against the R-CNNs' loss, which is checked by hand."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 50, 6, generator=generator, requires_grad=True)
    labeled = torch.rand(50, 6, generator=generator) < 0.5
    labeled[:, 0] = True
    background = torch.zeros(50, dtype=torch.int64)
    expected = classification_loss(logits[0], background, labeled)
    found = F.cross_entropy(
        join_with_background(logits, ~labeled[None])[0], background, reduction="none"
    )
    torch.testing.assert_close(found, expected)
    gradient = [torch.autograd.grad(loss.sum(), logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradient)


@one_of_each
def test_photos_without_objects(family: Any) -> None:
    """Everything is background; SSD learns nothing from it."""
    images, targets = batch(family.canvas)
    targets.labels.zero_()
    targets.boxes.zero_()
    classes, boxes, _ = gradients(family, images, targets)
    assert (boxes == 0).all()
    assert (classes == 0).all() == family.softmax
    assert classes.isfinite().all()


@one_of_each
def test_in_testing_the_model_resizes_photos_as_ever(family: Any) -> None:
    torch.manual_seed(0)
    photo = torch.rand(3, 60, 90)
    plain, ours = copy.deepcopy(family).eval(), copy.deepcopy(family)
    Losses(ours)
    plain.transform.max_size = ours.transform.max_size = 200
    with torch.inference_mode():
        expected, found = plain([photo])[0], ours.eval()([photo])[0]
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
