"""The anchor explorer against the pyramid and against all IoUs by brute force."""

import pytest
import torch
import traitlets as t
from torchvision.ops import box_iou

from mrcnn_steps.anchors import AnchorLocation, pyramid
from mrcnn_widgets.anchors import ALL_LEVELS, NO_OBJECT, AnchorExplorer


@pytest.fixture
def explorer():
    return AnchorExplorer("voc_people")


def test_with_a_trace_the_anchors_are_the_models_own(tiny_trace):
    explorer = AnchorExplorer(tiny_trace)
    assert explorer.anchors is tiny_trace.anchors
    for name, value in {"scales": (1, 2, 3, 4, 5), "ratios": (1,), "anchor_stride": 1}.items():
        with pytest.raises(t.TraitError, match="the model's own"):
            setattr(explorer, name, value)


@pytest.mark.parametrize(("stride", "total"), [(1, 261_888), (2, 65_472), (4, 16_368)])
def test_counts(explorer, stride, total):
    explorer.anchor_stride = stride
    assert len(explorer.anchors) == sum(explorer.counts.values()) == total
    side = 256 // stride
    assert explorer.counts["P2"] == side * side * 3
    assert explorer._levels.rows[-1][-1] == f"{total:,}"


def test_scales_and_ratios_are_those_of_the_pyramid(explorer):
    explorer.scales, explorer.ratios = (16, 32, 64, 128, 256), (0.25, 4)
    expected = pyramid(1024, scales=(16, 32, 64, 128, 256), ratios=(0.25, 4.0), anchor_stride=2)
    assert torch.equal(explorer.anchors.boxes, expected.boxes)
    assert explorer.settings["scales"] == (16, 32, 64, 128, 256)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scales", (32, 64)),
        ("scales", (0, 1, 2, 3, 4)),
        ("ratios", ()),
        ("ratios", (-1,)),
        ("ratios", (1,) * 10),
        ("ratios", (float("nan"),)),
        ("level", 5),
        ("index", 65_472),
        ("object", 19),
    ],
)
def test_what_makes_no_anchors_is_refused(explorer, name, value):
    before = getattr(explorer, name)
    with pytest.raises(t.TraitError):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


def test_a_click_shows_the_anchors_of_that_cell(explorer):
    explorer.level = 2
    explorer.canvas.clicked = (100.0, 200.0)
    # Level P4 has an anchor on every other cell of 16 pixels.
    assert explorer.cells == (AnchorLocation(2, 6, 3, 0),)
    first = explorer.anchors.index(AnchorLocation(2, 6, 3, 0))
    shown = explorer.canvas["anchors here"]
    assert shown.fields["anchor"].tolist() == [first, first + 1, first + 2]
    assert (shown.boxes == explorer.anchors.boxes[first : first + 3].numpy()).all()
    assert explorer.index == first
    explorer.level = ALL_LEVELS
    assert len(explorer.cells) == 5
    assert len(explorer.canvas["anchors here"]) == 15


def test_a_click_beside_the_photo_takes_the_nearest_cell(explorer):
    explorer.level = 0
    explorer.canvas.clicked = (5000.0, -20.0)
    assert explorer.cells == (AnchorLocation(0, 0, 127, 0),)


@pytest.mark.parametrize("index", [0, 5, 49_151, 49_152, 65_471])
def test_the_current_anchor_is_located(explorer, index):
    explorer.index = index
    place = explorer.anchors.locate(index)
    assert explorer.canvas["current"].boxes.tolist() == [explorer.anchors.boxes[index].tolist()]
    grid = explorer.canvas["grid"]
    assert grid.cells.tolist() == [[place.row, place.column]]
    assert grid.shape == (explorer.anchors.grids[place.level].rows,) * 2
    rows = dict(explorer._one.rows)
    assert rows["row"].startswith(f"{place.row} of")
    assert rows["ratio"].startswith(f"{place.ratio} ·")


@pytest.mark.parametrize(
    ("play_by", "changed"), [("ratio", "ratio"), ("column", "column"), ("row", "row")]
)
def test_playing_goes_by_ratio_column_or_row(explorer, play_by, changed):
    start = explorer.anchors.index(AnchorLocation(1, 4, 5, 0))
    explorer.index, explorer.play_by = start, play_by
    explorer._play.value += explorer._play.step  # what the browser does at every tick
    place = explorer.anchors.locate(explorer.index)
    expected = {"level": 1, "row": 4, "column": 5, "ratio": 0}
    expected[changed] += 1
    assert vars(place) == expected


def test_the_trail_stays_on_its_level(explorer):
    start = explorer.anchors.level_slices[1].start
    explorer.index = start + 4
    assert len(explorer.canvas["order"]) == 5
    explorer.index = start
    assert len(explorer.canvas["order"]) == 1


@pytest.mark.parametrize("stride", [1, 2])
def test_the_best_anchor_is_the_best_of_all(explorer, stride):
    explorer.anchor_stride = stride
    every = box_iou(explorer.scene.boxes, explorer.anchors.boxes)
    torch.testing.assert_close(explorer.best.iou, every.amax(dim=1), rtol=0, atol=0)
    at_best = every.gather(1, explorer.best.row[:, None])[:, 0]
    assert torch.equal(at_best, explorer.best.iou)


def test_coverage_has_a_threshold(explorer):
    for threshold in (0.0, 0.5, 0.7, 1.0):
        explorer.coverage_iou = threshold
        assert torch.equal(explorer.covered, explorer.best.iou >= threshold)
        groups = explorer.canvas["objects"].group_index
        assert (groups == (~explorer.covered).numpy()).all()
    assert explorer._coverage.rows[0][0] == "0 of 19 covered"


def test_the_best_anchor_of_the_chosen_object_is_drawn(explorer):
    assert explorer.object == NO_OBJECT
    assert len(explorer.canvas["best anchor"]) == 0
    explorer.object = 16
    best = explorer.anchors.boxes[explorer.best.row[16]].tolist()
    assert explorer.canvas["best anchor"].boxes.tolist() == [best]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ratios", "1, two", "ratios: expected numbers such as 0.5, 1, 2, found 'two'"),
        ("scales", "32 64", "scales: expected 5, one a level, found 2"),
        ("scales", "1e9", "scales: expected 1 to 5 numbers above 0 and below 10,000, found "),
        ("ratios", "", "ratios: expected 1 to 9 numbers above 0 and below 100, found "),
        ("ratios", "nan", "ratios: expected 1 to 9 numbers above 0 and below 100, found "),
    ],
)
def test_the_fields_of_numbers_say_what_they_refuse(explorer, name, text, message):
    before = getattr(explorer, name)
    field, _ = explorer._registered[name]
    field.value = text
    assert explorer._message.value.startswith(message)
    assert getattr(explorer, name) == before


@pytest.mark.parametrize("text", ["1, 3", "1 3", " 1,3 "])
def test_numbers_are_separated_by_commas_or_blanks(explorer, text):
    field, _ = explorer._registered["ratios"]
    field.value = "1, two"
    field.value = text
    assert explorer._message.value == ""
    assert explorer.ratios == (1.0, 3.0)


def test_reset_lays_the_usual_anchors_again(explorer):
    explorer.ratios, explorer.anchor_stride, explorer.coverage_iou = (1,), 4, 0.7
    assert set(explorer.changed) == {"ratios", "anchor_stride", "coverage_iou"}
    explorer.reset()
    assert len(explorer.anchors) == 65_472
    assert explorer.changed == []
