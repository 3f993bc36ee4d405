"""Datasets: anything with `len` and `[i]` that gives a `Sample` or torchvision's `(image, target)`.

Beside its sample, a photo has an id and a name, and each of its objects an id, so that rows about
them join the tables of the person whose data it is. Read with `entry_at`, which opens a photo once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.utils.data import Subset

from mrcnn_steps.class_names import check_class_names
from mrcnn_steps.data import CocoFolder, Sample

EXPECTED = "a Sample, or torchvision's (image, target)"


@runtime_checkable
class Dataset(Protocol):
    """What can be diagnosed."""

    def __len__(self) -> int:
        """Return the number of photos."""

    def __getitem__(self, index: int, /) -> Any:
        """Give a photo with its objects."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A photo of a dataset with what identifies it and its objects.

    Attributes:
        sample: the photo and its objects.
        image_id: the file's, the target's `image_id`, or else the photo's index.
        name: what the photo is called: its file's path, or the sample's name.
        annotation_ids: of each of the sample's objects: the file's, or else its row.
        labelled: the names of the classes of which every object in the photo is annotated; None:
            all are.
        pixels: [3, H, W] what the dataset gives for a photo, where that leaves 0…1; the sample's
            image is black then.
    """

    sample: Sample
    image_id: int
    name: str
    annotation_ids: tuple[int, ...]
    labelled: frozenset[str] | None = None
    pixels: Float[Tensor, "3 H W"] | None = None


@dataclass(frozen=True, eq=False)
class Outline:
    """The objects of a photo without its pixels.

    Attributes:
        size: `(height, width)` of the photo in pixels.
        boxes: [N, 4] in pixels of the photo.
        labels: [N] the class of each.
        crowd: [N] whether it is a crowd.
        filled: [N] whether it has pixels.
        class_names: the name of each label, the background first.
    """

    size: tuple[int, int]
    boxes: Float[Tensor, "N 4"]
    labels: Int64[Tensor, "N"]
    crowd: Bool[Tensor, "N"]
    filled: Bool[Tensor, "N"]
    class_names: tuple[str, ...]


def outline_at(dataset: Dataset, index: int, class_names: Sequence[str] | None = None) -> Outline:
    """Give the objects of a photo; those of a `CocoFolder` without opening it. See `entry_at`."""
    whole, place = _whole(dataset, index)
    if not isinstance(whole, CocoFolder):
        one = entry_at(dataset, index, class_names, any_range=True).sample
        height, width = one.image.shape[1:]
        return Outline(
            (height, width), one.boxes, one.labels, one.crowd, one.filled, one.class_names
        )
    width, height = whole.image_size(place)
    objects, boxes = whole.objects(place), whole.boxes(place)
    labels = [whole.category_ids.index(each.category_id) + 1 for each in objects]
    return Outline(
        (height, width),
        boxes,
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor([each.crowd for each in objects], dtype=torch.bool),
        # The box of a mask without pixels is (0, 0, 0, 0).
        (boxes[:, 2:] > boxes[:, :2]).all(dim=1),
        whole.class_names,
    )


def entry_at(
    dataset: Dataset,
    index: int,
    class_names: Sequence[str] | None = None,
    any_range: bool = False,
) -> Entry:
    """Read a photo of a dataset.

    The boxes of a `CocoFolder` are the file's own, where it has any, and not those of the masks:
    COCO's evaluation judges these, and who counts with them agrees with it to the last object.

    Args:
        dataset: gives samples or pairs; a `torch.utils.data.Subset` of one will do.
        index: which photo.
        class_names: of a dataset of pairs that has no attribute `class_names`: the name of each
            label, the background first, such as the model's. Labels without a name are numbered.
        any_range: also take a pair whose photo leaves 0…1, since it was normalized already, or
            never divided by 255. Nobody can tell what it looked like; see `Entry.pixels`.

    Returns:
        The photo and its ids.

    Raises:
        TypeError: the dataset gives something else; names the photo and what was found.
        ValueError: a target is not what `Sample.from_target` takes; names the photo.
        OSError: a photo cannot be read.
    """
    found, pixels = dataset[index], None
    if isinstance(found, Sample):
        name, image_id = found.name, None
    elif isinstance(found, tuple | list) and len(found) == 2 and isinstance(found[1], Mapping):
        image, target = found
        if any_range and _leaves_unit_range(image):
            image, pixels = torch.zeros(image.shape, dtype=torch.uint8), image
        image_id = target.get("image_id")
        found = _from_target(dataset, index, image, target, class_names)
        name = found.name
    else:
        raise TypeError(f"dataset[{index}]: expected {EXPECTED}, found {_kind(found)}")
    whole, place = _whole(dataset, index)
    if isinstance(whole, CocoFolder):
        return _coco_entry(whole, place, found)
    rows = tuple(range(len(found.labels)))
    return Entry(found, _whole_number(image_id, place), name, rows, pixels=pixels)


def _coco_entry(folder: CocoFolder, index: int, found: Sample) -> Entry:
    height, width = found.image.shape[1:]
    judged = [each.judged_box(height, width) for each in folder.objects(index)]
    boxes = torch.tensor(judged, dtype=torch.float32).reshape(-1, 4)
    # The file's box of a thin mask may have no area, and nothing can be trained on it.
    filled = (boxes[:, 2:] > boxes[:, :2]).all(dim=1, keepdim=True)
    labels = folder.labelled_labels(index)
    return Entry(
        sample=replace(found, boxes=boxes.where(filled, found.boxes)),
        image_id=folder.image_ids[index],
        name=_photo_name(folder, index),
        annotation_ids=folder.annotation_ids(index),
        labelled=None if labels is None else frozenset(found.class_names[k] for k in labels),
    )


def known_at(dataset: Dataset, index: int) -> tuple[int, str]:
    """Give id and name of a photo that cannot be read, as far as they are known without it."""
    whole, place = _whole(dataset, index)
    if isinstance(whole, CocoFolder):
        return whole.image_ids[place], _photo_name(whole, place)
    return place, f"photo {place}"


def sample_at(dataset: Dataset, index: int, class_names: Sequence[str] | None = None) -> Sample:
    """Read a photo with its objects; see `entry_at`."""
    return entry_at(dataset, index, class_names).sample


def image_id_at(dataset: Dataset, index: int) -> int:
    """Give the id of a photo; that of a `CocoFolder` without opening it. See `entry_at`."""
    whole, place = _whole(dataset, index)
    if isinstance(whole, CocoFolder):
        return whole.image_ids[place]
    return entry_at(dataset, index).image_id


def photo_name_at(dataset: Dataset, index: int) -> str:
    """Give the name of a photo; that of a `CocoFolder` without opening it. See `entry_at`."""
    whole, place = _whole(dataset, index)
    if isinstance(whole, CocoFolder):
        return _photo_name(whole, place)
    return entry_at(dataset, index).name


def annotation_ids_at(dataset: Dataset, index: int) -> tuple[int, ...]:
    """Give the ids of a photo's objects in the order of the sample's rows; see `entry_at`."""
    whole, place = _whole(dataset, index)
    if isinstance(whole, CocoFolder):
        return whole.annotation_ids(place)
    return entry_at(dataset, index).annotation_ids


def class_names_of(dataset: Dataset) -> tuple[str, ...] | None:
    """Give the names of a dataset's labels, the background first; None if it has none."""
    names = getattr(_whole(dataset, 0)[0], "class_names", None)
    return None if names is None else check_class_names(names, "dataset.class_names")


def _whole(dataset: Any, index: int) -> tuple[Any, int]:
    """Give the dataset that a subset is of, and the photo's place there."""
    while isinstance(dataset, Subset):
        index = dataset.indices[index] if len(dataset) else 0
        dataset = dataset.dataset
    return dataset, index


def _photo_name(folder: CocoFolder, index: int) -> str:
    return folder.photos[index].file_name


def _from_target(
    dataset: Dataset,
    index: int,
    image: Any,
    target: Mapping[str, Any],
    class_names: Sequence[str] | None,
) -> Sample:
    labels = target.get("labels")
    most = int(labels.max()) if isinstance(labels, Tensor) and labels.numel() else 0
    names = class_names_of(dataset) or class_names or ("background",)
    numbered = (f"class {label}" for label in range(len(names), most + 1))
    try:
        return Sample.from_target(image, target, (*names, *numbered))
    except TypeError as error:
        raise TypeError(f"dataset[{index}]: {error}") from error
    except ValueError as error:
        raise ValueError(f"dataset[{index}]: {error}") from error


def _leaves_unit_range(image: Any) -> bool:
    if not isinstance(image, Tensor) or not image.is_floating_point() or not image.numel():
        return False
    return bool(image.isfinite().all() and (image.min() < 0 or image.max() > 1))


def _whole_number(found: Any, otherwise: int) -> int:
    if isinstance(found, Tensor) and found.numel() == 1:
        found = found.item()
    return found if type(found) is int else otherwise


def _kind(found: Any) -> str:
    if isinstance(found, tuple | list):
        return f"a {type(found).__name__} of {', '.join(type(each).__name__ for each in found)}"
    return f"a {type(found).__name__}"
