"""The debugger's photos and models: uploads, files and names, and a message for what fails."""

import gc
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image

from mrcnn_steps.data import Sample, sample, samples
from mrcnn_steps.model.checkpoint import save_weights
from mrcnn_steps.model.network import tiny
from mrcnn_widgets import debugger as module
from mrcnn_widgets.debugger import EXPLORERS, KEYS, PipelineDebugger


def _png(size=(96, 64)):
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), 120, np.uint8)).save(file, "PNG")
    return file.getvalue()


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


def test_a_file_too_large_for_a_message_is_refused_in_a_sentence(debugger, tiny_trace):
    debugger._chooser.upload_box._handle_custom_msg({"name": "raw.dng"}, [])
    assert debugger.message.startswith("raw.dng: too large for a message")
    assert debugger.trace is tiny_trace


def test_an_upload_arrives_from_the_control(debugger):
    debugger._chooser.upload_box._handle_custom_msg({"name": "a.png"}, [memoryview(_png())])
    assert debugger.photo == "a.png"
    assert debugger.message == ""


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
    for box in (debugger._chooser.boxes["photo"], debugger._chooser.boxes["model"]):
        assert len(box.tooltip) > 20
    assert "10 MB" in debugger._chooser.upload_box.help
