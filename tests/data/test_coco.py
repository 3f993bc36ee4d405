"""COCO folders: every form of mask the format knows, boxes without masks, and the photos."""

import contextlib
import io
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch.utils.data import DataLoader

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.coco import AnnotationWarning
from tests.data.coco_content import HEIGHT, WIDTH, blob, content

# pycocotools 2.0.11 has not heard of the copy keyword of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


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
        (" nut.png ", "nut.png", "without blanks around it"),
        ("nut.jpg", "nut.png", "with another ending"),
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
