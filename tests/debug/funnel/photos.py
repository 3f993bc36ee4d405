"""A small COCO folder of bundled photos, and the bundled model with a small input: quick."""

import json

import torch
from PIL import Image
from pycocotools import mask as coco_mask

from mrcnn_steps import load_model, sample
from mrcnn_steps.model.network import LetterboxTransform

NAMES = ("voc_people", "cows", "horses", "coffee", "cat", "dogs")


def quick():
    """The bundled model on a square of 256 pixels."""
    model = load_model("tiny")
    own = model.transform
    model.transform = LetterboxTransform(256, own.image_mean, own.image_std).eval()
    return model


def write_photos(folder, names=NAMES):
    """Write photos and annotations; ids leave gaps, and the last object of each photo is a crowd.

    Returns:
        The path of the annotations.
    """
    images, annotations, classes = [], [], None
    for place, name in enumerate(names):
        photo = sample(name)
        classes = photo.class_names
        height, width = photo.image.shape[1:]
        # PNG: what the model sees is what is bundled, to the bit.
        file = f"{place}-{name}.png"
        Image.fromarray(photo.image.permute(1, 2, 0).numpy()).save(folder / file, compress_level=1)
        image_id = 1000 - 7 * place
        images.append({"id": image_id, "file_name": file, "width": width, "height": height})
        for row, mask in enumerate(photo.masks):
            runs = coco_mask.encode(mask.to(torch.uint8).numpy().copy(order="F"))
            annotations.append(
                {
                    "id": 50 + 3 * len(annotations),
                    "image_id": image_id,
                    "category_id": int(photo.labels[row]) + 100,
                    "segmentation": {
                        "size": [height, width],
                        "counts": runs["counts"].decode(),
                    },
                    "bbox": coco_mask.toBbox(runs).tolist(),
                    "area": int(coco_mask.area(runs)),
                    "iscrowd": int(row > 0 and row == len(photo.labels) - 1),
                }
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k + 100, "name": name} for k, name in enumerate(classes) if k],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path
