"""What rows have to agree in to belong together: annotations, weights, settings, version."""

import hashlib
from importlib.metadata import version
from typing import Any, cast

import torch
from torch.utils.data import Subset
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.datasets import Dataset, entry_at
from mrcnn_steps.debug.funnel.rows import Header
from mrcnn_steps.files import sha256
from mrcnn_steps.settings import all_settings


def identify(
    model: FasterRCNN, dataset: Dataset, class_names: tuple[str, ...], judgment: dict[str, Any]
) -> Header:
    """Make the header of the rows of a model on a dataset.

    Args:
        model: any.
        dataset: one without an annotations file is read from end to end.
        class_names: the name of each of the model's labels.
        judgment: settings of the judgment, by name.

    Returns:
        The header.

    Raises:
        OSError: the annotations file cannot be read.
    """
    return Header(
        annotations_sha256=annotations_sha256(dataset, class_names),
        weights_sha256=weights_sha256(model),
        settings=judgment | all_settings(model),
        version=version("mrcnn-steps"),
        class_names=class_names,
        photos=len(dataset),
    )


def weights_sha256(model: torch.nn.Module) -> str:
    """Compute the SHA-256 of a model's weights and buffers: name, type, shape and bytes of each."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def annotations_sha256(dataset: Dataset, class_names: tuple[str, ...]) -> str:
    """Compute the SHA-256 of a dataset's annotations.

    Args:
        dataset: a `CocoFolder`, whose file's SHA-256 it is; a subset, whose indices count too; or
            any other, which is read from end to end.
        class_names: see `entry_at`.

    Returns:
        64 hexadecimal digits.

    Raises:
        OSError: the annotations file cannot be read.
    """
    digest = hashlib.sha256()
    if isinstance(dataset, CocoFolder):
        return sha256(dataset.annotations)
    if isinstance(dataset, Subset):
        digest.update(annotations_sha256(cast(Dataset, dataset.dataset), class_names).encode())
        digest.update(str([int(index) for index in dataset.indices]).encode())
    else:
        for index in range(len(dataset)):
            digest.update(_content(dataset, index, class_names))
    return digest.hexdigest()


def _content(dataset: Dataset, index: int, class_names: tuple[str, ...]) -> bytes:
    """Everything that is annotated in a photo; of one that cannot be read, that it cannot."""
    try:
        entry = entry_at(dataset, index, class_names)
    except (OSError, ValueError):
        return b"unread"
    photo = entry.sample
    names = [photo.class_names[label] for label in photo.labels.tolist()]
    parts = [photo.boxes, photo.crowd] if photo.masks is None else [photo.crowd, photo.masks]
    told = f"{entry.image_id} {list(photo.image.shape)} {names}".encode()
    return told + b"".join(part.cpu().contiguous().numpy().tobytes() for part in parts)
