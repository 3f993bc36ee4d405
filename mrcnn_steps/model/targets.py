"""Training targets for a whole batch at once: matching, sampling and mask targets.

The rules are those of stage 3 (`mrcnn_steps.rpn_targets`) and of torchvision, but for crowds (see
`in_crowds`). They are written a second time because the shapes differ: there, one image is looked
at at a time; here, ground truth is padded to a rectangle so that a GPU sees few large operations
and never has to tell the CPU how many rows a filter left.

Two things are unknown in real data and must not be learned as background: what lies inside a
crowd, and objects of classes that nobody labeled in a photo.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torchvision.ops import roi_align


@dataclass(frozen=True)
class Targets:
    """The ground truth of a batch, padded to the same number of objects.

    Attributes:
        boxes: [B, G, 4] in pixels of the network's input; zeros where padded.
        labels: [B, G] class from 1; 0 where padded.
        minis: [B, G, m, m] each object's mask inside its own box, 0 or 1.
        crowds: [B, K, 4] boxes of crowds; zeros where padded.
        labeled: [B, C] True for the background and every class of which the photo's objects are
            all annotated.
    """

    boxes: Float[Tensor, "B G 4"]
    labels: Int64[Tensor, "B G"]
    minis: UInt8[Tensor, "B G m m"]
    crowds: Float[Tensor, "B K 4"]
    labeled: Bool[Tensor, "B C"]

    def to(self, device: torch.device) -> "Targets":
        """Move everything to a device, without waiting for it where memory is pinned."""
        return Targets(
            *(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self))
        )

    def pin_memory(self) -> "Targets":
        """Lock the memory, as `DataLoader` asks, so that copying to a GPU need not wait."""
        return Targets(*(getattr(self, field.name).pin_memory() for field in fields(self)))


@dataclass(frozen=True)
class Matches:
    """What each box of a batch (anchors or RoIs) is taken for in training.

    Attributes:
        positive: [B, N] stands for an object.
        negative: [B, N] stands for background; what is neither takes no part.
        gt_index: [B, N] the object of highest IoU.
    """

    positive: Bool[Tensor, "B N"]
    negative: Bool[Tensor, "B N"]
    gt_index: Int64[Tensor, "B N"]


@dataclass(frozen=True)
class Chosen:
    """A random choice of rows of each image, padded to the same number.

    Attributes:
        index: [B, S] rows.
        positive: [B, S] the row is a chosen positive.
        used: [B, S] the row is chosen at all; False where padded.
    """

    index: Int64[Tensor, "B S"]
    positive: Bool[Tensor, "B S"]
    used: Bool[Tensor, "B S"]


def intersections(
    boxes: Float[Tensor, "B N 4"], others: Float[Tensor, "B M 4"]
) -> Float[Tensor, "B M N"]:
    """Area that each box shares with each other box."""
    a, b = boxes[:, None], others[:, :, None]
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    return width.clamp_(min=0).mul_(height.clamp_(min=0))


def areas(boxes: Float[Tensor, "B N 4"]) -> Float[Tensor, "B N"]:
    """Area of each box."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def in_crowds(boxes: Float[Tensor, "B N 4"], crowds: Float[Tensor, "B K 4"]) -> Bool[Tensor, "B N"]:
    """Whether half of a box or more lies in a crowd.

    Stage 3 shows the notes' rule, by which a negative may not touch a crowd at all (IoU of 0.001).
    This is the rule that the bundled weights were trained with: a box that only reaches into a
    crowd may be a negative, as most of what it shows is known.
    """
    if crowds.shape[1] == 0:
        return torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    return intersections(boxes, crowds).amax(dim=1) >= 0.5 * areas(boxes)


def match(
    boxes: Float[Tensor, "B N 4"],
    targets: Targets,
    positive_iou: float,
    negative_iou: float,
    force_best: bool,
) -> Matches:
    """Match boxes with the objects of their image (Faster R-CNN §3.1.2).

    Args:
        boxes: [B, N, 4] anchors or RoIs.
        targets: The ground truth.
        positive_iou: From this IoU on a box is positive.
        negative_iou: Below it (to every object) a box is negative, unless half of it or more
            lies in a crowd.
        force_best: Also make the best boxes of each object positive, whatever their IoU, with
            all ties. An object that touches no box forces none: "IoU 0" ties with everything.

    Returns:
        The matches.
    """
    shared = intersections(boxes, targets.boxes)
    # Padding has IoU 0 with everything; boxes of no area shall not divide by zero.
    union = (areas(boxes)[:, None] + areas(targets.boxes)[:, :, None] - shared).clamp_(min=1e-6)
    iou = shared.div_(union)
    best, gt_index = iou.max(dim=1)
    positive = best >= positive_iou
    if force_best:
        best_of_object = iou.amax(dim=2, keepdim=True)
        positive |= ((iou == best_of_object) & (best_of_object > 0)).any(dim=1)
    negative = (best < negative_iou) & ~positive & ~in_crowds(boxes, targets.crowds)
    return Matches(positive, negative, gt_index)


def choose(
    positive: Bool[Tensor, "B N"],
    negative: Bool[Tensor, "B N"],
    count: int,
    positive_fraction: float,
    generator: torch.Generator,
) -> Chosen:
    """Choose `count` rows of each image at random, at most a fraction of them positive.

    The choice is the top of a random number for each row: shapes are known beforehand, and a GPU
    need not report how many positives there were.

    Args:
        positive: [B, N] rows to choose positives from.
        negative: [B, N] rows to choose negatives from.
        count: Rows to choose per image.
        positive_fraction: Largest share of positives among them.
        generator: Source of the random numbers, on the device of the masks.

    Returns:
        The chosen rows; positives first. Where an image has too few, the rest is not `used`.
    """
    count = min(count, positive.shape[1])
    luck = torch.rand(positive.shape, generator=generator, device=positive.device)
    positive_luck, positive_index = luck.masked_fill(~positive, -1).topk(
        max(1, int(count * positive_fraction))
    )
    negative_luck, negative_index = luck.masked_fill(~negative, -1).topk(count)
    is_positive = positive_luck >= 0
    # As many negatives as the positives leave room for.
    room = count - is_positive.sum(dim=1, keepdim=True)
    rank = torch.arange(count, device=luck.device)
    is_negative = (negative_luck >= 0) & (rank < room)
    used = torch.cat((is_positive, is_negative), dim=1)
    order = used.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :count]
    index = torch.cat((positive_index, negative_index), dim=1).gather(1, order)
    chosen_positive = torch.cat((is_positive, torch.zeros_like(is_negative)), dim=1)
    return Chosen(index, chosen_positive.gather(1, order), used.gather(1, order))


def rows(values: Tensor, index: Int64[Tensor, "B S"]) -> Tensor:
    """Take rows `index[b]` of every `values[b]`, for values of shape [B, N, …]."""
    batch = torch.arange(len(index), device=index.device)[:, None]
    return values[batch, index]


def mask_targets(
    minis: UInt8[Tensor, "P m m"],
    gt_boxes: Float[Tensor, "P 4"],
    rois: Float[Tensor, "P 4"],
    size: int,
) -> Float[Tensor, "P size size"]:
    """Cut the mask of each RoI's object at the RoI (Mask R-CNN §3).

    The object's mask is known inside its own box as m × m pixels; the RoI is expressed in these
    pixels, and RoIAlign (§3, with the half pixel) reads it there.

    Args:
        minis: [P, m, m] the mask of each RoI's object inside the object's box.
        gt_boxes: [P, 4] that box.
        rois: [P, 4] in the same pixels as `gt_boxes`.
        size: Side of the targets.

    Returns:
        [P, size, size] values from 0 to 1.
    """
    origin = gt_boxes[:, :2].repeat(1, 2)
    sides = (gt_boxes[:, 2:] - gt_boxes[:, :2]).repeat(1, 2)
    # A ring of zeros, as RoIAlign would continue the outermost pixels beyond the object's box.
    ring = torch.nn.functional.pad(minis[:, None].float(), (1, 1, 1, 1))
    inside = (rois - origin) / sides * minis.shape[-1] + 1
    batch = torch.arange(len(rois), device=rois.device, dtype=rois.dtype)[:, None]
    return roi_align(ring, torch.cat((batch, inside), dim=1), size, aligned=True)[:, 0]
