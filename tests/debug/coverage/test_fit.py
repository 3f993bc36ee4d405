"""The best anchor of every object, its two bounds, and the anchors that are trained on it."""

import importlib

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou

from mrcnn_steps.anchors import Anchors, Grid, best_anchors, pyramid
from mrcnn_steps.debug.coverage.fit import grid_bound, lay_regular, shape_bound
from mrcnn_steps.debug.coverage.positives import count_positives
from mrcnn_steps.rpn_targets import POSITIVE, match
from mrcnn_steps.settings import InputGrid

LIKE = torch.zeros(1)


@st.composite
def grids(draw):
    """Any grid of torchvision's or of ours: strides that are no whole part of the input, too."""
    levels = draw(st.integers(1, 3))
    side, ratio = st.integers(2, 300), st.floats(0.2, 5)
    few, cells = st.integers(1, 3), st.integers(1, 30)
    return {
        "rounded": draw(st.booleans()),
        "size": draw(st.tuples(st.integers(40, 300), st.integers(40, 300))),
        "maps": tuple(draw(st.tuples(cells, cells)) for _ in range(levels)),
        "strides": tuple(draw(st.sampled_from([8, 13, 32])) for _ in range(levels)),
        "sides": tuple(draw(side) for _ in range(levels)),
        "ratios": draw(st.lists(ratio, min_size=1, max_size=3)),
        "scales": draw(few),
    }


def lay(rounded, size, maps, strides, sides, ratios, scales):
    if not rounded:
        return pyramid(size, strides, sides, ratios)
    sizes = tuple(tuple(side * 2 ** (k / scales) for k in range(scales)) for side in sides)
    generator = AnchorGenerator(sizes, (tuple(ratios),) * len(sides))
    for cell in generator.cell_anchors:
        # Of a narrow anchor torchvision rounds a side to 0.
        cell[:, :2] = cell[:, :2].clamp(max=-1)
        cell[:, 2:] = cell[:, 2:].clamp(min=1)
    return lay_regular(InputGrid(size, maps).lay(generator, LIKE))


@st.composite
def objects(draw):
    """Tiny, huge, on borders, outside the grid; some coincide."""
    place = st.floats(-60, 360, width=32)
    side = st.one_of(st.floats(0.5, 400, width=32), st.sampled_from([1.0, 16.0, 32.0]))
    rows = draw(st.lists(st.tuples(place, place, side, side), min_size=1, max_size=6))
    boxes = [(x, y, x + width, y + height) for x, y, width, height in rows]
    return boxes + boxes[: draw(st.integers(0, 1))]


# --- the best anchor ------------------------------------------------------------------------


@given(grids(), objects())
def test_the_best_iou_is_that_of_all_anchors(grid, boxes):
    anchors, boxes = lay(**grid), torch.tensor(boxes)
    every = box_iou(boxes, anchors.boxes)
    iou, row = best_anchors(anchors, boxes)
    torch.testing.assert_close(iou, every.amax(dim=1), rtol=1e-5, atol=1e-7)
    assert torch.equal(every.gather(1, row[:, None])[:, 0], iou)


def test_an_irregular_grid_is_refused():
    boxes = pyramid(64, (16,), (32,)).boxes.clone()
    boxes[7] += 3
    with pytest.raises(ValueError, match="a regular grid, found anchors of level 0 up to 3"):
        lay_regular(Anchors(boxes, (Grid(4, 4, 3, (16.0, 16.0)),)))


# --- what bounds it -------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "sure"), [(5.4, 0.7), (2.73, 0.5)])
def test_a_square_is_sure_of_its_iou_from_so_many_steps_on(steps, sure):
    box = torch.tensor([[10.0, 10.0, 10 + 16 * steps, 10 + 16 * steps]])
    assert float(grid_bound(box, torch.tensor([[16.0, 16.0]]))) == pytest.approx(sure, abs=1e-3)


def test_the_grid_bound_is_the_iou_with_itself_half_a_step_off():
    box = torch.tensor([[0.0, 0.0, 40.0, 100.0]])
    off = box + torch.tensor([8.0, 16.0, 8.0, 16.0])
    bound = grid_bound(box, torch.tensor([[32.0, 16.0]]))
    torch.testing.assert_close(bound, box_iou(box, off)[0])
    assert grid_bound(torch.tensor([[0.0, 0.0, 7.0, 90.0]]), torch.tensor([[16.0, 16.0]])) == 0


def test_the_shape_bound_by_hand():
    """A box of 30 × 60 and squares of 32 and 64: 30·32 / (1800 + 1024 − 960), 30·60 / 4096."""
    anchors = pyramid(64, (16, 32), (32, 64), (1.0,))
    box = torch.tensor([[100.0, 0.0, 130.0, 60.0]])
    assert float(shape_bound(anchors, box)) == pytest.approx(max(960 / 1864, 1800 / 4096))


@given(grids(), objects())
def test_no_anchor_is_better_than_its_shape_allows(grid, boxes):
    anchors, boxes = lay(**grid), torch.tensor(boxes)
    best, _ = best_anchors(anchors, boxes)
    assert (best <= shape_bound(anchors, boxes) + 1e-5).all()


@given(st.floats(24, 300), st.floats(24, 300), st.floats(0, 1), st.floats(0, 1))
def test_an_anchor_of_the_objects_own_shape_keeps_the_grid_bound(width, height, x, y):
    """Inside the grid, wherever the object stands."""
    anchors = pyramid(320, (16,), ((width * height) ** 0.5,), (width / height,))
    corner = torch.tensor([[x, y]]) * 300 - torch.tensor([[width, height]]) / 2
    box = torch.cat((corner, corner + torch.tensor([[width, height]])), dim=1)
    bound = grid_bound(box, torch.tensor([[16.0, 16.0]]))
    assert best_anchors(anchors, box).iou >= bound - 1e-4


# --- positives ------------------------------------------------------------------------------


@given(grids(), st.lists(objects(), min_size=1, max_size=3), st.sampled_from([0.4, 0.7]))
def test_positives_are_those_of_the_rpns_own_rule_over_all_anchors(grid, found, threshold):
    anchors, found = lay(**grid), [torch.tensor(boxes) for boxes in found]
    boxes = torch.cat(found)
    photo = torch.arange(len(found)).repeat_interleave(torch.tensor([len(b) for b in found])) * 3
    best, _ = best_anchors(anchors, boxes)
    counts = count_positives(anchors, boxes, photo, best, threshold)
    expected = []
    for own in found:
        matched = match(anchors, own, None, threshold, 0.3)
        expected += (
            matched.gt_index[matched.labels == POSITIVE].bincount(minlength=len(own)).tolist()
        )
    assert counts.tolist() == expected


def test_positives_in_many_pieces_are_the_same(monkeypatch, random_boxes):
    anchors, boxes = pyramid((600, 800)), random_boxes(120)
    photo = torch.arange(120) // 7
    best, _ = best_anchors(anchors, boxes)
    whole = count_positives(anchors, boxes, photo, best, 0.7)
    module = importlib.import_module("mrcnn_steps.debug.coverage.positives")
    monkeypatch.setattr(module, "PIECE_ANCHORS", 50)
    assert torch.equal(count_positives(anchors, boxes, photo, best, 0.7), whole)
    assert whole.sum() > 120
