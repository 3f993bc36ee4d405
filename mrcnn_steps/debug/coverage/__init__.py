"""Do the anchors of a model fit one's own data? Best IoU of every object, and what would fit."""

from collections.abc import Sequence

import torch
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.debug.coverage.advice import Advice, Advised, Option, advise
from mrcnn_steps.debug.coverage.fit import cell_shapes, fit, lay_regular
from mrcnn_steps.debug.coverage.objects import place, read_objects
from mrcnn_steps.debug.coverage.result import Coverage, Slice
from mrcnn_steps.debug.coverage.shares import THRESHOLDS, Shares, shares
from mrcnn_steps.debug.datasets import Dataset
from mrcnn_steps.settings import rpn_training_settings

__all__ = [
    "THRESHOLDS",
    "Advice",
    "Advised",
    "Coverage",
    "Option",
    "Shares",
    "Slice",
    "coverage",
]


def coverage(
    model: FasterRCNN,
    dataset: Dataset,
    class_names: Sequence[str] | None = None,
    generator: torch.Generator | None = None,
) -> Coverage:
    """Compare the anchors of a model with the objects of a data set.

    Anchors lie on the model's own grid at its own resize, padding included, as a photo in eval
    mode has them; the network itself does not run. Only boxes and sizes are kept, and the photos
    of a `CocoFolder` are not opened. Anchors have no class, so an object counts whether the model
    knows its class or not; crowds and objects without pixels do not.

    Args:
        model: any torchvision Faster R-CNN or Mask R-CNN, trained or not; nothing about it is
            changed.
        dataset: gives samples or torchvision's `(image, target)`.
        class_names: of a dataset of pairs without names; see `entry_at`.
        generator: chooses what the advice is learned from; see `advise`.

    Returns:
        Coverage by object, and the advice.

    Raises:
        TypeError: the model is none of these, or the dataset gives something else.
        ValueError: the model's anchors are no regular grid, or an object is not valid.
        OSError: a photo cannot be read.
    """
    if not isinstance(model, FasterRCNN):
        raise TypeError(
            f"model: expected a torchvision FasterRCNN or MaskRCNN, found {type(model).__name__}"
        )
    objects = read_objects(dataset, class_names)
    placed = place(model, objects)
    like, training = next(model.parameters()), rpn_training_settings(model)
    found = fit(model.rpn.anchor_generator, like, placed, training["positive_iou"])
    laid = [lay_regular(grid.lay(model.rpn.anchor_generator, like)) for grid in placed.grids[:1]]
    return Coverage(
        photos=len(objects.sizes),
        photo=objects.photo,
        labels=objects.labels,
        boxes=placed.boxes,
        fit=found,
        left_out=objects.left_out,
        class_names=objects.class_names,
        level_names=laid[0].level_names if laid else (),
        shapes=cell_shapes(laid[0]) if laid else torch.zeros((0, 2)),
        anchors=placed.anchors_a_photo(model.rpn.anchor_generator.num_anchors_per_location()),
        positive_iou=training["positive_iou"],
        most_positives=int(training["count"] * training["positive_fraction"]),
        advised=advise(model, objects, placed, shares(found.iou).half, generator),
    )
