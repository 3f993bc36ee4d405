"""COCO folders: every form of mask the format knows, and every way in which a file is wrong."""

import contextlib
import io
import json
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from torch.utils.data import DataLoader

from mrcnn_steps.data import CocoFolder

# pycocotools 2.0.11 has not heard of the copy keyword of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEIGHT, WIDTH = 40, 60
STAR = [30.2, 2.5, 36.0, 15.0, 52.5, 15.0, 39.1, 23.3, 44.0, 38.0, 30.0, 28.7, 15.5, 38.1, 21, 24]
TRIANGLES = [[1, 1, 12, 1, 1, 12.5], [59.5, 39.5, 48, 39.5, 59.5, 30]]


def blob(seed):
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    x, y = np.random.default_rng(seed).uniform((20, 10), (40, 30))
    return ((columns - x) ** 2 / 200 + (rows - y) ** 2 / 60 < 1).astype(np.uint8)


def uncompressed(mask):
    """Run lengths down the columns, zeros first: written here, independent of pycocotools."""
    counts, value, length = [], 0, 0
    for pixel in mask.flatten(order="F").tolist():
        if pixel != value:
            counts.append(length)
            value, length = pixel, 0
        length += 1
    return {"size": list(mask.shape), "counts": [*counts, length]}


def compressed(mask):
    encoded = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def content():
    """Three photos: every form of mask; nothing; one object. Ids leave gaps and are unordered."""
    return {
        "images": [
            {"id": 30, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
            {"id": 7, "file_name": "empty.png", "width": WIDTH, "height": HEIGHT},
            {
                "id": 12,
                "file_name": "sub/a.png",
                "width": WIDTH,
                "height": HEIGHT,
                "labelled_category_ids": [88, 3],
            },
        ],
        "annotations": [
            {"id": 1, "image_id": 30, "category_id": 88, "iscrowd": 0, "segmentation": [STAR]},
            {"id": 5, "image_id": 30, "category_id": 3, "iscrowd": 0, "segmentation": TRIANGLES},
            {"id": 2, "image_id": 12, "category_id": 17, "segmentation": [STAR]},
            {
                "id": 3,
                "image_id": 30,
                "category_id": 17,
                "iscrowd": 1,
                "segmentation": uncompressed(blob(0)),
                "bbox": [0, 0, 1, 1],
            },
            {
                "id": 4,
                "image_id": 30,
                "category_id": 3,
                "iscrowd": 0,
                "segmentation": compressed(blob(1)),
                "bbox": [3, 3, 2, 2],
            },
        ],
        "categories": [
            {"id": 88, "name": "teddy <b>bear</b>"},
            {"id": 3, "name": "car"},
            {"id": 17, "name": "cat"},
        ],
    }


@pytest.fixture
def write(tmp_path):
    """Write a COCO file and its photos; returns what `CocoFolder` takes."""

    def write(annotations):
        photos = tmp_path / "photos"
        (photos / "sub").mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(("b.png", "empty.png", "sub/a.png")):
            Image.new("RGB", (WIDTH, HEIGHT), (i, 0, 0)).save(photos / name)
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(annotations))
        return photos, path

    return write


# --- what is read ---------------------------------------------------------------------------


def test_a_folder_is_a_dataset_in_the_order_of_the_file(write):
    folder = CocoFolder(*write(content()))
    assert len(folder) == 3
    assert folder.image_ids == (30, 7, 12)
    assert [sample.name for sample in folder] == ["b", "empty", "a"]
    assert [int(sample.image[0, 0, 0]) for sample in folder] == [0, 1, 2]
    assert folder.by_image_id(12).name == "a"
    assert folder.image_path(2).is_file()
    with pytest.raises(IndexError):
        folder[3]
    with pytest.raises(KeyError, match="no image of id 5"):
        folder.by_image_id(5)


def test_labels_count_the_categories_by_id(write):
    folder = CocoFolder(*write(content()))
    assert folder.category_ids == (3, 17, 88)
    assert folder.class_names == ("background", "car", "cat", "teddy <b>bear</b>")
    assert folder[0].labels.tolist() == [3, 1, 2, 1]
    assert folder[0].class_names == folder.class_names


def test_every_form_of_mask_is_what_pycocotools_makes_of_it(write):
    photos, path = write(content())
    sample = CocoFolder(photos, path)[0]
    with contextlib.redirect_stdout(io.StringIO()):
        peer = COCO(path)
    expected = [peer.annToMask(peer.anns[i]) for i in (1, 5, 3, 4)]
    assert np.array_equal(sample.masks.numpy(), np.array(expected))
    assert all(mask.any() for mask in expected)


def test_run_lengths_are_the_mask_they_encode(write):
    sample = CocoFolder(*write(content()))[0]
    assert np.array_equal(sample.masks[2].numpy(), blob(0))
    assert np.array_equal(sample.masks[3].numpy(), blob(1))


def test_crowds_are_marked_and_absent_flags_mean_no_crowd(write):
    folder = CocoFolder(*write(content()))
    assert folder[0].crowd.tolist() == [False, False, True, False]
    assert folder[2].crowd.tolist() == [False]


def test_boxes_come_from_the_masks_and_not_from_the_file(write):
    sample = CocoFolder(*write(content()))[0]
    for mask, box in zip(sample.masks.numpy(), sample.boxes.tolist(), strict=True):
        rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        assert box == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_a_photo_without_objects_is_a_sample_without_objects(write):
    sample = CocoFolder(*write(content()))[1]
    assert sample.boxes.shape == (0, 4)
    assert sample.masks.shape == (0, HEIGHT, WIDTH)
    assert sample.labels.dtype == torch.int64


def test_a_polygon_thinner_than_a_pixel_gives_an_empty_mask_and_a_zero_box(write):
    annotations = content()
    annotations["annotations"][2]["segmentation"] = [[5, 5, 5.2, 5, 5.1, 5.1]]
    sample = CocoFolder(*write(annotations))[2]
    assert not sample.masks.any()
    assert sample.boxes.tolist() == [[0, 0, 0, 0]]


def test_polygons_may_leave_the_photo_a_little(write):
    annotations = content()
    annotations["annotations"][2]["segmentation"] = [[-3, -3, WIDTH + 3, -3, WIDTH + 3, 50, -3, 50]]
    assert CocoFolder(*write(annotations))[2].masks.all()


def test_exhaustively_labeled_classes(write):
    folder = CocoFolder(*write(content()))
    assert folder.labelled_labels(0) is None
    assert folder.labelled_labels(2) == frozenset({1, 3})


def test_labels_of_a_photo_are_known_without_opening_it(write):
    photos, path = write(content())
    folder = CocoFolder(photos, path)
    (photos / "b.png").unlink()
    assert folder.labels_present(0) == frozenset({1, 3})  # the cats are a crowd
    assert folder.labels_present(1) == frozenset()


def test_reading_is_quiet(write, capsys):
    folder = CocoFolder(*write(content()))
    assert folder[0].masks.any()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def same(samples):
    return samples[0]


def test_workers_of_a_data_loader_read_the_same(write):
    folder = CocoFolder(*write(content()))
    again = pickle.loads(pickle.dumps(folder))
    loader = DataLoader(folder, batch_size=1, num_workers=2, collate_fn=same)
    for sample, copied, loaded in zip(folder, again, loader, strict=True):
        assert torch.equal(sample.masks, copied.masks)
        assert torch.equal(sample.masks, loaded.masks)
        assert torch.equal(sample.image, loaded.image)


# --- what is refused, at once ---------------------------------------------------------------


def refusal(write, change):
    """Change one thing in a good file; return the message with which it is refused."""
    annotations = content()
    change(annotations)
    photos, path = write(annotations)
    with pytest.raises(ValueError, match="expected") as caught:
        CocoFolder(photos, path)
    assert str(path) in str(caught.value)
    assert "found" in str(caught.value)
    return str(caught.value)


def test_missing_folder_and_missing_file(write, tmp_path):
    photos, path = write(content())
    with pytest.raises(FileNotFoundError, match="nowhere"):
        CocoFolder(tmp_path / "nowhere", path)
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        CocoFolder(photos, tmp_path / "nothing.json")


@pytest.mark.parametrize("text", ["", "[1, 2", "not json", "[" * 100_000, "\udcff", "[]", "7"])
def test_what_is_no_json_object(write, text):
    photos, path = write(content())
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"instances\.json: .*found .*expected"):
        CocoFolder(photos, path)


def test_a_file_cut_in_half(write):
    photos, path = write(content())
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"instances\.json: found .*expected complete JSON"):
        CocoFolder(photos, path)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_missing_lists(write, key):
    assert f"{key}: found None, expected a list" in refusal(write, lambda c: c.pop(key))


@pytest.mark.parametrize(
    ("key", "field"),
    [
        *(("images", field) for field in ("id", "file_name", "width", "height")),
        *(("annotations", field) for field in ("id", "image_id", "category_id")),
        *(("categories", field) for field in ("id", "name")),
    ],
)
def test_missing_fields(write, key, field):
    message = refusal(write, lambda c: c[key][1].pop(field))
    assert f"{key}[1]" in message
    assert f".{field}: found nothing" in message


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_repeated_ids(write, key):
    message = refusal(write, lambda c: c[key][1].update(id=c[key][0]["id"]))
    assert f"{key}[1].id: found" in message
    assert "no other record" in message


@pytest.mark.parametrize(
    ("key", "index", "changes", "expected"),
    [
        ("images", 0, {"id": "30"}, "images[0].id: found '30', expected a whole number"),
        ("images", 0, {"id": True}, "images[0].id: found True"),
        ("images", 0, {"width": 0}, "images[0] (id 30).width: found 0, expected at least 1"),
        ("images", 0, {"width": 10**9}, "width and height: found '1000000000×40'"),
        ("images", 2, {"labelled_category_ids": [3, 4]}, "labelled_category_ids: found 4"),
        ("images", 2, {"labelled_category_ids": 3}, "labelled_category_ids: found 3"),
        ("annotations", 2, {"image_id": 99}, "annotations[2] (id 2).image_id: found 99"),
        ("annotations", 2, {"category_id": 1}, "annotations[2] (id 2).category_id: found 1"),
        ("annotations", 2, {"iscrowd": 2}, "annotations[2] (id 2).iscrowd: found 2"),
        ("categories", 0, {"name": 5}, "categories[0] (id 88).name: found 5, expected a text"),
    ],
)
def test_wrong_values(write, key, index, changes, expected):
    assert expected in refusal(write, lambda c: c[key][index].update(changes))


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        "polygon",
        [[1, 1, 5, 5]],
        [[1, 1, 5, 5, 9]],
        [[1, 1, 5, 5, 9, 1, 3]],
        [STAR, [4, 4]],
        [1, 1, 5, 5, 9, 1],
        [[1, 1, 5, 5, 9, "1"]],
        [[1, 1, 5, 5, 9, float("nan")]],
        [[1, 1, 5, 5, 9, float("inf")]],
        [[1, 1, 5, 5, 9, 1e12]],
        {},
        {"size": [WIDTH, HEIGHT], "counts": [HEIGHT * WIDTH]},
        {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH - 1]},
        {"size": [HEIGHT, WIDTH], "counts": [-1, HEIGHT * WIDTH + 1]},
        {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH + 0.0]},
        {"size": [HEIGHT, WIDTH], "counts": compressed(blob(0))["counts"][:-1]},
        {"size": [HEIGHT, WIDTH], "counts": compressed(blob(0))["counts"] + "1"},
        {"size": [HEIGHT, WIDTH], "counts": "\x00é"},
        {"size": [HEIGHT, WIDTH], "counts": "o" * 100},
        {"size": [HEIGHT, WIDTH], "counts": ""},
    ],
)
def test_segmentations_that_are_no_mask_of_their_photo(write, segmentation):
    message = refusal(write, lambda c: c["annotations"][2].update(segmentation=segmentation))
    assert "annotations[2] (id 2).segmentation" in message


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../secret.png", "sub/../../secret.png", "..", "", "link/secret.png", "a\0b"],
)
def test_file_names_that_leave_the_folder(write, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    photos, _ = write(content())
    os.symlink(outside, photos / "link")
    message = refusal(write, lambda c: c["images"][1].update(file_name=name))
    assert "images[1] (id 7).file_name" in message


def test_a_folder_may_itself_be_a_link_and_names_may_have_inner_dots(write, tmp_path):
    annotations = content()
    annotations["images"][0]["file_name"] = "sub/../b.png"
    photos, path = write(annotations)
    os.symlink(photos, tmp_path / "alias")
    assert CocoFolder(tmp_path / "alias", path)[0].name == "b"


# --- photos that do not fit -----------------------------------------------------------------


def test_missing_photos_are_counted_before_the_work_begins(write):
    photos, path = write(content())
    folder = CocoFolder(photos, path)
    folder.check_images()
    (photos / "empty.png").unlink()
    (photos / "sub" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 3 photos are missing: .*empty\.png"):
        folder.check_images()
    with pytest.raises(FileNotFoundError, match=r"empty\.png: no such file"):
        folder[1]


def test_a_photo_of_another_size_is_refused(write):
    photos, path = write(content())
    Image.new("RGB", (HEIGHT, WIDTH)).save(photos / "b.png")
    with pytest.raises(ValueError, match=r"b\.png: found 40×60 pixels .*expected 60×40 as .*30"):
        CocoFolder(photos, path)[0]
