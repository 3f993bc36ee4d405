"""The list of verdicts: what became of each object and detection, its way, and what would help."""

import html
from dataclasses import replace
from types import SimpleNamespace

import pytest
from ipywidgets import Label

from mrcnn_steps.data import sample
from mrcnn_steps.debug.errors import false_positives
from mrcnn_steps.debug.explanation import explain_missed, nothing_helps
from mrcnn_steps.debug.fates import fates
from mrcnn_steps.debug.lineage import lineage_of_object
from mrcnn_steps.debug.price import Price
from mrcnn_steps.debug.remedies import BoxOnly, Change, Remedy, remedies
from mrcnn_steps.debug.rerun import SETTINGS, rerun
from mrcnn_steps.debug.words import to_learn
from mrcnn_steps.model import load_model
from mrcnn_steps.model.network import tiny
from mrcnn_steps.tracing import trace
from mrcnn_widgets import verdicts as module
from mrcnn_widgets.debugger import KEYS, PipelineDebugger
from mrcnn_widgets.views import verdicts as view


@pytest.fixture(scope="module")
def traced():
    return trace(load_model("tiny"), sample("voc_people"))


@pytest.fixture(scope="module")
def judged(traced):
    return view.verdicts(traced)


@pytest.fixture
def debugger(traced):
    made = PipelineDebugger(traced)
    yield made
    made.close()


def _lost(judged, cause):
    return next(v for v in judged if v.fate is not None and v.fate.cause == cause)


def _find(monkeypatch, *remedies, box_only=None):
    """Make the search for remedies find these, without a search."""
    search = SimpleNamespace(
        settings=remedies, views=lambda progress: (), box_only=box_only, other_views=None
    )
    monkeypatch.setattr("mrcnn_widgets.debugger.Search", lambda *_: search)


# -- The list, without a widget ------------------------------------------------------------------


def test_every_object_and_every_detection_has_one_verdict_wrong_ones_first(traced, judged):
    objects = [v for v in judged if v.subject[0] == "object"]
    detections = [v for v in judged if v.subject[0] == "detection"]
    assert judged == [*objects, *detections]
    assert sorted(v.subject[1] for v in objects) == list(range(len(traced.ground_truth.boxes)))
    assert sorted(v.subject[1] for v in detections) == list(range(len(traced.detections)))
    for part in (objects, detections):
        found = [v.found for v in part]
        assert found == sorted(found)
        assert True in found
        assert False in found


def test_they_are_the_fates_and_the_false_positives(traced, judged):
    by_subject = {v.subject: v for v in judged}
    for fate in fates(traced):
        assert by_subject["object", fate.object].fate == fate
    wrong = {error.detection: error for error in false_positives(traced)}
    for row in range(len(traced.detections)):
        verdict = by_subject["detection", row]
        assert verdict.error == wrong.get(row)
        if row in wrong:
            assert verdict.reason == wrong[row].kind
    assert sum(count for _, count in view.reasons(judged)) == len(judged)


def test_the_gate_is_marked_with_the_box_that_ended_there_and_what_was_kept_instead(judged):
    verdict = _lost(judged, "nms")
    seen = verdict.fate.evidence
    lost, kept = view.layers("detection", verdict.fate)
    assert lost.boxes[0].tolist() == pytest.approx(list(seen.moved))
    assert kept.boxes[0].tolist() == pytest.approx(list(seen.suppressor.box))
    for stage in KEYS:
        if stage != "detection":
            assert view.layers(stage, verdict.fate) == []
    found = next(v for v in judged if v.fate is not None and v.found)
    assert all(view.layers(stage, found.fate) == [] for stage in KEYS)


def test_a_photo_without_annotations_has_no_verdicts(traced):
    bare = trace(traced.model, sample("coffee").image)
    assert view.verdicts(bare) == []


def test_objects_of_classes_that_the_model_does_not_know_are_listed_and_can_be_picked():
    """A model of chairs and persons: every other object of the photo is a stranger to it."""
    photo = sample("voc_people")
    model = tiny(("background", "washer", "chair", "person"), 256).eval()
    with pytest.warns(UserWarning, match="left out"):
        traced = trace(model, photo)
    names = [photo.class_names[label] for label in photo.labels.tolist()]
    strangers = [name for name in names if name not in ("chair", "person")]
    debugger = PipelineDebugger(traced, judged=True)
    panel = debugger._verdicts
    panel.reason = "unknown class"
    listed = [(text.split(" · ")[1], subject) for text, subject in panel._list.options]
    assert sorted(text for text, _ in listed) == sorted(f"{n}: unknown class" for n in strangers)
    assert strangers
    for text, subject in listed:
        panel._list.value = subject
        assert debugger.followed == panel.picked == subject
        assert debugger.lineage is None
        name = text.split(": ")[0]
        assert f"The model has no class {name!r}" in html.unescape(panel._text.value)
        assert "unknown class" in debugger._status.value
        assert panel._ask.disabled
    row = listed[-1][1][1] - len(traced.ground_truth.boxes)
    its_box = traced.ground_truth.unknown_boxes[row : row + 1]
    for judged in (True, False):
        debugger.judged = judged
        for stage in KEYS:
            debugger.stage = stage
            marked = debugger.canvas["followed"]
            in_photo = traced.letterbox.undo_boxes(its_box) if stage == "masks" else its_box
            assert marked.boxes.tolist() == in_photo.tolist()
            assert marked.labels == [listed[-1][0]]
            assert "unknown class" in debugger._status.value
    assert debugger.followed == listed[-1][1]
    told = explain_missed(traced, listed[0][1][1])
    assert PipelineDebugger(told).followed == listed[0][1]
    debugger.close()


# -- In the debugger -----------------------------------------------------------------------------


def test_nothing_is_judged_before_the_list_is_opened(debugger, monkeypatch):
    ran = []
    monkeypatch.setattr(view, "verdicts", lambda *_: ran.append(1) or [])
    for stage in KEYS:
        debugger.stage = stage
    debugger.followed = ("object", 3)
    assert ran == []
    assert debugger._verdicts.layout.display == "none"
    debugger._chooser.boxes["judged"].value = True
    assert ran == [1]
    assert debugger._verdicts.layout.display is None


def test_picking_a_lost_object_shows_its_way_and_marks_the_gate(debugger, traced, judged):
    debugger.judged = True
    verdict = _lost(judged, "nms")
    debugger._verdicts._list.value = verdict.subject
    assert debugger.followed == verdict.subject
    seen = verdict.fate.evidence
    assert (debugger.lineage.anchor, debugger.lineage.proposal) == (seen.anchor, seen.proposal)
    assert verdict.words in debugger._status.value
    assert verdict.fate.name in debugger._verdicts._text.value
    icons = dict(zip(KEYS, debugger._stepper._stages.icons, strict=True))
    assert [stage for stage, icon in icons.items() if icon] == ["detection"]
    for stage in KEYS:
        debugger.stage = stage
        names = [layer.name for layer in debugger.canvas.layers]
        assert "followed" in names
        assert ("lost here" in names) == ("kept instead" in names) == (stage == "detection")
    debugger.followed = ("detection", 0)
    assert debugger._verdicts._list.value == ("detection", 0)
    assert not any(debugger._stepper._stages.icons)


def test_what_was_found_has_the_lineage_that_it_had(debugger, traced, judged):
    debugger.judged = True
    found = next(v for v in judged if v.fate is not None and v.found)
    debugger.followed = found.subject
    assert debugger.lineage == lineage_of_object(traced, found.subject[1])


def test_the_filter_lists_one_cause(debugger, judged):
    debugger.judged = True
    panel = debugger._verdicts
    for reason, count in view.reasons(judged):
        panel._filter.value = reason
        assert len(panel._list.options) == count
        assert {panel.of(subject).reason for _, subject in panel._list.options} == {reason}
    panel._filter.value = module.EVERYTHING
    assert len(panel._list.options) == len(judged)


def test_a_changed_setting_brings_the_verdicts_up_to_date(debugger, traced):
    debugger.judged, debugger.stage = True, "detection"
    debugger.followed = ("object", 17)
    debugger.explorer.score_threshold = 0.9
    changed = rerun(traced, {"roi_heads.score_thresh": 0.9})
    assert [v.words for v in debugger._verdicts.judged] == [v.words for v in view.verdicts(changed)]
    assert debugger._verdicts.picked == debugger.followed == ("object", 17)
    debugger.explorer.reset()
    assert debugger._verdicts.trace is traced


def test_a_remedy_is_a_button_with_its_price_that_sets_the_explorer(debugger, judged, monkeypatch):
    remedy = Remedy((Change("roi_heads.nms_thresh", 0.4, 0.75),), Price(1, 1, 0, 2, 0, 3))
    _find(monkeypatch, remedy)
    debugger.judged = True
    panel = debugger._verdicts
    verdict = _lost(judged, "nms")
    debugger.followed = verdict.subject
    panel._ask.click()
    [button] = panel._offers.children
    assert button.description == str(remedy)
    assert "false positives" in button.description
    button.click()
    assert debugger.stage == "detection"
    assert debugger.explorer.nms_threshold == 0.75
    assert panel.of(verdict.subject).fate.cause in ("found", "mask")
    assert debugger.followed == verdict.subject


def test_every_setting_has_its_explorer(debugger):
    for place in SETTINGS.values():
        debugger.stage = place.stage
        assert place.keyword in debugger.explorer.own


def test_a_remedy_that_no_explorer_can_show_is_said(debugger, judged, monkeypatch):
    remedy = Remedy((Change("input.scale", 1.0, 1.5),), Price(1, 1, 0, 2, 0, 3))
    _find(monkeypatch, remedy)
    debugger.judged = True
    debugger.followed = _lost(judged, "nms").subject
    debugger._verdicts._ask.click()
    [said] = debugger._verdicts._offers.children
    assert isinstance(said, Label)
    assert said.value == str(remedy)


def test_an_explanation_opens_where_its_object_was_lost(traced, judged):
    fate = _lost(judged, "nms").fate
    debugger = PipelineDebugger(explain_missed(traced, fate.object))
    assert debugger.trace is traced
    assert debugger.stage == fate.stage
    assert debugger.followed == debugger._verdicts.picked == ("object", fate.object)
    debugger.close()


def test_an_explanation_is_judged_by_its_own_thresholds(traced):
    """At 0.75 and 0.5 other objects are found than at the usual 0.5 and 0.05."""
    strict = fates(traced, 0.75, 0.5)
    row = next(f.object for f, g in zip(strict, fates(traced), strict=True) if f.cause != g.cause)
    debugger = PipelineDebugger(explain_missed(traced, row, 0.75, 0.5))
    assert debugger._verdicts.of(("object", row)).fate == strict[row]
    assert debugger.stage == strict[row].stage
    found = [v for v in debugger._verdicts.judged if v.subject[0] == "detection"]
    assert len(found) == int((traced.detections.scores > 0.5).sum())
    debugger._verdicts._ask.click()
    assert [str(each) for each in debugger._verdicts.remedies] == [
        str(each) for each in remedies(traced, row, None, 0.75, 0.5, progress=False)
    ]
    debugger.close()


def test_what_training_alone_can_mend_is_said(debugger, traced, judged, monkeypatch):
    debugger.judged = True
    debugger.followed = _lost(judged, "class").subject
    _find(monkeypatch)
    debugger._verdicts._ask.click()
    [said] = debugger._verdicts._offers.children
    fate = _lost(judged, "class").fate
    assert "training is needed" in said.value
    for sentence in nothing_helps(traced, fate):
        assert html.escape(sentence) in said.value
    assert to_learn(traced, fate, 0.5, 0.05) in nothing_helps(traced, fate)


def test_a_box_that_comes_back_without_its_mask_is_said_as_in_the_explanation(
    debugger, traced, judged, monkeypatch
):
    fate = _lost(judged, "nms").fate
    near = BoxOnly((Change("roi_heads.nms_thresh", 0.4, 0.75),), 0.21)
    _find(monkeypatch, box_only=near)
    debugger.judged, debugger.followed = True, ("object", fate.object)
    debugger._verdicts._ask.click()
    [said] = debugger._verdicts._offers.children
    explained = explain_missed(traced, fate.object)
    vars(explained).update(remedies=(), _search=SimpleNamespace(box_only=near))
    for sentence in explained.lines[-2:]:
        assert html.escape(sentence) in said.value
    assert "roi_heads.nms_thresh 0.4 → 0.75 its box is found, but its mask" in explained.lines[-2]


def test_a_hostile_name_is_text(traced):
    names = ("background", "<img src=x>", *traced.class_names[2:])
    debugger = PipelineDebugger(replace(traced, class_names=names), judged=True)
    debugger.followed = next(
        v.subject for v in debugger._verdicts.judged if "<img" in v.name and not v.found
    )
    assert "<img" not in debugger._verdicts._text.value
    assert "&lt;img" in debugger._verdicts._text.value
    debugger.close()
