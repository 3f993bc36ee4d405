"""Stage 6, detection: which of the classified proposals are objects."""

import itertools

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import box_iou, clip_boxes_to_image

from mrcnn_steps.boxes import decode
from mrcnn_steps.detection import detect

SIZE = (480, 640)
BOX_HEAD = (10.0, 10.0, 5.0, 5.0)


def torchvisions(score=0.05, nms=0.5, count=100, weights=BOX_HEAD):
    return RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, weights, score, nms, count)


def head_output(rows, classes, seed=0, spread=2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((rows, classes), generator=generator) * spread
    deltas = torch.randn((rows, classes, 4), generator=generator)
    return logits, deltas


def scored(boxes, rows, **settings):
    """Detect with probabilities given row by row and deltas of zero."""
    boxes, probs = torch.tensor(boxes, dtype=torch.float32), torch.tensor(rows)
    return detect(boxes, probs, torch.zeros(len(boxes), 1, 4), (1000, 1000), **settings)


# --- against torchvision --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "classes", "settings"),
    [
        (1000, 81, {}),
        (300, 5, {"nms": 0.3, "score": 0.2}),
        (500, 91, {"count": 7, "score": 0.01}),
        (60, 3, {"weights": (1.0, 1.0, 1.0, 1.0), "nms": 0.1}),
        (50, 2, {"score": 0.9999}),
    ],
)
def test_detections_are_torchvisions_to_the_last_bit(random_boxes, rows, classes, settings):
    proposals = random_boxes(rows, SIZE, seed=1)
    logits, deltas = head_output(rows, classes)
    heads = torchvisions(**settings)
    [boxes], [scores], [labels] = heads.postprocess_detections(
        logits, deltas.reshape(rows, -1), [proposals], [SIZE]
    )
    found = detect(
        proposals,
        logits.softmax(-1),
        deltas,
        SIZE,
        heads.score_thresh,
        heads.nms_thresh,
        heads.detections_per_img,
        heads.box_coder.weights,
    )
    if heads.score_thresh < 0.9:
        assert len(found.confident_rows) > 50, "the thresholds have to have something to do"
        assert len(found.nms_rows) < len(found.large_rows)
    assert torch.equal(found.boxes, boxes)
    assert torch.equal(found.scores, scores)
    assert torch.equal(found.labels, labels)


@pytest.mark.parametrize("rows", [60, 900])
def test_candidates_of_equal_score_come_in_torchvisions_order(random_boxes, rows):
    proposals = random_boxes(rows, SIZE, seed=1)
    logits, deltas = head_output(rows, 9)
    logits = logits.round()
    [boxes], [scores], [labels] = torchvisions().postprocess_detections(
        logits, deltas.reshape(rows, -1), [proposals], [SIZE]
    )
    found = detect(proposals, logits.softmax(-1), deltas, SIZE)
    assert len(found.scores.unique()) < len(found)
    assert torch.equal(found.boxes, boxes)
    assert torch.equal(found.scores, scores)
    assert torch.equal(found.labels, labels)


@pytest.mark.parametrize("spread", [0.5, 4.0])
def test_both_code_paths_of_torchvisions_nms(random_boxes, spread):
    """More and fewer than a thousand candidates take different ways through `batched_nms`."""
    proposals = random_boxes(400, SIZE, seed=1)
    logits, deltas = head_output(400, 9, spread=spread)
    [boxes], [_], [labels] = torchvisions().postprocess_detections(
        logits, deltas.reshape(400, -1), [proposals], [SIZE]
    )
    found = detect(proposals, logits.softmax(-1), deltas, SIZE)
    assert (len(found.large_rows) > 1000) == (spread < 1)
    assert torch.equal(found.boxes, boxes)
    assert torch.equal(found.labels, labels)


def test_a_head_that_shares_its_deltas_among_the_classes(random_boxes):
    proposals = random_boxes(200, SIZE, seed=1)
    logits, deltas = head_output(200, 6)
    shared = deltas[:, :1]
    [boxes], [scores], [labels] = torchvisions().postprocess_detections(
        logits, shared.expand(200, 6, 4).reshape(200, 24), [proposals], [SIZE]
    )
    found = detect(proposals, logits.softmax(-1), shared, SIZE)
    assert torch.equal(found.boxes, boxes)
    assert torch.equal(found.scores, scores)
    assert torch.equal(found.labels, labels)


# --- every step by itself -------------------------------------------------------------------


def looped_detect(proposals, probs, deltas, size, score, nms, count, min_size, best_class_only):
    """The definition, candidate by candidate: `(proposal, label)` of each detection."""
    candidates = []
    for row in range(len(proposals)):
        labels = range(probs.shape[1])
        if best_class_only:
            labels = [int(probs[row].argmax())]
        for label in labels:
            box = decode(deltas[row, label][None], proposals[row][None], BOX_HEAD)
            box = clip_boxes_to_image(box, size)
            width, height = (box[0, 2:] - box[0, :2]).tolist()
            large = width >= min_size and height >= min_size
            if label > 0 and probs[row, label] > score and large:
                candidates.append((float(probs[row, label]), row, label, box))
    kept = []
    for candidate in sorted(candidates, key=lambda found: -found[0]):
        rivals = [other for other in kept if other[2] == candidate[2]]
        if all(box_iou(other[3], candidate[3]) <= nms for other in rivals):
            kept.append(candidate)
    return [(row, label) for _, row, label, _ in kept[:count]]


@given(st.integers(0, 999), st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.95]))
def test_detections_are_those_of_the_loop(seed, best_class_only, score):
    generator = torch.Generator().manual_seed(seed)
    corner, side = torch.rand((2, 12, 2), generator=generator) * torch.tensor([[[60.0]], [[50.0]]])
    proposals = torch.cat((corner, corner + side + 1), dim=1)
    logits, deltas = head_output(12, 4, seed)
    probs = logits.softmax(-1)
    found = detect(
        proposals, probs, deltas, (80, 90), score, 0.3, 9, BOX_HEAD, 8.0, best_class_only
    )
    wanted = looped_detect(proposals, probs, deltas, (80, 90), score, 0.3, 9, 8.0, best_class_only)
    assert list(zip(found.proposal_index.tolist(), found.labels.tolist(), strict=True)) == wanted


@given(st.integers(0, 999), st.booleans())
def test_every_step_keeps_rows_of_the_one_before(seed, best_class_only):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand((30, 2), generator=generator) * 60
    proposals = torch.cat((corner, corner + 20), dim=1)
    logits, deltas = head_output(30, 5, seed)
    found = detect(
        proposals,
        logits.softmax(-1),
        deltas,
        (80, 90),
        score_threshold=0.1,
        min_size=9,
        max_detections=10,
        best_class_only=best_class_only,
    )
    assert len(found.candidate_label) == (30 if best_class_only else 150)
    steps = [
        set(rows.tolist())
        for rows in (
            torch.arange(len(found.candidate_label)),
            found.foreground_rows,
            found.confident_rows,
            found.large_rows,
            found.nms_rows,
            found.rows,
        )
    ]
    assert all(after <= before for before, after in itertools.pairwise(steps))
    assert (found.candidate_label[found.foreground_rows] > 0).all()
    assert (found.candidate_score[found.confident_rows] > 0.1).all()
    sides = found.clipped[found.large_rows]
    assert (sides[:, 2:] - sides[:, :2] >= 9).all()
    assert found.rows.tolist() == found.nms_rows[:10].tolist()
    iou = box_iou(found.clipped, found.clipped)
    for row in range(len(found.candidate_label)):
        winner = found.suppressor(row)
        assert (winner is not None) == (row in steps[3] - steps[4])
        if winner is not None:
            assert winner in steps[4]
            assert iou[row, winner] > found.nms_threshold
            assert found.candidate_label[row] == found.candidate_label[winner]
            assert found.candidate_score[winner] >= found.candidate_score[row]


def test_detections_keep_the_proposal_they_came_from(random_boxes):
    proposals = random_boxes(200, SIZE, seed=1)
    logits, deltas = head_output(200, 6)
    probs = logits.softmax(-1)
    found = detect(proposals, probs, deltas, SIZE)
    rows, labels = found.proposal_index, found.labels
    again = clip_boxes_to_image(decode(deltas[rows, labels], proposals[rows], BOX_HEAD), SIZE)
    torch.testing.assert_close(found.boxes, again)
    assert torch.equal(found.scores, probs[rows, labels])
    assert (found.scores.diff() <= 0).all(), "by descending score"


# --- who may be a detection -----------------------------------------------------------------


def test_one_proposal_may_become_detections_of_several_classes():
    """torchvision's way: every class over 0.05; the notes' way: only the best one."""
    box, probs = [[10, 10, 50, 50]], [[0.1, 0.5, 0.4, 0.0]]
    theirs = scored(box, probs)
    assert theirs.labels.tolist() == [1, 2]
    assert theirs.proposal_index.tolist() == [0, 0]
    assert scored(box, probs, best_class_only=True).labels.tolist() == [1]


def test_a_proposal_whose_best_class_is_background_is_silent_only_in_the_notes_way():
    box, probs = [[10, 10, 50, 50]], [[0.6, 0.4]]
    assert scored(box, probs).labels.tolist() == [1]
    silent = scored(box, probs, best_class_only=True)
    assert len(silent) == 0
    assert silent.candidate_label.tolist() == [0]
    assert len(silent.foreground_rows) == 0


def test_background_is_never_a_detection():
    found = scored([[10, 10, 50, 50]], [[1.0, 0.0, 0.0]])
    assert len(found) == 0
    assert found.confident_rows.tolist() == []


def test_a_score_has_to_exceed_the_threshold():
    """`>` in the box head, where the RPN has `>=`."""
    found = scored(
        [[0, 0, 9, 9], [50, 50, 90, 90]], [[0.5, 0.5], [0.25, 0.75]], score_threshold=0.5
    )
    assert found.proposal_index.tolist() == [1]


def test_suppression_stays_within_a_class_and_needs_more_than_the_threshold():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 6], [0, 0, 10, 10]]
    probs = [[0.0, 0.95, 0.05], [0.1, 0.9, 0.0], [0.2, 0.8, 0.0], [0.3, 0.0, 0.7]]
    found = scored(boxes, probs, nms_threshold=0.5, score_threshold=0.1)
    assert found.proposal_index.tolist() == [0, 1, 3]
    assert found.labels.tolist() == [1, 1, 2]


def test_a_suppressed_candidate_at_the_threshold_names_the_better_one_too():
    """torchvision moves the boxes of a class away from those of others, which rounds them."""
    corners = torch.rand((300, 2), generator=torch.Generator().manual_seed(0)) * 900
    probs = torch.zeros(2, 81)
    probs[:, 79] = torch.tensor([0.5, 0.4])
    probs[:, 0] = 1 - probs[:, 79]
    suppressed = []
    for i, corner in enumerate(corners):
        apart = 12.857 + (i - 150) * 6e-5  # (30 - 12.857) / (30 + 12.857) is 0.4
        boxes = torch.tensor([[0.0, 0, 30, 30], [apart, 0, 30 + apart, 30]]) + corner.repeat(2)
        found = detect(boxes, probs, torch.zeros(2, 81, 4), (1024, 1024), nms_threshold=0.4)
        if len(found) == 1:
            best, dropped = found.large_rows.tolist()
            assert found.suppressor(dropped) == best
            pair = found.clipped[found.large_rows]
            suppressed.append(box_iou(pair, pair)[0, 1].item())
    assert min(suppressed) < 0.4 < max(suppressed)


def test_a_box_clipped_to_nothing_is_dropped():
    found = scored([[-20, 5, -10, 50], [5, 5, 50, 50]], [[0.1, 0.9], [0.1, 0.9]])
    assert found.proposal_index.tolist() == [1]
    assert found.confident_rows.tolist() == [1, 3]
    assert found.large_rows.tolist() == [3]


def test_the_hundred_best_stay_and_the_others_can_still_be_seen():
    boxes = [
        [20 * (i % 40), 20 * (i // 40), 20 * (i % 40) + 9, 20 * (i // 40) + 9] for i in range(150)
    ]
    probs = [[1 - score, score] for score in torch.linspace(0.9, 0.3, 150).tolist()]
    found = scored(boxes, probs)
    assert len(found) == 100
    assert found.proposal_index.tolist() == list(range(100))
    assert len(found.nms_rows) == 150
    assert len(scored(boxes, probs, max_detections=150)) == 150


# --- the ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("best_class_only", [False, True])
def test_no_proposals_give_no_detections(best_class_only):
    found = detect(
        torch.zeros(0, 4),
        torch.zeros(0, 81),
        torch.zeros(0, 81, 4),
        SIZE,
        best_class_only=best_class_only,
    )
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.labels.shape == found.scores.shape == found.proposal_index.shape == (0,)


def test_nobody_reaches_the_threshold():
    found = scored([[0, 0, 10, 10]], [[0.99, 0.01]])
    assert len(found) == 0
    assert len(found.foreground_rows) == 1
    assert found.suppressor(1) is None, "it never took part"


def test_asking_about_a_candidate_that_does_not_exist():
    found = scored([[0, 0, 10, 10]], [[0.1, 0.9]])
    for row in (-1, 2):
        with pytest.raises(IndexError, match=f"candidate {row} does not exist"):
            found.suppressor(row)


def test_nothing_is_changed_in_place(random_boxes):
    arguments = random_boxes(20, SIZE), torch.rand(20, 4), torch.randn(20, 4, 4)
    before = [tensor.clone() for tensor in arguments]
    detect(*arguments, SIZE)
    assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))


# --- refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["probs", "deltas"])
def test_a_network_that_diverged_is_named(random_boxes, which):
    arguments = {"probs": torch.rand(3, 5), "deltas": torch.zeros(3, 5, 4)}
    arguments[which].view(-1)[7] = float("nan")
    with pytest.raises(ValueError, match="NaN; did the training diverge"):
        detect(random_boxes(3), **arguments, image_size=SIZE)


def test_proposals_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="proposals: expected finite"):
        detect(torch.full((1, 4), torch.inf), torch.rand(1, 3), torch.zeros(1, 3, 4), SIZE)


def test_shapes_that_do_not_fit_are_refused(refused, random_boxes):
    for rows, probs, deltas in [
        (3, (2, 5), (2, 5, 4)),
        (3, (3, 5), (3, 4, 4)),
        (3, (3, 5), (3, 20)),
        (3, (3, 5), (2, 1, 4)),
        (3, (3,), (3, 1, 4)),
    ]:
        with pytest.raises(refused):
            detect(random_boxes(rows), torch.rand(probs), torch.zeros(deltas), SIZE)
