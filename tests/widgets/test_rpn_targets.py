"""The RPN target explorer against `rpn_targets.build` and the trace."""

import numpy as np
import pytest
import torch
import traitlets as t
from torchvision.ops import box_iou

from mrcnn_steps.anchors import pyramid
from mrcnn_steps.rpn_targets import build, match
from mrcnn_widgets.rpn_targets import RPNTargetExplorer


@pytest.fixture(scope="module")
def explorer(tiny_trace):
    return RPNTargetExplorer(tiny_trace)


@pytest.fixture(autouse=True)
def back_to_the_start(explorer):
    """The explorer is slow enough to make to be shared."""
    yield
    explorer.positive_iou, explorer.negative_iou = 0.7, 0.3
    explorer.count, explorer.positive_fraction, explorer.seed = 256, 0.5, 0
    explorer.view, explorer.labels = "anchors", "after sampling"
    explorer.canvas.selected = explorer.canvas.hovered = None


def same(ours, theirs):
    assert torch.equal(ours.labels, theirs.labels)
    assert torch.equal(ours.deltas, theirs.deltas)
    assert torch.equal(ours.positive_index, theirs.positive_index)
    assert torch.equal(ours.refined, theirs.refined)
    assert torch.equal(ours.match.labels, theirs.match.labels)


def test_at_first_the_targets_are_those_of_the_trace(explorer, tiny_trace):
    same(explorer.targets, tiny_trace.ground_truth.rpn_targets)


def test_without_a_network_they_are_those_of_the_teaching_pyramid(explorer):
    explorer = RPNTargetExplorer("voc_people")
    assert len(explorer.anchors) == 65_472
    anchors = pyramid(1024, anchor_stride=2)
    same(explorer.targets, build(anchors, explorer.scene.boxes, explorer.scene.crowd_boxes))


@pytest.mark.parametrize(
    "settings",
    [
        {"positive_iou": 0.5},
        {"negative_iou": 0.1, "count": 64},
        {"seed": 7, "positive_fraction": 0.05},
        {"positive_iou": 0.4, "negative_iou": 0.4, "count": 2048},
        {"count": 0},
    ],
)
def test_every_setting_is_that_of_build(explorer, settings):
    for name, value in settings.items():
        setattr(explorer, name, value)
    expected = build(
        explorer.anchors,
        explorer.scene.boxes,
        explorer.scene.crowd_boxes,
        explorer.positive_iou,
        explorer.negative_iou,
        explorer.count,
        explorer.positive_fraction,
        torch.Generator().manual_seed(explorer.seed),
    )
    same(explorer.targets, expected)


def test_counts(explorer):
    for when, labels in {
        "before sampling": explorer.targets.match.labels,
        "after sampling": explorer.targets.labels,
    }.items():
        counts = explorer.counts[when]
        assert counts["positive"] == int((labels == 1).sum())
        assert counts["positive"] + counts["negative"] + counts["neutral"] == counts["all"]
        assert counts["all"] == len(explorer.anchors) == 65_472
    after = explorer.counts["after sampling"]
    assert after["positive"] + after["negative"] == 256


def test_all_anchors_are_drawn_in_their_groups(explorer):
    for labels in ("after sampling", "before sampling"):
        explorer.labels = labels
        layer = explorer.canvas["anchors"]
        assert len(layer) == 65_472
        expected = (
            explorer.targets.labels
            if labels == "after sampling"
            else (explorer.targets.match.labels)
        )
        names = np.array([group.name for group in layer.groups])[layer.group_index]
        for name, label in {"positive": 1, "negative": -1, "neutral": 0}.items():
            assert ((names == name) == (expected == label).numpy()).all()
    assert "anchors/neutral" in explorer.canvas.hidden


def test_a_threshold_takes_the_other_along(explorer):
    explorer.negative_iou = 0.9
    assert explorer.positive_iou == 0.9
    explorer.positive_iou = 0.2
    assert explorer.negative_iou == 0.2
    expected = match(explorer.anchors, explorer.scene.boxes, None, 0.2, 0.2)
    assert torch.equal(explorer.targets.match.labels, expected.labels)


def test_the_refinement_goes_from_the_anchor_to_its_object(explorer):
    before, after, moves = (explorer.canvas[n] for n in ("before", "after", "moves"))
    rows = explorer.targets.positive_index
    assert (before.boxes == explorer.anchors.boxes[rows].numpy()).all()
    objects = explorer.scene.boxes[explorer.targets.match.gt_index[rows]]
    np.testing.assert_allclose(after.boxes, objects.numpy(), atol=1e-3)
    assert (moves.start == before.boxes).all()
    assert (moves.end == after.boxes).all()
    assert (before.groups[0].dash, after.groups[0].dash) == ("dotted", "solid")


def test_a_view_hides_the_layers_of_the_other(explorer):
    hidden = set(explorer.canvas.hidden)
    assert {"before", "after", "moves"} <= hidden
    assert "anchors" not in hidden
    explorer.view = "refinement"
    assert "anchors" in explorer.canvas.hidden
    assert not {"before", "after", "moves"} & set(explorer.canvas.hidden)
    explorer.view = "anchors"
    assert set(explorer.canvas.hidden) == hidden


def test_hovering_tells_the_iou_with_each_object(explorer):
    row = int(explorer.targets.positive_index[0])
    explorer.canvas.hovered = ("anchors", row)
    expected = box_iou(explorer.anchors.boxes[row : row + 1], explorer.scene.boxes)[0]
    told = dict(explorer._one.rows)
    assert told["anchor"] == f"{row:,}"
    best = int(expected.argmax())
    assert told[f"  {best} · {explorer.scene.names[best]}"] == f"{expected[best]:.3f}"


def test_moving_a_threshold_compares_no_boxes_again(explorer, monkeypatch):
    monkeypatch.setattr("mrcnn_steps.rpn_targets._overlaps", None)
    explorer.positive_iou = 0.55
    assert int((explorer.targets.match.iou >= 0.55).sum()) > 0


def test_a_picked_anchor_stays_picked_while_the_sample_changes(explorer):
    explorer.view, explorer.count = "refinement", 40
    explorer.canvas.selected = ("before", 3)
    anchor = explorer.picked
    rows = []
    for seed in range(12):
        explorer.seed = seed
        assert explorer.picked == anchor
        layer, row = explorer.canvas.selected
        among = (explorer.targets.positive_index == anchor).nonzero().flatten().tolist()
        assert (layer, row) == (("before", among[0]) if among else ("anchors", anchor))
        assert dict(explorer._one.rows)["anchor"] == f"{anchor:,}"
        rows.append(among)
    assert [] in rows
    assert len({row for some in rows for row in some}) > 1, "its row changed"


def test_a_picked_anchor_stays_picked_in_the_other_view(explorer):
    explorer.view = "refinement"
    explorer.canvas.selected = ("after", 5)
    explorer.view = "anchors"
    assert explorer.canvas.selected == ("anchors", int(explorer.targets.positive_index[5]))
    explorer.view = "refinement"
    assert explorer.canvas.selected == ("after", 5)
    explorer.canvas.selected = None
    explorer.view = "anchors"
    assert explorer.picked is None
    assert explorer.canvas.selected is None


def test_a_picked_positive_is_the_anchor_behind_it(explorer):
    explorer.canvas.selected = ("after", 3)
    assert explorer.picked == int(explorer.targets.positive_index[3])
    explorer.canvas.selected = ("anchors", 4711)
    assert explorer.picked == 4711


def test_only_what_depends_on_the_setting_is_drawn_anew(explorer):
    anchors, before = explorer.canvas["anchors"], explorer.canvas["before"]
    explorer.labels = "before sampling"
    assert explorer.canvas["before"] is before
    assert explorer.canvas["anchors"] is not anchors
    matched = explorer.targets.match
    explorer.seed = 3
    assert explorer.targets.match is matched


def test_out_of_bounds(explorer):
    for name, value in {"positive_iou": 1.1, "count": -1, "view": "all"}.items():
        with pytest.raises(t.TraitError):
            setattr(explorer, name, value)
