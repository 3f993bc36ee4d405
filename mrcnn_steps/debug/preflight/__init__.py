"""Preflight: what is wrong with the data, before a model is blamed for it.

All that is found is collected; nothing stops at the first. The codes are those of `codes.CODES`.
"""

import os
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.datasets import Dataset
from mrcnn_steps.debug.findings import Finding
from mrcnn_steps.debug.preflight.classes import (
    check_categories,
    check_model_classes,
    check_names,
    check_used,
    class_names_of_model,
)
from mrcnn_steps.debug.preflight.codes import Findings
from mrcnn_steps.debug.preflight.inputs import PHOTOS, check_input
from mrcnn_steps.debug.preflight.objects import Scale, check_folder
from mrcnn_steps.debug.preflight.photos import check_files, check_shared, check_twice
from mrcnn_steps.debug.preflight.records import check_records
from mrcnn_steps.debug.preflight.targets import Seen, check_dataset, pixels_of, readable
from mrcnn_steps.settings import boxes_on_input, input_grid

# The side of a photo by which the cells of a backbone's finest map are measured.
MEASURED = 512


def preflight(
    dataset: Dataset,
    model: FasterRCNN | None = None,
    validation: Dataset | None = None,
    photos: Literal["pixels", "headers", "none"] = "pixels",
) -> tuple[Finding, ...]:
    """Look for everything that is wrong, or looks wrong, with a data set.

    Args:
        dataset: gives samples or pairs. Of a COCO file, `CocoFolder(…, strict=False)` also tells
            what cannot be used.
        model: whose classes, input size and normalization the data should fit.
        validation: another data set, which should share no photo with this one.
        photos: of a COCO folder, whether to decode the photo files, to read their headers only,
            or to leave them closed; then no photos are compared either.

    Returns:
        A finding for each kind, errors first; none where all is well.
    """
    findings = Findings()
    if not len(dataset):
        findings.add("no_photos", _name(dataset))
    scale = _scale(model)
    if isinstance(dataset, CocoFolder):
        seen = _check_coco(dataset, photos, scale, findings)
    else:
        names = None if model is None else class_names_of_model(model)
        seen = check_dataset(dataset, names, scale, findings)
        check_names(seen.class_names, findings)
    if validation is not None and photos != "none":
        _check_validation(dataset, validation, seen, findings)
    if len(dataset) and not seen.used:
        findings.add("no_objects", _name(dataset))
    check_used(seen.class_names, seen.used, findings)
    if model is not None:
        check_model_classes(seen.class_names, seen.used, model, findings)
        if photos != "none":
            check_input(model, _images(dataset), findings)
    return findings.collected()


def _check_coco(folder: CocoFolder, photos: str, scale: Scale, findings: Findings) -> Seen:
    check_records(folder, findings)
    check_categories(folder, findings)
    check_folder(folder, scale, findings)
    if photos != "none":
        check_files(folder, photos == "pixels", findings)
        check_twice(folder, findings)
    labels = frozenset[int]().union(*map(folder.labels_present, range(len(folder))))
    return Seen(folder.class_names, frozenset(folder.class_names[k] for k in labels), {})


def _check_validation(
    dataset: Dataset, validation: Dataset, seen: Seen, findings: Findings
) -> None:
    """Compare the files of two COCO folders, and otherwise the pixels."""
    if isinstance(dataset, CocoFolder) and isinstance(validation, CocoFolder):
        check_shared(dataset, validation, findings)
        return
    own = seen.digests
    if isinstance(dataset, CocoFolder):
        own = {digest: dataset.image_ids[index] for digest, index in pixels_of(dataset).items()}
    others = pixels_of(validation)
    for digest, image_id in own.items():
        if digest in others:
            findings.add("photo_in_validation", f"image {image_id}", [image_id])


def _scale(model: FasterRCNN | None) -> Scale:
    if model is None:
        return Scale(lambda size: (1.0, 1.0), 0.0)

    @cache
    def of(size: tuple[int, int]) -> tuple[float, float]:
        height, width = size
        whole = torch.tensor([[0.0, 0.0, width, height]])
        moved, _ = boxes_on_input(model, size, whole)
        x1, y1, x2, y2 = moved[0].tolist()
        return (x2 - x1) / width, (y2 - y1) / height

    _, input_size = boxes_on_input(model, (MEASURED, MEASURED), torch.zeros((0, 4)))
    finest = input_grid(model, input_size).maps[0]
    return Scale(of, input_size[0] / finest[0])


def _images(dataset: Dataset) -> list[Tensor]:
    """Give a few photos, from all over the data set, as a model would get them."""
    indices = range(0, len(dataset), max(1, len(dataset) // PHOTOS))[:PHOTOS]
    return [image for _, image in readable(dataset, indices) if image.ndim == 3]


def _name(dataset: Dataset) -> str:
    return os.fspath(getattr(dataset, "annotations", type(dataset).__name__))
