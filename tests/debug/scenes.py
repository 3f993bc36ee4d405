"""Photos and settings on which objects are lost on purpose."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from mrcnn_steps.data import Sample
from mrcnn_steps.tracing import trace


@contextmanager
def set_to(model, settings):
    """Set attributes of a model, and put them back."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            part, attribute = name.split(".")
            module = getattr(model, part)
            if attribute.endswith("top_n"):
                by_mode = getattr(module, f"_{attribute}")
                patch.setitem(by_mode, "testing", value)
            else:
                patch.setattr(module, attribute, value)
        yield model


def only(photo: Sample, rows) -> Sample:
    """A photo with some of its annotations."""
    rows = torch.tensor(list(rows), dtype=torch.int64)
    return replace(
        photo,
        boxes=photo.boxes[rows],
        labels=photo.labels[rows],
        masks=photo.masks[rows],
        crowd=photo.crowd[rows],
    )


def imagined(model, photo: Sample, count: int = 10, found_only: bool = False) -> Sample:
    """A photo whose objects are what an untrained model sees: some candidates, or detections."""
    traced = trace(model, photo.image)
    found, names = traced.detections, traced.class_names
    # COCO's 91 names hold "N/A" ten times.
    named = torch.tensor([names.count(name) == 1 for name in names])
    rows = found.rows if found_only else found.confident_rows
    rows = rows[named[found.candidate_label[rows]]]
    rows = rows[:: max(1, len(rows) // count)][:count]
    boxes = traced.letterbox.undo_boxes(found.clipped[rows]).round().long()
    masks = torch.zeros((len(rows), *photo.image.shape[1:]), dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.tolist(), strict=True):
        mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = True
    return Sample.from_masks(
        image=photo.image,
        masks=masks,
        labels=found.candidate_label[rows],
        crowd=torch.zeros(len(rows), dtype=torch.bool),
        class_names=names,
        name="imagined",
    )
