"""Exercise of lesson 05: from logits to probabilities."""

import math

import torch
from torch import tensor

from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.exercise import Exercise, Mistake, Rating

LESSON = "05_classification"


def softmax(logits):
    powers = torch.exp(logits - logits.max(dim=1, keepdim=True).values)
    return powers / powers.sum(dim=1, keepdim=True)


def _softmax_above(logits, least):
    powers = (logits - least).exp()
    return powers / powers.sum(dim=1, keepdim=True)


EXERCISES = (
    Exercise(
        lesson=LESSON,
        task="Class probabilities. logits: float [R, C]. Return float [R, C]: exp(logit) divided "
        "by the sum of its row. Logits of 1000 must not overflow.",
        solution=softmax,
        rating=Rating(difficulty=2, importance=4, minutes=5),
        reference=lambda logits: logits.softmax(dim=1),
        shapes={"logits": "R C"},
        returns={"probs": "R C"},
        tolerance=1e-5,
        why="Subtracting the row's maximum changes nothing but the size of the numbers on the way.",
        hints=(
            "exp first, then divide each row by its sum: keepdim=True.",
            "exp(1000) is infinite, and infinite / infinite is NaN.",
            "Adding the same number to a whole row changes nothing: subtract its maximum first.",
        ),
        mistakes=(
            Mistake(
                "large logits overflow",
                "exp(1000) is infinite. Subtract the maximum of the row before exp.",
                lambda logits: logits.exp() / logits.exp().sum(dim=1, keepdim=True),
            ),
            Mistake(
                "you subtracted the maximum of all rows",
                "Beside a row of 1000 a row of 0 becomes exp(−1000) = 0, and 0 / 0 is NaN. Each "
                "row has its own maximum: logits.max(dim=1, keepdim=True).values.",
                lambda logits: _softmax_above(logits, logits.max() if len(logits) else 0.0),
            ),
            Mistake(
                "you subtracted the minimum",
                "Beside a 0, 1000 stays 1000, and exp(1000) is infinite. With the maximum no "
                "exponent is above 0.",
                lambda logits: _softmax_above(logits, logits.amin(dim=1, keepdim=True)),
            ),
            Mistake(
                "you took powers of 2",
                "The base is e: exp(logit).",
                lambda logits: (logits * math.log(2)).softmax(dim=1),
            ),
            Mistake(
                "you normalized columns, not rows",
                "The classes of one RoI compete: sum over dim=1.",
                lambda logits: logits.softmax(dim=0),
            ),
            Mistake(
                "you used the sigmoid",
                "With a sigmoid every class is judged alone; the box head's classes compete.",
                torch.sigmoid,
            ),
            Mistake(
                "you returned logarithms",
                "log_softmax is for the loss; asked are probabilities.",
                lambda logits: logits.log_softmax(dim=1),
            ),
        ),
        edge_cases=(
            (tensor([[0.0, 0.0]]),),
            (tensor([[1.0, 3.0], [2.0, 2.0]]),),
            (tensor([[1000.0, 1000.0]]),),
            (tensor([[1000.0, 1000.0], [0.0, 0.0]]),),
            (tensor([[1000.0, 0.0]]),),
            (torch.zeros(0, 3),),
        ),
        random=lambda dice, rows: (dice.numbers((rows, dice.integer(2, 4)), -5, 5),),
        photo=lambda sample: (Dice(0).numbers((1000, 91), -30, 30),),
    ),
)
