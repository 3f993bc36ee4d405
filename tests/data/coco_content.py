"""A small COCO file with every form of mask, for the tests of its reader."""

import numpy as np
from pycocotools import mask as coco_mask

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
