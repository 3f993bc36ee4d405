"""COCO files that are refused at once: every way in which one is wrong."""

import os

import pytest

from mrcnn_steps.data import CocoFolder
from tests.data.coco_content import HEIGHT, STAR, WIDTH, blob, compressed, content

# pycocotools 2.0.11 has not heard of the copy keyword of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


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
    with pytest.raises(FileNotFoundError, match=r"nothing\.json: found no such file"):
        CocoFolder(photos, tmp_path / "nothing.json")
    with pytest.raises(FileNotFoundError, match="found a directory, expected COCO instances"):
        CocoFolder(photos, tmp_path)


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
        ("images", 0, {"file_name": "x" * 256}, "expected names of at most 255 bytes"),
        ("images", 0, {"file_name": f"{'é' * 128}/a.png"}, "expected names of at most 255 bytes"),
        ("images", 0, {"file_name": "\udcff.png"}, "a text without halves of surrogate pairs"),
        ("categories", 1, {"name": "teddy <b>bear</b>"}, "another name than that of category 88"),
        ("categories", 1, {"name": " teddy <b>bear</b>"}, "name than that of category 88"),
        ("categories", 1, {"name": "__background__"}, "what no annotation covers is it"),
        ("categories", 1, {"name": "Background"}, "what no annotation covers is it"),
        ("annotations", 2, {"image_id": "12"}, "found '12', expected the id of an image, as a n"),
        ("annotations", 2, {"image_id": 12.0}, "found 12.0, expected the id of an image, as a w"),
        ("annotations", 2, {"segmentation": STAR}, "one more pair of brackets: [[x1, y1, x2, y2"),
        ("annotations", 2, {"segmentation": [[[5, 5], [25, 5], [25, 25]]]}, "brackets around each"),
        ("annotations", 2, {"segmentation": [[[5, 5]] * 6]}, "without brackets around each point"),
        ("annotations", 2, {"id": 2.0}, "found 2.0, expected a whole number: 2"),
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
    with pytest.raises(ValueError, match=r"image 30: found 40 objects .* need 3\.7 GiB; expected"):
        folder[0]
