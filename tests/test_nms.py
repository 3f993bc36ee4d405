"""NMS with remembered overlaps: the very rows of torchvision's, at every threshold."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torchvision.ops import box_iou, nms

from mrcnn_steps import load_model, sample, trace
from mrcnn_steps.nms import LEAST, Overlaps

THRESHOLDS = (0.0, 0.05, LEAST, 0.3, 0.5, 0.7, 0.9, 1.0)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_the_rows_are_torchvisions(random_boxes, threshold):
    boxes = random_boxes(1500, (200, 300))
    scores = torch.rand(1500, generator=torch.Generator().manual_seed(0)).mul(50).round() / 50

    assert torch.equal(Overlaps(boxes, scores).nms(threshold), nms(boxes, scores, threshold))


@given(
    corners=st.lists(st.tuples(*[st.integers(0, 12)] * 4), max_size=30),
    scores=st.lists(st.sampled_from([0.2, 0.5, 0.9]), min_size=30, max_size=30),
    threshold=st.floats(0, 1),
)
def test_ties_and_boxes_without_area(corners, scores, threshold):
    x, y, width, height = torch.tensor(corners).float().reshape(-1, 4).unbind(dim=1)
    boxes = torch.stack((x, y, x + width, y + height), dim=1)
    ranked = torch.tensor(scores)[: len(boxes)]

    assert torch.equal(Overlaps(boxes, ranked).nms(threshold), nms(boxes, ranked, threshold))


def test_a_threshold_that_some_pair_meets_exactly(random_boxes):
    boxes, scores = random_boxes(300, (80, 100), sides=(4, 90)), torch.linspace(1, 0, 300)
    overlaps, iou = Overlaps(boxes, scores), box_iou(boxes, boxes)
    met = iou[(iou > LEAST) & (iou < 1)][:40].tolist()

    # 0.3 as a float32 is larger than 0.3: what counts is the comparison in double precision.
    for threshold in (*met, *(value - 1e-9 for value in met)):
        assert torch.equal(overlaps.nms(threshold), nms(boxes, scores, threshold))


def test_only_some_rows_take_part(random_boxes):
    boxes, scores = random_boxes(400, (80, 100), sides=(4, 90)), torch.rand(400)
    rows = torch.arange(0, 400, 3)

    expected = rows[nms(boxes[rows], scores[rows], 0.3)]
    assert torch.equal(Overlaps(boxes, scores).nms(0.3, rows), expected)
    assert Overlaps(boxes, scores).nms(0.3, rows[:0]).tolist() == []


def test_all_candidates_of_a_photo():
    proposals = trace(load_model("tiny"), sample("voc_people")).proposals
    boxes, scores = proposals.clipped, proposals.top_scores
    overlaps = Overlaps(boxes, scores)

    for threshold in (0.3, 0.7):
        assert torch.equal(overlaps.nms(threshold), nms(boxes, scores, threshold))


def test_refused(refused):
    with pytest.raises(refused):
        Overlaps(torch.zeros(3, 4), torch.zeros(2))
    with pytest.raises(ValueError, match="finite"):
        Overlaps(torch.full((2, 4), torch.nan), torch.zeros(2))
