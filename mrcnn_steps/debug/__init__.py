"""Why a trace came out as it did: what belongs together, what was lost, what is wrong."""

from mrcnn_steps.debug.checkup import check_up
from mrcnn_steps.debug.coverage import Coverage, coverage
from mrcnn_steps.debug.errors import FalsePositive, describe_error, false_positives
from mrcnn_steps.debug.explanation import Explanation, explain_missed
from mrcnn_steps.debug.fates import Fate, fates
from mrcnn_steps.debug.findings import Finding
from mrcnn_steps.debug.funnel import Comparison, Funnel, compare, funnel
from mrcnn_steps.debug.lineage import Lineage, Link, describe, lineage, lineage_of_object
from mrcnn_steps.debug.preflight import preflight
from mrcnn_steps.debug.remedies import Change, Remedy, remedies

__all__ = [
    "Change",
    "Comparison",
    "Coverage",
    "Explanation",
    "FalsePositive",
    "Fate",
    "Finding",
    "Funnel",
    "Lineage",
    "Link",
    "Remedy",
    "check_up",
    "compare",
    "coverage",
    "describe",
    "describe_error",
    "explain_missed",
    "false_positives",
    "fates",
    "funnel",
    "lineage",
    "lineage_of_object",
    "preflight",
    "remedies",
]
