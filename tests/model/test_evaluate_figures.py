"""Every figure of `evaluate` against a direct run of pycocotools, on random small data sets."""

import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.matching import match
from mrcnn_steps.model.evaluate import evaluate, measure, table, unpasted

NAMES = {2: "nut", 5: "bolt", 9: "washer"}
SIDE = 120
CPU = torch.device("cpu")


class Answers(nn.Module):
    """A detector that answers with prepared predictions, photo after photo."""

    def __init__(self, predictions: list[dict[str, Tensor]], class_names: tuple[str, ...]):
        super().__init__()
        self.predictions, self.photo, self.class_names = predictions, -1, class_names
        self.roi_heads = SimpleNamespace(has_mask=lambda: True)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        self.photo += 1
        return [self.predictions[self.photo]]


def ellipse(generator: np.random.Generator, near: np.ndarray | None = None) -> np.ndarray:
    """A random mask, or one a little beside another."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    if near is not None:
        return np.roll(near, generator.integers(-4, 5, 2), axis=(0, 1))
    center, radius = generator.uniform(20, 100, 2), generator.uniform(3, 70, 2)
    return ((x - center[0]) / radius[0]) ** 2 + ((y - center[1]) / radius[1]) ** 2 < 1


def data_set(seed: int, folder: Path) -> tuple[CocoFolder, list[dict[str, Tensor]]]:
    """Photos of all sizes of objects, some crowds; detections beside them, and invented ones."""
    generator = np.random.default_rng(seed)
    images, annotations, predictions = [], [], []
    for photo in range(1, int(generator.integers(2, 5))):
        Image.new("RGB", (SIDE, SIDE)).save(folder / f"{photo}.png")
        images.append({"id": photo, "file_name": f"{photo}.png", "width": SIDE, "height": SIDE})
        masks, labels = [], []
        for _ in range(generator.integers(0, 6)):
            mask, category = ellipse(generator), int(generator.choice(list(NAMES)))
            encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": photo,
                    "category_id": category,
                    "iscrowd": int(generator.random() < 0.15),
                    "bbox": coco_mask.toBbox(encoded).tolist(),
                    "area": float(coco_mask.area(encoded)),
                    "segmentation": {"size": [SIDE] * 2, "counts": encoded["counts"].decode()},
                }
            )
            if generator.random() < 0.8:
                masks.append(ellipse(generator, near=mask))
                labels.append(1 + list(NAMES).index(category))
        for _ in range(generator.integers(0, 3)):
            masks.append(ellipse(generator))
            labels.append(int(generator.integers(1, 4)))
        predictions.append(prediction(masks, labels, generator))
    categories = [{"id": i, "name": name} for i, name in NAMES.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "a.json").write_text(json.dumps(content))
    return CocoFolder(folder, folder / "a.json"), predictions


def prediction(
    masks: list[np.ndarray], labels: list[int], generator: np.random.Generator
) -> dict[str, Tensor]:
    drawn = torch.from_numpy(np.array(masks).reshape(-1, SIDE, SIDE))
    boxes = [(0, 0, 1, 1) if not mask.any() else around(mask) for mask in drawn.numpy()]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "scores": torch.from_numpy(generator.random(len(labels))).float(),
        "masks": drawn[:, None].float(),
    }


def around(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def direct(folder: CocoFolder, predictions: list[dict[str, Tensor]], kind: str) -> COCOeval:
    """pycocotools on the file itself; its own ids made to begin at 1, as it demands."""
    results = []
    for image_id, found in zip(folder.image_ids, predictions, strict=True):
        for row, label in enumerate(found["labels"].tolist()):
            result: dict[str, Any] = {"image_id": image_id, "score": found["scores"][row].item()}
            result["category_id"] = list(NAMES)[label - 1]
            if kind == "bbox":
                x1, y1, x2, y2 = found["boxes"][row].tolist()
                result["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            else:
                mask = found["masks"][row, 0].numpy().astype(np.uint8)
                result["segmentation"] = coco_mask.encode(np.asfortranarray(mask))
            results.append(result)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder.annotations))
        for annotation in truth.dataset["annotations"]:
            annotation["id"] += 1
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(results), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


def percent(value: float) -> float | None:
    return round(100 * value, 2) if value >= 0 else None


@pytest.mark.parametrize("seed", range(50))
def test_every_figure_is_pycocotools(seed: int, tmp_path: Path) -> None:
    folder, predictions = data_set(seed, tmp_path)
    if not any(len(each["labels"]) for each in predictions):
        pytest.skip("pycocotools cannot load no results")
    class_names = ("background", *NAMES.values())
    metrics = evaluate(Answers(predictions, class_names), folder, CPU, progress=False)
    assert metrics is not None
    for name, kind in (("box", "bbox"), ("mask", "segm")):
        run = direct(folder, predictions, kind)
        overall = [metrics[name][key] for key in ("AP", "AP50", "AP75", "small", "medium", "large")]
        assert overall == [percent(value) for value in run.stats[:6]]
        precision = run.eval["precision"][:, :, :, 0, 2]
        for k, class_name in enumerate(NAMES.values()):
            values = precision[:, :, k]
            expected = percent(values[values > -1].mean()) if (values > -1).any() else None
            assert metrics[name]["classes"][class_name]["AP"] == expected


@pytest.mark.parametrize("seed", range(20))
def test_matching_finds_what_pycocotools_recalls(seed: int, tmp_path: Path) -> None:
    """At IoU 0.5, all sizes: objects found by `match`, class by class, over all objects."""
    folder, predictions = data_set(seed, tmp_path)
    if not any(len(each["labels"]) for each in predictions):
        pytest.skip("pycocotools cannot load no results")
    found, objects = torch.zeros(4), torch.zeros(4)
    for sample, each in zip(folder, predictions, strict=True):
        crowd = sample.crowd
        matches = match(
            *(each[part] for part in ("boxes", "labels", "scores")),
            *(sample.boxes[~crowd], sample.labels[~crowd]),
            *(sample.boxes[crowd], sample.labels[crowd]),
        )
        for label, row in zip(sample.labels[~crowd], matches.detection_of, strict=True):
            objects[label] += 1
            found[label] += row >= 0
    recall = direct(folder, predictions, "bbox").eval["recall"][0, :, 0, 2]
    for label in (1, 2, 3):
        if objects[label]:
            assert found[label] / objects[label] == pytest.approx(recall[label - 1])
        else:
            assert recall[label - 1] == -1


def write(folder: Path, annotations: list[dict[str, Any]]) -> CocoFolder:
    Image.new("RGB", (SIDE, SIDE)).save(folder / "1.png")
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": SIDE, "height": SIDE}],
        "categories": [{"id": i, "name": name} for i, name in NAMES.items()],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 2} | each for i, each in enumerate(annotations)
        ],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return CocoFolder(folder, folder / "a.json")


def perfect(folder: CocoFolder) -> list[dict[str, Tensor]]:
    return [
        {
            "boxes": sample.boxes,
            "labels": sample.labels,
            "scores": torch.ones(len(sample.labels)),
            "masks": sample.masks_or_rectangles()[:, None].float(),
        }
        for sample in folder
    ]


def test_masks_are_sized_by_their_own_area(tmp_path: Path) -> None:
    """A thin diagonal: 800 pixels, small as a mask, in a box of 80 × 80, medium."""
    strip = [[10, 10, 20, 10, 90, 90, 80, 90]]
    folder = write(tmp_path, [{"segmentation": strip, "bbox": [10, 10, 80, 80], "area": 6400}])
    names = ("background", *NAMES.values())
    metrics = evaluate(Answers(perfect(folder), names), folder, CPU, progress=False)
    assert metrics is not None
    assert [metrics["box"][size] for size in ("small", "medium", "large")] == [None, 100, None]
    assert [metrics["mask"][size] for size in ("small", "medium", "large")] == [100, None, None]


def test_nothing_to_measure_is_not_0(tmp_path: Path) -> None:
    names = ("background", *NAMES.values())
    square = [[10, 10, 30, 10, 30, 30, 10, 30]]
    folder = write(tmp_path, [{"segmentation": square}])
    nothing = [{name: value[:0] for name, value in perfect(folder)[0].items()}]
    metrics = evaluate(Answers(nothing, names), folder, CPU, progress=False)
    assert metrics is not None
    sizes = ("AP", "small", "medium", "large")
    assert [metrics["mask"][size] for size in sizes] == [0, 0, None, None]
    empty = write(tmp_path, [])
    metrics = evaluate(Answers(nothing, names), empty, CPU, progress=False)
    assert metrics is not None
    assert [metrics["box"][size] for size in sizes] == [None] * 4


def test_a_class_that_the_model_does_not_know_is_named_and_counts(tmp_path: Path) -> None:
    square = [[10, 10, 30, 10, 30, 30, 10, 30]]
    annotations = [{"segmentation": square}, {"segmentation": square, "category_id": 5}]
    folder = write(tmp_path, annotations)
    metrics = evaluate(
        Answers(perfect(folder), ("background", "Nut", "bolt", "washer")), folder, CPU, False
    )
    assert metrics is not None
    assert metrics["unknown_classes"] == {"nut": 1}
    assert metrics["box"]["AP"] == 50
    assert "nut: unknown to the model; its 1 object counts as missed" in table(metrics)


def test_broken_answers_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, [{"segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]}])
    answer = perfect(folder)
    answer[0]["scores"][0] = torch.nan
    with pytest.raises(ValueError, match=r"1\.png: the model's scores: found NaN"):
        evaluate(Answers(answer, ("background", *NAMES.values())), folder, CPU, progress=False)


def test_masks_are_required_of_a_model_that_predicts_them(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="a box and no mask"):
        folder = write(tmp_path, [{"segmentation": [], "bbox": [10, 10, 20, 20]}])
    answer = Answers(perfect(folder), ("background", *NAMES.values()))
    with pytest.raises(ValueError, match=r"annotation 0: segmentation: found none"):
        evaluate(answer, folder, CPU, progress=False)
    answer.roi_heads = SimpleNamespace(has_mask=lambda: False)
    metrics = evaluate(answer, folder, CPU, progress=False)
    assert metrics is not None
    assert metrics["box"]["AP"] == 100


def test_masks_pasted_one_at_a_time_are_the_models_own(tmp_path: Path) -> None:
    """A random Mask R-CNN of torchvision: its pasted masks over 0.5, and nothing left behind."""
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    model = MaskRCNN(backbone, 4, min_size=128, max_size=160, box_detections_per_img=20).eval()
    with torch.no_grad():
        model.roi_heads.mask_predictor.mask_fcn_logits.bias += 0.1
    folder = write(tmp_path, [{"segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]}])
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "1.png")
    with torch.no_grad():
        [expected] = model([folder.image(0) / 255])
    found, _, _ = measure(model, folder, 0, CPU, {1: 2, 2: 5, 3: 9})
    assert len(found) == len(expected["labels"]) > 5
    masks = [coco_mask.decode(each["segmentation"]) for each in found]
    assert np.array_equal(np.array(masks) == 1, (expected["masks"][:, 0] > 0.5).numpy())
    assert "postprocess" not in vars(model.transform)
    with unpasted(model), torch.no_grad():
        assert "masks" not in model([folder.image(0) / 255])[0]
