"""The view of stage 4 on five candidates whose fates are known; no widget is made."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mrcnn_steps.anchors import Anchors, Grid
from mrcnn_steps.proposals import Proposals, propose
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.views import proposals as view

# The first stays, the second overlaps it, the third is one too many, the fourth scores too low, the
# fifth is too narrow.
BOXES = torch.tensor(
    [[0, 0, 50, 50], [0, 0, 52, 50], [100, 0, 150, 50], [200, 0, 250, 50], [0, 90, 2, 190]],
    dtype=torch.float32,
)
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.2, 0.6])
ANCHORS = Anchors(BOXES, (Grid(1, 5, 1, (50.0, 50.0)),))
FATES = ["proposal", "suppressed", "over the limit", "low score", "too small"]


@pytest.fixture(scope="module")
def proposals() -> Proposals:
    return propose(
        SCORES.logit(),
        torch.tensor([[0.1, 0.0, 0.0, 0.0]]).expand(5, 4),
        ANCHORS,
        (300, 300),
        pre_nms_top_n=5,
        post_nms_top_n=1,
        min_size=3,
        score_threshold=0.5,
    )


def groups(proposals: Proposals, position: str) -> dict[int, str]:
    """The group of each anchor that is drawn at a position of the scrubber."""
    rows = view.chosen(proposals, position, 100)
    layer = view.layers(proposals, ANCHORS, position, rows)[-1]
    names = [layer.groups[group].name for group in layer.group_index]
    return dict(zip(layer.fields["anchor"].tolist(), names, strict=True))


def test_what_is_known_of_each_candidate_at_each_position(proposals):
    every = dict.fromkeys(range(5), "candidate")
    assert groups(proposals, "score") == groups(proposals, "refined") == every
    assert groups(proposals, "clipped") == {**every, 3: FATES[3], 4: FATES[4]}
    assert groups(proposals, "NMS") == {0: "candidate", 1: "suppressed", 2: "candidate"}
    assert groups(proposals, "final") == {0: "proposal", 2: "over the limit"}


def test_the_fact_is_the_candidates_fate(proposals):
    for row, anchor in enumerate(proposals.top_index.tolist()):
        told = dict(view.facts(proposals, ANCHORS, row, proposals.suppressor(row)))
        assert told["becomes"] == FATES[anchor]
        assert told["anchor"] == str(anchor)
        assert ("kept instead, score" in told) == (anchor == 1)


def test_boxes_are_drawn_best_first_and_no_more_than_the_limit(proposals):
    rows = view.chosen(proposals, "score", 3)
    scores = proposals.top_scores[torch.from_numpy(rows)]
    np.testing.assert_allclose(scores.numpy(), [0.9, 0.8, 0.7], rtol=1e-6)


def test_around_an_object_only_boxes_that_lie_on_it_are_drawn(proposals):
    rows = view.chosen(proposals, "clipped", 100, torch.tensor([105.0, 0.0, 155.0, 50.0]))
    assert proposals.top_index[torch.from_numpy(rows)].tolist() == [2]
    assert len(view.chosen(proposals, "clipped", 100, torch.tensor([0.0, 200, 50, 250]))) == 0


def test_arrows_lead_from_the_anchor_to_the_refined_box(proposals):
    rows = view.chosen(proposals, "refined", 100)
    before, moves, candidates = view.layers(proposals, ANCHORS, "refined", rows)
    np.testing.assert_array_equal(moves.start, BOXES[candidates.fields["anchor"].tolist()])
    np.testing.assert_array_equal(moves.end, candidates.boxes)
    assert (moves.end[:, 0] > moves.start[:, 0]).all()
    assert len(before) == 5
    assert len(view.layers(proposals, ANCHORS, "score", rows)[1]) == 0


def test_the_table_counts_what_is_left_and_which_objects_are_reached(proposals):
    objects = torch.cat((proposals.clipped[:1], proposals.clipped[2:3], BOXES[:1] + 230))
    left = view.counts(proposals, 7)
    assert left == {"anchors": 7, "score": 5, "refined": 5, "clipped": 3, "NMS": 2, "final": 1}
    reach = view.reached(proposals, objects)
    assert reach == {"score": 2, "refined": 2, "clipped": 2, "NMS": 2, "final": 1}
    header, *rows, drawn = view.table(left, reach, len(objects), 4)
    assert header == ("", "boxes", "gone", "objects ≥ 0.5")
    assert rows[-1] == ("final", "1", "−1", "1 of 3")
    assert rows[0] == ("anchors", "7", "", "")
    assert drawn == ("drawn here", "4", "", "")
    assert view.table(left, reach, 0, 4)[0] == ("", "boxes", "gone")


def test_the_suppressor_is_drawn_with_its_iou(proposals):
    rows = proposals.top_index.tolist()
    row = rows.index(1)
    layer = view.suppressor_layer(proposals, row, proposals.suppressor(row))
    assert layer.boxes.tolist() == [proposals.clipped[rows.index(0)].tolist()]
    # Both moved by a tenth of their width: they share 49.8 × 50 pixels of 52.2 × 50.
    assert layer.labels == [f"kept instead · IoU {49.8 / 52.2:.2f}"]
    assert len(view.suppressor_layer(proposals, None, None)) == 0


def test_one_begins_with_the_object_of_the_surest_detection(tiny_trace):
    truth, found = tiny_trace.ground_truth, tiny_trace.detections

    def annotated(boxes: torch.Tensor) -> Trace:
        labels = torch.stack((found.labels[0] % 79 + 1, found.labels[3]))
        two = {"objects": truth.objects[:2], "masks": truth.masks[:2]}
        return replace(tiny_trace, ground_truth=replace(truth, boxes=boxes, labels=labels, **two))

    assert view.plainest(annotated(found.boxes[[0, 3]])) == 1, "the first is of another class"
    far = torch.tensor([[0.0, 0, 1, 2], [0, 0, 2, 2]])
    assert view.plainest(annotated(far)) == 1, "none is found: the largest"
    assert view.plainest(replace(tiny_trace, ground_truth=None)) is None
