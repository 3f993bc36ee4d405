"""One photo run through a model in many setups, of which nothing is computed twice."""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.image_list import ImageList

from mrcnn_steps.anchors import Anchors
from mrcnn_steps.boxes import decode
from mrcnn_steps.classification import Classification, classify
from mrcnn_steps.data import Sample
from mrcnn_steps.debug.checkup.scoring import Best, best_detections, mask_ious
from mrcnn_steps.debug.checkup.setup import (
    Normalization,
    Setup,
    set_anchors,
    set_deltas,
    set_input,
    set_masks,
)
from mrcnn_steps.debug.rerun import of_stage
from mrcnn_steps.detection import Detections, detect
from mrcnn_steps.ground_truth import participants
from mrcnn_steps.masks import class_probs
from mrcnn_steps.proposals import Proposals, propose
from mrcnn_steps.settings import detection_settings, lay_anchors, proposal_settings
from mrcnn_steps.tracing import features_of, pool_rois, score_anchors, unweighted

# Candidates before the RPN's NMS, of which ten thousand take longer than the whole rest; those
# further down become a detection once in a thousand objects.
MOST_CANDIDATES = 2000


class Examination:
    """A photo with its objects, run through a model in many setups.

    What a setup shares with the one that the others start from is computed once: a change of the
    heads reuses the features and the proposals, one of the masks the detections too.

    Args:
        model: in eval mode; called without gradients. It is left as it is.
        sample: the photo.
        class_names: the name of each of the model's labels.
        own: the normalization that the model's transform applies.
        start: the setup that the others differ from.
        iou: from which IoU on a box is an object's.
        pixels: [3, H, W] what the model is given, where that is not the sample's image in 0…1.

    Attributes:
        objects: [G] rows of the sample's annotations that count: no crowds, with pixels, and of a
            class that the model knows.
        boxes: [G, 4] their boxes in pixels of the network's input.
        labels: [G] their classes, as the model counts them.
    """

    def __init__(
        self,
        model: FasterRCNN,
        sample: Sample,
        class_names: tuple[str, ...],
        own: Normalization,
        start: Setup,
        iou: float,
        pixels: Float[Tensor, "3 H W"] | None = None,
    ) -> None:
        self._model, self._sample, self._own, self._iou = model, sample, own, iou
        self._start, self._kept = start, dict[str, dict[Hashable, Any]]()
        weight = next(model.parameters())
        photo = sample.image.to(weight) / 255 if pixels is None else pixels.to(weight)
        number = {name: label for label, name in enumerate(class_names)}
        rows, _ = participants(sample)
        named = [number.get(sample.class_names[label], 0) for label in sample.labels[rows].tolist()]
        labels = torch.tensor(named, dtype=torch.int64)
        self.objects = rows[labels > 0]
        self.labels = labels[labels > 0].to(weight.device)
        boxes = sample.boxes[self.objects].to(photo)
        images, [target] = model.transform([photo], [{"boxes": boxes}])
        self.boxes: Float[Tensor, "G 4"] = target["boxes"]
        self._images, self._size = images, images.image_sizes[0]

    @property
    def size(self) -> int:
        """How many bytes the features of the start's setup take: most of what is kept."""
        maps = self.features(self._start).values()
        return sum(each.numel() * each.element_size() for each in maps)

    def features(self, setup: Setup) -> dict[str, Tensor]:
        """Give the backbone's maps by name."""
        return self._shared("features", setup, lambda: self._see(setup))

    def rpn(self, setup: Setup) -> tuple[Tensor, Tensor, Anchors]:
        """Give the RPN's objectness and delta of every anchor, as it says them, and the anchors."""
        return self._shared("rpn", setup, lambda: self._ask_rpn(setup))

    def proposals(self, setup: Setup) -> Proposals:
        """Give the proposals."""
        return self._shared("proposals", setup, lambda: self._propose(setup))

    def classification(self, setup: Setup) -> Classification:
        """Give what the box head says of every proposal, as it says it."""
        return self._shared("classification", setup, lambda: self._classify(setup))

    def detections(self, setup: Setup) -> Detections:
        """Give the detections."""
        return self._shared("detections", setup, lambda: self._detect(setup))

    def best(self, setup: Setup) -> Best:
        """Give the best detection of every object."""
        return best_detections(self.detections(setup), self.boxes, self.labels, self._iou)

    def scores(self, setup: Setup) -> Float[Tensor, "G"]:
        """Give the score of the best detection of every object, 0 where there is none."""
        return self.best(setup).score

    def mask_scores(self, setup: Setup) -> Float[Tensor, "G"]:
        """Give the mask IoU of the best detection of every object, 0 where there is none.

        Without masks, of the model or of the sample, it is 0 everywhere.
        """
        best, masks = self.best(setup), self._sample.masks
        seen = (best.row >= 0).nonzero().flatten()
        ious = best.score.new_zeros(len(best.score))
        if len(seen) and masks is not None and self._model.roi_heads.has_mask():
            probs = self._shared("masks", setup, lambda: self._draw(setup, best.row[seen]))
            found = mask_ious(
                set_masks(probs, setup),
                self._in_photo(self.detections(setup), best.row[seen]),
                [masks[row].to(probs.device) for row in self.objects[seen.cpu()].tolist()],
                setup.mask_threshold,
            )
            ious[seen] = ious.new_tensor(found)
        return ious

    def anchors(self, setup: Setup) -> Float[Tensor, "A 4"]:
        """Give all anchors."""
        return set_anchors(self.rpn(setup)[2], setup)

    def refined(self, setup: Setup, rows: Int[Tensor, "N"]) -> Float[Tensor, "N 4"]:
        """Give anchors moved by the RPN's deltas, not clipped.

        Args:
            setup: to follow.
            rows: of the anchors.

        Returns:
            [N, 4] in pixels of the network's input.
        """
        deltas = self.rpn(setup)[1][rows]
        return decode(self._rpn_deltas(deltas, setup), self.anchors(setup)[rows])

    def _shared(self, stage: str, setup: Setup, compute: Callable[[], Any]) -> Any:
        """Compute a stage; what the start's setup and the latest one gave is kept."""
        key_of = KEYS[stage]
        key, kept = key_of(setup), self._kept.setdefault(stage, {})
        if key not in kept:
            value = compute()
            start = key_of(self._start)
            kept = self._kept[stage] = {old: kept[old] for old in kept if old == start}
            kept[key] = value
        return kept[key]

    def _see(self, setup: Setup) -> dict[str, Tensor]:
        seen = set_input(self._images.tensors, self._size, self._own, setup)
        return features_of(self._model, ImageList(seen, self._images.image_sizes))

    def _ask_rpn(self, setup: Setup) -> tuple[Tensor, Tensor, Anchors]:
        features = self.features(setup)
        generator, maps = self._model.rpn.anchor_generator, list(features.values())
        anchors = lay_anchors(generator, self._images, maps)
        return *score_anchors(self._model, features), anchors

    def _rpn_deltas(self, deltas: Tensor, setup: Setup) -> Tensor:
        """Give deltas of weights 1."""
        weights = setup.rpn_weights or self._model.rpn.box_coder.weights
        return unweighted(set_deltas(deltas, setup.rpn_swapped), tuple(weights))

    def _propose(self, setup: Setup) -> Proposals:
        objectness, deltas, anchors = self.rpn(setup)
        keywords = proposal_settings(self._model, anchors)
        keywords |= of_stage(dict(setup.settings), "proposals")
        keywords["pre_nms_top_n"] = min(keywords["pre_nms_top_n"], MOST_CANDIDATES)
        return propose(
            objectness,
            self._rpn_deltas(deltas, setup),
            self.anchors(setup),
            self._size,
            **keywords,
        )

    def _classify(self, setup: Setup) -> Classification:
        heads, boxes = self._model.roi_heads, self.proposals(setup).boxes
        pooled, levels = pool_rois(
            self._model, self.features(setup), boxes, self._size, "box", setup.box_zoom
        )
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
        return classify(logits, deltas, levels)

    def _detect(self, setup: Setup) -> Detections:
        said = self.classification(setup)
        probs, deltas = said.probs, set_deltas(said.deltas, setup.box_swapped)
        if setup.columns:
            probs = probs[:, setup.columns]
            if setup.deltas_follow and deltas.shape[1] > 1:
                deltas = deltas[:, setup.columns]
        keywords = detection_settings(self._model)
        keywords |= of_stage(dict(setup.settings), "detection")
        if setup.box_weights:
            keywords["weights"] = setup.box_weights
        return detect(self.proposals(setup), probs, deltas, self._size, **keywords)

    def _draw(self, setup: Setup, rows: Tensor) -> Tensor:
        """Draw the masks of some detections, each of its class."""
        heads, found = self._model.roi_heads, self.detections(setup)
        pooled, _ = pool_rois(
            self._model,
            self.features(setup),
            found.boxes[rows],
            self._size,
            "mask",
            setup.mask_zoom,
        )
        labels = found.labels[rows]
        if setup.columns and setup.deltas_follow:
            labels = labels.new_tensor(setup.columns)[labels]
        return class_probs(heads.mask_predictor(heads.mask_head(pooled)), labels)

    def _in_photo(self, found: Detections, rows: Tensor) -> Tensor:
        """Give the boxes of some detections in pixels of the photo."""
        answer = {
            "boxes": found.boxes[rows],
            "labels": found.labels[rows],
            "scores": found.scores[rows],
        }
        height, width = self._sample.image.shape[1:]
        [placed] = self._model.transform.postprocess([answer], [self._size], [(height, width)])
        return placed["boxes"]


def _of_input(setup: Setup) -> Hashable:
    return setup.channels_reversed, setup.normalization


def _of_rpn(setup: Setup) -> Hashable:
    return (
        _of_input(setup),
        setup.cells_transposed,
        setup.levels_reversed,
        setup.anchor_scale,
        setup.ratios_inverted,
        setup.rpn_weights,
        setup.rpn_swapped,
        tuple(each for each in setup.settings if each[0].startswith("rpn.")),
    )


def _of_boxes(setup: Setup) -> Hashable:
    heads = setup.columns, setup.deltas_follow, setup.box_weights, setup.box_swapped
    return _of_rpn(setup), setup.box_zoom, heads, setup.settings


# What the result of each stage depends on.
KEYS: dict[str, Callable[[Setup], Hashable]] = {
    "features": _of_input,
    "rpn": _of_input,
    "proposals": _of_rpn,
    "classification": lambda setup: (_of_rpn(setup), setup.box_zoom),
    "detections": _of_boxes,
    "masks": lambda setup: (_of_boxes(setup), setup.mask_zoom),
}
