"""`funnel` and COCO's evaluation name the same detections right.

An object counts as found by its box: with the cause "found", or with "mask", whose box matches and
whose outline does not. Both together are the recall of pycocotools at IoU 0.5 over all areas.
"""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.funnel import funnel
from mrcnn_steps.model.evaluate import category_ids, coco_object, ground_truth, measure
from tests.debug.scenes import set_to


def evaluated(model, folder):
    """pycocotools' evaluation of the boxes that `evaluate` gives it."""
    categories = category_ids(model.class_names, folder)
    found = []
    for index in range(len(folder)):
        records, *_ = measure(model, folder, index, torch.device("cpu"), categories)
        found += [
            each | {"area": each["bbox"][2] * each["bbox"][3], "iscrowd": 0} for each in records
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCOeval(ground_truth(folder, "bbox"), coco_object(folder, found), "bbox")
        coco.evaluate()
        coco.accumulate()
    return coco


def matched(coco):
    """How many objects of each photo pycocotools matched at IoU 0.5, crowds left out."""
    counts = {}
    for each in coco.evalImgs:
        if each is not None and each["aRng"] == coco.params.areaRng[0]:
            own = (each["gtMatches"][0] > 0) & ~np.array(each["gtIgnore"], dtype=bool)
            counts[each["image_id"]] = counts.get(each["image_id"], 0) + int(own.sum())
    return counts


def right(coco):
    """How many detections of each photo it matched, those on crowds left out."""
    counts = {}
    for each in coco.evalImgs:
        if each is not None and each["aRng"] == coco.params.areaRng[0]:
            own = (each["dtMatches"][0] > 0) & ~each["dtIgnore"][0]
            counts[each["image_id"]] = counts.get(each["image_id"], 0) + int(own.sum())
    return counts


def agree(model, folder):
    """Compare photo by photo, and over all with the recall that pycocotools reports."""
    coco, rows = evaluated(model, folder), funnel(model, folder, progress=False)
    boxes = [each.cause in ("found", "mask") for each in rows.causes]
    for photo in rows.photos:
        found = sum(each.cause in ("found", "mask") for each in photo.objects)
        assert found == matched(coco).get(photo.image_id, 0), photo.photo
        kinds = [each.kind for each in photo.detections]
        assert kinds.count("") == found == right(coco).get(photo.image_id, 0), photo.photo
    recall = coco.eval["recall"][0, :, 0, -1]
    objects = [0] * len(folder.category_ids)
    for each in rows.causes:
        objects[folder.class_names.index(each.name) - 1] += 1
    expected = sum(r * n for r, n in zip(recall, objects, strict=True) if n)
    assert sum(boxes) == pytest.approx(expected, abs=1e-6)
    return sum(boxes), len(boxes)


def test_on_the_bundled_photos(small, dataset):
    found, objects = agree(small, dataset)
    assert 0 < found < objects


def test_with_a_higher_score_threshold_and_few_detections(small, dataset):
    with set_to(small, {"roi_heads.score_thresh": 0.3, "roi_heads.detections_per_img": 5}):
        found, objects = agree(small, dataset)
    assert 0 < found < objects


@pytest.mark.parametrize("seed", range(3))
def test_on_random_objects_near_what_the_model_sees(tmp_path, small, dataset, seed):
    """Rectangles moved away from detections, some by nearly too much, some of them crowds."""
    dice = np.random.default_rng(seed)
    content = json.loads(dataset.annotations.read_text())
    annotations, images = [], []
    for index in (1, 3, 4):
        image = content["images"][index]
        with torch.no_grad():
            [seen] = small([dataset.image(index) / 255])
        rows = dice.permutation(len(seen["boxes"]))[:15]
        for row in rows.tolist():
            x1, y1, x2, y2 = seen["boxes"][row].tolist()
            shift = dice.uniform(-0.4, 0.4, 4) * [x2 - x1, y2 - y1, x2 - x1, y2 - y1]
            corners = np.array([x1, y1, x2, y2]) + shift
            corners = corners.clip(0, [image["width"], image["height"]] * 2).round().astype(int)
            if (corners[2:] - corners[:2] < 2).any():
                continue
            mask = np.zeros((image["height"], image["width"]), dtype=np.uint8, order="F")
            mask[corners[1] : corners[3], corners[0] : corners[2]] = 1
            runs = coco_mask.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": int(seen["labels"][row]) + 100,
                    "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
                    "bbox": coco_mask.toBbox(runs).tolist(),
                    "area": int(coco_mask.area(runs)),
                    "iscrowd": int(dice.random() < 0.1),
                }
            )
        images.append(image)
    path = tmp_path / "random.json"
    path.write_text(json.dumps(content | {"images": images, "annotations": annotations}))
    found, objects = agree(small, CocoFolder(dataset.images, path))
    assert 0 < found < objects
