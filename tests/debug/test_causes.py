"""Causes made to happen on purpose, on crafted traces and on models that were set otherwise."""

from dataclasses import replace

import pytest
import torch
from torchvision.ops import box_iou

from mrcnn_steps.debug import explain_missed, fates
from mrcnn_steps.debug.candidates import Survey
from mrcnn_steps.detection import detect
from mrcnn_steps.tracing import trace
from tests.debug.plain import ORDER
from tests.debug.scenes import imagined, only, set_to


@pytest.fixture(scope="module")
def model(kind):
    return kind("boxes_only")


@pytest.fixture(scope="module")
def scene(model, people):
    return imagined(model, people, 8, found_only=True)


def detected(traced, **settings):
    """A trace whose detections are chosen otherwise."""
    answer = traced.classification
    return traced.with_detections(
        detect(traced.proposals, answer.probs, answer.deltas, traced.image_size, **settings)
    )


class TestMinSize:
    """torchvision drops detections below a hundredth of a pixel; here the size is raised."""

    @pytest.mark.parametrize("untrained", [True, False])
    def test_a_size_above_the_detection_loses_it(self, model, scene, bundled, traced, untrained):
        before = trace(model, scene) if untrained else traced
        found = [fate for fate in fates(before) if fate.found]
        sides = {
            fate.object: min(
                fate.evidence.moved[2] - fate.evidence.moved[0],
                fate.evidence.moved[3] - fate.evidence.moved[1],
            )
            for fate in found
        }
        least = max(sides.values()) + 1e4
        after = detected(before, min_size=least)
        told = {fate.object: fate for fate in fates(after)}
        for object in sides:
            fate = told[object]
            assert (fate.cause, fate.stage) == ("min_size", "detection")
            assert fate.evidence.value < fate.evidence.threshold == least
        assert "No setting brings it back: training" in str(
            explain_missed(after, next(iter(sides)))
        )


class TestMask:
    def test_masks_turned_inside_out(self, traced):
        """The boxes stay, and every mask becomes what it is not."""
        inside_out = replace(traced, mask_logits=-traced.mask_logits)
        for before, after in zip(fates(traced), fates(inside_out), strict=True):
            if before.found:
                assert (after.cause, after.stage) == ("mask", "masks")
                assert after.evidence.mask_iou < 0.5
                assert after.evidence.detection == before.evidence.detection
            elif before.cause != "mask":
                assert after.cause == before.cause

    def test_annotated_masks_that_are_empty_but_for_a_corner(self, traced):
        masks = torch.zeros_like(traced.sample.masks)
        masks[:, 0, 0] = True
        corner = replace(traced, sample=replace(traced.sample, masks=masks))
        for before, after in zip(fates(traced), fates(corner), strict=True):
            assert (after.cause == "mask") == (before.cause in ("found", "mask"))

    def test_without_annotated_masks_a_box_is_enough(self, traced):
        boxes_only = replace(traced, sample=replace(traced.sample, masks=None))
        for before, after in zip(fates(traced), fates(boxes_only), strict=True):
            assert after.found == (before.cause in ("found", "mask"))
            assert after.found or after.cause == before.cause
            assert after.evidence.mask_iou is None


class TestBox:
    @pytest.mark.parametrize("untrained", [True, False])
    def test_deltas_that_move_every_box_by_its_own_width(self, model, scene, traced, untrained):
        """The classes stay right, and no box is where its object is."""
        before = trace(model, scene) if untrained else traced
        head = before.model.roi_heads.box_predictor.bbox_pred
        bias = head.bias.detach().clone()
        bias.view(-1, 4)[:, 0] += 10 * before.model.roi_heads.box_coder.weights[0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(head.bias, "data", bias)
            after = fates(trace(before.model, before.sample))
        wide = [fate for fate in after if fate.cause == "box"]
        assert wide
        for fate in wide:
            assert fate.stage == "classification"
            assert fate.evidence.moved_iou < 0.5
            assert fate.evidence.probability > before.detections.score_threshold


class TestPutBack:
    """By hand: a candidate that the detection stage dropped is let in again, and finds."""

    @pytest.mark.parametrize(
        ("cause", "settings"),
        [
            ("nms", {"roi_heads.nms_thresh": 0.02}),
            ("detection_limit", {"roi_heads.detections_per_img": 2}),
        ],
    )
    def test_an_able_candidate_of_the_detection_stage(self, model, scene, cause, settings):
        with set_to(model, settings):
            traced = trace(model, scene)
        lost = [fate for fate in fates(traced) if fate.cause == cause]
        assert lost
        found, truth = traced.detections, traced.ground_truth
        for fate in lost:
            label = int(truth.labels[fate.object])
            [row] = (
                (found.candidate_proposal == fate.evidence.proposal)
                & (found.candidate_label == label)
            ).nonzero()
            assert row not in found.rows
            # Alone with the other objects' detections it finds its own.
            rows = torch.cat((row, found.rows))
            rows = rows[found.candidate_score[rows].argsort(descending=True, stable=True)]
            back = traced.with_detections(replace(found, rows=rows))
            own = truth.boxes[fate.object, None]
            assert box_iou(found.clipped[row], own) >= 0.5
            assert fates(back)[fate.object].found


class TestAgainstPlainCounts:
    """What the evidence counts, counted again candidate by candidate."""

    def test_reached_and_runner_up(self, model, scene):
        with set_to(model, {"roi_heads.nms_thresh": 0.1, "rpn.post_nms_top_n": 60}):
            traced = trace(model, scene)
        order = list(ORDER)
        lost = [fate for fate in fates(traced) if fate.cause in order]
        assert {fate.evidence.runner_up for fate in lost} - {None}
        for fate in lost:
            candidates = Survey(traced, [fate.object], 0.5, 0.05).of(fate.object)
            ends = [
                plain_gate(traced, anchor, int(traced.ground_truth.labels[fate.object]))
                for anchor, able in zip(candidates.anchor, candidates.able, strict=True)
                if able
            ]
            places = sorted(order.index(end) for end in ends)
            assert fate.evidence.reached == {
                name: sum(end >= place for end in places) for place, name in enumerate(order)
            }
            assert fate.cause == order[places[-1]]
            earlier = [place for place in places if place < places[-1]]
            if earlier:
                assert fate.evidence.runner_up == order[earlier[-1]]
            else:
                assert fate.evidence.runner_up in (None, "box", "class")

    @pytest.mark.parametrize("settings", [{"roi_heads.nms_thresh": 0.02}, {"rpn.nms_thresh": 0.05}])
    def test_kinds_of_suppressors(self, bundled, people, settings):
        with set_to(bundled, settings):
            traced = trace(bundled, people)
        truth = traced.ground_truth
        seen = [fate for fate in fates(traced) if fate.evidence.suppressor is not None]
        assert len({fate.kind for fate in seen}) > 1
        for fate in seen:
            rival = fate.evidence.suppressor
            overlap = box_iou(torch.tensor([rival.box]), truth.boxes)[0]
            if rival.object is None:
                assert fate.kind == "background"
                assert overlap.max() < 0.1
            else:
                same = rival.object == fate.object
                assert fate.kind == ("same object" if same else "another object")
                assert rival.object_iou == pytest.approx(float(overlap[rival.object]), abs=1e-5)


def plain_gate(traced, anchor, label):
    """Where a candidate ended, by looking through the rows of each filter in turn."""
    proposals, found = traced.proposals, traced.detections
    places = (proposals.top_index == anchor).nonzero().flatten().tolist()
    if not places:
        return "top_k"
    for gate, rows in (
        ("rpn_min_size", proposals.large_rows),
        ("rpn_score", proposals.scored_rows),
        ("rpn_nms", proposals.nms_rows),
        ("proposal_limit", proposals.rows),
    ):
        if places[0] not in rows.tolist():
            return gate
    proposal = proposals.anchor_index.tolist().index(int(anchor))
    pairs = list(
        zip(found.candidate_proposal.tolist(), found.candidate_label.tolist(), strict=True)
    )
    row = pairs.index((proposal, label))
    for gate, rows in (
        ("min_size", found.large_rows),
        ("nms", found.nms_rows),
        ("detection_limit", found.rows),
    ):
        if row not in rows.tolist():
            return gate
    return "merged"


def test_where_a_proposal_speaks_for_its_best_class_only(traced):
    """As in the notes: a class that is not a proposal's best is not said of it."""
    notes = detected(traced, best_class_only=True, score_threshold=0.05, nms_threshold=0.4)
    labels = notes.classification.labels
    for fate in fates(notes):
        own = int(notes.ground_truth.labels[fate.object])
        if fate.evidence.reached.get("top_k", 0):
            assert fate.evidence.winner == own
        if fate.found:
            assert labels[fate.evidence.proposal] == own


def test_classes_that_share_a_delta(kind, people):
    """A head that says one delta for all classes; the same as if it had said it for each."""
    agnostic = kind("class_agnostic")
    photo = only(imagined(agnostic, people, 8), range(8))
    each = trace(agnostic, photo)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agnostic.roi_heads.box_predictor, "repeats", 1)
        said = each.classification
        shared = replace(each, classification=replace(said, deltas=said.deltas[:, :1]))
        one = [(fate.cause, fate.kind) for fate in fates(shared)]
    assert one == [(fate.cause, fate.kind) for fate in fates(each)]
