"""The view of stage 2 on a small pyramid; no widget is made."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from mrcnn_steps.anchors import AnchorLocation, best_anchors, pyramid
from mrcnn_steps.data import Sample
from mrcnn_widgets.scene import Scene, scene
from mrcnn_widgets.views import anchors as view

ANCHORS = pyramid(1024, anchor_stride=4)


@pytest.fixture(scope="module")
def room() -> Scene:
    """Two objects on a square photo."""
    masks = torch.zeros((2, 512, 512), dtype=torch.bool)
    masks[0, 100:300, 50:250] = True
    masks[1, 400:404, 400:404] = True
    photo = Sample.from_masks(
        image=torch.zeros((3, 512, 512), dtype=torch.uint8),
        masks=masks,
        labels=torch.ones(2, dtype=torch.int64),
        crowd=torch.zeros(2, dtype=torch.bool),
        class_names=("background", "chair"),
        name="room",
    )
    return scene(photo)


def test_the_cell_at_a_place_is_the_one_that_it_lies_in():
    assert view.cells(ANCHORS, (100.0, 40.0), [0, 2]) == (
        AnchorLocation(0, 2, 6, 0),
        AnchorLocation(2, 0, 1, 0),
    )


def test_beside_the_photo_it_is_the_nearest():
    assert view.cells(ANCHORS, (-9.0, 5000.0), [0]) == (AnchorLocation(0, 63, 0, 0),)


def test_the_anchors_of_a_cell_have_the_color_and_name_of_their_level(room):
    layer = view.cell_layer(ANCHORS, view.cells(ANCHORS, (512.0, 512.0), range(5)), room)
    assert len(layer) == 15
    rows = layer.fields["anchor"].tolist()
    np.testing.assert_array_equal(layer.boxes, ANCHORS.boxes[rows].numpy())
    names = [layer.groups[group].name for group in layer.group_index]
    assert names == [name for name in ("P2", "P3", "P4", "P5", "P6") for _ in range(3)]
    assert len({group.color for group in layer.groups}) == 5
    best = box_iou(ANCHORS.boxes[rows], room.boxes).amax(dim=1)
    np.testing.assert_allclose(layer.fields["best IoU"], best.numpy(), atol=1e-6)


def test_the_order_is_that_of_the_anchors_before_on_the_same_level():
    first = ANCHORS.level_slices[1].start
    grid, order, current = view.current_layers(ANCHORS, first + 9, 3)
    x1, y1, x2, y2 = ANCHORS.boxes[[first + 9, first + 6, first + 3, first]].unbind(dim=1)
    np.testing.assert_allclose(order.points, torch.stack(((x1 + x2) / 2, (y1 + y2) / 2), 1))
    assert grid.cells.tolist() == [[0, 3]]
    assert current.labels == [f"{first + 9:,}"]


def test_objects_are_covered_or_not_and_one_best_anchor_is_drawn(room):
    best = best_anchors(ANCHORS, room.boxes)
    covered = torch.tensor([True, False])
    objects, anchor = view.coverage_layers(ANCHORS, room, best, covered, 1)
    looks = [objects.groups[group].name for group in objects.group_index]
    assert looks == ["covered", "not covered"]
    assert anchor.boxes.tolist() == [ANCHORS.boxes[best.row[1]].tolist()]
    assert len(view.coverage_layers(ANCHORS, room, best, covered, None)[1]) == 0
    header, first, second = view.coverage(ANCHORS, room.names, best, covered)
    assert header[0] == "1 of 2 covered"
    assert (first[0], first[-1]) == ("0 · chair", "covered")
    assert (second[0], second[-1]) == ("1 · chair", "not covered")


def test_a_photo_without_objects_says_so():
    best = best_anchors(ANCHORS, torch.zeros((0, 4)))
    assert view.coverage(ANCHORS, (), best, best.iou > 0) == [(view.NO_OBJECTS,)]


def test_the_counts_add_up():
    *levels, every = view.counts(ANCHORS)
    assert [row[0] for row in levels] == ["P2", "P3", "P4", "P5", "P6"]
    assert sum(int(row[-1].replace(",", "")) for row in levels) == len(ANCHORS)
    assert every == ("all", "", "", f"{len(ANCHORS):,}")
