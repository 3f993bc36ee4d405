"""The Mask R-CNNs that come with the package, and how to load any other."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchvision.models.detection import MaskRCNN


def load_model(
    name: str | os.PathLike[str] = "tiny",
    architecture: str | None = None,
    class_names: Iterable[str] | None = None,
) -> "MaskRCNN":
    """Load a trained torchvision detector.

    Args:
        name: "tiny", the bundled model; "coco", torchvision's `maskrcnn_resnet50_fpn` trained on
            COCO (downloaded once, 170 MB); the path of a checkpoint, `.safetensors` or `.pth`; or
            "file.py:function": the file is run, and its function, called without arguments, returns
            the model.
        architecture: For a checkpoint that was not written by this package: "tiny" or the name
            of a torchvision detection model. Without it the shapes in the file have to tell.
        class_names: For a checkpoint that does not tell them: a name for each label, the
            background first.

    Returns:
        A torchvision model in eval mode with the attribute `class_names`: a Mask R-CNN, unless
        the checkpoint is of another detector.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The file is no checkpoint, or does not fit the architecture or the class names;
            the message names the first keys and shapes, or the names, that differ.
        ConnectionError: "coco" is not cached and cannot be downloaded.
    """
    from mrcnn_steps.model.checkpoint import load

    return load(name, architecture, class_names)
