"""The bundled network: a torchvision Mask R-CNN with the anchors of the notes, small and quick.

The square of 1024 pixels is halved before the backbone, so its maps have 128, 64, 32, 16 and 8
cells (strides 8 to 128). One anchor position a cell then gives exactly the 65,472 anchors that
strides 4 to 64 give on every other cell, at a quarter of the cost.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops import boxes as box_ops
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from mrcnn_steps.anchors import pyramid
from mrcnn_steps.data.coco_classes import COCO_CLASSES
from mrcnn_steps.data.letterbox import Letterbox, letterbox
from mrcnn_steps.model.backbone import EfficientNetLite

SCALES = (32, 64, 128, 256, 512)
RATIOS = (0.5, 1.0, 2.0)
CHANNELS = 128

# Standard deviation of the backbone's four maps on photos. A fresh lateral convolution divides by
# it, so that the pyramid starts at unit scale.
FEATURE_SPREAD = (9.4, 8.1, 7.4, 3.5)


class HalvedPyramid(nn.Module):
    """Halve the image, run the backbone, merge its maps top-down: P2 … P6 of strides 8 … 128.

    FPN §3; P6 is P5 subsampled (§4.1, for the RPN alone).
    """

    out_channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.body = EfficientNetLite("lite1")
        self.fpn = FeaturePyramidNetwork(
            list(EfficientNetLite.channels), CHANNELS, extra_blocks=LastLevelMaxPool()
        )
        with torch.no_grad():
            for lateral, spread in zip(self.fpn.inner_blocks, FEATURE_SPREAD, strict=True):
                lateral[0].weight /= spread

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Compute the maps P2 … P6 by name."""
        return self.fpn(self.body(F.avg_pool2d(x, 2)))


class PyramidAnchors(AnchorGenerator):
    """The anchors of `mrcnn_steps.anchors.pyramid` behind torchvision's interface.

    torchvision's own generator rounds the anchors of a cell to whole pixels; these are exact.
    """

    def __init__(self, scales: Sequence[int] = SCALES, ratios: Sequence[float] = RATIOS):
        # torchvision's aspect ratio is height / width, ours width / height.
        heights = tuple(1 / ratio for ratio in ratios)
        super().__init__(tuple((scale,) for scale in scales), (heights,) * len(scales))
        self.scales, self.ratios = tuple(scales), tuple(ratios)
        self.laid: dict[tuple[object, ...], Tensor] = {}

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Lay the anchors of a batch's images, once for each size."""
        height, width = image_list.tensors.shape[-2:]
        strides = tuple(height // maps.shape[-2] for maps in feature_maps)
        key = (height, width, strides, image_list.tensors.device)
        if key not in self.laid:
            boxes = pyramid((height, width), strides, self.scales, self.ratios).boxes
            self.laid = {key: boxes.to(image_list.tensors.device)}
        return [self.laid[key]] * len(image_list.image_sizes)


class GlobalRegionProposalNetwork(RegionProposalNetwork):
    """An RPN that ranks the anchors of all levels together, as the notes do.

    torchvision takes the best of each level and suppresses within levels; here one global top k
    is followed by one NMS across levels.
    """

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: list[tuple[int, int]],
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Choose the proposals of each image: one top k, one NMS, over all levels."""
        # Stage 4 (`mrcnn_steps.proposals.propose`) does the same, and yet it is written out here:
        # that a trace equals the model says something only if the model does not call the stages.
        objectness = objectness.detach().reshape(len(proposals), -1)
        logits, top = objectness.topk(min(self.pre_nms_top_n(), objectness.shape[1]), dim=1)
        kept_boxes, kept_scores = [], []
        for boxes, scores, indices, shape in zip(
            proposals, logits.sigmoid(), top, image_shapes, strict=True
        ):
            clipped = box_ops.clip_boxes_to_image(boxes[indices], shape)
            large = box_ops.remove_small_boxes(clipped, self.min_size)
            scored = large[scores[large] >= self.score_thresh]
            keep = scored[box_ops.nms(clipped[scored], scores[scored], self.nms_thresh)]
            keep = keep[: self.post_nms_top_n()]
            kept_boxes.append(clipped[keep])
            kept_scores.append(scores[keep])
        return kept_boxes, kept_scores


class LetterboxTransform(GeneralizedRCNNTransform):
    """Fit every photo into one square, as the notes do, and map the predictions back.

    The raw photo is padded with zeros, then normalized, so the padding is black, in training and
    in testing.
    """

    def __init__(self, image_size: int, image_mean: list[float], image_std: list[float]):
        super().__init__(image_size, image_size, image_mean, image_std)
        self.image_size = image_size

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[ImageList, list[dict[str, Tensor]] | None]:
        """Fit the images into squares, and normalize them; boxes and masks go along."""
        for image in images:
            # [0, 1] here, 0 … 255 there: a wrong range gives confident nonsense, so it is an error.
            if not image.is_floating_point():
                raise TypeError(f"image: expected floating point in [0, 1], found {image.dtype}")
        boxed = [letterbox(image, self.image_size) for image in images]
        batch = self.normalize(torch.stack([box.image for box in boxed]))
        if targets is not None:
            targets = [
                target
                | {"boxes": box.boxes(target["boxes"])}
                | ({"masks": box.masks(target["masks"].bool()).byte()} if "masks" in target else {})
                for box, target in zip(boxed, targets, strict=True)
            ]
        return ImageList(batch, [(self.image_size, self.image_size)] * len(boxed)), targets

    def fit(self, photo_size: tuple[int, int]) -> Letterbox:
        """Where a photo of `(height, width)` pixels lies in the square; its picture is empty."""
        # Only the geometry is wanted: on the meta device nothing is computed.
        return letterbox(torch.empty((3, *photo_size), device="meta"), self.image_size)

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Map predictions from the square to the photos' pixels."""
        if self.training:
            return result
        for prediction, photo_size in zip(result, original_image_sizes, strict=True):
            boxes = self.fit(photo_size).undo_boxes(prediction["boxes"])
            prediction["boxes"] = box_ops.clip_boxes_to_image(boxes, photo_size)
            if "masks" in prediction:
                prediction["masks"] = paste_masks_in_image(
                    prediction["masks"], prediction["boxes"], photo_size
                )
        return result


def tiny(
    class_names: Sequence[str] = COCO_CLASSES,
    image_size: int = 1024,
    box_score_thresh: float = 0.05,
    box_nms_thresh: float = 0.4,
) -> MaskRCNN:
    """Build the bundled architecture with fresh weights.

    Args:
        class_names: A name for each label; the first is the background.
        image_size: Side of the square that every photo is fitted into; a multiple of 128.
        box_score_thresh: Detections of a lower score are dropped.
        box_nms_thresh: Of two detections of a class that overlap by more than this IoU the
            weaker is dropped.

    Returns:
        A `MaskRCNN` in training mode with the attribute `class_names`.

    Raises:
        ValueError: `image_size` is not a multiple of 128.
    """
    if image_size % 128 or image_size <= 0:
        raise ValueError(f"image_size: expected a multiple of 128, found {image_size}")
    model = MaskRCNN(
        HalvedPyramid(),
        rpn_anchor_generator=PyramidAnchors(),
        # The pixels 0 … 255 of EfficientNet-Lite's training: (x − 127) / 128.
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
        box_head=nn.Sequential(TwoMLPHead(CHANNELS * 7 * 7, 384), nn.Dropout(0.1)),
        box_predictor=FastRCNNPredictor(384, len(class_names)),
        box_score_thresh=box_score_thresh,
        box_nms_thresh=box_nms_thresh,
        box_batch_size_per_image=128,
        mask_head=MaskRCNNHeads(CHANNELS, (CHANNELS,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(CHANNELS, CHANNELS, len(class_names)),
    )
    rpn = model.rpn
    model.rpn = GlobalRegionProposalNetwork(
        rpn.anchor_generator,
        rpn.head,
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 1500, "testing": 10_000},
        post_nms_top_n={"training": 800, "testing": 1000},
        nms_thresh=0.7,
    )
    model.transform = LetterboxTransform(
        image_size, model.transform.image_mean, model.transform.image_std
    )
    model.class_names = tuple(class_names)
    return model
