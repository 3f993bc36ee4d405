"""What preflight looks for: every code with its level, its words and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from mrcnn_steps.debug.findings import Finding, Level


class Code(NamedTuple):
    """A kind of finding.

    Attributes:
        level: how bad it is.
        noun: what is counted, in the singular.
        what: says what is the matter with it, after "Found 3 boxes".
        remedy: what to do.
    """

    level: Level
    noun: str
    what: str
    remedy: str


# Letters of a detail: names in a file may be as long as they like.
LONGEST = 400

EXPORT = "Export the file again, or mend the record by hand; it is left out as it is."
PIXELS = "Write boxes as [x, y, width, height] in pixels of the photo."

CODES: dict[str, Code] = {
    # The file.
    "no_photos": Code("error", "data set", "without photos", "Name the file that lists them."),
    "record_invalid": Code("error", "record", "other than an object", EXPORT),
    "id_invalid": Code("error", "record", "whose id is no whole number", EXPORT),
    "id_twice": Code(
        "error",
        "record",
        "with the id of another record",
        "Number the records of each list anew; only the first of an id is read.",
    ),
    "image_size_invalid": Code("error", "image", "with no usable width and height", EXPORT),
    "file_name_invalid": Code("error", "image", "without a possible file name", EXPORT),
    "file_name_outside": Code(
        "error",
        "image",
        "whose file lies outside the folder",
        "Write file names below the folder of the photos, without '..' and links that leave it.",
    ),
    "labelled_ids_invalid": Code(
        "error",
        "image",
        "whose labelled_category_ids are no categories",
        "List ids of categories, or leave the field out: then all classes are annotated.",
    ),
    "category_name_invalid": Code("error", "category", "without a name", EXPORT),
    "category_name_twice": Code(
        "error",
        "category",
        "with the name of another",
        "Give both one id: one class, one category.",
    ),
    "category_background": Code(
        "error",
        "category",
        "named after the background",
        "Delete the category and its objects: what no annotation covers is background.",
    ),
    "image_id_unknown": Code(
        "error",
        "object",
        "of an image that the file does not have",
        "Add the image record, or delete the objects.",
    ),
    "category_id_unknown": Code(
        "error",
        "object",
        "of a category that the file does not have",
        "Add the category, or correct the objects' category_id.",
    ),
    "iscrowd_invalid": Code("error", "object", "whose iscrowd is neither 0 nor 1", EXPORT),
    # Boxes.
    "bbox_invalid": Code("error", "box", "of something else than four numbers", PIXELS),
    "bbox_without_area": Code(
        "error", "box", "without area", "Delete these objects, or draw them again."
    ),
    "bbox_corners": Code("error", "box", "given as the corners x1, y1, x2, y2", PIXELS),
    "bbox_sizes": Code(
        "error",
        "box",
        "given as x, y, width, height where corners are expected",
        "Give targets' boxes as (x1, y1, x2, y2), as torchvision takes them.",
    ),
    "bbox_normalized": Code("error", "box", "given in shares of the photo, all 0…1", PIXELS),
    "bbox_outside": Code(
        "error",
        "box",
        "reaching outside the photo",
        "Look whether boxes and photos belong together, and were resized together.",
    ),
    "bbox_not_of_mask": Code(
        "error",
        "box",
        "far from the box of the mask",
        "Look which of the two is right, and compute the other from it.",
    ),
    # Masks.
    "segmentation_empty": Code(
        "error", "object", "with neither a mask nor a box", "Delete these objects, or draw them."
    ),
    "segmentation_invalid": Code(
        "error",
        "mask",
        "of something else than polygons or run lengths",
        "Write polygons [[x1, y1, x2, y2, …], …] or run lengths {size, counts}.",
    ),
    "segmentation_points": Code(
        "error",
        "mask",
        "with a polygon of fewer than 3 whole points",
        "Delete the polygon, or the object if it has no other.",
    ),
    "segmentation_outside": Code(
        "error",
        "mask",
        "with points far outside the photo",
        "Look whether masks and photos belong together, and were resized together.",
    ),
    "segmentation_swapped": Code(
        "error",
        "mask",
        "whose height and width are swapped",
        "Write the size as [height, width] of the photo.",
    ),
    "segmentation_size": Code(
        "error",
        "mask",
        "of another size than the photo",
        "Draw the masks at the size of the photo.",
    ),
    "segmentation_counts": Code(
        "error", "mask", "whose run lengths do not add up to the photo", EXPORT
    ),
    "area_invalid": Code("error", "object", "whose area is no number of pixels", EXPORT),
    "area_not_of_mask": Code(
        "error",
        "area",
        "far from that of the mask",
        "Compute the area from the mask, or leave the field out.",
    ),
    "target_invalid": Code(
        "error",
        "item",
        "that cannot be read",
        "Give a Sample, or torchvision's (image, target) with boxes and labels.",
    ),
    "label_zero": Code(
        "error",
        "photo",
        "with objects of label 0",
        "Count classes from 1; label 0 is the background.",
    ),
    # Photos.
    "photo_missing": Code(
        "error",
        "photo",
        "missing from the folder",
        "Copy them into the folder, or correct file_name.",
    ),
    "photo_case": Code(
        "error",
        "photo",
        "whose name is written in other upper and lower case",
        "Write file_name exactly as the file is called: most systems tell the two apart.",
    ),
    "photo_unreadable": Code(
        "error", "photo", "that cannot be read", "Save them again as JPEG or PNG."
    ),
    "photo_swapped": Code(
        "error",
        "photo",
        "whose width and height are swapped",
        "Correct width and height, and look whether the objects fit.",
    ),
    "photo_turned": Code(
        "error",
        "photo",
        "that EXIF turns, and whose size was read without it",
        "Turn the pixels and remove the tag, or annotate them upright.",
    ),
    "photo_size": Code(
        "error",
        "photo",
        "of another size than the file says",
        "Look whether the photos were resized after they were annotated.",
    ),
    # Suspicious.
    "no_objects": Code("warning", "data set", "without objects", "Name the file that has them."),
    "category_zero": Code(
        "warning",
        "category",
        "of id 0",
        "Number categories from 1: loaders that take ids as labels lose this class as background.",
    ),
    "category_names_alike": Code(
        "warning",
        "pair of categories",
        "whose names differ only in case, blanks or hyphens",
        "Make one category of them, if they are one class.",
    ),
    "class_unknown_to_model": Code(
        "warning",
        "class",
        "that the model does not have",
        "Correct the spelling, train the model on it, or leave its objects out.",
    ),
    "mask_missing": Code(
        "warning",
        "object",
        "with a box only, among others with masks",
        "Draw their masks: a photo with such an object counts as one without masks.",
    ),
    "mask_empty": Code(
        "warning", "mask", "without a pixel", "Delete these objects, or draw them again."
    ),
    "bbox_off": Code(
        "warning", "box", "more than two pixels off the mask", "Compute the box from the mask."
    ),
    "area_off": Code(
        "warning", "area", "a little off that of the mask", "Compute the area from the mask."
    ),
    "objects_alike": Code(
        "warning",
        "pair of objects",
        "of one class with an IoU of at least 0.95",
        "Delete one of each pair, if they are one object annotated twice.",
    ),
    "objects_alike_of_two_classes": Code(
        "warning",
        "pair of objects",
        "of different classes with an IoU of at least 0.95",
        "Decide which class each is: a model cannot learn both.",
    ),
    "object_below_pixel": Code(
        "warning",
        "object",
        "thinner than one pixel at the network's size",
        "Enlarge the network's input, or cut photos into tiles; such objects are never found.",
    ),
    "photo_turned_unseen": Code(
        "warning",
        "photo",
        "that EXIF turns or mirrors without a sign of it in the size",
        "Look whether the objects fit the upright photo.",
    ),
    "photo_two_ids": Code(
        "warning",
        "file",
        "listed under two ids",
        "Put the objects of both under one id: each lacks those of the other.",
    ),
    "photo_twice": Code(
        "warning", "pair of photos", "equal to the last byte", "Keep one of each pair."
    ),
    "photo_in_validation": Code(
        "warning",
        "photo",
        "that the validation data has too",
        "Take it out of one of the two: the validation would measure memory.",
    ),
    "input_not_normalized": Code(
        "warning",
        "input",
        "without normalization",
        "Set the transform's image_mean and image_std to those that the weights were trained with.",
    ),
    "input_normalized_twice": Code(
        "error",
        "input",
        "normalized twice",
        "Give photos in 0…1 and leave normalizing to the model's transform.",
    ),
    "input_0_255": Code(
        "error", "input", "in 0…255", "Divide photos by 255 before they reach the model."
    ),
    "input_overshoots": Code(
        "error",
        "input",
        "with values a little below 0 or above 1",
        "Cut them off after resizing: image.clamp(0, 1).",
    ),
    "input_not_finite": Code(
        "error", "input", "with NaN or infinity", "Look what the data set divides by."
    ),
    "input_too_dark": Code("error", "input", "divided by 255 twice", "Divide photos by 255 once."),
    "input_refused": Code(
        "error", "input", "that the model refuses", "Give float photos [3, H, W] in 0…1."
    ),
    "input_changed": Code(
        "warning",
        "input",
        "changed between transform and backbone",
        "Look at the first layers of the backbone: the transform has normalized already.",
    ),
    # Worth knowing.
    "object_below_cell": Code(
        "note",
        "object",
        "smaller than a cell of the finest map at the network's size",
        "Enlarge the network's input, or add a finer map, if such objects matter.",
    ),
    "objects_of_left_out": Code(
        "note",
        "object",
        "of an image or a category that is left out",
        "They come back with it.",
    ),
    "boxes_only": Code(
        "note",
        "object",
        "with a box and no mask: none has one",
        "Train a detector without masks; each object is taken as the rectangle of its box.",
    ),
    "class_without_objects": Code(
        "note",
        "class",
        "without objects",
        "Leave it out, or expect nothing of it here.",
    ),
    "photo_without_objects": Code(
        "note",
        "photo",
        "without objects",
        "Nothing to do, if there are none; the photo teaches what is background.",
    ),
    "class_only_in_model": Code(
        "note",
        "class",
        "that only the model has",
        "Its detections count as false where the data should have it.",
    ),
}


@dataclass
class _Seen:
    first: str
    count: int = 0
    told: int = 0
    images: dict[int, None] = field(default_factory=dict)
    annotations: dict[int, None] = field(default_factory=dict)


class Findings:
    """Collects what is found, so that a thousand of a kind become one finding."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def add(
        self,
        code: str,
        detail: str,
        image_ids: Iterable[int] = (),
        annotation_ids: Iterable[int] = (),
        count: int = 1,
    ) -> None:
        """Add what is found, one of a kind or several that are told in one breath.

        Args:
            code: a key of `CODES`.
            detail: what and where, in words; those of the first are shown.
            image_ids: of the photos that it concerns.
            annotation_ids: of the objects that it concerns.
            count: how many of the code's noun.
        """
        seen = self._seen.setdefault(code, _Seen(detail))
        seen.count += count
        seen.told += 1
        seen.images |= dict.fromkeys(image_ids)
        seen.annotations |= dict.fromkeys(annotation_ids)

    def collected(self) -> tuple[Finding, ...]:
        """Give a finding for each kind, in the order of `CODES`."""
        return tuple(
            Finding(
                code=code,
                level=kind.level,
                sentence=_sentence(kind, self._seen[code]),
                remedy=kind.remedy,
                image_ids=tuple(self._seen[code].images),
                annotation_ids=tuple(self._seen[code].annotations),
            )
            for code, kind in CODES.items()
            if code in self._seen
        )


def _sentence(kind: Code, seen: _Seen) -> str:
    told = seen.first if len(seen.first) <= LONGEST else f"{seen.first[: LONGEST - 1]}…"
    first = f", the first: {told}" if seen.told > 1 else f": {told}"
    return f"Found {_counted(seen.count, kind.noun)} {kind.what}{first}."


def _counted(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    head, of, rest = noun.partition(" of ")
    if head.endswith("y"):
        head = f"{head[:-1]}ie"
    elif head.endswith(("x", "s")):
        head = f"{head}e"
    return f"{count:,} {head}s{of}{rest}"
