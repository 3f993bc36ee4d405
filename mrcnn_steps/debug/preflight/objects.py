"""Objects that can be used and look wrong: annotated twice, far too small, in other units."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.annotation import Annotation
from mrcnn_steps.debug.preflight.codes import Findings
from mrcnn_steps.debug.preflight.records import ids_of
from mrcnn_steps.matching import overlaps

# From this IoU on two objects are taken for one that is annotated twice.
ALIKE = 0.95

# Masks are only drawn and compared where their boxes overlap by this much.
LIKELY = 0.8

# Rows of a photo's table of overlaps that are held at once: a photo may have thousands of objects.
ROWS = 1024

# In a file of corners about half of the boxes cannot be taken for anything else: those whose center
# lies beyond that of the photo. Far fewer are mistakes of their own.
CORNERS_ONE_IN = 4

# A mask that is thinner than so many pixels may have none.
THIN = 2.0


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of a photo, wherever they come from.

    Attributes:
        image_id: the photo's.
        size: its `(height, width)`.
        ids: of the annotations.
        names: of the classes.
        crowd: which are crowds.
        boxes: [N, 4] `(x1, y1, x2, y2)` in pixels of the photo.
        mask: gives the pixels of one; None where only its box is annotated.
    """

    image_id: int
    size: tuple[int, int]
    ids: tuple[int, ...]
    names: tuple[str, ...]
    crowd: tuple[bool, ...]
    boxes: Float[Tensor, "N 4"]
    mask: Callable[[int], Bool[np.ndarray, "H W"] | None]


@dataclass(frozen=True)
class Scale:
    """What a model's input makes of a photo.

    Attributes:
        of: pixels of the input per pixel of a photo of `(height, width)`, across and down.
        cell: side of a cell of the finest map, in pixels of the input; 0 without a model.
    """

    of: Callable[[tuple[int, int]], tuple[float, float]]
    cell: float


def objects_of(folder: CocoFolder, index: int) -> Objects:
    """Give the objects of a photo with the boxes that the file has, where it has them."""
    photo, annotations = folder.photos[index], folder.objects(index)
    size = photo.height, photo.width
    boxes = [each.rectangle(*size) if each.bbox else each.runs(*size).box for each in annotations]
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    # A box at the border may be off its mask by two pixels, and so lie wholly outside the photo.
    corners[:, 2:] = corners[:, 2:].maximum(corners[:, :2])
    name_of = dict(zip(folder.category_ids, folder.class_names[1:], strict=True))
    return Objects(
        image_id=photo.id,
        size=size,
        ids=tuple(each.id for each in annotations),
        names=tuple(name_of[each.category_id] for each in annotations),
        crowd=tuple(each.crowd for each in annotations),
        boxes=corners,
        mask=partial(_mask, annotations, size),
    )


def _mask(
    annotations: tuple[Annotation, ...], size: tuple[int, int], row: int
) -> Bool[np.ndarray, "H W"] | None:
    one = annotations[row]
    return None if one.segmentation is None else one.runs(*size).mask()


def check_folder(folder: CocoFolder, scale: Scale, findings: Findings) -> None:
    """Look at the objects of a COCO file that can be used.

    Args:
        folder: the file.
        scale: of the model, or of the photos themselves.
        findings: where they go.
    """
    every = [folder.objects(index) for index in range(len(folder))]
    boxes_only = sum(each.segmentation is None for each in chain(*every))
    alone = boxes_only == sum(map(len, every))
    corners = _all_are_corners(folder)
    robbed = {image_id for fault in folder.left_out for image_id in ids_of(fault)[0]}
    indices = tqdm(range(len(folder)), "check objects", unit="", leave=False, disable=None)
    for index in indices:
        size = folder.photos[index].height, folder.photos[index].width
        if not every[index]:
            if folder.image_ids[index] not in robbed:
                name = folder.photos[index].file_name
                findings.add("photo_without_objects", repr(name), [folder.image_ids[index]])
            continue
        for one in every[index]:
            for code in _codes(one, size, alone, corners):
                findings.add(code, _told(one, size), [one.image_id], [one.id])
        objects = objects_of(folder, index)
        check_alike(objects, findings)
        check_small(objects, scale, findings)


def _codes(one: Annotation, size: tuple[int, int], alone: bool, corners: bool) -> Iterator[str]:
    height, width = size
    box = one.bbox or (0.0, 0.0, *size)
    w, h = box[2:]
    if one.slip:
        yield f"{one.slip}_off"
    if one.segmentation is None:
        yield "boxes_only" if alone else "mask_missing"
    # A box of whole numbers may be the first pixel of the photo.
    fractions = any(side % 1 for side in box)
    if fractions and max(box) <= 1 < min(height, width):
        yield "bbox_normalized"
    elif one.segmentation is None and corners:
        yield "bbox_corners"
    thin = one.bbox is None or min(w, h) < THIN
    if one.segmentation is not None and thin and not one.runs(height, width).area:
        yield "mask_empty"


def _told(one: Annotation, size: tuple[int, int]) -> str:
    box = "no bbox" if one.bbox is None else f"bbox {[round(side, 2) for side in one.bbox]}"
    return f"annotation {one.id}, {box} in a {size[1]}×{size[0]} photo"


def _all_are_corners(folder: CocoFolder) -> bool:
    """Whether many boxes can only be corners, and no box of the file contradicts that.

    A corner that happens to lie inside the photo as a width and a height is not seen by itself.
    """
    refused = sum(fault.code == "bbox_corners" for fault in folder.left_out)
    boxes = [one.bbox for index in range(len(folder)) for one in folder.objects(index)]
    if refused * CORNERS_ONE_IN < refused + len(boxes):
        return False
    return all(box is not None and box[0] < box[2] and box[1] < box[3] for box in boxes)


def check_alike(objects: Objects, findings: Findings) -> None:
    """Find objects that are probably one, annotated twice.

    The IoU is that of the masks where both have one, and that of the boxes otherwise. Crowds take
    no part.

    Args:
        objects: of a photo.
        findings: where they go.
    """
    rows = [row for row, crowd in enumerate(objects.crowd) if not crowd]
    boxes = objects.boxes[rows]
    for start in range(0, len(rows), ROWS):
        table = overlaps(boxes[start : start + ROWS], boxes)
        # Each pair once, the later one in front; and each object once as the later one.
        likely = (table >= LIKELY).tril(start - 1).nonzero().tolist()
        told: set[tuple[int, str]] = set()
        for later, earlier in likely:
            one, other = rows[start + later], rows[earlier]
            same = objects.names[one] == objects.names[other]
            code = "objects_alike" if same else "objects_alike_of_two_classes"
            if (one, code) in told:
                continue
            iou = _iou(objects, one, other, float(table[later, earlier]))
            if iou >= ALIKE:
                told.add((one, code))
                ids = objects.ids[other], objects.ids[one]
                names = f"{objects.names[other]!r} and {objects.names[one]!r}"
                detail = f"annotations {ids[0]} and {ids[1]}, {names}, IoU {iou:.3f}"
                findings.add(code, detail, [objects.image_id], ids)


def _iou(objects: Objects, one: int, other: int, of_boxes: float) -> float:
    mask, another = objects.mask(one), objects.mask(other)
    if mask is None or another is None:
        return of_boxes
    united = int((mask | another).sum())
    return int((mask & another).sum()) / united if united else 0.0


def check_small(objects: Objects, scale: Scale, findings: Findings) -> None:
    """Find objects that the network hardly sees.

    Args:
        objects: of a photo.
        scale: of the model, or of the photos themselves.
        findings: where they go.
    """
    across, down = scale.of(objects.size)
    sides = (objects.boxes[:, 2:] - objects.boxes[:, :2]) * torch.tensor([across, down])
    for row, (width, height) in enumerate(sides.tolist()):
        # What has no area at all has a code of its own.
        if objects.crowd[row] or min(width, height) <= 0:
            continue
        if min(width, height) < 1:
            code = "object_below_pixel"
        elif max(width, height) < scale.cell:
            code = "object_below_cell"
        else:
            continue
        detail = f"annotation {objects.ids[row]} has {width:.2f}×{height:.2f} pixels there"
        findings.add(code, detail, [objects.image_id], [objects.ids[row]])
