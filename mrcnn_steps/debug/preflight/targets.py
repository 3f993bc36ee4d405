"""Any dataset: its samples, or torchvision's pairs of an image and a target, one after another."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.sample import BOX_TOLERANCE, Sample
from mrcnn_steps.debug.datasets import Dataset, class_names_of, entry_at
from mrcnn_steps.debug.preflight.codes import Findings
from mrcnn_steps.debug.preflight.inputs import check_range
from mrcnn_steps.debug.preflight.objects import Objects, Scale, check_alike, check_small
from mrcnn_steps.mini_masks import boxes_from_masks


class Seen(NamedTuple):
    """What a walk through a dataset leaves.

    Attributes:
        class_names: all that its samples name, the background first.
        used: those of its objects.
        digests: of the pixels of each photo, with its id.
    """

    class_names: tuple[str, ...]
    used: frozenset[str]
    digests: dict[bytes, int]


def check_dataset(
    dataset: Dataset, class_names: Sequence[str] | None, scale: Scale, findings: Findings
) -> Seen:
    """Look at every item of a dataset.

    Args:
        dataset: gives samples or pairs.
        class_names: of a dataset of pairs that does not tell them.
        scale: of the model, or of the photos themselves.
        findings: where they go.

    Returns:
        What the checks of the whole need.
    """
    named = dict.fromkeys(class_names_of(dataset) or class_names or ("background",))
    used: set[str] = set()
    digests: dict[bytes, int] = {}
    for index in tqdm(range(len(dataset)), "check photos", unit="", leave=False, disable=None):
        try:
            item = dataset[index]
        except Exception as error:  # whatever somebody's dataset raises concerns this photo alone
            findings.add("target_invalid", f"dataset[{index}]: {_words(error)}", [index])
            continue
        image_id = _image_id(item, index)
        image = image_of(item)
        if isinstance(image, Tensor):
            check_range(image, image_id, findings)
            twin = digests.setdefault(_digest(image), image_id)
            if twin != image_id:
                findings.add("photo_twice", f"images {twin} and {image_id}", [twin, image_id])
        sample = _sample(item, index, image_id, tuple(named), findings)
        if sample is None:
            continue
        named |= dict.fromkeys(sample.class_names)
        used |= {sample.class_names[label] for label in sample.labels.tolist()}
        _check_sample(sample, image_id, scale, findings)
    return Seen(tuple(named), frozenset(used), digests)


def readable(dataset: Dataset, indices: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
    """Give the images of a dataset that can be read, each with its index."""
    for index in indices:
        try:
            item = dataset.image(index) if isinstance(dataset, CocoFolder) else dataset[index]
        except Exception:  # a finding of its own
            continue
        image = image_of(item)
        if isinstance(image, Tensor) and image.numel():
            yield index, image


def pixels_of(dataset: Dataset) -> dict[bytes, int]:
    """Give a digest of the pixels of each photo of a dataset, with its index."""
    indices = tqdm(range(len(dataset)), "compare photos", unit="", leave=False, disable=None)
    return {_digest(image): index for index, image in readable(dataset, indices)}


def image_of(item: Any) -> Any:
    """Give the image of an item of a dataset; None if it has none, and whatever stands there."""
    if isinstance(item, Sample | Tensor):
        return item.image if isinstance(item, Sample) else item
    return item[0] if isinstance(item, tuple | list) and len(item) == 2 else None


def _sample(
    item: Any, index: int, image_id: int, class_names: Sequence[str], findings: Findings
) -> Sample | None:
    """Make a sample of an item; what keeps it from being one becomes a finding."""
    if not isinstance(item, Sample) and isinstance(_target(item), Mapping):
        image, target = item
        codes = _codes(image, target)
        for code, detail in codes:
            findings.add(code, f"image {image_id}: {detail}", [image_id])
        if codes:
            return None
        # Values out of range are told already; only the objects are asked for here.
        if isinstance(image, Tensor) and image.is_floating_point():
            item = (torch.zeros(image.shape, dtype=torch.uint8), target)
    try:
        return entry_at([item], 0, class_names).sample
    except (TypeError, ValueError) as error:
        said = str(error).removeprefix("dataset[0]: ")
        findings.add("target_invalid", f"dataset[{index}]: {said}", [image_id])
        return None


def _codes(image: Any, target: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name the well-known mistakes of a target; the rest is left to `Sample.from_target`."""
    boxes, labels, masks = (target.get(key) for key in ("boxes", "labels", "masks"))
    codes = []
    if isinstance(labels, Tensor) and not labels.is_floating_point() and (labels == 0).any():
        codes.append(("label_zero", f"{int((labels == 0).sum())} of {labels.numel()} objects"))
    if not isinstance(image, Tensor) or image.ndim != 3:
        return codes
    height, width = image.shape[1:]
    of_masks = tuple(masks.shape[1:]) if isinstance(masks, Tensor) else None
    if isinstance(masks, Tensor) and of_masks == (width, height) != (height, width):
        detail = f"masks {list(masks.shape)} of a photo {list(image.shape)}"
        return [*codes, ("segmentation_swapped", detail)]
    if isinstance(boxes, Tensor) and boxes.ndim == 2 and boxes.shape[1] == 4 and len(boxes):
        found = _code_of_boxes(_plain(boxes).double(), masks, (height, width))
        if found is not None:
            codes.append(found)
    return codes


def _code_of_boxes(
    boxes: Float[Tensor, "N 4"], masks: Any, size: tuple[int, int]
) -> tuple[str, str] | None:
    """Name what is wrong with the boxes of a photo, and the first that it is wrong with."""
    if not boxes.isfinite().all():
        return None
    height, width = size
    limit = boxes.new_tensor([width, height]) + BOX_TOLERANCE
    if boxes.max() <= 1 < min(size) and boxes.min() >= 0:
        return "bbox_normalized", f"{boxes[0].tolist()} in a {width}×{height} photo"
    corner, second = boxes[:, :2], boxes[:, 2:]
    as_sizes = (corner + second <= limit).all() and (second > 0).all()
    if isinstance(masks, Tensor) and masks.shape == (len(boxes), *size):
        right = boxes_from_masks(_plain(masks) != 0).double()
        far = (boxes - right).abs().amax(dim=1) > BOX_TOLERANCE
        far &= (right[:, 2:] > right[:, :2]).all(dim=1)
        sizes = torch.cat((right[:, :2], right[:, 2:] - right[:, :2]), dim=1)
        if far.any():
            row = int(far.nonzero()[0])
            swapped = ((boxes - sizes)[far].abs() <= BOX_TOLERANCE).all()
            code = "bbox_sizes" if swapped else "bbox_not_of_mask"
            return code, f"{boxes[row].tolist()}, of a mask with the box {right[row].tolist()}"
        return None
    disordered = (second < corner).any(dim=1)
    if disordered.any():
        row = int(disordered.nonzero()[0])
        code = "bbox_sizes" if as_sizes else "bbox_without_area"
        return code, f"{boxes[row].tolist()} in a {width}×{height} photo"
    flat = (second == corner).any(dim=1)
    if flat.any():
        return "bbox_without_area", f"{boxes[int(flat.nonzero()[0])].tolist()}"
    outside = (corner < -BOX_TOLERANCE).any(dim=1) | (second > limit).any(dim=1)
    if outside.any():
        row = int(outside.nonzero()[0])
        return "bbox_outside", f"{boxes[row].tolist()} in a {width}×{height} photo"
    return None


def _check_sample(sample: Sample, image_id: int, scale: Scale, findings: Findings) -> None:
    if not len(sample.labels):
        findings.add("photo_without_objects", f"image {image_id}", [image_id])
        return
    height, width = sample.image.shape[1:]
    rows = tuple(range(len(sample.labels)))
    for row in (~sample.filled).nonzero().flatten().tolist():
        code = "bbox_without_area" if sample.masks is None else "mask_empty"
        findings.add(code, f"image {image_id}, object {row}", [image_id], [row])
    wrong = _code_of_boxes(sample.boxes.double(), sample.masks, (height, width))
    if wrong is not None and wrong[0] != "bbox_without_area":
        findings.add(wrong[0], f"image {image_id}: {wrong[1]}", [image_id])
    objects = Objects(
        image_id=image_id,
        size=(height, width),
        ids=rows,
        names=tuple(sample.class_names[label] for label in sample.labels.tolist()),
        crowd=tuple(sample.crowd.tolist()),
        boxes=sample.boxes.cpu(),
        mask=lambda row: None if sample.masks is None else sample.masks[row].cpu().numpy(),
    )
    check_alike(objects, findings)
    check_small(objects, scale, findings)


def _plain(tensor: Tensor) -> Tensor:
    """Give a tensor without what torchvision's own kinds of tensor add."""
    return tensor.as_subclass(Tensor)


def _digest(image: Tensor) -> bytes:
    """Give a digest of an image that is the same for 0…255 and for 0…1."""
    whole = (image.detach() * 255).round() if image.is_floating_point() else image.detach()
    return hashlib.sha256(whole.clamp(0, 255).to(torch.uint8).cpu().numpy().tobytes()).digest()


def _target(item: Any) -> Any:
    return item[1] if isinstance(item, tuple | list) and len(item) == 2 else None


def _image_id(item: Any, index: int) -> int:
    target = _target(item)
    found = target.get("image_id", index) if isinstance(target, Mapping) else index
    if isinstance(found, Tensor) and found.numel() == 1:
        found = found.item()
    return found if type(found) is int else index


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".split("\n")[0]
