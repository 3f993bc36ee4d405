"""A row of the funnel holds what the answers about a trace say, and a few plain measurements."""

import json
from dataclasses import replace

import pytest
import torch
from torchvision.ops import box_iou, clip_boxes_to_image

from mrcnn_steps import sample
from mrcnn_steps.debug import false_positives, fates
from mrcnn_steps.debug.candidates import GATES
from mrcnn_steps.debug.datasets import entry_at
from mrcnn_steps.debug.funnel.photo_row import photo_row
from mrcnn_steps.debug.funnel.rows import photo_of, photo_record
from mrcnn_steps.matching import match_trace
from mrcnn_steps.tracing import trace
from tests.debug.scenes import imagined, set_to


@pytest.fixture(scope="module")
def entry(people):
    return replace(entry_at([people], 0), image_id=7, annotation_ids=tuple(range(100, 119)))


@pytest.fixture(scope="module")
def row(traced, entry):
    return photo_row(traced, entry, 3)


def test_the_photo_is_named_and_measured(row, people):
    assert (row.index, row.image_id, row.photo) == (3, 7, "voc_people")
    assert (row.height, row.width) == people.image.shape[1:]
    assert row.error is None


def test_objects_are_those_of_fates(row, traced):
    for each, fate in zip(row.objects, fates(traced), strict=True):
        assert (each.object, each.name, each.cause) == (fate.object, fate.name, fate.cause)
        assert (each.kind, each.stage) == (fate.kind, fate.stage)
        assert each.annotation_id == 100 + fate.sample_object
        assert traced.class_names[each.label] == each.name
        assert (each.value, each.threshold) == (fate.evidence.value, fate.evidence.threshold)


def test_an_object_is_measured_in_the_photo_and_in_the_network_s_input(row, traced, people):
    height, width = people.image.shape[1:]
    for each, fate in zip(row.objects, fates(traced), strict=True):
        x1, y1, x2, y2 = people.boxes[fate.sample_object].tolist()
        assert each.box == (x1, y1, x2, y2)
        assert each.area == int(people.masks[fate.sample_object].sum())
        assert each.aspect == pytest.approx((y2 - y1) / (x2 - x1))
        scale = traced.letterbox.scale
        assert each.side == pytest.approx(scale * ((x2 - x1) * (y2 - y1)) ** 0.5, rel=1e-5)
        assert each.at_border == (x1 <= 1 or y1 <= 1 or x2 >= width - 1 or y2 >= height - 1)


@pytest.mark.parametrize("iou", [0.5, 0.75])
def test_an_object_is_proposed_if_some_proposal_reaches_it(traced, entry, iou):
    proposals = clip_boxes_to_image(
        traced.letterbox.undo_boxes(traced.proposals.boxes), traced.image.shape[1:]
    )
    best = box_iou(entry.sample.boxes, proposals).amax(dim=1)
    rows = photo_row(traced, entry, iou=iou).objects
    assert [each.proposed for each in rows] == (best >= iou).tolist()
    assert {each.proposed for each in rows} == {True, False}


def test_crowding_counts_overlapping_objects_of_the_class(row, people):
    iou = box_iou(people.boxes, people.boxes)
    for i, each in enumerate(row.objects):
        near = [
            j
            for j in range(len(people.labels))
            if j != i and people.labels[j] == people.labels[i] and iou[i, j] > 0.1
        ]
        assert each.crowding == len(near)
    assert {each.crowding for each in row.objects} > {0, 1}


def test_the_level_is_that_of_the_nearest_anchor(row, traced):
    best = box_iou(traced.ground_truth.boxes, traced.anchors.boxes).argmax(dim=1)
    for each, anchor in zip(row.objects, best.tolist(), strict=True):
        level = traced.anchors.locate(anchor).level
        assert each.level == traced.anchors.level_names[level]


def test_what_is_able_would_be_a_detection_in_the_photo_s_pixels(row, traced, people):
    able = [each for each in row.objects if each.able_box is not None]
    assert (
        {each.cause for each in able}
        == {each.cause for each in row.objects if each.cause in GATES}
        != set()
    )
    for each in able:
        assert each.able_score > traced.detections.score_threshold
        assert box_iou(torch.tensor([each.box]), torch.tensor([each.able_box])) >= 0.5


def test_every_detection_is_right_or_wrong_as_matching_and_false_positives_say(row, traced):
    matches = match_trace(traced)
    wrong = {each.detection: each for each in false_positives(traced)}
    assert [each.detection for each in row.detections] == list(range(len(traced.detections)))
    for each in row.detections:
        assert each.score == float(traced.detections.scores[each.detection])
        assert each.box == tuple(traced.result["boxes"][each.detection].tolist())
        if each.detection in wrong:
            error = wrong[each.detection]
            assert (each.kind, each.suspected) == (error.kind, error.suspected)
            assert (each.object, each.iou) == (error.evidence.object, error.evidence.iou)
        else:
            assert each.kind == ""
            assert each.object == int(matches.object_of[each.detection])
            assert row.objects[each.object].detection == each.detection
    assert {each.kind for each in row.detections} > {"", "background", "duplicate"}


def test_a_higher_score_threshold_judges_as_if_the_model_were_set_to_it(
    bundled, traced, people, entry
):
    with set_to(bundled, {"roi_heads.score_thresh": 0.4}) as set_so:
        there = photo_row(trace(set_so, people), entry)
    here = photo_row(traced, entry, score_threshold=0.4)
    assert here.detections == there.detections
    assert [each.cause for each in here.objects] == [each.cause for each in there.objects]


def test_a_row_comes_back_from_json(row):
    assert photo_of(json.loads(json.dumps(photo_record(row)))) == row


def test_detections_of_classes_that_are_not_fully_annotated_are_ignored(row, traced, entry):
    only_people = photo_row(traced, replace(entry, labelled=frozenset({"person"})))
    for before, after in zip(row.detections, only_people.detections, strict=True):
        if before.kind and before.name != "person":
            assert (after.kind, after.object, after.iou) == ("ignored", None, 0)
        else:
            assert after == before


def test_crowds_and_empty_masks_are_no_objects_and_a_crowd_s_detections_are_ignored(bundled):
    cows = sample("cows")
    filled = torch.tensor([True, True, False])
    masks = cows.masks & filled[:, None, None]
    crowd = replace(cows, masks=masks, crowd=torch.tensor([True, False, False]))
    found = photo_row(trace(bundled, crowd), entry_at([crowd], 0))
    assert [each.annotation_id for each in found.objects] == [1]
    assert "ignored" in {each.kind for each in found.detections}


def test_objects_of_an_unknown_class_come_last(bundled):
    cows = sample("cows")
    names = (*cows.class_names, "gnu")
    strange = replace(cows, class_names=names, labels=torch.tensor([81, 20, 20]))
    with pytest.warns(UserWarning, match="gnu"):
        traced = trace(bundled, strange)
    rows = photo_row(traced, entry_at([strange], 0)).objects
    assert [(each.annotation_id, each.name) for each in rows] == [
        (1, "cow"),
        (2, "cow"),
        (0, "gnu"),
    ]
    assert (rows[2].label, rows[2].cause, rows[2].score) == (-1, "unknown class", None)


def test_boxes_without_masks(kind, people):
    model = kind("boxes_only")
    seen = imagined(model, people)
    boxes = replace(seen, masks=None)
    found = photo_row(trace(model, boxes), entry_at([boxes], 0))
    for each in found.objects:
        x1, y1, x2, y2 = each.box
        assert each.area == (x2 - x1) * (y2 - y1)
        assert each.mask_iou is None


def test_a_photo_without_annotations_has_detections_only(bundled, people):
    bare = replace(
        people,
        boxes=people.boxes[:0],
        labels=people.labels[:0],
        masks=people.masks[:0],
        crowd=people.crowd[:0],
    )
    found = photo_row(trace(bundled, bare), entry_at([bare], 0))
    assert found.objects == ()
    assert {each.kind for each in found.detections} == {"background"}
