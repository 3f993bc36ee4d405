"""Any dataset: its samples, or torchvision's pairs of an image and a target, one after another."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
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
        if _mistakes(image, target, image_id, findings):
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


def _mistakes(image: Any, target: Mapping[str, Any], image_id: int, findings: Findings) -> bool:
    """Tell the well-known mistakes of a target; the rest is left to `Sample.from_target`."""
    boxes, labels, masks = (target.get(key) for key in ("boxes", "labels", "masks"))
    found = False
    if isinstance(labels, Tensor) and not labels.is_floating_point() and (labels == 0).any():
        detail = f"image {image_id}, {int((labels == 0).sum())} of {labels.numel()}"
        findings.add("label_zero", detail, [image_id])
        found = True
    if not isinstance(image, Tensor) or image.ndim != 3:
        return found
    size = height, width = image.shape[1], image.shape[2]
    of_masks = tuple(masks.shape[1:]) if isinstance(masks, Tensor) else None
    if isinstance(masks, Tensor) and of_masks == (width, height) != size:
        detail = f"image {image_id}, masks {list(masks.shape)} of a photo {list(image.shape)}"
        findings.add("segmentation_swapped", detail, [image_id], count=len(masks))
        return True
    if isinstance(boxes, Tensor) and boxes.ndim == 2 and boxes.shape[1] == 4:
        found |= _tell_boxes(_plain(boxes).double(), masks, size, image_id, findings)
    return found


def _tell_boxes(
    boxes: Float[Tensor, "N 4"],
    masks: Any,
    size: tuple[int, int],
    image_id: int,
    findings: Findings,
) -> bool:
    wrong = _wrong_boxes(boxes, masks, size)
    if wrong is not None:
        detail = f"image {image_id}, {wrong.detail}"
        findings.add(wrong.code, detail, [image_id], wrong.rows, count=len(wrong.rows))
    return wrong is not None


class Wrong(NamedTuple):
    """What is wrong with some of a photo's boxes.

    Attributes:
        code: of the finding.
        rows: of the boxes.
        detail: of the first.
    """

    code: str
    rows: list[int]
    detail: str


def _wrong_boxes(boxes: Float[Tensor, "N 4"], masks: Any, size: tuple[int, int]) -> Wrong | None:
    """Name what is wrong with the boxes of a photo; with masks, these tell what is right."""
    if not len(boxes) or not boxes.isfinite().all():
        return None
    height, width = size
    limit = boxes.new_tensor([width, height]) + BOX_TOLERANCE
    corner, second = boxes[:, :2], boxes[:, 2:]

    def wrong(code: str, rows: Bool[Tensor, "N"]) -> Wrong:
        where = rows.nonzero().flatten().tolist()
        return Wrong(code, where, f"{_short(boxes[where[0]])} in a {width}×{height} photo")

    if boxes.max() <= 1 < min(size) and boxes.min() >= 0:
        return wrong("bbox_normalized", torch.ones_like(boxes[:, 0], dtype=torch.bool))
    if isinstance(masks, Tensor) and masks.shape == (len(boxes), *size):
        return _far_from_masks(boxes, boxes_from_masks(_plain(masks) != 0).double())
    disordered = (second < corner).any(dim=1)
    if disordered.any():
        as_sizes = (corner + second <= limit).all() and (second > 0).all()
        return wrong("bbox_sizes" if as_sizes else "bbox_without_area", disordered)
    flat = (second == corner).any(dim=1)
    outside = (corner < -BOX_TOLERANCE).any(dim=1) | (second > limit).any(dim=1)
    for code, rows in (("bbox_without_area", flat), ("bbox_outside", outside)):
        if rows.any():
            return wrong(code, rows)
    return None


def _far_from_masks(boxes: Float[Tensor, "N 4"], right: Float[Tensor, "N 4"]) -> Wrong | None:
    """Compare boxes with those of their masks, as corners and as x, y, width and height."""
    far = (boxes - right).abs().amax(dim=1) > BOX_TOLERANCE
    # A mask without pixels has a code of its own.
    far &= (right[:, 2:] > right[:, :2]).all(dim=1)
    if not far.any():
        return None
    rows = far.nonzero().flatten().tolist()
    sizes = torch.cat((right[:, :2], right[:, 2:] - right[:, :2]), dim=1)
    as_sizes = ((boxes - sizes)[far].abs() <= BOX_TOLERANCE).all()
    detail = f"{_short(boxes[rows[0]])}, of a mask with the box {_short(right[rows[0]])}"
    return Wrong("bbox_sizes" if as_sizes else "bbox_not_of_mask", rows, detail)


def _short(box: Float[Tensor, "4"]) -> list[float]:
    return [round(side, 2) for side in box.tolist()]


def _check_sample(sample: Sample, image_id: int, scale: Scale, findings: Findings) -> None:
    if not len(sample.labels):
        findings.add("photo_without_objects", f"image {image_id}", [image_id])
        return
    height, width = sample.image.shape[1:]
    rows = tuple(range(len(sample.labels)))
    if sample.masks is not None:
        for row in (~sample.filled).nonzero().flatten().tolist():
            findings.add("mask_empty", f"image {image_id}, object {row}", [image_id], [row])
    _tell_boxes(sample.boxes.double(), sample.masks, (height, width), image_id, findings)
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
