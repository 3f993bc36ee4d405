"""Remedies: proved by running again, and never without their price."""

import pytest
import torch

from mrcnn_steps.data import sample
from mrcnn_steps.debug import fates, remedies
from mrcnn_steps.debug.price import NOTHING, tally
from mrcnn_steps.debug.remedies import SCORE, Search
from mrcnn_steps.debug.rerun import rerun, variant
from mrcnn_steps.debug.treatments import (
    CROP,
    MIRRORED,
    SCALE,
    TREATMENTS,
    Treatment,
    Views,
    crop_window,
    cropped,
    mirrored,
    tally_treated,
    treat,
)
from mrcnn_steps.tracing import trace
from tests.debug.scenes import imagined, set_to

LIMIT = "roi_heads.detections_per_img"
LOST_AT = {
    "top_k": {"rpn.pre_nms_top_n": 30},
    "rpn_min_size": {"rpn.min_size": 90.0},
    "rpn_score": {"rpn.score_thresh": 0.9},
    "rpn_nms": {"rpn.nms_thresh": 0.1},
    "proposal_limit": {"rpn.post_nms_top_n": 10},
    "nms": {"roi_heads.nms_thresh": 0.02},
    "detection_limit": {"roi_heads.detections_per_img": 2},
    "class": {"roi_heads.score_thresh": 0.997},
}


@pytest.fixture(scope="module")
def model(kind):
    return kind("boxes_only")


@pytest.fixture(scope="module")
def scene(model, people):
    """Objects that the model finds, so that only a setting can lose them."""
    return imagined(model, people, 8, found_only=True)


@pytest.mark.parametrize("cause", LOST_AT)
def test_each_brings_the_object_back_from_the_photo(model, scene, cause):
    """Not from the cached trace: the model itself is set so, and runs again."""
    with set_to(model, LOST_AT[cause]):
        traced = trace(model, scene)
        lost = [fate.object for fate in fates(traced) if fate.cause == cause]
        assert lost
        found = remedies(traced, lost[0], progress=False)
        settings = [r.settings for r in found if not r.setting.startswith("input.")]
    assert any(next(iter(LOST_AT[cause])) in each for each in settings)
    for each in settings:
        with set_to(model, LOST_AT[cause] | each):
            assert fates(trace(model, scene))[lost[0]].found


def test_of_two_settings_a_score_and_a_limit_move_no_farther_than_they_have_to(bundled):
    """The spoon's score is asked for candidates that NMS drops before one is that stays."""
    spoon = trace(bundled, sample("coffee"))
    found = Search(spoon, fates(spoon)[0]).settings
    changes = [(remedy, change) for remedy in found for change in remedy.changes]
    assert {change.setting for _, change in changes} > {SCORE, LIMIT}
    for remedy, change in changes:
        if change.setting in (SCORE, LIMIT):  # NMS is not monotone
            less = change.new - 1 if change.setting == LIMIT else change.new + 1e-4
            assert not fates(rerun(spoon, remedy.settings | {change.setting: less}))[0].found


def test_the_price_counts_what_changes(model, scene):
    with set_to(model, LOST_AT["nms"]):
        traced = trace(model, scene)
        lost = next(fate.object for fate in fates(traced) if fate.cause == "nms")
        [remedy, *_] = remedies(traced, lost, progress=False)
        after = rerun(traced, remedy.settings)
    was, now = ([fate.found for fate in fates(each)] for each in (traced, after))
    changes = list(zip(was, now, strict=True))
    assert remedy.price.gained == changes.count((False, True)) > 0
    assert remedy.price.lost == changes.count((True, False))
    assert remedy.price.boxes == len(after.detections) - len(traced.detections)
    wrong_was = len(traced.detections) - sum(was)
    wrong_now = len(after.detections) - sum(now)
    price = remedy.price
    assert price.false_positives_gained - price.false_positives_lost == wrong_now - wrong_was


def test_the_price_on_a_data_set_is_the_sum_over_its_photos(model, scene):
    with set_to(model, LOST_AT["detection_limit"]):
        traced = trace(model, scene)
        lost = next(fate.object for fate in fates(traced) if fate.cause == "detection_limit")
        found = remedies(traced, lost, [scene, scene], progress=False)
    assert found
    for remedy in found:
        assert remedy.price_on_data == NOTHING + remedy.price + remedy.price
        assert remedy.price_on_data.photos == 2


def test_a_found_object_needs_none(model, scene):
    traced = trace(model, scene)
    found = next(fate.object for fate in fates(traced) if fate.found)
    assert remedies(traced, found) == ()
    with pytest.raises(IndexError, match="object 99 does not exist: there are"):
        remedies(traced, 99)


@pytest.mark.parametrize("treatment", TREATMENTS, ids=lambda each: f"{each.name} {each.new}")
def test_other_views_are_those_made_by_hand(model, scene, treatment):
    window = (100, 50, 350, 237)
    photo, scale = scene, treatment.new if treatment.name == SCALE else 1
    if treatment.name == MIRRORED:
        photo = mirrored(scene)
    elif treatment.name == CROP:
        photo = cropped(scene, window)
    size = {
        "transform.min_size": (round(200 * scale),),
        "transform.max_size": round(320 * scale),
    }
    with set_to(model, size):
        expected = trace(model, photo)
    treated = treat(trace(model, scene), treatment, window)
    assert torch.equal(treated.result["boxes"], expected.result["boxes"])
    assert torch.equal(treated.ground_truth.boxes, expected.ground_truth.boxes)


@pytest.mark.parametrize("scale", [0.75, 1.0])
def test_a_view_finds_what_a_whole_trace_of_it_finds(traced, scale):
    """Masks too, though a view draws only those that match an object."""
    view = Treatment(SCALE, 1.0, scale)
    whole = tally(trace(variant(traced.model, {}, scale), traced.sample), 0.5)
    treated = treat(traced, view)
    seen = tally_treated(treated, view, None, 0.5)
    assert treated.mask_logits is None
    for name in ("objects", "object_boxes", "found", "boxes", "labels", "scores", "wrong"):
        assert torch.equal(getattr(seen, name), getattr(whole, name)), name
    assert seen.found.any()
    assert not seen.found.all()


def test_views_are_run_once_for_all_objects(model, scene, monkeypatch):
    with set_to(model, LOST_AT["class"]):
        traced = trace(model, scene)
    rows = [fate.object for fate in fates(traced) if fate.cause == "class"][:2]
    alone = [remedies(traced, row, progress=False) for row in rows]
    run = []
    monkeypatch.setattr(
        "mrcnn_steps.debug.treatments.treat", lambda *view: run.append(view[1]) or treat(*view)
    )
    views = Views(traced)
    assert [remedies(traced, row, progress=False, views=views) for row in rows] == alone
    whole = [treatment for treatment in TREATMENTS if treatment.name != CROP]
    assert [treatment for treatment in run if treatment.name != CROP] == whole


def test_views_of_a_photo(people):
    twice = mirrored(mirrored(people))
    assert torch.equal(twice.image, people.image)
    assert torch.equal(twice.masks, people.masks)
    assert torch.equal(twice.boxes, people.boxes)
    for row in range(len(people.labels)):
        window = crop_window(people, row)
        if window is None:
            continue
        part = cropped(people, window)
        assert part.masks[row].sum() == people.masks[row].sum()
        corner = torch.tensor([*window[:2], *window[:2]])
        assert torch.equal(part.boxes[row] + corner, people.boxes[row])
        assert part.image.shape[1] == people.image.shape[1] // 2
