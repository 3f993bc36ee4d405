"""An explanation says in ten plain lines what the evidence holds."""

import base64
import io
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

from mrcnn_steps.debug import explain_missed, fates
from mrcnn_steps.debug.evidence import Evidence, PerfectBox
from mrcnn_steps.debug.fates import Fate
from mrcnn_steps.debug.remedies import OF_THE_WEIGHTS
from mrcnn_steps.debug.words import sentences, to_learn
from mrcnn_steps.rpn_targets import build
from mrcnn_steps.tracing import trace
from tests.debug.scenes import imagined, set_to
from tests.debug.test_remedies import LOST_AT


@pytest.fixture(scope="module")
def model(kind):
    return kind("boxes_only")


@pytest.fixture(scope="module")
def scene(model, people):
    return imagined(model, people, 8, found_only=True)


@pytest.mark.parametrize("cause", LOST_AT)
def test_it_names_the_gate_and_the_numbers(model, scene, cause):
    with set_to(model, LOST_AT[cause]):
        traced = trace(model, scene)
        fate = next(fate for fate in fates(traced) if fate.cause == cause)
        said = str(explain_missed(traced, fate.object))
    lines = said.splitlines()
    assert 3 <= len(lines) <= 10
    assert lines[0].startswith(f"Object {fate.object} ({fate.name}): lost at ")
    assert f"{fate.evidence.anchor:,}" in lines[1]
    assert f"IoU of {fate.evidence.iou:.2f}" in lines[1]
    assert "Remedy: " in said or "training is needed" in said
    if fate.evidence.suppressor is not None:
        assert f"{fate.evidence.suppressor.iou:.2f}" in lines[1]


def test_every_fate_of_a_real_photo_can_be_said(traced):
    for fate in fates(traced):
        lines = sentences(traced, fate)
        assert 2 <= len(lines) <= 7
        assert all("None" not in line and line.endswith(".") for line in lines)


def test_a_found_object_is_explained_without_remedies(traced):
    fate = next(fate for fate in fates(traced) if fate.found)
    explained = explain_missed(traced, fate.object)
    assert explained.remedies == ()
    assert "and whose mask one of" in str(explained)
    assert explained.lines[0].endswith(f"found, {fate.evidence.probability:.2f}.")


def test_a_notebook_shows_the_words_and_the_picture(traced):
    fate = next(fate for fate in fates(traced) if fate.found)
    explained = explain_missed(traced, fate.object)
    [address] = re.findall(r'src="data:image/png;base64,([^"]+)"', explained._repr_html_())
    picture = Image.open(io.BytesIO(base64.b64decode(address)))
    assert min(picture.size) > 200
    page = explained._repr_html_()
    assert "data:image/png;base64," in page
    assert page.count("<li>") == len(explained.lines) - 1


class Notebook:
    """What IPython is in a notebook: it has a kernel, and takes what is displayed."""

    kernel = None

    def __init__(self, monkeypatch) -> None:
        self.shown = []
        monkeypatch.setattr("IPython.get_ipython", lambda: self)
        for name in ("display", "publish_display_data"):
            monkeypatch.setattr(f"IPython.display.{name}", self.shown.append)


def test_a_notebook_shows_the_debugger_below(traced, monkeypatch):
    notebook = Notebook(monkeypatch)
    lost = next(fate for fate in fates(traced) if fate.cause == "nms")
    explained = explain_missed(traced, lost.object)
    vars(explained).update(remedies=(), _search=SimpleNamespace(box_only=None))
    explained._ipython_display_()
    words, debugger = notebook.shown
    assert words == {"text/plain": str(explained), "text/html": explained._repr_html_()}
    assert debugger.trace is traced
    assert debugger.stage == "detection"
    assert debugger.followed == ("object", lost.object)
    debugger.close()


@pytest.mark.parametrize("without", ["kernel", "widgets"])
def test_a_terminal_and_a_house_without_widgets_show_the_words(traced, monkeypatch, without):
    notebook = Notebook(monkeypatch)
    if without == "kernel":
        monkeypatch.setattr("IPython.get_ipython", lambda: None)
    else:
        monkeypatch.setattr("mrcnn_steps.debug.explanation.find_spec", lambda name: None)
    explained = explain_missed(traced, next(f.object for f in fates(traced) if f.found))
    explained._ipython_display_()
    assert [shown["text/plain"] for shown in notebook.shown] == [str(explained)]


def test_a_name_is_text_and_not_html(model, scene):
    traced = trace(model, scene)
    explained = explain_missed(traced, next(f.object for f in fates(traced) if f.found))
    object.__setattr__(explained.fate, "name", "<script>alert(1)</script>")
    assert "<script>" not in explained._repr_html_()


def test_a_box_that_comes_back_without_its_mask_is_said(bundled, people):
    """The annotated masks are a pixel each, which no mask is."""
    with set_to(bundled, {"roi_heads.detections_per_img": 1}):
        traced = trace(bundled, people)
    masks = torch.zeros_like(people.masks)
    masks[:, 0, 0] = True
    pixels = replace(traced, sample=replace(people, masks=masks))
    lost = next(fate for fate in fates(pixels) if fate.cause == "detection_limit")
    said = explain_missed(pixels, lost.object).lines
    assert said[-2].startswith("With roi_heads.detections_per_img 1 → ")
    assert said[-2].endswith(
        " its box is found, but its mask stays wrong (IoU 0.00 < 0.5), so that it would still be "
        "missed."
    )
    assert said[-1] == "No setting brings it back: training is needed."


# --- what training would have to see ----------------------------------------------------------


def test_an_object_that_nothing_brings_back_is_said_to_need_training_on_it(traced):
    fate = next(fate for fate in fates(traced) if fate.cause == "class")
    explained = explain_missed(traced, fate.object)
    vars(explained).update(remedies=(), _search=SimpleNamespace(box_only=None))
    assert explained.lines[-2].endswith("nor another view of the photo: training is needed.")
    assert explained.lines[-1] == to_learn(traced, fate, 0.5, traced.detections.score_threshold)
    assert len(explained.lines) <= 10


def test_it_counts_the_anchors_that_the_rpn_is_taught_an_object_by(traced):
    """By a loop over all anchors: positive are those from 0.7 on, and all best ones."""
    boxes = traced.ground_truth.boxes
    iou = box_iou(traced.anchors.boxes, boxes)
    best_object, best_iou = iou.argmax(dim=1), iou.amax(dim=0)
    positive = (iou.amax(dim=1) >= 0.7) | ((iou == best_iou) & (best_iou > 0)).any(dim=1)
    lost = [fate for fate in fates(traced) if fate.cause in OF_THE_WEIGHTS]
    assert lost
    for fate in lost:
        count = int((positive & (best_object == fate.object)).sum())
        said = to_learn(traced, fate, 0.5, 0.05)
        best = float(best_iou[fate.object])
        assert said.startswith(f"In training {count} anchor")
        assert f"IoU {best:.2f}" in said
        assert ("only because none fits better" in said) == (best < 0.7)


def test_an_object_whose_anchors_all_fit_another_better_is_taught_by_none(traced):
    """The second of two objects that coincide: the RPN's rule gives all anchors to the first."""
    truth = traced.ground_truth
    twice = torch.cat((truth.boxes[:1], truth.boxes[:1], truth.boxes[2:]))
    twins = replace(truth, boxes=twice, rpn_targets=build(traced.anchors, twice))
    said = to_learn(replace(traced, ground_truth=twins), oracle(1, 0.9, 0.9), 0.5, 0.05)
    assert said.startswith("In training no anchor is taught it: even the best (IoU 0.")
    assert "overlaps another object more" in said


@pytest.mark.parametrize(
    ("probability", "moved", "learns"),
    [
        (0.9, 0.9, "the RPN"),
        (0.3, 0.5, "the RPN"),
        (0.2, 0.9, "the box head"),
        (0.9, 0.4, "the box head"),
    ],
)
def test_the_perfect_box_tells_who_has_to_learn(traced, probability, moved, learns):
    said = to_learn(traced, oracle(0, probability, moved), 0.5, 0.2)
    assert f"{learns} " in said.split(". ")[-1]


def oracle(object, probability, iou):
    """A lost object whose own box the second stage judges so."""
    evidence = Evidence(perfect=PerfectBox(probability, 0, 0.5, iou))
    return Fate(object, object, "person", "rpn_box", None, "proposals", evidence)


def test_there_is_no_such_object(traced):
    with pytest.raises(IndexError, match="object 19 does not exist: there are 19"):
        explain_missed(traced, 19)
