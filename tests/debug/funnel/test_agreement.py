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
from mrcnn_steps.model.evaluate import (
    category_ids,
    coco_object,
    ground_truth,
    ignore_unsure,
    measure,
)
from mrcnn_steps.tracing import trace
from tests.debug.scenes import set_to


def evaluated(model, folder):
    """pycocotools' evaluation of the boxes that `evaluate` gives it, and its proposal recall."""
    categories = category_ids(model.class_names, folder)
    found, best = [], []
    for index in range(len(folder)):
        records, proposed, _ = measure(model, folder, index, torch.device("cpu"), categories)
        # Of a thousand proposals, not of a hundred.
        best.append(proposed[1])
        found += [
            each | {"area": each["bbox"][2] * each["bbox"][3], "iscrowd": 0} for each in records
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCOeval(ground_truth(folder, "bbox"), coco_object(folder, found), "bbox")
        coco.evaluate()
        ignore_unsure(coco, folder)
        coco.accumulate()
    return coco, float((torch.cat(best) >= 0.5).double().mean())


def judged(coco, folder):
    """What pycocotools says at IoU 0.5 of each detection of each photo, in the model's order.

    The id of the annotation that it matches, "ignored", or None.
    """
    objects = [each for index in range(len(folder)) for each in folder.objects(index)]
    verdicts = {}
    for each in coco.evalImgs:
        if each is not None and each["aRng"] == coco.params.areaRng[0]:
            said = verdicts.setdefault(each["image_id"], {})
            for row, place in enumerate(each["dtIds"]):
                taken = int(each["dtMatches"][0][row])
                right = objects[taken - 1].id if taken else None
                said[place] = "ignored" if each["dtIgnore"][0][row] else right
    return {photo: [said[place] for place in sorted(said)] for photo, said in verdicts.items()}


def claimed(photo):
    """What the funnel says of each detection of a photo."""
    ids = {each.object: each.annotation_id for each in photo.objects}
    says = {"": lambda claim: ids[claim.object], "ignored": lambda claim: "ignored"}
    return [says.get(each.kind, lambda claim: None)(each) for each in photo.detections]


def agree(model, folder):
    """Compare detection by detection, and over all with the recall that pycocotools reports."""
    (coco, reached), rows = evaluated(model, folder), funnel(model, folder, progress=False)
    boxes = [each.cause in ("found", "mask") for each in rows.causes]
    verdicts = judged(coco, folder)
    for photo in rows.photos:
        assert claimed(photo) == verdicts.get(photo.image_id, []), photo.photo
        right = {each.annotation_id for each in photo.objects if each.cause in ("found", "mask")}
        assert right == {each for each in claimed(photo) if isinstance(each, int)}, photo.photo
    recall = coco.eval["recall"][0, :, 0, -1]
    objects = [0] * len(folder.category_ids)
    for each in rows.causes:
        objects[folder.class_names.index(each.name) - 1] += 1
    expected = sum(r * n for r, n in zip(recall, objects, strict=True) if n)
    assert sum(boxes) == pytest.approx(expected, abs=1e-6)
    assert rows.figures.proposal_recall == pytest.approx(reached)
    return sum(boxes), len(boxes)


def test_on_the_bundled_photos(small, dataset):
    found, objects = agree(small, dataset)
    assert 0 < found < objects


def test_with_a_higher_score_threshold_and_few_detections(small, dataset):
    with set_to(small, {"roi_heads.score_thresh": 0.3, "roi_heads.detections_per_img": 5}):
        found, objects = agree(small, dataset)
    assert 0 < found < objects


def test_where_not_every_class_is_annotated_throughout(tmp_path, small, dataset):
    """Chairs are, in the first photo; a person who is found and was not drawn is no mistake."""
    content = json.loads(dataset.annotations.read_text())
    first = content["images"][0] | {"labelled_category_ids": [157]}
    own = [each for each in content["annotations"] if each["image_id"] == first["id"]]
    path = tmp_path / "labelled.json"
    path.write_text(json.dumps(content | {"images": [first], "annotations": own}))
    folder = CocoFolder(dataset.images, path)
    found, objects = agree(small, folder)
    assert 0 < found < objects
    [photo] = funnel(small, folder, progress=False).photos
    kinds = {each.kind for each in photo.detections if each.name == "person"}
    assert kinds == {"", "ignored"}


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


def test_a_detection_counts_as_far_as_the_photo_goes(tmp_path, small, dataset):
    """A letterboxed model's boxes reach into the padding; its answer ends where the photo does."""
    content = json.loads(dataset.annotations.read_text())
    image = content["images"][5]
    traced = trace(small, dataset[5])
    whole = traced.letterbox.undo_boxes(traced.detections.boxes)
    inside = traced.result["boxes"]
    areas = [(box[:, 2:] - box[:, :2]).prod(dim=1) for box in (whole, inside)]
    # What covers 0.54 of the box in the photo covers less than half of the box beyond it.
    row = int(((areas[0] / areas[1] - 1.15).abs()).argmin())
    x1, y1, x2, y2 = inside[row].tolist()
    y2 = y1 + 0.54 * (y2 - y1)
    object = {
        "id": 1,
        "image_id": image["id"],
        "category_id": int(traced.detections.labels[row]) + 100,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
        "iscrowd": 0,
    }
    path = tmp_path / "edge.json"
    path.write_text(json.dumps(content | {"images": [image], "annotations": [object]}))
    assert 0.54 * areas[1][row] / areas[0][row] < 0.49
    assert agree(small, CocoFolder(dataset.images, path)) == (1, 1)
