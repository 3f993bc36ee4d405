"""See a Mask R-CNN think: every tensor of every stage, on real photos.

`trace(model, photo)` runs any torchvision `MaskRCNN` and keeps everything.
"""

from mrcnn_steps.data import Sample, sample, samples
from mrcnn_steps.model import load_model
from mrcnn_steps.tracing import Trace, trace

__all__ = ["Sample", "Trace", "load_model", "sample", "samples", "trace"]
