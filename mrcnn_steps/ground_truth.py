"""The annotated objects as the network is trained on them: which take part, and their targets."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.anchors import Anchors
from mrcnn_steps.class_names import enumerate_names
from mrcnn_steps.data import Sample
from mrcnn_steps.masks import mask_targets
from mrcnn_steps.mini_masks import MiniMasks, round_trip
from mrcnn_steps.rpn_targets import RPNTargets, build, match
from mrcnn_steps.settings import positive_roi_iou, rpn_training_settings

# Most pixels of masks that are resized at once: 64 MB in single precision.
MASK_PIXELS = 1 << 24


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotated objects as the network is trained on them.

    Attributes:
        objects: [G] rows of the sample's objects that take part: neither crowds, nor empty masks,
            nor of a class that the model does not know.
        boxes: [G, 4] their boxes in pixels of the network's input.
        labels: [G] their classes, as the model counts them.
        masks: [G, h, w] their masks at the size of the network's input.
        unknown_objects: [U] rows of the sample's objects that are left out because the model does
            not know their classes.
        unknown_boxes: [U, 4] their boxes in pixels of the network's input.
        crowd_boxes: [K, 4] boxes of the crowds, in pixels of the network's input.
        crowd_labels: [K] the class of each crowd, as the model counts them; -1 for a class that
            it does not know.
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
    unknown_objects: Int[Tensor, "U"]
    unknown_boxes: Float[Tensor, "U 4"]
    crowd_boxes: Float[Tensor, "K 4"]
    crowd_labels: Int[Tensor, "K"]
    rpn_targets: RPNTargets
    positive_proposals: Int[Tensor, "P"]
    positive_objects: Int[Tensor, "P"]
    mask_targets: Float[Tensor, "P m m"]

    @cached_property
    def mini_masks(self) -> MiniMasks:
        """The masks as mini-masks and back; made when they are first read."""
        return round_trip(self.masks)

    def with_proposals(
        self, model: FasterRCNN, proposals: Float[Tensor, "R 4"], mask_size: int | None
    ) -> "GroundTruth":
        """Compute the targets of other proposals.

        Args:
            model: tells from which IoU on a proposal is trained on an object.
            proposals: [R, 4] in pixels of the network's input.
            mask_size: side of a mask target; None without a mask head.

        Returns:
            A new ground truth that shares everything before the proposals with this one.
        """
        rows, objects = _positive_proposals(proposals, self.boxes, positive_roi_iou(model))
        if mask_size is None:
            rows, objects = rows[:0], objects[:0]
            targets = self.boxes.new_zeros((0, 0, 0))
        else:
            targets = mask_targets(self.masks, self.boxes, proposals[rows], objects, mask_size)
        return replace(
            self, positive_proposals=rows, positive_objects=objects, mask_targets=targets
        )


def participants(sample: Sample) -> tuple[Int[Tensor, "G"], Int[Tensor, "K"]]:
    """Say which of the annotated objects take part, and which are crowds.

    Args:
        sample: a photo with its annotations.

    Returns:
        Rows of the objects and rows of the crowds. What has no pixels is neither.
    """
    filled = sample.filled
    return (
        (filled & ~sample.crowd).nonzero().flatten(),
        (filled & sample.crowd).nonzero().flatten(),
    )


def ground_truth(
    model: FasterRCNN,
    class_names: tuple[str, ...],
    photo: Float[Tensor, "3 H W"],
    sample: Sample,
    anchors: Anchors,
    generator: torch.Generator | None,
) -> GroundTruth:
    """Compute the targets of a photo's objects; those of the proposals are still empty.

    Objects of classes that the model does not know are left out, with a warning.

    Args:
        model: in eval mode; its transform and training settings are used.
        class_names: the name of each of the model's labels.
        photo: [3, H, W] as the model takes it; on the meta device, if only its size matters to the
            model's transform (see `needs_pixels`).
        sample: the same photo with its annotations.
        anchors: of this photo.
        generator: chooses the anchors that the RPN would be trained on; see `sample_anchors`.

    Returns:
        The ground truth, on the device of the anchors, without proposals.
    """
    device = anchors.boxes.device
    annotated, crowds = participants(sample)
    labels = _model_labels(sample, class_names, annotated)
    objects, unknown = annotated[labels > 0], annotated[labels < 0]
    if len(unknown):
        _say_what_is_left_out(sample, unknown)
    rows = torch.cat((objects, unknown, crowds))
    moved = _transformed(model, photo, {"boxes": sample.boxes[rows].to(anchors.boxes)})["boxes"]
    boxes, unknown_boxes, crowd_boxes = moved.split([len(objects), len(unknown), len(crowds)])
    masks = _masks(model, photo, sample, objects, device)
    rpn_targets = build(
        anchors, boxes, crowd_boxes, **rpn_training_settings(model), generator=generator
    )
    nothing = torch.zeros(0, dtype=torch.int64, device=device)
    return GroundTruth(
        objects=objects.to(device),
        boxes=boxes,
        labels=labels[labels > 0].to(device),
        masks=masks,
        unknown_objects=unknown.to(device),
        unknown_boxes=unknown_boxes,
        crowd_boxes=crowd_boxes,
        crowd_labels=_model_labels(sample, class_names, crowds).to(device),
        rpn_targets=rpn_targets,
        positive_proposals=nothing,
        positive_objects=nothing,
        mask_targets=boxes.new_zeros((0, 0, 0)),
    )


def _model_labels(sample: Sample, names: tuple[str, ...], rows: Tensor) -> Tensor:
    """Give the sample's labels as the model counts them, matched by name; -1 for an unknown one."""
    number = {name: label for label, name in enumerate(names)}
    found = [sample.class_names[label] for label in sample.labels[rows].tolist()]
    return torch.tensor([number.get(name, -1) for name in found], dtype=torch.int64).to(rows.device)


def _say_what_is_left_out(sample: Sample, rows: Tensor) -> None:
    names = sorted({sample.class_names[label] for label in sample.labels[rows].tolist()})
    objects = "1 object" if len(rows) == 1 else f"{len(rows)} objects"
    warnings.warn(
        f"{sample.name}: {objects} left out, of classes that the model does not know: "
        f"{enumerate_names(names)}. If it calls them otherwise, pass class_names=…",
        # The line that called `trace` or `glance`.
        stacklevel=5,
    )


def _transformed(model: FasterRCNN, photo: Tensor, target: dict[str, Tensor]) -> dict[str, Tensor]:
    """Boxes and masks of objects at the size of the network's input."""
    _, [transformed] = model.transform([photo], [target])
    return transformed


def _masks(
    model: FasterRCNN, photo: Tensor, sample: Sample, rows: Tensor, device: torch.device
) -> Tensor:
    """Give the masks of some objects at the size of the network's input."""
    # The transform makes floating-point numbers of masks: a few at a time.
    some = max(1, MASK_PIXELS // photo[0].numel())
    masks, parts = sample.masks_or_rectangles(), []
    for start in range(0, max(len(rows), 1), some):
        part = rows[start : start + some]
        target = {
            "boxes": sample.boxes[part].to(device, photo.dtype),
            "masks": masks[part].to(device, torch.uint8),
        }
        parts.append(_transformed(model, photo, target)["masks"].bool())
    return torch.cat(parts)


def _positive_proposals(boxes: Tensor, gt_boxes: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Give the proposals that are trained on an object, and the object of each."""
    large = (boxes[:, 2:] > boxes[:, :2]).all(dim=1).nonzero().flatten()
    matched = match(boxes[large], gt_boxes, None, threshold, threshold)
    positive = (matched.iou >= threshold).nonzero().flatten()
    return large[positive], matched.gt_index[positive]
