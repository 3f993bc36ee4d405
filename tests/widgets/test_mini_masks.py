"""The mini-mask explorer against the stage's own functions."""

import pytest
import torch
import traitlets as t

from mrcnn_steps.mini_masks import boxes_from_masks, expand, shrink
from mrcnn_widgets.mini_masks import MiniMaskExplorer


@pytest.fixture(scope="module")
def explorer(tiny_trace):
    return MiniMaskExplorer(tiny_trace)


@pytest.mark.parametrize(("row", "size"), [(0, 56), (9, 14), (18, 112), (12, 33)])
def test_the_numbers_are_those_of_the_whole_mask(explorer, tiny_trace, row, size):
    explorer.object, explorer.size = row, size
    mask = tiny_trace.ground_truth.masks[row : row + 1]
    box = boxes_from_masks(mask)
    mini = shrink(mask, box, (size, size))
    expanded = expand(mini, box, mask.shape[1:])
    assert torch.equal(explorer.found.box, box[0])
    assert torch.equal(explorer.mini.mini_masks, mini)
    x1, y1, x2, y2 = box[0].int().tolist()
    inside = (slice(None), slice(y1, y2), slice(x1, x2))
    assert torch.equal(explorer.mini.expanded, expanded[inside])
    told = dict(explorer._numbers.rows)
    assert told["pixels lost"] == f"{int((mask & ~expanded).sum()):,}"
    assert told["pixels gained"] == f"{int((expanded & ~mask).sum()):,}"
    iou = (mask & expanded).sum() / (mask | expanded).sum()
    assert float(explorer.mini.iou) == pytest.approx(float(iou), abs=1e-7)
    assert explorer.found.full_bytes == mask.numel()
    assert explorer.mini.mini_mask_bytes == size * size


def test_at_56_the_iou_is_that_of_the_trace(explorer, tiny_trace):
    for row in (0, 7, 16):
        explorer.object, explorer.size = row, 56
        expected = float(tiny_trace.ground_truth.mini_masks.iou[row])
        assert float(explorer.mini.iou) == pytest.approx(expected, abs=1e-7)


def test_the_layers_lie_on_the_box(explorer):
    explorer.object = 9
    for name, rows in {"original": 1, "expanded": 1, "difference": 2}.items():
        layer = explorer.canvas[name]
        assert layer.boxes.tolist() == [explorer.found.box.tolist()] * rows
    assert (explorer.canvas["original"].masks[0] == explorer.found.mask.numpy()).all()
    lost = explorer.found.mask & ~explorer.mini.expanded[0]
    assert (explorer.canvas["difference"].masks[0] == lost.numpy()).all()


def test_another_size_leaves_the_original_alone(explorer):
    explorer.object, explorer.size = 9, 20
    original, expanded = explorer.canvas["original"], explorer.canvas["expanded"]
    explorer.size = 30
    assert explorer.canvas["original"] is original
    assert explorer.canvas["expanded"] is not expanded
    assert explorer.small.photo.shape == (30, 30, 3)


def test_the_view_follows_the_object(explorer):
    explorer.object = 0
    x1, y1, x2, y2 = explorer.canvas.view
    left, top, right, bottom = explorer.found.box.tolist()
    assert x1 < left < right < x2
    assert y1 < top < bottom < y2


@pytest.mark.parametrize(("name", "value"), [("size", 13), ("size", 113), ("object", 19)])
def test_out_of_bounds(explorer, name, value):
    with pytest.raises(t.TraitError):
        setattr(explorer, name, value)
