"""Advice is proved on photos that it was not made of, and its line is ready to paste."""

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator

from mrcnn_steps.debug import coverage
from mrcnn_steps.debug.coverage.fit import best_ious
from mrcnn_steps.debug.coverage.objects import place, read_objects
from mrcnn_steps.debug.coverage.search import AnchorSet, loss, scene
from mrcnn_steps.debug.coverage.shares import shares
from mrcnn_steps.tracing import trace
from tests.debug.coverage.scenes import one_map, photo, photos

# Objects of 64 to 128 pixels.
SIDE = 90.0
PLANTED = (0.4 * 64, 0.4 * 90, 0.4 * 128)


@pytest.fixture(scope="module")
def samples():
    return photos(40, 4, SIDE)


@pytest.fixture(scope="module")
def misfit(samples):
    """Anchors of two fifths of the size that these objects need."""
    return coverage(one_map(*PLANTED), samples)


@pytest.fixture(scope="module")
def held(samples):
    """The photos that the proof is made on; seed 0 chooses the halves."""
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    return [samples[index] for index in order[20:].tolist()]


def measured(model, samples):
    """Coverage without advice."""
    placed = place(model, read_objects(samples))
    iou, _ = best_ious(model.rpn.anchor_generator, next(model.parameters()), placed)
    return shares(iou)


def test_a_planted_misfit_is_told_and_mended(misfit):
    assert misfit.overall.shares.half < 0.3
    assert (misfit.overall.by_shape, misfit.overall.by_grid) == (117, 0)
    assert [each.change for each in misfit.advice] == [
        "as many a cell",
        "one ratio more",
        "one octave more",
    ]
    for each in misfit.advice:
        assert each.shares.half > 0.95
        assert each.shares.loss < misfit.advised.now.shares.loss


def test_the_proof_is_made_on_the_other_half_with_the_very_line(misfit, held):
    assert (misfit.advised.learned, misfit.advised.proved) == (20, 20)
    model = one_map(*PLANTED)
    assert same(measured(model, held), misfit.advised.now.shares)
    for each in misfit.advice:
        model.rpn.anchor_generator = eval(each.line)
        assert same(measured(model, held), each.shares)


def same(found, expected):
    """The order of the photos rounds a sum otherwise."""
    return (found.objects, found.covered) == (expected.objects, expected.covered) and (
        found.loss == pytest.approx(expected.loss)
    )


def test_the_cost_of_each_set(misfit):
    """As many a cell loses no weights; a ratio or a size more makes 12 or 18 of nine anchors."""
    same, ratio, octave = misfit.advice
    cells = 16 * 20
    assert [each.anchors for each in (misfit, *misfit.advice)] == [
        9 * cells,
        9 * cells,
        12 * cells,
        12 * cells,
    ]
    assert (same.loses, same.code) == ((), (f"model.rpn.anchor_generator = {same.line}",))
    assert dict(ratio.loses) == {"rpn.head.cls_logits": 12, "rpn.head.bbox_pred": 48}
    assert "loses the weights of rpn.head.cls_logits and rpn.head.bbox_pred" in octave.cost


def test_the_pasted_code_gives_a_model_that_runs(misfit, samples):
    for each in misfit.advice:
        model = one_map(*PLANTED)
        for line in each.code:
            exec(line, {"model": model, "torch": torch, "AnchorGenerator": AnchorGenerator})
        assert len(trace(model, samples[0]).anchors) == each.anchors


def test_larger_inputs_are_measured_on_the_same_photos(misfit, held):
    assert [each.change for each in misfit.advised.enlarged] == ["input × 1.5", "input × 2"]
    double = one_map(*PLANTED)
    double.transform.min_size, double.transform.max_size = (480,), 640
    assert same(measured(double, held), misfit.advised.enlarged[1].shares)
    assert misfit.advised.enlarged[1].anchors == 9 * 30 * 40


def test_the_same_data_give_the_same_advice(misfit, samples):
    assert coverage(one_map(*PLANTED), samples).advised == misfit.advised


def test_anchors_that_fit_are_left_alone():
    found = coverage(one_map(80, 100, 120), photos(6, 4, SIDE))
    assert found.overall.shares.half >= 0.98
    assert (found.advice, found.advised.enlarged) == ((), ())
    assert "fit well enough" in found.advised.reason
    assert "No advice: C(0.5) is 1.000" in found.table()


def test_one_photo_has_no_half_to_prove_anything_on():
    found = coverage(one_map(8), photos(1, 5, SIDE))
    assert found.advice == ()
    assert "no two photos with objects" in found.advised.reason


def test_what_helps_only_the_photos_it_was_made_of_is_not_advised():
    """Two photos of which neither tells about the other: the one to learn from is all small."""
    small, large = torch.tensor([[40.0, 40, 44, 44]]), torch.tensor([[20.0, 10, 140, 190]])
    for seed in (0, 1):
        choice = torch.Generator().manual_seed(seed)
        first = torch.randperm(2, generator=torch.Generator().manual_seed(seed))[0]
        samples = [photo(large), photo(large)]
        samples[int(first)] = photo(small)
        found = coverage(one_map(120, ratios=(1.5,)), samples, generator=choice)
        assert found.advised.now.shares.half == 1
        assert found.advice == ()
        assert "does better on photos that it was not made of" in found.advised.reason


def test_the_searchs_loss_is_that_of_the_anchors_themselves(samples):
    """It compares shapes with the nearest cell; nothing but rounding sets it apart."""
    model = one_map(20, 70, 200)
    placed = place(model, read_objects(samples))
    like, generator = next(model.parameters()), torch.Generator().manual_seed(0)
    seen = scene(model.rpn.anchor_generator, like, placed, generator)
    own = AnchorSet(((20, 70, 200),), (0.5, 1.0, 2.0))
    assert loss(own, seen) == pytest.approx(measured(model, samples).loss, rel=1e-4)
    assert eval(own.line).num_anchors_per_location() == [9]
