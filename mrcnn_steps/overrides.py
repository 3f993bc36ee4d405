"""Steps of a model that are not torchvision's own: a trace of it would tell lies.

`trace` calls a model's transform, backbone, anchor generator and heads, with all their hooks. What
it does not call, because the stages do the same step by step, has to be what the stages do; it is
looked at here.
"""

import dis
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, cast

import torch
import torchvision
from torch import nn
from torch.nn.modules import module as modules
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from mrcnn_steps.boxes import MAX_LOG_SCALE
from mrcnn_steps.classification import LEVEL_EPSILON
from mrcnn_steps.model.network import GlobalRegionProposalNetwork, LetterboxTransform
from mrcnn_steps.settings import input_channels


class Part(NamedTuple):
    """An object of a model some methods of which the stages repeat.

    Attributes:
        path: where it is in the model, such as "rpn.box_coder"; "" for the model itself.
        kind: the class of torchvision it has to be of.
        steps: these methods, as torchvision defines them, by name.
    """

    path: str
    kind: type
    steps: dict[str, object]


def _part(path: str, kind: type, *names: str) -> Part:
    return Part(path, kind, {name: inspect.getattr_static(kind, name) for name in names})


# What calling a module comes to.
CALL = ("forward", "__call__", "_call_impl", "_wrapped_call_impl")
RPN = ("filter_proposals", "pre_nms_top_n", "post_nms_top_n", "_get_top_n_idx")
CODER = ("decode", "decode_single")
PARTS = (
    _part("", FasterRCNN, "eager_outputs", *CALL),
    _part("transform", GeneralizedRCNNTransform, "postprocess"),
    _part("rpn", RegionProposalNetwork, *RPN, *CALL),
    _part("rpn.box_coder", BoxCoder, *CODER),
    _part("roi_heads", RoIHeads, "postprocess_detections", *CALL),
    _part("roi_heads.box_coder", BoxCoder, *CODER),
    _part("roi_heads.box_roi_pool", MultiScaleRoIAlign, *CALL),
    _part("roi_heads.mask_roi_pool", MultiScaleRoIAlign, *CALL),
)

# The bundled network's own versions of steps; the stages know both.
OURS = (GlobalRegionProposalNetwork.filter_proposals, LetterboxTransform.postprocess)


class Reference(NamedTuple):
    """What a step finds by a name in a module: recipes for another NMS put their own there.

    Attributes:
        place: the module.
        name: such as "batched_nms".
        own: what torchvision has there.
    """

    place: ModuleType
    name: str
    own: object


def _references(steps: Iterable[object]) -> Iterator[Reference]:
    """Give what functions of torchvision refer to, and what that refers to in turn."""
    waiting, seen = list(steps), set[CodeType]()
    while waiting:
        function = inspect.unwrap(cast(Any, waiting.pop()))
        if not isinstance(function, FunctionType) or function.__code__ in seen:
            continue
        code = function.__code__
        seen.add(code)
        if not code.co_filename.startswith(torchvision.__path__[0]):
            continue
        for found in _names(code, sys.modules[function.__module__]):
            # Losses are computed in training only, and often replaced.
            replaceable = callable(found.own) or isinstance(found.own, ModuleType)
            in_library = found.place.__name__.startswith("torch")
            if replaceable and in_library and not found.name.endswith("_loss"):
                yield found
                waiting.append(found.own)


def _names(code: CodeType, home: ModuleType) -> Iterator[Reference]:
    """Give what code looks up in its module, and in modules: `box_ops`, `box_ops.batched_nms`."""
    owner: object = None
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL":
            owner = home
        elif step.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            owner = None
        found = getattr(owner, step.argval, None) if isinstance(owner, ModuleType) else None
        if isinstance(owner, ModuleType) and found is not None:
            yield Reference(owner, step.argval, found)
        owner = found
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner, home)


REFERENCES = tuple(
    dict.fromkeys(_references(step for part in PARTS for step in part.steps.values()))
)
LIBRARIES = (*torch.__path__, *torchvision.__path__)

# Modules that do something else in training mode.
MINDS_MODE = (
    GeneralizedRCNNTransform,
    RegionProposalNetwork,
    RoIHeads,
    nn.modules.batchnorm._NormBase,
    nn.modules.dropout._DropoutNd,
)


def check_model(model: object) -> None:
    """Refuse a model of which a trace would not be true.

    Args:
        model: in eval mode or in training mode.

    Raises:
        TypeError: it is no torchvision `FasterRCNN` or `MaskRCNN`.
        ValueError: it finds keypoints, takes no RGB, has weights of low or mixed precision,
            replaces a step of torchvision's, has a hook on a step that a trace does not call, or
            a part of it is in training mode while the model is not; or a function of torchvision
            is replaced, all modules have a hook, or autocast changes the precision.
    """
    if not isinstance(model, FasterRCNN):
        parts = model.named_children() if isinstance(model, nn.Module) else ()
        wrapped = [name for name, part in parts if isinstance(part, FasterRCNN)]
        hint = f"; pass the one inside it: model.{wrapped[0]}" if wrapped else ""
        raise TypeError(
            "model: expected a torchvision FasterRCNN or MaskRCNN, found "
            f"{type(model).__name__}{hint}"
        )
    for part in PARTS:
        if part.path.endswith("mask_roi_pool") and not model.roi_heads.has_mask():
            continue
        _check_part(_at(model, part.path), part)
    if model.roi_heads.has_keypoint():
        raise ValueError("model: expected boxes and masks only, found a keypoint head")
    _check_everywhere()
    _check_mode(model)
    _check_weights(model)
    _check_numbers(model)


def _at(model: nn.Module, path: str) -> object:
    found: object = model
    for name in filter(None, path.split(".")):
        found = getattr(found, name, None)
    return found


def _check_part(found: object, part: Part) -> None:
    name = ".".join(filter(None, ("model", part.path)))
    if not isinstance(found, part.kind):
        raise ValueError(
            f"{name}: expected torchvision's own {part.kind.__name__}, found {type(found).__name__}"
        )
    for step, own in part.steps.items():
        used = inspect.getattr_static(found, step)
        if (used is not own and used not in OURS) or (used is own and _is_foreign(own)):
            undo = (
                f"undo it with `del {name}.{step}`"
                if step in vars(found)
                else f"it belongs to the class {type(found).__name__}"
            )
            raise ValueError(
                f"{name}.{step}: expected torchvision's own, found one that replaces it; {undo}"
            )
    if isinstance(found, nn.Module) and "__call__" in part.steps:
        _check_hooks(name, found)


def _check_hooks(name: str, module: nn.Module) -> None:
    """Refuse hooks on a module that is not called: they would not run."""
    for kind, hooks in (
        ("forward_pre_hook", module._forward_pre_hooks),
        ("forward_hook", module._forward_hooks),
    ):
        _refuse_hooks(
            f"{name}: found the {kind.replace('_', ' ')}",
            hooks,
            "expected none: a trace does not call this module, so the hook would not run; remove "
            "it with the handle that registering it gave, or all of them with "
            f"{name}._{kind}s.clear()",
        )
    if module._compiled_call_impl is not None:
        raise ValueError(f"{name}: found a compiled module, expected one that is not compiled")


def _refuse_hooks(found: str, hooks: Mapping[int, object], expected: str) -> None:
    for hook in hooks.values():
        described = getattr(hook, "__qualname__", type(hook).__name__)
        raise ValueError(f"{found} {described}, {expected}")


def _is_foreign(found: object) -> bool:
    """Whether a function stems from elsewhere: it may be older than our import."""
    return isinstance(found, FunctionType) and not found.__code__.co_filename.startswith(LIBRARIES)


def _check_everywhere() -> None:
    """Refuse what is replaced, or hooked, for all models at once."""
    for place, name, own in REFERENCES:
        found = getattr(place, name)
        if found is not own or _is_foreign(found):
            raise ValueError(
                f"{place.__name__}.{name}: expected torchvision's own, found another that "
                "replaces it: a model would use it, and a trace would not; put the old one back"
            )
    for kind, hooks in (
        ("forward pre hook", modules._global_forward_pre_hooks),
        ("forward hook", modules._global_forward_hooks),
    ):
        _refuse_hooks(
            f"model: found on all modules the {kind}",
            hooks,
            "expected none: a trace does not call every module, so it would not run everywhere; "
            "remove it with the handle that registering it gave",
        )


def _check_mode(model: nn.Module) -> None:
    """Refuse a model in eval mode with a part in training mode that minds the difference."""
    if model.training:
        return
    for name, module in model.named_modules():
        if module.training and isinstance(module, MINDS_MODE):
            raise ValueError(
                f"model.{name}: found training mode in a model that is in eval mode; expected "
                "one mode: call model.eval() first"
            )


def _check_weights(model: FasterRCNN) -> None:
    weight = next(model.parameters(), None)
    if weight is None:
        raise ValueError("model: expected weights, found a model without parameters")
    if weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"model: expected weights of float32 or float64, found {str(weight.dtype)[6:]}; call "
            "model.float() first"
        )
    for name, other in model.named_parameters():
        if other.dtype != weight.dtype:
            raise ValueError(
                f"model.{name}: expected {str(weight.dtype)[6:]} as the first weight, found "
                f"{str(other.dtype)[6:]}; call model.float() first"
            )
    if torch.is_autocast_enabled(weight.device.type):
        raise ValueError(
            "model: found torch.autocast, expected weights to be used as they are; call outside "
            "of it"
        )
    channels = input_channels(model)
    if channels != 3:
        raise ValueError(
            f"model: expected one for photos of 3 channels (RGB), found {channels} "
            "(transform.image_mean)"
        )


def _check_numbers(model: FasterRCNN) -> None:
    """Refuse what the stages do not read from a model but take for granted."""
    rpn, heads = model.rpn, model.roi_heads
    if not hasattr(rpn.anchor_generator, "num_anchors_per_location"):
        raise ValueError(
            "model.rpn.anchor_generator: expected the method num_anchors_per_location() that "
            f"torchvision's has, found none in {type(rpn.anchor_generator).__name__}"
        )
    granted = [
        ("rpn.box_coder.bbox_xform_clip", rpn.box_coder.bbox_xform_clip, MAX_LOG_SCALE),
        ("roi_heads.box_coder.bbox_xform_clip", heads.box_coder.bbox_xform_clip, MAX_LOG_SCALE),
    ]
    for head in ("box", "mask"):
        # torchvision's pooling makes one on the first photo.
        mapper = getattr(getattr(heads, f"{head}_roi_pool"), "map_levels", None)
        if mapper is not None:
            path = f"roi_heads.{head}_roi_pool.map_levels"
            granted += [
                (path, type(mapper), LevelMapper),
                (f"{path}.eps", getattr(mapper, "eps", None), LEVEL_EPSILON),
            ]
    for path, found, expected in granted:
        if found != expected:
            raise ValueError(f"model.{path}: expected torchvision's own {expected}, found {found}")
