"""Stage 7, masks: what the mask head is taught, what it says, and how that gets into the photo."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection.roi_heads import (
    maskrcnn_inference,
    paste_masks_in_image,
    project_masks_on_boxes,
)
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from mrcnn_steps.masks import class_probs, mask_targets, paste, paste_soft, patches
from mrcnn_steps.mini_masks import boxes_from_masks, mask_iou, shrink


def disc(size, box):
    """An ellipse that fills its box."""
    x1, y1, x2, y2 = box
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    across = (x - (x1 + x2) / 2) / ((x2 - x1) / 2)
    down = (y - (y1 + y2) / 2) / ((y2 - y1) / 2)
    return across**2 + down**2 <= 1


def scattered(boxes, seed=0, spread=0.15):
    """RoIs around boxes, as proposals lie."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    shift = torch.randn(boxes.shape, generator=torch.Generator().manual_seed(seed)) * spread
    rois = boxes + shift * sides
    return torch.cat((rois[:, :2], torch.maximum(rois[:, 2:], rois[:, :2] + 1)), dim=1)


def soft_masks(count, size=28, seed=0):
    """Smooth random probabilities, as a mask head gives them."""
    coarse = torch.rand((count, 1, 5, 5), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")[:, 0].clamp(0, 1)


# --- targets from full masks ----------------------------------------------------------------


@pytest.mark.parametrize("size", [28, 14])
def test_targets_from_full_masks_are_torchvisions_to_the_last_bit(case, size):
    boxes = case.boxes.repeat(3, 1)
    index = torch.arange(len(case.boxes)).repeat(3)
    rois = scattered(boxes)
    theirs = project_masks_on_boxes(case.masks.float(), rois, index, size)
    ours = mask_targets(case.masks, case.boxes, rois, index, size)
    assert torch.equal(ours, theirs)
    assert ((ours > 0) & (ours < 1)).any(), "soft at the outline"


def test_the_order_of_the_rois_is_kept(case):
    index = torch.randint(
        len(case.boxes), (40,), generator=torch.Generator().manual_seed(0), dtype=torch.int64
    )
    rois = scattered(case.boxes[index])
    theirs = project_masks_on_boxes(case.masks.float(), rois, index, 28)
    assert torch.equal(mask_targets(case.masks, case.boxes, rois, index), theirs)


@pytest.mark.parametrize("sizes", [(800, 1333), (300, 1333), (97, 4000)])
def test_masks_and_boxes_that_torchvisions_transform_resized_are_still_full_masks(case, sizes):
    """It resizes masks by `nearest` and boxes exactly: they fit each other to a pixel only."""
    transform = GeneralizedRCNNTransform(*sizes, [0.0] * 3, [1.0] * 3).eval()
    image = torch.zeros(3, case.size, case.size)
    target = {"boxes": case.boxes, "masks": case.masks.byte()}
    _, [resized] = transform([image], [target])
    rois = scattered(resized["boxes"])
    index = torch.arange(len(rois))
    theirs = project_masks_on_boxes(resized["masks"].float(), rois, index, 28)
    ours = mask_targets(resized["masks"].bool(), resized["boxes"], rois, index)
    assert torch.equal(ours, theirs)


# --- targets from mini-masks ----------------------------------------------------------------


def ideal_target(mask, roi, size=28, points=8):
    """Which samples of the RoI are mostly object: read from the full mask, point by point."""
    x1, y1, x2, y2 = roi.tolist()
    steps = (np.arange(size * points) + 0.5) / (size * points)
    y = np.floor(y1 + steps * (y2 - y1)).astype(int)
    x = np.floor(x1 + steps * (x2 - x1)).astype(int)
    height, width = mask.shape
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))
    read = mask.numpy()[y.clip(0, height - 1)[:, None], x.clip(0, width - 1)] & inside
    return torch.from_numpy(read.reshape(size, points, size, points).mean((1, 3)) > 0.5)


def test_targets_from_mini_masks_show_the_object_and_not_what_is_half_a_pixel_beside_it(case):
    large = (case.boxes[:, 2:] - case.boxes[:, :2]).amin(dim=1) > 90
    masks, boxes = case.masks[large], case.boxes[large]
    mini_masks = shrink(masks, boxes)
    # Five RoIs an object, so that no single one decides.
    index = torch.arange(len(boxes)).repeat(5)
    rois = scattered(boxes[index], spread=0.1)
    pairs = zip(masks[index], rois, strict=True)
    ideal = torch.stack([ideal_target(mask, roi) for mask, roi in pairs])

    def agreement(shift):
        pixel = (boxes[index, 2:] - boxes[index, :2]).repeat(1, 2) / 56
        targets = mask_targets(mini_masks, boxes, rois + shift * pixel, index)
        assert targets.unique().tolist() == [0, 1], "rounded, as in the notes"
        return mask_iou(targets.bool(), ideal).mean()

    assert agreement(0) > 0.92
    assert agreement(0) > agreement(0.5)
    assert agreement(0) > agreement(-0.5)


def test_a_mirrored_mini_mask_has_a_mirrored_target():
    """Numbers without rounding, so that halves stay halves: samples lie 2 pixels apart."""
    mini_masks = torch.rand(6, 56, 56, generator=torch.Generator().manual_seed(0)) > 0.4
    boxes = torch.tensor([[0.0, 0, 112, 112]]).repeat(6, 1)
    rois = torch.tensor([[-8.0, -8, 120, 120]]).repeat(6, 1)
    index = torch.arange(6)
    target = mask_targets(mini_masks, boxes, rois, index, 32)
    for axis in (1, 2):
        mirrored = mask_targets(mini_masks.flip(axis), boxes, rois, index, 32)
        assert torch.equal(mirrored, target.flip(axis))


def test_an_roi_on_its_object_reads_every_pixel_of_the_mini_mask():
    """From 56 to 28: each sample is the majority of its four pixels."""
    mini_masks = torch.rand(3, 56, 56, generator=torch.Generator().manual_seed(0)) > 0.4
    boxes = torch.tensor([[100.0, 200, 300, 500]]).repeat(3, 1)
    targets = mask_targets(mini_masks, boxes, boxes, torch.arange(3))
    quarters = mini_masks.float().reshape(3, 28, 2, 28, 2).mean(dim=(2, 4))
    assert torch.equal(targets, (quarters > 0.5).float())


def test_an_roi_beside_its_object_teaches_an_empty_mask(case):
    rois = case.boxes + 5000
    index = torch.arange(len(rois))
    assert not mask_targets(case.masks, case.boxes, rois, index).any()
    assert not mask_targets(case.mini_masks, case.boxes, rois, index).any()


def test_no_rois_have_no_targets(case):
    nothing, none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    assert mask_targets(case.masks, case.boxes, nothing, none).shape == (0, 28, 28)
    empty = torch.zeros(0, 56, 56, dtype=torch.bool)
    assert mask_targets(empty, nothing, nothing, none, 14).shape == (0, 14, 14)


# --- the mask of the detected class ---------------------------------------------------------


def test_each_detection_gets_the_mask_of_its_own_class():
    logits = torch.randn((9, 6, 28, 28), generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, 5, 2, 2, 3, 1, 4, 5, 1])
    [theirs] = maskrcnn_inference(logits, [labels])
    assert torch.equal(class_probs(logits, labels), theirs[:, 0])


def test_no_detections_have_no_masks():
    none = torch.zeros(0, dtype=torch.int64)
    assert class_probs(torch.zeros(0, 81, 28, 28), none).shape == (0, 28, 28)


@pytest.mark.parametrize("label", [-1, 6, 1000])
def test_a_label_outside_the_models_classes_is_refused(label):
    with pytest.raises(ValueError, match=r"labels: expected 0…5, found .* in row 1"):
        class_probs(torch.zeros(2, 6, 28, 28), torch.tensor([1, label]))


def test_a_label_for_every_mask(refused):
    with pytest.raises(refused):
        class_probs(torch.zeros(2, 6, 28, 28), torch.tensor([1]))


# --- into the photo, torchvision's way ------------------------------------------------------


@pytest.mark.parametrize("size", [28, 14])
def test_soft_masks_are_torchvisions_to_the_last_bit(random_boxes, size):
    boxes = random_boxes(60, (300, 400), sides=(0.5, 300))
    probs = soft_masks(60, size)
    theirs = paste_masks_in_image(probs[:, None], boxes, (300, 400))[:, 0]
    assert torch.equal(paste_soft(probs, boxes, (300, 400)), theirs)


def test_so_they_are_for_boxes_that_leave_the_photo(random_boxes):
    boxes = scattered(random_boxes(60, (90, 120), sides=(5, 120)), spread=0.3)
    probs = soft_masks(60)
    theirs = paste_masks_in_image(probs[:, None], boxes, (90, 120))[:, 0]
    assert torch.equal(paste_soft(probs, boxes, (90, 120)), theirs)


@given(st.integers(0, 999), st.floats(0.01, 1))
def test_pasting_with_a_threshold_is_thresholding_the_soft_masks(seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    corner, side = torch.rand((2, 4, 2), generator=generator) * 40
    boxes = torch.cat((corner, corner + side), dim=1) - 5
    probs = soft_masks(4, seed=seed)
    pasted = paste(probs, boxes, (50, 60), threshold)
    assert torch.equal(pasted, paste_soft(probs, boxes, (50, 60)) >= threshold)


# --- into the photo, exactly ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["numeric1", "numeric2"])
def test_reference_pasting(reference, name):
    numbers = reference(name)
    boxes = torch.from_numpy(numbers["paste_boxes"]).float()
    height, width = numbers["paste_size"].tolist()
    probs = torch.from_numpy(numbers["soft_mask"]).float().repeat(len(boxes), 1, 1)
    wanted = np.unpackbits(numbers["pasted"], axis=1).reshape(-1, height, width).astype(bool)
    pasted = paste(probs, boxes, (height, width), exact=True)
    assert torch.equal(pasted, torch.from_numpy(wanted))


def test_pasting_exactly_is_the_loops():
    probs = soft_masks(1, 6)[0]
    pasted = paste(probs[None], torch.tensor([[3.0, 2, 13, 9]]), (12, 15), exact=True)[0]
    for row in range(12):
        for column in range(15):
            value = 0.0
            if 3 <= column < 13 and 2 <= row < 9:
                y, x = (row - 2 + 0.5) * 6 / 7 - 0.5, (column - 3 + 0.5) * 6 / 10 - 0.5
                for v in range(6):
                    for u in range(6):
                        weight = max(0.0, 1 - abs(y - v)) * max(0.0, 1 - abs(x - u))
                        value += weight * float(probs[v, u])
            assert bool(pasted[row, column]) == (value >= 0.5)


def test_small_objects_shift_and_grow_in_torchvisions_way_and_not_in_the_exact_one():
    """Ideal 28×28 masks of objects under 16 pixels."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 80, (40, 2), generator=generator)
    side = torch.randint(5, 16, (40, 2), generator=generator)
    masks = torch.stack(
        [disc(100, box) for box in torch.cat((corner, corner + side), dim=1).tolist()]
    )
    boxes = boxes_from_masks(masks)
    ideal = shrink(masks, boxes, (28, 28)).float()
    exactly = mask_iou(paste(ideal, boxes, (100, 100), exact=True), masks).mean()
    enlarged = mask_iou(paste(ideal, boxes, (100, 100)), masks).mean()
    assert exactly > 0.99
    assert enlarged < 0.9


# --- the ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
def test_no_detections_have_no_masks_in_the_photo(exact):
    pasted = paste(torch.zeros(0, 28, 28), torch.zeros(0, 4), (30, 40), exact=exact)
    assert pasted.shape == (0, 30, 40)
    assert paste_soft(torch.zeros(0, 28, 28), torch.zeros(0, 4), (30, 40)).shape == (0, 30, 40)


@pytest.mark.parametrize(
    "box", [[-50, -50, -20, -20], [60, 5, 90, 30], [5, 60, 9, 90], [200, 200, 300, 300]]
)
@pytest.mark.parametrize("exact", [False, True])
def test_a_box_beside_the_photo_draws_nothing(box, exact):
    boxes = torch.tensor([box], dtype=torch.float32)
    pasted = paste(torch.ones(1, 28, 28), boxes, (40, 50), exact=exact)
    assert pasted.shape == (1, 40, 50)
    assert not pasted.any()


def test_a_box_across_the_edge_is_cut_there():
    boxes = torch.tensor([[-10.0, -10, 10, 10], [45, 35, 60, 60]])
    pasted = paste(torch.ones(2, 28, 28), boxes, (40, 50), exact=True)
    assert pasted[0, :9, :9].all()
    assert int(pasted[0].sum()) <= 100
    assert pasted[1, 36:, 46:].all()
    assert int(pasted[1].sum()) <= 25


def test_a_box_without_area_draws_nothing_exactly():
    boxes = torch.tensor([[5.0, 5, 5, 20], [5, 5, 5, 5], [9, 9, 4, 4]])
    assert not paste(torch.ones(3, 28, 28), boxes, (40, 50), exact=True).any()


@pytest.mark.parametrize("exact", [False, True])
def test_no_soft_mask_of_the_photos_size_exists_at_any_time(random_boxes, exact):
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.is_floating_point():
                largest = max(largest, out.untyped_storage().nbytes())
            return out

    boxes, probs = random_boxes(20, (1000, 1500), sides=(10, 90)), soft_masks(20)
    with Watch():
        paste(probs, boxes, (1000, 1500), exact=exact)
    assert 0 < largest < 100_000, "the pixels of a box; the photo has six megabytes"


# --- refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0, -0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold: expected above 0 and up to 1"):
        paste(torch.zeros(1, 28, 28), torch.tensor([[0.0, 0, 9, 9]]), (30, 40), threshold)


@pytest.mark.parametrize("exact", [False, True])
def test_boxes_that_are_no_numbers_are_refused(exact):
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, float("nan"), 9, 9]])
    with pytest.raises(ValueError, match=r"boxes: expected finite .* row 1"):
        paste(torch.zeros(2, 28, 28), boxes, (30, 40), exact=exact)
    with pytest.raises(ValueError, match=r"boxes: expected finite .* row 1"):
        paste_soft(torch.zeros(2, 28, 28), boxes, (30, 40))


def test_a_mask_for_every_box(refused):
    with pytest.raises(refused):
        paste(torch.zeros(2, 28, 28), torch.zeros(1, 4), (30, 40))
    with pytest.raises(refused):
        paste_soft(torch.zeros(1, 28, 28), torch.zeros(2, 4), (30, 40))


@pytest.mark.parametrize("index", [-1, 2, 99])
def test_an_roi_without_object_is_refused(index):
    masks = torch.ones(2, 20, 20, dtype=torch.bool)
    boxes = torch.tensor([[0.0, 0, 20, 20]] * 2)
    with pytest.raises(ValueError, match="gt_index: expected 0…1"):
        mask_targets(masks, boxes, boxes, torch.tensor([0, index]))


def test_targets_of_shapes_that_do_not_fit_are_refused(refused, case):
    index = torch.arange(len(case.boxes))
    bad = torch.full_like(case.boxes, float("nan"))
    for arguments in [
        (case.masks[:1], case.boxes, case.boxes, index),
        (case.masks, case.boxes, case.boxes, index[:1]),
        (case.masks.float(), case.boxes, case.boxes, index),
        (case.masks, bad, case.boxes, index),
        (case.masks, case.boxes, bad, index),
    ]:
        with pytest.raises(refused):
            mask_targets(*arguments)


# --- without the photo ----------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
def test_patches_are_the_pasted_masks_and_nothing_else(random_boxes, exact):
    boxes = random_boxes(20, (70, 90), seed=3, sides=(3, 60))
    boxes[:3] += 60  # beyond the photo's corner
    probs = torch.rand((20, 28, 28), generator=torch.Generator().manual_seed(0))
    whole = paste(probs, boxes, (70, 90), 0.4, exact)
    found = list(patches(probs, boxes, (70, 90), 0.4, exact))
    assert len(found) == len(whole)
    for patch, mask in zip(found, whole, strict=True):
        assert torch.equal(mask[patch.rows, patch.columns], patch.values)
        assert patch.values.sum() == mask.sum(), "all of the mask lies in its patch"


def test_patches_are_computed_one_at_a_time():
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).repeat(10_000, 1)
    probs = torch.ones((1, 28, 28)).expand(10_000, 28, 28)
    first = next(patches(probs, boxes, (4000, 6000)))
    assert first.values.numel() < 400
