"""A setup changes tensors as its fields say, and nothing where it says nothing."""

import pytest
import torch

from mrcnn_steps.anchors import Anchors, Grid, pyramid
from mrcnn_steps.boxes import centers_and_sizes
from mrcnn_steps.debug.checkup.setup import (
    Normalization,
    Setup,
    set_anchors,
    set_deltas,
    set_input,
    set_masks,
)

OWN = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def normalized(pixels, how):
    mean, std = (torch.tensor(part)[:, None, None] for part in (how.mean, how.std))
    return (pixels - mean) / std


@pytest.fixture
def pixels():
    return torch.rand((1, 3, 6, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def padded(pixels):
    """What a backbone sees: normalized pixels, and the zeros that a batch is padded with."""
    seen = torch.zeros((1, 3, 8, 12))
    seen[..., :6, :8] = normalized(pixels, OWN)
    return seen


def test_without_changes_everything_is_the_same_object(padded):
    assert set_input(padded, (6, 8), OWN, Setup()) is padded
    deltas, masks = torch.rand(5, 4), torch.rand(2, 3, 3)
    assert set_deltas(deltas, False) is deltas
    assert set_masks(masks, Setup()) is masks
    anchors = pyramid((32, 64), (8, 16), (16, 32))
    assert set_anchors(anchors, Setup()).equal(anchors.boxes)


def test_the_input_is_normalized_anew_from_the_pixels(padded, pixels):
    other = Normalization((0.1, 0.2, 0.3), (0.7, 0.8, 0.9))
    changed = set_input(padded, (6, 8), OWN, Setup(normalization=other))
    torch.testing.assert_close(changed[..., :6, :8], normalized(pixels, other))


def test_channels_are_reversed_before_each_gets_its_own_mean(padded, pixels):
    changed = set_input(padded, (6, 8), OWN, Setup(channels_reversed=True))
    torch.testing.assert_close(changed[..., :6, :8], normalized(pixels.flip(1), OWN))


def test_the_padding_of_a_batch_stays_zero(padded):
    changed = set_input(padded, (6, 8), OWN, Setup(channels_reversed=True))
    assert not changed[..., 6:, :].any()
    assert not changed[..., 8:].any()


def test_anchors_that_were_listed_column_by_column_get_their_own_cells():
    """Planted on a grid that is no square, where rows and columns cannot be confused."""
    right = pyramid((24, 56), (8, 16), (16, 32))
    parts = [
        right.boxes[part].reshape(grid.rows, grid.columns, grid.per_cell, 4).transpose(0, 1)
        for part, grid in zip(right.level_slices, right.grids, strict=True)
    ]
    wrong = Anchors(torch.cat([part.reshape(-1, 4) for part in parts]), right.grids)
    assert not wrong.boxes.equal(right.boxes)
    assert set_anchors(wrong, Setup(cells_transposed=True)).equal(right.boxes)


def test_sizes_levels_and_ratios_of_anchors():
    strides, scales, ratios = (8, 16, 32), (16, 32, 64), (0.5, 1.0, 2.0)
    laid = pyramid(64, strides, scales, ratios)
    for setup, other in (
        (Setup(anchor_scale=2.5), pyramid(64, strides, (40, 80, 160), ratios)),
        (Setup(levels_reversed=True), pyramid(64, strides, (64, 32, 16), ratios)),
        (Setup(ratios_inverted=True), pyramid(64, strides, scales, (2.0, 1.0, 0.5))),
        (
            Setup(ratios_inverted=True, levels_reversed=True, anchor_scale=0.5),
            pyramid(64, strides, (32, 16, 8), (2.0, 1.0, 0.5)),
        ),
    ):
        torch.testing.assert_close(set_anchors(laid, setup), other.boxes)


def test_a_level_without_anchors_stays_without():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    laid = Anchors(boxes, (Grid(1, 1, 1, (8, 8)), Grid(0, 0, 1, (8, 8))))
    grown = set_anchors(laid, Setup(anchor_scale=2.0))
    assert [float(part) for part in centers_and_sizes(grown)] == [2, 2, 8, 8]


def test_deltas_of_any_shape_exchange_x_and_y():
    deltas = torch.arange(24.0).reshape(2, 3, 4)
    assert set_deltas(deltas, True)[1, 2].tolist() == [21, 20, 23, 22]


def test_masks_are_turned_in_their_boxes():
    mask = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert set_masks(mask, Setup(mask_upside_down=True)).tolist() == [[[3, 4], [1, 2]]]
    assert set_masks(mask, Setup(mask_mirrored=True)).tolist() == [[[2, 1], [4, 3]]]
    assert set_masks(mask, Setup(mask_transposed=True)).tolist() == [[[1, 3], [2, 4]]]
    both = Setup(mask_upside_down=True, mask_mirrored=True)
    assert set_masks(mask, both).tolist() == [[[4, 3], [2, 1]]]
