"""Results of other frameworks: pycocotools' own numbers, TIDE's kinds, files that are refused."""

import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.funnel.comparison import compare
from mrcnn_steps.debug.funnel.results import from_results
from mrcnn_steps.debug.funnel.results_file import read_results
from mrcnn_steps.debug.funnel.summary import Funnel

SIZE = (320, 240)


def square(image_id: int, category_id: int, box: list[float], **facts: Any) -> dict:
    """An annotation of a rectangle `(x, y, width, height)` of whole pixels, or a detection."""
    x, y, w, h = box
    return {"image_id": image_id, "category_id": category_id, "bbox": [x, y, w, h]} | facts


def folder_of(path: Path, annotations: list[dict], photos: int = 1, **facts: Any) -> CocoFolder:
    """A data set of photos without content and these annotations."""
    for each in range(1, photos + 1):
        Image.new("RGB", SIZE).save(path / f"{each}.png")
    records = [
        {"id": number, "iscrowd": 0, "area": each["bbox"][2] * each["bbox"][3]} | each
        for number, each in enumerate(annotations, start=1)
    ]
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": SIZE[0], "height": SIZE[1]} | facts
            for i in range(1, photos + 1)
        ],
        "annotations": records,
        # Ids with gaps, as COCO's own are.
        "categories": [{"id": i, "name": name} for i, name in ((3, "cat"), (7, "dog"))],
    }
    (path / "data.json").write_text(json.dumps(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CocoFolder(path, path / "data.json")


def judged(path: Path, folder: CocoFolder, results: Any, **settings: Any) -> Funnel:
    file = path / "results.json"
    file.write_text(results if isinstance(results, str) else json.dumps(results))
    return from_results(folder, file, **settings)


def random_scene(seed: int, photos: int = 10) -> tuple[list[dict], list[dict]]:
    dice = np.random.default_rng(seed)
    annotations, results = [], []
    for image_id in range(1, photos + 1):
        for _ in range(dice.integers(1, 6)):
            x, y, w, h = (*dice.integers(0, 150, 2).tolist(), *dice.integers(20, 80, 2).tolist())
            label, crowd = int(dice.choice([3, 7])), int(dice.random() < 0.1)
            annotations.append(square(image_id, label, [x, y, w, h], iscrowd=crowd))
            for _ in range(dice.integers(0, 4)):
                shift = dice.normal(0, 6, 4)
                box = (np.array([x, y, w, h]) + shift).round(2).clip(1).tolist()
                said = label if dice.random() < 0.8 else 10 - label
                results.append(square(image_id, said, box, score=float(dice.random())))
    return annotations, results


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_and_recall_are_pycocotools(tmp_path, seed):
    annotations, results = random_scene(seed)
    folder = folder_of(tmp_path, annotations, 10)
    funnel = judged(tmp_path, folder, results)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(tmp_path / "data.json")
        plain = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "bbox")
        plain.params.iouThrs = np.array([0.5])
        plain.evaluate()
        plain.accumulate()
    precision = plain.eval["precision"][0, :, :, 0, 2]
    assert funnel.figures.ap50 == pytest.approx(100 * precision[precision > -1].mean())
    recall = plain.eval["recall"][0, :, 0, 2]
    for label, name in ((0, "cat"), (1, "dog")):
        [part] = [each for each in funnel.figures.slices["class"] if each.name == name]
        assert part.found / part.objects == pytest.approx(recall[label])


def test_kinds_of_false_positives(tmp_path):
    folder = folder_of(tmp_path, [square(1, 3, [20, 20, 60, 60]), square(1, 7, [200, 100, 60, 60])])
    wrong = {
        "": square(1, 3, [20, 20, 60, 60], score=0.95),
        "duplicate": square(1, 3, [22, 22, 60, 60], score=0.9),
        "localization": square(1, 3, [50, 40, 60, 60], score=0.85),
        "class": square(1, 3, [202, 100, 60, 60], score=0.8),
        "background": square(1, 7, [20, 150, 60, 60], score=0.75),
        "both": square(1, 3, [230, 100, 60, 60], score=0.7),
    }
    [row] = judged(tmp_path, folder, list(wrong.values())[::-1]).photos
    assert [each.kind for each in row.detections] == list(wrong)
    assert [each.object for each in row.detections] == [0, 0, 0, 1, None, 1]
    assert row.detections[3].suspected == "an annotation's class may be wrong"
    assert row.detections[4].suspected == "an object may not be annotated"
    assert [each.cause for each in row.objects] == ["found", "missed"]
    assert [each.annotation_id for each in row.objects] == [1, 2]


def test_what_only_lies_on_a_crowd_is_ignored(tmp_path):
    folder = folder_of(tmp_path, [square(1, 3, [20, 20, 100, 100], iscrowd=1)])
    result = square(1, 3, [30, 30, 20, 20], score=0.9)
    [row] = judged(tmp_path, folder, [result, result]).photos
    assert [each.kind for each in row.detections] == ["ignored", "ignored"]
    assert row.objects == ()


def test_classes_that_are_not_fully_annotated_are_ignored(tmp_path):
    folder = folder_of(tmp_path, [square(1, 3, [20, 20, 60, 60])], labelled_category_ids=[3])
    [row] = judged(tmp_path, folder, [square(1, 7, [150, 20, 60, 60], score=0.9)]).photos
    assert [each.kind for each in row.detections] == ["ignored"]


def test_only_scores_over_the_threshold_count(tmp_path):
    folder = folder_of(tmp_path, [square(1, 3, [20, 20, 60, 60])])
    results = [square(1, 3, [20, 20, 60, 60], score=score) for score in (0.3, 0.5, 0.8)]
    [row] = judged(tmp_path, folder, results, score=0.5).photos
    assert [each.score for each in row.detections] == [0.8]
    assert len(judged(tmp_path, folder, results).photos[0].detections) == 3


def test_a_mask_without_a_box_has_the_box_of_its_pixels(tmp_path):
    folder = folder_of(tmp_path, [square(1, 3, [20, 30, 60, 40])])
    mask = np.zeros(SIZE[::-1], dtype=np.uint8, order="F")
    mask[30:70, 20:80] = 1
    runs = coco_mask.encode(mask)
    masks = {"size": runs["size"], "counts": runs["counts"].decode()}
    polygon = [[20, 30, 80, 30, 80, 70, 20, 70]]
    for segmentation in (masks, polygon):
        result = {"image_id": 1, "category_id": 3, "score": 0.9, "segmentation": segmentation}
        [row] = judged(tmp_path, folder, [result]).photos
        assert row.detections[0].box == (20, 30, 80, 70)
        assert row.detections[0].iou == 1


def test_the_table_says_what_a_model_would_add(tmp_path):
    annotations, results = random_scene(0)
    text = judged(tmp_path, folder_of(tmp_path, annotations, 10), results).table()
    for section in ("false positives", "best F1", "Expected calibration", "the worst photos"):
        assert section in text
    assert "With --model, diagnose says at which gate each one was lost" in text
    for absent in ("lost at", "why", "network's input", "pyramid level", "sample_at"):
        assert absent not in text.replace("why an object", "").replace("was lost,", "")


def test_can_be_written_read_drawn_and_compared(tmp_path):
    annotations, results = random_scene(1)
    folder = folder_of(tmp_path, annotations, 10)
    funnel, fewer = judged(tmp_path, folder, results), judged(tmp_path, folder, results[::2])
    funnel.to_json(tmp_path / "funnel.json")
    funnel.to_csv(tmp_path / "causes.csv")
    assert Funnel.from_json(tmp_path / "funnel.json").photos == funnel.photos
    assert funnel.plot()._repr_png_()
    compared = compare(funnel, fewer)
    assert compared.found.after < compared.found.before
    assert ", missed" in compared.table()


def test_nothing_was_detected(tmp_path):
    folder = folder_of(tmp_path, [square(1, 3, [20, 20, 60, 60])])
    funnel = judged(tmp_path, folder, [])
    assert funnel.figures.ap50 == 0
    assert "1 photo, 1 object: 0 found" in funnel.table()


def test_what_the_data_set_leaves_out_is_left_out(tmp_path):
    folder_of(tmp_path, [square(1, 3, [20, 20, 60, 60]), square(2, 3, [20, 20, 60, 60])], 2)
    content = json.loads((tmp_path / "data.json").read_text())
    content["images"][1]["width"] = 0
    (tmp_path / "data.json").write_text(json.dumps(content))
    folder = CocoFolder(tmp_path, tmp_path / "data.json", strict=False)
    results = [square(image_id, 3, [20, 20, 60, 60], score=0.9) for image_id in (1, 2)]
    assert len(judged(tmp_path, folder, results).photos) == 1
    with pytest.raises(ValueError, match=r"\[1\]\.image_id: found 3"):
        judged(tmp_path, folder, [results[1], results[1] | {"image_id": 3}])


class TestRefused:
    GOOD = square(1, 3, [20.5, 20, 60, 60], score=0.9)

    @pytest.mark.parametrize(
        ("spoiled", "said"),
        [
            ({"image_id": 9}, "[1].image_id: found 9, expected the id of an image of the"),
            ({"image_id": "1"}, "[1].image_id: found '1', expected .*: 1 without quotes"),
            ({"image_id": True}, "[1].image_id: found True"),
            ({"category_id": 1}, "[1].category_id: found 1, expected the id of a category: 3, 7"),
            ({"category_id": 3.0}, "[1].category_id: found 3.0, expected .* 3"),
            ({"score": float("nan")}, "[1].score: found nan, expected a number from 0 to 1"),
            ({"score": float("inf")}, "[1].score: found inf"),
            ({"score": 87}, "[1].score: found 87.0, expected a number from 0 to 1"),
            ({"score": None}, "[1].score: found None"),
            ({"score": 10**400}, "[1].score: found 10000"),
            ({"bbox": [1, 2, 3]}, "[1].bbox: found [1, 2, 3], expected x, y, width and height"),
            ({"bbox": [1, 2, 3, "4"]}, "[1].bbox: found [1, 2, 3, '4'], expected x, y"),
            ({"bbox": [1, 2, float("nan"), 4]}, "[1].bbox: found [1, 2, nan, 4]"),
            ({"bbox": [60, 60, -20, 20]}, "[1].bbox: found [60, 60, -20, 20], .* no side is"),
            ({"bbox": None}, "[1].bbox: found None"),
            ({"bbox": None, "segmentation": {"counts": 3}}, "[1].segmentation"),
            ({"bbox": None, "segmentation": [[1, 2]]}, "[1].segmentation"),
        ],
    )
    def test_a_field(self, tmp_path, spoiled, said):
        folder = folder_of(tmp_path, [])
        pattern = r"results\.json: " + said.replace("[", r"\[").replace("]", r"\]")
        with pytest.raises(ValueError, match=pattern):
            judged(tmp_path, folder, [self.GOOD, self.GOOD | spoiled])

    @pytest.mark.parametrize("field", ["image_id", "category_id", "score", "bbox"])
    def test_a_missing_field(self, tmp_path, field):
        result = {key: value for key, value in self.GOOD.items() if key != field}
        with pytest.raises(ValueError, match=rf"\[0\]\.{field}: found nothing, expected"):
            judged(tmp_path, folder_of(tmp_path, []), [result])

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("{}", "the file: found {}, expected a list of detections"),
            ('{"annotations": []}', "this may be a file of annotations"),
            ("[3]", r"\[0\]\.the detection: found 3, expected an object"),
            ("[{", "expected complete JSON"),
            ("[" * 100_000, "expected complete JSON"),
            ("", "expected complete JSON"),
        ],
    )
    def test_another_file(self, tmp_path, content, said):
        with pytest.raises(ValueError, match=said):
            judged(tmp_path, folder_of(tmp_path, []), content)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            from_results(folder_of(tmp_path, []), tmp_path / "nowhere.json")

    def corners(self, count: int) -> list[dict]:
        dice = np.random.default_rng(0)
        first = dice.integers(0, 160, (count, 2))
        boxes = np.concatenate((first, first + dice.integers(20, 80, (count, 2))), axis=1)
        return [square(1, 3, box.tolist(), score=0.5) for box in boxes]

    def test_boxes_as_corners(self, tmp_path):
        folder = folder_of(tmp_path, [])
        with pytest.raises(ValueError, match=r"bbox: .* would end outside .*: are they corners\?"):
            judged(tmp_path, folder, self.corners(30))

    def test_boxes_as_shares(self, tmp_path):
        shares = [square(1, 3, [0.1, 0.2, 0.3, 0.4], score=0.5)] * 10
        with pytest.raises(ValueError, match="are these shares of the photo's sides"):
            judged(tmp_path, folder_of(tmp_path, []), shares)

    def test_boxes_a_little_outside_pass(self, tmp_path):
        folder = folder_of(tmp_path, [])
        inside = [square(1, 3, [200, 100, 40, 50], score=0.5)] * 40
        outside = square(1, 3, [280, 200, 60, 60], score=0.5)
        assert len(judged(tmp_path, folder, [*inside, outside]).photos[0].detections) == 41

    def test_reading_keeps_the_order_of_the_file(self, tmp_path):
        folder = folder_of(tmp_path, [])
        judged(tmp_path, folder, [self.GOOD, self.GOOD | {"score": 1}])
        found = read_results(tmp_path / "results.json", folder)
        assert [each.score for each in found] == [0.9, 1.0]
        assert found[0].box == (20.5, 20, 80.5, 80)
