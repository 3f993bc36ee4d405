"""The records of a COCO file that cannot be used: each becomes a finding."""

from typing import Any

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.coco_file import Fault
from mrcnn_steps.debug.preflight.codes import Findings

# What is wrong with a record, where its field alone tells.
OF_FIELD = {
    "": "record_invalid",
    "id": "id_invalid",
    "width": "image_size_invalid",
    "height": "image_size_invalid",
    "width and height": "image_size_invalid",
    "file_name": "file_name_invalid",
    "labelled_category_ids": "labelled_ids_invalid",
    "name": "category_name_invalid",
    "image_id": "image_id_unknown",
    "category_id": "category_id_unknown",
    "iscrowd": "iscrowd_invalid",
    "bbox": "bbox_invalid",
    "segmentation": "segmentation_invalid",
    "segmentation.size": "segmentation_size",
    "segmentation.counts": "segmentation_counts",
    "area": "area_invalid",
}


def check_records(folder: CocoFolder, findings: Findings) -> None:
    """Tell of every record that is left out why.

    Args:
        folder: read without strictness.
        findings: where they go.
    """
    lost = {
        field: {_id_of(fault) for fault in folder.left_out if fault.key == key} - {None}
        for field, key in (("image_id", "images"), ("category_id", "categories"))
    }
    # A second record with an id takes nothing away from the first.
    lost["image_id"] -= set(folder.image_ids)
    lost["category_id"] -= set(folder.category_ids)
    for fault in folder.left_out:
        code = fault.code or OF_FIELD[fault.field]
        if type(fault.found) is int and fault.found in lost.get(fault.field, ()):
            code = "objects_of_left_out"
        images, annotations = ids_of(fault)
        findings.add(code, str(fault.error()), images, annotations)


def ids_of(fault: Fault) -> tuple[list[int], list[int]]:
    """Give the ids of the photos and objects that a record concerns.

    Args:
        fault: a record that is left out.

    Returns:
        Of photos and of objects, at most one each; none where the file has no usable id.
    """
    number = _id_of(fault)
    own = [] if number is None else [number]
    if fault.key == "images":
        return own, []
    if fault.key == "categories":
        return [], []
    image = fault.record.get("image_id") if isinstance(fault.record, dict) else None
    return [image] if type(image) is int else [], own


def _id_of(fault: Fault) -> int | None:
    number: Any = fault.record.get("id") if isinstance(fault.record, dict) else None
    return number if type(number) is int else None
