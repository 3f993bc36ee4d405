"""The funnel: at which gate a model loses objects, over a whole dataset."""

from mrcnn_steps.debug.funnel.comparison import Comparison, compare
from mrcnn_steps.debug.funnel.running import funnel
from mrcnn_steps.debug.funnel.summary import Funnel

__all__ = ["Comparison", "Funnel", "compare", "funnel"]
