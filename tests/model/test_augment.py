"""Augmentation: whatever happens to the picture happens to its ground truth."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as v2

from mrcnn_steps.data import Sample
from mrcnn_steps.mini_masks import expand
from mrcnn_steps.model.augment import (
    PASTED_SCALE,
    SMALLEST_SIDE,
    Augmentation,
    Example,
    Scene,
    areas,
    augment,
    crop,
    flip,
    jitter_colors,
    paste_object,
    paste_objects,
)

CANVAS = 128
GRAY = (60, 60, 60)
# What has label k is painted in color k, so that a picture tells its own ground truth.
COLORS = torch.tensor([GRAY, (250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250)])
NAMES = ("background", "a", "b", "c", "d", "e")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photo(
    height: int, width: int, objects: list[tuple[int, int, int, int, int]], crowd: int | None = None
) -> Sample:
    """A gray photo with an ellipse for each (label, x1, y1, x2, y2); later ones cover earlier."""
    image = torch.tensor(GRAY, dtype=torch.uint8)[:, None, None].repeat(1, height, width)
    masks = torch.zeros((len(objects), height, width), dtype=torch.bool)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    for i, (label, x1, y1, x2, y2) in enumerate(objects):
        across, down = (x - (x1 + x2) / 2) / (x2 - x1), (y - (y1 + y2) / 2) / (y2 - y1)
        ellipse = across**2 + down**2 <= 0.25
        masks[:i] &= ~ellipse
        masks[i] = ellipse
        image[:, ellipse] = COLORS[label].to(torch.uint8)[:, None]
    labels = torch.tensor([each[0] for each in objects], dtype=torch.int64)
    crowds = torch.tensor([i == crowd for i in range(len(objects))], dtype=torch.bool)
    return Sample.from_masks(image, masks, labels, crowds, NAMES, "photo")


def scene_of(sample: Sample) -> Scene:
    return Scene(sample.image, sample.masks, sample.labels, sample.crowd, areas(sample.masks))


@pytest.fixture
def street() -> Sample:
    return photo(90, 120, [(1, 5, 5, 60, 50), (2, 40, 30, 110, 80), (3, 80, 4, 116, 30)])


@pytest.fixture
def shop() -> Sample:
    return photo(70, 70, [(4, 2, 2, 40, 60), (5, 38, 10, 66, 40)])


def colored(example: Example, label: int) -> Tensor:
    """The pixels of the canvas that have exactly the color of a label."""
    return (example.image == COLORS[label][:, None, None]).all(dim=0)


def core(mask: Tensor, rim: int) -> Tensor:
    """A mask without its rim, which resizing blends; the canvas may end at a rim."""
    outside = F.pad(~mask, (1, 1, 1, 1), value=True)
    return ~grown(outside, rim)[1:-1, 1:-1]


def grown(mask: Tensor, radius: int) -> Tensor:
    """A mask and everything near it."""
    return F.max_pool2d(mask[None].float(), 2 * radius + 1, 1, radius)[0] > 0


# --- the picture and its ground truth -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_masks_boxes_and_labels_are_those_of_the_picture(
    street: Sample, shop: Sample, seed: int
) -> None:
    """Pasted, flipped, enlarged or shrunk and cropped: the colors still tell the truth."""
    how = Augmentation((0.5, 1.7), color=0, paste=1)
    example = augment(street, shop, CANVAS, how, generator(seed))
    assert example.image.shape == (3, CANVAS, CANVAS)
    assert set(example.minis.unique().tolist()) <= {0, 1}
    masks = expand(example.minis.bool(), example.boxes, (CANVAS, CANVAS))
    ignored = torch.zeros((CANVAS, CANVAS), dtype=torch.bool)
    for x1, y1, x2, y2 in example.crowds.round().int().tolist():
        ignored[y1:y2, x1:x2] = True
    seen = torch.zeros((CANVAS, CANVAS), dtype=torch.bool)
    for mask, box, label in zip(masks, example.boxes, example.labels.tolist(), strict=True):
        away = (example.image.int() - COLORS[label][:, None, None]).abs().amax(dim=0)
        # The shop's objects are pasted: enlarged twice, and blended with what was around them.
        rim = 5 if label in shop.labels else 3
        assert (away[core(mask, rim)] < 6).all()
        x1, y1, x2, y2 = box.tolist()
        rows, columns = torch.where(colored(example, label) & ~grown(ignored, 2))
        # Enlarging blurs the rim, so the color begins up to two pixels inside the box.
        assert columns.min() >= x1 - 1
        assert columns.max() < x2 + 1
        assert rows.min() >= y1 - 1
        assert rows.max() < y2 + 1
        seen |= grown(mask, 3)
    for label in range(1, 6):
        assert not (colored(example, label) & ~seen & ~grown(ignored, 2)).any(), "left out"


def test_the_seed_alone_decides(street: Sample, shop: Sample) -> None:
    first, again, other = (
        augment(street, shop, CANVAS, Augmentation(), generator(seed)) for seed in (3, 3, 4)
    )
    for field in fields(Example):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name)), field.name
    assert not torch.equal(first.image, other.image)


def test_the_photo_itself_is_left_alone(street: Sample, shop: Sample) -> None:
    before = [street.image.clone(), street.masks.clone(), shop.image.clone(), shop.masks.clone()]
    for seed in range(5):
        augment(street, shop, CANVAS, Augmentation(), generator(seed))
    after = [street.image, street.masks, shop.image, shop.masks]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_photo_without_objects(shop: Sample) -> None:
    empty = photo(50, 80, [])
    example = augment(empty, None, CANVAS, Augmentation(), generator(0))
    assert example.boxes.shape == (0, 4)
    assert example.minis.shape[0] == 0
    assert example.crowds.shape == (0, 4)
    assert len(paste_objects(scene_of(shop), empty, generator(0)).labels) == 2


# --- flip -----------------------------------------------------------------------------------------


def test_flip_mirrors_image_and_masks(street: Sample) -> None:
    flipped = flip(scene_of(street))
    assert torch.equal(flipped.image, street.image[:, :, range(119, -1, -1)])
    assert torch.equal(flipped.masks, street.masks[:, :, range(119, -1, -1)])
    assert type(flipped.image) is Tensor


def test_half_of_the_pictures_are_flipped() -> None:
    left = photo(100, 100, [(1, 0, 30, 40, 70)])
    how = Augmentation((1, 1), color=0, paste=0)
    flips = [
        augment(left, None, CANVAS, how, generator(seed)).boxes[0, 0].item() > 0
        for seed in range(60)
    ]
    assert 18 <= sum(flips) <= 42


# --- crop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(100, 100), (90, 120), (120, 90)])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.6])
def test_crop_agrees_with_torchvision_on_boxes(size: tuple[int, int], scale: float) -> None:
    """torchvision moves boxes by arithmetic; ours are found again in the moved masks."""
    height, width = size
    sample = photo(height, width, [(1, 30, 30, 60, 70)])
    for seed in range(5):
        example = crop(scene_of(sample), scale, CANVAS, generator(seed))
        side = round(max(size) / scale)
        chance = generator(seed)
        left, top = (
            round(min(0, n - side) + abs(n - side) * torch.rand((), generator=chance).item())
            for n in (width, height)
        )
        box = tv_tensors.BoundingBoxes(sample.boxes, format="XYXY", canvas_size=size)
        expected = v2.resize(v2.crop(box, top, left, side, side), [CANVAS, CANVAS])
        expected = v2.clamp_bounding_boxes(expected).as_subclass(Tensor)
        found = torch.cat((example.boxes, example.crowds))
        assert len(found) == 1
        # Of an ellipse that is cut, the box may be smaller than the cut box.
        whole = (expected[0, 2:] - expected[0, :2]).allclose(
            torch.tensor([30.0, 40.0]) * CANVAS / side, atol=1e-3
        )
        if whole:
            torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
        else:
            assert (found[0, :2] >= expected[0, :2] - 1e-3).all()
            assert (found[0, 2:] <= expected[0, 2:] + 1e-3).all()


def test_a_small_photo_stands_on_black() -> None:
    """Scale 0.5: the photo takes a quarter of the canvas, the rest is 0."""
    example = crop(scene_of(photo(60, 60, [(1, 10, 10, 50, 50)])), 0.5, 120, generator(0))
    gray = (example.image == 60).all(dim=0)
    black = (example.image == 0).all(dim=0)
    assert abs(int(black.sum()) - 3 * 60 * 60) < 4 * 60 * 2
    assert gray.any()
    sides = example.boxes[0, 2:] - example.boxes[0, :2]
    assert sides.tolist() == [40, 40]


def test_a_part_of_the_photo_is_enlarged() -> None:
    sample = photo(100, 100, [(1, 20, 20, 80, 80)])
    example = crop(scene_of(sample), 2.0, 100, generator(0))
    assert not (example.image == 0).all(dim=0).any(), "no black"
    visible = expand(example.minis.bool(), example.boxes, (100, 100)).sum()
    # An ellipse of a diameter of 60 is 2827 pixels; enlarged twice 11,310, of which 10,000 fit.
    assert 3000 < visible < 10_000


# --- what is neither object nor background --------------------------------------------------------


def test_crowds_and_specks_are_ignored() -> None:
    """By hand, at a canvas of the photo's size: sides of 7 and 9 pixels, and a crowd."""
    assert SMALLEST_SIDE == 8
    sample = photo(100, 100, [(1, 5, 5, 12, 40), (2, 20, 20, 29, 40), (3, 50, 50, 90, 90)], crowd=2)
    example = crop(scene_of(sample), 1.0, 100, generator(0))
    assert example.labels.tolist() == [2]
    assert example.boxes.tolist() == [[20, 20, 29, 40]]
    assert example.crowds.tolist() == [[5, 5, 12, 40], [50, 50, 90, 90]]
    larger = crop(scene_of(sample), 1.0, 200, generator(0))
    assert larger.labels.tolist() == [1, 2], "7 pixels are 14 on a canvas twice as large"


def test_what_is_nearly_cut_off_is_ignored_and_what_is_gone_is_gone() -> None:
    """Of the full area 14 % and 16 % are left, then none."""
    masks = torch.zeros((3, 100, 100), dtype=torch.bool)
    masks[0, :14, :40] = masks[1, 20:36, :40] = True
    full = torch.tensor([100.0 * 40, 100.0 * 40, 50.0])
    image = torch.zeros((3, 100, 100), dtype=torch.uint8)
    scene = Scene(image, masks, torch.tensor([1, 2, 3]), torch.zeros(3, dtype=torch.bool), full)
    example = crop(scene, 1.0, 100, generator(0))
    assert example.labels.tolist() == [2]
    assert example.crowds.tolist() == [[0, 0, 40, 14]]


# --- pasting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_pasted_object_covers_what_is_behind_it(street: Sample, shop: Sample, seed: int) -> None:
    pasted = paste_object(scene_of(street), shop, 0, generator(seed))
    new = pasted.masks[-1]
    assert pasted.labels.tolist() == [1, 2, 3, 4]
    assert pasted.crowd.tolist() == [False] * 4
    assert torch.equal(pasted.masks[:3], street.masks & ~new)
    assert torch.equal(pasted.image[:, ~new], street.image[:, ~new]), "nothing but the object"
    inside = ~grown(~new, 2)
    if inside.any():
        assert (pasted.image[:, inside] == COLORS[4][:, None]).all()
    assert (pasted.full_area[3] >= new.sum()).all(), "part of it may lie outside"
    assert torch.equal(pasted.full_area[:3], areas(street.masks))


def test_pasted_objects_are_as_often_shrunk_as_enlarged(shop: Sample) -> None:
    wide = scene_of(photo(400, 400, []))
    own = shop.masks[1].sum()
    factors = torch.stack(
        [paste_object(wide, shop, 1, generator(seed)).full_area[-1] / own for seed in range(60)]
    ).sqrt()
    assert factors.min() == pytest.approx(PASTED_SCALE[0], rel=0.1)
    assert factors.max() == pytest.approx(PASTED_SCALE[1], rel=0.1)
    assert 0.35 < (factors < 1).float().mean() < 0.65


def test_one_to_three_objects_are_pasted(street: Sample) -> None:
    many = photo(100, 100, [(k % 5 + 1, 20 * k, 10, 20 * k + 18, 90) for k in range(5)])
    counts = [
        len(paste_objects(scene_of(street), many, generator(seed)).labels) - 3 for seed in range(30)
    ]
    assert set(counts) == {1, 2, 3}


def test_crowds_and_specks_are_not_pasted(street: Sample) -> None:
    source = photo(100, 100, [(4, 0, 0, 60, 60), (5, 70, 70, 85, 99)], crowd=0)
    for seed in range(5):
        assert len(paste_objects(scene_of(street), source, generator(seed)).labels) == 3


# --- colors ---------------------------------------------------------------------------------------


def test_colors_change_within_bounds(street: Sample) -> None:
    assert torch.equal(jitter_colors(street.image, 0.0, generator(0)), street.image)
    gray = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    levels = [jitter_colors(gray, 0.4, generator(seed))[0, 0, 0].item() for seed in range(50)]
    # Gray has neither contrast nor saturation: only the brightness moves it, by up to 40 %.
    # Each of the three changes may round down.
    assert 57 <= min(levels) < 75
    assert 125 < max(levels) <= 141
