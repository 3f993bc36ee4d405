"""Coverage of a data set: shares, slices, positives, and what is left of them in a terminal."""

import json
import math

import pytest
import torch
from torch import nn

from mrcnn_steps import load_model, sample
from mrcnn_steps.debug import coverage
from tests.debug.coverage.scenes import NAMES, one_map, photo, photos

# Cells stand at multiples of 16: a square of 64 on one, one half a step off, one of 16 by 64 that
# no shape fits, one of 8 half a step off.
BOXES = torch.tensor(
    [[32.0, 32, 96, 96], [40, 40, 104, 104], [152, 128, 168, 192], [212, 212, 220, 220]]
)
# 56² / (2 · 64² − 56²); 16 · 64 / 64²; 8² / 64².
IOU = [1.0, 3136 / 5056, 0.25, 1 / 64]


@pytest.fixture(scope="module")
def four():
    """Squares of 64 pixels on a single map, and the four objects above in one of two photos."""
    return coverage(one_map(64, ratios=(1.0,)), [photo(BOXES, [1, 1, 2, 2]), photo(BOXES[:0])])


def test_every_objects_best_iou_by_hand(four):
    assert four.fit.iou.tolist() == pytest.approx(IOU, abs=1e-6)
    assert four.overall.shares.covered == (0.5, 0.5, 0.25)
    loss = [-((1 - u) ** 2) * math.log(u) for u in IOU]
    assert four.overall.shares.loss == pytest.approx(sum(loss) / 4, rel=1e-5)


def test_both_bounds_and_who_is_to_blame_by_hand(four):
    """o = (1 − 8 / 64)² of the squares, (1 − 8 / 16)(1 − 8 / 64) of the bar, 0 of the small one."""
    o = [0.765625, 0.765625, 0.4375, 0.0]
    assert four.fit.grid.tolist() == pytest.approx([each / (2 - each) for each in o])
    assert four.fit.shape.tolist() == pytest.approx([1, 1, 0.25, 1 / 64])
    assert (four.overall.by_shape, four.overall.by_grid) == (1, 1)


def test_positives_by_hand(four):
    """Of each object all anchors that tie for the best; one of the second's is the first's own.

    The bar lies inside the squares at 144, 160 and 176, the small one inside four by four, two of
    which overlap the bar more.
    """
    assert four.fit.positives.tolist() == [1, 3, 3 + 2, 16 - 2]
    assert four.overall.positives == 5.75
    assert four.overall.forced == 0.75
    assert (four.positives_a_photo, four.most_positives) == (11.5, 128)


def test_of_more_positives_than_are_sampled_only_those_count():
    model = one_map(64, ratios=(1.0,))
    model.rpn.fg_bg_sampler.batch_size_per_image = 20
    assert coverage(model, [photo(BOXES)]).positives_a_photo == 10


def test_slices_add_up_to_the_whole(four, refused):
    assert [(each.name, each.shares.objects) for each in four.slices("class")] == [
        ("cup", 2),
        ("plate", 2),
    ]
    assert [(each.name, each.shares.objects) for each in four.slices("side")] == [
        ("8–16 px", 1),
        ("32–64 px", 1),
        ("64–128 px", 2),
    ]
    assert [(each.name, each.shares.half) for each in four.slices("aspect")] == [
        ("1 : 1", pytest.approx(2 / 3)),
        ("4 : 1", 0),
    ]
    assert [each.name for each in four.slices("level")] == ["level 0"]
    with pytest.raises(refused, match="kind"):
        four.slices("color")


def test_the_record_is_json_and_agrees(four):
    record = json.loads(json.dumps(four.record(), allow_nan=False))
    assert record["all"]["covered"] == {"0.3": 0.5, "0.5": 0.5, "0.7": 0.25}
    assert (record["photos"], record["objects"], record["left_out"]) == (2, 4, 0)
    assert [each["name"] for each in record["by_class"]] == ["cup", "plate"]
    assert record["no_advice"] == four.advised.reason


def test_the_table_names_each_slice(four):
    lines = four.table().splitlines()
    assert "4 objects of 2 photos against 320 anchors a photo" in lines[0]
    [plate] = [line.split() for line in lines if "plate" in line]
    assert plate == ["plate", "2", "0.000", "0.000", "0.000", "9.5", "100%"]
    assert "the shapes for 1" in four.table()
    assert max(map(len, lines)) <= 100


def test_a_class_name_from_a_file_cannot_command_a_terminal():
    named = photo(BOXES)
    object.__setattr__(named, "class_names", ("background", "\x1b[2J", "plate"))
    table = coverage(one_map(64), [named]).table()
    assert "\x1b" not in table
    assert "\\x1b[2J" in table


def test_the_picture_crosses_what_lacks_an_anchor(four):
    curve, sides = four.draw().axes
    covered, lacking, shapes = (each.get_offsets() for each in sides.collections)
    assert covered.tolist() == [[64, 64], [64, 64]]
    assert lacking.tolist() == [[16, 64], [8, 8]]
    assert shapes.tolist() == [[64, 64]]
    assert curve.lines[0].get_xdata()[-1] == 1


# --- what data sets may be --------------------------------------------------------------------


@pytest.mark.parametrize(
    "samples",
    [[], [photo(BOXES[:0])], [photo(BOXES, crowd=[True] * 4)]],
    ids=["no photo", "no object", "crowds only"],
)
def test_nothing_to_cover(samples):
    found = coverage(one_map(64), samples)
    assert len(found.boxes) == 0
    assert math.isnan(found.overall.shares.half)
    assert found.advice == ()
    assert f"0 objects of {len(samples)} photos" in found.table()
    json.dumps(found.record(), allow_nan=False)
    found.draw()


def test_a_class_that_the_model_does_not_know_counts_all_the_same():
    """Anchors have no class, and coverage is asked before a model learns one's own."""
    model = one_map(64)
    model.class_names = ("background", "cat", "dog")
    assert coverage(model, [photo(BOXES)]).overall.shares.objects == 4


def test_the_photos_need_not_be_of_one_size():
    small = sample("cat")
    found = coverage(one_map(64), [photo(BOXES), small])
    assert len(found.boxes) == 4 + int((~small.crowd).sum())
    assert found.class_names[1] in NAMES


def test_what_is_no_model_of_torchvisions_is_refused():
    with pytest.raises(TypeError, match="FasterRCNN"):
        coverage(nn.Linear(1, 1), [photo(BOXES)])


def test_the_bundled_model_names_its_levels():
    found = coverage(load_model("tiny"), photos(3, 3, 60))
    assert found.anchors == 65_472
    assert {each.name for each in found.slices("level")} <= {"P2", "P3", "P4", "P5", "P6"}
    assert len(found.shapes) == 15
