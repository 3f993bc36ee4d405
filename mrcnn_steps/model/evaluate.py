"""Evaluation: COCO's average precision of boxes and masks, and the recall of the RPN.

Figures that a model has no parts for are left out. Under `torchrun` every process takes a share of
the photos; the numbers stay the same.
"""

import contextlib
import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from tqdm import tqdm

from mrcnn_steps.class_names import check_class_names, printable, short
from mrcnn_steps.data.coco import CocoFolder
from mrcnn_steps.data.runs import Runs
from mrcnn_steps.masks import patches
from mrcnn_steps.matching import most_overlapped

Record = dict[str, Any]

PROPOSALS = (100, 1000)
IOU_THRESHOLDS = torch.arange(10) * 0.05 + 0.5

# The first of the numbers that pycocotools computes, in its order.
OVERALL = ("AP", "AP50", "AP75", "small", "medium", "large")

# COCO's results are masks above 0.5: the next number that a soft mask can have.
ABOVE_HALF = float(np.nextafter(np.float32(0.5), np.float32(1)))


def evaluate(
    model: Any, folder: CocoFolder, device: torch.device, progress: bool = True
) -> Record | None:
    """Measure a model on a COCO data set.

    In photos with `labelled_category_ids`, a detection of another class that finds no object is
    ignored, neither right nor wrong; see `mrcnn_steps.matching.match`.

    Args:
        model: A torchvision detection model in eval mode, with the attribute `class_names`; its
            classes are matched with the data set's by name.
        folder: The photos and their annotations.
        device: Where the model is.
        progress: Show a bar.

    Returns:
        The metrics (see `summarize`); None in every process but the first.

    Raises:
        ValueError: The model's `class_names` do not begin with the background, it has no class in
            common with the data set, there are no photos, the model predicts masks and an object
            has none, or the model answers with NaN.
    """
    class_names = check_class_names(getattr(model, "class_names", None), "model.class_names")
    category_of = category_ids(class_names, folder)
    if len(folder) == 0:
        raise ValueError(f"{folder.annotations}: found no photos to evaluate on")
    rank, world = place_in_group()
    shard = range(rank, len(folder), world)
    masks = hasattr(model, "roi_heads") and model.roi_heads.has_mask()
    if masks:
        folder.check_masks()
    found: list[tuple[int, list[Record], list[Tensor], int]] = []
    for index in tqdm(shard, desc="evaluate", disable=not progress or rank > 0, leave=False):
        found.append((index, *measure(model, folder, index, device, category_of)))
    if world > 1:
        shares: list[Any] = [None] * world
        distributed.all_gather_object(shares, found)
        found = sorted((each for share in shares for each in share), key=lambda each: each[0])
    if rank > 0:
        return None
    detections = [record for _, records, *_ in found for record in records]
    best = [torch.cat(parts) for parts in zip(*(each[2] for each in found), strict=True)]
    objects = sum(count for *_, count in found)
    metrics = summarize(folder, detections, best, objects, masks)
    unknown = unknown_classes(class_names, folder)
    return metrics | ({"unknown_classes": unknown} if unknown else {})


def unknown_classes(class_names: Iterable[str], folder: CocoFolder) -> dict[str, int]:
    """Name the data set's classes that a model does not know; their objects count as missed.

    Args:
        class_names: The model's.
        folder: The data set.

    Returns:
        How many objects each such class has, crowds left out; classes without any are not told.
    """
    known = set(class_names)
    names = dict(zip(folder.category_ids, folder.class_names[1:], strict=True))
    return {
        names[i]: count for i, count in counts(folder).items() if count and names[i] not in known
    }


def counts(folder: CocoFolder) -> dict[int, int]:
    """Count the objects of each category, crowds left out."""
    found = dict.fromkeys(folder.category_ids, 0)
    for index in range(len(folder)):
        for each in folder.objects(index):
            found[each.category_id] += not each.crowd
    return found


def place_in_group() -> tuple[int, int]:
    """Rank of this process and number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def category_ids(class_names: Iterable[str], folder: CocoFolder) -> dict[int, int]:
    """Give the data set's category id of each of the model's labels that it knows, by name."""
    known = dict(zip(folder.class_names[1:], folder.category_ids, strict=True))
    ids = {label: known[name] for label, name in enumerate(class_names) if name in known}
    if not ids:
        raise ValueError(
            f"{folder.annotations}: shares no class name with the model; it has "
            f"{', '.join(folder.class_names[1:6])}, the model {', '.join(list(class_names)[1:6])}"
        )
    return ids


@torch.no_grad()
def measure(
    model: Any,
    folder: CocoFolder,
    index: int,
    device: torch.device,
    category_of: dict[int, int],
) -> tuple[list[Record], list[Tensor], int]:
    """Run the model on a photo.

    Returns:
        Its detections as COCO results; for each number of proposals in `PROPOSALS` the best IoU
        of any proposal with each object that is not a crowd (an empty list without an RPN); the
        number of these objects.
    """
    image = folder.image(index)
    photo_size = (image.shape[1], image.shape[2])
    proposals: list[Tensor] = []

    def keep(rpn: nn.Module, inputs: tuple[Any, ...], output: tuple[list[Tensor], Any]) -> None:
        boxes = [{"boxes": output[0][0]}]
        mapped = model.transform.postprocess(boxes, inputs[0].image_sizes, [photo_size])
        proposals.append(mapped[0]["boxes"].cpu())

    hooks = [model.rpn.register_forward_hook(keep)] if hasattr(model, "rpn") else []
    try:
        with unpasted(model):
            prediction = model([image.to(device).float() / 255])[0]
    finally:
        for hook in hooks:
            hook.remove()
    for part in ("boxes", "scores"):
        if not prediction[part].isfinite().all():
            raise ValueError(
                f"{folder.image_path(index)}: the model's {part}: found NaN or infinity, expected "
                "numbers; its weights or its input are broken"
            )
    crowd = torch.tensor([each.crowd for each in folder.objects(index)], dtype=torch.bool)
    objects = folder.boxes(index)[~crowd]
    best = [
        most_overlapped(objects, boxes[:count]).iou.float()
        for boxes in proposals
        for count in PROPOSALS
    ]
    found = coco_results(prediction, folder.image_ids[index], category_of, photo_size)
    return found, best, len(objects)


@contextlib.contextmanager
def unpasted(model: Any) -> Iterator[None]:
    """Let a torchvision R-CNN return its small masks, as `mask_probs`, instead of pasting them.

    A hundred pasted masks of a photo of 12 megapixels take 4.8 GB.

    Args:
        model: Any detector; one with another transform than torchvision's is left alone.

    Yields:
        Nothing; afterwards the model is as before.
    """
    transform = getattr(model, "transform", None)
    if not isinstance(transform, GeneralizedRCNNTransform):
        yield
        return
    before = transform.__dict__.get("postprocess")
    paste = transform.postprocess

    def postprocess(result: list[dict[str, Tensor]], *sizes: Any) -> list[dict[str, Tensor]]:
        small = [each.pop("masks", None) for each in result]
        mapped = paste(result, *sizes)
        for each, probs in zip(mapped, small, strict=True):
            if probs is not None:
                each["mask_probs"] = probs
        return mapped

    transform.__dict__["postprocess"] = postprocess
    try:
        yield
    finally:
        if before is None:
            del transform.__dict__["postprocess"]
        else:
            transform.__dict__["postprocess"] = before


def coco_results(
    prediction: dict[str, Tensor],
    image_id: int,
    category_of: dict[int, int],
    photo_size: tuple[int, int],
) -> list[Record]:
    """Give a model's prediction in COCO's format of results."""
    labels = prediction["labels"].tolist()
    rows = [row for row, label in enumerate(labels) if label in category_of]
    boxes = prediction["boxes"].cpu()
    sizes = torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), dim=1).tolist()
    scores = prediction["scores"].tolist()
    results = [
        {
            "image_id": image_id,
            "category_id": category_of[labels[row]],
            "bbox": sizes[row],
            "score": scores[row],
        }
        for row in rows
    ]
    for result, runs in zip(results, mask_runs(prediction, rows, photo_size), strict=False):
        result["segmentation"] = runs.coco()
    return results


def mask_runs(
    prediction: dict[str, Tensor], rows: list[int], photo_size: tuple[int, int]
) -> Iterator[Runs]:
    """Draw the masks of some detections one at a time; none for a detector without masks."""
    if "mask_probs" in prediction:
        probs, boxes = prediction["mask_probs"][rows, 0], prediction["boxes"][rows]
        for patch in patches(probs.float(), boxes.float(), photo_size, ABOVE_HALF):
            corner = (patch.rows.start, patch.columns.start)
            yield Runs.of_patch(patch.values.cpu().numpy(), corner, photo_size)
    elif "masks" in prediction:
        for row in rows:
            mask = (prediction["masks"][row, 0] > 0.5).cpu().numpy()
            yield Runs.of_patch(mask, (0, 0), photo_size)


def summarize(
    folder: CocoFolder, detections: list[Record], best: list[Tensor], objects: int, masks: bool
) -> Record:
    """Compute the metrics.

    Args:
        folder: The data set.
        detections: COCO results.
        best: For each number in `PROPOSALS`, the best IoU with each object; empty without an RPN.
        objects: How many there are, without crowds.
        masks: Whether the model predicts masks.

    Returns:
        `box` and, with masks, `mask`, each with `AP` (mean over IoU 0.50 … 0.95), `AP50`, `AP75`,
        `small`, `medium`, `large` and `classes` (name → `AP`, `AP50`, `objects`);
        with an RPN, `rpn`: `recall50@N` and `recall@N` (mean over IoU 0.50 … 0.95) for N = 100 and
        1000 proposals; `photos`, `objects`. In percent; nothing where there is nothing to find.
    """
    kinds = {"box": "bbox", "mask": "segm"} if masks else {"box": "bbox"}
    metrics: Record = {
        name: average_precision(folder, detections, kind) for name, kind in kinds.items()
    }
    if best:
        metrics["rpn"] = {}
        for count, iou in zip(PROPOSALS, best, strict=True):
            reached = (iou[:, None] >= IOU_THRESHOLDS).float()
            metrics["rpn"][f"recall50@{count}"] = percent(reached[:, 0].mean().item())
            metrics["rpn"][f"recall@{count}"] = percent(reached.mean().item())
    return metrics | {"photos": len(folder), "objects": objects}


def percent(value: float) -> float | None:
    """Give a share in percent; None for the −1 or NaN that stand for nothing to measure."""
    return round(100 * value, 2) if value >= 0 else None


def ground_truth(folder: CocoFolder, kind: str):
    """Give the annotations as pycocotools' `COCO`, of which no field is used unchecked.

    Boxes are judged by the file's own box and area, as COCO does, and by the mask's where the file
    has none; masks are sized by their own area where the file has that of the box.
    """
    annotations = []
    for index, photo in enumerate(folder.photos):
        size = (photo.height, photo.width)
        for each in folder.objects(index):
            runs = None if each.segmentation is None else each.runs(*size)
            x1, y1, x2, y2 = each.rectangle(*size) if runs is None else runs.box
            bbox = each.bbox or (x1, y1, x2 - x1, y2 - y1)
            area = each.area
            if area is None or (kind == "segm" and each.area_of_box):
                area = (x2 - x1) * (y2 - y1) if runs is None else runs.area
            record: Record = {"bbox": list(bbox), "area": area, "iscrowd": int(each.crowd)}
            if kind == "segm" and runs is not None:
                record["segmentation"] = runs.coco()
            annotations.append(
                record | {"image_id": each.image_id, "category_id": each.category_id}
            )
    return coco_object(folder, annotations)


def coco_object(folder: CocoFolder, annotations: list[Record]):
    """Give pycocotools' `COCO` of these annotations, or of these detections."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": photo.id, "width": photo.width, "height": photo.height}
            for photo in folder.photos
        ],
        "categories": [{"id": each} for each in folder.category_ids],
        # pycocotools takes id 0 for "unmatched".
        "annotations": [each | {"id": i} for i, each in enumerate(annotations, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def average_precision(folder: CocoFolder, detections: list[Record], kind: str) -> Record:
    """COCO's average precision for boxes ("bbox") or masks ("segm"), overall and per class.

    Objects and detections are small, medium or large by the area of what is judged.
    """
    from pycocotools import mask as coco_mask
    from pycocotools.cocoeval import COCOeval

    found = []
    for each in detections:
        if kind == "segm":
            area = coco_mask.area(each["segmentation"])
        else:
            area = each["bbox"][2] * each["bbox"][3]
        found.append(each | {"area": float(area), "iscrowd": 0})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCOeval(ground_truth(folder, kind), coco_object(folder, found), kind)
        coco.evaluate()
        ignore_unsure(coco, folder)
        coco.accumulate()
        coco.summarize()
    # [IoU, recall, class, area, detections]: any area, 100 detections
    precision = coco.eval["precision"][:, :, :, 0, 2]

    def mean(values: np.ndarray) -> float | None:
        known = values[values > -1]
        return percent(float(known.mean())) if known.size else None

    objects = counts(folder)
    names = dict(zip(folder.category_ids, folder.class_names[1:], strict=True))
    classes = {
        names[i]: {
            "AP": mean(precision[:, :, k]),
            "AP50": mean(precision[0, :, k]),
            "objects": objects[i],
        }
        for k, i in enumerate(folder.category_ids)
    }
    return {
        name: percent(float(value)) for name, value in zip(OVERALL, coco.stats[:6], strict=True)
    } | {"classes": classes}


def ignore_unsure(coco: Any, folder: CocoFolder) -> None:
    """Ignore detections that find nothing where not every object of their class is annotated.

    Args:
        coco: pycocotools' evaluation, photo by photo, not yet accumulated.
        folder: The photos.
    """
    known = {
        image_id: {folder.category_ids[label - 1] for label in labels}
        for index, image_id in enumerate(folder.image_ids)
        if (labels := folder.labelled_labels(index)) is not None
    }
    for each in filter(None, coco.evalImgs):
        if each["category_id"] not in known.get(each["image_id"], {each["category_id"]}):
            each["dtIgnore"] |= each["dtMatches"] == 0


def table(metrics: Record) -> str:
    """Give the metrics as a table for a terminal, the classes with the most objects first."""

    def cell(value: float | None) -> str:
        return f"{'–':>8}" if value is None else f"{value:8.1f}"

    kinds = [kind for kind in ("box", "mask") if kind in metrics]
    heads = [f"{kind} {name}" for kind in kinds for name in ("AP", "AP50")]
    lines = [f"{'':<18}{'objects':>8}" + "".join(f"{head:>10}" for head in heads)]

    def line(name: str, objects: int, values: list[float | None]) -> str:
        return f"{printable(short(name)):<18}{objects:>8}" + "".join(
            f"  {cell(value)}" for value in values
        )

    values = [metrics[kind][name] for kind in kinds for name in ("AP", "AP50")]
    lines.append(line("all classes", metrics["objects"], values))
    classes = metrics["box"]["classes"]
    for name in sorted(classes, key=lambda name: -classes[name]["objects"]):
        if classes[name]["objects"]:
            values = [metrics[k]["classes"][name][ap] for k in kinds for ap in ("AP", "AP50")]
            lines.append(line(name, classes[name]["objects"], values))
    for name, count in metrics.get("unknown_classes", {}).items():
        many = "its 1 object counts" if count == 1 else f"its {count} objects count"
        lines.append(f"{printable(short(name))}: unknown to the model; {many} as missed")
    if "mask" not in metrics:
        lines.append("no mask AP: the model predicts no masks")
    for name, value in metrics.get("rpn", {}).items():
        lines.append(f"RPN {name:<22}{cell(value)}")
    if "rpn" not in metrics:
        lines.append("no RPN recall: the model has no RPN")
    return "\n".join(lines)
