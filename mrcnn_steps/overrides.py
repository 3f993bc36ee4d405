"""Steps of a model that are not torchvision's own: a trace of it would tell lies.

`trace` calls a model's transform, backbone, anchor generator and heads, with all their hooks. What
it does not call, because the stages do the same step by step, has to be what the stages do; it is
looked at here.
"""

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

import torch
import torchvision
from torch import nn
from torch.nn.modules import module as modules
from torchvision.models.detection import roi_heads, rpn, transform
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign, boxes, poolers
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

# Functions that these steps call by the name they have in these modules. Recipes for another NMS
# put their own in their place.
FUNCTIONS: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (boxes, ("batched_nms", "nms", "clip_boxes_to_image", "remove_small_boxes")),
    (boxes, ("_batched_nms_coordinate_trick", "_batched_nms_vanilla")),
    (rpn, ("concat_box_prediction_layers", "permute_and_flatten")),
    (roi_heads, ("maskrcnn_inference", "paste_masks_in_image", "paste_mask_in_image")),
    (roi_heads, ("expand_boxes", "expand_masks")),
    (transform, ("resize_boxes", "paste_masks_in_image")),
    (poolers, ("roi_align", "_multiscale_roi_align", "_convert_to_roi_format", "_setup_scales")),
    (poolers, ("_infer_scale", "_filter_input", "initLevelMapper")),
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


def check_model(model: FasterRCNN) -> None:
    """Refuse a model of which a trace would not be true.

    Args:
        model: in eval mode or in training mode.

    Raises:
        TypeError: it is no torchvision `FasterRCNN` or `MaskRCNN`.
        ValueError: it finds keypoints, takes no RGB, has weights of low precision, replaces a
            step of torchvision's, has a hook on a step that a trace does not call, or a part of
            it is in training mode while the model is not; or a function of torchvision is
            replaced, or all modules have a hook.
    """
    if not isinstance(model, FasterRCNN):
        raise TypeError(
            f"model: expected a torchvision FasterRCNN or MaskRCNN, found {type(model).__name__}"
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
        if used is not own and used not in OURS:
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


def _check_everywhere() -> None:
    """Refuse what is replaced, or hooked, for all models at once."""
    for place, names in FUNCTIONS:
        for name in names:
            found = getattr(place, name)
            code = getattr(found, "__code__", None)
            if code is None or not code.co_filename.startswith(LIBRARIES):
                raise ValueError(
                    f"{place.__name__}.{name}: expected torchvision's own function, found one that "
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


def _check_weights(model: nn.Module) -> None:
    weight = next(model.parameters())
    if weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"model: expected weights of float32 or float64, found {str(weight.dtype)[6:]}; call "
            "model.float() first"
        )
    channels = input_channels(model)
    if channels != 3:
        raise ValueError(
            f"model: expected one for photos of 3 channels (RGB), found {channels} "
            "(transform.image_mean)"
        )


def _check_numbers(model: FasterRCNN) -> None:
    """Refuse numbers that the stages do not read from a model but take for granted."""
    rpn, heads = model.rpn, model.roi_heads
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
