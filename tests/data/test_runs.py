"""Masks as runs of pixels, against pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn_steps.data.runs import Runs, decompress


def masks():
    generator = np.random.default_rng(0)
    for _ in range(150):
        size = tuple(int(side) for side in generator.integers(1, 30, 2))
        yield (generator.random(size) < generator.choice([0, 0.1, 0.5, 0.9, 1])).astype(np.uint8)


@pytest.fixture(params=range(3), ids=["whole", "text", "patch"])
def read(request):
    """Three ways to the same runs."""

    def read(mask):
        encoded = coco_mask.encode(np.asfortranarray(mask))
        if request.param == 0:
            counts = np.diff(np.flatnonzero(np.diff([-1, *mask.T.flatten(), 2]))).tolist()
            counts = counts if not mask[0, 0] else [0, *counts]
            return Runs.of_counts(counts, mask.shape)
        if request.param == 1:
            return Runs.of_counts(encoded["counts"].decode(), mask.shape)
        return Runs.of_patch(mask == 1, (0, 0), mask.shape)

    return read


def test_pixels_area_box_and_text_are_pycocotools(read):
    for mask in masks():
        runs, encoded = read(mask), coco_mask.encode(np.asfortranarray(mask))
        assert np.array_equal(runs.mask(), mask == 1)
        assert runs.area == coco_mask.area(encoded)
        assert runs.coco() == encoded
        x, y, width, height = coco_mask.toBbox(encoded)
        if mask.any():
            assert runs.box == (x, y, x + width, y + height)
        else:
            assert runs.box == (0, 0, 0, 0)


def test_a_patch_lies_where_its_corner_is():
    for mask in masks():
        height, width = mask.shape
        photo = np.zeros((height + 5, width + 4), dtype=np.uint8)
        photo[2 : 2 + height, 3 : 3 + width] = mask
        runs = Runs.of_patch(mask == 1, (2, 3), photo.shape)
        assert np.array_equal(runs.mask(), photo == 1)
        assert runs.coco() == coco_mask.encode(np.asfortranarray(photo))


def test_empty_runs_are_dropped_and_touching_ones_joined():
    runs = Runs.of_counts([2, 3, 0, 1, 4, 0, 2], (3, 4))
    assert (runs.starts.tolist(), runs.ends.tolist()) == ([2], [6])


@pytest.mark.parametrize(
    "counts",
    [None, 5, [6, 7], [12.0], [True] * 12, [-1, 13], [2**70], "", "o" * 9, "\x00é", "PPPPPPP0", {}],
)
def test_what_adds_up_to_no_mask(counts):
    assert Runs.of_counts(counts, (3, 4)) is None


def test_differences_go_below_zero():
    """By hand: 5, 4, 6, 4 + (−1) = 3, in which −1 is all ones: code 31 + 48, "O"."""
    assert decompress("546O").tolist() == [5, 4, 6, 3]
