"""Exercise of lesson 06: all of its steps in one function."""

import torch
from torch import tensor
from torchvision.ops import box_iou

from mrcnn_steps import detection as stage
from mrcnn_steps.exercises import pictures
from mrcnn_steps.exercises.detection import (
    WEIGHTS,
    nms_per_class,
    photo_classified,
    random_classified,
)
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating
from mrcnn_steps.exercises.proposals import clip, decode, distinct
from mrcnn_steps.exercises.rpn_targets import have_area, iou

LESSON = "06_detection"


def detect(proposals, probs, deltas, image_size):
    proposal, labels = (probs > 0.05).nonzero(as_tuple=True)
    proposal, labels = proposal[labels > 0], labels[labels > 0]
    scores = probs[proposal, labels]
    own = deltas[proposal, labels] / torch.tensor([10.0, 10.0, 5.0, 5.0])
    boxes = clip(decode(own, proposals[proposal]), image_size)
    kept = nms_per_class(boxes, scores, labels, 0.5)[:100]
    return boxes[kept], scores[kept], labels[kept]


def _detected(proposals, probs, deltas, image_size):
    found = stage.detect(proposals, probs, deltas, image_size)
    return found.boxes, found.scores, found.labels


def _detect_fair(proposals, probs, deltas, image_size):
    if not have_area(proposals) or min(image_size) <= 0 or bool((probs < 0).any()):
        return False
    found = stage.detect(proposals, probs, deltas, image_size)
    rows = found.confident_rows
    boxes, scores = found.clipped[rows], found.candidate_score[rows]
    overlap = box_iou(boxes, boxes).fill_diagonal_(0)
    # A flat box would be dropped by a rule that the exercise leaves out.
    return (
        bool((boxes[:, 2:] - boxes[:, :2] > 0.05).all())
        and bool(((overlap - 0.5).abs() > 1e-3).all())
        and bool(((probs - 0.05).abs() > 1e-3).all())
        and distinct(scores)
    )


def _detect_wrong(proposals, probs, deltas, image_size, way):
    proposal, labels = (probs > 0.05).nonzero(as_tuple=True)
    if way == "best class":
        labels = probs.argmax(dim=1)
        proposal = torch.arange(len(labels))[(labels > 0) & (probs.amax(dim=1) > 0.05)]
        labels = labels[proposal]
    if way != "background":
        proposal, labels = proposal[labels > 0], labels[labels > 0]
    scores = probs[proposal, labels]
    weights = tensor([1.0] * 4 if way == "weights" else WEIGHTS)
    boxes = decode(deltas[proposal, labels] / weights, proposals[proposal])
    boxes = boxes if way == "clip" else clip(boxes, image_size)
    groups = labels * 0 if way == "across" else labels
    kept = nms_per_class(boxes, scores, groups, 2.0 if way == "no nms" else 0.5)[:100]
    return boxes[kept], scores[kept], labels[kept]


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="The whole stage, as torchvision does it. proposals: float [R, 4]; probs: float "
        "[R, C], class 0 is background; deltas: float [R, C, 4], weights (10, 10, 5, 5); "
        "image_size: (height, width). Every pair of a proposal and a class other than background "
        "with a probability > 0.05 is a candidate: refine it, clip it to the image, NMS within "
        "each class (IoU > 0.5), keep the 100 best. Return three values by descending score: boxes "
        "[D, 4], scores [D], labels int [D].",
        solution=detect,
        rating=Rating(difficulty=5, importance=5, minutes=40),
        uses=(iou, decode, clip, nms_per_class),
        reference=_detected,
        shapes={"proposals": "R 4", "probs": "R C", "deltas": "R C 4"},
        returns={"boxes": "D 4", "scores": "D", "labels": "D"},
        tolerance=1e-3,
        fair=_detect_fair,
        why="You have written the second half of Mask R-CNN's inference.",
        hints=(
            "(probs > 0.05).nonzero(as_tuple=True) are the candidates' proposals and classes.",
            "Leave out class 0 before NMS.",
            "Choose deltas[proposal, label], divide by the weights, decode, clip, NMS per class.",
        ),
        mistakes=(
            Mistake(
                "you kept the background",
                "Class 0 is never a detection.",
                lambda proposals, probs, deltas, image_size: _detect_wrong(
                    proposals, probs, deltas, image_size, "background"
                ),
            ),
            Mistake(
                "you forgot the weights",
                "Divide the deltas by (10, 10, 5, 5) before decoding.",
                lambda proposals, probs, deltas, image_size: _detect_wrong(
                    proposals, probs, deltas, image_size, "weights"
                ),
            ),
            Mistake(
                "NMS ran across classes",
                "A person may stand in front of a car: NMS within each class.",
                lambda proposals, probs, deltas, image_size: _detect_wrong(
                    proposals, probs, deltas, image_size, "across"
                ),
            ),
            Mistake(
                "only the best class of each proposal took part",
                "That is the notes' rule. In torchvision every class over 0.05 is a candidate.",
                lambda proposals, probs, deltas, image_size: _detect_wrong(
                    proposals, probs, deltas, image_size, "best class"
                ),
            ),
            Mistake(
                "you forgot to clip",
                "Refined boxes reach beyond the image; clip them before NMS.",
                lambda proposals, probs, deltas, image_size: _detect_wrong(
                    proposals, probs, deltas, image_size, "clip"
                ),
            ),
            Mistake(
                "there was no NMS",
                "Several proposals find the same object: NMS within each class.",
                lambda proposals, probs, deltas, image_size: _detect_wrong(
                    proposals, probs, deltas, image_size, "no nms"
                ),
            ),
        ),
        edge_cases=(
            (
                tensor([[0.0, 0, 4, 4]]),
                tensor([[0.25, 0.75]]),
                tensor([[[0.0, 0, 0, 0], [2, 0, 0, 0]]]),
                (8, 8),
            ),
            (
                tensor([[0.0, 0, 4, 4]]),
                tensor([[0.125, 0.625, 0.25]]),
                torch.zeros(1, 3, 4),
                (8, 8),
            ),
            (
                tensor([[2.0, 2, 12, 6], [2, 2, 12, 6]]),
                tensor([[0.25, 0.75], [0.375, 0.625]]),
                torch.zeros(2, 2, 4),
                (8, 8),
            ),
            (torch.zeros(0, 4), torch.zeros(0, 3), torch.zeros(0, 3, 4), (8, 8)),
        ),
        random=random_classified,
        photo=photo_classified,
        picture=pictures.boxes,
    ),
)
