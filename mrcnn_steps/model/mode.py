"""Training mode and eval mode of a model."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model that is in training mode in eval mode for a while.

    Modules are set one by one, not by `model.eval()`: in training some are often kept in eval
    mode, and each gets its own mode back. A model in eval mode is left as it is.

    Args:
        model: any.

    Yields:
        None; the model is in eval mode inside the block.
    """
    in_training = [part for part in model.modules() if part.training] if model.training else []
    for part in in_training:
        part.training = False
    try:
        yield
    finally:
        for part in in_training:
            part.training = True
