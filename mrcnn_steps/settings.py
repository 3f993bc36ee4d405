"""What a torchvision R-CNN is set to: the only reader of its internals.

Each stage takes its settings as keyword arguments; here they are read from a model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.anchors import Anchors
from mrcnn_steps.class_names import check_class_names
from mrcnn_steps.data import COCO_CLASSES, Sample
from mrcnn_steps.model.network import GlobalRegionProposalNetwork


def proposal_settings(model: FasterRCNN, anchors: Anchors) -> dict:
    """Read the settings of the proposal stage from a model.

    Args:
        model: any.
        anchors: the anchors of the image, whose levels torchvision filters one by one.

    Returns:
        Keyword arguments for `propose`.
    """
    rpn = model.rpn
    over_all_levels = isinstance(rpn, GlobalRegionProposalNetwork)
    return {
        "level_sizes": None if over_all_levels else [grid.count for grid in anchors.grids],
        # What `pre_nms_top_n()` gives depends on the mode, and a trace is always one of eval mode.
        "pre_nms_top_n": rpn._pre_nms_top_n["testing"],
        "post_nms_top_n": rpn._post_nms_top_n["testing"],
        "nms_threshold": rpn.nms_thresh,
        "min_size": rpn.min_size,
        "score_threshold": rpn.score_thresh,
    }


def detection_settings(model: FasterRCNN) -> dict:
    """Read the settings of the detection stage from a model.

    Args:
        model: any.

    Returns:
        Keyword arguments for `detect`.
    """
    heads = model.roi_heads
    return {
        "score_threshold": heads.score_thresh,
        "nms_threshold": heads.nms_thresh,
        "max_detections": heads.detections_per_img,
        "weights": tuple(heads.box_coder.weights),
    }


def rpn_training_settings(model: FasterRCNN) -> dict:
    """Read which anchors the RPN of a model is trained on.

    Args:
        model: any.

    Returns:
        Keyword arguments for `rpn_targets.build`: `positive_iou`, `negative_iou`, `count` and
        `positive_fraction`.
    """
    matcher, sampler = model.rpn.proposal_matcher, model.rpn.fg_bg_sampler
    return {
        "positive_iou": matcher.high_threshold,
        "negative_iou": matcher.low_threshold,
        "count": sampler.batch_size_per_image,
        "positive_fraction": sampler.positive_fraction,
    }


def positive_roi_iou(model: FasterRCNN) -> float:
    """Read from which IoU on the box head is trained to find an object in a proposal."""
    return model.roi_heads.proposal_matcher.high_threshold


@dataclass(frozen=True)
class RoIPooling:
    """How a head's RoIs are cut out of the backbone's maps.

    Attributes:
        maps: names of the feature maps, the finest first.
        scales: feature pixels per input pixel of each map, such as 1/4.
        first_level: the pyramid level of the finest map, whose stride is `2 ** first_level`.
        last_level: the pyramid level of the coarsest map.
        canonical_size: side of an RoI that belongs on `canonical_level`, in input pixels.
        canonical_level: k0 of FPN eq. 1.
        output_size: `(h, w)` samples of an RoI.
        sampling_ratio: points averaged per sample in each direction; 0 or less adapts to the RoI.
    """

    maps: tuple[str, ...]
    scales: tuple[float, ...]
    first_level: int
    last_level: int
    canonical_size: float
    canonical_level: int
    output_size: tuple[int, int]
    sampling_ratio: int


def roi_pooling(
    model: FasterRCNN,
    features: dict[str, Tensor],
    image_size: tuple[int, int],
    head: Literal["box", "mask"] = "box",
) -> RoIPooling:
    """Read how a head's RoIs are cut out of the feature maps.

    Args:
        model: any; one with a mask head, if that is asked for.
        features: the backbone's maps by name, [1, channels, rows, columns] each.
        image_size: `(height, width)` of the input without padding.
        head: whose RoIs.

    Returns:
        The settings of `assign_levels` and `pool`.
    """
    pool = getattr(model.roi_heads, f"{head}_roi_pool")
    maps = tuple(name for name in features if name in pool.featmap_names)
    height, width = pool.output_size
    if pool.scales is not None and pool.map_levels is not None:
        # torchvision fixes the scales and the levels on the first photo a model sees.
        scales, mapper = pool.scales, pool.map_levels
        first, last, size, level = mapper.k_min, mapper.k_max, mapper.s0, mapper.lvl0
    else:
        scales = [
            2.0 ** round(math.log2(features[name].shape[-2] / image_size[0])) for name in maps
        ]
        first, last = (round(-math.log2(scales[end])) for end in (0, -1))
        size, level = pool.canonical_scale, pool.canonical_level
    return RoIPooling(
        maps=maps,
        scales=tuple(scales),
        first_level=first,
        # Where there is one map, torchvision asks for no level.
        last_level=last if len(maps) > 1 else first,
        canonical_size=size,
        canonical_level=level,
        output_size=(height, width),
        sampling_ratio=pool.sampling_ratio,
    )


def roi_output_size(model: FasterRCNN, head: Literal["box", "mask"] = "box") -> tuple[int, int]:
    """Read how many samples `(h, w)` a head takes of each RoI."""
    height, width = getattr(model.roi_heads, f"{head}_roi_pool").output_size
    return height, width


def roi_scales(
    model: FasterRCNN, features: dict[str, Tensor], image_size: tuple[int, int]
) -> tuple[float, ...]:
    """Read how much coarser than the input each map is that the box head's RoIs are cut from.

    Args:
        model: any.
        features: the backbone's maps by name, [1, channels, rows, columns] each.
        image_size: `(height, width)` of the input without padding.

    Returns:
        Feature pixels per input pixel of each map, the finest first.
    """
    return roi_pooling(model, features, image_size).scales


def input_channels(model: FasterRCNN) -> int:
    """Read how many channels the photos have that a model takes.

    Args:
        model: any.

    Returns:
        3 for RGB.
    """
    means = len(model.transform.image_mean)
    stem = next((part for part in model.backbone.modules() if isinstance(part, nn.Conv2d)), None)
    # One mean serves any number of channels.
    return means if means > 1 or stem is None else stem.in_channels


def model_class_names(
    model: FasterRCNN, given: Sequence[str] | None, count: int, sample: Sample | None
) -> tuple[str, ...]:
    """Find a name for each of a model's labels.

    Args:
        model: its own `class_names` count unless others are given.
        given: the names to use, the background first.
        count: classes of the model, background included.
        sample: names a model that has as many classes and no names.

    Returns:
        `count` names, "background" first.

    Raises:
        ValueError: the names are no list of different texts with the background first, or there
            are more or fewer than classes; see `check_class_names`.
    """
    if given is not None:
        return check_class_names(given, "class_names", count)
    own = getattr(model, "class_names", None)
    if own is not None:
        return check_class_names(own, "model.class_names", count)
    known = {
        len(COCO_CLASSES): COCO_CLASSES,
        91: MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"],
    }
    if sample is not None:
        known.setdefault(len(sample.class_names), sample.class_names)
    unnamed = ("background", *(f"class {label}" for label in range(1, count)))
    return check_class_names(known.get(count, unnamed), "class_names", count)
