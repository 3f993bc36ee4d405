"""Every mistake of a COCO file, made once and on purpose, in data without any other."""

import os
import shutil

import pytest
from PIL import Image

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.findings import table
from mrcnn_steps.debug.preflight import preflight
from tests.debug.preflight.drawn import HEIGHT, WIDTH, content, outline, pixels, write

# pycocotools 2.0.11 has not heard of the copy keyword of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def look(tmp_path, change=None, **options):
    changed = content()
    if change is not None:
        change(changed)
    photos, path = write(tmp_path, changed)
    return preflight(CocoFolder(photos, path, strict=False), **options)


def the(code, findings):
    """The one finding of a code."""
    [found] = [each for each in findings if each.code == code]
    return found


def first(**changes):
    """Change the first object, 101 of photo 1; a field of None is taken away."""

    def change(c):
        c["annotations"][0].update(changes)
        for key in [key for key, value in changes.items() if value is None]:
            del c["annotations"][0][key]

    return change


def image(**changes):
    return lambda c: c["images"][0].update(changes)


def boxes_only(box=None):
    """Take all masks away; the first object gets this box."""

    def change(c):
        for one in c["annotations"]:
            del one["segmentation"], one["area"]
        if box is not None:
            c["annotations"][0]["bbox"] = box

    return change


def again(box, category):
    """Add an object to photo 1."""

    def change(c):
        x, y, w, h = box
        one = {"id": 999, "image_id": 1, "category_id": category, "iscrowd": 0}
        one |= {"bbox": [x, y, w, h], "area": w * h, "segmentation": [outline(box)]}
        c["annotations"].append(one)

    return change


def rename(new):
    return lambda c: c["categories"][1].update(name=new)


def test_a_clean_data_set_has_no_findings(tmp_path):
    assert preflight(CocoFolder(*write(tmp_path)), None) == ()
    assert table(()) == "no findings"


SWAPPED = {"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]}
EMPTY = {"size": [HEIGHT, WIDTH], "counts": [WIDTH * HEIGHT]}
LONG = {"size": [HEIGHT, WIDTH], "counts": [1, 2]}
OTHER = {"size": [20, 20], "counts": [400]}

# Code, the mistake, the photos and the objects that it concerns.
MISTAKES = [
    ("record_invalid", lambda c: c["annotations"].append("nothing"), (), ()),
    ("id_invalid", first(id="101"), (1,), ()),
    ("id_invalid", first(id=None), (1,), ()),
    ("id_twice", lambda c: c["annotations"][1].update(id=101), (1,), (101,)),
    ("id_twice", lambda c: c["images"][1].update(id=1), (1,), ()),
    ("image_size_invalid", image(width=0), (1,), ()),
    ("image_size_invalid", image(height="64"), (1,), ()),
    ("file_name_invalid", image(file_name=7), (1,), ()),
    ("file_name_outside", image(file_name="../secret.png"), (1,), ()),
    ("labelled_ids_invalid", image(labelled_category_ids=[5]), (1,), ()),
    ("category_name_invalid", rename(None), (), ()),
    ("category_name_twice", rename(" cat "), (), ()),
    ("category_background", rename("background"), (), ()),
    ("image_id_unknown", first(image_id=77), (77,), (101,)),
    ("category_id_unknown", first(category_id=77), (1,), (101,)),
    ("iscrowd_invalid", first(iscrowd="no"), (1,), (101,)),
    ("bbox_invalid", first(bbox=[1, 2, 3]), (1,), (101,)),
    ("bbox_invalid", first(bbox=[1, 2, 3, float("nan")]), (1,), (101,)),
    ("bbox_invalid", first(bbox="1 2 3 4"), (1,), (101,)),
    ("bbox_without_area", boxes_only([8, 10, 0, 24]), (1,), (101,)),
    ("bbox_without_area", first(bbox=[38, 34, -30, -24]), (1,), (101,)),
    ("bbox_corners", first(bbox=[8, 10, 38, 34]), (1,), (101,)),
    ("bbox_corners", boxes_only([50, 20, 82, 56]), (1,), (101,)),
    ("bbox_normalized", first(bbox=[0.08, 0.16, 0.31, 0.38]), (1,), (101,)),
    ("bbox_normalized", boxes_only([0.08, 0.16, 0.31, 0.38]), (1,), (101,)),
    ("bbox_outside", boxes_only([80, 10, 30, 24]), (1,), (101,)),
    ("bbox_outside", boxes_only([-40, 10, 60, 24]), (1,), (101,)),
    ("bbox_not_of_mask", first(bbox=[8, 10, 10, 10]), (1,), (101,)),
    ("segmentation_empty", first(bbox=None, segmentation=[]), (1,), (101,)),
    ("segmentation_invalid", first(segmentation="a cat"), (1,), (101,)),
    ("segmentation_invalid", first(segmentation=outline((8, 10, 30, 24))), (1,), (101,)),
    ("segmentation_points", first(segmentation=[[8, 10, 38, 34]]), (1,), (101,)),
    ("segmentation_outside", first(segmentation=[outline((8, 10, 900, 24))]), (1,), (101,)),
    ("segmentation_swapped", first(segmentation=SWAPPED), (1,), (101,)),
    ("segmentation_size", first(segmentation=OTHER), (1,), (101,)),
    ("segmentation_counts", first(segmentation=LONG), (1,), (101,)),
    ("area_invalid", first(area="much"), (1,), (101,)),
    ("area_not_of_mask", first(area=9), (1,), (101,)),
    ("photo_missing", image(file_name="gone.png"), (1,), ()),
    ("photo_case", image(file_name="1.PNG"), (1,), ()),
    ("photo_swapped", image(width=HEIGHT, height=WIDTH), (1,), ()),
    ("photo_size", image(width=WIDTH + 4), (1,), ()),
    ("no_objects", lambda c: c["annotations"].clear(), (), ()),
    ("no_photos", lambda c: (c["annotations"].clear(), c["images"].clear()), (), ()),
    ("category_names_alike", rename("C at"), (), ()),
    ("category_names_alike", rename("CAT"), (), ()),
    ("mask_missing", first(segmentation=None), (1,), (101,)),
    ("mask_empty", first(segmentation=EMPTY, bbox=[0, 0, 0, 0], area=0), (1,), (101,)),
    ("bbox_off", first(bbox=[8, 10, 30, 26.2]), (1,), (101,)),
    ("objects_alike", again((8, 10, 30, 24), 1), (1,), (101, 999)),
    ("objects_alike_of_two_classes", again((8, 10, 30, 24), 2), (1,), (101, 999)),
    ("object_below_pixel", again((60, 8, 30, 0.4), 1), (1,), (999,)),
    ("photo_two_ids", lambda c: c["images"][1].update(file_name="1.png"), (1, 2), ()),
    ("boxes_only", boxes_only(), (1, 2, 3), (101, 102, 201, 301, 302, 303)),
    (
        "class_without_objects",
        lambda c: c["categories"].append({"id": 9, "name": "cow"}),
        (),
        (),
    ),
    (
        "photo_without_objects",
        lambda c: c["annotations"].pop(2),
        (2,),
        (),
    ),
]


@pytest.mark.parametrize(("code", "change", "images", "annotations"), MISTAKES)
def test_a_mistake_is_named_with_its_ids(tmp_path, code, change, images, annotations):
    found = the(code, look(tmp_path, change))
    assert found.image_ids == images
    assert found.annotation_ids == annotations
    assert found.remedy
    assert found.sentence.startswith("Found ")


def test_category_zero(tmp_path):
    def change(c):
        c["categories"][0]["id"] = 0
        for one in c["annotations"]:
            one["category_id"] -= one["category_id"] == 1

    [found] = look(tmp_path, change)
    assert found.code == "category_zero"
    assert "'cat'" in found.sentence


def test_an_area_a_little_off(tmp_path):
    """In a large photo, where a tenth of the mask is more than two pixels on each side."""
    changed = content()
    changed["images"][0].update(width=10 * WIDTH, height=10 * HEIGHT)
    for one in changed["annotations"][:2]:
        one["area"] *= 100
        one["bbox"] = [10 * side for side in one["bbox"]]
        one["segmentation"] = [[10 * side for side in one["segmentation"][0]]]
    changed["annotations"][0]["area"] *= 0.92
    photos, path = write(tmp_path, changed)
    Image.new("RGB", (10 * WIDTH, 10 * HEIGHT)).save(photos / "1.png")
    [found] = preflight(CocoFolder(photos, path, strict=False))
    assert (found.code, found.annotation_ids) == ("area_off", (101,))


def test_all_boxes_of_a_file_of_corners_are_told(tmp_path):
    def change(c):
        boxes_only()(c)
        for one in c["annotations"]:
            x, y, w, h = one["bbox"]
            one["bbox"] = [x, y, x + w, y + h]

    found = the("bbox_corners", look(tmp_path, change))
    # 101 and 301 lie inside the photo even if their corner is taken for a width and a height.
    assert sorted(found.annotation_ids) == [101, 102, 201, 301, 302, 303]


def test_objects_of_what_is_left_out_are_no_errors_of_their_own(tmp_path):
    findings = look(tmp_path, image(width=None))
    assert [each.code for each in findings if each.level == "error"] == ["image_size_invalid"]
    assert the("objects_of_left_out", findings).annotation_ids == (101, 102)


def test_alike_masks_decide_and_not_their_boxes(tmp_path):
    """Two triangles that fill one box share half of it."""

    def change(c):
        again((8, 10, 30, 24), 1)(c)
        for one, points in ((0, [8, 10, 38, 10, 8, 34]), (-1, [38, 10, 38, 34, 8, 34])):
            c["annotations"][one]["segmentation"] = [[float(v) for v in points]]
            c["annotations"][one]["area"] = 360

    assert look(tmp_path, change) == ()


def test_photos_that_cannot_be_read(tmp_path):
    photos, path = write(tmp_path)
    broken = photos / "2.png"
    Image.fromarray(pixels(2)).save(broken, "JPEG")
    broken.write_bytes(broken.read_bytes()[:2000])
    folder = CocoFolder(photos, path)
    assert the("photo_unreadable", preflight(folder)).image_ids == (2,)
    # The header alone is whole, and without the photos nothing is opened.
    assert preflight(folder, photos="headers") == ()
    broken.write_bytes(b"no image")
    assert the("photo_unreadable", preflight(folder, photos="headers")).image_ids == (2,)
    assert preflight(folder, photos="none") == ()


@pytest.mark.parametrize(("orientation", "code"), [(6, "photo_turned"), (3, "photo_turned_unseen")])
def test_photos_that_exif_turns(tmp_path, orientation, code):
    photos, path = write(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels(1)).save(photos / "1.png", exif=exif)
    [found] = preflight(CocoFolder(photos, path))
    assert (found.code, found.image_ids) == (code, (1,))


def test_the_same_bytes_twice_and_in_the_validation_data(tmp_path):
    photos, path = write(tmp_path / "train")
    shutil.copy(photos / "1.png", photos / "3.png")
    [found] = preflight(CocoFolder(photos, path))
    assert (found.code, set(found.image_ids)) == ("photo_twice", {1, 3})
    others, other_path = write(tmp_path / "val")
    for name in ("1.png", "3.png"):
        Image.fromarray(pixels(int(name[0]) + 50)).save(others / name)
    findings = preflight(CocoFolder(photos, path), None, CocoFolder(others, other_path))
    assert the("photo_in_validation", findings).image_ids == (2,)


def test_one_file_in_both_lists(tmp_path):
    photos, path = write(tmp_path)
    folder = CocoFolder(photos, path)
    assert the("photo_in_validation", preflight(folder, None, folder)).image_ids == (1, 2, 3)


def test_a_link_is_no_second_photo_but_the_same(tmp_path):
    def change(c):
        c["images"][1]["file_name"] = "link.png"

    changed = content()
    change(changed)
    photos, path = write(tmp_path, changed)
    os.symlink(photos / "1.png", photos / "link.png")
    assert the("photo_two_ids", preflight(CocoFolder(photos, path))).image_ids == (1, 2)
