"""Fates: found, or the one step that lost the object."""

from dataclasses import replace

import pytest
import torch
from torchvision.ops import box_iou

from mrcnn_steps.data import Sample, sample
from mrcnn_steps.debug.candidates import GATES, refined_anchors
from mrcnn_steps.debug.fates import CAUSES, fates
from mrcnn_steps.detection import detect
from mrcnn_steps.model.network import GlobalRegionProposalNetwork
from mrcnn_steps.tracing import trace
from tests.debug.conftest import KINDS
from tests.debug.plain import plain_fates
from tests.debug.scenes import imagined, only, set_to


def check_equal(model, photo, score=None, tau=0.5):
    """Compare with the plain loops, object by object."""
    traced = trace(model, photo)
    everywhere = isinstance(model.rpn, GlobalRegionProposalNetwork)
    told = fates(traced, tau, score)
    expected = plain_fates(model, photo, everywhere, score, tau, traced.class_names)
    assert [(fate.cause, fate.kind) for fate in told if fate.cause not in ("rpn_nms", "nms")] == [
        (cause, kind) for cause, kind, _ in expected if cause not in ("rpn_nms", "nms")
    ]
    assert [fate.cause for fate in told] == [cause for cause, _, _ in expected]
    for fate, (_, _, box) in zip(told, expected, strict=True):
        # Anchors that were clipped to the same box tie.
        assert box is None or fate.evidence.box == pytest.approx(box.tolist(), abs=1e-3)
    return told


TIGHT = {
    "top_k": {"rpn.pre_nms_top_n": 60},
    "rpn_min_size": {"rpn.min_size": 120.0},
    "rpn_score": {"rpn.score_thresh": 0.6},
    "rpn_nms": {"rpn.nms_thresh": 0.05},
    "proposal_limit": {"rpn.post_nms_top_n": 12},
    "nms": {"roi_heads.nms_thresh": 0.02},
    "detection_limit": {"roi_heads.detections_per_img": 4},
    "class": {"roi_heads.score_thresh": 0.6},
}


class TestPlainLoopsAgree:
    """An independent telling of the definition gives the same cause for every object."""

    @pytest.mark.parametrize("name", KINDS)
    def test_on_models_of_every_kind(self, kind, people, name):
        model = kind(name)
        with set_to(model, {"rpn.post_nms_top_n": 200}):
            photo = imagined(model, people)
        with set_to(model, {"rpn.post_nms_top_n": 80, "roi_heads.nms_thresh": 0.3}):
            told = check_equal(model, photo)
        assert len({fate.cause for fate in told}) > 1

    @pytest.mark.parametrize("cause", TIGHT)
    def test_at_settings_that_make_a_gate_lose_objects(self, bundled, people, cause):
        """Each gate in turn is made so tight that it is named as the cause."""
        with set_to(bundled, TIGHT[cause]):
            assert cause in {fate.cause for fate in check_equal(bundled, people)}

    @pytest.mark.parametrize(
        ("name", "score", "tau"), [("horses", 0.5, 0.5), ("wine", 0.2, 0.75), ("coffee", None, 0.3)]
    )
    def test_on_photos_at_other_thresholds(self, bundled, name, score, tau):
        check_equal(bundled, sample(name), score, tau)


class TestWhatHoldsOfAll:
    def test_every_object_has_one_fate(self, traced):
        told = fates(traced)
        assert [fate.object for fate in told] == list(range(len(traced.ground_truth.boxes)))
        assert [fate.sample_object for fate in told] == traced.ground_truth.objects.tolist()
        assert all(fate.found or fate.cause in CAUSES for fate in told)

    def test_the_able_candidates_get_fewer_from_gate_to_gate(self, traced):
        for fate in fates(traced):
            counts = list(fate.evidence.reached.values())
            assert counts == sorted(counts, reverse=True)
            if fate.cause in GATES:
                place = GATES.index(fate.cause)
                assert counts[place] > 0
                assert not any(counts[place + 1 :])

    def test_a_higher_threshold_is_as_if_the_model_were_set_to_it(self, traced, bundled, people):
        with set_to(bundled, {"roi_heads.score_thresh": 0.4}):
            assert fates(trace(bundled, people)) == fates(traced, score_threshold=0.4)

    def test_it_does_not_matter_in_which_order_objects_are_annotated(self, traced, bundled, people):
        order = torch.randperm(len(people.labels), generator=torch.Generator().manual_seed(1))
        shuffled = fates(trace(bundled, only(people, order)))
        verdicts = {int(order[fate.object]): (fate.cause, fate.kind) for fate in shuffled}
        assert verdicts == {fate.object: (fate.cause, fate.kind) for fate in fates(traced)}

    def test_without_objects_there_are_none(self, bundled, people):
        assert fates(trace(bundled, people.image)) == ()
        crowds = replace(people, crowd=torch.ones_like(people.crowd))
        assert fates(trace(bundled, crowds)) == ()

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"iou": 0.0}, "iou: expected above 0"),
            ({"iou": 1.5}, "iou: expected above 0 and up to 1, found 1.5"),
            ({"score_threshold": 0.01}, "score_threshold: expected from 0.05"),
            ({"score_threshold": float("nan")}, "found nan"),
        ],
    )
    def test_thresholds_that_cannot_be_judged_at(self, traced, wrong, said):
        with pytest.raises(ValueError, match=said):
            fates(traced, **wrong)


class TestUnknownClass:
    def test_it_is_a_fate_of_its_own_and_comes_last(self, kind, people):
        """The model of one class knows persons only."""
        with pytest.warns(UserWarning, match="12 objects left out"):
            traced = trace(kind("one_class"), people)
        told = fates(traced)
        names = [people.class_names[label] for label in people.labels.tolist()]
        assert sorted(fate.sample_object for fate in told) == list(range(len(names)))
        assert [fate.object for fate in told] == list(range(len(names)))
        for fate in told:
            assert fate.name == names[fate.sample_object]
            assert (fate.cause == "unknown class") == (fate.name != "person")
        causes = [fate.cause == "unknown class" for fate in told]
        assert causes == sorted(causes)


class TestPuttingACandidateBack:
    """By hand: kept where it was dropped, an able candidate finds the object."""

    @pytest.mark.parametrize("cause", ["top_k", "rpn_nms", "proposal_limit", "rpn_score"])
    def test_an_able_candidate_of_the_rpn_is_a_detection(self, bundled, people, cause):
        with set_to(bundled, TIGHT[cause]):
            traced = trace(bundled, people)
            lost = [fate for fate in fates(traced) if fate.cause == cause]
            assert lost
            for fate in lost:
                check_put_back(traced, fate)

    def test_no_candidate_helps_where_the_heads_are_to_blame(self, traced):
        """Whatever was dropped, put back one by one: none is over the score and on the object."""
        lost = [fate for fate in fates(traced) if fate.cause in ("class", "box")]
        assert {fate.cause for fate in lost} == {"class", "box"}
        refined = refined_anchors(traced)
        for fate in lost:
            box = traced.ground_truth.boxes[fate.object, None]
            label = int(traced.ground_truth.labels[fate.object])
            near = (box_iou(refined, box)[:, 0] >= 0.5).nonzero().flatten()
            said = traced.classify(torch.cat((refined[near], traced.proposals.boxes)))
            boxes = torch.cat((refined[near], traced.proposals.boxes))
            found = detect(boxes, said.probs, said.deltas, traced.image_size, 0.05, 1.0, 10**6)
            right = found.boxes[found.labels == label]
            assert not len(right) or box_iou(right, box).max() < 0.5


def check_put_back(traced, fate):
    """Give the second stage the one box that the verdict is about, and nothing else."""
    box = torch.tensor([fate.evidence.box])
    label = int(traced.ground_truth.labels[fate.object])
    said = traced.classify(box)
    found = detect(box, said.probs, said.deltas, traced.image_size, 0.05)
    own = traced.ground_truth.boxes[fate.object, None]
    assert box_iou(found.boxes[found.labels == label], own).max() >= 0.5


class TestCraftedTraces:
    """A trace whose annotations are moved so that the cause can be told by hand."""

    @staticmethod
    def annotated(traced, boxes, labels):
        """The fates of other objects on the same photo."""
        truth, count = traced.ground_truth, len(boxes)
        changed = replace(
            truth,
            boxes=boxes,
            labels=labels,
            objects=truth.objects[:count],
            masks=truth.masks[:count],
        )
        return fates(replace(traced, ground_truth=changed), score_threshold=0.8)

    def test_no_anchor_is_as_flat(self, traced):
        box = torch.tensor([[0.0, 500.0, 1024.0, 503.0]])
        [fate] = self.annotated(traced, box, torch.tensor([1]))
        assert (fate.cause, fate.stage) == ("anchors", "anchors")
        assert fate.evidence.value < fate.evidence.threshold == 0.3

    def test_the_rpn_moves_no_anchor_onto_it(self, traced):
        """Pillars of air, which some anchors cover by more than 0.3."""
        x, y = torch.meshgrid(torch.arange(0, 960, 40), torch.arange(180, 600, 40), indexing="ij")
        corner = torch.stack((x, y), dim=-1).reshape(-1, 2).float()
        pillars = torch.cat((corner, corner + torch.tensor([48.0, 200.0])), dim=1)
        far = box_iou(refined_anchors(traced), pillars).amax(dim=0) < 0.5
        near = box_iou(traced.anchors.boxes, pillars).amax(dim=0) >= 0.3
        assert (far & near).any()
        [fate] = self.annotated(traced, pillars[far & near][:1], torch.tensor([1]))
        assert (fate.cause, fate.stage) == ("rpn_box", "proposals")
        assert fate.evidence.best_anchor_iou >= 0.3
        assert fate.evidence.value < fate.evidence.threshold == 0.5

    def test_two_objects_upon_each_other_share_one_detection(self, traced):
        box, label = traced.detections.boxes[0], traced.detections.labels[0]
        first, second = self.annotated(traced, box.repeat(2, 1), label.repeat(2))
        assert second.evidence.detection == first.evidence.detection == 0
        assert first.cause == "merged"
        assert first.evidence.merged_with == 1


def test_a_photo_of_three_hundred_objects(kind, people):
    """Each has one fate, whether the model knows them or not."""
    corner = torch.stack(torch.meshgrid(torch.arange(20), torch.arange(15), indexing="ij"), dim=-1)
    masks = torch.zeros((300, *people.image.shape[1:]), dtype=torch.bool)
    for mask, (x, y) in zip(masks, corner.reshape(-1, 2).tolist(), strict=True):
        mask[y * 24 : y * 24 + 30, x * 24 : x * 24 + 30] = True
    crowded = Sample.from_masks(
        image=people.image,
        masks=masks,
        labels=1 + torch.arange(300) % 4,
        crowd=torch.zeros(300, dtype=torch.bool),
        class_names=kind("boxes_only").class_names,
        name="crowded",
    )
    told = fates(trace(kind("boxes_only"), crowded))
    assert [fate.sample_object for fate in told] == list(range(300))
    assert len({fate.cause for fate in told}) > 2
