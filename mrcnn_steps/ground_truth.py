"""The annotated objects as the network is trained on them: which take part, and their targets."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.anchors import Anchors
from mrcnn_steps.data import Sample
from mrcnn_steps.masks import mask_targets
from mrcnn_steps.mini_masks import MiniMasks, round_trip
from mrcnn_steps.rpn_targets import RPNTargets, build, match
from mrcnn_steps.settings import positive_roi_iou, rpn_training_settings


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotated objects as the network is trained on them.

    Attributes:
        objects: [G] rows of the sample's objects that take part: neither crowds nor empty masks.
        boxes: [G, 4] their boxes in pixels of the network's input.
        labels: [G] their classes, as the model counts them.
        masks: [G, h, w] their masks at the size of the network's input.
        crowd_boxes: [K, 4] boxes of the crowds, in pixels of the network's input.
        crowd_labels: [K] the class of each crowd, as the model counts them; -1 for a class that
            it does not know.
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
    crowd_labels: Int[Tensor, "K"]
    mini_masks: MiniMasks
    rpn_targets: RPNTargets
    positive_proposals: Int[Tensor, "P"]
    positive_objects: Int[Tensor, "P"]
    mask_targets: Float[Tensor, "P m m"]

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

    Args:
        model: whose transform and training settings are used.
        class_names: the name of each of the model's labels.
        photo: [3, H, W] as the model takes it.
        sample: the same photo with its annotations.
        anchors: of this photo.
        generator: chooses the anchors that the RPN would be trained on; see `sample_anchors`.

    Returns:
        The ground truth, on the photo's device, without proposals.

    Raises:
        ValueError: an object's class is not among the model's.
    """
    device = photo.device
    objects, crowds = participants(sample)
    labels = _model_labels(sample, class_names, objects)
    unknown = objects[labels < 0]
    if len(unknown):
        names = sorted({sample.class_names[label] for label in sample.labels[unknown].tolist()})
        raise ValueError(
            f"sample {sample.name!r}: its labels {names} are not among the model's "
            f"{len(class_names)} classes; pass class_names=… if the model calls them otherwise"
        )
    kept, crowd = (_transformed(model, photo, sample, rows) for rows in (objects, crowds))
    rpn_targets = build(
        anchors,
        kept["boxes"],
        crowd["boxes"],
        **rpn_training_settings(model),
        generator=generator,
    )
    masks = kept["masks"].bool()
    nothing = objects.new_zeros(0).to(device)
    return GroundTruth(
        objects=objects.to(device),
        boxes=kept["boxes"],
        labels=labels.to(device),
        masks=masks,
        crowd_boxes=crowd["boxes"],
        crowd_labels=_model_labels(sample, class_names, crowds).to(device),
        mini_masks=round_trip(masks),
        rpn_targets=rpn_targets,
        positive_proposals=nothing,
        positive_objects=nothing,
        mask_targets=photo.new_zeros((0, 0, 0)),
    )


def _model_labels(sample: Sample, names: tuple[str, ...], rows: Tensor) -> Tensor:
    """The sample's labels as the model counts them, matched by name; -1 for an unknown one."""
    number = {name: label for label, name in enumerate(names)}
    found = [sample.class_names[label] for label in sample.labels[rows].tolist()]
    return torch.tensor([number.get(name, -1) for name in found], dtype=torch.int64)


def _transformed(
    model: FasterRCNN, photo: Tensor, sample: Sample, rows: Tensor
) -> dict[str, Tensor]:
    """Boxes and masks of some objects at the size of the network's input."""
    target = {
        "boxes": sample.boxes[rows].to(photo),
        "masks": sample.masks_or_rectangles()[rows].to(photo.device, torch.uint8),
    }
    _, [transformed] = model.transform([photo], [target])
    return transformed


def _positive_proposals(boxes: Tensor, gt_boxes: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The proposals that are trained on an object, and the object of each."""
    large = (boxes[:, 2:] > boxes[:, :2]).all(dim=1).nonzero().flatten()
    matched = match(boxes[large], gt_boxes, None, threshold, threshold)
    positive = (matched.iou >= threshold).nonzero().flatten()
    return large[positive], matched.gt_index[positive]
