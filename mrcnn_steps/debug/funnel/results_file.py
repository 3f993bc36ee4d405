"""Reading COCO results, the detections that any framework writes: every field is checked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.field_error import ABSENT, FieldError, fail_number, whole_number
from mrcnn_steps.data.segmentation import check_polygons, is_none, runs

Box = tuple[float, float, float, float]

# No photo is so large; the comparison also keeps out NaN, infinity and whole numbers beyond floats.
MOST = 1e9

BBOX = "x, y, width and height, in pixels of the photo"

# A detection may end a little outside its photo; if more than one in so many end further outside,
# they are no boxes of this format.
OUTSIDE, ODD_ONE_IN = 2.0, 20
# So few boxes may have any shape by chance.
ENOUGH_BOXES = 10


class Result(NamedTuple):
    """A detection.

    Attributes:
        image_id: of its photo.
        category_id: of the class that it claims.
        box: `(x1, y1, x2, y2)` in pixels of the photo.
        score: 0…1.
    """

    image_id: int
    category_id: int
    box: Box
    score: float


def read_results(path: Path, folder: CocoFolder) -> list[Result]:
    """Read a file of COCO results.

    Args:
        path: a JSON list of `image_id`, `category_id`, `score`, and `bbox` or `segmentation`.
        folder: the photos and categories that they are about.

    Returns:
        The detections, in the order of the file; those of photos and categories that the folder
        has left out are left out too.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such list, a field is missing or no such value, or the boxes are no
            `x, y, width, height`; names the file, the place and the field.
    """
    known = _Known(folder)
    try:
        records = json.loads(path.read_bytes())
        if not isinstance(records, list):
            expected = "a list of detections, as COCO's results are"
            if isinstance(records, dict) and "annotations" in records:
                expected += "; this may be a file of annotations"
            raise FieldError("the file", records, expected)
        read = (_result(each, place, known) for place, each in enumerate(records))
        found = [each for each in read if each is not None]
        _check_layout(found, known.sizes)
    except FieldError as fault:
        raise ValueError(f"{path}: {fault}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: found {error}, expected complete JSON") from error
    return found


class _Known:
    """The ids of a folder, and those that it has left out."""

    def __init__(self, folder: CocoFolder) -> None:
        sizes = map(folder.image_size, range(len(folder)))
        self.sizes = dict(zip(folder.image_ids, sizes, strict=True))
        self.categories = frozenset(folder.category_ids)
        self.left_out = frozenset(
            (fault.key, fault.record["id"])
            for fault in folder.left_out
            if isinstance(fault.record, dict) and type(fault.record.get("id")) is int
        )


def _result(record: Any, place: int, known: _Known) -> Result | None:
    """Read a detection; None of a photo or a category that is left out."""
    try:
        if not isinstance(record, dict):
            raise FieldError("the detection", record, "an object")
        image_id = whole_number(record, "image_id", "the id of an image")
        category_id = whole_number(record, "category_id", "the id of a category")
        if {("images", image_id), ("categories", category_id)} & known.left_out:
            return None
        if image_id not in known.sizes:
            raise FieldError("image_id", image_id, "the id of an image of the annotations file")
        if category_id not in known.categories:
            expected = f"the id of a category: {_few(known.categories)}"
            raise FieldError("category_id", category_id, expected)
        score = _number(record.get("score", ABSENT), "score", "a number from 0 to 1")
        if not 0 <= score <= 1:
            raise FieldError("score", score, "a number from 0 to 1")
        return Result(image_id, category_id, _box(record, known.sizes[image_id]), score)
    except FieldError as fault:
        raise FieldError(f"[{place}].{fault.field}", fault.found, fault.expected) from None


def _box(record: dict[str, Any], size: tuple[int, int]) -> Box:
    """Give the box; of a mask without one, that of the mask, as pycocotools does."""
    bbox, segmentation = record.get("bbox", ABSENT), record.get("segmentation", ABSENT)
    if is_none(bbox) and not is_none(segmentation):
        if isinstance(segmentation, list):
            check_polygons(segmentation, size[1], size[0])
        return runs(segmentation, size[1], size[0]).box
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise FieldError("bbox", bbox, BBOX)
    x, y, width, height = (_number(each, "bbox", BBOX, bbox) for each in bbox)
    if min(width, height) < 0:
        raise FieldError("bbox", bbox, f"{BBOX}; no side is below 0")
    return x, y, x + width, y + height


def _number(found: Any, field: str, expected: str, whole: Any = None) -> float:
    """Read a number of a field, or of the list that is the whole field."""
    if type(found) in (int, float) and -MOST < found < MOST:
        return float(found)
    if whole is not None:
        raise FieldError(field, whole, expected)
    fail_number(field, found, expected)


def _check_layout(found: Sequence[Result], sizes: dict[int, tuple[int, int]]) -> None:
    """Refuse boxes that are corners, or shares of the photo's sides.

    Raises:
        FieldError: as `x, y, width, height` many boxes end outside their photos, and as corners
            all of them fit; or none of them reaches two pixels.
    """
    if len(found) < ENOUGH_BOXES:
        return
    odd = [place for place, each in enumerate(found) if _ends_outside(each, *sizes[each.image_id])]
    corners = all(_could_be_corners(each, *sizes[each.image_id]) for each in found)
    if len(odd) * ODD_ONE_IN > len(found) and corners:
        outside = f"{len(odd)} of {len(found)} boxes would end outside their photos"
        expected = f"{BBOX}; {outside}: are they corners?"
        raise FieldError(f"[{odd[0]}].bbox", _as_read(found[odd[0]]), expected)
    if all(max(each.box) <= 2 for each in found):
        expected = f"{BBOX}; are these shares of the photo's sides?"
        raise FieldError("[0].bbox", _as_read(found[0]), expected)


def _as_read(result: Result) -> list[float]:
    x1, y1, x2, y2 = result.box
    return [x1, y1, x2 - x1, y2 - y1]


def _ends_outside(result: Result, width: int, height: int) -> bool:
    return result.box[2] > width + OUTSIDE or result.box[3] > height + OUTSIDE


def _could_be_corners(result: Result, width: int, height: int) -> bool:
    x1, y1, x2, y2 = _as_read(result)
    return x1 <= x2 <= width + OUTSIDE and y1 <= y2 <= height + OUTSIDE


def _few(ids: frozenset[int]) -> str:
    listed = sorted(ids)
    return ", ".join(map(str, listed[:8])) + (", …" if len(listed) > 8 else "")
