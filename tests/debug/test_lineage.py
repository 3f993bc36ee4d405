"""Lineage: from a detection down to its anchor and up to its object, and the way back."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torchvision.ops import box_iou

from mrcnn_steps.data import sample
from mrcnn_steps.debug import describe, lineage, lineage_of_object
from mrcnn_steps.matching import match_trace
from mrcnn_steps.model import load_model
from mrcnn_steps.tracing import trace


@pytest.fixture(scope="module")
def model():
    return load_model("tiny")


@pytest.fixture(scope="module")
def people(model):
    return trace(model, sample("voc_people"))


def objects_of(traced):
    return range(len(traced.ground_truth.boxes))


def detections_of(traced):
    return range(len(traced.detections))


# --- there and back -------------------------------------------------------------------------


@settings(max_examples=8)
@given(st.data())
def test_the_ways_from_detections_and_from_objects_are_inverse(people, data):
    """Also when objects lie upon each other and detections compete for them."""
    truth = people.ground_truth
    count = len(truth.boxes)
    draw = st.integers(0, data.draw(st.integers(0, len(people.detections) - 1)))
    rows = torch.tensor(data.draw(st.lists(draw, min_size=count, max_size=count)))
    near = people.detections.boxes[rows]
    shift = data.draw(st.sampled_from([0.0, 2.0, 15.0]))
    objects = near + shift * torch.randn(near.shape, generator=torch.Generator().manual_seed(count))
    objects[:, 2:] = objects[:, 2:].maximum(objects[:, :2] + 1)
    labels = people.detections.labels[rows]
    traced = replace(people, ground_truth=replace(truth, boxes=objects, labels=labels))
    back = {row: lineage_of_object(traced, row).detection for row in objects_of(traced)}
    some = {row for row in back.values() if row is not None}
    assert some
    there = {row: lineage(traced, row).object for row in {*some, *rows.tolist()}}
    assert {(row, found) for row, found in there.items() if found is not None} == {
        (found, row) for row, found in back.items() if found is not None
    }


def test_it_is_the_lineage_that_matching_says(people):
    matches = match_trace(people)
    for row in detections_of(people):
        found = lineage(people, row)
        assert (-1 if found.object is None else found.object) == matches.object_of[row]
        assert found.detection == row
        assert found.proposal == people.detections.proposal_index[row]
        assert found.anchor == people.proposals.anchor_index[found.proposal]


def test_of_an_object_that_was_found_it_is_that_of_its_detection(people):
    found = [lineage_of_object(people, row) for row in objects_of(people)]
    assert any(each.detection is not None for each in found)
    for row, each in enumerate(found):
        assert each.object == row
        if each.detection is not None:
            assert each == lineage(people, each.detection)


# --- boxes, scores and the object at each stage ----------------------------------------------


def test_every_link_has_its_stages_box_score_and_object(people):
    for row in detections_of(people):
        links = {link.stage: link for link in lineage(people, row).links}
        assert list(links) == ["anchors", "proposals", "classification", "detection", "masks"]
        proposal = int(people.detections.proposal_index[row])
        anchor = int(people.proposals.anchor_index[proposal])
        expected = {
            "anchors": (people.anchors.boxes[anchor], None, None),
            "proposals": (
                people.proposals.boxes[proposal],
                None,
                people.proposals.scores[proposal],
            ),
            "classification": (
                people.proposals.boxes[proposal],
                people.classification.labels[proposal],
                people.classification.scores[proposal],
            ),
            "detection": (
                people.detections.boxes[row],
                people.detections.labels[row],
                people.detections.scores[row],
            ),
        }
        for stage, (box, label, score) in expected.items():
            link = links[stage]
            assert link.box == tuple(box.tolist())
            assert link.label == label
            assert link.score == score
            iou = box_iou(box[None].double(), people.ground_truth.boxes.double())[0]
            assert link.iou == pytest.approx(float(iou.max()), abs=1e-9)
            assert link.object == (int(iou.argmax()) if iou.max() > 0 else None)


def test_an_object_without_detection_shows_what_came_nearest(people):
    """No detections at all: every object is told its best proposal and how near that is."""
    blind = people.with_detections(replace(people.detections, rows=people.detections.rows[:0]))
    for row in objects_of(blind):
        found = lineage_of_object(blind, row)
        iou = box_iou(blind.proposals.boxes, blind.ground_truth.boxes[row : row + 1])[:, 0]
        assert found.detection is None
        assert iou[found.proposal] == iou.max()
        assert found.anchor == blind.proposals.anchor_index[found.proposal]
        said = describe(blind, found)
        assert f"nearest proposal {found.proposal}" in said
        assert f"IoU {iou.max():.2f}" in said
        assert said.endswith("no detection")


def test_without_proposals_the_nearest_anchor_is_shown(people):
    blind = people.with_proposals(replace(people.proposals, rows=people.proposals.rows[:0]))
    found = lineage_of_object(blind, 0)
    iou = box_iou(blind.anchors.boxes, blind.ground_truth.boxes[:1])[:, 0]
    assert iou[found.anchor] == iou.max()
    assert found.proposal is None
    assert "no proposal overlaps it" in describe(blind, found)


def test_a_lineage_tells_the_link_of_a_stage(people):
    found = lineage(people, 0)
    assert found.at("proposals") == found.links[1]
    assert lineage_of_object(people, 0).at("mini_masks") is None


# --- in words -------------------------------------------------------------------------------


def test_a_matched_detection_in_words(people):
    row = int((match_trace(people).object_of >= 0).nonzero()[0])
    found = lineage(people, row)
    said = describe(people, found).split(" → ")
    assert len(said) == 6
    assert said[0] == f"object {found.object} (person)"
    level = people.anchors.level_names[people.anchors.locate(found.anchor).level]
    assert said[1].startswith(f"anchor {found.anchor:,} ({level}, IoU ")
    assert said[2].startswith(f"proposal {found.proposal} (objectness ")
    assert said[3].startswith("classified person (")
    assert said[4].startswith(f"detection {row} (person {people.detections.scores[row]:.2f}, IoU ")
    assert said[5] == f"mask {row}"


def test_a_detection_that_found_nothing_names_the_nearest_object_and_its_iou(people):
    matches = match_trace(people)
    iou = box_iou(people.detections.boxes, people.ground_truth.boxes)
    rows = ((matches.object_of < 0) & (iou.amax(dim=1) > 0)).nonzero().flatten().tolist()
    assert rows
    for row in rows:
        nearest = int(iou[row].argmax())
        name = people.class_names[int(people.ground_truth.labels[nearest])]
        assert describe(people, lineage(people, row)).startswith(
            f"no annotated object; nearest: object {nearest} ({name}), IoU {iou[row].max():.2f} → "
        )


def test_a_detection_on_a_crowd_says_so(people):
    found, truth = people.detections, people.ground_truth
    row = int((match_trace(people).object_of >= 0).nonzero()[0])
    only_crowds = replace(
        people,
        ground_truth=replace(
            truth,
            boxes=torch.zeros_like(truth.boxes),
            crowd_boxes=found.boxes[row : row + 1],
            crowd_labels=found.labels[row : row + 1],
        ),
    )
    found = lineage(only_crowds, row)
    assert found.ignored
    assert found.object is None
    assert describe(only_crowds, found).startswith("a crowd → anchor ")


def test_without_annotations_there_is_no_object_to_name(model):
    bare = trace(model, sample("voc_people").image)
    found = lineage(bare, 0)
    assert found.object is None
    assert [link.object for link in found.links] == [None] * 5
    assert describe(bare, found).startswith("no annotations → anchor ")
    with pytest.raises(IndexError, match="object 0 does not exist: there are 0"):
        lineage_of_object(bare, 0)


@pytest.mark.parametrize("row", [-1, 100_000])
def test_a_row_that_does_not_exist_is_refused(people, row):
    with pytest.raises(IndexError, match=f"detection {row} does not exist"):
        lineage(people, row)
    with pytest.raises(IndexError, match=f"object {row} does not exist"):
        lineage_of_object(people, row)
