"""The anchor explorer against the pyramid and against all IoUs by brute force."""

import pytest
import torch
import traitlets as t
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from mrcnn_steps.anchors import AnchorLocation, Anchors, Grid, pyramid
from mrcnn_widgets.anchors import ALL_LEVELS, NO_OBJECT, AnchorExplorer, best_anchors


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
    torch.testing.assert_close(explorer.best_iou, every.amax(dim=1), rtol=0, atol=0)
    at_best = every.gather(1, explorer.best_index[:, None])[:, 0]
    assert torch.equal(at_best, explorer.best_iou)


def test_best_anchors_of_boxes_anywhere(random_boxes):
    anchors = pyramid((600, 800), anchor_stride=2)
    boxes = torch.cat((random_boxes(200, sides=(3, 590)), random_boxes(20, sides=(3, 90)) + 900))
    iou, index = best_anchors(anchors, boxes)
    every = box_iou(boxes, anchors.boxes)
    torch.testing.assert_close(iou, every.amax(dim=1), rtol=1e-6, atol=1e-7)
    assert torch.equal(every.gather(1, index[:, None])[:, 0], iou)


def test_best_anchors_of_torchvisions_rounded_grid(random_boxes):
    generator = AnchorGenerator(((32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 3)
    maps = [torch.zeros(1, 1, rows, columns) for rows, columns in ((75, 100), (37, 50), (18, 25))]
    image = torch.zeros(1, 3, 600, 800)
    grids = tuple(
        Grid(m.shape[2], m.shape[3], 3, (600 // m.shape[2], 800 // m.shape[3])) for m in maps
    )
    [boxes] = generator(ImageList(image, [(600, 800)]), maps)
    objects = random_boxes(200)
    iou, _ = best_anchors(Anchors(boxes, grids), objects)
    torch.testing.assert_close(iou, box_iou(objects, boxes).amax(dim=1), rtol=1e-6, atol=1e-7)


def test_coverage_has_a_threshold(explorer):
    for threshold in (0.0, 0.5, 0.7, 1.0):
        explorer.coverage_iou = threshold
        assert torch.equal(explorer.covered, explorer.best_iou >= threshold)
        groups = explorer.canvas["objects"].group_index
        assert (groups == (~explorer.covered).numpy()).all()
    assert explorer._coverage.rows[0][0] == "0 of 19 covered"


def test_the_best_anchor_of_the_chosen_object_is_drawn(explorer):
    assert explorer.object == NO_OBJECT
    assert len(explorer.canvas["best anchor"]) == 0
    explorer.object = 16
    best = explorer.anchors.boxes[explorer.best_index[16]].tolist()
    assert explorer.canvas["best anchor"].boxes.tolist() == [best]


def test_the_fields_of_numbers_say_what_they_refuse(explorer):
    field = next(w for w in explorer.children[0].children if w.description == "ratios")
    field.value = "1, two"
    assert "two" in explorer._message.value
    assert explorer.ratios == (0.5, 1.0, 2.0)
    field.value = "1, 3"
    assert explorer._message.value == ""
    assert explorer.ratios == (1.0, 3.0)
