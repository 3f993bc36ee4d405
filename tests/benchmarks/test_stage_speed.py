"""The stages against the plainest way to do the same."""

import numpy as np
import pytest
import torch
from skimage.transform import resize
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou
from torchvision.transforms.v2 import functional as TF

from mrcnn_steps.anchors import pyramid
from mrcnn_steps.data import letterbox
from mrcnn_steps.mini_masks import boxes_from_masks, expand, shrink
from mrcnn_steps.rpn_targets import match

SIZE, COUNT = 1024, 100


@pytest.fixture(scope="module")
def boxes(random_boxes):
    """A crowded photo: sides from 16 to 500 pixels, small ones more often than large ones."""
    return random_boxes(COUNT, (SIZE, SIZE), sides=(16, 500)).round()


@pytest.fixture(scope="module")
def masks(boxes):
    """A hundred ellipses, each as large as its box."""
    x = torch.arange(SIZE) + 0.5
    masks = torch.zeros(COUNT, SIZE, SIZE, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.tolist(), strict=True):
        across = ((x - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2
        down = ((x - (y1 + y2) / 2) / ((y2 - y1) / 2)) ** 2
        mask |= down[:, None] + across <= 1
    return masks


@pytest.fixture(scope="module")
def arrays(masks):
    """The masks as the notes keep them: [height, width, instances]."""
    return np.ascontiguousarray(masks.permute(1, 2, 0).numpy())


@pytest.fixture(scope="module")
def mini_masks(masks, boxes):
    return shrink(masks, boxes)


@pytest.fixture(scope="module")
def small_arrays(mini_masks):
    return np.ascontiguousarray(mini_masks.permute(1, 2, 0).numpy())


# --- the notes' loops -----------------------------------------------------------------------


def loop_boxes(arrays):
    boxes = np.zeros((arrays.shape[-1], 4), dtype=np.int32)
    for i in range(arrays.shape[-1]):
        mask = arrays[:, :, i]
        columns = np.where(np.any(mask, axis=0))[0]
        rows = np.where(np.any(mask, axis=1))[0]
        if columns.shape[0]:
            boxes[i] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def resized(mask, size):
    return np.around(resize(mask.astype(float), size, order=1, mode="constant")).astype(bool)


def loop_shrink(arrays, boxes):
    mini_masks = np.zeros((56, 56, arrays.shape[-1]), dtype=bool)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        mask = arrays[:, :, i].astype(bool)
        mini_masks[:, :, i] = resized(mask[y1:y2, x1:x2], (56, 56))
    return mini_masks


def loop_expand(mini_masks, boxes):
    arrays = np.zeros((SIZE, SIZE, mini_masks.shape[-1]), dtype=bool)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        arrays[y1:y2, x1:x2, i] = resized(mini_masks[:, :, i], (y2 - y1, x2 - x1))
    return arrays


# --- twenty times as fast -------------------------------------------------------------------


def test_boxes_from_masks(times_as_fast, masks, arrays):
    assert np.array_equal(boxes_from_masks(masks).numpy(), loop_boxes(arrays))
    assert times_as_fast(lambda: boxes_from_masks(masks), lambda: loop_boxes(arrays), 5) >= 20


def test_shrink(times_as_fast, masks, arrays, boxes):
    whole = boxes.int().numpy()
    same = shrink(masks, boxes).permute(1, 2, 0).numpy() == loop_shrink(arrays, whole)
    assert same.mean() > 0.98
    assert times_as_fast(lambda: shrink(masks, boxes), lambda: loop_shrink(arrays, whole), 5) >= 20


def test_expand(times_as_fast, mini_masks, small_arrays, boxes):
    """Half of ours is the operating system zeroing 100 MB; the loop only has to fill the boxes."""
    whole = boxes.int().numpy()
    expanded = expand(mini_masks, boxes, (SIZE, SIZE)).permute(1, 2, 0).numpy()
    assert (expanded == loop_expand(small_arrays, whole)).mean() > 0.998
    ratio = times_as_fast(
        lambda: expand(mini_masks, boxes, (SIZE, SIZE)), lambda: loop_expand(small_arrays, whole), 5
    )
    assert ratio >= 2


def test_the_stage_as_a_whole(times_as_fast, masks, arrays):
    def ours():
        boxes = boxes_from_masks(masks)
        return expand(shrink(masks, boxes), boxes, (SIZE, SIZE))

    def peer():
        boxes = loop_boxes(arrays)
        return loop_expand(loop_shrink(arrays, boxes), boxes)

    assert times_as_fast(ours, peer, 5) >= 20


def test_a_hundred_megabytes_become_a_third_of_one(masks, mini_masks):
    assert masks.nbytes == 100 * 2**20
    assert mini_masks.nbytes == 313_600


# --- the others -----------------------------------------------------------------------------


def test_matching_65472_anchors_with_fifty_objects(times_as_fast, random_boxes):
    anchors = pyramid(SIZE, anchor_stride=2).boxes
    objects = random_boxes(50, (SIZE, SIZE), seed=1, sides=(16, 500))
    matcher = Matcher(0.7, 0.3, allow_low_quality_matches=True)

    def peer():
        return matcher(box_iou(objects, anchors))

    assert torch.equal(match(anchors, objects).labels == 1, peer() >= 0)
    assert times_as_fast(lambda: match(anchors, objects), peer, 25) >= 2


def test_letterbox(times_as_fast):
    """As fast as torchvision's own resize and pad, on a photo as `read_image` gives it."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1500, 2000, 3), generator=generator, dtype=torch.uint8)
    image = pixels.permute(2, 0, 1)

    def peer():
        return TF.pad(TF.resize(image, [768, 1024]), [0, 128, 0, 128])

    difference = letterbox(image, SIZE).image.int() - peer().int()
    assert difference.abs().max() <= 1
    assert times_as_fast(lambda: letterbox(image, SIZE), peer, 25) >= 0.9
