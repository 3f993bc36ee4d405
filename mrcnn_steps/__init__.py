"""See a Mask R-CNN think: every tensor of every stage, on real photos.

`trace(model, photo)` runs any torchvision `MaskRCNN` and keeps everything.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrcnn_steps.data import Sample, sample, samples
    from mrcnn_steps.model import load_model
    from mrcnn_steps.tracing import Trace, trace

__all__ = ["Sample", "Trace", "load_model", "sample", "samples", "trace"]

# Each is loaded on first use: `mrcnn-steps --help` and the viewer need no torch.
_HOME = {
    "Sample": "data",
    "Trace": "tracing",
    "load_model": "model",
    "sample": "data",
    "samples": "data",
    "trace": "tracing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
