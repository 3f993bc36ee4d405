"""The debugger: all stages on one trace, computed again only from the changed stage on."""

import gc
import io
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

from mrcnn_steps.data import Sample, sample, samples
from mrcnn_steps.debug.lineage import lineage_of_object
from mrcnn_steps.model.checkpoint import save_weights
from mrcnn_steps.model.network import tiny
from mrcnn_widgets import debugger as module
from mrcnn_widgets import panel
from mrcnn_widgets.debugger import EXPLORERS, KEYS, PipelineDebugger


@pytest.fixture
def debugger(tiny_trace):
    made = PipelineDebugger(tiny_trace)
    yield made
    made.close()


@pytest.fixture
def calls(lively_model):
    """What ran of the network, by name."""
    ran: list[str] = []
    parts = {
        "backbone": lively_model.backbone,
        "box head": lively_model.roi_heads.box_head,
        "mask head": lively_model.roi_heads.mask_head,
    }
    handles = [
        part.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, part in parts.items()
    ]
    yield ran
    for handle in handles:
        handle.remove()


def _png(size=(96, 64)):
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), 120, np.uint8)).save(file, "PNG")
    return file.getvalue()


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


# -- Photos and models -------------------------------------------------------------------------


def test_an_uploaded_photo_runs_through_the_same_network(debugger, calls):
    debugger.stage = "detection"
    debugger.explorer.score_threshold = 0.2
    busy = []
    debugger.observe(lambda change: busy.append(change.new), "busy")
    debugger.upload("<img src=x onerror=alert(1)>.png", _png())
    assert debugger.message == ""
    assert calls.count("backbone") == 1
    assert tuple(debugger.trace.image.shape) == (3, 64, 96)
    assert debugger.stage == "detection"
    assert debugger.explorer.score_threshold == 0.2
    assert busy[0].startswith("Reading")
    assert any(text.startswith("Running the network") for text in busy)
    assert busy[-1] == debugger.busy == ""
    assert "<img" not in debugger._status.value
    assert debugger.lineage is None
    assert debugger._chooser.boxes["followed"].options[0][0] == "nothing"
    assert debugger._chooser.boxes["followed"].value == ()


@pytest.mark.parametrize("content", [b"", b"no photo", _png()[:60]])
def test_a_file_that_is_no_photo_is_a_message(debugger, tiny_trace, content):
    debugger.upload("holiday.jpg", content)
    assert debugger.message.startswith("holiday.jpg: found")
    assert "/tmp" not in debugger.message
    assert debugger.trace is tiny_trace
    assert debugger.busy == ""


def test_an_upload_arrives_from_the_control(debugger, monkeypatch):
    arrived = []
    monkeypatch.setattr(
        debugger._chooser, "_upload", lambda name, content: arrived.append((name, content))
    )
    file = {
        "name": "a.png",
        "type": "image/png",
        "size": 3,
        "content": memoryview(b"abc"),
        "last_modified": 0,
    }
    debugger._chooser._on_upload(traitlets.Bunch(new=(file,)))
    assert arrived == [("a.png", b"abc")]


def test_a_photo_that_there_is_not_is_refused(debugger):
    with pytest.raises(traitlets.TraitError, match="photo: expected one of"):
        debugger.photo = "no such photo"


def test_a_model_that_cannot_be_loaded_is_a_message(debugger, tiny_trace):
    debugger.model = "/no/such/model.pth"
    assert debugger.message.startswith("/no/such/model.pth: no such checkpoint")
    assert "no such checkpoint" in debugger._status.value
    assert debugger.trace is tiny_trace
    assert debugger.model == debugger._chooser.boxes["model"].value == "", (
        "the trace's own, without a name"
    )


def test_without_a_network_coco_is_a_message(debugger, monkeypatch):
    def unreachable(name):
        raise ConnectionError("could not download <b>weights</b>")

    monkeypatch.setattr(module, "load_model", unreachable)
    debugger.model = "coco"
    assert debugger.message == "could not download <b>weights</b>"
    assert "<b>" not in debugger._status.value


def test_another_model_is_loaded_from_its_file(debugger, tmp_path):
    torch.manual_seed(1)
    names = ("background", *debugger.trace.class_names[1:])
    save_weights(tiny(names, 256), tmp_path / "own.safetensors", "tiny", 256)
    debugger.stage = "classification"
    debugger.model = str(tmp_path / "own.safetensors")
    assert debugger.message == ""
    assert debugger.trace.image_size == (256, 256)
    assert debugger.photo == "voc_people"
    assert debugger.explorer.trace is debugger.trace


def test_the_field_names_the_model_at_work(debugger, tmp_path):
    own = str(tmp_path / "own.safetensors")
    torch.manual_seed(1)
    save_weights(tiny(debugger.trace.class_names, 256), tmp_path / "own.safetensors", "tiny", 256)
    debugger._chooser.boxes["model"].value = own
    loaded = debugger.trace
    assert debugger.model == own
    for _ in range(2):  # the same wrong name again is tried again
        debugger._chooser.boxes["model"].value = "/no/such/model.pth"
        assert debugger.message.startswith("/no/such/model.pth: no such checkpoint")
        assert debugger.model == debugger._chooser.boxes["model"].value == own
        assert debugger.trace is loaded
        debugger.message = ""
    debugger._chooser.boxes["model"].value = ""
    assert debugger.model == debugger._chooser.boxes["model"].value == own


def test_an_own_model_and_tensor_need_no_sample(tiny_trace):
    from mrcnn_steps.tracing import trace

    torch.manual_seed(0)
    model = tiny(("background", "cat"), 256).eval()
    debugger = PipelineDebugger(trace(model, tiny_trace.image))
    assert debugger.photo == "photo"
    assert debugger.photo not in samples()
    for stage in KEYS:
        debugger.stage = stage
        assert debugger.to_png()
    debugger.close()


def test_a_photo_of_ones_own_is_never_the_bundled_one_of_its_name(lively_model, tmp_path):
    file = tmp_path / "cat.jpg"
    Image.new("RGB", (120, 80), "olive").save(file)
    debugger = PipelineDebugger(Sample.from_image(file), lively_model)
    assert debugger.photo == "cat (own)"
    debugger.photo = "cat"
    assert debugger.trace.image.shape == sample("cat").image.shape
    debugger.photo = "cat (own)"
    assert tuple(debugger.trace.image.shape) == (3, 80, 120)
    debugger.upload("cat", _png((64, 48)))
    assert debugger.photo == "cat (own)", "the same name again, with other content"
    assert tuple(debugger.trace.image.shape) == (3, 48, 64)
    debugger.close()


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_opened_by_its_path(lively_model, tmp_path, kind):
    file = tmp_path / "mine.png"
    file.write_bytes(_png())
    debugger = PipelineDebugger(kind(file), lively_model)
    assert tuple(debugger.trace.image.shape) == (3, 64, 96)
    assert debugger.photo == "mine"
    debugger.close()


def test_after_a_mishap_the_label_is_that_of_the_photo_on_screen(debugger, tiny_trace, monkeypatch):
    def fails(*_):
        raise ValueError("no memory left")

    monkeypatch.setattr(module, "trace", fails)
    debugger.photo = "cat"
    assert debugger.message == "no memory left"
    assert debugger.photo == debugger._chooser.boxes["photo"].value == "voc_people"
    assert debugger.trace is tiny_trace
    debugger.next()
    assert debugger.message == ""
    assert debugger.photo == debugger._chooser.boxes["photo"].value == "voc_people"


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("/photos/mine.jpg", ValueError, "/photos/mine.jpg: no such file, and no bundled photo"),
        (3, TypeError, "source: expected a Trace, a Sample, the name of a bundled photo"),
    ],
)
def test_what_is_refused_is_refused_once(source, error, words, monkeypatch):
    noise = []
    monkeypatch.setattr(sys, "unraisablehook", noise.append)
    for kind in (PipelineDebugger, *EXPLORERS.values()):
        with pytest.raises(error, match=words):
            kind(source)
        gc.collect()
    assert noise == []


def test_a_trace_brings_its_own_model(tiny_trace, lively_model):
    with pytest.raises(TypeError, match="model: a trace brings its own"):
        PipelineDebugger(tiny_trace, lively_model)


def test_every_control_explains_itself(debugger):
    for box in (
        debugger._chooser.boxes["photo"],
        debugger._chooser.upload_box,
        debugger._chooser.boxes["model"],
    ):
        assert len(box.tooltip) > 20
    assert "10 MB" in debugger._chooser.upload_box.tooltip


def test_a_saved_notebook_keeps_a_picture_of_the_stage(debugger):
    debugger.stage = "detection"
    data, _ = debugger._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR")
    assert debugger.to_png() == debugger.explorers["detection"].to_png()


# -- Memory ------------------------------------------------------------------------------------


def _used(trace):
    """A debugger that was in every stage, with a setting changed, and what it holds."""
    debugger = PipelineDebugger(replace(trace), followed=("object", 3))
    debugger.stage = "proposals"
    debugger.explorer.post_nms_top_n = 50
    for stage in KEYS:
        debugger.stage = stage
    held = [debugger._trace, debugger.trace]
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
    assert not hasattr(debugger, "_explorers")
    other.close()
