"""What the tests of the viewer share, whether they look at it from Python or in a browser."""

import numpy as np


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
