"""A dataset gives samples or pairs, and ids that join anyone's tables."""

import json

import pytest
import torch
from PIL import Image
from torch.utils.data import Subset

from mrcnn_steps.data import CocoFolder, sample
from mrcnn_steps.debug.datasets import (
    annotation_ids_at,
    class_names_of,
    entry_at,
    image_id_at,
    outline_at,
    photo_name_at,
    sample_at,
)

IMAGE = torch.zeros((3, 20, 30), dtype=torch.uint8)
BOXES = torch.tensor([[2.0, 3.0, 12.0, 9.0], [5.0, 5.0, 25.0, 15.0]])


def pair(**more):
    return IMAGE, {"boxes": BOXES, "labels": torch.tensor([1, 2]), **more}


@pytest.fixture
def folder(tmp_path):
    photos = [(7, "a/first.png"), (3, "second.png")]
    (tmp_path / "a").mkdir()
    for _, name in photos:
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    content = {
        "images": [{"id": i, "file_name": n, "width": 30, "height": 20} for i, n in photos],
        "categories": [{"id": 5, "name": "cup"}],
        "annotations": [
            {"id": id, "image_id": photo, "category_id": 5, "bbox": [1, 2, 8, 9], "area": 72}
            for id, photo in ((40, 3), (11, 7), (12, 3))
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="box and no mask"):
        return CocoFolder(tmp_path, tmp_path / "a.json")


def test_a_coco_folder_has_the_ids_of_its_file(folder):
    assert [image_id_at(folder, i) for i in (0, 1)] == [7, 3]
    assert [annotation_ids_at(folder, i) for i in (0, 1)] == [(11,), (40, 12)]
    assert [photo_name_at(folder, i) for i in (0, 1)] == ["a/first.png", "second.png"]
    entry = entry_at(folder, 1)
    assert (entry.image_id, entry.name, entry.annotation_ids) == (3, "second.png", (40, 12))
    assert torch.equal(entry.sample.boxes, folder[1].boxes)


def test_boxes_are_the_file_s_own_unless_they_have_no_area(folder):
    content = json.loads(folder.annotations.read_text())
    first, _, second = content["annotations"]
    first["segmentation"] = [[1.4, 2.4, 8.6, 2.4, 8.6, 10.6, 1.4, 10.6]]
    first |= {"bbox": [1.4, 2.4, 7.2, 8.2], "area": 59.04}
    second["segmentation"] = [[5, 2, 6, 2, 6, 11, 5, 11]]
    second |= {"bbox": [5, 2, 0, 9], "area": 9}
    folder.annotations.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="box and no mask"):
        again = CocoFolder(folder.images, folder.annotations)
    entry = entry_at(again, 1)
    assert entry.sample.boxes[0].tolist() == pytest.approx([1.4, 2.4, 8.6, 10.6])
    assert entry.sample.boxes[1].equal(again[1].boxes[1])
    assert entry.sample.masks.equal(again[1].masks)


def test_a_subset_keeps_the_ids(folder):
    part = Subset(Subset(folder, [1, 0]), [0])
    assert (image_id_at(part, 0), annotation_ids_at(part, 0)) == (3, (40, 12))
    assert entry_at(part, 0).name == "second.png"
    assert class_names_of(part) == ("background", "cup")


def test_the_ids_of_a_coco_folder_need_no_photo(folder):
    folder.image_path(1).unlink()
    assert (image_id_at(folder, 1), photo_name_at(folder, 1)) == (3, "second.png")
    assert annotation_ids_at(folder, 1) == (40, 12)
    with pytest.raises(FileNotFoundError):
        sample_at(folder, 1)


def test_samples_are_numbered():
    cows = sample("cows")
    entry = entry_at([sample("voc_people"), cows], 1)
    assert entry.sample is cows
    assert (entry.image_id, entry.name) == (1, "cows")
    assert entry.annotation_ids == tuple(range(len(cows.labels)))


@pytest.mark.parametrize("image_id", [42, torch.tensor(42), torch.tensor([42])])
def test_a_target_brings_its_image_id(image_id):
    dataset = [pair(), pair(image_id=image_id)]
    assert image_id_at(dataset, 0) == 0
    assert image_id_at(dataset, 1) == 42
    assert annotation_ids_at(dataset, 1) == (0, 1)


def test_labels_of_pairs_are_named_by_the_caller_and_numbered_beyond():
    named = sample_at([pair()], 0, ("background", "cup"))
    assert named.class_names == ("background", "cup", "class 2")
    assert sample_at([pair()], 0).class_names == ("background", "class 1", "class 2")


def test_a_dataset_with_names_keeps_them():
    class Named(list):
        class_names = ("background", "cup", "jug")

    found = sample_at(Named([pair()]), 0, ("background", "cat", "dog"))
    assert found.class_names == Named.class_names


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("photo.jpg", r"dataset\[1\]: expected a Sample, .* found a str"),
        ((IMAGE, [1, 2]), r"dataset\[1\]: expected a Sample, .* a tuple of Tensor, list"),
        (None, r"dataset\[1\]: expected a Sample, .* found a NoneType"),
        ((IMAGE.numpy(), pair()[1]), r"dataset\[1\]: (.|\n)*image"),
    ],
)
def test_something_else_is_refused_by_index_and_type(item, message):
    with pytest.raises(TypeError, match=message):
        entry_at([pair(), item], 1)


def test_a_wrong_target_is_refused_by_index():
    with pytest.raises(ValueError, match=r"dataset\[0\]: target\['labels'\]"):
        entry_at([(IMAGE, {"boxes": BOXES})], 0)


@pytest.mark.parametrize("image", [IMAGE.float() + 255, IMAGE.float() - 0.001])
def test_a_photo_that_leaves_the_range_of_a_model_is_taken_where_it_is_asked_for(image):
    given = [(image, pair()[1])]
    with pytest.raises(ValueError, match=r"dataset\[0\]: image: expected floating point in 0…1"):
        entry_at(given, 0)
    entry = entry_at(given, 0, any_range=True)
    assert entry.pixels is image
    assert not entry.sample.image.any()
    assert torch.equal(entry.sample.boxes, BOXES)
    assert torch.equal(outline_at(given, 0).boxes, BOXES)


def test_a_photo_in_range_is_not_told_twice():
    for image in (IMAGE, IMAGE.float() + 1):
        assert entry_at([(image, pair()[1])], 0, any_range=True).pixels is None


def test_a_photo_of_no_numbers_is_refused():
    with pytest.raises(ValueError, match="image: expected floating point in 0…1, found nan"):
        entry_at([(IMAGE.float() / 0, pair()[1])], 0, any_range=True)
