"""What a torchvision R-CNN is set to: the only reader of its internals.

Each stage takes its settings as keyword arguments; here they are read from a model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.anchors import Anchors
from mrcnn_steps.data import COCO_CLASSES, Sample
from mrcnn_steps.model.network import GlobalRegionProposalNetwork


def proposal_settings(model: FasterRCNN, anchors: Anchors) -> dict:
    """Read the settings of the proposal stage from a model.

    Args:
        model: in eval mode.
        anchors: the anchors of the image, whose levels torchvision filters one by one.

    Returns:
        Keyword arguments for `propose`.
    """
    rpn = model.rpn
    over_all_levels = isinstance(rpn, GlobalRegionProposalNetwork)
    return {
        "level_sizes": None if over_all_levels else [grid.count for grid in anchors.grids],
        "pre_nms_top_n": rpn.pre_nms_top_n(),
        "post_nms_top_n": rpn.post_nms_top_n(),
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
    # torchvision fixes the scales on the first photo a model sees.
    scales = pool.scales or [
        2.0 ** round(math.log2(features[name].shape[-2] / image_size[0])) for name in maps
    ]
    height, width = pool.output_size
    return RoIPooling(
        maps=maps,
        scales=tuple(scales),
        first_level=round(-math.log2(scales[0])),
        last_level=round(-math.log2(scales[-1])),
        canonical_size=pool.canonical_scale,
        canonical_level=pool.canonical_level,
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


def class_names(
    model: FasterRCNN, given: Sequence[str] | None, count: int, sample: Sample | None
) -> tuple[str, ...]:
    """Find a name for each of a model's labels.

    Args:
        model: its own `class_names` count unless others are given.
        given: the names to use.
        count: classes of the model, background included.
        sample: names a model that has as many classes and no names.

    Returns:
        `count` names, "background" first.

    Raises:
        ValueError: there are more or fewer names than classes.
    """
    known = {
        len(COCO_CLASSES): COCO_CLASSES,
        91: tuple(MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]),
    }
    names = given or getattr(model, "class_names", None) or known.get(count)
    if names is None and sample is not None and len(sample.class_names) == count:
        names = sample.class_names
    if names is None:
        names = [f"class {label}" for label in range(count)]
    if len(names) != count:
        raise ValueError(f"class_names: the model has {count} classes, found {len(names)} names")
    return ("background", *names[1:])
