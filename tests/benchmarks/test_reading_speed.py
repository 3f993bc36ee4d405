"""Reading and checking 90,000 annotations takes little longer than pycocotools' reading alone."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

from mrcnn_steps.data import CocoFolder

PHOTOS, OBJECTS, WIDTH, HEIGHT = 11_250, 90_000, 640, 480


def write(path: Path) -> None:
    """Outlines of 8 to 39 points with two decimals, and one crowd in a hundred, as COCO has."""
    generator = np.random.default_rng(0)
    images = [
        {"id": i, "file_name": f"{i:012d}.jpg", "width": WIDTH, "height": HEIGHT}
        for i in range(PHOTOS)
    ]
    make = [outlined] * 99 + [crowd]
    annotations = [
        {"id": i, "image_id": i % PHOTOS, "category_id": 1} | make[i % 100](generator)
        for i in range(OBJECTS)
    ]
    categories = [{"id": 1, "name": "nut"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))


def outlined(generator: np.random.Generator) -> dict:
    radius = generator.uniform(5, 90, 2)
    center = generator.uniform(radius, (WIDTH, HEIGHT) - radius)
    angle = np.linspace(0, 2 * np.pi, generator.integers(8, 40), endpoint=False)
    points = (center + radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)).round(2)
    x, y = points.T
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    low, sides = points.min(axis=0), np.ptp(points, axis=0)
    bbox = np.concatenate((low, sides)).round(2).tolist()
    return {
        "iscrowd": 0,
        "bbox": bbox,
        "area": round(area, 4),
        "segmentation": [points.flatten().tolist()],
    }


def crowd(generator: np.random.Generator) -> dict:
    """A rectangle as run lengths, column by column."""
    left, top = (int(side) for side in generator.integers(1, 200, 2))
    width, height = (int(side) for side in generator.integers(20, 200, 2))
    between = [height, HEIGHT - height]
    counts = [left * HEIGHT + top, *(between * width)]
    counts[-1] = WIDTH * HEIGHT - sum(counts[:-1])
    return {
        "iscrowd": 1,
        "bbox": [left, top, width, height],
        "area": width * height,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts},
    }


def test_checking_costs_at_most_a_fifth(times_as_fast, tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    write(path)

    def peer() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            COCO(str(path))

    assert times_as_fast(lambda: CocoFolder(tmp_path, path), peer, 5) >= 1 / 1.2
