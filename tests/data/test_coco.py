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
from mrcnn_steps.data.coco import AnnotationWarning

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
            },
            {
                "id": 4,
                "image_id": 30,
                "category_id": 3,
                "iscrowd": 0,
                "segmentation": compressed(blob(1)),
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


def test_boxes_come_from_the_masks(write):
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
    assert f"{key}: found nothing, expected a list" in refusal(write, lambda c: c.pop(key))


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
        ("images", 0, {"id": 2**63}, "images[0].id: found 9223372036854775808"),
        ("annotations", 2, {"iscrowd": None}, "annotations[2] (id 2).iscrowd: found None"),
        ("annotations", 2, {"iscrowd": 2}, "annotations[2] (id 2).iscrowd: found 2"),
        ("categories", 0, {"name": 5}, "categories[0] (id 88).name: found 5, expected a text"),
        ("categories", 0, {"name": " "}, "categories[0] (id 88).name: found ' ', expected a text"),
        ("categories", 0, {"name": "\ud800"}, "a text without halves of surrogate pairs"),
        ("images", 0, {"file_name": "\udcff.png"}, "a text without halves of surrogate pairs"),
        ("categories", 1, {"name": "teddy <b>bear</b>"}, "another name than that of category 88"),
        ("categories", 1, {"name": "__background__"}, "what no annotation covers is it"),
        ("categories", 1, {"name": "Background"}, "what no annotation covers is it"),
        ("annotations", 2, {"image_id": "12"}, "found '12', expected the id of an image, as a n"),
        ("annotations", 2, {"image_id": 12.0}, "found 12.0, expected the id of an image, as a w"),
        ("annotations", 2, {"segmentation": STAR}, "one more pair of brackets: [[x1, y1, x2, y2"),
        ("annotations", 2, {"segmentation": [{"counts": []}]}, "without the brackets around them"),
    ],
)
def test_wrong_values(write, key, index, changes, expected):
    assert expected in refusal(write, lambda c: c[key][index].update(changes))


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[]],
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
        [compressed(blob(0))],
        {"size": [float(HEIGHT), float(WIDTH)], "counts": [HEIGHT * WIDTH]},
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"image_id": 1, "bbox": []}]', "a list may be detections of a model"),
        ('{"1.png9": {"filename": "1.png", "regions": []}}', "has to be exported in COCO format"),
        ('{"images": [' + "1" * 5000 + "]}", "expected numbers of a photo's size"),
    ],
)
def test_files_of_other_kinds(write, text, message):
    photos, path = write(content())
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"instances\.json: .*{message}"):
        CocoFolder(photos, path)


def test_an_outline_that_would_fill_the_memory(write):
    """1,000 times across the photo and back: 120,000 pixels are fine, 100 times as many are not."""
    zigzag = [v for i in range(1000) for v in ((-WIDTH, 0) if i % 2 else (2 * WIDTH, HEIGHT))]
    annotations = content()
    annotations["annotations"][2]["segmentation"] = [zigzag]
    assert CocoFolder(*write(annotations))[2].masks.shape == (1, HEIGHT, WIDTH)
    message = refusal(write, lambda c: c["annotations"][2].update(segmentation=[zigzag * 100]))
    assert "18,000,000 pixels of outline', expected an outline of at most 2,000,000" in message


def test_masks_that_would_fill_the_memory(write):
    """40 objects on a photo of 99 megapixels, in 4 kB: refused before a mask is drawn."""
    annotations = content()
    annotations["images"][0] |= {"width": 9999, "height": 9999}
    annotations["annotations"] = [
        {"id": i, "image_id": 30, "category_id": 3, "segmentation": {"size": [9999] * 2}}
        for i in range(40)
    ]
    for annotation in annotations["annotations"]:
        annotation["segmentation"]["counts"] = [9999 * 9999]
    photos, path = write(annotations)
    folder = CocoFolder(photos, path)
    Image.new("RGB", (9999, 9999)).save(photos / "b.png")
    with pytest.raises(ValueError, match=r"image 30: found 40 objects .* need 3\.7 GiB; expected"):
        folder[0]


# --- boxes without masks --------------------------------------------------------------------


def boxes_only(segmentation):
    annotations = content()
    for annotation, box in zip(
        annotations["annotations"],
        ([5, 5.5, 10, 20], [0, 0, 60, 40], [-1, 30, 20, 11.5], [1, 2, 3, 4], [50, 30, 10, 10]),
        strict=True,
    ):
        annotation |= {"segmentation": segmentation, "bbox": box}
    return annotations


@pytest.mark.parametrize("segmentation", [None, [], [[]]])
def test_boxes_without_masks_are_read_and_told_once(write, segmentation):
    with pytest.warns(AnnotationWarning, match="5 of 5 objects have a box and no mask") as told:
        folder = CocoFolder(*write(boxes_only(segmentation)))
    assert len(told) == 1
    assert folder[0].masks is None
    assert folder[0].boxes.tolist() == [
        [5, 5.5, 15, 25.5],
        [0, 0, 60, 40],
        [1, 2, 4, 6],
        [50, 30, 60, 40],
    ]
    assert folder[2].boxes.tolist() == [[0, 30, 19, 40]]
    with pytest.raises(ValueError, match=r"annotation 1: segmentation: found none, .*polygons"):
        folder.check_masks()


def test_one_object_without_a_mask_leaves_its_photo_without(write):
    annotations = content()
    annotations["annotations"][0] |= {"segmentation": [], "bbox": [5, 5, 10, 10]}
    with pytest.warns(AnnotationWarning, match="1 of 5 objects have a box and no mask"):
        folder = CocoFolder(*write(annotations))
    whole = CocoFolder(*write(content()))
    assert folder[0].masks is None
    assert folder[2].masks is not None
    assert torch.equal(folder[0].boxes[1:], whole[0].boxes[1:])
    whole.check_masks()


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([1, 1, 0, 5], "width and height above 0"),
        ([1, 1, 70, 5], r"a box inside the 60×40 photo as \[x, y, width, height\]$"),
        ([30, 10, 50, 30], r"not the corner \(x2, y2\)"),
        ([-3, 1, 5, 5], "a box inside the 60×40 photo"),
    ],
)
def test_boxes_that_are_no_boxes_of_their_photo(write, box, message):
    annotations = boxes_only([])
    annotations["annotations"][1]["bbox"] = box
    with pytest.raises(ValueError, match=message):
        CocoFolder(*write(annotations))


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


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_photos_that_exif_turns_unseen_are_counted_and_named(write, orientation):
    """Their size is the same either way: nobody knows on which pixels they were annotated."""
    photos, path = write(content())
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (WIDTH, HEIGHT)).save(photos / "empty.png", exif=exif)
    with pytest.warns(AnnotationWarning, match=r"EXIF turns or mirrors 1 of 3 photos.*empty\.png"):
        CocoFolder(photos, path).check_images()


def test_a_photo_annotated_as_stored_is_told(write):
    photos, path = write(content())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(photos / "b.png", exif=exif)
    for look in (CocoFolder(photos, path).check_images, lambda: CocoFolder(photos, path)[0]):
        with pytest.raises(ValueError, match=r"b\.png: found 40×60 .*as stored it has that size"):
            look()


@pytest.mark.parametrize(
    ("name", "there", "how"),
    [
        ("sub\\a.png", "sub/a.png", r"with / instead of \\"),
        ("my%20nut.png", "my nut.png", "without percent codes"),
        ("photos/b.png", "b.png", "in another folder"),
        ("sub\\b.png", "b.png", "in another folder"),
        ("e\u0301.png", "\u00e9.png", "its letters composed otherwise"),
        ("B.PNG", "b.png", "in other upper and lower case"),
    ],
)
def test_the_photo_that_is_there_is_named(write, name, there, how):
    annotations = content()
    annotations["images"][0]["file_name"] = name
    photos, path = write(annotations)
    if not (photos / there).exists():
        (photos / "b.png").rename(photos / there)
    folder = CocoFolder(photos, path)
    for look in (folder.check_images, lambda: folder[0]):
        with pytest.raises(FileNotFoundError, match=rf"{there} is there, {how}$"):
            look()


def test_loops_of_links_end(write):
    annotations = content()
    annotations["images"][1]["file_name"] = "loop/empty.png"
    photos, path = write(annotations)
    os.symlink(photos / "loop", photos / "loop")
    with pytest.raises((ValueError, OSError), match=r"empty\.png"):
        CocoFolder(photos, path).check_images()
