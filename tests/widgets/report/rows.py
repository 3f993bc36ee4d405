"""Funnels of photos that nobody traced: as many as a test wants, with all kinds of cases."""

from dataclasses import replace

import numpy as np
import torch

from mrcnn_steps.data import Sample
from mrcnn_steps.debug.errors import KINDS
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.precision import is_matched
from mrcnn_steps.debug.funnel.rows import DetectionRow, Header, ObjectRow, PhotoRow
from mrcnn_steps.debug.funnel.summary import Funnel

HOSTILE = '</script><img src=x onerror=alert(1)> "cup" & \\ ünï'
NAMES = ("person", "traffic light", "cup", HOSTILE)

OBJECT = ObjectRow(
    image_id=1,
    annotation_id=10,
    object=0,
    name="cup",
    label=3,
    cause="nms",
    kind="another object",
    stage="detection",
    score=0.75,
    box=(10.0, 20.0, 42.0, 84.0),
    area=1024.0,
    side=45.3,
    aspect=2.0,
    crowding=1,
    at_border=False,
    level="P3",
    able_score=0.75,
    able_box=(11.0, 20.0, 44.0, 84.0),
    mask_iou=None,
    detection=None,
    value=0.62,
    threshold=0.5,
    runner_up="class",
    perfect_probability=0.9,
)
DETECTION = DetectionRow(
    detection=0,
    name="cup",
    label=3,
    score=0.9,
    box=(50.0, 20.0, 90.0, 60.0),
    kind="background",
    object=None,
    iou=0.0,
    suspected="an object may not be annotated",
)


def photo_row(image_id=1, objects=(OBJECT,), detections=(DETECTION,), name=None, index=0):
    name = name or f"photo-{image_id}.jpg"
    return PhotoRow(index, image_id, name, 320, 240, tuple(objects), tuple(detections))


def found(**values):
    """An object that was found, all else as in `OBJECT`."""
    common = {"cause": FOUND, "kind": None, "stage": "masks", "detection": 0, "able_score": None}
    return replace(OBJECT, **common | {"able_box": None, "runner_up": None} | values)


def random_rows(count, seed=0):
    """`count` photos of 320 × 240 with seven objects and three detections each, about."""
    generator = np.random.default_rng(seed)
    causes = [FOUND] * 8 + [cause for cause in CAUSES if cause != "unknown class"]

    def box():
        corner = generator.uniform(0, 200, 2)
        return (*corner.tolist(), *(corner + generator.uniform(4, 120, 2)).tolist())

    def one_object(image_id, number):
        cause, place = str(generator.choice(causes)), box()
        side = float(np.sqrt((place[2] - place[0]) * (place[3] - place[1])))
        values = {
            "image_id": image_id,
            "annotation_id": 100 * image_id + number,
            "object": number,
            "name": NAMES[generator.integers(len(NAMES))],
            "score": float(generator.uniform()),
            "box": place,
            "area": 0.7 * side**2,
            "side": 3.2 * side,
            "aspect": (place[3] - place[1]) / (place[2] - place[0]),
            "crowding": int(generator.integers(5)),
            "at_border": bool(generator.uniform() < 0.2),
            "level": f"P{generator.integers(3, 8)}",
        }
        if cause == FOUND:
            return found(**values)
        kind = "another object" if cause == "nms" else "background" if cause == "class" else None
        stage = CAUSES[cause].stage
        return replace(OBJECT, cause=cause, kind=kind, stage=stage, **values)

    def of_object(row, number):
        """The detection that matches an object."""
        return replace(
            DETECTION,
            detection=number,
            name=row.name,
            score=row.score,
            kind="",
            object=row.object,
            suspected=None,
        )

    def one_detection(number):
        kind = ("ignored", *KINDS)[generator.integers(len(KINDS) + 1)]
        suspected = (
            "an object may not be annotated"
            if kind != "ignored" and generator.uniform() < 0.1
            else None
        )
        return DetectionRow(
            detection=number,
            name=NAMES[generator.integers(len(NAMES))],
            label=1,
            score=float(generator.uniform()),
            box=box(),
            kind=kind,
            object=None if kind == "background" else 0,
            iou=0.3,
            suspected=suspected,
        )

    def one_photo(image_id):
        objects = [one_object(image_id, number) for number in range(generator.integers(1, 14))]
        others = [one_detection(number) for number in range(generator.integers(0, 7))]
        matched = [each for each in objects if is_matched(each)]
        right = [of_object(row, len(others) + place) for place, row in enumerate(matched)]
        return photo_row(image_id, objects, [*others, *right], index=image_id)

    return [one_photo(image_id) for image_id in range(count)]


def funnel_of(rows, **header):
    about = {
        "settings": {"iou": 0.5, "score": 0.05},
        "version": "1",
        "class_names": ("background", *NAMES),
        "photos": len(rows),
    }
    return Funnel(Header("a" * 64, "b" * 64, **about | header), tuple(rows))


class Photos:
    """A data set of gray photos with a red square, each of its own brightness."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = torch.full((3, 240, 320), 40 + index % 150, dtype=torch.uint8)
        image[:, 20:84, 10:42] = torch.tensor([250, 0, 0], dtype=torch.uint8)[:, None, None]
        return Sample(
            image=image,
            boxes=torch.zeros((0, 4)),
            labels=torch.zeros(0, dtype=torch.int64),
            masks=None,
            crowd=torch.zeros(0, dtype=torch.bool),
            class_names=("background",),
            name=f"photo-{index}.jpg",
        )
