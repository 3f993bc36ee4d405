"""Samples: a photo with objects, or without; with masks, or with boxes only."""

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from mrcnn_steps.data import Sample
from mrcnn_steps.mini_masks import boxes_from_masks

NAMES = ("background", "cat", "dog")


@pytest.fixture
def no_shape_checks():
    """Let bad shapes through to our own messages; in tests the annotations would come first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def parts(**changes):
    masks = torch.zeros((2, 6, 8), dtype=torch.bool)
    masks[0, 1:3, 2:7] = True
    masks[1, 5, 0] = True
    fields = {
        "image": torch.zeros((3, 6, 8), dtype=torch.uint8),
        "boxes": boxes_from_masks(masks),
        "labels": torch.tensor([1, 2]),
        "masks": masks,
        "crowd": torch.tensor([False, True]),
        "class_names": NAMES,
        "name": "two",
    }
    return fields | changes


# --- a sample -------------------------------------------------------------------------------


def test_boxes_come_from_the_masks():
    fields = parts()
    del fields["boxes"]
    sample = Sample.from_masks(**fields)
    assert sample.boxes.tolist() == [[2, 1, 7, 3], [0, 5, 1, 6]]
    assert sample.boxes.dtype == torch.float32


def test_an_empty_mask_gives_a_zero_box():
    fields = parts(masks=torch.zeros((2, 6, 8), dtype=torch.bool))
    del fields["boxes"]
    assert Sample.from_masks(**fields).boxes.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]


def test_samples_without_objects_are_samples():
    sample = Sample(
        **parts(
            boxes=torch.zeros((0, 4)),
            labels=torch.zeros(0, dtype=torch.int64),
            masks=torch.zeros((0, 6, 8), dtype=torch.bool),
            crowd=torch.zeros(0, dtype=torch.bool),
        )
    )
    assert len(sample.labels) == 0


@pytest.mark.parametrize("field", ["image", "masks", "boxes", "labels", "crowd"])
@pytest.mark.usefixtures("no_shape_checks")
def test_a_tensor_without_dense_values_is_refused(field):
    for value in (parts()[field].to_sparse(), parts()[field].to("meta")):
        with pytest.raises(ValueError, match=f"{field}: expected a dense tensor"):
            Sample(**parts(**{field: value}))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image", torch.zeros((6, 8, 3), dtype=torch.uint8), r"image: expected \[3, H, W\]"),
        ("image", torch.zeros((3, 6, 8)), "image: expected uint8, found float32"),
        ("image", torch.zeros((3, 0, 8), dtype=torch.uint8), "image: expected at least one pixel"),
        ("image", torch.zeros((3, 6, 9), dtype=torch.uint8), r"masks: expected \[2, 6, 9\]"),
        ("boxes", torch.zeros((3, 4)), r"boxes: expected \[2, 4\], found float32 \[3, 4\]"),
        ("boxes", torch.zeros((2, 4), dtype=torch.float64), "boxes: expected float32"),
        ("boxes", torch.full((2, 4), torch.nan), "boxes: expected finite"),
        ("boxes", torch.tensor([[5.0, 0, 1, 1], [0, 0, 1, 1]]), "boxes: expected finite x1 ≤ x2"),
        ("labels", torch.tensor([0, 1]), "labels: expected 1 to 2, found 0"),
        ("labels", torch.tensor([1, 3]), "labels: expected 1 to 2, found 3"),
        ("labels", torch.tensor([1, 2], dtype=torch.int32), "labels: expected int64, found int32"),
        ("masks", torch.zeros((2, 6, 8), dtype=torch.uint8), "masks: expected bool, found uint8"),
        ("crowd", torch.tensor([False]), r"crowd: expected \[2\], found bool \[1\]"),
        ("class_names", ("cat", "dog"), r"class_names: expected 'background' first"),
    ],
)
@pytest.mark.usefixtures("no_shape_checks")
def test_fields_that_disagree_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        Sample(**parts(**{field: value}))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image", np.zeros((6, 8, 3), np.uint8), r"NumPy array, uint8 \[6, 8, 3\]; .*permute"),
        ("image", np.zeros((3, 6, 8), np.uint8), r"from_numpy\(…\) makes"),
        ("image", Image.new("L", (8, 6)), r"a PIL image, L 8×6; .*pil_to_tensor"),
        ("image", "photo.jpg", "image: expected a torch tensor, found a str"),
        (
            "boxes",
            [[0.0, 0, 1, 1]],
            r"boxes: expected a torch tensor, found a list of 1; torch\.te",
        ),
        ("labels", [1, 2], "labels: expected a torch tensor, found a list of 2"),
        ("masks", np.zeros((2, 6, 8), bool), "masks: expected a torch tensor, found a NumPy array"),
        ("crowd", (False, True), "crowd: expected a torch tensor, found a tuple of 2"),
        ("crowd", None, "crowd: expected a torch tensor, found a NoneType"),
        ("class_names", list(NAMES), "class_names: expected a tuple of texts, found a list of 3"),
        ("class_names", {0: "background"}, "class_names: expected a tuple of texts, found a dict"),
        ("class_names", ("background", 1), "class_names: expected a tuple of texts, found a tuple"),
        ("class_names", "background", "class_names: expected a tuple of texts, found a str"),
        ("name", 5, "name: expected a text, found a int"),
    ],
)
@pytest.mark.usefixtures("no_shape_checks")
def test_what_is_no_tensor_gets_an_answer_in_words(field, value, message):
    fields = parts(**{field: value})
    with pytest.raises(TypeError, match=message):
        Sample(**fields)
    del fields["boxes"]
    if field != "boxes":
        with pytest.raises(TypeError, match=message):
            Sample.from_masks(**fields)


@pytest.mark.usefixtures("no_shape_checks")
def test_a_picture_instead_of_its_path():
    with pytest.raises(TypeError, match="path: expected the path of an image file, found a PIL"):
        Sample.from_image(Image.new("RGB", (4, 4)))
    with pytest.raises(TypeError, match=r"path: expected the path .*found a NumPy array"):
        Sample.from_image(np.zeros((4, 4, 3), np.uint8))


# --- boxes only -----------------------------------------------------------------------------


def test_masks_may_be_unknown():
    boxes = torch.tensor([[1.5, 1, 4, 3], [0, 5, 1, 6]])
    sample = Sample(**parts(masks=None, boxes=boxes))
    assert sample.masks is None
    assert torch.equal(sample.boxes, boxes)


def test_boxes_are_painted_as_every_pixel_they_touch():
    """By hand: x from 1.5 to 4 touches the columns 1, 2, 3; a box of no width touches its own."""
    boxes = torch.tensor([[1.5, 1, 4, 3], [2.5, 0, 2.5, 1], [-1, 4.5, 20, 9]])
    three = {"labels": torch.ones(3, dtype=torch.int64), "crowd": torch.zeros(3, dtype=torch.bool)}
    painted = Sample(**parts(masks=None, boxes=boxes, **three)).masks_or_rectangles()
    assert painted.nonzero().tolist() == [
        *([0, y, x] for y in (1, 2) for x in (1, 2, 3)),
        [1, 0, 2],
        *([2, y, x] for y in (4, 5) for x in range(8)),
    ]


def test_masks_that_are_known_are_not_painted_over():
    sample = Sample(**parts())
    assert sample.masks_or_rectangles() is sample.masks


# --- torchvision's targets ------------------------------------------------------------------


def target(**changes):
    """What torchvision's fine-tuning tutorial makes: masks of 0 and 1, boxes, labels, crowds."""
    fields = parts()
    made = {
        "boxes": fields["boxes"],
        "labels": fields["labels"],
        "masks": fields["masks"].to(torch.uint8),
        "iscrowd": torch.tensor([0, 1]),
        "area": torch.tensor([10.0, 1.0]),
        "image_id": 7,
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def test_a_target_of_torchvision_is_a_sample():
    image = parts()["image"]
    sample = Sample.from_target(image, target(), NAMES)
    assert sample.name == "image 7"
    assert torch.equal(sample.masks, parts()["masks"])
    assert sample.boxes.tolist() == [[2, 1, 7, 3], [0, 5, 1, 6]]
    assert sample.labels.tolist() == [1, 2]
    assert sample.crowd.tolist() == [False, True]


def test_targets_as_torchvisions_own_tensors():
    from torchvision import tv_tensors

    fields = target()
    wrapped = fields | {
        "boxes": tv_tensors.BoundingBoxes(fields["boxes"], format="XYXY", canvas_size=(6, 8)),
        "masks": tv_tensors.Mask(fields["masks"]),
    }
    sample = Sample.from_target(tv_tensors.Image(parts()["image"]), wrapped, NAMES)
    for field in ("image", "boxes", "masks"):
        assert type(getattr(sample, field)) is torch.Tensor
    assert torch.equal(sample.masks, parts()["masks"])


def test_targets_without_masks_or_crowds():
    image = parts()["image"]
    boxes_only = Sample.from_target(image, target(masks=None, iscrowd=None, image_id=None), NAMES)
    assert boxes_only.masks is None
    assert boxes_only.crowd.tolist() == [False, False]
    assert boxes_only.name == "photo"
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    assert len(Sample.from_target(image, empty, NAMES).labels) == 0


def test_names_as_torchvision_writes_them():
    sample = Sample.from_target(parts()["image"], target(), ["__background__", "cat", "dog"])
    assert sample.class_names == NAMES


def test_a_picture_in_0_to_1_is_rounded_to_8_bits():
    image = torch.arange(144, dtype=torch.uint8).reshape(3, 6, 8)
    assert torch.equal(Sample.from_target(image.float() / 255, target(), NAMES).image, image)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"labels": None},
            ValueError,
            r"target\['labels'\]: expected a tensor, found only \['boxes'",
        ),
        ({"boxes": None}, ValueError, r"target\['boxes'\]: expected a tensor"),
        (
            {"labels": [1, 2]},
            TypeError,
            r"target\['labels'\]: expected a torch tensor, found a list",
        ),
        ({"labels": torch.tensor([0, 1])}, ValueError, "labels: expected 1 to 2, found 0"),
        (
            {"masks": torch.full((2, 6, 8), 7)},
            ValueError,
            r"target\['masks'\]: expected 0 and 1, found 7",
        ),
        (
            # width and height instead of the second corner
            {"boxes": torch.tensor([[2.0, 1, 5, 2], [0, 5, 1, 1]]), "masks": None},
            ValueError,
            "boxes: expected finite x1 ≤ x2",
        ),
        (
            {"boxes": torch.tensor([[2.0, 1, 4, 3], [0, 5, 1, 6]])},
            ValueError,
            r"expected \[2.0, 1.0, 7.0, 3.0\] in row 0, the box of its mask",
        ),
    ],
)
@pytest.mark.usefixtures("no_shape_checks")
def test_targets_that_are_refused(changes, kind, message):
    with pytest.raises(kind, match=message):
        Sample.from_target(parts()["image"], target(**changes), NAMES)


def test_boxes_of_another_format_are_refused():
    from torchvision import tv_tensors

    boxes = tv_tensors.BoundingBoxes(torch.ones(2, 4), format="XYWH", canvas_size=(6, 8))
    with pytest.raises(ValueError, match=r"expected \(x1, y1, x2, y2\), found XYWH"):
        Sample.from_target(parts()["image"], target(boxes=boxes), NAMES)


@pytest.mark.usefixtures("no_shape_checks")
def test_a_picture_out_of_range_and_what_is_no_target():
    image = torch.zeros(3, 6, 8)
    image[0, 0, 0] = 255
    with pytest.raises(ValueError, match=r"expected floating point in 0…1, found 0\.0 to 255\.0"):
        Sample.from_target(image, target(), NAMES)
    with pytest.raises(TypeError, match="target: expected torchvision's dict, found a list of 2"):
        Sample.from_target(parts()["image"], [1, 2], NAMES)
