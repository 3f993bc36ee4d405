"""The visual debugger in JupyterLab: one viewer, and an explorer for each stage of a Mask R-CNN."""

from importlib import import_module
from typing import Any

# Not on first use: a package that is loaded later would hide its function of the same name.
from mrcnn_widgets.report import report

# The explorers need torch and a model, the viewer needs neither: each is loaded on first use.
_HOME = {
    "AnchorExplorer": "anchors",
    "Canvas": "viewer.canvas",
    "ClassificationExplorer": "classification",
    "DetectionExplorer": "detection",
    "MaskExplorer": "masks",
    "MiniMaskExplorer": "mini_masks",
    "PipelineDebugger": "debugger",
    "ProposalExplorer": "proposals",
    "RPNTargetExplorer": "rpn_targets",
}

__all__ = [*_HOME, "report"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
