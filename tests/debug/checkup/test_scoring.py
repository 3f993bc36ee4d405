"""What an object gets: the score of the best detection of its class that lies on it."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from mrcnn_steps import detection
from mrcnn_steps.debug.checkup.scoring import best_detections, mask_ious, scores_by_label
from mrcnn_steps.masks import paste

CLASSES = 4


@pytest.fixture
def found(random_boxes) -> detection.Detections:
    """Two hundred boxes of three classes, all of which become detections as they are."""
    generator = torch.Generator().manual_seed(3)
    boxes = random_boxes(200, (60, 80), seed=1, sides=(10, 60))
    probs = torch.rand((200, CLASSES), generator=generator).softmax(dim=1)
    deltas = torch.zeros((200, 1, 4))
    return detection.detect(
        boxes, probs, deltas, (60, 80), nms_threshold=1.0, max_detections=1000, best_class_only=True
    )


@pytest.fixture
def objects(random_boxes) -> tuple[Tensor, Tensor]:
    return random_boxes(12, (60, 80), seed=2, sides=(10, 60)), torch.arange(12) % 3 + 1


def test_the_best_detection_against_a_loop(found, objects):
    boxes, labels = objects
    best = best_detections(found, boxes, labels, 0.5)
    seen = 0
    for box, label, score, row in zip(boxes, labels, *best, strict=True):
        iou = box_iou(box[None], found.boxes)[0]
        own = [k for k in range(len(found)) if iou[k] >= 0.5 and found.labels[k] == label]
        assert float(score) == max((float(found.scores[k]) for k in own), default=0)
        assert int(row) in own if own else int(row) == -1
        seen += bool(own)
    assert 3 <= seen < 12 or seen == 12


def test_of_every_class_the_best_score(found, objects):
    boxes, labels = objects
    table = scores_by_label(found, boxes, CLASSES, 0.5)
    for label in range(1, CLASSES):
        alike = torch.full_like(labels, label)
        assert table[:, label].equal(best_detections(found, boxes, alike, 0.5).score)
    assert not table[:, 0].any()


def test_without_detections_nothing_is_found(objects):
    boxes, labels = objects
    nothing = detection.detect(boxes[:0], torch.ones((0, CLASSES)), torch.ones((0, 1, 4)), (60, 80))
    best = best_detections(nothing, boxes, labels, 0.5)
    assert not best.score.any()
    assert best.row.tolist() == [-1] * len(boxes)
    assert not scores_by_label(nothing, boxes, CLASSES, 0.5).any()


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_masks_are_compared_as_if_they_were_pasted(random_boxes, threshold):
    generator = torch.Generator().manual_seed(5)
    boxes = random_boxes(6, (60, 80), seed=4, sides=(10, 50))
    probs = torch.rand((6, 7, 7), generator=generator)
    own = list(torch.rand((6, 60, 80), generator=generator) > 0.6)
    pasted = paste(probs, boxes, (60, 80), threshold)
    expected = [float((a & b).sum() / (a | b).sum()) for a, b in zip(pasted, own, strict=True)]
    assert mask_ious(probs, boxes, own, threshold) == pytest.approx(expected)


def test_of_no_masks_there_is_no_iou():
    assert mask_ious(torch.ones((0, 7, 7)), torch.ones((0, 4)), [], 0.5) == []
