"""See a Mask R-CNN think: every tensor of every stage, on real photos.

`trace(model, photo)` runs any torchvision `MaskRCNN` and keeps everything; the names below are
loaded on first use, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrcnn_steps.data import Sample, sample, samples
    from mrcnn_steps.model import load_model
    from mrcnn_steps.trace import Trace

_HOME = {
    "Sample": "mrcnn_steps.data",
    "sample": "mrcnn_steps.data",
    "samples": "mrcnn_steps.data",
    "load_model": "mrcnn_steps.model",
    "trace": "mrcnn_steps.trace",
    "Trace": "mrcnn_steps.trace",
}

__all__ = ["Sample", "Trace", "load_model", "sample", "samples", "trace"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
