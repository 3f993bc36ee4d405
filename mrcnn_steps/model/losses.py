"""The losses of a batch: the five of Mask R-CNN, for any torchvision R-CNN.

The modules and settings are the model's own; only the bookkeeping between them is done here, for
the whole batch at once, so that crowds and classes that nobody labeled can be left out
(`mrcnn_steps.model.targets`). With everything labeled and the same rows chosen, the losses are
torchvision's. Detectors without proposals have their own losses
(`mrcnn_steps.model.single_stage`).
"""

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image, nms

from mrcnn_steps.model.network import GlobalRegionProposalNetwork
from mrcnn_steps.model.single_stage import prepare, single_stage_losses
from mrcnn_steps.model.targets import (
    Chosen,
    Matches,
    Targets,
    choose,
    mask_targets,
    match,
    rows,
)

LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")
SMOOTH_L1_BETA = 1 / 9


class Losses(nn.Module):
    """A model together with its losses: what `DistributedDataParallel` wraps.

    Args:
        model: Any torchvision detection model but Keypoint R-CNN.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        if not isinstance(model, GeneralizedRCNN):
            prepare(model)

    def forward(
        self, images: UInt8[Tensor, "B 3 S S"], targets: Targets, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch."""
        if isinstance(self.model, GeneralizedRCNN):
            return detection_losses(self.model, images, targets, generator)
        return single_stage_losses(self.model, images, targets)


def detection_losses(
    model: GeneralizedRCNN,
    images: UInt8[Tensor, "B 3 S S"],
    targets: Targets,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Run a model on a training batch.

    Args:
        model: Any torchvision R-CNN, in training mode.
        images: [B, 3, S, S] uint8, already of the network's size.
        targets: Their ground truth.
        generator: Chooses the anchors and RoIs that are trained on.

    Returns:
        The losses by their names in torchvision (`LOSSES`; without masks, the first four).
    """
    size = (images.shape[-2], images.shape[-1])
    batch = ImageList(model.transform.normalize(images.float() / 255), [size] * len(images))
    features = model.backbone(batch.tensors)
    objectness, deltas = model.rpn.head(list(features.values()))
    anchors = model.rpn.anchor_generator(batch, list(features.values()))[0]
    level_sizes = [level[0].numel() for level in objectness]
    flat_objectness, flat_deltas = concat_box_prediction_layers(objectness, deltas)
    logits = flat_objectness.float().view(len(images), -1)
    offsets = flat_deltas.float().view(len(images), -1, 4)
    proposals, valid = training_proposals(model.rpn, logits, offsets, anchors, level_sizes, size)
    return rpn_losses(model.rpn, logits, offsets, anchors, targets, generator) | roi_losses(
        model.roi_heads, features, proposals, valid, targets, size, generator
    )


def rpn_losses(
    rpn: RegionProposalNetwork,
    logits: Float[Tensor, "B A"],
    deltas: Float[Tensor, "B A 4"],
    anchors: Float[Tensor, "A 4"],
    targets: Targets,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Objectness and box loss of the RPN (Faster R-CNN eq. 1).

    An anchor that matches nothing may still lie on an object of an unlabeled class: in photos
    that are not labeled for every class only positive anchors are trained on.
    """
    matcher, sampler = rpn.proposal_matcher, rpn.fg_bg_sampler
    with torch.no_grad():
        found = match(
            anchors.expand(len(logits), -1, -1),
            targets,
            matcher.high_threshold,
            matcher.low_threshold,
            force_best=True,
        )
        complete = targets.labeled.all(dim=1, keepdim=True)
        chosen = choose(
            found.positive,
            found.negative & complete,
            sampler.batch_size_per_image,
            sampler.positive_fraction,
            generator,
        )
    count = chosen.used.sum().clamp(min=1)
    objectness = F.binary_cross_entropy_with_logits(
        logits.gather(1, chosen.index),
        chosen.positive.float(),
        chosen.used.float(),
        reduction="sum",
    )
    picked, matched = anchors[chosen.index], matched_boxes(found, chosen, targets)
    box = box_loss(rows(deltas, chosen.index), picked, matched, chosen.positive, rpn.box_coder)
    return {"loss_objectness": objectness / count, "loss_rpn_box_reg": box / count}


@torch.no_grad()
def training_proposals(
    rpn: RegionProposalNetwork,
    logits: Float[Tensor, "B A"],
    deltas: Float[Tensor, "B A 4"],
    anchors: Float[Tensor, "A 4"],
    level_sizes: list[int],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "B P 4"], Bool[Tensor, "B P"]]:
    """Give the RPN's proposals of a batch, padded, and which of them are real.

    Rows that NMS drops stay in place and are only marked, so nothing is moved between images.
    """
    groups = [sum(level_sizes)] if isinstance(rpn, GlobalRegionProposalNetwork) else level_sizes
    best, level, start = [], [], 0
    for i, part in enumerate(logits.split(groups, dim=1)):
        top = part.topk(min(rpn.pre_nms_top_n(), part.shape[1])).indices + start
        best.append(top)
        level.append(torch.full_like(top[0], i))
        start += part.shape[1]
    index, levels = torch.cat(best, dim=1), torch.cat(level)
    scores = logits.gather(1, index)
    boxes = rpn.box_coder.decode_single(
        rows(deltas, index).reshape(-1, 4), anchors[index].reshape(-1, 4)
    )
    boxes = clip_boxes_to_image(boxes, size).view(len(logits), -1, 4)
    sides = boxes[..., 2:] - boxes[..., :2]
    wanted = (sides >= rpn.min_size).all(dim=-1) & (scores.sigmoid() >= rpn.score_thresh)
    kept = torch.zeros_like(wanted)
    for i in range(len(boxes)):
        keep = (
            nms(boxes[i], scores[i], rpn.nms_thresh)
            if len(groups) == 1
            else batched_nms(boxes[i], scores[i], levels, rpn.nms_thresh)
        )
        kept[i, keep] = True
    ranked = scores.masked_fill(~(kept & wanted), -torch.inf).topk(
        min(rpn.post_nms_top_n(), scores.shape[1])
    )
    return rows(boxes, ranked.indices), ranked.values > -torch.inf


def roi_losses(
    heads: RoIHeads,
    features: dict[str, Tensor],
    proposals: Float[Tensor, "B P 4"],
    valid: Bool[Tensor, "B P"],
    targets: Targets,
    size: tuple[int, int],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Class, box and mask loss of the heads (Mask R-CNN §3)."""
    with torch.no_grad():
        # Ground-truth boxes join the proposals, so that even an untrained RPN shows objects.
        proposals = torch.cat((proposals, targets.boxes), dim=1)
        valid = torch.cat((valid, targets.labels > 0), dim=1)
        matcher, sampler = heads.proposal_matcher, heads.fg_bg_sampler
        found = match(
            proposals, targets, matcher.high_threshold, matcher.low_threshold, force_best=False
        )
        chosen = choose(
            found.positive & valid,
            found.negative & valid,
            sampler.batch_size_per_image,
            sampler.positive_fraction,
            generator,
        )
        rois = rows(proposals, chosen.index)
        gt_index = found.gt_index.gather(1, chosen.index)
        labels = targets.labels.gather(1, gt_index) * chosen.positive
    shapes = [size] * len(rois)
    pooled = heads.box_head(heads.box_roi_pool(features, list(rois), shapes))
    class_logits, deltas = (each.float() for each in heads.box_predictor(pooled))

    count = chosen.used.sum().clamp(min=1)
    labeled = targets.labeled[:, None].expand(-1, rois.shape[1], -1).flatten(0, 1)
    per_roi = classification_loss(class_logits, labels.flatten(), labeled)
    # A head that predicts one box for all classes gives 4 values, others 4 for each class.
    per_class = deltas.view(*rois.shape[:2], -1, 4)
    column = labels.clamp(max=per_class.shape[2] - 1)[..., None, None].expand(-1, -1, 1, 4)
    box = box_loss(
        per_class.gather(2, column)[:, :, 0],
        rois,
        matched_boxes(found, chosen, targets),
        chosen.positive,
        heads.box_coder,
    )
    losses = {
        "loss_classifier": (per_roi * chosen.used.flatten()).sum() / count,
        "loss_box_reg": box / count,
    }
    if heads.has_mask():
        losses["loss_mask"] = mask_loss(
            heads, features, rois, gt_index, labels, chosen.positive, targets, size
        )
    return losses


def classification_loss(
    logits: Float[Tensor, "R C"], labels: Int64[Tensor, "R"], labeled: Bool[Tensor, "R C"]
) -> Float[Tensor, "R"]:
    """Cross-entropy that claims no more than is known.

    An RoI that matches no object is known to be none of the photo's labeled classes; it may be
    background or an object of any unlabeled class. The probability of what is known is the sum of
    theirs, and its negative logarithm is the loss:
    `log Σ_all exp(z) - log Σ_{background, unlabeled} exp(z)`. It moves no probability between
    background and the unlabeled classes, only away from the labeled ones. Where all classes are
    labeled, and for every RoI on an object, this is the usual cross-entropy.

    Args:
        logits: [R, C].
        labels: [R] class of the RoI, 0 for background.
        labeled: [R, C] the classes that the RoI's photo is labeled for.

    Returns:
        [R] the loss of each RoI.
    """
    possible = F.one_hot(labels, logits.shape[1]).bool() | (~labeled & (labels == 0)[:, None])
    return logits.logsumexp(dim=1) - logits.masked_fill(~possible, -torch.inf).logsumexp(dim=1)


def matched_boxes(found: Matches, chosen: Chosen, targets: Targets) -> Float[Tensor, "B S 4"]:
    """Give the ground-truth box that each chosen row is matched with."""
    return rows(targets.boxes, found.gt_index.gather(1, chosen.index))


def box_loss(
    deltas: Float[Tensor, "B S 4"],
    starts: Float[Tensor, "B S 4"],
    goals: Float[Tensor, "B S 4"],
    positive: Bool[Tensor, "B S"],
    coder: object,
) -> Float[Tensor, ""]:
    """Sum the smooth L1 loss between predicted deltas and those from `starts` to `goals`."""
    # What is not positive is given deltas of 0 to itself: log(0) must not enter the sum as NaN.
    safe = torch.tensor([0.0, 0.0, 1.0, 1.0], device=starts.device)
    starts = torch.where(positive[..., None], starts, safe)
    goals = torch.where(positive[..., None], goals, safe)
    truth = coder.encode_single(goals.view(-1, 4), starts.view(-1, 4)).view_as(deltas)  # type: ignore[attr-defined]
    loss = F.smooth_l1_loss(deltas, truth, beta=SMOOTH_L1_BETA, reduction="none")
    return (loss * positive[..., None]).sum()


def mask_loss(
    heads: RoIHeads,
    features: dict[str, Tensor],
    rois: Float[Tensor, "B S 4"],
    gt_index: Int64[Tensor, "B S"],
    labels: Int64[Tensor, "B S"],
    positive: Bool[Tensor, "B S"],
    targets: Targets,
    size: tuple[int, int],
) -> Float[Tensor, ""]:
    """Binary cross-entropy of the mask of the true class, over positive RoIs only."""
    counts = positive.sum(dim=1).tolist()
    image, place = torch.where(positive)
    picked = rois[image, place]
    shapes = [size] * len(rois)
    pooled = heads.mask_roi_pool(features, list(picked.split(counts)), shapes)
    logits = heads.mask_predictor(heads.mask_head(pooled))
    own = logits[torch.arange(len(picked), device=picked.device), labels[image, place]].float()
    if len(picked) == 0:
        return own.sum()  # 0, but with a gradient: every parameter takes part in every step
    with torch.no_grad():
        gt = gt_index[image, place]
        truth = mask_targets(
            targets.minis[image, gt], targets.boxes[image, gt], picked, own.shape[-1]
        )
    return F.binary_cross_entropy_with_logits(own, truth)
