"""The detection explorer: each step is the stage's own, and every candidate's fate is told."""

from dataclasses import replace

import pytest
import torch
import traitlets
from torchvision.ops import box_iou

from mrcnn_steps.debug.lineage import lineage
from mrcnn_steps.detection import detect
from mrcnn_steps.settings import detection_settings
from mrcnn_widgets.detection import DetectionExplorer
from mrcnn_widgets.views.detection import BEST, LIKELY, MOST_DRAWN, STEPS, drawn, outcome


@pytest.fixture
def explorer(tiny_trace):
    made = DetectionExplorer(tiny_trace)
    yield made
    made.close()


def _by_hand(trace, **settings):
    found = trace.classification
    chosen = {**detection_settings(trace.model), **settings}
    return detect(trace.proposals, found.probs, found.deltas, trace.image_size, **chosen)


def test_with_the_models_own_settings_it_shows_the_traces_own_result(explorer, tiny_trace):
    assert explorer.detections is tiny_trace.detections
    heads = tiny_trace.model.roi_heads
    assert explorer.score_threshold == heads.score_thresh == 0.05
    assert explorer.nms_threshold == heads.nms_thresh == 0.4
    assert explorer.max_detections == 100
    proposals, classes = tiny_trace.classification.probs.shape
    assert explorer.counts["refined"] == proposals * classes
    assert explorer.counts["foreground"] == proposals * (classes - 1)
    assert explorer.counts["detection_limit"] == len(tiny_trace.result["boxes"])


@pytest.mark.parametrize(
    "settings",
    [
        {"score_threshold": 0.3},
        {"nms_threshold": 0.2},
        {"max_detections": 3},
        {"best_class_only": True},
        {"best_class_only": True, "score_threshold": 0.7, "nms_threshold": 0.3},
    ],
)
def test_other_settings_give_what_the_stage_gives(explorer, tiny_trace, settings):
    for name, value in settings.items():
        setattr(explorer, name, value)
    expected = _by_hand(tiny_trace, **settings)
    for field in ("foreground_rows", "confident_rows", "large_rows", "nms_rows", "rows"):
        assert torch.equal(getattr(explorer.detections, field), getattr(expected, field))
    assert list(explorer.counts.values()) == [
        len(expected.refined),
        len(expected.foreground_rows),
        len(expected.confident_rows),
        len(expected.large_rows),
        len(expected.nms_rows),
        len(expected),
    ]
    left = [int(n.replace(",", "")) for _, n in explorer.steps.rows[:-1]]
    assert left == [*explorer.counts.values()]


def test_going_back_to_the_models_settings_gives_the_traces_result_back(explorer, tiny_trace):
    explorer.score_threshold = 0.4
    assert explorer.detections is not tiny_trace.detections
    explorer.score_threshold = 0.05
    assert explorer.detections is tiny_trace.detections


@pytest.mark.parametrize("step", list(STEPS)[1:])
def test_each_step_shows_what_stays_and_what_leaves(explorer, step):
    before = list(STEPS)[list(STEPS).index(step) - 1]
    explorer.step, explorer.likely_only = step, False
    layer = explorer.canvas["candidates"]
    count = min(explorer.counts[before], MOST_DRAWN)
    assert len(layer) == len(explorer.drawn) == count
    if explorer.counts[before] <= MOST_DRAWN:
        assert (layer.group_index > 0).sum() == explorer.counts[step]
    scores = explorer.detections.candidate_score[explorer.drawn]
    assert (scores.diff() <= 0).all()
    place = len(explorer.drawn) // 2
    expected = explorer.detections.clipped[explorer.drawn[place]]
    assert torch.equal(torch.from_numpy(layer.boxes[place]), expected)
    assert explorer.steps.rows[list(STEPS).index(step)][0] == STEPS[step]


def test_a_suppressed_candidate_names_the_one_that_suppressed_it(explorer):
    explorer.step = "nms"
    found = explorer.detections
    left = set(found.large_rows.tolist()) - set(found.nms_rows.tolist())
    assert left
    for candidate in sorted(left)[:20]:
        explorer.candidate = candidate
        rival = found.suppressor(candidate)
        assert ("became", f"suppressed by candidate {rival:,}") in explorer.numbers.rows
        assert found.candidate_label[rival] == found.candidate_label[candidate]
        iou = box_iou(found.clipped[[candidate]], found.clipped[[rival]]).item()
        assert iou > explorer.nms_threshold
        assert ("IoU of the two", f"{iou:.3f}") in explorer.numbers.rows
        drawn = explorer.canvas["its suppressor"].boxes
        assert torch.equal(torch.from_numpy(drawn), found.clipped[[rival]])


def test_every_candidate_has_one_fate(explorer):
    explorer.max_detections = 5
    found = explorer.detections
    assert outcome(found, 0) == "background: needs a class other than background"
    low = int(found.foreground_rows[found.candidate_score[found.foreground_rows] <= 0.05][0])
    assert outcome(found, low) == "low score: needs score above 0.05"
    assert outcome(found, int(found.rows[2])) == "detection 2"
    assert outcome(found, int(found.nms_rows[5])) == "over the limit: needs the best 5"


def test_hovering_explains_and_leaving_goes_back_to_the_picked_one(explorer):
    explorer.candidate = int(explorer.detections.rows[0])
    picked = explorer.numbers.rows
    explorer.canvas.hovered = ("candidates", 1)
    assert explorer.numbers.rows[0] == ("candidate", f"{int(explorer.drawn[1]):,}")
    assert explorer.candidate == int(explorer.detections.rows[0])
    explorer.canvas.hovered = None
    assert explorer.numbers.rows == picked


def test_a_click_picks_and_the_arrow_comes_from_its_proposal(explorer, tiny_trace):
    explorer.canvas.selected = ("candidates", 4)
    assert explorer.candidate == int(explorer.drawn[4])
    proposal = int(explorer.detections.candidate_proposal[explorer.candidate])
    start = torch.from_numpy(explorer.canvas["refinement"].start[0])
    assert torch.equal(start, tiny_trace.proposals.boxes[proposal])


def test_a_picked_candidate_stays_picked_while_its_row_moves(explorer):
    explorer.candidate = int(explorer.detections.rows[3])
    explorer.score_threshold = 0.06
    assert explorer.canvas.selected == ("candidates", 3)
    explorer.step = "nms"
    row = explorer.canvas.selected[1]
    assert int(explorer.drawn[row]) == explorer.candidate
    explorer.best_class_only = True
    assert explorer.candidate is None
    assert explorer.canvas.selected is None


def test_what_does_not_exist_is_refused(explorer):
    with pytest.raises(traitlets.TraitError, match="candidate: expected 0 to"):
        explorer.candidate = len(explorer.detections.refined)
    with pytest.raises(traitlets.TraitError, match="max_detections: expected 1 to 300"):
        explorer.max_detections = 301
    with pytest.raises(traitlets.TraitError):
        explorer.score_threshold = 1.5
    with pytest.raises(traitlets.TraitError):
        explorer.step = "anchors"


def test_settings_carry_over_to_another_explorer(tiny_trace, explorer):
    explorer.score_threshold, explorer.step = 0.2, "min_size"
    again = DetectionExplorer(tiny_trace, **explorer.settings)
    assert again.counts == explorer.counts
    assert again.step == "min_size"
    assert again.to_png() == explorer.to_png()
    again.close()


def test_at_first_sight_only_likely_candidates_are_drawn_and_one_click_brings_all(
    explorer, tiny_trace
):
    score = tiny_trace.detections.candidate_score
    seen = tiny_trace.detections.nms_rows
    likely = seen[score[seen] >= LIKELY]
    assert 0 < len(likely) < len(seen)
    assert sorted(explorer.drawn.tolist()) == sorted(likely.tolist())
    assert explorer.steps.rows[-1] == ("drawn here", f"the best {len(likely):,} of {len(seen):,}")
    explorer.likely_only = False
    assert sorted(explorer.drawn.tolist()) == sorted(seen.tolist())
    assert explorer.steps.rows[-1] == ("drawn here", f"the best {len(seen):,} of {len(seen):,}")


def test_where_nothing_is_likely_the_best_are_drawn(tiny_trace):
    found = tiny_trace.detections
    dim = replace(found, candidate_score=found.candidate_score * 0.4)
    shown = drawn(dim, "detection_limit", likely_only=True)
    assert shown.tolist() == found.nms_rows[:BEST].tolist()


def test_reset_puts_the_models_settings_back(explorer, tiny_trace):
    explorer.score_threshold, explorer.best_class_only = 0.4, True
    assert explorer.changed == ["score_threshold", "best_class_only"]
    explorer.reset()
    assert explorer.detections is tiny_trace.detections


def test_it_turns_to_the_detection_of_what_is_followed_and_lets_go_where_there_is_none(
    explorer, tiny_trace
):
    followed = lineage(tiny_trace, 4)
    explorer.focus(followed)
    assert explorer.candidate == tiny_trace.detections.rows[4]
    explorer.focus(replace(followed, detection=None, links=followed.links[:3]))
    assert explorer.candidate is None
    assert len(explorer.numbers.rows) == 1


def test_a_picked_candidate_stands_for_its_detection(explorer):
    explorer.likely_only = False
    rows = explorer.drawn.tolist()
    detections = explorer.detections.rows.tolist()
    place = rows.index(detections[2])
    assert explorer.subject(("candidates", place)) == ("detection", 2)
    lost = next(i for i, candidate in enumerate(rows) if candidate not in detections)
    assert explorer.subject(("candidates", lost)) is None
    assert explorer.subject(("objects", 1)) == ("object", 1)


def test_it_never_runs_the_network(explorer, lively_model):
    calls = []
    handle = lively_model.backbone.register_forward_hook(lambda *_: calls.append("backbone"))
    head = lively_model.roi_heads.box_head.register_forward_hook(lambda *_: calls.append("head"))
    explorer.score_threshold = 0.5
    explorer.best_class_only = True
    handle.remove()
    head.remove()
    assert calls == []


def test_a_saved_notebook_keeps_a_picture(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR")
