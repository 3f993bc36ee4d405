"""Photos and their annotations: bundled ones, one's own, and any COCO folder."""

from mrcnn_steps.data.bundled import open_photo, sample, samples
from mrcnn_steps.data.coco import CocoFolder
from mrcnn_steps.data.coco_classes import COCO_CATEGORY_IDS, COCO_CLASSES
from mrcnn_steps.data.letterbox import Letterbox, letterbox
from mrcnn_steps.data.sample import Sample

__all__ = [
    "COCO_CATEGORY_IDS",
    "COCO_CLASSES",
    "CocoFolder",
    "Letterbox",
    "Sample",
    "letterbox",
    "open_photo",
    "sample",
    "samples",
]
