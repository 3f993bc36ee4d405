"""Stage 5, classification: what is in each proposal, and how to move its box for every class."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import roi_align

from mrcnn_steps.boxes import check_boxes
from mrcnn_steps.checks import (
    DIVERGED,
    INDEX,
    MOST_SAMPLES,
    check_floats,
    check_image_size,
    check_indices,
    check_list,
    check_no_nan,
    check_positive,
    check_same_dtype,
    check_sampled,
    check_tensor,
    check_whole,
)

# torchvision adds this in the boxes' own precision, so that an RoI of exactly 224 pixels does not
# fall to the level below by rounding.
LEVEL_EPSILON = 1e-6


@dataclass(frozen=True, eq=False)
class Classification:
    """The box head's answer for every proposal; row r belongs to proposal r.

    Attributes:
        roi_level: [R] index of the feature map each RoI was pooled from, 0 is the finest.
        logits: [R, C] class scores before the softmax.
        probs: [R, C] class probabilities, rows add up to 1; class 0 is background.
        deltas: [R, C, 4] a delta for every class ([R, 1, 4] if the head shares one).
    """

    roi_level: Int[Tensor, "R"]
    logits: Float[Tensor, "R C"]
    probs: Float[Tensor, "R C"]
    deltas: Float[Tensor, "R D 4"]

    @property
    def labels(self) -> Int[Tensor, "R"]:
        """The most probable class of each proposal, background included."""
        return self.probs.argmax(dim=1)

    @property
    def scores(self) -> Float[Tensor, "R"]:
        """The probability of that class, 0…1."""
        return self.probs.amax(dim=1)


def assign_levels(
    rois: Float[Tensor, "R 4"],
    first_level: int = 2,
    last_level: int = 5,
    canonical_size: float = 224,
    canonical_level: int = 4,
) -> Int[Tensor, "R"]:
    """Choose the pyramid level each RoI is pooled from (FPN eq. 1).

    `k = ⌊k0 + log2(√(w h) / 224)⌋`, clamped to the levels there are: large RoIs from coarse maps,
    small ones from fine maps. The notes round where torchvision takes the floor.

    Args:
        rois: [R, 4] in pixels of the network's input.
        first_level: the finest level k, whose stride is `2 ** first_level`.
        last_level: the coarsest level k.
        canonical_size: side in pixels of an RoI that belongs on `canonical_level`; 224 is the
            size of ImageNet's crops.
        canonical_level: k0.

    Returns:
        [R] `k - first_level`: the index of the feature map, 0 is the finest.

    Raises:
        ValueError: not finite boxes of shape [R, 4] with x1 ≤ x2 and y1 ≤ y2, or levels that are
            no whole numbers.
    """
    check_boxes(rois, "rois", ordered=True)
    check_positive(canonical_size, "canonical_size")
    check_whole(canonical_level, "canonical_level")
    check_whole(first_level, "first_level")
    check_whole(last_level, "last_level", least=first_level)
    side = torch.sqrt((rois[:, 2] - rois[:, 0]) * (rois[:, 3] - rois[:, 1]))
    epsilon = torch.tensor(LEVEL_EPSILON, dtype=side.dtype)
    level = torch.floor(canonical_level + torch.log2(side / canonical_size) + epsilon)
    return level.clamp(first_level, last_level).to(torch.int64) - first_level


def pool(
    features: Sequence[Float[Tensor, "1 channels _ _"]],
    rois: Float[Tensor, "R 4"],
    levels: Int[Tensor, "R"],
    scales: Sequence[float],
    output_size: tuple[int, int] = (7, 7),
    sampling_ratio: int = 2,
) -> Float[Tensor, "R channels h w"]:
    """Cut each RoI out of its feature map by bilinear sampling (RoIAlign, Mask R-CNN §3).

    As in torchvision's R-CNNs the sampling is `aligned=False`: half a feature pixel off the exact
    position, and an RoI is at least 1×1 feature pixels. Weights trained so need it so.

    Args:
        features: the feature map of each level, [1, channels, H, W].
        rois: [R, 4] in pixels of the network's input.
        levels: [R] index of the map to cut each RoI from.
        scales: feature pixels per input pixel of each level, such as 1/4.
        output_size: `(h, w)` samples of an RoI.
        sampling_ratio: points averaged per sample in each direction; 0 or less adapts to the RoI.

    Returns:
        [R, channels, h, w].

    Raises:
        ValueError: as many features, scales and rois, levels are needed; or shapes that do not fit
            together.
    """
    check_boxes(rois, "rois")
    check_list(features, "features")
    check_list(scales, "scales")
    check_tensor(levels, "levels", INDEX, ("R",))
    if len(features) != len(scales) or len(rois) != len(levels):
        raise ValueError(
            f"pool: {len(features)} features for {len(scales)} scales and {len(rois)} rois for "
            f"{len(levels)} levels; expected as many"
        )
    check_indices(levels, "levels", len(rois), len(features))
    height, width = check_image_size(output_size, "output_size", MOST_SAMPLES)
    check_whole(sampling_ratio, "sampling_ratio", least=-1)
    channels = 0
    for feature, scale in zip(features, scales, strict=True):
        check_floats(feature, "features", (1, channels or "C", "H", "W"), for_native_code=True)
        channels = feature.shape[1]
        check_same_dtype(feature, "features", rois, "rois")
        check_positive(scale, "scales")
    pooled = rois.new_zeros((len(rois), channels, height, width))
    batch = torch.zeros_like(rois[:, :1])
    indexed = torch.cat((batch, rois), dim=1)
    for level, (feature, scale) in enumerate(zip(features, scales, strict=True)):
        rows = (levels == level).nonzero().flatten()
        if sampling_ratio < 1:
            check_sampled(rois[rows] * scale, "rois")
        pooled[rows] = roi_align(feature, indexed[rows], output_size, scale, sampling_ratio)
    return pooled


def sample_points(
    roi: Float[Tensor, "4"],
    scale: float,
    output_size: tuple[int, int] = (7, 7),
    sampling_ratio: int = 2,
) -> Float[Tensor, "points 2"]:
    """Compute where RoIAlign reads the feature map for one RoI.

    Args:
        roi: [4] in pixels of the network's input.
        scale: feature pixels per input pixel.
        output_size: `(h, w)` samples of the RoI.
        sampling_ratio: points per sample in each direction, at least 1.

    Returns:
        [h · w · ratio², 2] points `(x, y)` in pixels of the network's input, row by row.

    Raises:
        ValueError: the RoI is not finite or not of shape [4], a scale that is not above 0, or a
            sampling ratio below 1, which depends on the RoI.
    """
    check_floats(roi, "roi", (4,))
    check_boxes(roi[None], "roi")
    check_positive(scale, "scale")
    check_image_size(output_size, "output_size", MOST_SAMPLES)
    if not isinstance(sampling_ratio, int) or sampling_ratio < 1:
        raise ValueError(f"sampling_ratio: expected at least 1, found {sampling_ratio}")
    x1, y1, x2, y2 = (roi * scale).tolist()
    height, width = max(y2 - y1, 1.0), max(x2 - x1, 1.0)
    rows, columns = (size * sampling_ratio for size in output_size)
    y = y1 + (torch.arange(rows) + 0.5) * height / rows
    x = x1 + (torch.arange(columns) + 0.5) * width / columns
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    # `aligned=False` reads position p as the center of feature pixel p, which lies at p + ½.
    points = (torch.stack((grid_x, grid_y), dim=-1).reshape(-1, 2) + 0.5) / scale
    return points.to(roi)


def classify(
    class_logits: Float[Tensor, "R C"],
    box_regression: Float[Tensor, "R D4"],
    roi_level: Int[Tensor, "R"],
) -> Classification:
    """Read the box head's two outputs (Fast R-CNN §2.1).

    Args:
        class_logits: [R, C] class scores, background first.
        box_regression: [R, 4 C], four deltas for every class, or [R, 4] shared by all classes.
        roi_level: [R] index of the feature map each RoI was pooled from.

    Returns:
        Probabilities and deltas by proposal and class.

    Raises:
        ValueError: shapes that do not fit together, or NaN.
    """
    check_floats(class_logits, "class_logits", ("R", "C"))
    check_floats(box_regression, "box_regression")
    rows, classes = class_logits.shape
    if box_regression.shape not in {(rows, 4 * classes), (rows, 4)}:
        raise ValueError(
            f"classify: {rows} proposals of {classes} classes need box_regression of shape "
            f"[{rows}, {4 * classes}] or [{rows}, 4], found {list(box_regression.shape)}"
        )
    check_tensor(roi_level, "roi_level", INDEX, (rows,))
    if classes == 0:
        raise ValueError("class_logits: expected at least the background, found no class")
    probs = class_logits.softmax(dim=-1)
    # Also where logits are infinite.
    check_no_nan(probs, "class_logits", DIVERGED)
    check_no_nan(box_regression, "box_regression", DIVERGED)
    return Classification(
        roi_level=roi_level,
        logits=class_logits,
        probs=probs,
        deltas=box_regression.reshape(rows, box_regression.shape[1] // 4, 4),
    )
