"""Whatever a user replaces in a model, a trace of it equals the model or is refused.

Every attribute and method of every part of a model is changed, one at a time, and every module gets
a hook that changes what it takes or gives.
"""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import MultiScaleRoIAlign

from mrcnn_steps import trace
from tests.parity.conftest import CLASSES, liven

PARTS = (
    "",
    "transform",
    "backbone",
    "rpn",
    "rpn.anchor_generator",
    "rpn.head",
    "rpn.box_coder",
    "roi_heads",
    "roi_heads.box_coder",
    "roi_heads.box_roi_pool",
    "roi_heads.box_roi_pool.map_levels",
    "roi_heads.box_head",
    "roi_heads.box_predictor",
    "roi_heads.mask_roi_pool",
    "roi_heads.mask_roi_pool.map_levels",
    "roi_heads.mask_head",
    "roi_heads.mask_predictor",
)
# What belongs to every module and has no part in what a model returns.
PLUMBING = set(vars(nn.Module())) | {"_parameters", "_modules", "_buffers"}
NOT_STEPS = set(dir(nn.Sequential)) - {"forward", "__call__", "_call_impl"}


def at(model: nn.Module, path: str) -> object:
    found: object = model
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found


def altered(value: object) -> object:
    """Something of the same kind that is not the same."""
    match value:
        case bool():
            return not value
        case int():
            return value // 2
        case float():
            return value * 0.7
        case Tensor():
            return value * 0.7 if value.is_floating_point() else value
        case dict():
            return {key: altered(part) for key, part in value.items()}
        case tuple() | list():
            return type(value)(altered(part) for part in value)
        case str():
            return f"{value}!"
    return value


def altering(function: Callable) -> Callable:
    return lambda *arguments, **named: altered(function(*arguments, **named))


def changes(model: nn.Module) -> Iterator[tuple[str, str]]:
    for path in PARTS:
        part = at(model, path)
        for name in set(vars(part)) - PLUMBING | set(dir(type(part))) - NOT_STEPS:
            value = getattr(part, name)
            dunder = name.startswith("__") and name != "__call__"
            if not dunder and not isinstance(value, type | nn.Module):
                yield path, name
        if isinstance(part, nn.Module):
            yield from ((path, kind) for kind in ("hook", "pre-hook"))


def change(model: nn.Module, path: str, name: str) -> None:
    part = at(model, path)
    if name == "hook":
        part.register_forward_hook(lambda _module, _inputs, output: altered(output))
    elif name == "pre-hook":
        part.register_forward_pre_hook(lambda _module, inputs: altered(inputs))
    else:
        value = getattr(part, name)
        new = altering(value) if callable(value) else altered(value)
        if name == "__call__":
            part.__class__ = type("Own", (type(part),), {name: altering(type(part).__call__)})
        else:
            setattr(part, name, new)


def pyramid(small: MaskRCNN) -> MaskRCNN:
    """As quick a model with two levels."""
    body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 12, 2, 2))
    backbone = BackboneWithFPN(body, {"0": "0", "1": "1"}, [8, 12], 10)
    model = MaskRCNN(
        backbone,
        num_classes=len(CLASSES),
        rpn_anchor_generator=AnchorGenerator(((16,), (32,), (64,)), ((0.5, 1.0, 2.0),) * 3),
        box_roi_pool=MultiScaleRoIAlign(["0", "1"], 7, 2),
        mask_roi_pool=MultiScaleRoIAlign(["0", "1"], 14, 2),
    ).eval()
    return liven(model, torch.rand((3, 60, 80), generator=torch.Generator().manual_seed(1)))


@pytest.fixture(params=[lambda small: small, pyramid], ids=["one map", "pyramid"])
def seasoned(small, request):
    """A quick model that has seen a photo: its pooling has fixed scales and levels."""
    torch.manual_seed(0)
    small = request.param(small)
    small.transform.min_size, small.transform.max_size = (96,), 128
    small.rpn._post_nms_top_n["testing"] = 30
    small.roi_heads.detections_per_img = 6
    small([torch.rand(3, 60, 80)])
    return small


def outcome(run: Callable) -> dict[str, Tensor] | None:
    try:
        with torch.no_grad():
            return dict(run())
    except Exception:
        return None


def same(result: dict[str, Tensor], peer: dict[str, Tensor]) -> bool:
    return result.keys() == peer.keys() and all(
        torch.equal(result[name], peer[name]) for name in peer
    )


def test_a_trace_equals_the_changed_model_or_is_refused(seasoned):
    image = torch.rand((3, 60, 80), generator=torch.Generator().manual_seed(0))
    usual = outcome(lambda: seasoned([image])[0])
    assert usual is not None
    assert len(usual["boxes"]) == 6
    lies, refused, equal, changed = [], 0, 0, 0
    for path, name in sorted(changes(seasoned)):
        model = copy.deepcopy(seasoned)
        change(model, path, name)
        ours = outcome(lambda model=model: trace(model, image).result)
        peer = outcome(lambda model=model: model([image])[0])
        changed += peer is not None and not same(peer, usual)
        if ours is None:
            refused += 1
        elif peer is not None:
            if same(ours, peer):
                equal += 1
            else:
                lies.append(f"{path}.{name}")
    assert lies == []
    assert min(refused, equal, changed) > 20, "the changes change something"
