"""What a torchvision R-CNN is set to: the only reader of its internals.

Each stage takes its settings as keyword arguments; here they are read from a model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from mrcnn_steps.anchors import Anchors, Grid
from mrcnn_steps.class_names import check_class_names
from mrcnn_steps.data import COCO_CLASSES, Sample
from mrcnn_steps.model.mode import evaluating
from mrcnn_steps.model.network import GlobalRegionProposalNetwork, LetterboxTransform


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


def lay_anchors(generator: AnchorGenerator, images: ImageList, maps: Sequence[Tensor]) -> Anchors:
    """Let a model's generator lay its anchors over a photo.

    Args:
        generator: a model's `rpn.anchor_generator`, or one to try in its place.
        images: a batch of one photo, as the model's transform gives it; only sizes matter.
        maps: [1, channels, rows, columns] each, what the backbone makes of it; only sizes matter.

    Returns:
        All anchors, with their grids.
    """
    height, width = images.tensors.shape[-2:]
    grids = []
    for per_cell, each in zip(generator.num_anchors_per_location(), maps, strict=True):
        rows, columns = each.shape[-2:]
        # torchvision's stride is a whole number of padded input pixels.
        grids.append(Grid(rows, columns, per_cell, (height // rows, width // columns)))
    # A copy: generators keep their anchors for the next photo of the same size.
    return Anchors(generator(images, maps)[0].clone(), tuple(grids))


def anchor_settings(
    model: FasterRCNN,
) -> tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]:
    """Read `sizes` and `aspect_ratios` (height / width) of a model's `AnchorGenerator`."""
    generator = model.rpn.anchor_generator
    sizes, ratios = (
        tuple(tuple(float(value) for value in level) for level in levels)
        for levels in (generator.sizes, generator.aspect_ratios)
    )
    return sizes, ratios


def anchor_layers(model: FasterRCNN) -> dict[str, nn.Conv2d]:
    """Find the layers whose outputs are counted by the anchors of a cell.

    Args:
        model: any.

    Returns:
        The RPN's layers by their place in the model; none of a head that is not torchvision's.
    """
    found = {
        f"rpn.head.{name}": getattr(model.rpn.head, name, None)
        for name in ("cls_logits", "bbox_pred")
    }
    return {name: layer for name, layer in found.items() if isinstance(layer, nn.Conv2d)}


@dataclass(frozen=True)
class InputGrid:
    """The size of a model's input, and of the maps that its backbone makes of it.

    Attributes:
        size: `(height, width)` of the input with its padding.
        maps: `(rows, columns)` of each map, the finest first.
    """

    size: tuple[int, int]
    maps: tuple[tuple[int, int], ...]

    def count(self, per_cell: Sequence[int]) -> int:
        """Count the anchors of a generator that puts so many on each cell of each map."""
        return sum(n * r * c for n, (r, c) in zip(per_cell, self.maps, strict=True))

    def lay(self, generator: AnchorGenerator, like: Tensor) -> Anchors:
        """Let a generator lay its anchors; no network runs.

        Args:
            generator: as in `lay_anchors`.
            like: tells the type and the device of the anchors: a weight of the model.

        Returns:
            All anchors, with their grids.
        """
        maps = [like.new_zeros(()).expand(1, 1, *size) for size in self.maps]
        images = ImageList(like.new_zeros(()).expand(1, 3, *self.size), [self.size])
        with torch.no_grad():
            return lay_anchors(generator, images, maps)


def needs_pixels(transform: nn.Module) -> bool:
    """Whether a model's transform may look at a photo before it moves boxes and masks.

    Args:
        transform: a model's.

    Returns:
        False for torchvision's and the bundled network's own, to which only the size matters.
    """
    replaced = any(callable(value) for value in vars(transform).values())
    hooks = transform._forward_hooks or transform._forward_pre_hooks
    own = type(transform) in (GeneralizedRCNNTransform, LetterboxTransform)
    return replaced or bool(hooks) or not own


def boxes_on_input(
    model: FasterRCNN, photo_size: tuple[int, int], boxes: Float[Tensor, "N 4"]
) -> tuple[Float[Tensor, "N 4"], tuple[int, int]]:
    """Move boxes of a photo to the model's input, by its own transform and without a photo.

    Args:
        model: any.
        photo_size: `(height, width)` in pixels.
        boxes: [N, 4] in pixels of the photo.

    Returns:
        The boxes in pixels of the input, and its `(height, width)` with the padding.
    """
    # On the meta device a tensor has a size and nothing else.
    photo = torch.empty((3, *photo_size), dtype=next(model.parameters()).dtype, device="meta")
    with torch.no_grad(), evaluating(model):
        images, [target] = model.transform([photo], [{"boxes": boxes}])
    height, width = images.tensors.shape[-2:]
    return target["boxes"], (height, width)


def input_grid(model: FasterRCNN, size: tuple[int, int]) -> InputGrid:
    """Ask the backbone for the size of its maps; nothing is computed.

    Args:
        model: any.
        size: `(height, width)` of the input with its padding.

    Returns:
        The sizes.
    """
    state = {**dict(model.backbone.named_parameters()), **dict(model.backbone.named_buffers())}
    meta = {name: tensor.to("meta") for name, tensor in state.items()}
    empty = torch.empty((1, 3, *size), dtype=next(model.parameters()).dtype, device="meta")
    with torch.no_grad(), torch.device("meta"), evaluating(model):
        found = functional_call(model.backbone, meta, (empty,))
    maps = [found] if isinstance(found, Tensor) else found.values()
    return InputGrid(size, tuple((each.shape[-2], each.shape[-1]) for each in maps))


# What decides the result beside the weights, by its place in a model; an anchor generator of one's
# own may lack the first two.
PLACES = (
    "rpn.anchor_generator.sizes",
    "rpn.anchor_generator.aspect_ratios",
    *(f"transform.{name}" for name in ("min_size", "max_size", "image_mean", "image_std")),
    "rpn.box_coder.weights",
    *(f"rpn.{name}" for name in ("min_size", "score_thresh", "nms_thresh")),
    "roi_heads.box_coder.weights",
    *(f"roi_heads.{name}" for name in ("score_thresh", "nms_thresh", "detections_per_img")),
)


def all_settings(model: FasterRCNN) -> dict[str, Any]:
    """Read everything that a model is set to, to tell two settings of the same weights apart.

    Args:
        model: any.

    Returns:
        Numbers, and lists of them, by their place in the model, such as "rpn.nms_thresh".
    """
    found = {place: _plain(_at(model, place)) for place in PLACES}
    for name in ("pre_nms_top_n", "post_nms_top_n"):
        found[f"rpn.{name}"] = getattr(model.rpn, f"_{name}")["testing"]
    return found


def _at(model: FasterRCNN, place: str) -> Any:
    """Give what lies at a place; None if there is nothing."""
    found: Any = model
    for name in place.split("."):
        found = getattr(found, name, None)
    return found


def _plain(value: Any) -> Any:
    """Give a setting as JSON has it: tensors, arrays and tuples are lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


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
