"""Mistakes of datasets that give pairs or samples, made once each."""

from pathlib import Path

import pytest
import torch

from mrcnn_steps import Sample
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.preflight import preflight
from mrcnn_steps.debug.preflight.codes import CODES
from tests.debug.preflight import test_coco_codes, test_model_codes
from tests.debug.preflight.drawn import HEIGHT, WIDTH, Pairs, pairs, write


def changed(change):
    """The pairs with one thing changed in the first."""
    made = pairs()
    image, target = made[0]
    replaced = change(image, target)
    if replaced is not None:
        made[0] = replaced
    return made


def sizes(image, target):
    boxes = target["boxes"]
    target["boxes"] = torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), dim=1)


def without_masks(change):
    def both(image, target):
        del target["masks"]
        return change(image, target)

    return both


def box(*corners):
    def change(image, target):
        target["boxes"][0] = torch.tensor(corners)

    return without_masks(change)


def field(name, value):
    def change(image, target):
        target[name] = value

    return change


def label_zero(image, target):
    target["labels"][0] = 0


def turned(image, target):
    target["masks"] = target["masks"].transpose(1, 2)


def emptied(image, target):
    target["masks"][0] = 0
    target["boxes"][0] = 0


def normalized(image, target):
    target["boxes"] /= torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])


def moved(image, target):
    target["boxes"][0] += 9


def twin(image, target):
    for key in ("boxes", "labels", "masks"):
        target[key] = torch.cat((target[key], target[key][:1]))


MISTAKES = [
    ("label_zero", label_zero),
    ("bbox_sizes", sizes),
    ("bbox_sizes", without_masks(sizes)),
    ("bbox_normalized", without_masks(normalized)),
    ("bbox_normalized", normalized),
    ("bbox_without_area", box(38, 34, 8, 10)),
    ("bbox_without_area", box(8, 10, 8, 34)),
    ("bbox_outside", box(8, 10, 138, 34)),
    ("bbox_not_of_mask", moved),
    ("segmentation_swapped", turned),
    ("mask_empty", emptied),
    ("objects_alike", twin),
    ("target_invalid", field("boxes", "none")),
    ("target_invalid", field("boxes", torch.full((2, 4), float("nan")))),
    ("target_invalid", field("labels", torch.ones(7, dtype=torch.int64))),
    ("target_invalid", field("masks", torch.ones(2, 5, 5))),
    ("target_invalid", lambda image, target: (image, target["boxes"])),
    ("target_invalid", lambda image, target: (None, target)),
    ("target_invalid", lambda image, target: image),
    ("target_invalid", lambda image, target: 7),
]


@pytest.mark.parametrize(("code", "change"), MISTAKES)
def test_a_mistake_of_a_pair_is_named(code, change):
    findings = preflight(changed(change))
    serious = [each for each in findings if each.level != "note"]
    assert [each.code for each in serious] == [code]
    # What is no pair has no id but its index.
    assert set(serious[0].image_ids) <= {0, 1}
    assert len(serious[0].image_ids) == 1


def test_boxes_are_counted_and_named_by_their_rows():
    [found] = [each for each in preflight(changed(sizes)) if each.level == "error"]
    assert found.sentence == (
        "Found 2 boxes given as x, y, width, height where corners are expected: image 1, "
        "[8.0, 10.0, 30.0, 24.0], of a mask with the box [8.0, 10.0, 38.0, 34.0]."
    )
    assert (found.image_ids, found.annotation_ids) == ((1,), (0, 1))


def test_a_dataset_that_raises_is_a_finding_of_that_photo_alone():
    class Broken(Pairs):
        def __getitem__(self, index):
            if index == 1:
                raise RuntimeError("the disk is gone\nTraceback")
            return super().__getitem__(index)

    [found] = preflight(Broken(pairs()))
    assert (found.code, found.image_ids) == ("target_invalid", (1,))
    assert "dataset[1]: RuntimeError: the disk is gone." in found.sentence


def test_boxes_of_a_sample_are_looked_at_too():
    sample = Sample.from_target(*pairs()[0], Pairs.class_names)
    outside = Sample(
        sample.image,
        sample.boxes + torch.tensor([0, 0, 200, 0]),
        sample.labels,
        None,
        sample.crowd,
        sample.class_names,
        "photo",
    )
    assert preflight([sample]) == ()
    assert [each.code for each in preflight([outside])] == ["bbox_outside"]


def test_the_same_pixels_twice_and_in_the_validation_data():
    made = pairs()
    assert [each.code for each in preflight([*made, made[0]])] == []
    again = Pairs([*made, (made[0][0], made[1][1] | {"image_id": 9})])
    [found] = preflight(again)
    assert (found.code, found.image_ids) == ("photo_twice", (1, 9))
    [found] = preflight(made, None, Pairs(made[1:2]))
    assert (found.code, found.image_ids) == ("photo_in_validation", (2,))


def test_files_and_pairs_are_compared_by_their_pixels(tmp_path):
    folder = CocoFolder(*write(tmp_path))
    for dataset, validation in ((folder, Pairs(pairs()[1:2])), (Pairs(pairs()[1:2]), folder)):
        [found] = [f for f in preflight(dataset, None, validation) if f.level != "note"]
        assert (found.code, found.image_ids) == ("photo_in_validation", (2,))


def test_every_code_is_planted_somewhere():
    planted = {code for code, *_ in test_coco_codes.MISTAKES} | {code for code, _ in MISTAKES}
    # Those of tests with a name of their own.
    text = "".join(Path(each.__file__).read_text() for each in (test_coco_codes, test_model_codes))
    assert {code for code in CODES if code not in planted and f'"{code}"' not in text} == set()
