"""One object of a COCO file: every field that is used is checked, and nothing else is kept."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from mrcnn_steps.data import segmentation as coco
from mrcnn_steps.data.field_error import ABSENT, FieldError, fail_number, whole_number
from mrcnn_steps.data.runs import Runs
from mrcnn_steps.data.sample import BOX_TOLERANCE
from mrcnn_steps.data.segmentation import Box

# An annotator's own slip, not a wrong format: a box or an area that still agrees this well with
# its mask. COCO has one in two thousand.
SLIP = 0.9

# No photo is so large; the comparison also keeps out NaN, infinity and whole numbers beyond floats.
MOST = 1e9


class Annotation(NamedTuple):
    """One object.

    Attributes:
        id: the file's.
        image_id: the photo's.
        category_id: the class's.
        crowd: whether it covers a crowd of objects that nobody took apart.
        bbox: `(x, y, width, height)` as the file has it; None if it has none.
        area: as the file has it; None if it has none.
        area_of_box: whether that is the area of the box and not that of the mask.
        segmentation: polygons or run lengths; None where only the box is annotated.
        slip: what is more than two pixels off its mask, "bbox" or "area"; None if nothing is.
    """

    id: int
    image_id: int
    category_id: int
    crowd: bool
    bbox: Box | None
    area: float | None
    area_of_box: bool
    segmentation: Any
    slip: str | None

    def runs(self, height: int, width: int) -> Runs:
        """Draw the mask; only where there is one."""
        return coco.runs(self.segmentation, height, width)

    def rectangle(self, height: int, width: int) -> Box:
        """Give the box as `(x1, y1, x2, y2)` inside the photo; only where the file has one."""
        assert self.bbox is not None
        x, y, w, h = self.bbox
        return max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))

    def judged_box(self, height: int, width: int) -> Box:
        """Give the box that COCO's evaluation judges: the file's own, else that of the mask.

        Args:
            height: of the photo in pixels.
            width: of the photo in pixels.

        Returns:
            `(x1, y1, x2, y2)`; the file's own may reach a little out of the photo.
        """
        if self.bbox is None:
            return self.runs(height, width).box
        x, y, w, h = self.bbox
        return x, y, x + w, y + h


def read_annotation(
    record: Mapping[str, Any],
    sizes: Mapping[int, tuple[int, int]],
    categories: Mapping[int, Any],
    agrees: bool = False,
) -> Annotation:
    """Check a record of a COCO file.

    Args:
        record: an object of the list `annotations`.
        sizes: `(height, width)` of each image, by its id.
        categories: the known categories, by their ids.
        agrees: whether box, area and segmentation are already known to agree.

    Returns:
        What it says.

    Raises:
        FieldError: names the field.
    """
    image_id = record.get("image_id", ABSENT)
    if type(image_id) is not int or image_id not in sizes:
        fail_number("image_id", image_id, "the id of an image")
    category_id = record.get("category_id", ABSENT)
    if type(category_id) is not int or category_id not in categories:
        fail_number("category_id", category_id, "the id of a category")
    crowd = record.get("iscrowd", 0)
    if type(crowd) not in (int, bool) or crowd not in (0, 1):
        raise FieldError("iscrowd", crowd, "0 or 1")
    number = whole_number(record, "id", "a whole number")
    segmentation = record.get("segmentation", ABSENT)
    bbox, area = record.get("bbox", ABSENT), record.get("area", ABSENT)
    if agrees:
        box = tuple(bbox)
        return Annotation(
            number, image_id, category_id, crowd == 1, box, area, False, segmentation, None
        )
    segmentation = None if coco.is_none(segmentation) else segmentation
    mask = _Mask(segmentation, *sizes[image_id])
    bbox, off = _check_bbox(bbox, mask)
    area, area_of_box, area_off = _check_area(area, bbox, mask)
    slip = "bbox" if off else "area" if area_off else None
    return Annotation(
        number, image_id, category_id, crowd == 1, bbox, area, area_of_box, segmentation, slip
    )


class _Mask:
    """A mask whose polygons are only drawn where their outline does not settle the question."""

    def __init__(self, segmentation: Any, height: int, width: int) -> None:
        self.segmentation, self.height, self.width = segmentation, height, width
        self.outline: Box | None = None
        if isinstance(segmentation, dict):
            self.outline = self.runs.box
        elif segmentation is not None:
            self.outline = coco.check_polygons(segmentation, height, width)

    @cached_property
    def runs(self) -> Runs:
        return coco.runs(self.segmentation, self.height, self.width)

    def outlined_area(self) -> float:
        if isinstance(self.segmentation, list):
            return coco.outlined_area(self.segmentation)
        return self.runs.area


def _check_bbox(found: Any, mask: _Mask) -> tuple[Box | None, bool]:
    """Return the box and whether it is off its mask by an annotator's slip."""
    if found is ABSENT:
        if mask.outline is None:
            expected = "polygons or run lengths, or a bbox"
            raise FieldError("segmentation", found, expected, "segmentation_empty")
        return None, False
    expected = "[x, y, width, height], four numbers in pixels"
    if type(found) is not list or len(found) != 4:
        raise FieldError("bbox", found, expected)
    if not all(_is_number(value) for value in found):
        raise FieldError("bbox", found, expected)
    x, y, w, h = found
    if w < 0 or h < 0:
        expected = f"{expected}, width and height not below 0"
        raise FieldError("bbox", found, expected, "bbox_without_area")
    if mask.outline is not None:
        return (x, y, w, h), _is_off_its_mask(found, mask)
    if w == 0 or h == 0:
        expected = f"{expected}, width and height above 0"
        raise FieldError("bbox", found, expected, "bbox_without_area")
    begins_outside = min(x, y) < -BOX_TOLERANCE
    if begins_outside or not _fits(x + w, y + h, mask):
        inside = f"a box inside the {mask.width}×{mask.height} photo as [x, y, width, height]"
        if not begins_outside and x < w and y < h and _fits(w, h, mask):
            raise FieldError("bbox", found, f"{inside}, not the corner (x2, y2)", "bbox_corners")
        raise FieldError("bbox", found, inside, "bbox_outside")
    return (x, y, w, h), False


def _fits(x: float, y: float, mask: _Mask) -> bool:
    return x <= mask.width + BOX_TOLERANCE and y <= mask.height + BOX_TOLERANCE


def _is_off_its_mask(bbox: list[float], mask: _Mask) -> bool:
    """Compare a box with its mask: refused, or an annotator's slip, or right."""
    x, y, w, h = bbox
    corners = (x, y, x + w, y + h)
    assert mask.outline is not None
    x1, y1, x2, y2 = mask.outline
    # Nearly always so, and therefore written out: hundreds of thousands are compared.
    if (
        abs(x - x1) <= BOX_TOLERANCE
        and abs(y - y1) <= BOX_TOLERANCE
        and abs(x + w - x2) <= BOX_TOLERANCE
        and abs(y + h - y2) <= BOX_TOLERANCE
    ):
        return False
    # What is thinner than a pixel belongs to the outline and not to the mask: a box may end at
    # either, or between.
    drawn = mask.runs.box
    if _distance(corners, drawn, mask.outline) <= BOX_TOLERANCE:
        return False
    if _overlap(corners, drawn) >= SLIP:
        return True
    right = [drawn[0], drawn[1], drawn[2] - drawn[0], drawn[3] - drawn[1]]
    expected, code = f"{right}, the box [x, y, width, height] of its mask", "bbox_not_of_mask"
    if _distance((x, y, w, h), drawn, drawn) <= BOX_TOLERANCE:
        expected, code = f"{expected}, not two corners", "bbox_corners"
    elif max(bbox) <= 1:
        expected, code = f"{expected} in pixels, not in shares of the photo", "bbox_normalized"
    raise FieldError("bbox", bbox, expected, code)


def _distance(box: Box, one: Box, other: Box) -> float:
    """How far the sides of a box lie outside the range between those of two others."""
    return max(
        max(min(a, b) - side, side - max(a, b)) for side, a, b in zip(box, one, other, strict=True)
    )


def _overlap(box: Box, other: Box) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    whole = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)) - shared
    return shared / whole if whole else 1.0


def _check_area(found: Any, bbox: Box | None, mask: _Mask) -> tuple[float | None, bool, bool]:
    """Return the area, whether it is the box's, and whether it is off by an annotator's slip."""
    if found is ABSENT:
        return None, False, False
    if not _is_number(found) or found < 0:
        raise FieldError("area", found, "a number of pixels")
    if mask.outline is None:
        assert bbox is not None
        w, h = bbox[2], bbox[3]
        if not 0 < found <= w * h + _slack(w, h):
            expected = f"above 0 and at most the box's {w * h:g} pixels"
            raise FieldError("area", found, expected, "area_not_of_mask")
        return found, True, False
    x1, y1, x2, y2 = mask.outline
    w, h = x2 - x1, y2 - y1
    if abs(found - mask.outlined_area()) <= _slack(w, h):
        return found, False, False
    drawn = mask.runs.area
    if abs(found - drawn) <= _slack(w, h):
        return found, False, False
    if abs(found - (bbox[2] * bbox[3] if bbox else w * h)) <= _slack(w, h):
        return found, True, False
    if SLIP <= found / max(drawn, 1) <= 1 / SLIP:
        return found, False, True
    expected = f"about {drawn}, the pixels of its mask"
    raise FieldError("area", found, expected, "area_not_of_mask")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -MOST < value < MOST


def _slack(width: float, height: float) -> float:
    """By how many pixels an area changes that grows on all sides by the tolerance."""
    return 2 * BOX_TOLERANCE * (width + height + 2 * BOX_TOLERANCE)
