"""How a report was made: what somebody needs who wants to make it again, or to doubt it."""

import platform
from importlib.metadata import version

from mrcnn_steps.debug.funnel.identity import annotations_sha256, weights_sha256
from mrcnn_steps.settings import all_settings
from mrcnn_steps.tracing import Trace

PACKAGES = ("mrcnn-steps", "torch", "torchvision")
LEFT_OUT = (
    "feature maps and weights",
    "all candidates of stage 6 with low scores (the stage says from which on)",
)


def versions() -> str:
    """Name what a report is made with, and its versions."""
    return ", ".join(
        [
            *(f"{name} {version(name)}" for name in PACKAGES),
            f"Python {platform.python_version()}",
        ]
    )


def made(
    trace: Trace, command: str | None, photos: bool, score_threshold: float
) -> list[tuple[str, str]]:
    """Tell how a report on a photo was made.

    Args:
        trace: of the photo.
        command: what was typed, if anything was.
        photos: whether the photo is in the report.
        score_threshold: that detections have to exceed.

    Returns:
        What is told, and what there is to tell.
    """
    left_out = [*([] if photos else ["the photo"]), *LEFT_OUT]
    told = [("command", command)] if command else []
    told += [
        ("versions", versions()),
        ("model", type(trace.model).__name__),
        ("weights, SHA-256", weights_sha256(trace.model)),
    ]
    if trace.sample is not None and trace.ground_truth is not None:
        digest = annotations_sha256([trace.sample], trace.class_names)
        told.append(("annotations, SHA-256", digest))
    told.append(("judged are detections with a score above", f"{score_threshold:g}"))
    told += [(name, str(value)) for name, value in all_settings(trace.model).items()]
    return [*told, ("left out", "; ".join(left_out))]
