"""Matching: COCO's rule, checked against pycocotools' own matches, and the questions beside it."""

import contextlib
import io
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from torch import Tensor
from torchvision.ops import box_iou

from mrcnn_steps.data import CocoFolder, sample, samples
from mrcnn_steps.matching import (
    match,
    match_trace,
    most_overlapped,
    overlaps,
    recalled,
)
from mrcnn_steps.model import load_model
from mrcnn_steps.tracing import trace

COCO_FOLDER = Path(__file__).parents[2] / "shared" / "coco"


def boxes(*rows) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def whole(*numbers) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def cocos(found, labels, scores, objects, object_labels, crowds, crowd_labels, iou):
    """The matches that pycocotools' evaluation of one photo makes."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def records(rows, kinds, **fields):
        sides = torch.cat((rows[:, :2], rows[:, 2:] - rows[:, :2]), dim=1)
        return [
            {"image_id": 1, "category_id": label, "bbox": box, "area": box[2] * box[3]} | fields
            for box, label in zip(sides.tolist(), kinds.tolist(), strict=True)
        ]

    annotations = records(objects.double(), object_labels, iscrowd=0)
    annotations += records(crowds.double(), crowd_labels, iscrowd=1)
    results = [
        record | {"score": score}
        for record, score in zip(
            records(found.double(), labels), scores.double().tolist(), strict=True
        )
    ]
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1, "width": 5000, "height": 5000}],
        "annotations": [each | {"id": i} for i, each in enumerate(annotations, start=1)],
        "categories": [{"id": label} for label in range(1, 100)],
        "info": {},
    }
    object_of = np.full(len(found), -1)
    detection_of = np.full(len(objects), -1)
    ignored = np.zeros(len(found), dtype=bool)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        if not results:
            return object_of, detection_of, ignored
        coco = COCOeval(truth, truth.loadRes(results), "bbox")
        coco.params.iouThrs = np.array([iou])
        coco.params.areaRng, coco.params.areaRngLbl = [[0, 1e10]], ["all"]
        coco.params.maxDets = [len(results)]
        coco.evaluate()
    for each in coco.evalImgs:
        if each is None:
            continue
        for row, matched, skip in zip(
            each["dtIds"], each["dtMatches"][0], each["dtIgnore"][0], strict=True
        ):
            ignored[row - 1] = skip
            if matched and not skip:
                object_of[row - 1] = int(matched) - 1
        for index, matched in zip(each["gtIds"], each["gtMatches"][0], strict=True):
            if matched and index <= len(objects):
                detection_of[index - 1] = int(matched) - 1
    return object_of, detection_of, ignored


def assert_as_pycocotools(*scene, iou=0.5):
    ours = match(*scene, iou)
    for name, found, expected in zip(
        ("object_of", "detection_of", "ignored"),
        (ours.object_of, ours.detection_of, ours.ignored),
        cocos(*scene, iou),
        strict=True,
    ):
        assert found.tolist() == expected.tolist(), name
    return ours


# --- the rule, by hand ----------------------------------------------------------------------


def test_the_surest_detection_chooses_first_and_each_takes_one_object():
    ten = boxes((0, 0, 10, 10))
    twice = boxes((0, 0, 10, 9), (0, 0, 10, 10))
    found = match(twice, whole(1, 1), torch.tensor([0.9, 0.8]), ten, whole(1), ten[:0], whole())
    assert found.object_of.tolist() == [0, -1]
    assert found.detection_of.tolist() == [0]
    assert not found.ignored.any()


def test_a_detection_whose_best_object_is_taken_takes_the_next_best():
    objects = boxes((0, 0, 10, 10), (0, 0, 10, 14))
    both = boxes((0, 0, 10, 10), (0, 0, 10, 11))
    scene = (both, whole(1, 1), torch.tensor([0.9, 0.8]), objects, whole(1, 1))
    found = match(*scene, objects[:0], whole())
    assert found.object_of.tolist() == [0, 1]


def test_only_objects_of_its_class_count():
    one = boxes((0, 0, 10, 10))
    found = match(one, whole(2), torch.ones(1), one, whole(1), one[:0], whole())
    assert found.object_of.tolist() == [-1]
    assert found.detection_of.tolist() == [-1]


def test_of_objects_that_tie_the_later_is_taken():
    same = boxes((0, 0, 10, 10), (0, 0, 10, 10))
    found = match(same[:1], whole(1), torch.ones(1), same, whole(1, 1), same[:0], whole())
    assert found.object_of.tolist() == [1]


def test_an_iou_of_just_the_threshold_is_enough():
    found = boxes((0, 0, 10, 10))
    half = boxes((0, 0, 10, 5))
    assert match(found, whole(1), torch.ones(1), half, whole(1), half[:0], whole()).object_of == 0
    least = match(found, whole(1), torch.ones(1), half, whole(1), half[:0], whole(), 0.5 + 1e-12)
    assert least.object_of == -1


def test_a_crowd_absorbs_any_number_and_is_measured_by_the_detections_area():
    crowd = boxes((0, 0, 100, 100))
    found = boxes((0, 0, 10, 10), (50, 50, 60, 60), (95, 0, 115, 20))
    scores = torch.tensor([0.9, 0.8, 0.7])
    matches = match(found, whole(1, 1, 1), scores, crowd[:0], whole(), crowd, whole(1))
    assert matches.ignored.tolist() == [True, True, False], "a quarter inside is not enough"
    assert matches.object_of.tolist() == [-1, -1, -1]
    others = match(found, whole(2, 2, 2), scores, crowd[:0], whole(), crowd, whole(1))
    assert not others.ignored.any()


def test_an_object_goes_before_a_crowd_that_overlaps_more():
    crowd, object = boxes((0, 0, 100, 100)), boxes((0, 0, 10, 6))
    found = match(boxes((0, 0, 10, 10)), whole(1), torch.ones(1), object, whole(1), crowd, whole(1))
    assert found.object_of.tolist() == [0]
    assert not found.ignored.any()


def test_a_detection_of_a_class_that_is_not_annotated_throughout_is_right_or_ignored():
    one = boxes((0, 0, 10, 10), (50, 0, 60, 10))
    scene = (one, whole(1, 2), torch.ones(2), one[:1], whole(1), one[:0], whole())
    assert match(*scene, known_labels={1}).ignored.tolist() == [False, True]
    assert match(*scene, known_labels={1}).object_of.tolist() == [0, -1]
    assert match(*scene, known_labels={2}).ignored.tolist() == [False, False]
    assert match(*scene, known_labels={2}).object_of.tolist() == [0, -1]


def test_below_the_score_threshold_nothing_takes_part():
    one = boxes((0, 0, 10, 10), (50, 0, 60, 10))
    scene = (one, whole(1, 1), torch.tensor([0.9, 0.5]), one, whole(1, 1), one[:0], whole())
    assert match(*scene).object_of.tolist() == [0, 1]
    assert match(*scene, score_threshold=0.5).object_of.tolist() == [0, -1]
    assert match(*scene, score_threshold=0.5).detection_of.tolist() == [0, -1]


# --- pycocotools ----------------------------------------------------------------------------


@st.composite
def scenes(draw):
    """Detections, objects and crowds on a coarse grid: many IoU and scores are alike."""

    def place(count):
        corner = st.integers(0, 6)
        side = st.sampled_from([0, 1, 2, 3, 3.5, 4, 6.25])
        rows = draw(st.lists(st.tuples(corner, corner, side, side), max_size=count))
        labels = draw(st.lists(st.integers(1, 2), min_size=len(rows), max_size=len(rows)))
        return boxes(*((x, y, x + w, y + h) for x, y, w, h in rows)), whole(*labels)

    found, labels = place(8)
    count = len(found)
    values = st.sampled_from([0.1, 0.5, 0.7])
    scores = draw(st.lists(values, min_size=count, max_size=count))
    return found, labels, torch.tensor(scores), *place(6), *place(2)


@settings(max_examples=300)
@given(scenes(), st.sampled_from([0.1, 1 / 3, 0.5, 0.75, 1.0]))
@example(
    (
        *(boxes((0, 0, 3, 3)), whole(1), torch.ones(1)),
        *(boxes((0, 0, 3, 3), (0, 0, 3, 3)), whole(1, 1), boxes((0, 0, 9, 9)), whole(1)),
    ),
    1.0,
)
def test_random_scenes_match_as_pycocotools_says(scene, iou):
    assert_as_pycocotools(*scene, iou=iou)


@given(st.integers(0, 10_000), st.sampled_from([0.3, 0.5, 0.7]))
def test_crowded_scenes_of_real_sizes_match_as_pycocotools_says(seed, iou):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.rand(shape, generator=generator)

    def labels(count):
        return torch.randint(1, 4, (count,), generator=generator)

    corners = random(12, 2) * 500
    objects = torch.cat((corners, corners + 20 + 200 * random(12, 2)), dim=1)
    found = objects.repeat(5, 1)
    found = found + torch.randn(found.shape, generator=generator) * 8
    found[:, 2:] = found[:, 2:].maximum(found[:, :2])
    kinds = labels(12)
    scores = random(60)
    matches = assert_as_pycocotools(
        found, kinds.repeat(5), scores, objects[:9], kinds[:9], objects[9:], kinds[9:], iou=iou
    )
    assert (matches.object_of >= 0).any()
    assert matches.ignored.any()


@pytest.fixture(scope="module")
def model():
    return load_model("tiny")


def assert_trace_matches(traced):
    truth, found = traced.ground_truth, traced.detections
    objects = (truth.boxes, truth.labels, truth.crowd_boxes, truth.crowd_labels)
    assert_as_pycocotools(found.boxes, found.labels, found.scores, *objects)
    ours = match_trace(traced)
    again = match(found.boxes, found.labels, found.scores, *objects)
    assert torch.equal(ours.object_of, again.object_of)
    assert torch.equal(ours.ignored, again.ignored)
    return ours


def assert_same_in_the_photo(traced, ours):
    """Also where evaluation measures, in the photo's pixels."""
    photo, result = traced.sample, traced.result
    objects = traced.ground_truth.objects
    crowds = photo.crowd & photo.masks.flatten(1).any(dim=1)
    theirs = match(
        result["boxes"],
        result["labels"],
        result["scores"],
        photo.boxes[objects],
        traced.ground_truth.labels,
        photo.boxes[crowds],
        traced.ground_truth.crowd_labels,
    )
    assert torch.equal(ours.object_of, theirs.object_of)
    assert torch.equal(ours.ignored, theirs.ignored)


@pytest.mark.parametrize("name", samples())
def test_bundled_photos_match_as_pycocotools_says(model, name):
    traced = trace(model, sample(name))
    ours = assert_trace_matches(traced)
    assert (ours.object_of >= 0).any()
    assert_same_in_the_photo(traced, ours)


def test_photos_of_a_data_set_beside_the_checkout_match_as_pycocotools_says(model):
    if not COCO_FOLDER.is_dir():
        pytest.skip(f"no photos at {COCO_FOLDER}")
    folder = CocoFolder(COCO_FOLDER / "images", COCO_FOLDER / "instances_val.json")
    for index in range(0, len(folder), len(folder) // 8):
        photo = folder[index]
        if len(photo.labels):
            assert_trace_matches(trace(model, photo))


def test_a_trace_without_annotations_matches_nothing(model):
    traced = trace(model, sample(samples()[0]).image)
    found = match_trace(traced)
    assert (found.object_of == -1).all()
    assert len(found.object_of) == len(traced.detections)
    assert len(found.detection_of) == 0
    assert not found.ignored.any()


# --- IoU, and the questions beside ----------------------------------------------------------


def test_iou_is_torchvisions_in_double_precision(random_boxes):
    some, others = random_boxes(50, seed=1), random_boxes(30, seed=2)
    expected = box_iou(some.double(), others.double())
    torch.testing.assert_close(overlaps(some, others), expected, rtol=1e-12, atol=0)
    assert overlaps(some[:0], others).shape == (0, 30)


def test_boxes_that_touch_and_boxes_without_area_overlap_nothing():
    one = boxes((0, 0, 10, 10))
    assert overlaps(one, boxes((10, 0, 20, 10), (5, 5, 5, 5))).tolist() == [[0, 0]]
    assert overlaps(boxes((5, 5, 5, 5)), one, crowd=True).tolist() == [[0]]


@given(st.integers(0, 1000))
def test_the_most_overlapped_object_is_that_of_a_loop(random_boxes, seed):
    some, objects = random_boxes(20, seed=seed), random_boxes(7, seed=seed + 1)
    found = most_overlapped(some, objects)
    for row, box in enumerate(some):
        iou = [float(box_iou(box[None].double(), other[None].double())) for other in objects]
        assert float(found.iou[row]) == pytest.approx(max(iou), abs=1e-12)
        assert int(found.row[row]) == iou.index(max(iou))


def test_where_there_is_no_object_none_is_overlapped():
    nothing = most_overlapped(boxes((0, 0, 10, 10)), boxes())
    assert nothing.iou.tolist() == [0]
    assert nothing.row.tolist() == [-1]


def test_one_proposal_may_recall_several_objects():
    objects = boxes((0, 0, 10, 10), (0, 0, 10, 9), (50, 0, 60, 10))
    assert recalled(objects[:1], objects).tolist() == [True, True, False]
    assert recalled(objects[:1], objects, iou=0.95).tolist() == [True, False, False]
    assert recalled(objects[:0], objects).tolist() == [False] * 3
