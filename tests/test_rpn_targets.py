"""Stage 3, RPN targets: which anchors are right, which are wrong, which are left out."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from mrcnn_steps.anchors import pyramid
from mrcnn_steps.boxes import decode
from mrcnn_steps.rpn_targets import PIECE_CELLS, build, compare, match, sample_anchors

NO_BOXES = torch.zeros(0, 4)


def pyramid_in_double(size, anchor_stride):
    """The anchors in double precision, as the notes' NumPy computes them."""
    levels = []
    for stride, scale in zip((4, 8, 16, 32, 64), (32, 64, 128, 256, 512), strict=True):
        steps = torch.arange(0, size // stride, anchor_stride).double() * stride
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        root = torch.tensor([0.5, 1, 2], dtype=torch.float64).sqrt()
        half = torch.stack((scale * root, scale / root), dim=1) / 2
        center = torch.stack((x, y), dim=-1)[:, :, None]
        levels.append(torch.cat((center - half, center + half), dim=-1).reshape(-1, 4))
    return torch.cat(levels)


def matched_by_torchvision(iou, positive_iou=0.7, negative_iou=0.3):
    """torchvision's `Matcher` in our labels, with its own choice of object for each anchor."""
    chosen = Matcher(positive_iou, negative_iou, allow_low_quality_matches=True)(iou)
    labels = torch.zeros_like(chosen, dtype=torch.int8)
    labels[chosen >= 0] = 1
    labels[chosen == Matcher.BELOW_LOW_THRESHOLD] = -1
    return labels, chosen


def looped_match(anchors, gt_boxes, crowd_boxes, positive_iou, negative_iou):
    """The rule of Faster R-CNN §3.1.2, anchor by anchor."""
    iou = box_iou(anchors, gt_boxes)
    crowd_iou = box_iou(anchors, crowd_boxes)
    labels, forced = [], []
    for a in range(len(anchors)):
        row = iou[a].tolist()
        best = max(row, default=0.0)
        above = best >= positive_iou and bool(row)
        is_best = any(row[g] > 0 and row[g] == iou[:, g].max() for g in range(len(row)))
        touches_crowd = any(value >= 0.001 for value in crowd_iou[a].tolist())
        if above or is_best:
            labels.append(1)
        elif best < negative_iou and not touches_crowd:
            labels.append(-1)
        else:
            labels.append(0)
        forced.append(is_best and not above)
    return labels, forced


@st.composite
def boxes_on_a_grid(draw, min_size=0, max_size=12):
    """Boxes with small whole coordinates, so that ties and exact IoUs are common."""
    corner, side = st.integers(0, 6), st.integers(1, 5)
    row = st.tuples(corner, corner, side, side)
    rows = draw(st.lists(row, min_size=min_size, max_size=max_size))
    x, y, width, height = torch.tensor(rows).reshape(-1, 4).float().unbind(1)
    return torch.stack((x, y, x + width, y + height), dim=1)


# --- match ----------------------------------------------------------------------------------


def test_reference_labels_and_deltas(case):
    """Every one of 65,472 labels, in the reference's own precision."""
    anchors = pyramid_in_double(case.size, case.anchor_stride)
    boxes, crowds = case.boxes[~case.crowd].double(), case.boxes[case.crowd].double()
    targets = build(anchors, boxes, crowds, count=65_472, positive_fraction=1.0)
    assert torch.equal(targets.match.labels, case.match)
    positives = targets.deltas[: len(targets.positive_index)]
    torch.testing.assert_close(positives, case.positive_deltas, rtol=0, atol=1e-7)


def test_single_precision_differs_only_where_anchors_tie(case):
    """Rounding breaks some exact ties for an object's best anchor, and nothing else."""
    anchors = pyramid(case.size, anchor_stride=case.anchor_stride)
    boxes, crowds = case.boxes[~case.crowd], case.boxes[case.crowd]
    labels = match(anchors, boxes, crowds).labels
    differing = (labels != case.match).nonzero().flatten()
    iou = box_iou(boxes.double(), pyramid_in_double(case.size, case.anchor_stride))
    to_best = (iou.amax(dim=1, keepdim=True) - iou[:, differing]).amin(dim=0)
    assert (to_best < 1e-6).all()


def test_labels_and_objects_are_those_of_torchvisions_matcher(case):
    anchors = pyramid(case.size, anchor_stride=case.anchor_stride)
    boxes = case.boxes[~case.crowd]
    iou = box_iou(boxes, anchors.boxes)
    labels, chosen = matched_by_torchvision(iou)
    found = match(anchors, boxes)
    assert torch.equal(found.labels, labels)
    assert torch.equal(found.gt_index[labels == 1], chosen[labels == 1])
    assert torch.equal(found.iou, iou.amax(dim=0))


@pytest.mark.parametrize("thresholds", [(0.7, 0.3), (0.5, 0.5), (0.6, 0.1), (1.0, 0.0)])
def test_the_same_for_fifty_random_objects_and_other_thresholds(random_boxes, thresholds):
    anchors = pyramid(512)
    boxes = random_boxes(50, (512, 512), seed=4)
    labels, chosen = matched_by_torchvision(box_iou(boxes, anchors.boxes), *thresholds)
    found = match(anchors, boxes, None, *thresholds)
    assert torch.equal(found.labels, labels)
    assert torch.equal(found.gt_index[labels == 1], chosen[labels == 1])


@given(
    boxes_on_a_grid(),
    boxes_on_a_grid(max_size=4),
    boxes_on_a_grid(max_size=2),
    st.sampled_from([(0.7, 0.3), (0.5, 0.5), (0.5, 0.25), (1.0, 0.0)]),
)
def test_labels_are_those_of_the_loop(anchors, boxes, crowds, thresholds):
    found = match(anchors, boxes, crowds, *thresholds)
    labels, forced = looped_match(anchors, boxes, crowds, *thresholds)
    assert found.labels.tolist() == labels
    assert found.forced.tolist() == forced


@pytest.mark.parametrize("crowds", [0, 2])
def test_compared_once_anchors_are_labeled_at_any_thresholds(random_boxes, crowds):
    anchors = pyramid(128, anchor_stride=2).boxes
    # An object that is an anchor, one that touches none, and some that force their best anchors.
    objects = torch.cat(
        (
            random_boxes(8, (128, 128), sides=(8, 90)),
            anchors[90:91],
            torch.tensor([[900.0, 0, 950, 60]]),
        )
    )
    crowd_boxes = random_boxes(crowds, (128, 128), seed=1, sides=(30, 60))
    for gt_boxes in (objects, NO_BOXES):
        compared = compare(anchors, gt_boxes, crowd_boxes)
        for thresholds in ((0.7, 0.3), (0.5, 0.5), (1.0, 1.0), (0.2, 0.0), (1.0, 0.0), (0.7, 0.3)):
            found = compared.match(*thresholds)
            labels, forced = looped_match(anchors, gt_boxes, crowd_boxes, *thresholds)
            assert found.labels.tolist() == labels
            assert found.forced.tolist() == forced
            for name, value in vars(match(anchors, gt_boxes, crowd_boxes, *thresholds)).items():
                assert torch.equal(getattr(found, name), value), name
                assert getattr(found, name).dtype == value.dtype


@given(boxes_on_a_grid(), boxes_on_a_grid(max_size=4))
def test_every_object_that_touches_an_anchor_gets_one(anchors, boxes):
    found = match(anchors, boxes)
    iou = box_iou(anchors, boxes)
    for column in iou.T if len(anchors) else []:
        if column.max() > 0:
            assert (found.labels[column == column.max()] == 1).all()
        else:
            assert not found.forced[(iou == 0).all(dim=1)].any()


def test_an_object_that_overlaps_no_anchor_forces_none(random_boxes):
    """Its best IoU is 0, and in torchvision and the notes every anchor with IoU 0 ties for it."""
    anchors = random_boxes(500, (100, 100), sides=(4, 30))
    boxes = torch.tensor([[20.0, 20, 40, 40], [5000.0, 5000, 5040, 5040]])
    iou = box_iou(boxes, anchors)
    theirs, _ = matched_by_torchvision(iou)
    assert (theirs[iou[0] == 0] == 1).all(), "the explosion"
    found = match(anchors, boxes)
    assert (found.labels[iou[0] == 0] == -1).all()
    assert torch.equal(found.labels, match(anchors, boxes[:1]).labels)
    assert (match(anchors, boxes[1:]).labels == -1).all()


def test_all_anchors_that_tie_for_an_object_are_forced():
    """A small object in the middle of four cells: its four anchors overlap it alike."""
    anchors = pyramid(256, strides=(64,), scales=(64,), ratios=(1.0,))
    found = match(anchors, torch.tensor([[88.0, 88, 104, 104]]))
    positive = found.labels == 1
    assert found.iou[positive].unique().tolist() == [found.iou.max()]
    assert int(positive.sum()) == 4
    assert torch.equal(found.forced, positive)
    assert found.iou.max() < 0.3, "positive although below even the negative threshold"


def test_ties_are_found_across_the_pieces_the_work_is_cut_into():
    objects = torch.tensor([[0.0, 0, 30, 30]]).repeat(50, 1)
    anchors = torch.tensor([[0.0, 0, 10, 10]]).repeat(3 * PIECE_CELLS // 50 + 5, 1)
    anchors[1:-1] += 100
    found = match(anchors, objects)
    assert found.labels[[0, -1]].tolist() == [1, 1]
    assert (found.labels[1:-1] == -1).all()
    assert len(found.labels) == len(found.iou) == len(found.gt_index) == len(anchors)


def test_a_forced_anchor_aims_at_its_own_best_object_not_at_the_one_that_forced_it():
    anchors = torch.tensor([[0.0, 0, 10, 10]])
    far, near = [8.0, 8, 30, 30], [0.0, 0, 10, 12]
    found = match(anchors, torch.tensor([far, near]))
    assert found.labels.tolist() == [1]
    assert found.gt_index.tolist() == [1]
    targets = build(anchors, torch.tensor([far, near]))
    torch.testing.assert_close(targets.refined, torch.tensor([near]))


def test_the_positive_threshold_is_reached_and_the_negative_one_is_not():
    """`>=` and `<`: an IoU of exactly one half is positive at 0.5 and not negative at 0.5."""
    anchors = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 5], [0.0, 0, 10, 2.5]])
    box = anchors[:1]
    assert match(anchors, box).iou.tolist() == [1, 0.5, 0.25]
    assert match(anchors, box, None, 0.5, 0.25).labels.tolist() == [1, 1, 0]
    assert match(anchors, box, None, 0.51, 0.5).labels.tolist() == [1, 0, -1]
    assert not match(anchors, box, None, 0.5, 0.25).forced.any()


def test_a_photo_without_objects_has_only_negatives():
    found = match(pyramid(64), NO_BOXES)
    assert (found.labels == -1).all()
    assert (found.gt_index == -1).all()
    assert (found.iou == 0).all()
    assert not found.forced.any()


def test_no_anchors_match_nothing(random_boxes):
    found = match(NO_BOXES, random_boxes(3))
    assert found.labels.shape == found.iou.shape == found.gt_index.shape == (0,)


# --- crowds ---------------------------------------------------------------------------------

CROWD = torch.tensor([[0.0, 0, 100, 100]])


def test_no_anchor_that_touches_a_crowd_is_negative():
    anchors = torch.tensor([[10.0, 10, 20, 20], [95.0, 95, 105, 105], [100.0, 0, 110, 10]])
    assert match(anchors, NO_BOXES, CROWD).labels.tolist() == [0, 0, -1]


def test_a_brush_with_a_crowd_below_one_in_a_thousand_does_not_count():
    anchors = torch.tensor([[99.0, 0, 109, 10], [99.0, 0, 109, 11]])
    iou = box_iou(anchors, CROWD)[:, 0]
    assert iou[0] < 0.001 < iou[1]
    assert match(anchors, NO_BOXES, CROWD).labels.tolist() == [-1, 0]


def test_a_crowd_takes_no_positive_away_and_is_no_target():
    box = torch.tensor([[10.0, 10, 40, 40]])
    anchors = torch.cat((box, box + 200, CROWD))
    found = match(anchors, box, CROWD)
    assert found.labels.tolist() == [1, -1, 0]
    assert found.gt_index.max() == 0


# --- sample ---------------------------------------------------------------------------------


def many_labels(positives, negatives, neutrals, seed=0):
    labels = [1] * positives + [-1] * negatives + [0] * neutrals
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(labels, dtype=torch.int8)[order]


@given(
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 30),
    st.integers(0, 300),
    st.sampled_from([0, 0.25, 0.5, 1]),
)
def test_the_sample_has_at_most_its_share_of_positives_and_is_filled_with_negatives(
    positives, negatives, neutrals, count, fraction
):
    labels = many_labels(positives, negatives, neutrals)
    sampled = sample_anchors(labels, count, fraction)
    kept = min(positives, int(count * fraction))
    assert int((sampled == 1).sum()) == kept
    assert int((sampled == -1).sum()) == min(negatives, count - kept)
    assert ((sampled == labels) | (sampled == 0)).all(), "an anchor over the limit becomes neutral"


def test_the_choice_is_the_generators():
    labels = many_labels(400, 4000, 10)

    def chosen(seed):
        return sample_anchors(labels, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(chosen(7), chosen(7))
    assert not torch.equal(chosen(7), chosen(8))
    assert torch.equal(sample_anchors(labels), chosen(0)), "seed 0 without a generator"


def test_the_choice_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    sample_anchors(many_labels(400, 400, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_every_anchor_has_the_same_chance():
    labels = many_labels(40, 60, 0)
    generator = torch.Generator().manual_seed(0)
    kept = sum((sample_anchors(labels, 20, 0.5, generator) == labels).int() for _ in range(3000))
    share = kept / 3000
    assert torch.allclose(share[labels == 1], torch.tensor(10 / 40), atol=0.04)
    assert torch.allclose(share[labels == -1], torch.tensor(10 / 60), atol=0.04)


# --- build ----------------------------------------------------------------------------------


def test_the_positives_land_on_their_objects(case):
    anchors = pyramid(case.size, anchor_stride=case.anchor_stride)
    boxes, crowds = case.boxes[~case.crowd], case.boxes[case.crowd]
    targets = build(anchors, boxes, crowds)
    index = targets.positive_index
    assert torch.equal(index, (targets.labels == 1).nonzero().flatten())
    own = boxes[targets.match.gt_index[index]]
    torch.testing.assert_close(targets.refined, own, rtol=0, atol=1e-3)
    again = decode(targets.deltas[: len(index)], anchors.boxes[index])
    assert torch.equal(targets.refined, again)


def test_256_anchors_are_sampled_and_the_deltas_are_padded_with_zeros(case):
    anchors = pyramid(case.size, anchor_stride=case.anchor_stride)
    targets = build(anchors, case.boxes[~case.crowd], case.boxes[case.crowd])
    positive, negative, neutral = (int((targets.labels == value).sum()) for value in (1, -1, 0))
    assert positive + negative == 256
    assert positive <= 128
    assert positive + negative + neutral == len(anchors)
    assert targets.deltas.shape == (256, 4)
    assert targets.deltas[:positive].any(dim=1).all()
    assert not targets.deltas[positive:].any()


def test_positives_over_the_limit_become_neutral():
    anchors = torch.tensor([[0.0, 0, 10, 10]]).repeat(300, 1)
    targets = build(anchors, torch.tensor([[0.0, 0, 10, 11]]), count=256)
    assert len(targets.positive_index) == len(targets.refined) == 128
    assert int((targets.match.labels == 1).sum()) == 300, "the match itself is not sampled"


def test_a_photo_without_objects_has_no_deltas():
    targets = build(pyramid(256), NO_BOXES)
    assert targets.refined.shape == (0, 4)
    assert not targets.deltas.any()
    assert int((targets.labels == -1).sum()) == 256


def test_double_precision_stays(random_boxes):
    anchors, boxes = random_boxes(100, seed=1).double(), random_boxes(5, seed=2).double()
    targets = build(anchors, boxes)
    assert targets.deltas.dtype == targets.refined.dtype == targets.match.iou.dtype == torch.float64


# --- refused --------------------------------------------------------------------------------

GOOD = torch.tensor([[0.0, 0, 10, 10], [5.0, 5, 25, 25]])


@pytest.mark.parametrize("argument", ["anchors", "gt_boxes", "crowd_boxes"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([0.0, float("nan"), 10, 10], "finite numbers"),
        ([0.0, 0, float("inf"), 10], "finite numbers"),
        ([5.0, 5, 5, 9], "x1 < x2 and y1 < y2"),
        ([10.0, 10, 4, 4], "x1 < x2 and y1 < y2"),
    ],
)
def test_boxes_without_area_and_no_numbers_are_refused_by_name_and_row(argument, bad, message):
    boxes = {"anchors": GOOD, "gt_boxes": GOOD, "crowd_boxes": GOOD}
    boxes[argument] = torch.cat((GOOD, torch.tensor([bad])))
    for function in (match, build):
        with pytest.raises(ValueError, match=f"{argument}: expected {message}.* row 2"):
            function(**boxes)


@pytest.mark.parametrize("thresholds", [(0.3, 0.7), (1.1, 0.3), (0.7, -0.1), (float("nan"), 0.3)])
def test_thresholds_in_the_wrong_order_are_refused(thresholds):
    with pytest.raises(ValueError, match="negative_iou <= positive_iou"):
        match(GOOD, GOOD, None, *thresholds)


def test_what_is_not_a_set_of_boxes_is_refused(refused):
    for bad in (torch.zeros(4), torch.zeros(2, 5), torch.zeros(1, 2, 4)):
        with pytest.raises(refused):
            match(GOOD, bad)
        with pytest.raises(refused):
            match(bad, GOOD)
    with pytest.raises(refused):
        match(GOOD, GOOD.long())


def test_labels_other_than_the_three_are_refused(refused):
    with pytest.raises(ValueError, match="labels: expected"):
        sample_anchors(torch.tensor([0, 1, 2], dtype=torch.int8))
    with pytest.raises(refused):
        sample_anchors(torch.zeros((2, 2), dtype=torch.int8))


@pytest.mark.parametrize(
    ("count", "fraction", "named"),
    [(-1, 0.5, "count"), (256, 1.5, "positive_fraction"), (256, -0.1, "positive_fraction")],
)
def test_a_sample_of_no_sense_is_refused(count, fraction, named):
    with pytest.raises(ValueError, match=f"{named}: expected"):
        sample_anchors(torch.zeros(5, dtype=torch.int8), count, fraction)
