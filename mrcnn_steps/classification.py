"""Stage 5, classification: what is in each proposal, and how to move its box for every class."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import roi_align

from mrcnn_steps.boxes import check_boxes

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
        ValueError: not finite boxes of shape [R, 4].
    """
    check_boxes(rois, "rois")
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
        ValueError: as many features, scales and rois, levels are needed.
    """
    check_boxes(rois, "rois")
    if len(features) != len(scales) or len(rois) != len(levels):
        raise ValueError(
            f"pool: {len(features)} features for {len(scales)} scales and {len(rois)} rois for "
            f"{len(levels)} levels; expected as many"
        )
    channels = features[0].shape[1]
    pooled = features[0].new_zeros((len(rois), channels, *output_size))
    batch = torch.zeros_like(rois[:, :1])
    indexed = torch.cat((batch, rois), dim=1)
    for level, (feature, scale) in enumerate(zip(features, scales, strict=True)):
        rows = (levels == level).nonzero().flatten()
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
        ValueError: a sampling ratio below 1, which depends on the RoI.
    """
    if sampling_ratio < 1:
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
    rows, classes = class_logits.shape
    if box_regression.shape not in {(rows, 4 * classes), (rows, 4)} or len(roi_level) != rows:
        raise ValueError(
            f"classify: {rows} proposals of {classes} classes need box_regression of shape "
            f"[{rows}, {4 * classes}] or [{rows}, 4] and {rows} levels; found "
            f"{list(box_regression.shape)} and {len(roi_level)}"
        )
    if class_logits.isnan().any() or box_regression.isnan().any():
        raise ValueError("classify: logits or deltas contain NaN; did the training diverge?")
    return Classification(
        roi_level=roi_level,
        logits=class_logits,
        probs=class_logits.softmax(dim=-1),
        deltas=box_regression.reshape(rows, box_regression.shape[1] // 4, 4),
    )
