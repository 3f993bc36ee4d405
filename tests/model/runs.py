"""Small data sets: to learn from, with the command line of a run on the CPU, and to evaluate on."""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from mrcnn_steps.commands.train import add_arguments
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.model.readiness import open_data
from mrcnn_steps.model.run import Run, start

SMALL = shlex.split(
    "--image-size 128 --batch-size 2 --workers 0 --warmup 2 --device cpu --iterations 5"
)

SSDLITE = ("--model", "ssdlite320_mobilenet_v3_large", "--image-size", "320")

# Ids with gaps, not in the order of the model's labels, and a class that it never heard of.
CATEGORIES = {3: "zebra", 18: "dog", 44: "lamp", 7: "person"}
MODEL_CLASSES = ("background", "person", "dog", "unicorn", "zebra")

# (photo, category, x, y, width, height, crowd)
OBJECTS = [
    (1, 7, 10, 10, 40, 60, 0),
    (1, 7, 60, 20, 20, 20, 0),
    (1, 18, 100, 50, 50, 30, 0),
    (2, 18, 20, 20, 30, 30, 0),
    (2, 7, 70, 10, 60, 80, 0),
    (3, 7, 5, 5, 25, 50, 0),
    (3, 7, 60, 10, 80, 60, 1),
]
WIDTH, HEIGHT = 160, 100


def write_data(folder: Path, photos: int = 6) -> tuple[Path, Path]:
    """Photos of a red square and a blue disk at varying places, with their polygons."""
    (folder / "photos").mkdir(parents=True)
    images, annotations = [], []
    for i in range(photos):
        image = Image.new("RGB", (120, 90), (90, 110, 90))
        draw = ImageDraw.Draw(image)
        x, y = 5 + 4 * i, 8 + 3 * i
        draw.rectangle((x, y, x + 35, y + 35), fill=(200, 40, 30))
        draw.ellipse((70, 50 - 5 * i, 105, 85 - 5 * i), fill=(30, 60, 220))
        image.save(folder / "photos" / f"{i}.png")
        images.append({"id": 100 + i, "file_name": f"{i}.png", "width": 120, "height": 90})
        square = [x, y, x + 36, y, x + 36, y + 36, x, y + 36]
        angle = torch.arange(24) * torch.pi / 12
        points = torch.stack((88 + 18 * angle.cos(), 68 - 5 * i + 18 * angle.sin()), dim=1)
        for category, polygon in ((1, square), (2, points.flatten().tolist())):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 100 + i,
                    "category_id": category,
                    "segmentation": [polygon],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 1, "name": "square"}, {"id": 2, "name": "disk"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "photos", folder / "instances.json"


def command(data: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    """The command line of a small run on the CPU."""
    paths = ["--images", str(data[0]), "--annotations", str(data[1]), "--out", str(out)]
    return ["train", *paths, *SMALL, *more]


def arguments(data: tuple[Path, Path], out: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(command(data, out, *more)[1:])


def fresh_run(data: tuple[Path, Path], *more: str) -> Run:
    """A run before its first step."""
    args = arguments(data, Path("unused"), *more)
    torch.manual_seed(args.seed)
    return start(args, open_data(args)[0], torch.device("cpu"))


def rectangle(x: int, y: int, width: int, height: int, crowd: int) -> Any:
    """A polygon; for a crowd uncompressed run lengths, down the columns."""
    if not crowd:
        return [[x, y, x + width, y, x + width, y + height, x, y + height]]
    mask = np.zeros((HEIGHT, WIDTH), dtype=int)
    mask[y : y + height, x : x + width] = 1
    flat = mask.T.flatten()
    ends = np.flatnonzero(np.diff(np.concatenate(([0], flat, [1 - flat[-1]])))).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *ends]).tolist()}


def write(content: dict[str, Any], folder: Path) -> CocoFolder:
    for image in content["images"]:
        Image.new("RGB", (image["width"], image["height"])).save(folder / image["file_name"])
    (folder / "instances.json").write_text(json.dumps(content))
    return CocoFolder(folder, folder / "instances.json")
