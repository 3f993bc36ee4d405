"""Where the file's box is a little off its mask's, the file's counts, as in COCO's evaluation."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torchvision.ops import box_iou

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.datasets import entry_at
from mrcnn_steps.debug.fates import FOUND
from mrcnn_steps.debug.funnel import funnel

# As far as a box may be off its mask in every file.
OFF = 1.9


@pytest.fixture(scope="module")
def nearly(tmp_path_factory, small, dataset):
    """Objects on half of a detection each: their masks' boxes are too small, the file's are not."""
    content = json.loads(dataset.annotations.read_text())
    image = content["images"][1]
    size = (image["height"], image["width"])
    with torch.no_grad():
        [seen] = small([dataset.image(1) / 255])
    annotations = []
    for label, box in zip(seen["labels"].tolist(), seen["boxes"], strict=True):
        x1, y1, x2, y2 = box.round().int().tolist()
        half = torch.tensor([[x1, y1, x1 + (x2 - x1) // 2 - 1, y2]]).clip(min=0)
        shifted = half + torch.tensor([-OFF, 0, OFF, 0])
        if box_iou(box[None], half).item() >= 0.5 or box_iou(box[None], shifted).item() < 0.5:
            continue
        mask = np.zeros(size, dtype=np.uint8, order="F")
        mask[y1:y2, half[0, 0] : half[0, 2]] = 1
        runs = coco_mask.encode(mask)
        x, y, w, h = coco_mask.toBbox(runs).tolist()
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image["id"],
                "category_id": label + 100,
                "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
                "bbox": [x - OFF, y, w + 2 * OFF, h],
                "area": int(coco_mask.area(runs)),
                "iscrowd": 0,
            }
        )
    path = tmp_path_factory.mktemp("nearly") / "nearly.json"
    path.write_text(json.dumps(content | {"images": [image], "annotations": annotations[:1]}))
    return CocoFolder(dataset.images, path)


def test_an_object_is_found_by_the_box_of_its_file(nearly, small):
    [row] = funnel(small, nearly, progress=False).causes
    assert row.cause in (FOUND, "mask")
    x, y, w, h = nearly.objects(0)[0].bbox
    assert row.box == pytest.approx((x, y, x + w, y + h))


def test_only_the_boxes_are_others(nearly):
    entry = entry_at(nearly, 0)
    assert (entry.sample.boxes - nearly[0].boxes).tolist() == [
        pytest.approx([-OFF, 0, OFF, 0], abs=1e-4)
    ]
    assert entry.sample.masks.equal(nearly[0].masks)
