"""Stage 5, classification: from which map each RoI is cut, how, and what the head says of it."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch.nn.functional import grid_sample
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from mrcnn_steps.classification import assign_levels, classify, pool, sample_points


def square(side):
    return torch.tensor([[10.0, 20.0, 10 + side, 20 + side]])


def feature_maps(size=(256, 320), channels=3, levels=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    strides = [4 * 2**level for level in range(levels)]
    return [
        torch.randn((1, channels, size[0] // stride, size[1] // stride), generator=generator)
        for stride in strides
    ], [1 / stride for stride in strides]


def looped_roi_align(feature, roi, scale, size, ratio):
    """RoIAlign with `aligned=False`, sample by sample (Mask R-CNN §3)."""
    _, height, width = feature.shape
    x1, y1, x2, y2 = (value * scale for value in roi.tolist())
    cell_height, cell_width = max(y2 - y1, 1) / size[0], max(x2 - x1, 1) / size[1]
    pooled = torch.zeros(feature.shape[0], *size)

    def read(y, x):
        if not (-1 <= y <= height and -1 <= x <= width):
            return torch.zeros(feature.shape[0])
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        down, across = y - top, x - left
        above = feature[:, top, left] * (1 - across) + feature[:, top, right] * across
        below = feature[:, bottom, left] * (1 - across) + feature[:, bottom, right] * across
        return above * (1 - down) + below * down

    for row in range(size[0]):
        for column in range(size[1]):
            for i in range(ratio):
                for j in range(ratio):
                    y = y1 + (row + (i + 0.5) / ratio) * cell_height
                    x = x1 + (column + (j + 0.5) / ratio) * cell_width
                    pooled[:, row, column] += read(y, x) / ratio**2
    return pooled


# --- levels ---------------------------------------------------------------------------------


def test_levels_are_torchvisions(random_boxes):
    boxes = random_boxes(5000, (1000, 1333), sides=(1, 1000))
    assert torch.equal(assign_levels(boxes), LevelMapper(2, 5)([boxes]))
    other = LevelMapper(3, 6, canonical_scale=100, canonical_level=5)([boxes])
    assert torch.equal(assign_levels(boxes, 3, 6, 100, 5), other)
    doubled = boxes.double()
    assert torch.equal(assign_levels(doubled), LevelMapper(2, 5)([doubled]))


@pytest.mark.parametrize(
    ("side", "level"), [(1, 0), (55, 0), (111, 0), (112, 1), (223, 1), (224, 2), (447, 2), (448, 3)]
)
def test_a_side_of_exactly_224_belongs_on_p4(side, level):
    """FPN eq. 1 with its floor; index 0 is P2. The clamp holds the rest on P2 to P5."""
    assert assign_levels(square(side)).tolist() == [level]
    assert assign_levels(square(5000)).tolist() == [3]


def test_a_hair_below_224_still_belongs_on_p4():
    """By rounding, a side meant to be 224 may be less; torchvision's 1e-6 forgives that."""
    side = 224 * (1 - 3e-7)
    assert math.floor(4 + math.log2(side / 224)) == 3
    roi = torch.tensor([[0.0, 0, side, side]], dtype=torch.float64)
    assert assign_levels(roi).tolist() == LevelMapper(2, 5)([roi]).tolist() == [4 - 2]


def test_the_level_is_the_floor_where_the_notes_round():
    side = 224 * 2**-0.4
    assert math.floor(4 + math.log2(side / 224)) == 3
    assert round(4 + math.log2(side / 224)) == 4
    assert assign_levels(square(side)).tolist() == [3 - 2]


@given(st.floats(1, 2000), st.floats(1, 2000))
def test_a_larger_roi_is_never_cut_from_a_finer_map(side, other):
    small, large = sorted((side, other))
    assert assign_levels(square(small)) <= assign_levels(square(large))


def test_only_the_area_counts():
    wide, tall = torch.tensor([[0.0, 0, 400, 100]]), torch.tensor([[0.0, 0, 100, 400]])
    assert assign_levels(wide) == assign_levels(tall) == assign_levels(square(200))


def test_an_roi_without_area_is_cut_from_the_finest_map():
    assert assign_levels(torch.tensor([[5.0, 5, 5, 9], [5, 5, 5, 5]])).tolist() == [0, 0]


def test_no_rois_have_no_levels():
    assert assign_levels(torch.zeros(0, 4)).shape == (0,)


# --- RoIAlign -------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "ratio"), [((7, 7), 2), ((14, 14), 2), ((3, 5), 1), ((7, 7), 0)])
def test_pooling_is_torchvisions_to_the_last_bit(random_boxes, size, ratio):
    features, scales = feature_maps()
    rois = random_boxes(300, (256, 320), sides=(1, 320))
    pooler = MultiScaleRoIAlign(["0", "1", "2", "3"], size, ratio)
    theirs = pooler(dict(zip("0123", features, strict=True)), [rois], [(256, 320)])
    assert pooler.scales == scales
    levels = assign_levels(rois)
    assert len(levels.unique()) == 3, "several maps have to be used"
    assert torch.equal(pool(features, rois, levels, scales, size, ratio), theirs)


def test_pooling_is_the_loops(random_boxes):
    features, scales = feature_maps((64, 80), levels=2)
    rois = random_boxes(6, (64, 80), sides=(2, 80))
    # Beyond the map, and thinner than a feature pixel.
    rois[0], rois[1] = torch.tensor([-20.0, 40, 30, 90]), torch.tensor([8.0, 8, 8.5, 40])
    levels = torch.tensor([0, 1, 0, 1, 0, 1])
    pooled = pool(features, rois, levels, scales, (4, 3), 2)
    for row, (roi, level) in enumerate(zip(rois, levels.tolist(), strict=True)):
        looped = looped_roi_align(features[level][0], roi, scales[level], (4, 3), 2)
        torch.testing.assert_close(pooled[row], looped, rtol=1e-4, atol=1e-5)


def test_half_a_pixel_off_like_all_of_torchvisions_r_cnns():
    """On a ramp whose value is each pixel's center, `aligned=False` reads half a pixel too far."""
    ramp = (torch.arange(16) + 0.5).expand(1, 1, 16, 16)
    roi = torch.tensor([[4.0, 4, 12, 12]])
    read = pool([ramp], roi, torch.tensor([0]), [1.0], (1, 1), 2)
    assert float(read) == pytest.approx(8 + 0.5)


def test_an_roi_is_at_least_one_feature_pixel():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    thin = torch.tensor([[4.0, 4, 4.25, 12], [4.0, 4, 5, 12]])
    read = pool([ramp], thin, torch.tensor([0, 0]), [1.0], (1, 1), 2)
    assert torch.equal(read[0], read[1])


def test_no_rois_are_pooled_to_nothing():
    features, scales = feature_maps()
    pooled = pool(features, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), scales)
    assert pooled.shape == (0, 3, 7, 7)


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_the_points_are_where_roi_align_reads(ratio):
    """Reading the map at the points with another tool and averaging gives what was pooled."""
    features, scales = feature_maps((128, 192), levels=1)
    roi = torch.tensor([30.0, 17, 130, 101])
    points = sample_points(roi, scales[0], (7, 5), ratio)
    assert points.shape == (7 * 5 * ratio**2, 2)
    height, width = 128, 192
    grid = points / torch.tensor([width, height]) * 2 - 1
    values = grid_sample(features[0], grid[None, None], align_corners=False)[0, :, 0]
    averaged = values.reshape(3, 7, ratio, 5, ratio).mean(dim=(2, 4))
    pooled = pool(features, roi[None], torch.tensor([0]), scales, (7, 5), ratio)
    torch.testing.assert_close(averaged, pooled[0], rtol=1e-4, atol=1e-5)


def test_points_need_a_fixed_number_of_them():
    with pytest.raises(ValueError, match="sampling_ratio: expected at least 1, found 0"):
        sample_points(torch.tensor([0.0, 0, 9, 9]), 1.0, sampling_ratio=0)


# --- what the head says ---------------------------------------------------------------------


def test_probabilities_labels_and_scores():
    logits = torch.tensor([[0.0, math.log(3), 0.0], [math.log(2), 0.0, 0.0]])
    deltas = torch.arange(24.0).reshape(2, 12)
    found = classify(logits, deltas, torch.tensor([0, 3]))
    torch.testing.assert_close(found.probs, torch.tensor([[0.2, 0.6, 0.2], [0.5, 0.25, 0.25]]))
    assert found.labels.tolist() == [1, 0], "background included"
    assert found.scores.tolist() == pytest.approx([0.6, 0.5])
    assert found.deltas[0, 1].tolist() == [4, 5, 6, 7], "four numbers for each class in turn"
    assert found.roi_level.tolist() == [0, 3]
    assert torch.equal(found.logits, logits)


@given(st.integers(0, 999), st.integers(0, 5), st.integers(1, 9), st.floats(0.1, 300))
def test_probabilities_add_up_to_one(seed, rows, classes, spread):
    logits = torch.randn((rows, classes), generator=torch.Generator().manual_seed(seed)) * spread
    found = classify(logits, torch.zeros(rows, 4 * classes), torch.zeros(rows, dtype=torch.int64))
    torch.testing.assert_close(found.probs.sum(dim=1), torch.ones(rows))
    assert found.deltas.shape == (rows, classes, 4)


def test_a_head_may_share_its_deltas_among_the_classes():
    found = classify(torch.zeros(5, 81), torch.ones(5, 4), torch.zeros(5, dtype=torch.int64))
    assert found.deltas.shape == (5, 1, 4)


# --- refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
def test_a_network_that_diverged_is_named(which):
    arguments = [torch.zeros(3, 5), torch.zeros(3, 20)]
    arguments[which][1, 2] = float("nan")
    with pytest.raises(ValueError, match="NaN; did the training diverge"):
        classify(*arguments, torch.zeros(3, dtype=torch.int64))


def test_shapes_that_do_not_fit_are_refused(refused):
    levels = torch.zeros(3, dtype=torch.int64)
    for logits, deltas in [((3, 5), (3, 16)), ((3, 5), (2, 20)), ((3,), (3, 4)), ((2, 5), (2, 20))]:
        with pytest.raises(refused):
            classify(torch.zeros(logits), torch.zeros(deltas), levels)


def test_rois_that_are_no_numbers_are_refused():
    features, scales = feature_maps()
    rois = torch.full((1, 4), float("nan"))
    with pytest.raises(ValueError, match="rois: expected finite"):
        assign_levels(rois)
    with pytest.raises(ValueError, match="rois: expected finite"):
        pool(features, rois, torch.tensor([0]), scales)


def test_as_many_scales_as_maps_and_levels_as_rois(refused, random_boxes):
    features, scales = feature_maps()
    rois = random_boxes(3, (256, 320))
    with pytest.raises(ValueError, match="4 features for 3 scales"):
        pool(features, rois, torch.zeros(3, dtype=torch.int64), scales[:3])
    with pytest.raises(refused):
        pool(features, rois, torch.zeros(2, dtype=torch.int64), scales)
