"""Evaluation: COCO's average precision of boxes and masks, and the recall of the RPN.

Figures that a model has no parts for are left out. Under `torchrun` every process takes a share of
the photos; the numbers stay the same.
"""

import contextlib
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torchvision.ops import box_iou
from tqdm import tqdm

from mrcnn_steps.data.coco import CocoFolder

Record = dict[str, Any]

PROPOSALS = (100, 1000)
IOU_THRESHOLDS = torch.arange(10) * 0.05 + 0.5

# The first of the numbers that pycocotools computes, in its order.
OVERALL = ("AP", "AP50", "AP75", "small", "medium", "large")


def evaluate(
    model: Any, folder: CocoFolder, device: torch.device, progress: bool = True
) -> Record | None:
    """Measure a model on a COCO data set.

    Photos with `labelled_category_ids` are measured on these classes only.

    Args:
        model: A torchvision detection model in eval mode, with the attribute `class_names`; its
            classes are matched with the data set's by name.
        folder: The photos and their annotations.
        device: Where the model is.
        progress: Show a bar.

    Returns:
        The metrics (see `summarize`); None in every process but the first.

    Raises:
        ValueError: Model and data set have no class in common, or there are no photos.
    """
    category_of = category_ids(model.class_names, folder)
    if len(folder) == 0:
        raise ValueError(f"{folder.annotations}: found no photos to evaluate on")
    rank, world = place_in_group()
    shard = range(rank, len(folder), world)
    masks = hasattr(model, "roi_heads") and model.roi_heads.has_mask()
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
    return summarize(folder, detections, best, objects, masks)


def place_in_group() -> tuple[int, int]:
    """Rank of this process and number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def category_ids(class_names: Iterable[str], folder: CocoFolder) -> dict[int, int]:
    """The data set's category id of each of the model's labels that it knows, by name."""
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
    sample = folder[index]
    photo_size = (sample.image.shape[1], sample.image.shape[2])
    proposals: list[Tensor] = []

    def keep(rpn: nn.Module, inputs: tuple[Any, ...], output: tuple[list[Tensor], Any]) -> None:
        boxes = [{"boxes": output[0][0]}]
        mapped = model.transform.postprocess(boxes, inputs[0].image_sizes, [photo_size])
        proposals.append(mapped[0]["boxes"].cpu())

    hooks = [model.rpn.register_forward_hook(keep)] if hasattr(model, "rpn") else []
    try:
        prediction = model([sample.image.to(device).float() / 255])[0]
    finally:
        for hook in hooks:
            hook.remove()
    objects = sample.boxes[~sample.crowd]
    best = [
        box_iou(boxes[:count], objects).amax(dim=0)
        if len(objects) and len(boxes)
        else torch.zeros(len(objects))
        for boxes in proposals
        for count in PROPOSALS
    ]
    labeled = folder.labelled_labels(index)
    known = None if labeled is None else {folder.category_ids[label - 1] for label in labeled}
    found = coco_results(prediction, folder.image_ids[index], category_of, known)
    return found, best, len(objects)


def coco_results(
    prediction: dict[str, Tensor],
    image_id: int,
    category_of: dict[int, int],
    known: set[int] | None,
) -> list[Record]:
    """A model's prediction in COCO's format of results."""
    from pycocotools import mask as coco_mask

    labels = prediction["labels"].tolist()
    rows = [
        row
        for row, label in enumerate(labels)
        if label in category_of and (known is None or category_of[label] in known)
    ]
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
    if "masks" in prediction and rows:
        masks = (prediction["masks"][rows, 0] > 0.5).to(torch.uint8).cpu()
        encoded = coco_mask.encode(np.asfortranarray(masks.permute(1, 2, 0).numpy()))
        for result, run_lengths in zip(results, encoded, strict=True):
            result["segmentation"] = run_lengths
    return results


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
    truth = ground_truth(folder)
    metrics: Record = {
        name: average_precision(folder, truth, detections, kind) for name, kind in kinds.items()
    }
    if best:
        metrics["rpn"] = {}
        for count, iou in zip(PROPOSALS, best, strict=True):
            reached = (iou[:, None] >= IOU_THRESHOLDS).float()
            metrics["rpn"][f"recall50@{count}"] = percent(reached[:, 0].mean().item())
            metrics["rpn"][f"recall@{count}"] = percent(reached.mean().item())
    return metrics | {"photos": len(folder), "objects": objects}


def percent(value: float) -> float | None:
    """A share in percent; None for the −1 or NaN that stand for nothing to measure."""
    return round(100 * value, 2) if value >= 0 else None


def ground_truth(folder: CocoFolder):
    """The annotations as pycocotools' `COCO`, with boxes and areas where the file has none."""
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder.annotations))
        for number, annotation in enumerate(truth.dataset["annotations"], start=1):
            annotation["id"] = number  # pycocotools takes id 0 for "unmatched"
            annotation.setdefault("iscrowd", 0)
            if "area" not in annotation or "bbox" not in annotation:
                encoded = truth.annToRLE(annotation)
                annotation.setdefault("area", float(coco_mask.area(encoded)))
                annotation.setdefault("bbox", coco_mask.toBbox(encoded).tolist())
        truth.createIndex()
    return truth


def average_precision(folder: CocoFolder, truth, detections: list[Record], kind: str) -> Record:
    """COCO's average precision for boxes ("bbox") or masks ("segm"), overall and per class."""
    from pycocotools.cocoeval import COCOeval

    names = dict(zip(folder.category_ids, folder.class_names[1:], strict=True))
    objects = dict.fromkeys(names, 0)
    for annotation in truth.dataset["annotations"]:
        objects[annotation["category_id"]] += not annotation["iscrowd"]
    empty = {
        name: {"AP": 0.0 if objects[i] else None, "AP50": 0.0 if objects[i] else None}
        | {"objects": objects[i]}
        for i, name in names.items()
    }
    if not detections:
        return dict.fromkeys(OVERALL, 0.0) | {"classes": empty}
    with contextlib.redirect_stdout(io.StringIO()):
        found = truth.loadRes([dict(each) for each in detections])
        coco = COCOeval(truth, found, kind)
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
    # [IoU, recall, class, area, detections]: any area, 100 detections
    precision = coco.eval["precision"][:, :, :, 0, 2]

    def mean(values: np.ndarray) -> float | None:
        known = values[values > -1]
        return percent(float(known.mean())) if known.size else None

    classes = {
        names[i]: {
            "AP": mean(precision[:, :, k]),
            "AP50": mean(precision[0, :, k]),
            "objects": objects[i],
        }
        for k, i in enumerate(coco.params.catIds)
    }
    return {
        name: percent(float(value)) for name, value in zip(OVERALL, coco.stats[:6], strict=True)
    } | {"classes": classes}


def table(metrics: Record) -> str:
    """The metrics as a table for a terminal, the classes with the most objects first."""

    def cell(value: float | None) -> str:
        return f"{'–':>8}" if value is None else f"{value:8.1f}"

    kinds = [kind for kind in ("box", "mask") if kind in metrics]
    heads = [f"{kind} {name}" for kind in kinds for name in ("AP", "AP50")]
    lines = [f"{'':<18}{'objects':>8}" + "".join(f"{head:>10}" for head in heads)]

    def line(name: str, objects: int, values: list[float | None]) -> str:
        return f"{name:<18}{objects:>8}" + "".join(f"  {cell(value)}" for value in values)

    values = [metrics[kind][name] for kind in kinds for name in ("AP", "AP50")]
    lines.append(line("all classes", metrics["objects"], values))
    classes = metrics["box"]["classes"]
    for name in sorted(classes, key=lambda name: -classes[name]["objects"]):
        if classes[name]["objects"]:
            values = [metrics[k]["classes"][name][ap] for k in kinds for ap in ("AP", "AP50")]
            lines.append(line(name, classes[name]["objects"], values))
    if "mask" not in metrics:
        lines.append("no mask AP: the model predicts no masks")
    for name, value in metrics.get("rpn", {}).items():
        lines.append(f"RPN {name:<22}{cell(value)}")
    if "rpn" not in metrics:
        lines.append("no RPN recall: the model has no RPN")
    return "\n".join(lines)
