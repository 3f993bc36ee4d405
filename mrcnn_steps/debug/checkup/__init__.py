"""The check-up: which classic mistake in a model or its input explains what it misses."""

from mrcnn_steps.debug.checkup.search import check_up

__all__ = ["check_up"]
