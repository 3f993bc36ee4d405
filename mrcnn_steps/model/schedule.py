"""The learning rate over a run, and the running average of the weights."""

import copy
import math

import torch
from torch import Tensor, nn


def learning_rate_factor(step: int, progress: float, warmup: int) -> float:
    """Linear warm-up, then half a cosine down to 1 % ("SGDR", 2017, without restarts).

    Args:
        step: Steps done so far.
        progress: Part of the run that is done, from 0 to 1, by steps or by time.
        warmup: Steps of the warm-up.

    Returns:
        Factor of the learning rate.
    """
    cosine = 0.01 + 0.99 * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return min(1.0, (step + 1) / (warmup + 1)) * cosine


class Average:
    """The exponential moving average of a model's weights, which predicts better than the last.

    Args:
        model: The model to follow.
        decay: Weight of the past; smaller in the first steps, when the past is random.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move toward the weights that the model has after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        ours: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay)
        for own, other in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(other)
