"""Boxes and areas of a COCO file: they go into the figures, so they are compared with the mask."""

import pytest

from mrcnn_steps.data.annotation import read_annotation
from mrcnn_steps.data.field_error import FieldError

HEIGHT, WIDTH = 40, 60
# 20 × 20 pixels, and a photo that is as wide as the mask is not
SQUARE = [[5, 6, 25, 6, 25, 26, 5, 26]]


def read(**fields):
    record = {"id": 7, "image_id": 1, "category_id": 3, "segmentation": SQUARE} | fields
    return read_annotation(record, {1: (HEIGHT, WIDTH)}, {3: "nut"})


def refusal(**fields):
    with pytest.raises(FieldError) as caught:
        read(**fields)
    return str(caught.value)


NOT_NUMBERS = [None, "400", True, [], {}, float("nan"), float("inf"), -float("inf"), -1, 10**400]


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_an_area_is_a_number_of_pixels(value):
    assert refusal(area=value).startswith("area: found")


@pytest.mark.parametrize("value", [None, "box", [], {}, [5, 6, 20], [5, 6, 20, 20, 1], 5])
def test_a_box_is_four_numbers(value):
    assert "expected [x, y, width, height], four numbers" in refusal(bbox=value)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_every_number_of_a_box_is_one(place, value):
    box = [5, 6, 20, 20]
    box[place] = value
    assert refusal(bbox=box).startswith("bbox: found")


def test_a_box_is_that_of_its_mask():
    assert read(bbox=[5, 6, 20, 20]).bbox == (5, 6, 20, 20)
    assert read(bbox=[5.5, 6.9, 19.2, 18.4]).slip is None
    for box in ([8, 6, 17, 20], [5, 6, 20, 23], [5, 3, 20, 23], [2, 6, 23, 20]):
        assert "expected [5.0, 6.0, 20.0, 20.0], the box" in refusal(bbox=box)


def test_corners_instead_of_width_and_height_are_recognized():
    assert refusal(bbox=[5, 6, 25, 26]).endswith("of its mask, not two corners")


def test_a_box_may_end_where_a_part_thinner_than_a_pixel_does():
    """A spike of 30 pixels has no pixel of its own: the box of the outline is as good."""
    spike = [[5, 6, 25, 6, 25, 15.1, 55, 15.2, 25, 15.3, 25, 26, 5, 26]]
    for width in (20, 35, 50):
        assert read(segmentation=spike, bbox=[5, 6, width, 20]).slip is None
    assert refusal(segmentation=spike, bbox=[5, 6, 53, 20])


def test_an_area_is_that_of_its_mask_or_of_its_box():
    triangle = [[5, 6, 45, 6, 5, 36]]
    assert not read(segmentation=triangle, area=600).area_of_box
    assert read(segmentation=triangle, area=1200, bbox=[5, 6, 40, 30]).area_of_box
    for area in (1, 250, 2400, 59 * 39):
        assert "expected about 5" in refusal(segmentation=triangle, area=area).replace("60", "5")


def test_crowds_as_run_lengths_are_compared_as_well():
    """Two columns of the photo: the second half of the third and the first of the fourth."""
    crowd = {"size": [HEIGHT, WIDTH], "counts": [100, 40, HEIGHT * WIDTH - 140]}
    assert read(segmentation=crowd, bbox=[2, 0, 2, 40], area=40, iscrowd=1).crowd
    assert "expected [2.0, 0.0, 2.0, 40.0]" in refusal(segmentation=crowd, bbox=[2, 20, 2, 20])


def test_what_an_annotator_slipped_in_is_marked():
    """Three pixels of 200: not the tool's fault, and no reason to refuse the whole file."""
    large = {1: (HEIGHT, 300)}
    record = {"id": 7, "image_id": 1, "category_id": 3}
    record["segmentation"] = [[5, 6, 205, 6, 205, 26, 5, 26]]
    record["bbox"] = [5, 6, 203, 20]
    assert read_annotation(record, large, {3: "nut"}).slip == "bbox"


def test_boxes_only_have_areas_of_at_most_the_box():
    assert read(segmentation=[], bbox=[5, 6, 20, 20], area=300).area == 300
    for area in (0, 700):
        assert "at most the box's 400 pixels" in refusal(
            segmentation=[], bbox=[5, 6, 20, 20], area=area
        )
