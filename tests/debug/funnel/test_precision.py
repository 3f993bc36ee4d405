"""Average precision of rows: pycocotools' own numbers, and the price of a gate and of a kind."""

import contextlib
import io
import tracemalloc

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mrcnn_steps.debug.errors import KINDS
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.precision import (
    Put,
    ap50,
    ap50_by_class,
    claims,
    gain_of_kind,
    gain_of_objects,
    gains_of_gates,
)
from mrcnn_steps.debug.funnel.rows import IGNORED, PhotoRow
from mrcnn_steps.matching import match
from tests.debug.funnel.made import NAMES, a_detection, a_photo, an_object, at_random


class Scene:
    """Annotated photos and detections, known to us as rows and to pycocotools as its records."""

    def __init__(self, seed: int, photos: int = 12) -> None:
        self.dice = np.random.default_rng(seed)
        self.annotations: list[dict] = []
        self.results: list[dict] = []
        # Not in the order of their ids.
        self.photos = [self._photo(int(each)) for each in self.dice.permutation(photos) + 1]

    def _boxes(self, count: int) -> np.ndarray:
        corner, side = self.dice.uniform(0, 300, (count, 2)), self.dice.uniform(20, 150, (count, 2))
        return np.concatenate((corner, corner + side), axis=1)

    def _photo(self, image_id: int) -> PhotoRow:
        truth, crowds = self._boxes(self.dice.integers(0, 7)), self._boxes(2)
        labels = self.dice.integers(1, 4, len(truth))
        near = truth[self.dice.integers(0, max(len(truth), 1), 12 if len(truth) else 0)]
        boxes = np.concatenate((near + self.dice.normal(0, 9, near.shape), self._boxes(5)))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        said, scores = self.dice.integers(1, 4, len(boxes)), self.dice.random(len(boxes))
        for rows, kinds, crowd in ((truth, labels, 0), (crowds, [1, 2], 1)):
            for box, label in zip(rows, kinds, strict=True):
                self.annotations.append(record(image_id, box, label) | {"iscrowd": crowd})
        for box, label, score in zip(boxes, said, scores, strict=True):
            self.results.append(record(image_id, box, label) | {"score": score})
        matches = match(
            torch.tensor(boxes),
            torch.tensor(said),
            torch.tensor(scores),
            torch.tensor(truth).reshape(-1, 4),
            torch.tensor(labels),
            torch.tensor(crowds),
            torch.tensor([1, 2]),
        )
        detections = [
            a_detection(
                row,
                "" if taken >= 0 else IGNORED if matches.ignored[row] else "background",
                name=NAMES[said[row]],
                label=int(said[row]),
                score=float(scores[row]),
            )
            for row, taken in enumerate(matches.object_of.tolist())
        ]
        objects = [
            an_object(
                number,
                FOUND if row >= 0 else "nms",
                name=NAMES[labels[number]],
                box=tuple(truth[number].tolist()),
                able_score=None if row >= 0 else float(self.dice.random()),
            )
            for number, row in enumerate(matches.detection_of.tolist())
        ]
        return a_photo(image_id, tuple(objects), tuple(detections))

    def plain(self, put: list[dict] = ()) -> np.ndarray:
        """AP50 of each class that has objects, in percent, as pycocotools says."""
        truth, found = COCO(), COCO()
        images = [{"id": photo.image_id, "width": 500, "height": 500} for photo in self.photos]
        for coco, records in ((truth, self.annotations), (found, [*self.results, *put])):
            coco.dataset = {
                "images": images,
                "categories": [{"id": each} for each in (1, 2, 3)],
                "annotations": [each | {"id": i} for i, each in enumerate(records, start=1)],
            }
        with contextlib.redirect_stdout(io.StringIO()):
            truth.createIndex()
            found.createIndex()
            judged = COCOeval(truth, found, "bbox")
            judged.params.iouThrs = np.array([0.5])
            judged.evaluate()
            judged.accumulate()
        values = judged.eval["precision"][0, :, :, 0, 2].mean(axis=0)
        return 100 * values[values > -1]


def record(image_id: int, box: np.ndarray, label: int) -> dict:
    x1, y1, x2, y2 = box.tolist()
    return {
        "image_id": image_id,
        "category_id": int(label),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
    }


@pytest.mark.parametrize("seed", range(6))
def test_ap50_is_pycocotools(seed):
    scene = Scene(seed)
    found = claims(scene.photos)
    own = ap50_by_class(found)
    in_order = [own[name] for name in NAMES if name in own]
    assert in_order == pytest.approx(scene.plain().tolist(), abs=1e-10)
    assert ap50(found) == pytest.approx(scene.plain().mean(), abs=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_a_gate_costs_what_pycocotools_says_with_its_objects_put_back(seed):
    scene = Scene(seed, photos=8)
    # A detection of the very box of each missed object, as far down as its able candidate.
    put = [
        record(photo.image_id, np.array(each.box), NAMES.index(each.name))
        | {"score": each.able_score}
        for photo in scene.photos
        for each in photo.objects
        if each.cause != FOUND
    ]
    objects = [each for photo in scene.photos for each in photo.objects]
    gains = gains_of_gates(claims(scene.photos), objects)
    assert gains["nms"] == pytest.approx(scene.plain(put).mean() - scene.plain().mean(), abs=1e-9)
    assert gains["nms"] > 1
    assert {cause for cause, gain in gains.items() if gain} == {"nms"}


def test_only_a_hundred_detections_of_a_class_in_a_photo_count():
    wrong = [a_detection(row, "background", score=0.99 - row / 1000) for row in range(100)]
    right = a_detection(100, "", score=0.1, object=0)
    # Ignored detections take their place among the hundred too.
    photo = a_photo(1, (an_object(),), (*wrong, right))
    assert len(claims([photo]).score) == 100
    assert ap50(claims([photo])) == 0
    fewer = a_photo(1, (an_object(),), (*wrong[1:], right))
    assert ap50(claims([fewer])) == pytest.approx(1.0)


class TestHandComputed:
    def test_one_of_two_objects_found(self):
        # Precision 1 up to recall 0.5, nothing beyond: 51 of the 101 recalls.
        photo = a_photo(1, (an_object(0), an_object(1, "nms")), (a_detection(0),))
        assert ap50(claims([photo])) == pytest.approx(100 * 51 / 101)
        assert gain_of_objects(claims([photo]), [Put("person", 0.2)]) == pytest.approx(
            100 * 50 / 101
        )

    def test_put_back_below_a_false_positive(self):
        wrong = a_detection(1, "background", score=0.5)
        photo = a_photo(1, (an_object(0), an_object(1, "nms")), (a_detection(0), wrong))
        # The second object comes third: precision 2/3 beyond recall 0.5.
        gain = gain_of_objects(claims([photo]), [Put("person", 0.2)])
        assert gain == pytest.approx(100 * 50 / 101 * 2 / 3)

    def test_classes_without_objects_do_not_count(self):
        photo = a_photo(
            1, (an_object(),), (a_detection(), a_detection(1, "background", name="dog"))
        )
        assert ap50_by_class(claims([photo])) == {"person": pytest.approx(100)}

    def test_without_objects_there_is_none(self):
        assert ap50(claims([])) is None
        assert ap50(claims([a_photo(1, (), (a_detection(0, "background"),))])) is None


class TestPriceOfAGate:
    @pytest.mark.parametrize(
        ("cause", "facts", "score"),
        [
            ("nms", {"able_score": 0.3, "score": 0.8}, 0.3),
            ("class", {"score": 0.04, "perfect_probability": 0.9}, 0.04),
            ("box", {"score": 0.4, "perfect_probability": 0.9}, 0.4),
            ("anchors", {"score": 0.01, "perfect_probability": 0.6}, 0.6),
            ("rpn_box", {"score": 0.01, "perfect_probability": 0.6}, 0.6),
        ],
    )
    def test_is_that_of_its_objects_at_the_score_they_would_have(self, cause, facts, score):
        objects = (an_object(0), an_object(1, cause, **facts))
        rivals = [a_detection(row, "background", score=row / 20) for row in range(1, 20)]
        found = claims([a_photo(1, objects, (a_detection(0), *rivals))])
        gains = gains_of_gates(found, objects)
        assert gains[cause] == pytest.approx(gain_of_objects(found, [Put("person", score)]))
        assert gains[cause] != gain_of_objects(found, [Put("person", score + 0.06)])

    @pytest.mark.parametrize("cause", ["mask", "unknown class"])
    def test_is_unknown_where_no_box_is_missing(self, cause):
        objects = (an_object(0, cause, score=None),)
        assert gains_of_gates(claims([a_photo(1, objects)]), objects)[cause] is None

    def test_all_gates_together_find_everything(self):
        photos = at_random(30)
        found = claims(photos)
        lost = [each for photo in photos for each in photo.objects if each.cause != FOUND]
        put = [Put(each.name, 2.0) for each in lost if each.cause != "mask"]
        assert ap50(found) + gain_of_objects(found, put) > 90
        assert set(gains_of_gates(found, lost)) == set(CAUSES)


class TestPriceOfAKind:
    def test_detections_of_other_kinds_are_taken_away(self):
        wrong = a_detection(1, "background", score=0.95)
        found = claims([a_photo(1, (an_object(),), (wrong, a_detection()))])
        assert gain_of_kind(found, "background") == pytest.approx(50)
        assert gain_of_kind(found, "both") == 0

    @pytest.mark.parametrize("kind", ["localization", "class"])
    def test_the_best_detection_of_a_missed_object_finds_it(self, kind):
        objects = (an_object(0, "nms", name="dog"), an_object(1))
        wrong = [a_detection(row, kind, score=0.5 - row / 10, object=0) for row in range(3)]
        photo = a_photo(1, objects, (a_detection(9, "", object=1), *wrong))
        # Dogs: from 0 to 100; persons stay at 100; the two others are taken away.
        assert gain_of_kind(claims([photo]), kind) == pytest.approx(50)

    def test_a_detection_of_an_object_that_was_found_is_taken_away(self):
        wrong = a_detection(1, "localization", score=0.95, object=0)
        found = claims([a_photo(1, (an_object(),), (wrong, a_detection()))])
        assert gain_of_kind(found, "localization") == pytest.approx(50)

    @pytest.mark.parametrize("kind", KINDS)
    def test_is_never_negative(self, kind):
        assert gain_of_kind(claims(at_random(40)), kind) > 0


def test_a_detection_leaves_a_few_numbers():
    """Half a million of them, as of a large data set, take some twenty megabytes."""
    many = tuple(a_detection(row, score=row / 300) for row in range(90))
    photos = [a_photo(image_id, (), many) for image_id in range(300)]
    tracemalloc.start()
    found = claims(photos)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.score) == 27_000
    assert most < 90 * 27_000
