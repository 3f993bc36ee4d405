"""A trace: one pass of a real Mask R-CNN over one photo with nothing thrown away.

The network is torchvision's; the stages are ours. `trace(model, photo)` reads the model's own
settings, runs our stages over its own weights, and ends with exactly what `model([photo])`
returns. Only this module knows the order of the stages.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import MultiScaleRoIAlign

from mrcnn_steps.anchors import Anchors, Grid
from mrcnn_steps.classification import Classification, assign_levels, classify, pool
from mrcnn_steps.data import COCO_CLASSES, Letterbox, Sample
from mrcnn_steps.detection import Detections, detect
from mrcnn_steps.masks import class_probs, mask_targets, paste_soft
from mrcnn_steps.mini_masks import MiniMasks, round_trip
from mrcnn_steps.model.network import GlobalRegionProposalNetwork, LetterboxTransform
from mrcnn_steps.proposals import Proposals, propose
from mrcnn_steps.rpn_targets import RPNTargets, build, match


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotated objects as the network is trained on them.

    Attributes:
        objects: [G] rows of the sample's objects that take part: neither crowds nor empty masks.
        boxes: [G, 4] their boxes in pixels of the network's input.
        labels: [G] their classes, as the model counts them.
        masks: [G, h, w] their masks at the size of the network's input.
        crowd_boxes: [K, 4] boxes of the crowds, in pixels of the network's input.
        mini_masks: the masks as mini-masks and back.
        rpn_targets: what the RPN should say about every anchor.
        positive_proposals: [P] rows of the proposals that overlap an object enough to be trained
            on it.
        positive_objects: [P] that object, a row of `boxes`.
        mask_targets: [P, 28, 28] what the mask head should say about each; [0, 0, 0] without a
            mask head.
    """

    objects: Int[Tensor, "G"]
    boxes: Float[Tensor, "G 4"]
    labels: Int[Tensor, "G"]
    masks: Bool[Tensor, "G h w"]
    crowd_boxes: Float[Tensor, "K 4"]
    mini_masks: MiniMasks
    rpn_targets: RPNTargets
    positive_proposals: Int[Tensor, "P"]
    positive_objects: Int[Tensor, "P"]
    mask_targets: Float[Tensor, "P m m"]


@dataclass(frozen=True)
class Table:
    """Name, shape, minimum and maximum of tensors.

    Attributes:
        rows: `(name, shape, minimum, maximum)` of each; an empty tensor has no extremes.
    """

    rows: tuple[tuple[str, tuple[int, ...], float | None, float | None], ...]

    def __str__(self) -> str:
        width = max(len(name) for name, *_ in self.rows)
        return "\n".join(
            f"{name:<{width}}  shape: {shape!s:<22}"
            + ("" if low is None or high is None else f"  min: {low:>11.5f}  max: {high:>11.5f}")
            for name, shape, low, high in self.rows
        )

    def _ipython_display_(self) -> None:
        """Show nothing: `Trace.table` has printed it."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Everything a model computed on the way from a photo to its detections.

    Boxes are in pixels of the network's input; `letterbox` maps them to the photo and back. Rows
    keep their origin: `proposals.anchor_index`, classification rows are proposal rows,
    `detections.proposal_index`, mask rows are detection rows.

    Attributes:
        model: the network, unchanged.
        image: [3, H, W] the photo, uint8.
        sample: the photo with its annotations, if it came with any.
        class_names: the name of each of the model's labels, "background" first.
        letterbox: the network's input as a picture, and the map between it and the photo.
        input: [1, 3, h, w] the normalized tensor that the backbone saw.
        image_size: `(height, width)` of the input without the padding that batching adds; boxes
            are clipped to it.
        features: the backbone's maps by name, [1, channels, rows, columns] each.
        anchors: all A anchors.
        objectness: [A] the RPN's logit for each anchor.
        rpn_deltas: [A, 4] the RPN's delta for each anchor.
        proposals: the proposals, with every step.
        classification: the box head's answer for every proposal.
        detections: the detections, with every step.
        mask_logits: [D, C, 28, 28] every class's mask of every detection; None for a Faster R-CNN.
        result: `boxes`, `labels`, `scores` and `masks` as `model([image])[0]` returns them.
        ground_truth: the training targets; None for a photo without annotations.
    """

    model: FasterRCNN
    image: UInt8[Tensor, "3 H W"]
    sample: Sample | None
    class_names: tuple[str, ...]
    letterbox: Letterbox
    input: Float[Tensor, "1 3 h w"]
    image_size: tuple[int, int]
    features: dict[str, Tensor]
    anchors: Anchors
    objectness: Float[Tensor, "A"]
    rpn_deltas: Float[Tensor, "A 4"]
    proposals: Proposals
    classification: Classification
    detections: Detections
    mask_logits: Float[Tensor, "D C m m"] | None
    result: dict[str, Tensor]
    ground_truth: GroundTruth | None

    @property
    def mask_probs(self) -> Float[Tensor, "D m m"] | None:
        """The mask of each detection's own class, 0…1; None for a Faster R-CNN."""
        if self.mask_logits is None:
            return None
        return class_probs(self.mask_logits, self.detections.labels)

    def with_proposals(self, proposals: Proposals) -> "Trace":
        """Run the second stage again on other proposals; the RPN is not run again.

        Args:
            proposals: made by `propose` from this trace's objectness and deltas.

        Returns:
            A new trace; everything before the proposals is shared with this one.
        """
        with torch.no_grad():
            classification = _classify(self.model, self.features, proposals.boxes, self.image_size)
        changed = replace(self, proposals=proposals, classification=classification)
        truth = self.ground_truth
        if truth is not None:
            targets = _roi_targets(changed, truth.boxes, truth.masks)
            changed = replace(changed, ground_truth=replace(truth, **targets))
        return changed.with_detections(
            detect(
                proposals,
                classification.probs,
                classification.deltas,
                self.image_size,
                **detection_settings(self.model),
            )
        )

    def with_detections(self, detections: Detections) -> "Trace":
        """Run the mask head again on other detections; nothing before it is run again.

        Args:
            detections: made by `detect` from this trace's classification.

        Returns:
            A new trace; everything before the detections is shared with this one.
        """
        with torch.no_grad():
            logits = _mask_logits(self.model, self.features, detections.boxes, self.image_size)
            result = _result(self.model, detections, logits, self.image_size, self.image.shape[1:])
        return replace(self, detections=detections, mask_logits=logits, result=result)

    def tensors(self) -> dict[str, Tensor]:
        """Collect the tensors of every stage under the names of the notes.

        Returns:
            Tensors by name, in the order of the pipeline; with a leading batch axis of 1, and
            padded with zeros, where the notes' network does so.
        """
        found: dict[str, Tensor] = {"image": self.image, "molded_image": self.input}
        if self.ground_truth is not None:
            found |= _target_tensors(self.ground_truth, self.anchors)
        found |= {f"feature_map_{name}": tensor for name, tensor in self.features.items()}
        foreground = self.objectness.sigmoid()
        proposals, detections = self.proposals, self.detections
        found |= {
            "anchors": self.anchors.boxes,
            "rpn_class": torch.stack((1 - foreground, foreground), dim=1)[None],
            "rpn_bbox": self.rpn_deltas[None],
            "pre_nms_anchors": proposals.top_anchors[None],
            "refined_anchors": proposals.refined[None],
            "refined_anchors_clipped": proposals.clipped[None],
            "post_nms_anchor_ix": proposals.rows,
            "proposals": proposals.padded()[None],
            "probs": self.classification.probs[None],
            "deltas": self.classification.deltas[None],
        }
        missing = detections.max_detections - len(detections)
        if self.mask_logits is not None:
            masks = self.mask_logits.sigmoid().permute(0, 2, 3, 1)
            found["masks"] = F.pad(masks, (0, 0, 0, 0, 0, 0, 0, missing))[None]
        rows = (detections.boxes, detections.labels[:, None], detections.scores[:, None])
        found["detections"] = F.pad(torch.cat(rows, dim=1), (0, 0, 0, missing))[None]
        return found

    def table(self) -> Table:
        """Print name, shape, minimum and maximum of every tensor, as the notes do.

        Returns:
            The table that was printed.
        """
        rows = []
        for name, tensor in self.tensors().items():
            extremes = (None, None) if tensor.numel() == 0 else map(float, tensor.aminmax())
            rows.append((name, tuple(tensor.shape), *extremes))
        table = Table(tuple(rows))
        print(table)
        return table


def _target_tensors(truth: GroundTruth, anchors: Anchors) -> dict[str, Tensor]:
    targets = truth.rpn_targets
    return {
        "gt_boxes": truth.boxes,
        "gt_masks": truth.masks,
        "mini_masks": truth.mini_masks.mini_masks,
        "target_rpn_match": targets.labels,
        "target_rpn_bbox": targets.deltas,
        "positive_anchors": anchors.boxes[targets.labels == 1],
        "negative_anchors": anchors.boxes[targets.labels == -1],
        "neutral_anchors": anchors.boxes[targets.labels == 0],
        "refined_positive_anchors": targets.refined,
        "mask_targets": truth.mask_targets,
    }


def trace(
    model: FasterRCNN,
    image: Sample | UInt8[Tensor, "3 H W"] | Float[Tensor, "3 H W"],
    class_names: Sequence[str] | None = None,
    generator: torch.Generator | None = None,
) -> Trace:
    """Run a torchvision Mask R-CNN or Faster R-CNN over one photo and keep everything.

    Args:
        model: in eval mode; its transform, anchors, thresholds and weights are used as they are,
            and nothing about it is changed.
        image: a sample, or [3, H, W] as uint8 or as floating point in 0…1. A sample's tensors are
            copied to the model's device; a tensor has to be there.
        class_names: the name of each of the model's labels, "background" first. Without it the
            model's own `class_names`, or COCO's for a model of 81 or 91 classes.
        generator: chooses the anchors that the RPN would be trained on; see `sample_anchors`.

    Returns:
        The trace; its `result` is what `model([image])[0]` returns.

    Raises:
        TypeError: the model is not a torchvision `FasterRCNN` or `MaskRCNN`, or the image has
            another type.
        ValueError: the model is in training mode, replaces a torchvision step by its own, or has
            too few classes for the sample's labels; or the image has another shape.
    """
    _check_model(model)
    weight = next(model.parameters())
    sample = image if isinstance(image, Sample) else None
    pixels = image.image.to(weight.device) if isinstance(image, Sample) else image
    photo = _unit_range(pixels, weight.dtype)
    with torch.no_grad():
        images, _ = model.transform([photo])
        image_size = images.image_sizes[0]
        features = model.backbone(images.tensors)
        if isinstance(features, Tensor):
            features = {"0": features}
        maps = list(features.values())
        logits, deltas = model.rpn.head(maps)
        anchors = _anchors(model, images, maps)
        objectness, rpn_deltas = concat_box_prediction_layers(logits, deltas)
        objectness = objectness.flatten()
        proposals = propose(
            objectness, rpn_deltas, anchors, image_size, **proposal_settings(model, anchors)
        )
        classification = _classify(model, features, proposals.boxes, image_size)
        detections = detect(
            proposals,
            classification.probs,
            classification.deltas,
            image_size,
            **detection_settings(model),
        )
        mask_logits = _mask_logits(model, features, detections.boxes, image_size)
        result = _result(model, detections, mask_logits, image_size, photo.shape[1:])
    names = _class_names(model, class_names, classification.probs.shape[1], sample)
    letterbox = _letterbox(model, images, photo)
    traced = Trace(
        model=model,
        image=pixels if pixels.dtype == torch.uint8 else (photo * 255).round().to(torch.uint8),
        sample=sample,
        class_names=names,
        letterbox=letterbox,
        input=images.tensors,
        image_size=image_size,
        features=dict(features),
        anchors=anchors,
        objectness=objectness,
        rpn_deltas=rpn_deltas,
        proposals=proposals,
        classification=classification,
        detections=detections,
        mask_logits=mask_logits,
        result=result,
        ground_truth=None,
    )
    if sample is None or not len(sample.labels):
        return traced
    return replace(traced, ground_truth=_ground_truth(traced, photo, sample, generator))


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
        model: in eval mode.

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


def _check_model(model: FasterRCNN) -> None:
    """Refuse a model whose steps are not the ones that the stages reproduce."""
    if not isinstance(model, FasterRCNN):
        raise TypeError(
            f"model: expected a torchvision FasterRCNN or MaskRCNN, found {type(model).__name__}"
        )
    if model.training:
        raise ValueError("model: expected eval mode, found training mode; call model.eval() first")
    if model.roi_heads.has_keypoint():
        raise ValueError("model: expected boxes and masks only, found a keypoint head")
    known = (RegionProposalNetwork.filter_proposals, GlobalRegionProposalNetwork.filter_proposals)
    steps = {
        "rpn.filter_proposals": _code(model.rpn.filter_proposals) in known,
        "rpn.forward": _code(model.rpn.forward) is RegionProposalNetwork.forward,
        "roi_heads.postprocess_detections": (
            _code(model.roi_heads.postprocess_detections) is RoIHeads.postprocess_detections
        ),
        "roi_heads.forward": _code(model.roi_heads.forward) is RoIHeads.forward,
        "roi_heads.box_roi_pool": isinstance(model.roi_heads.box_roi_pool, MultiScaleRoIAlign),
        "roi_heads.mask_roi_pool": not model.roi_heads.has_mask()
        or isinstance(model.roi_heads.mask_roi_pool, MultiScaleRoIAlign),
    }
    for step, is_known in steps.items():
        if not is_known:
            raise ValueError(
                f"model.{step}: expected torchvision's own, found one that replaces it"
            )


def _code(method: Callable) -> Callable:
    """The function behind a method, or what was put in its place."""
    return getattr(method, "__func__", method)


def _unit_range(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """The photo as a model takes it: in 0…1, in the precision of its weights."""
    if not isinstance(pixels, Tensor):
        raise TypeError(f"image: expected a Sample or a tensor, found {type(pixels).__name__}")
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"image: expected RGB of shape [3, H, W], found {list(pixels.shape)}")
    if pixels.dtype == torch.uint8:
        return pixels.to(dtype) / 255
    if not pixels.is_floating_point() or not 0 <= pixels.min() <= pixels.max() <= 1:
        raise ValueError(
            f"image: expected uint8, or floating point in 0…1, found {pixels.dtype} from "
            f"{pixels.min()} to {pixels.max()}"
        )
    if pixels.dtype != dtype:
        raise ValueError(f"image: expected {dtype} as the model's weights, found {pixels.dtype}")
    return pixels


def _anchors(model: FasterRCNN, images: ImageList, maps: list[Tensor]) -> Anchors:
    generator = model.rpn.anchor_generator
    height, width = images.tensors.shape[-2:]
    grids = []
    for per_cell, feature in zip(generator.num_anchors_per_location(), maps, strict=True):
        rows, columns = feature.shape[-2:]
        # torchvision's stride is a whole number of padded input pixels.
        grids.append(Grid(rows, columns, per_cell, (height // rows, width // columns)))
    return Anchors(generator(images, maps)[0], tuple(grids))


def roi_scales(
    roi_pool: MultiScaleRoIAlign, features: dict[str, Tensor], image_size: tuple[int, int]
) -> list[float]:
    """Read how much coarser than the input each feature map is that RoIs are pooled from.

    Args:
        roi_pool: a model's own.
        features: the backbone's maps by name, [1, channels, rows, columns] each.
        image_size: `(height, width)` of the input without padding.

    Returns:
        Feature pixels per input pixel of each map, the finest first.
    """
    # torchvision fixes the scales on the first photo a model sees.
    return roi_pool.scales or [
        2.0 ** round(math.log2(feature.shape[-2] / image_size[0]))
        for feature in _pooled_maps(roi_pool, features)
    ]


def _pooled_maps(roi_pool: MultiScaleRoIAlign, features: dict[str, Tensor]) -> list[Tensor]:
    return [feature for name, feature in features.items() if name in roi_pool.featmap_names]


def _pool(
    roi_pool: MultiScaleRoIAlign,
    features: dict[str, Tensor],
    boxes: Tensor,
    image_size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """RoIAlign with a model's own settings, and the level of each RoI."""
    maps = _pooled_maps(roi_pool, features)
    scales = roi_scales(roi_pool, features, image_size)
    levels = assign_levels(
        boxes,
        first_level=round(-math.log2(scales[0])),
        last_level=round(-math.log2(scales[-1])),
        canonical_size=roi_pool.canonical_scale,
        canonical_level=roi_pool.canonical_level,
    )
    size = tuple(roi_pool.output_size)
    return pool(maps, boxes, levels, scales, size, roi_pool.sampling_ratio), levels


def _classify(
    model: FasterRCNN, features: dict[str, Tensor], boxes: Tensor, image_size: tuple[int, int]
) -> Classification:
    heads = model.roi_heads
    pooled, levels = _pool(heads.box_roi_pool, features, boxes, image_size)
    class_logits, box_regression = heads.box_predictor(heads.box_head(pooled))
    return classify(class_logits, box_regression, levels)


def _mask_logits(
    model: FasterRCNN, features: dict[str, Tensor], boxes: Tensor, image_size: tuple[int, int]
) -> Tensor | None:
    heads = model.roi_heads
    if not heads.has_mask():
        return None
    pooled, _ = _pool(heads.mask_roi_pool, features, boxes, image_size)
    return heads.mask_predictor(heads.mask_head(pooled))


def _result(
    model: FasterRCNN,
    detections: Detections,
    mask_logits: Tensor | None,
    image_size: tuple[int, int],
    photo_size: Sequence[int],
) -> dict[str, Tensor]:
    """The detections in the photo's pixels, as the model itself returns them."""
    found = {
        "boxes": detections.boxes,
        "labels": detections.labels,
        "scores": detections.scores,
    }
    size = (photo_size[0], photo_size[1])
    [result] = model.transform.postprocess([found], [image_size], [size])
    if mask_logits is not None:
        probs = class_probs(mask_logits, detections.labels)
        result["masks"] = paste_soft(probs, result["boxes"], size)[:, None]
    return result


def _letterbox(model: FasterRCNN, images: ImageList, photo: Tensor) -> Letterbox:
    """The network's input as a picture, and the map between it and the photo."""
    transform = model.transform
    mean, std = (
        images.tensors.new_tensor(values)[:, None, None]
        for values in (transform.image_mean, transform.image_std)
    )
    picture = ((images.tensors[0] * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    height, width = photo.shape[1:]
    rows, columns = images.image_sizes[0]
    if isinstance(transform, LetterboxTransform):
        fitted = transform.fit((height, width))
        return Letterbox(picture, fitted.window, fitted.scale, (height, width))
    picture[:, rows:] = 0
    picture[:, :, columns:] = 0
    return Letterbox(picture, (0, 0, columns, rows), columns / width, (height, width))


def _class_names(
    model: FasterRCNN, given: Sequence[str] | None, count: int, sample: Sample | None
) -> tuple[str, ...]:
    """A name for each of the model's labels."""
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


def _model_labels(sample: Sample, names: tuple[str, ...], objects: Tensor) -> Tensor:
    """The sample's labels as the model counts them, matched by name."""
    number = {name: label for label, name in enumerate(names)}
    found = [sample.class_names[label] for label in sample.labels[objects].tolist()]
    unknown = sorted(set(found) - set(number))
    if unknown:
        raise ValueError(
            f"sample {sample.name!r}: its labels {unknown} are not among the model's "
            f"{len(names)} classes; pass class_names=… if the model calls them otherwise"
        )
    return torch.tensor([number[name] for name in found], dtype=torch.int64)


def _ground_truth(
    traced: Trace, photo: Tensor, sample: Sample, generator: torch.Generator | None
) -> GroundTruth:
    model, device = traced.model, photo.device
    taken = ~sample.crowd & sample.masks.flatten(1).any(dim=1)
    objects = taken.nonzero().flatten()
    labels = _model_labels(sample, traced.class_names, objects).to(device)
    kept, crowds = (
        _transformed(model, photo, sample, rows.to(sample.boxes.device))
        for rows in (
            objects,
            (sample.crowd & sample.masks.flatten(1).any(dim=1)).nonzero().flatten(),
        )
    )
    matcher, sampler = model.rpn.proposal_matcher, model.rpn.fg_bg_sampler
    rpn_targets = build(
        traced.anchors,
        kept["boxes"],
        crowds["boxes"],
        positive_iou=matcher.high_threshold,
        negative_iou=matcher.low_threshold,
        count=sampler.batch_size_per_image,
        positive_fraction=sampler.positive_fraction,
        generator=generator,
    )
    masks = kept["masks"].bool()
    return GroundTruth(
        objects=objects.to(device),
        boxes=kept["boxes"],
        labels=labels,
        masks=masks,
        crowd_boxes=crowds["boxes"],
        mini_masks=round_trip(masks),
        rpn_targets=rpn_targets,
        **_roi_targets(traced, kept["boxes"], masks),
    )


def _roi_targets(traced: Trace, gt_boxes: Tensor, gt_masks: Tensor) -> dict[str, Any]:
    """The part of the ground truth that depends on the proposals."""
    proposals, objects = _positive_proposals(traced, gt_boxes)
    if traced.mask_logits is None:
        proposals, objects = proposals[:0], objects[:0]
        targets = gt_boxes.new_zeros((0, 0, 0))
    else:
        rois = traced.proposals.boxes[proposals]
        targets = mask_targets(gt_masks, gt_boxes, rois, objects, traced.mask_logits.shape[-1])
    return {
        "positive_proposals": proposals,
        "positive_objects": objects,
        "mask_targets": targets,
    }


def _transformed(
    model: FasterRCNN, photo: Tensor, sample: Sample, rows: Tensor
) -> dict[str, Tensor]:
    """Boxes and masks of some objects at the size of the network's input."""
    target = {
        "boxes": sample.boxes[rows].to(photo),
        "masks": sample.masks[rows].to(photo.device, torch.uint8),
    }
    _, [transformed] = model.transform([photo], [target])
    return transformed


def _positive_proposals(traced: Trace, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The proposals that are trained on an object, and the object of each."""
    boxes = traced.proposals.boxes
    threshold = traced.model.roi_heads.proposal_matcher.high_threshold
    large = (boxes[:, 2:] > boxes[:, :2]).all(dim=1).nonzero().flatten()
    matched = match(boxes[large], gt_boxes, None, threshold, threshold)
    positive = (matched.iou >= threshold).nonzero().flatten()
    return large[positive], matched.gt_index[positive]
