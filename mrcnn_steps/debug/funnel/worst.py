"""The worst photos and objects, each with the command that explains it."""

import shlex
from collections.abc import Iterable, Sequence
from heapq import nsmallest

from mrcnn_steps.debug.errors import KINDS
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.rows import DetectionRow, ObjectRow, PhotoRow

MOST_LISTED = 10


def missed_in(photo: PhotoRow) -> int:
    """Count the objects of a photo that were missed."""
    return sum(each.cause != FOUND for each in photo.objects)


def wrong_in(photo: PhotoRow) -> int:
    """Count the false positives of a photo."""
    return sum(each.kind in KINDS for each in photo.detections)


def lost_at(cause: str) -> str:
    """Say what became of a missed object: "lost at NMS", or "missed" where no model told why."""
    return f"lost at {CAUSES[cause].title}" if cause in CAUSES else cause


def worst_photos(photos: Iterable[PhotoRow], most: int = MOST_LISTED) -> list[PhotoRow]:
    """List the photos with the most missed objects, of equal ones those with more false positives.

    Args:
        photos: rows of a funnel.
        most: how many to list.

    Returns:
        The photos, the worst first; none where nothing was missed.
    """
    lossy = (photo for photo in photos if missed_in(photo))
    return nsmallest(most, lossy, key=lambda photo: (-missed_in(photo), -wrong_in(photo)))


def worst_objects(
    photos: Iterable[PhotoRow], most: int = MOST_LISTED
) -> list[tuple[PhotoRow, ObjectRow]]:
    """List the largest missed objects: those that a model has the least reason to miss.

    Args:
        photos: rows of a funnel.
        most: how many to list.

    Returns:
        The objects with their photos, the largest first: at the network's input, or without
        a model in the photo.
    """
    missed = ((p, each) for p in photos for each in p.objects if each.cause != FOUND)
    return nsmallest(most, missed, key=lambda pair: -pair[1].side)


def suspected_labels(
    photos: Iterable[PhotoRow], most: int = MOST_LISTED
) -> list[tuple[PhotoRow, DetectionRow]]:
    """List the detections that speak against an annotation.

    Args:
        photos: rows of a funnel.
        most: how many to list.

    Returns:
        The detections with their photos, the surest first.
    """
    suspects = ((p, each) for p in photos for each in p.detections if each.suspected is not None)
    return nsmallest(most, suspects, key=lambda pair: -pair[1].score)


def why_command(image_id: int, index: int, object: int | None, source: Sequence[str]) -> str:
    """Write what one has to type to see why an object, or whatever a photo has, was missed.

    Args:
        image_id: of the photo.
        index: of the photo in its dataset.
        object: `ObjectRow.object`; all of the photo without.
        source: arguments of `mrcnn-steps why` that name the data and the model; none for a dataset
            that only Python knows.

    Returns:
        A command for a shell; without a source, an expression of Python.
    """
    if not source:
        traced = f"trace(model, sample_at(dataset, {index}))"
        return f"fates({traced})" if object is None else f"explain_missed({traced}, {object})"
    which = ["--all"] if object is None else ["--object", str(object)]
    return shlex.join(["mrcnn-steps", "why", str(image_id), *which, *source])
