"""Rows made by hand and at random, without any model."""

import numpy as np

from mrcnn_steps.debug.candidates import GATES
from mrcnn_steps.debug.errors import KINDS
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.rows import DetectionRow, Header, ObjectRow, PhotoRow

NAMES = ("background", "person", "dog", "犬", "=SUM(A1)")
SETTINGS = {"iou": 0.5, "score_threshold": 0.05}
HEADER = Header("a" * 64, "b" * 64, SETTINGS, "0.1.0", NAMES, 0)
# Causes that an able candidate comes with.
ABLE = GATES


def an_object(object: int = 0, cause: str = FOUND, **facts: object) -> ObjectRow:
    """An object of 60 px, found with a score of 0.9 unless told otherwise."""
    given = {
        "image_id": 1,
        "annotation_id": 100 + object,
        "name": "person",
        "label": 1,
        "kind": None,
        "stage": "masks" if cause == FOUND else CAUSES[cause].stage,
        "score": 0.9,
        "box": (10.0, 10.0, 70.0, 70.0),
        "area": 2000.0,
        "side": 60.0,
        "aspect": 1.0,
        "crowding": 0,
        "at_border": False,
        "level": "P3",
        "able_score": 0.6 if cause in ABLE else None,
        "able_box": None,
        "mask_iou": None,
        "detection": object if cause == FOUND else None,
        "value": None,
        "threshold": None,
        "runner_up": None,
        "perfect_probability": 0.7,
    }
    return ObjectRow(object=object, cause=cause, **given | facts)


def a_detection(detection: int = 0, kind: str = "", **facts: object) -> DetectionRow:
    """A person of score 0.9 that found object 0 unless told otherwise."""
    given = {
        "name": "person",
        "label": 1,
        "score": 0.9,
        "box": (10.0, 10.0, 70.0, 70.0),
        "object": detection,
        "iou": 0.8,
        "suspected": None,
    }
    return DetectionRow(detection=detection, kind=kind, **given | facts)


def a_photo(
    image_id: int = 1,
    objects: tuple[ObjectRow, ...] = (),
    detections: tuple[DetectionRow, ...] = (),
    **facts: object,
) -> PhotoRow:
    given = {"index": image_id, "photo": f"{image_id}.jpg", "width": 640, "height": 480}
    return PhotoRow(image_id=image_id, objects=objects, detections=detections, **given | facts)


def at_random(photos: int, seed: int = 0, loss: float = 0.5) -> tuple[PhotoRow, ...]:
    """Photos whose rows agree with each other: who is found has a detection, and the reverse."""
    dice = np.random.default_rng(seed)
    return tuple(_photo(dice, image_id, loss) for image_id in dice.permutation(photos) + 1)


def _photo(dice: np.random.Generator, image_id: int, loss: float) -> PhotoRow:
    objects: list[ObjectRow] = []
    detections: list[DetectionRow] = []
    for number in range(dice.poisson(5)):
        label = int(dice.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
        cause = str(dice.choice(list(CAUSES)[1:])) if dice.random() < loss else FOUND
        side = float(np.exp2(dice.uniform(2, 8)))
        score = float(dice.random())
        facts = {
            "image_id": int(image_id),
            "annotation_id": int(1000 * image_id + number),
            "name": NAMES[label],
            "label": label,
            "area": side**2 / 2,
            "side": side,
            "aspect": float(np.exp2(dice.normal())),
            "crowding": int(dice.poisson(0.7)),
            "at_border": bool(dice.random() < 0.2),
            "level": f"P{int(dice.integers(2, 6))}",
            "score": score,
            "perfect_probability": float(dice.random()),
        }
        if cause in ABLE:
            facts["able_score"] = score
        if cause in (FOUND, "mask"):
            facts["detection"] = len(detections)
            detections.append(
                a_detection(
                    len(detections), "", name=NAMES[label], label=label, score=score, object=number
                )
            )
        objects.append(an_object(number, cause, **facts))
    for _ in range(dice.poisson(3)):
        label, about = int(dice.integers(1, 4)), None
        kind = str(dice.choice([*KINDS, "ignored"]))
        if kind != "background" and objects:
            about = int(dice.integers(len(objects)))
        detections.append(
            a_detection(
                len(detections),
                kind,
                name=NAMES[label],
                label=label,
                score=float(dice.random()) ** 2,
                object=about,
                suspected="an object may not be annotated" if kind == "background" else None,
            )
        )
    return a_photo(int(image_id), tuple(objects), tuple(detections))
