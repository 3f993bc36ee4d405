"""Running a funnel: photo by photo, rows to disk as they come, alone or in many processes.

A run that was killed goes on where it was. Under `torchrun` every process takes a share of the
photos, and the rows are the same to the byte.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import distributed
from torch.utils.data import Subset
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.checks import check_whole
from mrcnn_steps.class_names import check_class_names
from mrcnn_steps.data import Sample
from mrcnn_steps.debug.datasets import Dataset, class_names_of, entry_at, known_at
from mrcnn_steps.debug.fates import operating_threshold
from mrcnn_steps.debug.funnel.identity import identify
from mrcnn_steps.debug.funnel.photo_row import photo_row, unread_row
from mrcnn_steps.debug.funnel.progress import observed
from mrcnn_steps.debug.funnel.row_folder import collect_rows
from mrcnn_steps.debug.funnel.rows import Header, PhotoRow
from mrcnn_steps.debug.funnel.summary import Funnel
from mrcnn_steps.model.evaluate import place_in_group
from mrcnn_steps.overrides import check_model
from mrcnn_steps.settings import detection_settings
from mrcnn_steps.tracing import trace


def funnel(
    model: FasterRCNN,
    dataset: Dataset,
    *,
    iou: float = 0.5,
    score: float | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    photos: int | None = None,
    progress: bool = True,
) -> Funnel:
    """Tell what became of every object of a dataset, and what every detection is worth.

    Args:
        model: a torchvision Mask R-CNN or Faster R-CNN.
        dataset: the photos. One that cannot be read is counted, and the others go on.
        iou: see `fates`.
        score: score that a detection has to exceed; the model's own without.
        out: a folder that receives the rows as they come, so that they need no memory; without it
            they are kept in memory.
        resume: go on with the rows that are in the folder; photos that could not be read are tried
            again.
        photos: take so many, spread evenly over the dataset; all without.
        progress: show a bar on a terminal.

    Returns:
        The funnel; in every process the whole.

    Raises:
        TypeError: the model is another, or the dataset gives something else.
        ValueError: the model is one that `trace` refuses, a threshold is out of range, there are no
            photos, or the rows in the folder are of something else.
        FileExistsError: there are rows in the folder, and nobody said to go on.
        OSError: the folder cannot be written.
    """
    check_model(model)
    score = operating_threshold(detection_settings(model)["score_threshold"], iou, score)
    if photos is not None:
        dataset = evenly(dataset, photos)
    if not len(dataset):
        raise ValueError("dataset: found no photos, expected at least one")
    names = _class_names(model, dataset)
    header = identify(model, dataset, names, {"iou": iou, "score": score})

    def observe(index: int) -> PhotoRow:
        try:
            entry = entry_at(dataset, index, names)
        except (OSError, ValueError) as error:
            return unread_row(index, *known_at(dataset, index), error)
        with silent_about_unknown_classes():
            traced = trace(model, entry.sample, names)
        return photo_row(traced, entry, index, iou, score)

    if out is None:
        return Funnel(header, _in_memory(header, observe, progress))
    return Funnel(header, collect_rows(Path(out), header, observe, resume, progress))


def evenly(dataset: Dataset, count: int) -> Subset[Any]:
    """Take some photos of a dataset, spread evenly over it.

    Args:
        dataset: the photos.
        count: how many; of a smaller dataset all are taken.

    Returns:
        The part of the dataset.

    Raises:
        ValueError: the count is below 1.
    """
    check_whole(count, "photos", least=1)
    total = len(dataset)
    count = min(count, total)
    return Subset(cast(Any, dataset), [place * total // count for place in range(count)])


def _class_names(model: FasterRCNN, dataset: Dataset) -> tuple[str, ...]:
    """Name each of the model's labels, as a trace of a photo of the dataset does."""
    if hasattr(model, "class_names"):
        return check_class_names(model.class_names, "model.class_names")
    blank = Sample(
        image=torch.zeros((3, 64, 64), dtype=torch.uint8),
        boxes=torch.zeros((0, 4)),
        labels=torch.zeros(0, dtype=torch.int64),
        masks=None,
        crowd=torch.zeros(0, dtype=torch.bool),
        class_names=class_names_of(dataset) or ("background",),
        name="blank",
    )
    return trace(model, blank).class_names


@contextmanager
def silent_about_unknown_classes() -> Iterator[None]:
    """Keep `trace` from telling, for every photo, what the rows count."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* left out, of classes that the model does not know")
        yield


def _in_memory(
    header: Header, observe: Callable[[int], PhotoRow], progress: bool
) -> tuple[PhotoRow, ...]:
    rank, world = place_in_group()
    share = range(rank, header.photos, world)
    rows = list(observed(observe, share, (), progress))
    if world > 1:
        shares: list[Any] = [None] * world
        distributed.all_gather_object(shares, rows)
        rows = sorted((row for each in shares for row in each), key=lambda row: row.index)
    return tuple(rows)
