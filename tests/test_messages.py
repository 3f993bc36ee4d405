"""What a user reads who passes the wrong shape: our own messages, without checked annotations."""

import json
import subprocess
import sys

import pytest

# Each line is a call with a mistake, and what has to be said about it.
MISTAKES = {
    # A crash, and NaN that nobody was told of.
    "mask_targets(ones(1, 40, 40).bool(), boxes(1), boxes(1), torch.tensor([False]))": (
        "gt_index: expected int64 of shape [R], found torch.bool of shape [1]"
    ),
    "mask_targets(ones(1, 40, 40).bool(), boxes(1), boxes(1), torch.tensor([3]))": (
        "gt_index: expected 0…0, found 3 in row 0"
    ),
    "normalize(boxes(2), (NAN, 9))": "image_size: expected (height, width) in whole pixels",
    "normalize(boxes(2) * NAN, (9, 9))": "boxes: expected finite numbers, found [nan",
    "decode(zeros(2, 4) * NAN, boxes(2))": "deltas: expected numbers that give a box, found [nan",
    "propose(zeros(2), zeros(2, 4), boxes(2), (NAN, 9))": "image_size: expected (height, width)",
    "detect(boxes(2), zeros(2, 3), zeros(2, 3, 4), (9, NAN))": "image_size: expected",
    "class_probs(zeros(1, 2, 7, 7) * NAN, torch.tensor([1]))": "mask_logits: expected numbers",
    "letterbox(zeros(3, 9, 9), 16).boxes(boxes(1) * NAN)": "boxes: expected finite numbers",
    "pool([zeros(1, 3, 9, 9)], boxes(1), torch.tensor([1]), [0.5])": "levels: expected 0…0",
    "assign_levels(-boxes(1))": "rois: expected x1 ≤ x2 and y1 ≤ y2",
    # Shapes and dtypes.
    "encode(zeros(3, 4), ones(2, 4))": "boxes: expected x1 < x2 and y1 < y2",
    "encode(boxes(3), boxes(2))": "3 boxes for 2 anchors",
    "encode(boxes(3)[:, :3], boxes(3))": (
        "boxes: expected floating-point of shape [N, 4], found torch.float32 of shape [3, 3]"
    ),
    "encode(boxes(3).long(), boxes(3))": (
        "boxes: expected floating-point of shape [N, 4], found torch.int64"
    ),
    "decode(zeros(2, 5), boxes(2))": "deltas: expected shape [2, 4] or [2, C, 4], found [2, 5]",
    "boxes_from_masks(zeros(2, 5, 5))": "masks: expected bool of shape [N, H, W]",
    "boxes_from_masks(zeros(5, 5).bool())": "found torch.bool of shape [5, 5]",
    "shrink(zeros(2, 50, 50).bool(), boxes(3))": "boxes: expected 2, one for each mask, found 3",
    "expand(zeros(2, 56, 56).bool(), boxes(3), (50, 50))": "expected 2, one for each mini-mask",
    "match(boxes(3), boxes(2)[0])": (
        "gt_boxes: expected floating-point of shape [N, 4], found torch.float32 of shape [4]"
    ),
    "sample_anchors(zeros(2, 3).to(torch.int8))": "labels: expected shape [A]",
    "propose(zeros(3), zeros(2, 4), boxes(3), (9, 9))": "3 anchors need objectness of shape [3]",
    "classify(zeros(3, 5), zeros(3, 19), zeros(3))": "need box_regression of shape [3, 20]",
    "detect(boxes(2), zeros(3, 5), zeros(3, 5, 4), (9, 9))": "need 3 proposals",
    "paste(zeros(2, 28, 28), boxes(3), (50, 50))": "paste: 2 masks for 3 boxes",
    "paste_soft(zeros(2, 28, 28), boxes(3), (50, 50))": "paste: 2 masks for 3 boxes",
    "class_probs(zeros(2, 5, 28, 28), torch.tensor([1, 5]))": "labels: expected 0…4, found 5",
    "mask_targets(zeros(2, 9, 9), boxes(2), boxes(2), torch.tensor([0, 1]))": (
        "masks: expected bool of shape [G, h, w], found torch.float32 of shape [2, 9, 9]"
    ),
    "mask_targets(zeros(1, 9, 9).bool(), boxes(2), boxes(2), torch.tensor([0, 1]))": (
        "1 masks for 2 gt_boxes"
    ),
}

PROGRAM = """
import json, sys, torch
from torch import ones, zeros
from mrcnn_steps.boxes import *
from mrcnn_steps.mini_masks import *
from mrcnn_steps.rpn_targets import *
from mrcnn_steps.proposals import propose
from mrcnn_steps.classification import assign_levels, classify, pool
from mrcnn_steps.data import letterbox
from mrcnn_steps.detection import detect
from mrcnn_steps.masks import *

NAN = float("nan")

def boxes(count):
    return torch.tensor([[1.0, 2, 30, 40]]).repeat(count, 1)

said = {}
for call in json.load(sys.stdin):
    try:
        eval(call)
        said[call] = "nothing"
    except Exception as error:
        said[call] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(list(MISTAKES)),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("call", MISTAKES)
def test_the_message_names_what_was_expected_and_found(said, call):
    assert said[call].startswith("ValueError: ")
    assert MISTAKES[call] in said[call]
