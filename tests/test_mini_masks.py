"""Stage 1, mini-masks: boxes from masks, there and back, and what that saves and costs."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from mrcnn_steps.mini_masks import boxes_from_masks, expand, mask_iou, round_trip, shrink


@st.composite
def mask_sets(draw, min_count=0, max_side=40):
    """Noise of every density: full masks, empty ones, and single pixels."""
    shape = draw(st.integers(min_count, 4)), *draw(st.tuples(*[st.integers(1, max_side)] * 2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    density = draw(st.sampled_from([0, 0.003, 0.03, 0.3, 0.7, 0.97, 1]))
    return torch.rand(shape, generator=generator) < density


def looped_boxes(masks):
    """The notes' way: any, where, first, last."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for box, mask in zip(boxes, masks.numpy(), strict=True):
        columns = np.where(mask.any(axis=0))[0]
        rows = np.where(mask.any(axis=1))[0]
        if len(columns):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return torch.from_numpy(boxes)


def looped_resize(picture, size):
    """Bilinear, sample by sample: pixel centers at half coordinates, zero outside."""
    height, width = picture.shape
    resized = np.zeros(size)
    for row in range(size[0]):
        for column in range(size[1]):
            y = (row + 0.5) * height / size[0] - 0.5
            x = (column + 0.5) * width / size[1] - 0.5
            for v in range(height):
                for u in range(width):
                    weight = max(0.0, 1 - abs(y - v)) * max(0.0, 1 - abs(x - u))
                    resized[row, column] += weight * picture[v, u]
    return torch.from_numpy(resized)


def ellipse(size, box):
    x1, y1, x2, y2 = box
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    across = (x - (x1 + x2) / 2) / ((x2 - x1) / 2)
    down = (y - (y1 + y2) / 2) / ((y2 - y1) / 2)
    return across**2 + down**2 <= 1


# --- boxes from masks -----------------------------------------------------------------------


def test_the_far_corner_is_exclusive():
    masks = torch.zeros(2, 8, 10, dtype=torch.bool)
    masks[0, 3, 5] = True
    masks[1] = True
    assert boxes_from_masks(masks).tolist() == [[5, 3, 6, 4], [0, 0, 10, 8]]


def test_a_mask_of_two_far_pixels_spans_both():
    masks = torch.zeros(1, 50, 60, dtype=torch.bool)
    masks[0, 40, 2] = masks[0, 7, 55] = True
    assert boxes_from_masks(masks).tolist() == [[2, 7, 56, 41]]


def test_an_empty_mask_gives_a_zero_box():
    assert boxes_from_masks(torch.zeros(2, 5, 5, dtype=torch.bool)).tolist() == [[0] * 4] * 2


@pytest.mark.parametrize("shape", [(0, 5, 5), (3, 0, 5), (3, 5, 0), (0, 0, 0)])
def test_no_masks_and_masks_without_pixels_give_zero_boxes(shape):
    boxes = boxes_from_masks(torch.zeros(shape, dtype=torch.bool))
    assert torch.equal(boxes, torch.zeros(shape[0], 4))


@given(mask_sets())
def test_boxes_are_those_of_the_loop(masks):
    boxes = boxes_from_masks(masks)
    assert boxes.dtype == torch.float32
    assert torch.equal(boxes, looped_boxes(masks))


def test_boxes_do_not_depend_on_the_memory_layout():
    masks = torch.rand(3, 30, 20, generator=torch.Generator().manual_seed(0)) > 0.98
    turned = masks.transpose(1, 2)
    assert not turned.is_contiguous()
    assert torch.equal(boxes_from_masks(turned), boxes_from_masks(turned.contiguous()))


def test_reference_boxes(case):
    assert torch.equal(boxes_from_masks(case.masks), case.boxes)


# --- shrink ---------------------------------------------------------------------------------


def test_reference_mini_masks_bit_for_bit(case):
    assert torch.equal(shrink(case.masks, case.boxes), case.mini_masks)


@given(mask_sets(min_count=1), st.integers(1, 9), st.integers(1, 9))
def test_mini_masks_are_those_of_the_loop(masks, height, width):
    boxes = boxes_from_masks(masks)
    mini_masks = shrink(masks, boxes, (height, width))
    for mask, mini_mask, (x1, y1, x2, y2) in zip(
        masks, mini_masks, boxes.int().tolist(), strict=True
    ):
        soft = looped_resize(mask[y1:y2, x1:x2].numpy(), (height, width))
        # At exactly one half the last bit decides; everywhere else there is one answer.
        clear = (soft - 0.5).abs() > 1e-5
        assert torch.equal(mini_mask[clear], soft[clear] > 0.5)


def test_a_box_of_the_mini_masks_size_is_copied():
    masks = torch.rand(5, 80, 90, generator=torch.Generator().manual_seed(0)) > 0.5
    boxes = torch.tensor([[x, y, x + 56.0, y + 56.0] for x, y in [(0, 0), (34, 24), (1, 2)]])
    for mini_mask, mask, (x1, y1, x2, y2) in zip(
        shrink(masks[:3], boxes), masks[:3], boxes.int().tolist(), strict=True
    ):
        assert torch.equal(mini_mask, mask[y1:y2, x1:x2])


@given(mask_sets(min_count=1))
def test_what_lies_outside_the_box_does_not_matter(masks):
    boxes = boxes_from_masks(masks)
    boxes = torch.cat((boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]).div(2).ceil()), dim=1)
    inside = torch.zeros_like(masks)
    for mask, only, (x1, y1, x2, y2) in zip(masks, inside, boxes.int().tolist(), strict=True):
        only[y1:y2, x1:x2] = mask[y1:y2, x1:x2]
    assert torch.equal(shrink(masks, boxes), shrink(inside, boxes))


def test_boxes_are_rounded_to_whole_pixels():
    masks = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0)) > 0.5
    exact, near = torch.tensor([[3.0, 4, 30, 31]]), torch.tensor([[3.4, 3.6, 30.4, 30.6]])
    assert torch.equal(shrink(masks, near), shrink(masks, exact))
    mini_masks = shrink(masks, exact)
    assert torch.equal(expand(mini_masks, near, (40, 40)), expand(mini_masks, exact, (40, 40)))


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [5, 5, 5, 9], [5.1, 2, 5.4, 9], [20, 20, 20, 20]])
def test_a_box_that_rounds_to_nothing_gives_an_empty_mask_both_ways(box):
    """The notes' crop had no pixels there, and the resize failed."""
    boxes = torch.tensor([box], dtype=torch.float32)
    full = torch.ones(1, 20, 20, dtype=torch.bool)
    assert not shrink(full, boxes).any()
    assert not expand(torch.ones(1, 56, 56, dtype=torch.bool), boxes, (20, 20)).any()


def test_a_full_mask_stays_full():
    """Old image-resize calls rescaled the values and returned a full mask as all zeros."""
    masks = torch.ones(1, 28, 40, dtype=torch.bool)
    assert shrink(masks, boxes_from_masks(masks)).float().mean() > 0.99


# --- expand ---------------------------------------------------------------------------------


@given(mask_sets(min_count=1), st.data())
def test_expanded_masks_are_those_of_the_loop(mini_masks, data):
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    x, y = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    boxes = torch.tensor([[x, y, x + width, y + height]] * len(mini_masks)).float()
    expanded = expand(mini_masks, boxes, (20, 18))
    for mini_mask, mask in zip(mini_masks, expanded, strict=True):
        soft = torch.zeros(20, 18, dtype=torch.float64)
        soft[y : y + height, x : x + width] = looped_resize(mini_mask.numpy(), (height, width))
        clear = (soft - 0.5).abs() > 1e-5
        assert torch.equal(mask[clear], soft[clear] > 0.5)


def test_nothing_is_drawn_outside_the_box(random_boxes):
    boxes = random_boxes(20, (300, 200), sides=(1, 200))
    mini_masks = torch.ones(20, 56, 56, dtype=torch.bool)
    expanded = expand(mini_masks, boxes, (300, 200))
    for mask, (x1, y1, x2, y2) in zip(expanded, boxes.round().int().tolist(), strict=True):
        assert mask[y1:y2, x1:x2].any()
        mask[y1:y2, x1:x2] = False
        assert not mask.any()


# --- the round trip -------------------------------------------------------------------------


def test_reference_iou_after_the_round_trip(case):
    """Where a pixel is exactly one half, the reference rounds it the other way."""
    trip = round_trip(case.masks)
    torch.testing.assert_close(trip.iou, case.expanded_iou, rtol=0, atol=3e-3)
    assert torch.equal(trip.boxes, case.boxes)
    assert torch.equal(trip.mini_masks, case.mini_masks)


def test_small_objects_come_back_as_they_were(case):
    """Below 32 pixels nothing is lost at 56×56."""
    trip = round_trip(case.masks)
    small = (trip.boxes[:, 2:] - trip.boxes[:, :2]).amax(dim=1) < 28
    assert torch.equal(trip.expanded[small], case.masks[small])


@given(mask_sets(min_count=1, max_side=28))
def test_every_mask_up_to_28_pixels_survives(masks):
    trip = round_trip(masks)
    assert torch.equal(trip.expanded, masks)
    assert (trip.iou == 1).all()


def test_large_round_objects_lose_a_little_of_their_outline():
    boxes = [(100, 100, 200, 300), (0, 0, 500, 400), (3, 40, 470, 120)]
    trip = round_trip(torch.stack([ellipse(512, box) for box in boxes]))
    assert (trip.iou > 0.97).all()
    assert (trip.iou < 1).all()


def test_a_smaller_mini_mask_costs_more():
    masks = torch.stack([ellipse(512, (20, 30, 480, 400))])
    costs = [1 - float(round_trip(masks, (size, size)).iou) for size in (14, 28, 56, 112)]
    assert costs == sorted(costs, reverse=True)


def test_a_megabyte_becomes_three_kilobytes():
    masks = torch.zeros(3, 1024, 1024, dtype=torch.bool)
    masks[:, 100:300, 50:900] = True
    trip = round_trip(masks)
    assert trip.mask_bytes == masks.nbytes == 3 * 1024 * 1024
    assert trip.mini_mask_bytes == trip.mini_masks.nbytes == 3 * 56 * 56


@given(mask_sets())
def test_mask_iou_is_that_of_sets_of_pixels(masks):
    others = masks.flip(2)
    for value, mask, other in zip(mask_iou(masks, others), masks, others, strict=True):
        a, b = set(map(tuple, mask.nonzero().tolist())), set(map(tuple, other.nonzero().tolist()))
        assert float(value) == pytest.approx(len(a & b) / len(a | b) if a | b else 1.0)


def test_no_masks_give_an_empty_round_trip():
    trip = round_trip(torch.zeros(0, 30, 40, dtype=torch.bool))
    assert trip.boxes.shape == (0, 4)
    assert trip.mini_masks.shape == (0, 56, 56)
    assert trip.expanded.shape == (0, 30, 40)
    assert trip.iou.shape == (0,)
    assert trip.mask_bytes == trip.mini_mask_bytes == 0


def test_an_empty_mask_costs_nothing():
    trip = round_trip(torch.zeros(1, 30, 40, dtype=torch.bool))
    assert not trip.expanded.any()
    assert trip.iou.tolist() == [1.0]


# --- refused --------------------------------------------------------------------------------

MASKS = torch.ones(2, 20, 30, dtype=torch.bool)
BOXES = torch.tensor([[0.0, 0, 30, 20]] * 2)


@pytest.mark.parametrize("masks", [MASKS[0], MASKS.float(), MASKS.byte(), MASKS[None]])
def test_what_is_not_a_set_of_masks_is_refused(refused, masks):
    for function in (boxes_from_masks, round_trip):
        with pytest.raises(refused):
            function(masks)
    with pytest.raises(refused):
        shrink(masks, BOXES)
    with pytest.raises(refused):
        expand(masks, BOXES, (20, 30))


@pytest.mark.parametrize(
    "box", [[-1, 0, 30, 20], [0, -1, 30, 20], [0, 0, 31, 20], [0, 0, 30, 21], [-9, -9, -2, -2]]
)
def test_a_box_that_leaves_the_image_is_refused_by_row(box):
    boxes = torch.tensor([[0.0, 0, 30, 20], box])
    with pytest.raises(ValueError, match=r"inside the 30×20 image, found .* in row 1"):
        shrink(MASKS, boxes)
    with pytest.raises(ValueError, match=r"inside the 30×20 image, found .* in row 1"):
        expand(MASKS, boxes, (20, 30))


def test_boxes_that_are_no_numbers_are_refused():
    boxes = BOXES.clone()
    boxes[1, 3] = float("nan")
    with pytest.raises(ValueError, match="boxes: expected finite numbers"):
        shrink(MASKS, boxes)
    with pytest.raises(ValueError, match="boxes: expected finite numbers"):
        expand(MASKS, boxes, (20, 30))


def test_a_box_for_every_mask(refused):
    with pytest.raises(refused):
        shrink(MASKS, BOXES[:1])
    with pytest.raises(refused):
        expand(MASKS, BOXES[:1], (20, 30))
    with pytest.raises(refused):
        mask_iou(MASKS, MASKS[:1])


@pytest.mark.parametrize("size", [(0, 56), (56, 0), (-1, 5)])
def test_a_mini_mask_has_pixels(size):
    with pytest.raises(ValueError, match="size: expected"):
        shrink(MASKS, BOXES, size)


def test_an_empty_crop_comes_back_empty():
    found = round_trip(torch.zeros((1, 0, 0), dtype=torch.bool))
    assert found.expanded.shape == (1, 0, 0)
    assert found.iou.tolist() == [1]
