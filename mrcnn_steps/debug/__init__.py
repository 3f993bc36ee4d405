"""Why a trace came out as it did: what belongs together, what was lost, what is wrong."""

from mrcnn_steps.debug.errors import FalsePositive, describe_error, false_positives
from mrcnn_steps.debug.fates import Fate, fates
from mrcnn_steps.debug.lineage import Lineage, Link, describe, lineage, lineage_of_object

__all__ = [
    "FalsePositive",
    "Fate",
    "Lineage",
    "Link",
    "describe",
    "describe_error",
    "false_positives",
    "fates",
    "lineage",
    "lineage_of_object",
]
