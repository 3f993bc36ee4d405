"""A funnel without a model: the detections of any framework, as COCO results.

They tell what was found and what is false, not where an object was lost.
"""

import hashlib
import math
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.annotation import Annotation
from mrcnn_steps.debug.errors import Tables, judge
from mrcnn_steps.debug.evidence import corners
from mrcnn_steps.debug.fates import FOUND
from mrcnn_steps.debug.funnel.photo_row import at_border, crowding
from mrcnn_steps.debug.funnel.results_file import Result, read_results
from mrcnn_steps.debug.funnel.rows import (
    IGNORED,
    TRUE_POSITIVE,
    UNEXPLAINED,
    DetectionRow,
    Header,
    ObjectRow,
    PhotoRow,
)
from mrcnn_steps.debug.funnel.summary import Funnel
from mrcnn_steps.matching import NOTHING, match


def from_results(
    dataset: CocoFolder,
    results: str | os.PathLike[str],
    iou: float = 0.5,
    score: float | None = None,
    progress: bool = True,
) -> Funnel:
    """Judge the detections of any framework.

    Boxes are judged: the file's own, or that of the mask where it has none. No photo is opened.

    Args:
        dataset: the photos and their annotations.
        results: a JSON list of detections, as COCO's results are.
        iou: threshold of matching.
        score: score that a detection has to exceed to count; all count without.
        progress: show a bar on a terminal.

    Returns:
        A funnel whose missed objects all have the cause "missed": no model can be asked why.

    Raises:
        OSError: a file cannot be read.
        ValueError: the results are not what `read_results` takes, or there are no photos.
    """
    path = Path(results)
    if not len(dataset):
        raise ValueError(f"{dataset.annotations}: found no photos, expected at least one")
    by_photo: dict[int, list[Result]] = {image_id: [] for image_id in dataset.image_ids}
    for each in read_results(path, dataset):
        if score is None or each.score > score:
            by_photo[each.image_id].append(each)
    header = Header(
        annotations_sha256=_sha256(dataset.annotations),
        weights_sha256=_sha256(path),
        settings={"iou": iou, "score": score, "detections": path.name},
        version=version("mrcnn-steps"),
        class_names=dataset.class_names,
        photos=len(dataset),
    )
    silent = None if progress else True
    shown = tqdm(dataset.image_ids, "match", unit=" photos", leave=False, disable=silent)
    rows = (_photo_row(dataset, index, by_photo[i], iou) for index, i in enumerate(shown))
    return Funnel(header, tuple(rows))


def _photo_row(dataset: CocoFolder, index: int, found: list[Result], iou: float) -> PhotoRow:
    photo = dataset.photos[index]
    found = sorted(found, key=lambda each: -each.score)
    scene = _Scene(dataset, index, found, iou)
    return PhotoRow(
        index=index,
        image_id=photo.id,
        photo=photo.file_name,
        width=photo.width,
        height=photo.height,
        objects=scene.object_rows(),
        detections=scene.detection_rows(),
    )


class _Scene:
    """The objects and the detections of a photo, matched with each other.

    Args:
        dataset: the photos and their annotations.
        index: which photo.
        found: its detections, in falling score.
        iou: threshold of matching.
    """

    def __init__(self, dataset: CocoFolder, index: int, found: list[Result], iou: float) -> None:
        photo, annotated = dataset.photos[index], dataset.objects(index)
        self.size = (photo.height, photo.width)
        self.class_names, self.found, self.iou = dataset.class_names, found, iou
        self.objects = [each for each in annotated if not each.crowd]
        crowds = [each for each in annotated if each.crowd]
        place = {category: label for label, category in enumerate(dataset.category_ids, start=1)}
        self.labels, self.kinds, crowd_kinds = (
            torch.tensor([place[each.category_id] for each in rows], dtype=torch.int64)
            for rows in (found, self.objects, crowds)
        )
        self.boxes, self.truth, crowd_boxes = (
            torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)
            for rows in (
                [each.box for each in found],
                [each.judged_box(*self.size) for each in self.objects],
                [each.judged_box(*self.size) for each in crowds],
            )
        )
        self.matches = match(
            self.boxes,
            self.labels,
            torch.tensor([each.score for each in found], dtype=torch.float64),
            self.truth,
            self.kinds,
            crowd_boxes,
            crowd_kinds,
            iou,
            known_labels=dataset.labelled_labels(index),
        )
        others = self.truth[:0]
        self.tables = Tables.of(
            self.boxes, self.labels, self.truth, self.kinds, crowd_boxes, others, self.matches
        )

    def object_rows(self) -> tuple[ObjectRow, ...]:
        """Give a row for each object that is no crowd."""
        names = [self.class_names[label] for label in self.kinds.tolist()]
        places = zip(self.objects, names, self.truth, crowding(self.truth, names), strict=True)
        return tuple(self._object_row(number, *place) for number, place in enumerate(places))

    def detection_rows(self) -> tuple[DetectionRow, ...]:
        """Give a row for each detection."""
        return tuple(
            DetectionRow(
                detection=row,
                name=self.class_names[int(self.labels[row])],
                label=int(self.labels[row]),
                score=each.score,
                box=each.box,
                **self._verdict(row, each.score),
            )
            for row, each in enumerate(self.found)
        )

    def _object_row(
        self, number: int, annotation: Annotation, name: str, box: Tensor, crowd: int
    ) -> ObjectRow:
        detection = int(self.matches.detection_of[number])
        found = detection != NOTHING
        width, height = (box[2:] - box[:2]).tolist()
        return ObjectRow(
            image_id=annotation.image_id,
            annotation_id=annotation.id,
            object=number,
            name=name,
            label=int(self.kinds[number]),
            cause=FOUND if found else UNEXPLAINED,
            kind=None,
            stage="",
            score=self.found[detection].score if found else None,
            box=corners(box),
            area=_area(annotation, width * height, self.size),
            side=math.sqrt(width * height),
            aspect=height / width if width else 0.0,
            crowding=crowd,
            at_border=at_border(box, self.size),
            level="",
            able_score=None,
            able_box=None,
            mask_iou=None,
            detection=detection if found else None,
            value=None,
            threshold=None,
            runner_up=None,
            perfect_probability=None,
        )

    def _verdict(self, row: int, score: float) -> dict[str, Any]:
        """Say what a detection is worth, and which object that is about."""
        taken = int(self.matches.object_of[row])
        if taken != NOTHING:
            overlap = float(self.tables.iou[row, taken])
            return {"kind": TRUE_POSITIVE, "object": taken, "iou": overlap, "suspected": None}
        if self.matches.ignored[row]:
            return {"kind": IGNORED, "object": None, "iou": 0.0, "suspected": None}
        return judge(self.tables, row, score, self.iou)._asdict()


def _area(annotation: Annotation, box_area: float, size: tuple[int, int]) -> float:
    """Give the area of the mask; of the box, where there is none."""
    if annotation.segmentation is None:
        return box_area
    if annotation.area is None or annotation.area_of_box:
        return float(annotation.runs(*size).area)
    return annotation.area


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
