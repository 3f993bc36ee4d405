"""What the page computes again is what Python computes: row by row, for any setting."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mrcnn_steps.detection import detect
from mrcnn_steps.proposals import propose
from mrcnn_widgets.report.candidates import SPREAD
from tests.widgets.test_js import node

PROGRAM = Path(__file__).with_name("filters.mjs")
SIZE = (300, 400)
SETTINGS = 200
# torchvision spreads up to 1000 boxes apart by group, and looks at more group by group.
COUNTS = (300, 1400)


def on_the_page(stage: int, refined: Tensor, score: Tensor, group: Tensor, **more: Any) -> Any:
    question = {
        "stage": stage,
        "refined": refined.T.tolist(),
        "score": score.tolist(),
        "group": group.tolist(),
        "size": SIZE,
        "most": SPREAD["cpu"],
        **more,
    }
    done = node(PROGRAM, input=json.dumps(question))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def crowded_boxes(count: int, generator: torch.Generator) -> Tensor:
    """Boxes that overlap often, some beyond the image, some without area, many on whole pixels."""
    corner = torch.rand((count, 2), generator=generator) * torch.tensor([420.0, 320.0]) - 20
    side = torch.rand((count, 2), generator=generator) ** 2 * 120
    boxes = torch.cat((corner, corner + side), dim=1)
    boxes[::3] = (boxes[::3] / 16).round() * 16
    return boxes


def scores(count: int, generator: torch.Generator) -> Tensor:
    """Scores of which many are equal; none where torchvision leaves the order of equal ones open.

    `batched_nms` sorts what it found group by group with an unstable sort.
    """
    if count > SPREAD["cpu"]:
        return torch.randperm(count, generator=generator) / count
    return (torch.rand(count, generator=generator) * 200).round() / 200


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("per_level", [False, True])
def test_stage_4_for_any_setting(count, per_level):
    """`propose` at 200 random settings; and the suppressors of what NMS drops."""
    dice, generator = random.Random(count), torch.Generator().manual_seed(count)
    anchors = crowded_boxes(count, generator)
    deltas = torch.randn((count, 4), generator=generator) * 0.2
    objectness = torch.logit(scores(count, generator), eps=1e-4)
    sizes = [count // 2, count // 3, count - count // 2 - count // 3] if per_level else None
    tried = [
        {
            "score": dice.choice([0.0, 0.5, dice.random()]),
            "nms": dice.choice([0.5, 0.7, dice.random()]),
            "limit": dice.choice([10, 100, 1000]),
            "min_size": dice.choice([0.0, 0.001, dice.random() * 30]),
        }
        for _ in range(SETTINGS)
    ]
    expected = [
        propose(
            objectness,
            deltas,
            anchors,
            SIZE,
            sizes,
            post_nms_top_n=each["limit"],
            nms_threshold=each["nms"],
            min_size=each["min_size"],
            score_threshold=each["score"],
        )
        for each in tried
    ]
    first = expected[0]
    answers = on_the_page(
        4,
        first.refined,
        first.top_scores,
        first.group,
        settings=tried,
        perLevel=per_level,
    )
    for settings, found, answer in zip(tried, expected, answers, strict=True):
        kept = {step.name: step.rows.tolist() for step in found.steps}
        assert answer["kept"] == kept, settings
        for row, rival in answer["rivals"]:
            assert rival == found.suppressor(row), settings


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_stage_6_for_any_setting(count, seed):
    """`detect` at 200 random settings; and the suppressors of what NMS drops."""
    dice, generator = random.Random(seed), torch.Generator().manual_seed(count + seed)
    classes = 6
    proposals = crowded_boxes(count // (classes - 1), generator)
    deltas = torch.randn((len(proposals), classes, 4), generator=generator)
    probs = scores(len(proposals) * classes, generator).reshape(-1, classes)
    tried = [
        {
            "score": dice.choice([0.0, 0.05, 0.3, dice.random()]),
            "nms": dice.choice([0.3, 0.5, dice.random()]),
            "limit": dice.choice([5, 100, 1000]),
            "min_size": 0.01,
        }
        for _ in range(SETTINGS)
    ]
    expected = [
        detect(
            proposals,
            probs,
            deltas,
            SIZE,
            score_threshold=each["score"],
            nms_threshold=each["nms"],
            max_detections=each["limit"],
        )
        for each in tried
    ]
    first = expected[0]
    rows = first.foreground_rows
    answers = on_the_page(
        6,
        first.refined[rows],
        first.candidate_score[rows],
        first.candidate_label[rows],
        settings=tried,
    )
    for settings, found, answer in zip(tried, expected, answers, strict=True):
        kept = {name: rows[places].tolist() for name, places in answer["kept"].items()}
        assert kept == {step.name: step.rows.tolist() for step in found.steps}, settings
        for row, rival in answer["rivals"]:
            assert int(rows[rival]) == found.suppressor(int(rows[row])), settings
