"""Coverage of 100,000 objects: faster than comparing all anchors, and in little memory."""

import torch
from torchvision.ops import box_iou

from mrcnn_steps import load_model
from mrcnn_steps.debug.coverage.fit import best_ious, lay_regular
from mrcnn_steps.debug.coverage.objects import place, read_objects
from tests.memory import peak

SCENE = """
import torch
from mrcnn_steps.data import Sample

PHOTOS, OBJECTS, SIDE = 12_500, 8, 640

def photos(count):
    image = torch.zeros((3, SIDE, SIDE), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        size = 4 * 2 ** (7 * torch.rand((OBJECTS, 2), generator=generator))
        corner = torch.rand((OBJECTS, 2), generator=generator) * (SIDE - size).clamp(min=0)
        boxes = torch.cat((corner, corner + size), dim=1)
        labels, crowd = torch.ones(OBJECTS, dtype=torch.int64), torch.zeros(OBJECTS).bool()
        yield Sample(image, boxes, labels, None, crowd, ("background", "nut"), "photo")
"""
ALL = f"""{SCENE}
from mrcnn_steps import load_model
from mrcnn_steps.debug import coverage
import time
samples = list(photos(PHOTOS))
start = time.process_time()
found = coverage(load_model("tiny"), samples)
assert time.process_time() - start < 60
assert found.advised.now is not None
assert (len(found.boxes), found.anchors) == (100_000, 65_472)
"""

exec(SCENE)

# Comparing all anchors with all objects would take minutes: measured on so many photos.
PART = 50


def test_the_best_anchors_are_found_twenty_times_as_fast_as_by_comparing_all(times_as_fast):
    model = load_model("tiny")
    like, generator = next(model.parameters()), model.rpn.anchor_generator
    placed = place(model, read_objects(list(photos(PART))))
    [anchors] = [lay_regular(grid.lay(generator, like)) for grid in placed.grids]
    expected = box_iou(placed.boxes, anchors.boxes).amax(dim=1)
    torch.testing.assert_close(
        best_ious(generator, like, placed)[0], expected, rtol=1e-5, atol=1e-7
    )

    def peer():
        for boxes in placed.boxes.split(100):
            box_iou(boxes, anchors.boxes).amax(dim=1)

    assert times_as_fast(lambda: best_ious(generator, like, placed), peer, 5) >= 20


def test_100000_objects_take_less_than_a_minute_and_a_gigabyte():
    """With positives and advice, by the processor's clock, in a process without type checks."""
    assert peak(ALL) < 1
