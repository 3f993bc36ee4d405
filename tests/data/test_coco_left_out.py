"""COCO files read without strictness: what cannot be used is left out and told, the rest stays."""

import json
import random
from functools import partial

import pytest
import torch

from mrcnn_steps.data import CocoFolder
from tests.data.coco_content import STAR, content
from tests.data.test_fuzz import mutated, refusal

# pycocotools 2.0.11 has not heard of the copy keyword of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def left_out(write, change):
    """Change one thing in a good file; return the folder without it."""
    changed = content()
    change(changed)
    return CocoFolder(*write(changed), strict=False)


def ids(folder):
    return [[each.id for each in folder.objects(index)] for index in range(len(folder))]


def test_a_good_file_is_read_as_ever(write):
    strict, lenient = CocoFolder(*write(content())), CocoFolder(*write(content()), strict=False)
    assert strict.left_out == lenient.left_out == ()
    assert strict.photos == lenient.photos
    assert ids(strict) == ids(lenient) == [[1, 5, 3, 4], [], [2]]
    assert torch.equal(strict[0].masks, lenient[0].masks)


@pytest.mark.parametrize(
    "change",
    [
        {"segmentation": [[1, 1, 5, 5]]},
        {"segmentation": [STAR], "bbox": [0, 0, 4, 4]},
        {"segmentation": [STAR], "area": 7},
        {"category_id": 99},
        {"image_id": "30"},
        {"iscrowd": 2},
        {"id": 5},
        {"id": None},
    ],
)
def test_a_bad_object_is_left_out_alone(write, change):
    folder = left_out(write, lambda c: c["annotations"][0].update(change))
    assert [sorted(each) for each in ids(folder)] == [[3, 4, 5], [], [2]]
    [fault] = folder.left_out
    assert fault.key == "annotations"
    assert fault.field in change
    assert len(folder[0].labels) == 3


def test_what_is_no_object_does_not_shift_the_others(write):
    def change(c):
        c["annotations"].insert(0, "nothing")
        c["annotations"].insert(2, None)
        c["images"].insert(1, [])

    folder = left_out(write, change)
    assert ids(folder) == [[1, 5, 3, 4], [], [2]]
    assert [(fault.key, fault.place) for fault in folder.left_out] == [
        ("images", 1),
        ("annotations", 0),
        ("annotations", 2),
    ]


def test_objects_of_a_photo_or_a_class_that_is_left_out_go_with_it(write):
    folder = left_out(write, lambda c: c["images"][0].update(width=0))
    assert folder.image_ids == (7, 12)
    assert ids(folder) == [[], [2]]
    folder = left_out(write, lambda c: c["categories"][2].update(name=None))
    assert folder.class_names == ("background", "car", "teddy <b>bear</b>")
    assert ids(folder) == [[1, 5, 4], [], []]
    assert folder[0].labels.tolist() == [2, 1, 1]


def test_slips_are_no_reason_to_leave_objects_out(write):
    # The star's mask is 36 × 35 pixels: three too many below are an annotator's slip.
    folder = left_out(write, lambda c: c["annotations"][0].update(bbox=[16, 3, 36, 38]))
    assert folder.left_out == ()
    assert folder.objects(0)[0].slip == "bbox"


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_a_file_without_its_lists_is_refused_all_the_same(write, key):
    with pytest.raises(ValueError, match=f"{key}: found nothing, expected a list"):
        left_out(write, lambda c: c.pop(key))


def test_whatever_strictness_refuses_is_left_out_with_the_same_words(write):
    """Seeded: damaged files; what is left can be loaded."""
    photos, path = write(content())
    generator = random.Random(5)
    compared = 0
    for _ in range(300):
        path.write_text(json.dumps(mutated(generator)))
        refused = refusal(lambda: CocoFolder(photos, path), ValueError)
        unreadable = refusal(lambda: CocoFolder(photos, path, strict=False), ValueError)
        assert unreadable in (None, refused)
        if unreadable:
            continue
        folder = CocoFolder(photos, path, strict=False)
        if folder.left_out:
            assert refused == f"{path}: {folder.left_out[0].error()}"
            compared += 1
        else:
            assert refused is None or "as its mask has" in refused
        for index in range(len(folder)):
            refusal(partial(folder.__getitem__, index), ValueError, OSError)
    assert compared > 50
