"""Stage 2, anchors: their order, their shapes, and the way from a row to its cell and back."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from mrcnn_steps.anchors import (
    AnchorLocation,
    Anchors,
    Grid,
    best_anchors,
    cell_anchors,
    pyramid,
)

STRIDES = (4, 8, 16, 32, 64)
SCALES = (32, 64, 128, 256, 512)
RATIOS = (0.5, 1.0, 2.0)


def looped_pyramid(image_size, strides, scales, ratios, anchor_stride):
    """The definition, anchor by anchor: level, row, column, ratio."""
    height, width = image_size
    boxes, places = [], []
    for level, (stride, scale) in enumerate(zip(strides, scales, strict=True)):
        rows, columns = -(-height // stride), -(-width // stride)
        for row, y in enumerate(range(0, rows, anchor_stride)):
            for column, x in enumerate(range(0, columns, anchor_stride)):
                for index, ratio in enumerate(ratios):
                    half_width = scale * ratio**0.5 / 2
                    half_height = scale / ratio**0.5 / 2
                    boxes.append(
                        (
                            x * stride - half_width,
                            y * stride - half_height,
                            x * stride + half_width,
                            y * stride + half_height,
                        )
                    )
                    places.append(AnchorLocation(level, row, column, index))
    return torch.tensor(boxes, dtype=torch.float64), places


@st.composite
def pyramids(draw):
    levels = draw(st.integers(1, 3))
    return {
        "image_size": (draw(st.integers(1, 90)), draw(st.integers(1, 90))),
        "strides": tuple(draw(st.sampled_from([4, 7, 8, 16, 32])) for _ in range(levels)),
        "scales": tuple(draw(st.integers(1, 200)) for _ in range(levels)),
        "ratios": tuple(draw(st.lists(st.floats(0.1, 10), min_size=1, max_size=4))),
        "anchor_stride": draw(st.integers(1, 3)),
    }


# --- the pyramid ----------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "stride"), [(1024, 2), (1024, 1), (512, 1), (256, 2)])
def test_reference_numbers(reference, size, stride):
    numbers = reference("anchors")
    name = f"anchors_{size}_{stride}"
    boxes = pyramid(size, anchor_stride=stride).boxes
    assert len(boxes) == numbers[f"{name}_count"]
    sampled = boxes[torch.from_numpy(numbers[f"{name}_index"])]
    np.testing.assert_allclose(sampled.numpy(), numbers[name], rtol=0, atol=5e-5)
    np.testing.assert_allclose(boxes.double().sum(0).numpy(), numbers[f"{name}_sum"], rtol=2e-8)


def test_reference_numbers_of_a_photo_that_is_not_square(reference):
    numbers = reference("anchors")
    boxes = pyramid((800, 1216)).boxes
    assert len(boxes) == numbers["anchors_800x1216_count"] == 242_991
    np.testing.assert_allclose(boxes[-3:].numpy(), numbers["anchors_800x1216_last"], atol=1e-4)
    total = boxes.double().sum(0).numpy()
    np.testing.assert_allclose(total, numbers["anchors_800x1216_sum"], rtol=1e-8)


def test_1024_pixels_have_65472_anchors_on_every_other_cell_and_261888_on_all():
    assert len(pyramid(1024, anchor_stride=2)) == 65_472
    assert len(pyramid(1024)) == 261_888
    assert pyramid(1024).boxes.dtype == torch.float32


@given(pyramids())
def test_every_anchor_and_its_place_are_those_of_the_loop(arguments):
    anchors = pyramid(**arguments)
    boxes, places = looped_pyramid(**arguments)
    torch.testing.assert_close(anchors.boxes.double(), boxes, rtol=1e-6, atol=1e-4)
    assert [anchors.locate(i) for i in range(len(anchors))] == places


def test_the_order_is_level_row_column_ratio():
    anchors = pyramid((128, 192), strides=(32, 64), scales=(32, 64), ratios=(0.5, 1.0, 2.0))
    centers = (anchors.boxes[:, :2] + anchors.boxes[:, 2:]) / 2
    assert torch.equal(centers[0], torch.tensor([0.0, 0.0]))
    assert torch.equal(centers[1], torch.tensor([0.0, 0.0])), "ratios first"
    assert torch.equal(centers[3], torch.tensor([32.0, 0.0])), "then the next column"
    assert torch.equal(centers[6 * 3], torch.tensor([0.0, 32.0])), "then the next row"
    assert anchors.level_slices == (slice(0, 72), slice(72, 90)), "then the next level"


def test_the_first_ratio_is_tall_because_ratios_are_width_over_height():
    """torchvision's `aspect_ratios` are height / width: its first anchor is the wide one."""
    tall, square, wide = cell_anchors(32, RATIOS)
    assert tall[2] < tall[3]
    assert square[2] == square[3] == 16
    assert wide[2] > wide[3]


@given(st.floats(1, 1000), st.lists(st.floats(0.1, 10), min_size=1, max_size=5))
def test_the_anchors_of_a_cell_have_one_area_and_their_ratio(scale, ratios):
    boxes = cell_anchors(scale, ratios).double()
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    torch.testing.assert_close(width * height, torch.full_like(width, scale**2), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        width / height, torch.tensor(ratios, dtype=torch.float64), rtol=1e-5, atol=0
    )
    assert torch.equal(boxes[:, :2], -boxes[:, 2:]), "centered on the origin"


def test_anchors_are_not_rounded():
    """torchvision rounds 45.25×22.63 to 46×22, by which small anchors lose a third of their IoU."""
    ours = cell_anchors(32, [2.0])[0]
    assert (ours[2:] - ours[:2]).tolist() == pytest.approx([45.2548, 22.6274], abs=1e-4)
    theirs = AnchorGenerator().generate_anchors([32], [0.5])[0]
    assert (theirs[2:] - theirs[:2]).tolist() == [46, 22]


def test_torchvisions_grid_with_our_cells_gives_our_pyramid():
    image = ImageList(torch.zeros(1, 3, 256, 384), [(256, 384)])
    maps = [torch.zeros(1, 1, 256 // stride, 384 // stride) for stride in STRIDES]
    generator = AnchorGenerator(tuple((s,) for s in SCALES), ((1.0, 1.0, 1.0),) * 5)
    generator.cell_anchors = [cell_anchors(scale, RATIOS) for scale in SCALES]
    assert torch.equal(pyramid((256, 384)).boxes, generator(image, maps)[0])


def test_an_anchor_stride_of_two_keeps_every_other_cell():
    everywhere = pyramid(256)
    kept = []
    for part, grid in zip(everywhere.level_slices, everywhere.grids, strict=True):
        cells = everywhere.boxes[part].reshape(grid.rows, grid.columns, 3, 4)
        kept.append(cells[::2, ::2].reshape(-1, 4))
    assert torch.equal(pyramid(256, anchor_stride=2).boxes, torch.cat(kept))


def test_doubled_strides_give_the_same_anchors_as_every_other_cell():
    """So a network that halves the photo first has the notes' anchors at a quarter of the cost."""
    doubled = pyramid(1024, strides=tuple(2 * stride for stride in STRIDES))
    assert torch.equal(doubled.boxes, pyramid(1024, anchor_stride=2).boxes)


# --- from a row to its cell and back --------------------------------------------------------


@given(pyramids(), st.data())
def test_index_inverts_locate(arguments, data):
    anchors = pyramid(**arguments)
    index = data.draw(st.integers(0, len(anchors) - 1))
    location = anchors.locate(index)
    assert anchors.index(location) == index
    assert int(anchors.levels(torch.tensor([index]))) == location.level


def test_the_levels_of_all_anchors_are_the_slices():
    anchors = pyramid(256)
    levels = anchors.levels(torch.arange(len(anchors)))
    for level, part in enumerate(anchors.level_slices):
        assert (levels[part] == level).all()
    assert anchors.level_slices[-1].stop == len(anchors)


def test_an_anchor_that_does_not_exist_has_no_place():
    anchors = pyramid(64)
    for index in (-1, len(anchors), 10**9):
        with pytest.raises(IndexError, match=f"anchor {index} does not exist"):
            anchors.locate(index)


@pytest.mark.parametrize(
    "place",
    [(5, 0, 0, 0), (-1, 0, 0, 0), (0, 16, 0, 0), (0, 0, 16, 0), (0, 0, 0, 3), (0, -1, 0, 0)],
)
def test_a_place_that_does_not_exist_has_no_anchor(place):
    with pytest.raises(IndexError, match=f"level={place[0]}"):
        pyramid(64).index(AnchorLocation(*place))


def test_the_anchors_of_any_model_fit_the_type():
    """torchvision with three scales on a level: cells of nine, torchvision's own strides."""
    image = ImageList(torch.zeros(1, 3, 100, 140), [(100, 140)])
    maps = [torch.zeros(1, 1, 13, 18), torch.zeros(1, 1, 7, 9)]
    generator = AnchorGenerator(((16, 24, 32), (64,)), ((0.5, 1.0, 2.0), (1.0,)))
    boxes = generator(image, maps)[0]
    strides = [(100 // 13, 140 // 18), (100 // 7, 140 // 9)]
    anchors = Anchors(boxes, (Grid(13, 18, 9, strides[0]), Grid(7, 9, 1, strides[1])))
    for level, grid in enumerate(anchors.grids):
        places = itertools.product(range(grid.rows), range(grid.columns), range(grid.per_cell))
        for row, column, ratio in places:
            index = anchors.index(AnchorLocation(level, row, column, ratio))
            center = (boxes[index, :2] + boxes[index, 2:]) / 2
            step_y, step_x = grid.stride
            assert center.tolist() == [column * step_x, row * step_y]


# --- refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("image_size", 0),
        ("image_size", (-1, 64)),
        ("strides", (4, 8, 0, 32, 64)),
        ("scales", (32, 64, 128, -256, 512)),
        ("ratios", (0.5, 0.0)),
        ("ratios", ()),
        ("ratios", (float("nan"),)),
        ("anchor_stride", 0),
    ],
)
def test_numbers_that_are_not_positive_are_refused_by_name(argument, value):
    with pytest.raises(ValueError, match=f"{argument}: expected"):
        pyramid(**{"image_size": 64, argument: value})


def test_a_scale_for_every_stride():
    with pytest.raises(ValueError, match="scales: expected 5, one for each stride"):
        pyramid(64, scales=(32, 64))


def test_boxes_that_do_not_fill_their_grids_are_refused(refused):
    grids = (Grid(2, 2, 3, (4.0, 4.0)),)
    with pytest.raises(ValueError, match="hold 12 anchors, found 11"):
        Anchors(torch.zeros(11, 4), grids)
    with pytest.raises(ValueError, match="finite"):
        Anchors(torch.full((12, 4), float("nan")), grids)
    with pytest.raises(refused):
        Anchors(torch.zeros(12, 5), grids)


def test_five_levels_are_called_as_in_the_fpn_paper():
    assert pyramid(256).level_names == ("P2", "P3", "P4", "P5", "P6")
    two = Anchors(torch.zeros(6, 4), (Grid(1, 1, 3, (8, 8)), Grid(1, 1, 3, (16, 16))))
    assert two.level_names == ("level 0", "level 1")


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


def test_no_boxes_have_no_best_anchors():
    iou, row = best_anchors(pyramid(64), torch.zeros((0, 4)))
    assert iou.shape == row.shape == (0,)


def test_a_box_that_no_anchor_touches_has_an_iou_of_0():
    iou, _ = best_anchors(pyramid(64), torch.tensor([[9000.0, 9000.0, 9010.0, 9010.0]]))
    assert iou.tolist() == [0.0]
