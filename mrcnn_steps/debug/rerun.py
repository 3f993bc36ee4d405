"""Run a trace again with other settings: from their stage on, or from the photo.

A setting is named by its place in a torchvision model, such as "rpn.nms_thresh". No model is
changed: what runs from the photo is a copy that shares its weights.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from mrcnn_steps.classification import Classification
from mrcnn_steps.detection import Detections, detect
from mrcnn_steps.model.network import LetterboxTransform
from mrcnn_steps.nms import Overlaps
from mrcnn_steps.proposals import Proposals, propose
from mrcnn_steps.settings import detection_settings
from mrcnn_steps.tracing import Trace

Value = int | float


class Place(NamedTuple):
    """Where a setting belongs.

    Attributes:
        stage: key of the stage that it changes.
        keyword: of the stage's function, and the field of its result.
    """

    stage: str
    keyword: str


SETTINGS = {
    "rpn.pre_nms_top_n": Place("proposals", "pre_nms_top_n"),
    "rpn.min_size": Place("proposals", "min_size"),
    "rpn.score_thresh": Place("proposals", "score_threshold"),
    "rpn.nms_thresh": Place("proposals", "nms_threshold"),
    "rpn.post_nms_top_n": Place("proposals", "post_nms_top_n"),
    "roi_heads.score_thresh": Place("detection", "score_threshold"),
    "roi_heads.nms_thresh": Place("detection", "nms_threshold"),
    "roi_heads.detections_per_img": Place("detection", "max_detections"),
}

# torchvision keeps these by mode, training and testing.
BY_MODE = ("pre_nms_top_n", "post_nms_top_n")


def current(trace: Trace) -> dict[str, Value]:
    """Read the settings that a trace was made with.

    Args:
        trace: of a photo.

    Returns:
        The value of each of `SETTINGS`.
    """
    stages = {"proposals": trace.proposals, "detection": trace.detections}
    return {name: getattr(stages[at.stage], at.keyword) for name, at in SETTINGS.items()}


def rerun(trace: Trace, settings: Mapping[str, Value]) -> Trace:
    """Run a trace again from the first stage that a setting changes; what is before is shared.

    Args:
        trace: of a photo.
        settings: new values of some of `SETTINGS`; the others stay as they are in the trace.

    Returns:
        The trace that the model would give if it were set so.

    Raises:
        ValueError: there is no such setting.
    """
    check_settings(settings)
    now = current(trace)
    changed = {name: value for name, value in settings.items() if value != now[name]}
    stages = {SETTINGS[name].stage for name in changed}
    if "proposals" in stages:
        proposals = propose_again(trace, changed)
        return trace.with_proposals(proposals, **detection_keywords(trace, changed))
    if "detection" not in stages:
        return trace
    return trace.with_detections(
        detect_again(trace, changed, trace.proposals, trace.classification)
    )


def variant(model: FasterRCNN, settings: Mapping[str, Value], scale: float = 1.0) -> FasterRCNN:
    """Set a copy of a model otherwise; weights are shared, and the model stays as it is.

    Args:
        model: to copy.
        settings: new values of some of `SETTINGS`.
        scale: of the size that photos are resized to.

    Returns:
        The copy.

    Raises:
        ValueError: there is no such setting.
    """
    check_settings(settings)
    changed = _shallow(model)
    changed.rpn, changed.roi_heads = _shallow(model.rpn), _shallow(model.roi_heads)
    for name, value in settings.items():
        part, attribute = name.split(".")
        module = getattr(changed, part)
        if attribute in BY_MODE:
            by_mode = getattr(module, f"_{attribute}")
            setattr(module, f"_{attribute}", by_mode | {"testing": value})
        else:
            setattr(module, attribute, value)
    if scale != 1:
        changed.transform = _scaled(model.transform, scale)
    return changed


def value_in(model: FasterRCNN, setting: str) -> Value:
    """Read what a model is set to.

    Args:
        model: any.
        setting: one of `SETTINGS`.

    Returns:
        The value; in eval mode, where it depends on that.
    """
    part, attribute = setting.split(".")
    module = getattr(model, part)
    if attribute in BY_MODE:
        return getattr(module, f"_{attribute}")["testing"]
    return getattr(module, attribute)


def code(setting: str, value: Value) -> str:
    """Write the line of Python that sets a model so.

    Args:
        setting: one of `SETTINGS`.
        value: to set it to.
    """
    part, attribute = setting.split(".")
    if attribute in BY_MODE:
        attribute = f'_{attribute}["testing"]'
    return f"model.{part}.{attribute} = {value:g}"


def check_settings(settings: Mapping[str, Value]) -> None:
    """Raise a ValueError if one of the settings is not among `SETTINGS`."""
    unknown = sorted(set(settings) - set(SETTINGS))
    if unknown:
        raise ValueError(f"setting: expected some of {', '.join(SETTINGS)}, found {unknown[0]!r}")


def of_stage(settings: Mapping[str, Value], stage: str) -> dict[str, Any]:
    """Give the settings of one stage, as keyword arguments of its function."""
    return {
        SETTINGS[name].keyword: value
        for name, value in settings.items()
        if SETTINGS[name].stage == stage
    }


def propose_again(
    trace: Trace, changed: Mapping[str, Value], overlaps: Overlaps | None = None
) -> Proposals:
    """Choose a trace's proposals with other settings.

    Args:
        trace: of a photo.
        changed: new values of some of `SETTINGS`; those of other stages are left alone.
        overlaps: see `propose`.

    Returns:
        The proposals.
    """
    own = trace.proposals
    if set(changed) & set(_RPN) == {"rpn.post_nms_top_n"}:
        return own.limited(int(changed["rpn.post_nms_top_n"]))
    sizes = [grid.count for grid in trace.anchors.grids] if own.per_level else None
    settings = of_stage(current(trace) | dict(changed), "proposals")
    return propose(
        trace.objectness,
        trace.rpn_deltas,
        trace.anchors,
        trace.image_size,
        sizes,
        overlaps=overlaps,
        **settings,
    )


def detection_keywords(trace: Trace, changed: Mapping[str, Value]) -> dict[str, Any]:
    """Give the keyword arguments of `detect` for a trace with other settings."""
    return of_stage(current(trace) | dict(changed), "detection") | {
        "weights": detection_settings(trace.model)["weights"],
        "min_size": trace.detections.min_size,
        "best_class_only": len(trace.detections.candidate_label) == len(trace.proposals),
    }


def detect_again(
    trace: Trace, changed: Mapping[str, Value], proposals: Proposals, answer: Classification
) -> Detections:
    """Choose the detections with other settings.

    Args:
        trace: of a photo, whose other settings stay.
        changed: new values of some of `SETTINGS`; those of other stages are left alone.
        proposals: to choose among.
        answer: what the box head says of them.

    Returns:
        The detections.
    """
    keywords = detection_keywords(trace, changed)
    return detect(proposals, answer.probs, answer.deltas, trace.image_size, **keywords)


_RPN = tuple(name for name, place in SETTINGS.items() if place.stage == "proposals")


def _shallow(module: torch.nn.Module) -> torch.nn.Module:
    """Give a copy of a module whose parts can be exchanged; the parts are the module's own."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def _scaled(transform: GeneralizedRCNNTransform, scale: float) -> GeneralizedRCNNTransform:
    """Give a transform to another size; the bundled network's has to stay a multiple of 128."""
    twin = copy.copy(transform)
    if isinstance(transform, LetterboxTransform):
        twin.image_size = max(1, round(transform.image_size * scale / 128)) * 128
        return twin
    twin.min_size = tuple(round(side * scale) for side in transform.min_size)
    twin.max_size = round(transform.max_size * scale)
    if transform.fixed_size is not None:
        twin.fixed_size = tuple(round(side * scale) for side in transform.fixed_size)
    return twin
