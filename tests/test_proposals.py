"""Stage 4, proposals: top k, decode, clip, drop, suppress, with every step kept."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import box_iou, clip_boxes_to_image

from mrcnn_steps.anchors import pyramid
from mrcnn_steps.boxes import decode
from mrcnn_steps.model.network import GlobalRegionProposalNetwork
from mrcnn_steps.nms import Overlaps
from mrcnn_steps.proposals import propose

SIZE = (480, 640)


def torchvisions(kind=RegionProposalNetwork, pre=100, post=50, nms=0.7, score=0.0, min_size=1e-3):
    rpn = kind(
        AnchorGenerator(),
        RPNHead(1, 3),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 0, "testing": pre},
        post_nms_top_n={"training": 0, "testing": post},
        nms_thresh=nms,
        score_thresh=score,
    ).eval()
    rpn.min_size = min_size
    return rpn


def network_output(anchors, seed=0, spread=2.0):
    """Objectness and deltas as an RPN gives them; seldom two alike."""
    generator = torch.Generator().manual_seed(seed)
    objectness = torch.randn(len(anchors), generator=generator) * spread
    deltas = torch.randn((len(anchors), 4), generator=generator) * 0.5
    return objectness, deltas


def looped_nms(boxes, scores, groups, threshold):
    """Greedy suppression, pair by pair, in double precision."""
    iou = box_iou(boxes.double(), boxes.double())
    kept = []
    for row in scores.argsort(descending=True, stable=True).tolist():
        if all(groups[row] != groups[k] or iou[row, k] <= threshold for k in kept):
            kept.append(row)
    return kept


def unchanged(boxes, scores, **settings):
    """Propose boxes as they are: anchors with zero deltas, scores given as probabilities."""
    boxes = torch.as_tensor(boxes, dtype=torch.float32)
    scores = torch.as_tensor(scores)
    return propose(scores.logit().float(), torch.zeros_like(boxes), boxes, (1000, 1000), **settings)


# --- against torchvision --------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pre": 2000, "post": 1000},
        {"pre": 10_000, "post": 1000, "nms": 0.5},
        {"nms": 0.1, "score": 0.6},
        {"min_size": 30.0, "post": 7},
        {"nms": 1.0, "pre": 3, "post": 1000},
        {"steps": 20},
        {"steps": 20, "pre": 3000, "post": 1000},
    ],
    ids=str,
)
def test_boxes_and_scores_are_torchvisions_to_the_last_bit(settings):
    anchors = pyramid(SIZE)
    sizes = [part.stop - part.start for part in anchors.level_slices]
    objectness, deltas = network_output(anchors)
    settings = dict(settings)
    if steps := settings.pop("steps", None):
        objectness = (objectness * steps).round() / steps
    rpn = torchvisions(**settings)
    decoded = rpn.box_coder.decode(deltas, [anchors.boxes]).reshape(1, -1, 4)
    [boxes], [scores] = rpn.filter_proposals(decoded, objectness[None, :, None], [SIZE], sizes)
    found = propose(
        objectness,
        deltas,
        anchors,
        SIZE,
        level_sizes=sizes,
        pre_nms_top_n=rpn.pre_nms_top_n(),
        post_nms_top_n=rpn.post_nms_top_n(),
        nms_threshold=rpn.nms_thresh,
        min_size=rpn.min_size,
        score_threshold=rpn.score_thresh,
    )
    assert len(found) > 0
    assert torch.equal(found.boxes, boxes)
    assert torch.equal(found.scores, scores)


@pytest.mark.parametrize("steps", [None, 20], ids=["", "many scores alike"])
@pytest.mark.parametrize("pre", [500, 10_000])
def test_over_all_levels_at_once_as_the_bundled_network_does(pre, steps):
    """Also where scores tie, as they do all over the black bars of a letterbox."""
    anchors = pyramid(SIZE)
    objectness, deltas = network_output(anchors)
    if steps:
        objectness = (objectness * steps).round() / steps
    rpn = torchvisions(GlobalRegionProposalNetwork, pre=pre, post=1000)
    decoded = rpn.box_coder.decode(deltas, [anchors.boxes]).reshape(1, -1, 4)
    [boxes], [scores] = rpn.filter_proposals(decoded, objectness[None, :, None], [SIZE], [])
    found = propose(objectness, deltas, anchors, SIZE, pre_nms_top_n=pre)
    assert torch.equal(found.boxes, boxes)
    assert torch.equal(found.scores, scores)
    overlaps = Overlaps(found.clipped, found.top_scores)
    again = propose(objectness, deltas, anchors, SIZE, pre_nms_top_n=pre, overlaps=overlaps)
    assert torch.equal(again.nms_rows, found.nms_rows)


@pytest.mark.parametrize("name", ["numeric1", "numeric2"])
def test_reference_suppression(reference, name):
    numbers = reference(name)
    found = unchanged(numbers["boxes"], numbers["scores"], nms_threshold=0.5)
    assert found.anchor_index.tolist() == numbers["kept"].tolist()


# --- every step by itself -------------------------------------------------------------------


@given(st.integers(0, 999), st.sampled_from([None, [30, 20, 10]]), st.integers(1, 40))
def test_each_step_follows_from_the_one_before(seed, level_sizes, top):
    generator = torch.Generator().manual_seed(seed)
    corner, side = torch.rand((2, 60, 2), generator=generator) * torch.tensor([[[90.0]], [[60.0]]])
    anchors = torch.cat((corner, corner + side + 1), dim=1)
    objectness, deltas = network_output(anchors, seed)
    found = propose(
        objectness, deltas, anchors, (100, 110), level_sizes, top, 8, 0.3, 9.0, score_threshold=0.3
    )
    wanted, group = [], []
    for level, rows in enumerate(torch.arange(60).split(level_sizes or [60])):
        best = sorted(rows.tolist(), key=lambda row: -objectness[row])[:top]
        wanted += best
        group += [level] * len(best)
    assert found.top_index.tolist() == wanted
    assert found.group.tolist() == group
    assert torch.equal(found.top_anchors, anchors[wanted])
    assert torch.equal(found.top_scores, objectness[wanted].sigmoid())
    assert torch.equal(found.refined, decode(deltas[wanted], anchors[wanted]))
    assert torch.equal(found.clipped, clip_boxes_to_image(found.refined, (100, 110)))
    sides = (found.clipped[:, 2:] - found.clipped[:, :2]).tolist()
    large = [row for row, (width, height) in enumerate(sides) if width >= 9 and height >= 9]
    assert found.large_rows.tolist() == large
    scored = [row for row in large if found.top_scores[row] >= 0.3]
    assert found.scored_rows.tolist() == scored
    kept = looped_nms(
        found.clipped[scored], found.top_scores[scored], found.group[scored].tolist(), 0.3
    )
    assert found.nms_rows.tolist() == [scored[row] for row in kept]
    assert found.rows.tolist() == found.nms_rows.tolist()[:8]


@given(st.integers(0, 999), st.floats(0.05, 0.95))
def test_a_suppressed_candidate_names_the_better_one_it_lost_to(seed, threshold):
    anchors = pyramid((64, 96), strides=(8, 16), scales=(16, 32)).boxes
    sizes = [8 * 12 * 3, 4 * 6 * 3]
    objectness, deltas = network_output(anchors, seed)
    found = propose(
        objectness, deltas, anchors, (64, 96), sizes, 100, 20, threshold, 8, score_threshold=0.2
    )
    scored, kept = set(found.scored_rows.tolist()), set(found.nms_rows.tolist())
    iou = box_iou(found.clipped, found.clipped)
    for row in range(len(found.top_index)):
        winner = found.suppressor(row)
        if row in kept or row not in scored:
            assert winner is None
            continue
        assert winner in kept
        assert iou[row, winner] > threshold
        assert found.group[row] == found.group[winner]
        assert found.top_scores[winner] >= found.top_scores[row]
        better = [k for k in kept if iou[row, k] > threshold and found.group[k] == found.group[row]]
        assert found.top_scores[winner] == max(found.top_scores[k] for k in better)


def test_proposals_keep_the_anchor_they_came_from():
    anchors = pyramid(SIZE)
    objectness, deltas = network_output(anchors)
    found = propose(objectness, deltas, anchors, SIZE)
    rows = found.anchor_index
    again = clip_boxes_to_image(decode(deltas[rows], anchors.boxes[rows]), SIZE)
    assert torch.equal(found.boxes, again)
    assert torch.equal(found.scores, objectness[rows].sigmoid())
    assert (found.scores.diff() <= 0).all(), "by descending score"
    assert len(rows.unique()) == len(rows) == len(found)


# --- thresholds -----------------------------------------------------------------------------


def test_suppression_needs_more_than_the_threshold():
    """An IoU of exactly one half stays at 0.5."""
    boxes = [[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 6]]
    found = unchanged(boxes, [0.9, 0.8, 0.7], nms_threshold=0.5)
    assert found.anchor_index.tolist() == [0, 1]
    assert found.suppressor(1) is None
    assert found.suppressor(2) == 0


def test_a_suppressed_candidate_suppresses_nobody():
    """Greedy, not transitive: the middle box is gone before it can remove the last."""
    boxes = [[0, 0, 10, 10], [0, 3, 10, 13], [0, 6, 10, 16]]
    found = unchanged(boxes, [0.9, 0.8, 0.7], nms_threshold=0.5)
    assert found.anchor_index.tolist() == [0, 2]


def test_candidates_of_different_levels_do_not_suppress_each_other():
    boxes = [[0, 0, 10, 10]] * 3
    scores = [0.9, 0.8, 0.7]
    assert unchanged(boxes, scores).anchor_index.tolist() == [0]
    assert unchanged(boxes, scores, level_sizes=[2, 1]).anchor_index.tolist() == [0, 2]


def test_a_score_of_exactly_the_threshold_stays():
    """`>=` in the RPN; the logit 0 is the probability one half."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    found = propose(
        torch.tensor([0.0, -1e-6]), torch.zeros(2, 4), boxes, (50, 50), score_threshold=0.5
    )
    assert found.scored_rows.tolist() == [0]


def test_a_side_of_exactly_the_minimum_stays():
    boxes = [[0, 0, 4, 9], [20, 0, 23.9, 9], [40, 0, 49, 4]]
    found = unchanged(boxes, [0.9, 0.8, 0.7], min_size=4)
    assert found.large_rows.tolist() == [0, 2]


def test_a_box_beside_the_image_is_clipped_to_nothing_and_dropped():
    boxes = [[-30, -30, -10, -10], [1001, 5, 1020, 20], [990, 990, 1010, 1010]]
    found = unchanged(boxes, [0.9, 0.8, 0.7])
    assert found.anchor_index.tolist() == [2]
    assert found.boxes.tolist() == [[990, 990, 1000, 1000]]


def test_scores_are_compared_as_probabilities_and_given_as_logits():
    found = unchanged([[0, 0, 10, 10]], [0.25])
    assert found.scores.tolist() == pytest.approx([0.25])


# --- both code paths of torchvision's NMS ---------------------------------------------------


@pytest.mark.parametrize("count", [900, 1100])
def test_suppression_is_the_loops_below_and_above_a_thousand_boxes(count, random_boxes):
    """From 4,000 numbers on, `batched_nms` runs group by group instead of shifting the boxes."""
    boxes = random_boxes(count, (1000, 1000), seed=5).round()
    scores = torch.linspace(0.99, 0.01, count)[
        torch.randperm(count, generator=torch.Generator().manual_seed(0))
    ]
    sizes = [count // 2, count - count // 2]
    found = unchanged(boxes, scores, level_sizes=sizes, post_nms_top_n=count, nms_threshold=0.4)
    kept = looped_nms(
        found.clipped, found.top_scores, [0] * sizes[0] + [1] * sizes[1], threshold=0.4
    )
    assert len(found) < count
    assert found.rows.tolist() == kept


# --- the ends -------------------------------------------------------------------------------


def test_padded_proposals_are_fractions_of_the_image():
    found = unchanged([[0, 0, 1000, 500], [250, 500, 750, 1000]], [0.9, 0.8], post_nms_top_n=5)
    assert found.padded().tolist() == [[0, 0, 1, 0.5], [0.25, 0.5, 0.75, 1], *[[0] * 4] * 3]


def test_no_more_proposals_than_asked_for():
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(9)]
    scores = torch.linspace(0.9, 0.1, 9)
    found = unchanged(boxes, scores, post_nms_top_n=4)
    assert len(found) == 4
    assert len(found.nms_rows) == 9, "the others are still there to be seen"
    assert found.padded().shape == (4, 4)


def test_fewer_anchors_than_candidates_asked_for():
    found = unchanged([[0, 0, 10, 10]], [0.9], pre_nms_top_n=10_000, level_sizes=[0, 1, 0])
    assert found.top_index.tolist() == [0]
    assert found.group.tolist() == [1]


@pytest.mark.parametrize("level_sizes", [None, [0], [0, 0]])
def test_no_anchors_give_no_proposals(level_sizes):
    found = propose(torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, 4), SIZE, level_sizes)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.padded().shape == (1000, 4)
    assert not found.padded().any()


def test_nobody_reaches_the_score_threshold():
    found = unchanged([[0, 0, 10, 10], [50, 50, 70, 70]], [0.2, 0.1], score_threshold=0.9)
    assert len(found) == 0
    assert found.large_rows.tolist() == [0, 1]
    assert found.suppressor(0) is None, "it never took part"


def test_asking_about_a_candidate_that_does_not_exist():
    found = unchanged([[0, 0, 10, 10]], [0.9])
    for row in (-1, 1):
        with pytest.raises(IndexError, match=f"candidate {row} does not exist"):
            found.suppressor(row)


# --- refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["objectness", "deltas"])
def test_a_network_that_diverged_is_named(which):
    arguments = {"objectness": torch.zeros(3), "deltas": torch.zeros(3, 4)}
    arguments[which].view(-1)[1] = float("nan")
    with pytest.raises(ValueError, match="NaN; did the training diverge"):
        propose(**arguments, anchors=torch.ones(3, 4), image_size=SIZE)


def test_anchors_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="anchors: expected finite"):
        propose(torch.zeros(1), torch.zeros(1, 4), torch.full((1, 4), torch.nan), SIZE)


def test_shapes_that_do_not_fit_are_refused(refused):
    anchors = torch.ones(3, 4)
    for objectness, deltas in [
        (torch.zeros(2), torch.zeros(3, 4)),
        (torch.zeros(3), torch.zeros(2, 4)),
        (torch.zeros(3, 1), torch.zeros(3, 4)),
        (torch.zeros(3), torch.zeros(3, 5)),
    ]:
        with pytest.raises(refused):
            propose(objectness, deltas, anchors, SIZE)


@pytest.mark.parametrize(("level_sizes", "top"), [([3], 3), (None, 2)])
def test_overlaps_of_other_candidates_are_refused(level_sizes, top):
    overlaps = Overlaps(torch.ones(3, 4), torch.zeros(3))
    with pytest.raises(ValueError, match=f"overlaps: expected those of {top} candidates without"):
        propose(
            torch.zeros(3),
            torch.zeros(3, 4),
            torch.ones(3, 4),
            SIZE,
            level_sizes,
            pre_nms_top_n=top,
            overlaps=overlaps,
        )


@pytest.mark.parametrize("level_sizes", [[1, 1], [], [4]])
def test_levels_that_do_not_add_up_are_refused(level_sizes):
    with pytest.raises(ValueError, match="level sizes that add up to 3"):
        propose(torch.zeros(3), torch.zeros(3, 4), torch.ones(3, 4), SIZE, level_sizes)
