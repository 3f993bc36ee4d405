"""The proposal explorer against the trace and against `propose` called by hand."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import traitlets as t
from torchvision.ops import box_iou

from mrcnn_steps.debug.rerun import rerun
from mrcnn_steps.matching import match_trace
from mrcnn_steps.proposals import Proposals, propose
from mrcnn_widgets.proposals import STEPS, WHOLE_PHOTO, ProposalExplorer
from tests.debug.scenes import set_to


@pytest.fixture
def explorer(tiny_trace):
    return ProposalExplorer(tiny_trace, object=WHOLE_PHOTO, limit=100)


def same(ours: Proposals, theirs: Proposals) -> None:
    for field in fields(Proposals):
        mine, other = getattr(ours, field.name), getattr(theirs, field.name)
        equal = torch.equal(mine, other) if isinstance(mine, torch.Tensor) else mine == other
        assert equal, field.name


def suppressed(explorer) -> np.ndarray:
    """The rows of the layer that NMS turned away."""
    layer = explorer.canvas["candidates"]
    names = np.array([group.name for group in layer.groups])
    return np.flatnonzero(names[layer.group_index] == "suppressed")


def test_at_first_everything_is_as_in_the_trace(tiny_trace):
    explorer = ProposalExplorer(tiny_trace)
    same(explorer.proposals, tiny_trace.proposals)
    assert explorer.settings == {
        "step": "final",
        "pre_nms_top_n": 10_000,
        "nms_threshold": 0.7,
        "min_size": 0.001,
        "score_threshold": 0.0,
        "post_nms_top_n": 1000,
        "limit": 10,
        "object": 18,
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"nms_threshold": 0.3},
        {"nms_threshold": 0.85},
        {"nms_threshold": 0.05},
        {"pre_nms_top_n": 500, "min_size": 40.0},
        {"score_threshold": 0.4},
        {"score_threshold": 0.2, "nms_threshold": 0.6},
        {"post_nms_top_n": 17},
        {"min_size": 256.0, "nms_threshold": 0.0},
        {"pre_nms_top_n": 1, "post_nms_top_n": 1},
    ],
)
def test_every_setting_is_that_of_propose(explorer, tiny_trace, settings):
    for name, value in settings.items():
        setattr(explorer, name, value)
    expected = propose(
        tiny_trace.objectness,
        tiny_trace.rpn_deltas,
        tiny_trace.anchors,
        tiny_trace.image_size,
        **settings,
    )
    same(explorer.proposals, expected)
    assert explorer.counts["final"] == len(expected)


@pytest.mark.parametrize("own", [0.0, 0.3])
def test_a_threshold_of_objectness_can_be_moved_where_the_model_has_one(tiny_trace, own):
    with set_to(tiny_trace.model, {"rpn.score_thresh": own}):
        explorer = ProposalExplorer(rerun(tiny_trace, {"rpn.score_thresh": own}))
    widget, _ = explorer._registered["score_threshold"]
    assert (widget.layout.display != "none") == (own > 0)
    explorer.score_threshold = 0.1
    same(explorer.proposals, rerun(tiny_trace, {"rpn.score_thresh": 0.1}).proposals)
    explorer.reset()
    assert explorer.score_threshold == own


def test_level_by_level_as_torchvision_does(tiny_trace):
    from torchvision.models.detection.rpn import RegionProposalNetwork

    from mrcnn_steps.settings import proposal_settings

    rpn = tiny_trace.model.rpn
    per_level = RegionProposalNetwork(
        rpn.anchor_generator,
        rpn.head,
        0.7,
        0.3,
        256,
        0.5,
        {"training": 2000, "testing": 600},
        {"training": 2000, "testing": 500},
        0.6,
    ).eval()
    # A model that differs in its RPN alone; its weights are shared.
    model = torch.nn.Module.__new__(type(tiny_trace.model))
    model.__dict__ = {**tiny_trace.model.__dict__, "_modules": dict(tiny_trace.model._modules)}
    model.rpn = per_level
    traced = replace(tiny_trace, model=model)
    explorer = ProposalExplorer(traced)
    settings = proposal_settings(model, traced.anchors)
    assert settings["level_sizes"] is not None
    expected = propose(
        traced.objectness, traced.rpn_deltas, traced.anchors, traced.image_size, **settings
    )
    same(explorer.proposals, expected)
    assert (explorer.pre_nms_top_n, explorer.nms_threshold) == (600, 0.6)
    scores = explorer.canvas["candidates"].fields["score"]
    assert (np.diff(scores) <= 0).all()


def test_counts_of_every_step(explorer):
    explorer.min_size = 16.0
    p = explorer.proposals
    assert explorer.counts == {
        "anchors": 65_472,
        "score": len(p.top_index),
        "refined": len(p.refined),
        "clipped": len(p.scored_rows),
        "NMS": len(p.nms_rows),
        "final": len(p.rows),
    }
    told = {row[0]: row[1] for row in explorer._steps.rows[1:]}
    assert told.pop("drawn here") == "100"
    assert told == {name: f"{count:,}" for name, count in explorer.counts.items()}


def test_reached_objects_of_every_step(explorer, tiny_trace):
    p, objects = explorer.proposals, tiny_trace.ground_truth.boxes
    boxes = {
        "score": p.top_anchors,
        "refined": p.refined,
        "clipped": p.clipped[p.scored_rows],
        "NMS": p.clipped[p.nms_rows],
        "final": p.boxes,
    }
    for step in STEPS:
        best = box_iou(objects, boxes[step]).amax(dim=1)
        assert explorer.reached[step] == int((best >= 0.5).sum()), step


def test_each_step_draws_its_boxes_best_first(explorer):
    p = explorer.proposals
    explorer.limit = 50
    of_step = {"score": p.top_anchors, "refined": p.refined}
    for step in STEPS:
        explorer.step = step
        layer = explorer.canvas["candidates"]
        assert len(layer) == len(explorer.drawn) == 50
        boxes = of_step.get(step, p.clipped)[explorer.drawn]
        np.testing.assert_allclose(layer.boxes, boxes.numpy())
        assert (np.diff(layer.fields["score"]) <= 0).all()
    assert explorer.drawn.tolist() == p.rows[:50].tolist()


def test_groups_tell_what_is_known_at_the_step(explorer):
    explorer.min_size, explorer.limit, explorer.post_nms_top_n = 40.0, 2000, 300

    def groups():
        layer = explorer.canvas["candidates"]
        return {layer.groups[i].name for i in np.unique(layer.group_index)}

    expected = {
        "score": {"candidate"},
        "refined": {"candidate"},
        "clipped": {"candidate", "too small"},
        "NMS": {"candidate", "suppressed"},
        "final": {"proposal", "over the limit"},
    }
    for step in STEPS:
        explorer.step = step
        assert groups() == expected[step], step


def test_arrows_go_from_the_anchor_to_the_refined_box(explorer):
    explorer.step = "refined"
    moves, p = explorer.canvas["moves"], explorer.proposals
    np.testing.assert_allclose(moves.start, p.top_anchors[explorer.drawn].numpy())
    np.testing.assert_allclose(moves.end, p.refined[explorer.drawn].numpy())
    explorer.step = "clipped"
    rows = explorer.drawn
    changed = (p.refined[rows] != p.clipped[rows]).any(dim=1)
    assert len(explorer.canvas["moves"]) == len(explorer.canvas["before"]) == int(changed.sum())
    explorer.step = "NMS"
    assert len(explorer.canvas["moves"]) == 0


def test_hovering_a_suppressed_box_shows_what_was_kept_instead(explorer):
    explorer.step = "NMS"
    p = explorer.proposals
    row = int(suppressed(explorer)[0])
    explorer.canvas.hovered = ("candidates", row)
    candidate = int(explorer.drawn[row])
    by = p.suppressor(candidate)
    iou = float(box_iou(p.clipped[candidate][None], p.clipped[by][None]))
    assert iou > explorer.nms_threshold
    assert by in p.nms_rows.tolist()
    assert explorer.canvas["suppressor"].boxes.tolist() == [p.clipped[by].tolist()]
    assert explorer.canvas["suppressor"].labels == [f"kept instead · IoU {iou:.2f}"]
    assert dict(explorer._one.rows)["IoU with it"] == f"{iou:.3f}"
    explorer.canvas.hovered = None
    assert len(explorer.canvas["suppressor"]) == 0


def test_a_picked_box_is_followed_through_the_steps(explorer):
    explorer.step = "score"
    explorer.canvas.selected = ("candidates", 7)
    anchor = int(explorer.proposals.top_index[explorer.picked])
    for step in ("refined", "clipped"):
        explorer.step = step
        assert int(explorer.proposals.top_index[explorer.picked]) == anchor
    explorer.pre_nms_top_n = 500
    assert int(explorer.proposals.top_index[explorer.picked]) == anchor
    explorer.limit = 5
    assert explorer.picked is None
    explorer.limit = 100
    assert int(explorer.proposals.top_index[explorer.picked]) == anchor


def test_what_the_browser_is_told_is_what_is_drawn(explorer):
    explorer.step = "NMS"
    row = int(suppressed(explorer)[-1])
    explorer.canvas.hovered = explorer.canvas.selected = ("candidates", row)
    explorer.limit = row  # neither the hovered row nor the selected one is drawn any more
    told = [(about["name"], about["rows"]) for about in explorer.canvas._scene["layers"]]
    assert told == [(layer.name, len(layer)) for layer in explorer.canvas.layers]
    assert len(explorer.canvas["suppressor"]) == 0


def test_only_what_depends_on_the_setting_is_computed(explorer):
    before = explorer.proposals
    explorer.step, explorer.limit = "NMS", 20
    assert explorer.proposals is before
    explorer.post_nms_top_n = 30
    assert explorer.proposals.nms_rows is before.nms_rows
    same(explorer.proposals, replace(before, rows=before.nms_rows[:30], post_nms_top_n=30))


def test_at_first_the_best_few_around_the_surest_detections_object_are_drawn(tiny_trace):
    explorer, objects = ProposalExplorer(tiny_trace), tiny_trace.ground_truth.boxes
    found = match_trace(tiny_trace).detection_of
    largest = (objects[:, 2:] - objects[:, :2]).prod(dim=1).argmax()
    surest = found.where(found >= 0, 1000).argmin()
    assert explorer.object == int(surest if (found >= 0).any() else largest)
    box = objects[explorer.object]
    iou = box_iou(tiny_trace.proposals.clipped, box[None])[:, 0]
    expected = [row for row in tiny_trace.proposals.nms_rows.tolist() if iou[row] >= 0.3][:10]
    assert explorer.drawn.tolist() == expected
    assert explorer.canvas["around"].boxes.tolist() == [box.tolist()]
    x1, y1, x2, y2 = explorer.canvas.view
    assert x1 < box[0] < box[2] <= x2
    assert y1 < box[1] < box[3] <= y2


def test_the_moves_around_an_object_start_at_the_anchors_of_the_same_boxes(tiny_trace):
    explorer = ProposalExplorer(tiny_trace, step="score")
    before = explorer.canvas["candidates"]
    explorer.step = "refined"
    moves = explorer.canvas["moves"]
    assert 0 < len(before) <= 10
    np.testing.assert_array_equal(moves.start, before.boxes)
    box = tiny_trace.ground_truth.boxes[explorer.object]
    assert (box_iou(torch.from_numpy(moves.end), box[None]) > 0.25).all()


def test_one_click_shows_all(tiny_trace):
    explorer = ProposalExplorer(tiny_trace)
    explorer._all.click()
    assert explorer.drawn.tolist() == tiny_trace.proposals.nms_rows[:2000].tolist()
    assert explorer.canvas.view is None
    assert len(explorer.canvas["around"]) == 0


def test_a_picked_object_is_turned_to(tiny_trace):
    explorer = ProposalExplorer(tiny_trace)
    explorer.canvas.selected = ("objects", 3)
    assert explorer.object == 3
    assert explorer.subject(("objects", 3)) == ("object", 3)
    assert explorer.subject(("candidates", 3)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("nms_threshold", 1.5), ("pre_nms_top_n", 0), ("pre_nms_top_n", 20_001), ("step", "last")],
)
def test_out_of_bounds(explorer, name, value):
    before = getattr(explorer, name)
    with pytest.raises(t.TraitError):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


def test_no_proposals_at_all(tiny_trace):
    # Boxes that leave the image have no area once they are clipped.
    gone = replace(tiny_trace, rpn_deltas=torch.full_like(tiny_trace.rpn_deltas, 99.0))
    explorer = ProposalExplorer(gone)
    assert explorer.counts["final"] == 0
    for step in STEPS:
        explorer.step = step
        assert explorer.to_png()
