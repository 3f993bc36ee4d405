"""A trace: one pass of a real Mask R-CNN over one photo with nothing thrown away.

The network is torchvision's; the stages are ours. `trace(model, photo)` reads the model's own
settings, runs our stages over its own weights, and ends with exactly what `model([photo])`
returns. Only this module knows the order of the stages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

from mrcnn_steps.anchors import Anchors
from mrcnn_steps.boxes import Weights, check_weights
from mrcnn_steps.classification import Classification, assign_levels, classify, pool
from mrcnn_steps.data import Letterbox, Sample
from mrcnn_steps.detection import Detections, detect
from mrcnn_steps.ground_truth import GroundTruth, ground_truth
from mrcnn_steps.masks import class_probs, paste_soft
from mrcnn_steps.model.mode import evaluating
from mrcnn_steps.model.network import LetterboxTransform
from mrcnn_steps.overrides import check_model
from mrcnn_steps.proposals import Proposals, propose
from mrcnn_steps.result import Result
from mrcnn_steps.settings import (
    detection_settings,
    lay_anchors,
    model_class_names,
    needs_pixels,
    proposal_settings,
    roi_pooling,
)
from mrcnn_steps.tensors import Table, head_tensors, rpn_tensors, tabulate, target_tensors


def trace(
    model: FasterRCNN,
    image: Sample | UInt8[Tensor, "3 H W"] | Float[Tensor, "3 H W"],
    class_names: Sequence[str] | None = None,
    generator: torch.Generator | None = None,
) -> "Trace":
    """Run a torchvision Mask R-CNN or Faster R-CNN over one photo and keep everything.

    Args:
        model: its transform, anchors, thresholds and weights are used as they are, and nothing
            about it is changed. One in training mode is traced as in eval mode.
        image: a sample, or [3, H, W] as uint8 or as floating point in 0…1. A sample's tensors are
            copied to the model's device; a tensor has to be there.
        class_names: the name of each of the model's labels, the background first. Without it the
            model's own `class_names`, or COCO's for a model of 81 or 91 classes.
        generator: chooses the anchors that the RPN would be trained on; see `sample_anchors`.

    Returns:
        The trace; its `result` is what `model.eval()([image])[0]` returns. Objects of a sample
        whose classes the model does not know are left out of the ground truth, with a warning.

    Raises:
        TypeError: the model is not a torchvision `FasterRCNN` or `MaskRCNN`, or the image has
            another type.
        ValueError: the model replaces a step of torchvision's by its own (see `check_model`), the
            names are not those of its classes, or the image has another shape or range.
    """
    return _run(model, image, class_names, generator, whole=True)


def glance(
    model: FasterRCNN,
    image: Sample | UInt8[Tensor, "3 H W"] | Float[Tensor, "3 H W"],
    class_names: Sequence[str] | None = None,
) -> "Trace":
    """Run a network over one photo as far as its boxes: a trace without masks.

    Args:
        model: see `trace`.
        image: see `trace`.
        class_names: see `trace`.

    Returns:
        What `trace` gives, but for the masks, the result with them, and what the heads would be
        trained on. `with_detections` draws the masks of those that one asks for.

    Raises:
        TypeError, ValueError: see `trace`.
    """
    return _run(model, image, class_names, None, whole=False)


@dataclass(frozen=True, eq=False)
class Trace:
    """Everything a model computed on the way from a photo to its detections.

    Boxes are in pixels of the network's input; `letterbox` maps them to the photo and back. Rows
    keep their origin: `proposals.anchor_index`, classification rows are proposal rows,
    `detections.proposal_index`, mask rows are detection rows.

    Attributes:
        model: the network itself.
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
        rpn_deltas: [A, 4] the RPN's delta for each anchor, of weights 1: those of the model's box
            coder are divided out.
        proposals: the proposals, with every step.
        classification: the box head's answer for every proposal.
        detections: the detections, with every step.
        mask_logits: [D, C, 28, 28] every class's mask of every detection; None for a Faster R-CNN.
        result: `boxes`, `labels`, `scores` and `masks` as `model([image])[0]` returns them; the
            masks are pasted when they are first read.
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

    @property
    def mask_size(self) -> int | None:
        """Side of what the mask head draws, such as 28; None for a Faster R-CNN."""
        return None if self.mask_logits is None else self.mask_logits.shape[-1]

    def classify(self, boxes: Float[Tensor, "N 4"]) -> Classification:
        """Ask the second stage about any boxes, whether they are proposals or not.

        Args:
            boxes: [N, 4] in pixels of the network's input.

        Returns:
            What the box head says of each.
        """
        with torch.no_grad(), evaluating(self.model):
            return _classify(self.model, self.features, boxes, self.image_size)

    def with_proposals(self, proposals: Proposals, **settings: Any) -> "Trace":
        """Run the second stage again on other proposals; the RPN is not run again.

        Args:
            proposals: made by `propose` from this trace's objectness and deltas.
            **settings: of `detect`, where they are not the model's own.

        Returns:
            A new trace; everything before the proposals is shared with this one.
        """
        classification = self.classify(proposals.boxes)
        truth = self.ground_truth
        if truth is not None:
            truth = truth.with_proposals(self.model, proposals.boxes, self.mask_size)
        changed = replace(
            self, proposals=proposals, classification=classification, ground_truth=truth
        )
        return changed.with_detections(
            detect(
                proposals,
                classification.probs,
                classification.deltas,
                self.image_size,
                **(detection_settings(self.model) | settings),
            )
        )

    def with_detections(self, detections: Detections) -> "Trace":
        """Run the mask head again on other detections; nothing before it is run again.

        Args:
            detections: made by `detect` from this trace's classification.

        Returns:
            A new trace; everything before the detections is shared with this one.
        """
        with torch.no_grad(), evaluating(self.model):
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
            found |= target_tensors(self.ground_truth, self.anchors)
        found |= {f"feature_map_{name}": tensor for name, tensor in self.features.items()}
        found |= rpn_tensors(self.anchors, self.objectness, self.rpn_deltas, self.proposals)
        return found | head_tensors(self.classification, self.detections, self.mask_logits)

    def table(self) -> Table:
        """Print name, shape, minimum and maximum of every tensor, as the notes do.

        Returns:
            The table that was printed.
        """
        table = tabulate(self.tensors())
        print(table)
        return table


def _run(
    model: FasterRCNN,
    image: Sample | Tensor,
    class_names: Sequence[str] | None,
    generator: torch.Generator | None,
    whole: bool,
) -> Trace:
    """Run all stages, or all but the masks and what the heads would be trained on."""
    check_model(model)
    sample = image if isinstance(image, Sample) else None
    weight = next(model.parameters())
    pixels = image.image.to(weight.device) if isinstance(image, Sample) else image
    photo = _unit_range(pixels, weight)
    photo_size = (photo.shape[1], photo.shape[2])
    picture = pixels if pixels.dtype == torch.uint8 else (photo * 255).round().to(torch.uint8)
    with torch.no_grad(), evaluating(model):
        images, _ = model.transform([photo])
        if not needs_pixels(model.transform):
            photo = photo.to("meta")  # a large one takes much memory
        image_size = images.image_sizes[0]
        features = features_of(model, images)
        anchors = lay_anchors(model.rpn.anchor_generator, images, list(features.values()))
        objectness, weighted = score_anchors(model, features)
        rpn_deltas = unweighted(weighted, tuple(model.rpn.box_coder.weights))
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
        mask_logits = None
        if whole:
            mask_logits = _mask_logits(model, features, detections.boxes, image_size)
        names = model_class_names(model, class_names, classification.probs.shape[1], sample)
        truth = None
        if sample is not None and len(sample.labels):
            truth = ground_truth(model, names, photo, sample, anchors, generator)
            if whole:
                mask_size = None if mask_logits is None else mask_logits.shape[-1]
                truth = truth.with_proposals(model, proposals.boxes, mask_size)
        return Trace(
            model=model,
            image=picture,
            sample=sample,
            class_names=names,
            letterbox=_letterbox(model, images, photo_size),
            input=images.tensors,
            image_size=image_size,
            features=features,
            anchors=anchors,
            objectness=objectness,
            rpn_deltas=rpn_deltas,
            proposals=proposals,
            classification=classification,
            detections=detections,
            mask_logits=mask_logits,
            result=_result(model, detections, mask_logits, image_size, photo_size),
            ground_truth=truth,
        )


def _unit_range(pixels: Tensor, weight: Tensor) -> Tensor:
    """Give the photo as a model takes it: in 0…1, in the precision of its weights."""
    if not isinstance(pixels, Tensor):
        raise TypeError(f"image: expected a Sample or a tensor, found {type(pixels).__name__}")
    if pixels.layout != torch.strided or pixels.is_nested or pixels.device != weight.device:
        kind = "nested" if pixels.is_nested else _short(pixels.layout)
        raise ValueError(
            f"image: expected an ordinary tensor on {weight.device} as the model, found "
            f"{kind} on {pixels.device}"
        )
    if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.numel() == 0:
        raise ValueError(
            f"image: expected RGB of shape [3, H, W] with pixels, found {list(pixels.shape)}"
        )
    if pixels.dtype == torch.uint8:
        return pixels.to(weight.dtype).div_(255)
    if not pixels.is_floating_point():
        raise ValueError(
            f"image: expected uint8, or floating point in 0…1, found {_short(pixels.dtype)}"
        )
    if pixels.dtype != weight.dtype:
        raise ValueError(
            f"image: expected {_short(weight.dtype)} as the model's weights, or uint8, found "
            f"{_short(pixels.dtype)}"
        )
    if not 0 <= pixels.min() <= pixels.max() <= 1:
        raise ValueError(
            f"image: expected uint8, or floating point in 0…1, found {_short(pixels.dtype)} from "
            f"{pixels.min()} to {pixels.max()}"
        )
    return pixels


def _short(kind: torch.dtype | torch.layout) -> str:
    return str(kind).removeprefix("torch.")


def features_of(model: FasterRCNN, images: ImageList) -> dict[str, Tensor]:
    """Give the backbone's maps by name."""
    features = model.backbone(images.tensors)
    # torchvision calls the map of a backbone that has only one so.
    return {"0": features} if isinstance(features, Tensor) else dict(features)


def score_anchors(model: FasterRCNN, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Give the RPN's objectness and delta of every anchor, as its head says them."""
    objectness, deltas = concat_box_prediction_layers(*model.rpn.head(list(features.values())))
    return objectness.flatten(), deltas


def unweighted(deltas: Float[Tensor, "A 4"], weights: Weights) -> Float[Tensor, "A 4"]:
    """Divide the weights of a box coder out of deltas.

    Args:
        deltas: [A, 4] `(dx, dy, dw, dh)` as a head says them.
        weights: of its box coder; see `decode`.

    Returns:
        [A, 4] deltas of weights 1, which `decode` makes the same boxes of, to the last bit.

    Raises:
        ValueError: see `check_weights`.
    """
    # Column by column, as torchvision divides: on a GPU a vector of weights rounds otherwise.
    columns = zip(deltas.unbind(dim=1), check_weights(weights), strict=True)
    return torch.stack([column / weight for column, weight in columns], dim=1)


def pool_rois(
    model: FasterRCNN,
    features: dict[str, Tensor],
    boxes: Tensor,
    image_size: tuple[int, int],
    head: Literal["box", "mask"],
    zoom: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """RoIAlign with a head's own settings, its scales times a zoom, and the level of each RoI."""
    own = roi_pooling(model, features, image_size, head)
    levels = assign_levels(
        boxes, own.first_level, own.last_level, own.canonical_size, own.canonical_level
    )
    maps = [features[name] for name in own.maps]
    scales = [scale * zoom for scale in own.scales]
    pooled = pool(maps, boxes, levels, scales, own.output_size, own.sampling_ratio)
    return pooled, levels


def _classify(
    model: FasterRCNN, features: dict[str, Tensor], boxes: Tensor, image_size: tuple[int, int]
) -> Classification:
    heads = model.roi_heads
    pooled, levels = pool_rois(model, features, boxes, image_size, "box")
    class_logits, box_regression = heads.box_predictor(heads.box_head(pooled))
    return classify(class_logits, box_regression, levels)


def _mask_logits(
    model: FasterRCNN, features: dict[str, Tensor], boxes: Tensor, image_size: tuple[int, int]
) -> Tensor | None:
    heads = model.roi_heads
    if not heads.has_mask():
        return None
    pooled, _ = pool_rois(model, features, boxes, image_size, "mask")
    logits = heads.mask_predictor(heads.mask_head(pooled))
    if logits.isnan().any():
        raise ValueError("mask head: its logits contain NaN; did the training diverge?")
    return logits


def _result(
    model: FasterRCNN,
    detections: Detections,
    mask_logits: Tensor | None,
    image_size: tuple[int, int],
    photo_size: Sequence[int],
) -> dict[str, Tensor]:
    """Give the detections in the photo's pixels, as the model itself returns them."""
    found = {
        "boxes": detections.boxes,
        "labels": detections.labels,
        "scores": detections.scores,
    }
    size = (photo_size[0], photo_size[1])
    [answer] = model.transform.postprocess([found], [image_size], [size])
    if mask_logits is None:
        return Result(answer, None)
    probs = class_probs(mask_logits, detections.labels)
    # A copy: who changes the answer's boxes does not move the masks.
    boxes = answer["boxes"].clone()
    return Result(answer, lambda: paste_soft(probs, boxes, size)[:, None])


def _letterbox(model: FasterRCNN, images: ImageList, photo_size: tuple[int, int]) -> Letterbox:
    """Give the network's input as a picture, and the map between it and the photo."""
    transform = model.transform
    mean, std = (
        images.tensors.new_tensor(values)[:, None, None]
        for values in (transform.image_mean, transform.image_std)
    )
    picture = ((images.tensors[0] * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    height, width = photo_size
    rows, columns = images.image_sizes[0]
    if isinstance(transform, LetterboxTransform):
        fitted = transform.fit((height, width))
        return Letterbox(picture, fitted.window, fitted.scale, (height, width))
    picture[:, rows:] = 0
    picture[:, :, columns:] = 0
    return Letterbox(picture, (0, 0, columns, rows), columns / width, (height, width))
