"""The view of stage 3 on a small pyramid; no widget is made."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from mrcnn_steps.anchors import pyramid
from mrcnn_steps.data import sample
from mrcnn_steps.rpn_targets import RPNTargets, build
from mrcnn_widgets.scene import Scene, scene
from mrcnn_widgets.views import rpn_targets as view
from mrcnn_widgets.views.objects import as_boxes

ANCHORS = pyramid(1024, anchor_stride=4)


@pytest.fixture(scope="module")
def people() -> Scene:
    return scene(sample("voc_people"))


@pytest.fixture(scope="module")
def targets(people) -> RPNTargets:
    return build(ANCHORS, people.boxes, people.crowd_boxes, positive_iou=0.5)


def test_every_anchor_is_in_the_group_of_its_label(people, targets):
    layer = view.anchors_layer(
        ANCHORS, as_boxes(ANCHORS.boxes), targets.match, targets.labels, people.names
    )
    names = np.array([group.name for group in layer.groups])[layer.group_index]
    for label, name in {1: "positive", -1: "negative", 0: "neutral"}.items():
        np.testing.assert_array_equal(names == name, (targets.labels == label).numpy())
    assert [group.name for group in layer.groups if not group.visible] == ["neutral"]


def test_the_positives_move_onto_their_objects(people, targets):
    moves, before, after = view.refinement_layers(ANCHORS, targets, people.names)
    rows = targets.positive_index
    np.testing.assert_array_equal(before.boxes, ANCHORS.boxes[rows].numpy())
    objects = people.boxes[targets.match.gt_index[rows]]
    np.testing.assert_allclose(after.boxes, objects.numpy(), atol=1e-3)
    np.testing.assert_array_equal(moves.end, after.boxes)
    colors = dict(zip(targets.match.gt_index[rows].tolist(), before.colors, strict=True))
    assert len(set(colors.values())) == len(colors), "an object has one color of its own"


def test_the_facts_list_the_objects_by_their_iou(people, targets):
    row = int(targets.positive_index[0])
    told = view.facts(ANCHORS, targets, people, row)
    iou = box_iou(ANCHORS.boxes[row, None], people.boxes)[0]
    best = int(iou.argmax())
    assert ("before sampling", "positive") in [(a, b.split(",")[0]) for a, b in told]
    listed = [(name, value) for name, value in told if name.startswith("  ")]
    assert listed[0] == (f"  {best} · {people.names[best]}", f"{iou[best]:.3f}")
    assert len(listed) == int((iou > 0).sum())


def test_the_counts_add_up(targets):
    counts = view.counts(targets)
    for when, labels in {
        "before sampling": targets.match.labels,
        "after sampling": targets.labels,
    }.items():
        assert counts[when]["positive"] == int((labels == 1).sum())
        parts = (counts[when][name] for name in ("positive", "negative", "neutral"))
        assert sum(parts) == counts[when]["all"] == len(ANCHORS)


def test_crowds_and_objects_are_drawn(people):
    objects, crowds = view.scene_layers(people)
    np.testing.assert_allclose(objects.boxes, people.boxes.numpy())
    assert len(crowds) == len(people.crowd_boxes)


def test_without_objects_nothing_is_said_of_them(targets):
    bare = build(ANCHORS, torch.zeros((0, 4)))
    layer = view.anchors_layer(ANCHORS, as_boxes(ANCHORS.boxes), bare.match, bare.labels, ())
    assert set(layer.fields) == {"level"}
    assert view.counts(bare)["before sampling"]["negative"] == len(ANCHORS)
