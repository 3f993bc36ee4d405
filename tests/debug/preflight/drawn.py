"""A small drawn data set in which nothing is wrong, and one of torchvision's pairs."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.ops import masks_to_boxes

WIDTH, HEIGHT = 96, 64
NAMES = ("cat", "dog")

# Rectangles (x, y, width, height) and classes of each photo.
SCENES = (
    (((8, 10, 30, 24), 1), ((50, 20, 32, 36), 2)),
    (((20, 12, 44, 40), 2),),
    (((5, 5, 25, 50), 1), ((40, 8, 40, 22), 1), ((44, 34, 36, 24), 2)),
)


def outline(box):
    x, y, w, h = box
    return [float(v) for v in (x, y, x + w, y, x + w, y + h, x, y + h)]


def pixels(number):
    """Noise around the mean and deviation of photographs, other for each photo."""
    generator = np.random.default_rng(number)
    return generator.normal(115, 60, (HEIGHT, WIDTH, 3)).clip(0, 255).astype(np.uint8)


def content():
    annotations = [
        {
            "id": 100 * photo + row,
            "image_id": photo,
            "category_id": category,
            "iscrowd": 0,
            "bbox": list(box),
            "area": box[2] * box[3],
            "segmentation": [outline(box)],
        }
        for photo, scene in enumerate(SCENES, start=1)
        for row, (box, category) in enumerate(scene, start=1)
    ]
    images = [
        {"id": photo, "file_name": f"{photo}.png", "width": WIDTH, "height": HEIGHT}
        for photo in range(1, len(SCENES) + 1)
    ]
    categories = [{"id": k, "name": name} for k, name in enumerate(NAMES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write(folder: Path, changed=None):
    """Write the photos and the file; returns the paths of both."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for photo in range(1, len(SCENES) + 1):
        Image.fromarray(pixels(photo)).save(photos / f"{photo}.png")
    path = folder / "instances.json"
    path.write_text(json.dumps(content() if changed is None else changed))
    return photos, path


class Pairs(list):
    """A dataset of torchvision's kind that names its classes."""

    class_names = ("background", *NAMES)


def pairs():
    """Give `(image, target)` of the same scenes: images in 0…1, boxes as corners, masks."""
    made = Pairs()
    for photo, scene in enumerate(SCENES, start=1):
        masks = torch.zeros((len(scene), HEIGHT, WIDTH), dtype=torch.uint8)
        for mask, ((x, y, w, h), _) in zip(masks, scene, strict=True):
            mask[y : y + h, x : x + w] = 1
        target = {
            "boxes": masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1]),
            "labels": torch.tensor([category for _, category in scene]),
            "masks": masks,
            "image_id": torch.tensor(photo),
        }
        made.append((torch.from_numpy(pixels(photo)).permute(2, 0, 1) / 255, target))
    return made
