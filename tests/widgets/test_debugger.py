"""The debugger: all stages on one trace, computed again only from the changed stage on."""

import gc
import weakref
from dataclasses import replace

import ipywidgets
import pytest
import torch
import traitlets

from mrcnn_steps.debug.lineage import lineage_of_object
from mrcnn_widgets import panel
from mrcnn_widgets.debugger import EXPLORERS, KEYS, PipelineDebugger


def test_stepping_shows_every_stage_once_made(debugger, calls):
    assert debugger.stage == "mini_masks"
    debugger.previous()
    assert debugger.stage == "mini_masks"
    for place, stage in enumerate(KEYS):
        assert debugger.stage == stage
        assert isinstance(debugger.explorer, EXPLORERS[stage])
        assert list(debugger.explorers) == list(KEYS[: place + 1])
        shown = [s for s, e in debugger.explorers.items() if e.layout.display != "none"]
        assert shown == [stage]
        debugger.next()
    assert debugger.stage == "masks"
    last = debugger.explorer
    debugger.stage = "detection"
    debugger.stage = "masks"
    assert debugger.explorer is last
    assert calls == []


def test_other_proposals_run_the_heads_again_but_never_the_backbone(debugger, calls, tiny_trace):
    debugger.stage = "proposals"
    debugger.explorer.nms_threshold = 0.4
    debugger.explorer.post_nms_top_n = 200
    assert calls == []
    debugger.next()
    assert calls == ["box head", "mask head"]
    changed = debugger.explorer.trace
    assert changed.proposals is debugger.explorers["proposals"].proposals
    by_hand = tiny_trace.with_proposals(changed.proposals)
    assert torch.equal(changed.classification.probs, by_hand.classification.probs)
    calls.clear()
    debugger.next()
    debugger.next()
    assert calls == []
    assert torch.equal(debugger.explorer.trace.result["boxes"], by_hand.result["boxes"])
    assert debugger.trace is debugger.explorer.trace


def test_other_detections_run_the_mask_head_alone(debugger, calls):
    debugger.stage = "detection"
    debugger.explorer.score_threshold = 0.5
    found = debugger.explorer.detections
    assert calls == []
    debugger.stage = "masks"
    assert calls == ["mask head"]
    assert debugger.explorer.trace.detections is found
    assert len(debugger.trace.result["boxes"]) == len(found)


def test_settings_put_back_give_the_first_trace_back(debugger, tiny_trace):
    debugger.stage = "proposals"
    debugger.explorer.nms_threshold = 0.4
    assert debugger.trace is not tiny_trace
    debugger.explorer.nms_threshold = 0.7
    assert debugger.trace is tiny_trace


def test_both_changes_add_up(debugger, tiny_trace):
    debugger.stage = "proposals"
    debugger.explorer.post_nms_top_n = 300
    debugger.stage = "detection"
    debugger.explorer.score_threshold = 0.3
    debugger.stage = "proposals"
    debugger.explorer.post_nms_top_n = 100
    debugger.stage = "masks"
    assert len(debugger.trace.proposals) == 100
    assert (debugger.trace.result["scores"] > 0.3).all()
    assert debugger.trace.detections is debugger.explorers["detection"].detections


def test_a_saved_notebook_keeps_a_picture_of_the_stage(debugger):
    debugger.stage = "detection"
    data, _ = debugger._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR")
    assert debugger.to_png() == debugger.explorers["detection"].to_png()


# -- Following ---------------------------------------------------------------------------------


def test_a_detection_tells_its_proposal_and_anchor(debugger, tiny_trace):
    debugger.followed = ("detection", 4)
    found = debugger.lineage
    assert found.proposal == tiny_trace.detections.proposal_index[4]
    assert found.anchor == tiny_trace.proposals.anchor_index[found.proposal]
    debugger.stage = "classification"
    assert debugger.explorer.proposal == found.proposal
    debugger.next()
    assert debugger.explorer.candidate == tiny_trace.detections.rows[4]
    debugger.next()
    assert debugger.explorer.detection == 4


def test_an_object_is_followed_to_the_detection_that_found_it(debugger, tiny_trace):
    for row in range(len(tiny_trace.ground_truth.boxes)):
        debugger.followed = ("object", row)
        assert debugger.lineage == lineage_of_object(tiny_trace, row)


def test_following_a_missed_object_clears_the_details_of_the_former(debugger, tiny_trace):
    """Nothing on screen may be of what was followed before."""
    missed = next(
        row
        for row in range(len(tiny_trace.ground_truth.boxes))
        if lineage_of_object(tiny_trace, row).detection is None
    )
    for stage in ("detection", "masks"):
        debugger.stage = stage
        debugger.followed = ("detection", 0)
        before = debugger.explorer.numbers.rows
        assert debugger.canvas.selected is not None
        debugger.followed = ("object", missed)
        assert debugger.canvas.selected is None
        assert debugger.explorer.numbers.rows != before
        assert len(debugger.explorer.numbers.rows) == 1
    assert debugger.explorer.soft is None
    assert len(debugger.canvas["pasted mask"]) == 0


def test_what_is_followed_is_marked_in_every_stage(debugger, tiny_trace):
    debugger.followed = ("object", 3)
    box = tiny_trace.ground_truth.boxes[3]
    for stage in KEYS:
        debugger.stage = stage
        layer = debugger.canvas["followed"]
        expected = tiny_trace.letterbox.undo_boxes(box[None])[0] if stage == "masks" else box
        torch.testing.assert_close(torch.from_numpy(layer.boxes[0]), expected)
        assert "followed" in [layer.name for layer in debugger.canvas.layers[-2:]]
    assert debugger.explorers["mini_masks"].object == 3
    debugger.followed = None
    assert "followed" not in [layer.name for layer in debugger.canvas.layers]


def test_picking_on_the_photo_follows(debugger, tiny_trace):
    debugger.stage = "rpn_targets"
    debugger.canvas.selected = ("objects", 2)
    assert debugger.followed == ("object", 2)
    debugger.stage = "detection"
    row = 6
    debugger.canvas.selected = ("candidates", row)
    assert debugger.followed == ("detection", row)
    debugger.stage = "masks"
    assert debugger.explorer.detection == row
    debugger.canvas.selected = ("detections", 1)
    assert debugger.followed == ("detection", 1)


def test_a_followed_detection_is_found_again_under_other_settings(debugger, tiny_trace):
    debugger.followed = ("detection", 5)
    box = tiny_trace.detections.boxes[5]
    debugger.stage = "detection"
    debugger.explorer.max_detections = 6
    debugger.next()
    kind, row = debugger.followed
    assert kind == "detection"
    torch.testing.assert_close(debugger.trace.detections.boxes[row], box)
    debugger.previous()
    debugger.explorer.max_detections = 2
    debugger.next()
    assert debugger.followed is None or debugger.followed[1] < 2


def test_the_drop_down_list_offers_objects_and_detections(debugger, tiny_trace):
    options = dict(debugger._chooser.boxes["followed"].options)
    count = len(tiny_trace.ground_truth.boxes) + len(tiny_trace.detections)
    assert len(options) == 1 + count
    debugger._chooser.boxes["followed"].value = ("object", 1)
    assert debugger.followed == ("object", 1)
    debugger.followed = ("object", 2)
    assert debugger._chooser.boxes["followed"].value == ("object", 2)
    debugger._chooser.boxes["followed"].value = ()
    assert debugger.followed is None


def test_a_row_that_does_not_exist_cannot_be_followed(debugger):
    with pytest.raises(traitlets.TraitError, match="there are 19 objects"):
        debugger.followed = ("object", 19)
    with pytest.raises(traitlets.TraitError):
        debugger.followed = ("anchor", 1)


# -- Memory ------------------------------------------------------------------------------------


def _used(trace):
    """A debugger that was in every stage, with a setting changed, and what it holds."""
    debugger = PipelineDebugger(replace(trace), followed=("object", 3))
    debugger.stage = "proposals"
    debugger.explorer.post_nms_top_n = 50
    for stage in KEYS:
        debugger.stage = stage
    held = [debugger._flow.source, debugger.trace]
    for explorer in debugger.explorers.values():
        held += [explorer, explorer.canvas]
    return debugger, [weakref.ref(one) for one in held]


def test_closing_frees_the_traces_and_every_widget_though_the_debugger_is_still_mentioned(
    tiny_trace,
):
    before = set(ipywidgets.widgets.widget._instances)
    debugger, held = _used(tiny_trace)
    debugger.close()
    gc.collect()
    assert set(ipywidgets.widgets.widget._instances) <= before
    assert [one() for one in held] == [None] * len(held)
    debugger.close()


def test_a_cell_that_is_run_again_frees_what_it_showed_before(tiny_trace, monkeypatch):
    out, held = [], []
    for run in range(3):
        monkeypatch.setattr(panel, "current_run", lambda run=run: ("cell", f"run {run}"))
        debugger, holds = _used(tiny_trace)
        debugger._repr_mimebundle_()
        out.append(debugger)  # as IPython's Out does
        held.append(holds)
        gc.collect()
        assert [any(one() is not None for one in each) for each in held] == [False] * run + [True]
    out[-1]._repr_mimebundle_()
    assert out[-1].canvas is not None, "the same one shown again stays"
    monkeypatch.setattr(panel, "current_run", lambda: ("other cell", "run 9"))
    another = PipelineDebugger(tiny_trace)
    another._repr_mimebundle_()
    assert out[-1].canvas is not None, "another cell closes nothing"
    out[-1].close()
    another.close()


def test_what_another_cell_shows_too_stays(tiny_trace, monkeypatch):
    debugger, other = PipelineDebugger(tiny_trace), PipelineDebugger(tiny_trace)
    for shown, place in (
        (debugger, ("a", "1")),
        (debugger, ("b", "2")),
        (other, ("a", "3")),
    ):
        monkeypatch.setattr(panel, "current_run", lambda place=place: place)
        shown._repr_mimebundle_()
    assert debugger.canvas is not None
    monkeypatch.setattr(panel, "current_run", lambda: ("b", "4"))
    other._repr_mimebundle_()
    assert not hasattr(debugger, "_flow")
    other.close()
