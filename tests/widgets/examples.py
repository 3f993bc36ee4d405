"""What the tests of the viewer share, whether they look at it from Python or in a browser."""

import numpy as np

from mrcnn_widgets.viewer.canvas import NEGATIVE, NEUTRAL, POSITIVE, BoxLayer

NAN = float("nan")
PHOTO = np.full((120, 160, 3), 90, np.uint8)


def three_boxes(name="boxes", **options):
    boxes = [[10, 10, 150, 110], [40, 30, 120, 90], [70, 50, 90, 70]]
    options = {"groups": [NEUTRAL, NEGATIVE, POSITIVE], "group_index": [0, 1, 2], **options}
    return BoxLayer(name, boxes, **{"fields": {"score": [0.1, 0.5, 0.9]}, **options})


def anchors(count=65_472):
    """As many boxes as the teaching preset has anchors, with the fields an explorer shows."""
    generator = np.random.default_rng(0)
    corner = generator.uniform(-200, 1000, (count, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(10, 500, (count, 2))], axis=1)
    return BoxLayer(
        "anchors", boxes, groups=[NEUTRAL, NEGATIVE, POSITIVE], group_index=np.arange(count) % 3
    )


def scattered_boxes() -> np.ndarray:
    """900 boxes of any size on and beside a photo of 100 × 100, so many that they are shaded."""
    generator = np.random.default_rng(3)
    corner = generator.integers(-20, 90, (900, 2))
    return np.concatenate([corner, corner + generator.integers(1, 60, (900, 2))], axis=1)


def check_shades(painted: np.ndarray, boxes: np.ndarray) -> None:
    """Compares shades with a count of the outlines through each pixel: equal, and monotone.

    Args:
        painted: uint8 [H, W], white boxes shaded on black.
        boxes: int [N, 4], in pixels of the picture.
    """
    margin, (height, width) = 200, painted.shape
    outlines = np.zeros((height + 2 * margin, width + 2 * margin), int)
    for x1, y1, x2, y2 in boxes + margin:
        outlines[y1, x1:x2] += 1
        outlines[y2 - 1, x1:x2] += 1
        outlines[y1:y2, x1] += 1
        outlines[y1:y2, x2 - 1] += 1
    outlines = outlines[margin:-margin, margin:-margin]
    assert ((painted > 0) == (outlines > 0)).all()
    shades = [np.unique(painted[outlines == count]) for count in np.unique(outlines)]
    assert all(len(shade) == 1 for shade in shades)
    assert (np.diff(np.concatenate(shades)) >= 0).all()
