"""The bundled photos: small, credited, and annotated with COCO's classes."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from mrcnn_steps.data import COCO_CATEGORY_IDS, COCO_CLASSES, sample, samples
from mrcnn_steps.data.bundled import PHOTOS

# pycocotools 2.0.11 has not heard of the copy keyword of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

OBJECTS = {
    "astronaut": ["person"],
    "cat": ["cat"],
    "coffee": ["spoon", "cup", "dining table"],
    "cows": ["cow"] * 3,
    "dogs": ["dog"] * 2,
    "horses": ["horse"] * 5,
    "motorcycle": ["motorcycle", "bench", "bicycle", "bottle", "bottle"],
    "wine": ["bottle", "wine glass", "dining table"],
    "voc_people": ["bottle"] + ["chair"] * 8 + ["person"] * 3 + ["dining table"] * 2
    + ["person"] * 4 + ["dining table"],
}  # fmt: skip


@pytest.fixture(scope="module")
def content():
    return json.loads((PHOTOS / "instances.json").read_text())


def test_classes_are_cocos():
    assert len(COCO_CLASSES) == 81
    assert (COCO_CLASSES[0], COCO_CLASSES[1], COCO_CLASSES[80]) == (
        "background",
        "person",
        "toothbrush",
    )
    ids = dict(zip(COCO_CLASSES[1:], COCO_CATEGORY_IDS, strict=True))
    assert (ids["person"], ids["stop sign"], ids["cat"], ids["toothbrush"]) == (1, 13, 17, 90)


def test_classes_are_those_of_torchvisions_weights():
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    categories = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert tuple(categories[i] for i in COCO_CATEGORY_IDS) == COCO_CLASSES[1:]


def test_names_are_known():
    assert samples() == tuple(OBJECTS)


@pytest.mark.parametrize("name", OBJECTS)
def test_every_photo_loads_with_its_objects(name):
    loaded = sample(name)
    assert loaded.name == name
    assert loaded.class_names == COCO_CLASSES
    assert [COCO_CLASSES[label] for label in loaded.labels] == OBJECTS[name]
    assert loaded.masks.flatten(1).any(dim=1).all()
    assert not loaded.crowd.any()


@pytest.mark.parametrize("name", OBJECTS)
def test_no_pixel_belongs_to_two_objects(name):
    assert sample(name).masks.sum(dim=0).max() == 1


@pytest.mark.parametrize("name", OBJECTS)
def test_photos_are_not_shared(name):
    sample(name).image.zero_()
    assert sample(name).image.any()


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"found 'dog', expected one of astronaut, cat, coffee"):
        sample("dog")


def test_the_file_is_coco_with_the_official_ids(content):
    named = {category["id"]: category["name"] for category in content["categories"]}
    assert named == dict(zip(COCO_CATEGORY_IDS, COCO_CLASSES[1:], strict=True))
    with contextlib.redirect_stdout(io.StringIO()):
        peer = COCO(PHOTOS / "instances.json")
    for image_id, image in peer.imgs.items():
        expected = [peer.annToMask(a) for a in peer.imgToAnns[image_id]]
        loaded = sample(image["file_name"].removesuffix(".jpg"))
        assert torch.equal(loaded.masks, torch.from_numpy(np.array(expected)) == 1)


def test_fields_that_other_tools_read_agree_with_the_masks(content):
    for image in content["images"]:
        loaded = sample(image["file_name"].removesuffix(".jpg"))
        annotations = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        for annotation, box, mask in zip(annotations, loaded.boxes, loaded.masks, strict=True):
            x1, y1, x2, y2 = box.tolist()
            assert annotation["bbox"] == [x1, y1, x2 - x1, y2 - y1]
            assert annotation["area"] == mask.sum()


def test_polygons_stay_inside_their_photo(content):
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for annotation in content["annotations"]:
        width, height = sizes[annotation["image_id"]]
        for polygon in annotation["segmentation"]:
            assert 0 <= min(polygon[::2]) < max(polygon[::2]) <= width
            assert 0 <= min(polygon[1::2]) < max(polygon[1::2]) <= height


def test_photos_are_small_and_every_one_is_annotated(content):
    files = sorted(PHOTOS.glob("*.jpg"))
    assert [file.name for file in files] == [image["file_name"] for image in content["images"]]
    for file in files:
        assert file.stat().st_size <= 100_000
        with Image.open(file) as photo:
            assert max(photo.size) <= 640


def test_every_photo_is_credited():
    rows = (PHOTOS / "CREDITS.md").read_text().splitlines()
    for file in PHOTOS.glob("*.jpg"):
        (row,) = (row for row in rows if row.startswith(f"| `{file.name}` |"))
        assert row.count("|") == 6
        assert all(cell.strip() for cell in row.strip("|").split("|"))
