"""Boxes and deltas: encode, decode, normalize, and what is refused."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou

from mrcnn_steps.boxes import MAX_LOG_SCALE, decode, encode, normalize, paired_iou

RPN = (1.0, 1.0, 1.0, 1.0)
BOX_HEAD = (10.0, 10.0, 5.0, 5.0)

ONE = torch.tensor([[0.0, 0.0, 10.0, 20.0]])


@st.composite
def box_pairs(draw):
    """Two sets of as many boxes, with sides from 1 to 1000 pixels."""
    count = draw(st.integers(0, 8))
    place, side = st.floats(-500, 1500, width=32), st.floats(1, 1000, width=32)
    rows = st.lists(st.tuples(place, place, side, side), min_size=count, max_size=count)

    def boxes():
        x, y, width, height = torch.tensor(draw(rows)).reshape(count, 4).double().unbind(1)
        return torch.stack((x, y, x + width, y + height), dim=1)

    return boxes(), boxes()


# --- encode and decode ----------------------------------------------------------------------


def test_encode_by_hand():
    """Half a width to the right, half a height down, as wide, twice as high."""
    box = torch.tensor([[5.0, 0.0, 15.0, 40.0]])
    expected = torch.tensor([[0.5, 0.5, 0.0, math.log(2)]])
    torch.testing.assert_close(encode(box, ONE), expected)
    torch.testing.assert_close(encode(box, ONE, BOX_HEAD), expected * torch.tensor(BOX_HEAD))


def test_decode_by_hand():
    deltas = torch.tensor([[0.5, 0.5, 0.0, math.log(2)]])
    torch.testing.assert_close(decode(deltas, ONE), torch.tensor([[5.0, 0.0, 15.0, 40.0]]))


def test_zero_deltas_leave_the_anchor():
    assert torch.equal(encode(ONE, ONE), torch.zeros(1, 4))
    assert torch.equal(decode(torch.zeros(1, 4), ONE), ONE)


@given(box_pairs(), st.sampled_from([RPN, BOX_HEAD]))
def test_decode_inverts_encode(pair, weights):
    boxes, anchors = pair
    # Beyond a factor of 62.5 the clamp of `decode` makes that impossible by design.
    reachable = (encode(boxes, anchors)[:, 2:] < MAX_LOG_SCALE).all(dim=1)
    boxes, anchors = boxes[reachable], anchors[reachable]
    back = decode(encode(boxes, anchors, weights), anchors, weights)
    torch.testing.assert_close(back, boxes, rtol=1e-9, atol=1e-6)


@given(box_pairs(), st.floats(-300, 300), st.floats(0.1, 10))
def test_deltas_do_not_depend_on_place_and_scale(pair, shift, scale):
    boxes, anchors = pair
    moved = encode(boxes * scale + shift, anchors * scale + shift)
    torch.testing.assert_close(moved, encode(boxes, anchors), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("weights", [RPN, BOX_HEAD, (3.0, 4.0, 0.5, 2.0)])
def test_encode_and_decode_are_torchvisions_to_the_last_bit(random_boxes, weights):
    boxes, anchors = random_boxes(5000, seed=1), random_boxes(5000, seed=2)
    coder = BoxCoder(weights)
    assert torch.equal(encode(boxes, anchors, weights), coder.encode_single(boxes, anchors))
    deltas = torch.randn((5000, 4), generator=torch.Generator().manual_seed(3)) * 3
    assert torch.equal(decode(deltas, anchors, weights), coder.decode_single(deltas, anchors))


def test_decode_takes_a_delta_per_class(random_boxes):
    anchors = random_boxes(50)
    deltas = torch.randn((50, 7, 4), generator=torch.Generator().manual_seed(0)) * 5
    decoded = decode(deltas, anchors, BOX_HEAD)
    assert decoded.shape == (50, 7, 4)
    peer = BoxCoder(BOX_HEAD).decode(deltas.reshape(50, 28), [anchors])
    assert torch.equal(decoded, peer)
    torch.testing.assert_close(decoded[:, 3], decode(deltas[:, 3], anchors, BOX_HEAD))


@pytest.mark.parametrize("name", ["numeric1", "numeric2"])
def test_reference_numbers(reference, name):
    numbers = {key: torch.from_numpy(value) for key, value in reference(name).items()}
    boxes = numbers["boxes"].float()
    # The reference is in single precision: at 2000 pixels 2.5e-4 is two units in the last place.
    decoded = decode(numbers["deltas"].float(), boxes)
    torch.testing.assert_close(decoded, numbers["decoded"], rtol=0, atol=2.5e-4)
    encoded = encode(numbers["gt"].float(), boxes)
    torch.testing.assert_close(encoded, numbers["encoded"], rtol=0, atol=3e-7)


def test_decode_clamps_the_growth():
    """An untrained network may say anything: a side grows by 62.5 at most, and never to inf."""
    decoded = decode(torch.tensor([[0.0, 0.0, 1000.0, 1000.0]]), ONE)
    width, height = (decoded[0, 2:] - decoded[0, :2]).tolist()
    assert width == pytest.approx(625.0)
    assert height == pytest.approx(1250.0)
    shrunk = decode(torch.tensor([[0.0, 0.0, -1000.0, -1000.0]]), ONE)
    assert torch.equal(shrunk, torch.tensor([[5.0, 10.0, 5.0, 10.0]]))


def test_dtype_follows_the_input_and_arguments_stay_as_they_are(random_boxes):
    boxes, anchors = random_boxes(9, seed=1).double(), random_boxes(9, seed=2).double()
    before = boxes.clone(), anchors.clone()
    deltas = encode(boxes, anchors)
    assert deltas.dtype == torch.float64
    assert decode(deltas, anchors).dtype == torch.float64
    assert torch.equal(boxes, before[0])
    assert torch.equal(anchors, before[1])


def test_no_boxes_give_no_deltas():
    nothing = torch.zeros((0, 4))
    assert encode(nothing, nothing).shape == (0, 4)
    assert decode(nothing, nothing).shape == (0, 4)
    assert decode(torch.zeros((0, 81, 4)), nothing).shape == (0, 81, 4)


# --- normalize ------------------------------------------------------------------------------


def test_a_box_that_fills_the_image_is_the_unit_square():
    """Without the notes' `- 1` and without their shift of the far corner by a pixel."""
    assert normalize(torch.tensor([0.0, 0, 640, 480]), (480, 640)).tolist() == [0, 0, 1, 1]
    boxes = torch.tensor([[[32.0, 48, 320, 240]]])
    torch.testing.assert_close(
        normalize(boxes, (480, 640)), torch.tensor([[[0.05, 0.1, 0.5, 0.5]]])
    )


# --- refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("which", ["boxes", "anchors"])
def test_a_number_that_is_none_is_refused_by_row(bad, which):
    boxes = {"boxes": ONE.repeat(4, 1), "anchors": ONE.repeat(4, 1)}
    boxes[which][2, 1] = bad
    with pytest.raises(ValueError, match=rf"{which}: expected finite .* row 2"):
        encode(**boxes)
    if which == "anchors":
        with pytest.raises(ValueError, match=r"anchors: expected finite .* row 2"):
            decode(torch.zeros(4, 4), boxes["anchors"])


@pytest.mark.parametrize("flat", [[3.0, 3, 3, 9], [3.0, 3, 9, 3], [9.0, 3, 3, 9], [0.0, 0, 0, 0]])
@pytest.mark.parametrize("which", ["boxes", "anchors"])
def test_a_box_without_area_has_no_deltas(flat, which):
    """Most NaN losses are boxes without area, or `x, y, width, height` read as corners."""
    boxes = {"boxes": ONE.repeat(2, 1), "anchors": ONE.repeat(2, 1)}
    boxes[which][1] = torch.tensor(flat)
    with pytest.raises(ValueError, match=rf"{which}: expected x1 < x2 and y1 < y2.* row 1"):
        encode(**boxes)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 4)])
def test_what_is_not_a_set_of_boxes_is_refused(refused, shape):
    with pytest.raises(refused):
        encode(torch.ones(shape), torch.ones(shape))
    with pytest.raises(refused):
        decode(torch.zeros(shape), torch.ones(shape))


def test_different_counts_are_refused(refused, random_boxes):
    with pytest.raises(refused):
        encode(random_boxes(3), random_boxes(2))
    with pytest.raises(refused):
        decode(torch.zeros(3, 4), random_boxes(2))


def test_integer_boxes_are_refused(refused):
    with pytest.raises(refused):
        encode(ONE.long(), ONE)


# --- IoU of pairs ---------------------------------------------------------------------------


@given(box_pairs())
def test_the_iou_of_pairs_is_the_diagonal_of_torchvisions(pairs):
    boxes, others = (each.float() for each in pairs)
    assert torch.equal(paired_iou(boxes, others), box_iou(boxes, others).diagonal())


@given(box_pairs())
def test_a_box_is_compared_with_each_of_its_row(pairs):
    boxes, others = (each.float() for each in pairs)
    rows = others.expand(len(boxes), *others.shape)
    assert torch.equal(paired_iou(boxes[:, None], rows), box_iou(boxes, others))
