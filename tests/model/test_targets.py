"""Training targets and losses: torchvision's numbers, and what is not background."""

import math

import pytest
import torch
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import box_iou

from mrcnn_steps import rpn_targets
from mrcnn_steps.anchors import pyramid
from mrcnn_steps.model.losses import (
    classification_loss,
    detection_losses,
    rpn_losses,
    training_proposals,
)
from mrcnn_steps.model.network import tiny
from mrcnn_steps.model.targets import Targets, choose, mask_targets, match


def targets_of(
    boxes: list[list[list[float]]],
    crowds: list[list[list[float]]] | None = None,
    labeled: torch.Tensor | None = None,
    classes: int = 3,
) -> Targets:
    """Ground truth of a batch; an image's missing rows are padded with zeros."""
    count = max(1, *(len(each) for each in boxes))
    padded = [each + [[0.0] * 4] * (count - len(each)) for each in boxes]
    labels = [[1] * len(each) + [0] * (count - len(each)) for each in boxes]
    crowds = crowds or [[] for _ in boxes]
    most = max(len(each) for each in crowds)
    crowd_boxes = [each + [[0.0] * 4] * (most - len(each)) for each in crowds]
    return Targets(
        boxes=torch.tensor(padded),
        labels=torch.tensor(labels),
        minis=torch.ones(len(boxes), count, 28, 28, dtype=torch.uint8),
        crowds=torch.tensor(crowd_boxes).reshape(len(boxes), most, 4),
        labeled=torch.ones(len(boxes), classes, dtype=torch.bool) if labeled is None else labeled,
    )


def random_boxes(count: int, generator: torch.Generator) -> torch.Tensor:
    corner = torch.rand(count, 2, generator=generator) * 100
    return torch.cat((corner, corner + 5 + torch.rand(count, 2, generator=generator) * 60), dim=1)


# --- matching -------------------------------------------------------------------------------------


@pytest.mark.parametrize("force_best", [True, False])
def test_matching_a_batch_equals_torchvision_image_by_image(force_best: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.stack([random_boxes(300, generator) for _ in range(3)])
    objects = [random_boxes(count, generator) for count in (5, 1, 12)]
    found = match(boxes, targets_of([o.tolist() for o in objects]), 0.7, 0.3, force_best)
    for i, gt in enumerate(objects):
        expected = Matcher(0.7, 0.3, allow_low_quality_matches=force_best)(box_iou(gt, boxes[i]))
        assert torch.equal(found.positive[i], expected >= 0)
        assert torch.equal(found.negative[i], expected == Matcher.BELOW_LOW_THRESHOLD)
        assert torch.equal(found.gt_index[i][expected >= 0], expected[expected >= 0])


def test_matching_a_batch_equals_the_stage_that_the_lessons_show() -> None:
    """`rpn_targets.match`, one image at a time, on the anchors of a pyramid."""
    generator = torch.Generator().manual_seed(1)
    anchors = pyramid(256, anchor_stride=2).boxes
    objects = [random_boxes(count, generator) for count in (6, 1, 15)]
    truth = targets_of([o.tolist() for o in objects])
    found = match(anchors.expand(3, -1, -1), truth, 0.7, 0.3, force_best=True)
    labels = found.positive.to(torch.int8) - found.negative.to(torch.int8)
    for i, gt in enumerate(objects):
        expected = rpn_targets.match(anchors, gt)
        assert torch.equal(labels[i], expected.labels)
        positive = expected.labels == 1
        assert positive.any()
        assert torch.equal(found.gt_index[i][positive], expected.gt_index[positive])


def test_an_object_that_touches_no_box_forces_none() -> None:
    """IoU 0 is the best there is, and every other box ties with it."""
    boxes = torch.tensor([[[0.0, 0, 10, 10], [20, 20, 30, 30]]])
    found = match(boxes, targets_of([[[50.0, 50, 60, 60]]]), 0.7, 0.3, force_best=True)
    assert not found.positive.any()
    assert found.negative.all()


def test_half_in_a_crowd_is_neither_object_nor_background() -> None:
    """By hand: 6/10, 5/10, 4/10 of a box's area inside the crowd; then an object in the crowd."""
    boxes = torch.tensor([[[4.0, 0, 14, 1], [5, 0, 15, 1], [6, 0, 16, 1], [0, 0, 10, 10]]])
    truth = targets_of([[[0.0, 0, 10, 10]]], crowds=[[[0.0, 0, 10, 10]]])
    found = match(boxes, truth, 0.7, 0.3, force_best=False)
    assert found.negative.tolist() == [[False, False, True, False]]
    assert found.positive.tolist() == [[False, False, False, True]]


def test_an_image_without_objects_is_all_background() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10]], [[0, 0, 10, 10]]])
    found = match(boxes, targets_of([[], [[0.0, 0, 10, 10]]]), 0.7, 0.3, force_best=True)
    assert found.negative.tolist() == [[True], [False]]


# --- choosing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [(50, 900, (10, 30)), (4, 900, (4, 36)), (50, 7, (10, 7)), (0, 0, (0, 0))],
)
def test_choice_has_at_most_a_share_of_positives(
    positives: int, negatives: int, expected: tuple[int, int]
) -> None:
    rows = torch.arange(1000)[None]
    positive, negative = rows < positives, (rows >= 60) & (rows < 60 + negatives)
    chosen = choose(positive, negative, 40, 0.25, torch.Generator().manual_seed(0))
    index, used = chosen.index[0], chosen.used[0]
    assert (int(chosen.positive.sum()), int((used & ~chosen.positive[0]).sum())) == expected
    assert positive[0, index[chosen.positive[0]]].all()
    assert negative[0, index[used & ~chosen.positive[0]]].all()
    assert len(index[used].unique()) == used.sum(), "no row twice"


def test_choice_is_uniform_and_repeatable() -> None:
    negative = torch.ones(1, 10, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(10)
    for _ in range(2000):
        counts[choose(~negative, negative, 2, 0.5, generator).index[0]] += 1
    # 400 expected each, standard deviation 18
    assert counts.min() > 320
    assert counts.max() < 480
    first, second = (
        choose(~negative, negative, 5, 0.5, torch.Generator().manual_seed(3)).index for _ in "ab"
    )
    assert torch.equal(first, second)


# --- masks ----------------------------------------------------------------------------------------


def test_mask_targets_agree_with_cutting_the_full_mask() -> None:
    """An ellipse, cut at RoIs around it; torchvision's own crop is half a pixel off."""
    y, x = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(200) + 0.5, indexing="ij")
    full = (((x - 100) / 60) ** 2 + ((y - 90) / 40) ** 2 < 1).to(torch.uint8)[None]
    gt = torch.tensor([[40.0, 50, 160, 130]])
    rois = torch.tensor([[40.0, 50, 160, 130], [60, 40, 150, 120], [30, 60, 170, 140]])
    mini = F.interpolate(full[None, :, 50:130, 40:160].float(), (112, 112), mode="nearest-exact")
    found = mask_targets(mini[0].to(torch.uint8).expand(3, -1, -1), gt.expand(3, -1), rois, size=28)
    shifted = rois - 0.5  # the same pixels for `aligned=False`
    expected = project_masks_on_boxes(full, shifted, torch.zeros(3, dtype=torch.int64), 28)
    assert (found - expected).abs().mean() < 0.01
    assert ((found > 0.5) != (expected > 0.5)).float().mean() < 0.01


# --- proposals to train on ------------------------------------------------------------------------


@pytest.mark.parametrize("score_threshold", [0.0, 0.5])
def test_training_proposals_are_torchvisions(score_threshold: float) -> None:
    """Levels apart, as in torchvision's own models; the threshold as in its MobileNet ones."""
    head = RPNHead(4, 3)
    keep = {"training": 60, "testing": 1}
    anchors = AnchorGenerator(((16,), (32,)), ((0.5, 1.0, 2.0),) * 2)
    rpn = RegionProposalNetwork(
        *(anchors, head, 0.7, 0.3, 256, 0.5, keep, keep, 0.7, score_threshold)
    ).train()
    maps = [torch.zeros(2, 4, 16, 16), torch.zeros(2, 4, 8, 8)]
    boxes = anchors(ImageList(torch.zeros(2, 3, 128, 128), [(128, 128)] * 2), maps)[0]
    counts = [16 * 16 * 3, 8 * 8 * 3]
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, len(boxes), generator=generator) - 2
    deltas = torch.randn(2, len(boxes), 4, generator=generator) * 0.3
    found, valid = training_proposals(rpn, logits, deltas, boxes, counts, (128, 128))
    decoded = rpn.box_coder.decode(deltas.view(-1, 4), [boxes, boxes]).view(2, -1, 4)
    expected, _ = rpn.filter_proposals(decoded, logits.view(-1, 1), [(128, 128)] * 2, counts)
    for i in range(2):
        assert 0 < len(expected[i]) <= 60
        torch.testing.assert_close(found[i][valid[i]], expected[i], rtol=1e-5, atol=1e-4)


# --- losses ---------------------------------------------------------------------------------------


def test_full_labels_give_the_usual_cross_entropy() -> None:
    logits, labels = torch.randn(50, 7), torch.randint(0, 7, (50,))
    found = classification_loss(logits, labels, torch.ones(50, 7, dtype=torch.bool))
    torch.testing.assert_close(found, F.cross_entropy(logits, labels, reduction="none"))


def test_background_may_be_an_object_of_an_unlabeled_class() -> None:
    """By hand: background 1/2, labeled class 1/4, unlabeled class 1/4."""
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log().requires_grad_()
    labeled = torch.tensor([[True, True, False]])
    loss = classification_loss(logits, torch.tensor([0]), labeled)
    assert loss.item() == pytest.approx(-math.log(3 / 4))
    loss.sum().backward()
    # Probability leaves the labeled class only; the other two share it as they stand.
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0.5 - 2 / 3, 0.25, 0.25 - 1 / 3])


def test_an_object_in_a_partly_labeled_photo_is_what_it_is() -> None:
    logits = torch.randn(4, 3)
    labeled = torch.tensor([[True, True, False]]).expand(4, 3)
    labels = torch.tensor([1, 2, 1, 2])
    found = classification_loss(logits, labels, labeled)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels, reduction="none"))


def test_rpn_learns_no_background_from_partly_labeled_photos() -> None:
    """Two equal images, one labeled for some classes: its negatives get no gradient."""
    model = tiny(("background", "a", "b"), image_size=128)
    anchors = torch.tensor([[0.0, 0, 32, 32], [64, 64, 96, 96], [96, 0, 128, 32]])
    labeled = torch.tensor([[True, True, True], [True, True, False]])
    truth = targets_of([[[0.0, 0, 32, 32]], [[0.0, 0, 32, 32]]], labeled=labeled)
    logits = torch.zeros(2, 3, requires_grad=True)
    found = rpn_losses(
        model.rpn, logits, torch.zeros(2, 3, 4), anchors, truth, torch.Generator().manual_seed(0)
    )
    found["loss_objectness"].backward()
    assert logits.grad is not None
    # One positive and, of three sampled rows, at most a half positive: the mean is over 4 rows.
    assert logits.grad.tolist() == [
        pytest.approx([-0.125, 0.125, 0.125]),
        pytest.approx([-0.125, 0, 0]),
    ]


@pytest.fixture(scope="module")
def everything_sampled() -> MaskRCNN:
    """A model without dropout whose samplers take every row, so that no chance is left."""
    torch.manual_seed(0)
    model = tiny(("background", "a", "b"), image_size=256).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout) or type(module).__name__ == "StochasticDepth":
            module.p = 0.0
    model.rpn.fg_bg_sampler.batch_size_per_image = 10**6
    model.roi_heads.fg_bg_sampler.batch_size_per_image = 10**6
    model.roi_heads.fg_bg_sampler.positive_fraction = 1.0
    return model


def test_losses_equal_torchvision_when_everything_is_labeled(everything_sampled: MaskRCNN) -> None:
    model = everything_sampled
    images = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8)
    boxes = [[[20.0, 30, 120, 200], [100, 100, 220, 180]], [[60.0, 60, 190, 130]]]
    truth = targets_of(boxes)
    ours = detection_losses(model, images, truth, torch.Generator().manual_seed(0))
    targets = []
    for rows in boxes:
        masks = torch.zeros(len(rows), 256, 256, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, rows, strict=True):
            mask[int(y1) : int(y2), int(x1) : int(x2)] = 1
        labels = torch.ones(len(rows), dtype=torch.int64)
        targets.append({"boxes": torch.tensor(rows), "labels": labels, "masks": masks})
    theirs = model(list(images.float() / 255), targets)
    assert ours.keys() == theirs.keys()
    for name in set(ours) - {"loss_mask"}:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6)
    # torchvision's mask targets are half a pixel off (`aligned=False`).
    torch.testing.assert_close(ours["loss_mask"], theirs["loss_mask"], rtol=0.02, atol=0)


def test_a_batch_without_objects_trains_every_parameter(everything_sampled: MaskRCNN) -> None:
    """`DistributedDataParallel` waits for the gradient of each."""
    model = everything_sampled
    model.zero_grad()
    images = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    losses = detection_losses(model, images, targets_of([[]]), torch.Generator().manual_seed(0))
    assert losses["loss_mask"] == 0
    assert losses["loss_box_reg"] == 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
