"""Letterboxing: into the square and back without losing a pixel's place."""

import hypothesis.strategies as st
import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from mrcnn_steps.data import letterbox
from mrcnn_steps.mini_masks import boxes_from_masks

sides = st.integers(1, 300)
sizes = st.integers(1, 200)


def random_photo(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def random_boxes(height, width, count=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand((count, 2, 2), generator=generator) * torch.tensor([width, height])
    return torch.cat((corners.amin(1), corners.amax(1)), dim=1)


# --- the window -----------------------------------------------------------------------------


def test_landscape_is_centered_between_two_bars():
    boxed = letterbox(random_photo(375, 500), size=1024)
    assert boxed.window == (0, 128, 1024, 896)
    assert boxed.scale == 1024 / 500
    assert boxed.photo_size == (375, 500)
    assert boxed.image.shape == (3, 1024, 1024)


def test_portrait_is_centered_between_two_bars():
    assert letterbox(random_photo(500, 375), size=1024).window == (128, 0, 896, 1024)


def test_default_side_is_1024():
    assert letterbox(random_photo(4, 4)).image.shape == (3, 1024, 1024)


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [
        (1, 1, (0, 0, 64, 64)),
        (1, 2000, (0, 31, 64, 32)),
        (2000, 1, (31, 0, 32, 64)),
        (3, 2, (10, 0, 53, 64)),
    ],
)
def test_extreme_shapes_keep_at_least_one_pixel(height, width, window):
    boxed = letterbox(random_photo(height, width), size=64)
    assert boxed.window == window
    assert (boxed.image[:, window[1] : window[3], window[0] : window[2]] > 0).all()


@given(sides, sides, sizes)
@settings(deadline=None)
def test_window_is_centered_and_everything_else_is_zero(height, width, size):
    boxed = letterbox(random_photo(height, width), size)
    x1, y1, x2, y2 = boxed.window
    assert max(x2 - x1, y2 - y1) == size
    assert abs(x1 - (size - x2)) <= 1
    assert abs(y1 - (size - y2)) <= 1
    outside = torch.ones((size, size), dtype=torch.bool)
    outside[y1:y2, x1:x2] = False
    assert (boxed.image[:, outside] == 0).all()
    assert (boxed.image[:, ~outside] > 0).all()


@given(sides, sides, sizes)
@settings(deadline=None)
def test_both_axes_keep_the_nominal_ratio_but_for_rounding(height, width, size):
    boxed = letterbox(random_photo(height, width), size)
    x1, y1, x2, y2 = boxed.window
    assert abs((x2 - x1) - max(1, width * boxed.scale)) <= 0.5
    assert abs((y2 - y1) - max(1, height * boxed.scale)) <= 0.5


# --- the image ------------------------------------------------------------------------------


def test_image_is_torchvisions_resize_in_the_window():
    photo = random_photo(300, 451)
    for size in (1024, 128):
        boxed = letterbox(photo, size)
        x1, y1, x2, y2 = boxed.window
        ours, target = boxed.image[:, y1:y2, x1:x2], [y2 - y1, x2 - x1]
        # torchvision resizes 8-bit photos as floats on processors without AVX2.
        assert (ours.float() - TF.resize(photo.float(), target, antialias=True)).abs().max() <= 1
        if "AVX" in torch.backends.cpu.get_cpu_capability():
            assert torch.equal(ours, TF.resize(photo, target, antialias=True))


def test_shrinking_agrees_with_pillow():
    photo = random_photo(300, 400)
    boxed = letterbox(photo, 100)
    peer = Image.fromarray(photo.permute(1, 2, 0).numpy()).resize((100, 75), Image.BILINEAR)
    difference = boxed.image[:, 12:87].int() - torch.from_numpy(np.array(peer)).permute(2, 0, 1)
    assert boxed.window == (0, 12, 100, 87)
    assert difference.abs().max() <= 1


def test_enlarging_is_plain_bilinear_interpolation():
    photo = torch.rand((3, 30, 40), generator=torch.Generator().manual_seed(0))
    boxed = letterbox(photo, 100)
    expected = TF.resize(photo, [75, 100], antialias=False)
    torch.testing.assert_close(boxed.image[:, 12:87], expected)


def test_shrinking_averages_texture_instead_of_sampling_it():
    stripes = torch.zeros((3, 400, 400))
    stripes[:, :, ::2] = 1
    shrunk = letterbox(stripes, 50).image
    assert (shrunk - 0.5).abs().max() < 0.05


def test_dtype_follows_the_photo():
    photo = random_photo(10, 20)
    assert letterbox(photo, 32).image.dtype == torch.uint8
    for dtype in (torch.float32, torch.float64):
        assert letterbox(photo.to(dtype), 32).image.dtype == dtype


def test_memory_layout_does_not_matter():
    photo = random_photo(30, 50)
    channels_last = photo.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(letterbox(photo, 64).image, letterbox(channels_last, 64).image)


# --- boxes ----------------------------------------------------------------------------------


@given(st.integers(1, 6000), st.integers(1, 6000), st.sampled_from([320, 640, 1024]))
@settings(deadline=None, max_examples=30)
def test_box_of_the_whole_photo_is_exactly_the_window(height, width, size):
    boxed = letterbox(torch.zeros((1, 1, 1), dtype=torch.uint8).expand(3, height, width), size)
    whole = torch.tensor([[0.0, 0.0, width, height]])
    assert boxed.boxes(whole).tolist() == [list(map(float, boxed.window))]
    assert boxed.undo_boxes(boxed.boxes(whole)).tolist() == whole.tolist()


@given(sides, sides, sizes)
@settings(deadline=None)
def test_boxes_come_back_from_the_square(height, width, size):
    boxed = letterbox(random_photo(height, width), size)
    boxes = random_boxes(height, width)
    torch.testing.assert_close(boxed.undo_boxes(boxed.boxes(boxes)), boxes, atol=1e-3, rtol=0)


def test_boxes_by_hand():
    boxed = letterbox(random_photo(50, 100), 200)
    assert boxed.boxes(torch.tensor([[10.0, 20.0, 30.0, 40.0]])).tolist() == [[20, 90, 60, 130]]
    on_padding = torch.tensor([[0.0, 0.0, 200.0, 40.0]])
    assert boxed.undo_boxes(on_padding).tolist() == [[0, -25, 100, -5]]


def test_no_boxes_stay_no_boxes():
    boxed = letterbox(random_photo(5, 6), 16)
    assert boxed.boxes(torch.zeros((0, 4))).shape == (0, 4)
    assert boxed.undo_boxes(torch.zeros((0, 4))).shape == (0, 4)


# --- masks ----------------------------------------------------------------------------------


def random_masks(height, width, count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((count, height, width), generator=generator) > 0.5


@given(st.integers(1, 64), st.integers(1, 64), st.integers(64, 200))
@settings(deadline=None)
def test_enlarged_masks_come_back_pixel_for_pixel(height, width, size):
    boxed = letterbox(random_photo(height, width), size)
    masks = random_masks(height, width)
    assert torch.equal(boxed.undo_masks(boxed.masks(masks)), masks)


@given(st.integers(2, 60), st.integers(2, 60), st.integers(1, 120))
@settings(deadline=None, max_examples=30)
def test_every_mask_pixel_is_the_one_under_its_center(height, width, size):
    boxed = letterbox(random_photo(height, width), size)
    mask = random_masks(height, width, count=1)
    x1, y1, x2, y2 = boxed.window
    square = boxed.masks(mask)[0]
    for row in range(size):
        for column in range(size):
            x = (column - x1 + 0.5) * width / (x2 - x1)
            y = (row - y1 + 0.5) * height / (y2 - y1)
            if not (0 <= x < width and 0 <= y < height):
                assert not square[row, column]
            elif x % 1 and y % 1:  # a center on the edge between two pixels may take either
                assert square[row, column] == mask[0, int(y), int(x)]


def test_masks_do_not_shift():
    # A centered disk stays centered; `nearest` would move it towards the bottom right.
    rows, columns = torch.meshgrid(torch.arange(30), torch.arange(30), indexing="ij")
    disk = ((rows - 14.5) ** 2 + (columns - 14.5) ** 2 < 100)[None]
    for size in (100, 17):
        square = letterbox(random_photo(30, 30), size).masks(disk)[0]
        assert torch.equal(square, square.flip(0))
        assert torch.equal(square, square.flip(1))


@pytest.mark.parametrize("size", [1024, 300])
def test_boxes_of_mapped_masks_are_the_mapped_boxes(size):
    boxed = letterbox(random_photo(375, 500), size)
    masks = torch.zeros((2, 375, 500), dtype=torch.bool)
    masks[0, 20:200, 30:333] = True
    masks[1, 374:, 499:] = True
    difference = boxes_from_masks(boxed.masks(masks)) - boxed.boxes(boxes_from_masks(masks))
    assert difference.abs().max() <= 0.5


def test_full_mask_covers_the_window_and_no_padding():
    boxed = letterbox(random_photo(30, 50), 77)
    square = boxed.masks(torch.ones((1, 30, 50), dtype=torch.bool))
    assert boxes_from_masks(square).tolist() == [list(map(float, boxed.window))]
    assert boxed.undo_masks(square).all()


def test_no_masks_stay_no_masks():
    boxed = letterbox(random_photo(5, 6), 16)
    assert boxed.masks(torch.zeros((0, 5, 6), dtype=torch.bool)).shape == (0, 16, 16)
    assert boxed.undo_masks(torch.zeros((0, 16, 16), dtype=torch.bool)).shape == (0, 5, 6)


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, -5])
def test_side_must_be_positive(size):
    with pytest.raises(ValueError, match=f"size: expected a whole .* at least 1, found {size}"):
        letterbox(random_photo(4, 5), size)


def test_photo_must_have_pixels_and_a_known_dtype():
    with pytest.raises(ValueError, match="with pixels"):
        letterbox(torch.zeros((3, 0, 5), dtype=torch.uint8))
    with pytest.raises(ValueError, match="int64"):
        letterbox(torch.zeros((3, 4, 5), dtype=torch.int64))


def test_masks_must_have_the_size_of_what_they_cover():
    boxed = letterbox(random_photo(5, 6), 16)
    with pytest.raises(ValueError, match=r"\[N, 5, 6\], found torch.bool of shape \[1, 6, 5\]"):
        boxed.masks(torch.zeros((1, 6, 5), dtype=torch.bool))
    with pytest.raises(ValueError, match=r"expected bool of shape \[N, 16, 16\]"):
        boxed.undo_masks(torch.zeros((1, 15, 15), dtype=torch.bool))


def test_photo_must_have_its_channels_first():
    jaxtyping.config.update("jaxtyping_disable", True)  # or the annotation refuses it first
    try:
        with pytest.raises(ValueError, match=r"image: expected \[3, H, W\].* found \[4, 5, 3\]"):
            letterbox(torch.zeros((4, 5, 3), dtype=torch.uint8))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
