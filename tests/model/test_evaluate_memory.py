"""Evaluation pastes one mask at a time: a hundred of a photo of 12 megapixels would be 4.8 GB."""

import json
from pathlib import Path

import torch
from PIL import Image

from mrcnn_steps import sample
from tests.memory import peak

WIDTH, HEIGHT = 4000, 3000

EVALUATE = """
import sys, torch
from pathlib import Path
from mrcnn_steps import load_model
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.model.evaluate import evaluate
torch.set_num_threads(1)
model = load_model("tiny")
# What it is unsure of as well, up to its limit.
model.roi_heads.score_thresh, model.roi_heads.nms_thresh = 0.0, 0.9
counts = []
count = lambda head, given, found: counts.append(len(found[0][0]["boxes"]))
model.roi_heads.register_forward_hook(count)
folder = CocoFolder(sys.argv[1], Path(sys.argv[1]) / "a.json")
metrics = evaluate(model, folder, torch.device("cpu"), progress=False)
assert counts == [100], counts
assert metrics["mask"]["AP50"] > 0, metrics["mask"]
"""


def test_a_photo_of_twelve_megapixels_takes_little_memory(tmp_path: Path) -> None:
    small = sample("cows")
    height, width = small.image.shape[1:]
    photo = Image.fromarray(small.image.permute(1, 2, 0).numpy())
    photo.resize((WIDTH, HEIGHT)).save(tmp_path / "phone.jpg")
    annotations = []
    for number, box in enumerate((small.boxes / torch.tensor([width, height] * 2)).tolist()):
        x1, y1, x2, y2 = box[0] * WIDTH, box[1] * HEIGHT, box[2] * WIDTH, box[3] * HEIGHT
        annotation = {"id": number, "image_id": 1, "category_id": int(small.labels[number])}
        annotation["segmentation"] = [[x1, y1, x2, y1, x2, y2, x1, y2]]
        annotations.append(annotation)
    content = {
        "images": [{"id": 1, "file_name": "phone.jpg", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": i, "name": n} for i, n in enumerate(small.class_names) if i],
        "annotations": annotations,
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert peak(EVALUATE, str(tmp_path)) < 1.5, "GB at most"
