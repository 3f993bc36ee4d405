"""Why a trace came out as it did: what belongs together, what was lost, what is wrong."""

from mrcnn_steps.debug.lineage import Lineage, Link, describe, lineage, lineage_of_object

__all__ = ["Lineage", "Link", "describe", "lineage", "lineage_of_object"]
