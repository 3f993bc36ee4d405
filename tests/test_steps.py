"""The filters of a stage as data: one vocabulary, nested rows, and where a candidate left."""

from itertools import pairwise

import pytest
import torch

from mrcnn_steps.detection import detect
from mrcnn_steps.proposals import propose
from mrcnn_steps.steps import TITLES, TURNED_AWAY, Step, fate, fates

PROPOSALS = ["top_k", "rpn_min_size", "rpn_score", "rpn_nms", "proposal_limit"]
DETECTIONS = ["foreground", "score", "min_size", "nms", "detection_limit"]
BOXES = torch.tensor(
    [[0, 0, 50, 50], [0, 0, 52, 50], [100, 0, 150, 50], [200, 0, 250, 50], [0, 90, 2, 190]],
    dtype=torch.float32,
)
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.2, 0.6])


def five_proposals(level_sizes=None):
    """One stays, one is suppressed, one is over the limit, one unsure, one too small."""
    return propose(
        SCORES.logit(),
        torch.zeros_like(BOXES),
        BOXES,
        (300, 300),
        level_sizes=level_sizes,
        pre_nms_top_n=5,
        post_nms_top_n=1,
        min_size=3,
        score_threshold=0.5,
    )


def six_detections():
    """The same with classes: background besides."""
    boxes = torch.cat((BOXES, BOXES[2:3]))
    probs = torch.cat((1 - SCORES, torch.tensor([0.97])))
    probs = torch.stack((probs, 1 - probs), dim=1)
    return detect(
        boxes,
        probs,
        torch.zeros(6, 1, 4),
        (300, 300),
        score_threshold=0.5,
        max_detections=1,
        min_size=3,
        best_class_only=True,
    )


def test_proposals_leave_at_the_step_whose_rule_they_break():
    found = five_proposals()
    assert [step.name for step in found.steps] == PROPOSALS
    by_anchor = {
        int(anchor): fate(found.steps, row) for row, anchor in enumerate(found.top_index.tolist())
    }
    assert by_anchor == {
        0: None,
        1: "rpn_nms",
        2: "proposal_limit",
        3: "rpn_score",
        4: "rpn_min_size",
    }


def test_detections_leave_at_the_step_whose_rule_they_break():
    found = six_detections()
    assert [step.name for step in found.steps] == DETECTIONS
    assert [fate(found.steps, row) for row in range(6)] == [
        None,
        "nms",
        "detection_limit",
        "foreground",  # its most probable class is background
        "min_size",
        "foreground",
    ]
    every_class = detect(BOXES, torch.stack((1 - SCORES, SCORES), 1), torch.zeros(5, 1, 4), (9, 9))
    assert fate(every_class.steps, 0) == "foreground"


@pytest.mark.parametrize("found", [five_proposals(), six_detections()], ids=["RPN", "box head"])
def test_each_step_keeps_some_of_those_before_it_and_the_last_gives_the_result(found):
    steps = found.steps
    for before, after in pairwise(steps):
        assert set(after.rows.tolist()) <= set(before.rows.tolist())
        assert len(after) == len(after.rows)
    assert torch.equal(steps[-1].rows, found.rows)


@pytest.mark.parametrize("found", [five_proposals(), six_detections()], ids=["RPN", "box head"])
def test_all_fates_at_once_are_the_single_ones(found):
    names = [*(step.name for step in found.steps), None]
    count = len(found.clipped)
    places = fates(found.steps, count)
    assert [names[place] for place in places.tolist()] == [
        fate(found.steps, row) for row in range(count)
    ]


def test_a_step_says_its_rule_with_the_threshold():
    rules = [step.rule for step in five_proposals().steps]
    assert rules == [
        "the 5 of highest objectness",
        "both sides of 3 px or more",
        "objectness of 0.5 or more",
        "no IoU above 0.7 with a better one",
        "the best 1",
    ]
    by_level = [step.rule for step in five_proposals(level_sizes=[3, 2]).steps]
    assert by_level[0].endswith(" of each level")
    assert by_level[3].endswith(" of its level")
    assert [step.rule for step in six_detections().steps][1:4] == [
        "score above 0.5",
        "both sides of 3 px or more",
        "no IoU above 0.5 with a better one of its class",
    ]


def test_every_step_has_a_title_and_a_word_for_those_that_left():
    assert list(TITLES) == list(TURNED_AWAY) == [*PROPOSALS, *DETECTIONS]
    step = Step("rpn_nms", "", torch.zeros(0, dtype=torch.int64))
    assert (step.title, step.turned_away) == ("NMS", "suppressed")


def test_another_limit_needs_no_other_nms():
    found = five_proposals()
    two = found.limited(2)
    again = propose(
        SCORES.logit(),
        torch.zeros_like(BOXES),
        BOXES,
        (300, 300),
        pre_nms_top_n=5,
        post_nms_top_n=2,
        min_size=3,
        score_threshold=0.5,
    )
    assert torch.equal(two.rows, again.rows)
    assert two.steps[-1].rule == again.steps[-1].rule == "the best 2"
