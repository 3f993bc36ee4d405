"""What a trace would have to tell lies about is refused."""

import functools
import re
import subprocess
import sys
import types
import warnings

import jaxtyping
import pytest
import torch
from torch import nn
from torchvision.models.detection import KeypointRCNN, RetinaNet, _utils, roi_heads
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign, boxes, poolers, ps_roi_align
from torchvision.ops.poolers import LevelMapper

from mrcnn_steps import overrides, trace
from mrcnn_steps.overrides import REFERENCES, Reference, check_model


@pytest.fixture
def type_refused():
    """A wrong type stops at the checked annotation, or else at our own message."""
    return TypeError, jaxtyping.TypeCheckError


@pytest.mark.parametrize("part", ["rpn", "roi_heads", "transform"])
def test_a_part_in_training_mode(small, landscape, part):
    getattr(small, part).training = True
    with pytest.raises(ValueError, match=rf"model\.{part}: found training mode .* model\.eval"):
        trace(small, landscape)


def test_a_layer_that_would_learn_from_the_photo(small, landscape):
    """A convolution put in after `model.eval()` minds no mode; a batch norm does."""
    small.backbone.append(nn.Conv2d(24, 24, 1))
    trace(small, landscape)
    small.backbone.append(nn.BatchNorm2d(24))
    with pytest.raises(ValueError, match=r"model\.backbone\.9: found training mode"):
        trace(small, landscape)


def test_a_model_with_keypoints(small, landscape):
    anchors = AnchorGenerator(((16, 48, 128),), ((0.5, 1.0, 2.0),))
    poolers = [MultiScaleRoIAlign(["0"], size, 2) for size in (7, 14)]
    model = KeypointRCNN(
        small.backbone,
        num_classes=2,
        rpn_anchor_generator=anchors,
        box_roi_pool=poolers[0],
        keypoint_roi_pool=poolers[1],
    ).eval()
    with pytest.raises(ValueError, match="keypoint head"):
        trace(model, landscape)


def test_another_kind_of_model(small, landscape, type_refused):
    retina = RetinaNet(
        small.backbone, num_classes=3, anchor_generator=AnchorGenerator(((16,),), ((1.0,),))
    )
    for model in (retina.eval(), nn.Linear(2, 2), None):
        with pytest.raises(type_refused):
            trace(model, landscape)
    for model in (retina, type(small), 3, None):
        with pytest.raises(TypeError, match=f"MaskRCNN, found {type(model).__name__}$"):
            check_model(model)


def own_step(*arguments):
    raise AssertionError("never called")


@pytest.mark.parametrize(
    ("part", "base", "step"),
    [
        ("rpn", RegionProposalNetwork, "filter_proposals"),
        ("rpn", RegionProposalNetwork, "forward"),
        ("roi_heads", RoIHeads, "postprocess_detections"),
        ("roi_heads", RoIHeads, "forward"),
    ],
)
@pytest.mark.parametrize("where", ["subclass", "instance"])
def test_a_step_of_ones_own_is_named(small, landscape, part, base, step, where):
    module = getattr(small, part)
    if where == "subclass":
        module.__class__ = type("Own", (base,), {step: own_step})
    else:
        setattr(module, step, own_step)
    with pytest.raises(ValueError, match=rf"model\.{part}\.{step}: expected torchvision's own"):
        trace(small, landscape)


def test_a_pooling_of_ones_own_is_named(small, landscape):
    small.roi_heads.mask_roi_pool = nn.Identity()
    with pytest.raises(ValueError, match=r"model\.roi_heads\.mask_roi_pool: expected torchvision"):
        trace(small, landscape)


def test_a_choice_of_levels_of_ones_own_is_named(small, landscape):
    """Whatever it is called: torchvision makes its own on the first photo."""
    with torch.no_grad():
        small([landscape.image / 255])
    pool = small.roi_heads.box_roi_pool
    pool.map_levels.__class__ = type("LevelMapper", (LevelMapper,), {"__call__": own_step})
    with pytest.raises(ValueError, match=r"model\.roi_heads\.box_roi_pool\.map_levels: expected"):
        trace(small, landscape)


@pytest.mark.parametrize("part", ["", "rpn", "roi_heads", "roi_heads.mask_roi_pool"])
@pytest.mark.parametrize("kind", ["forward", "forward_pre"])
def test_a_hook_that_would_not_run_is_named(small, landscape, part, kind):
    def show_me_the_proposals(*arguments):
        raise AssertionError("never called")

    module = small.get_submodule(part)
    handle = getattr(module, f"register_{kind}_hook")(show_me_the_proposals)
    with pytest.raises(ValueError, match=r"show_me_the_proposals.*remove it") as refusal:
        trace(small, landscape)
    assert str(refusal.value).startswith(f"model.{part}:" if part else "model:")
    undo = str(refusal.value).rsplit("with ", 1)[1]
    exec(undo, {"model": small})
    trace(small, landscape)
    handle.remove()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rpn.box_coder.bbox_xform_clip", 0.01),
        ("roi_heads.box_coder.bbox_xform_clip", 0.01),
    ],
)
def test_a_number_that_the_stages_take_for_granted(small, landscape, path, value):
    part, coder, name = path.split(".")
    setattr(getattr(getattr(small, part), coder), name, value)
    with pytest.raises(ValueError, match=rf"model\.{path}: expected torchvision's own"):
        trace(small, landscape)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_model_of_other_channels_than_red_green_blue(small, landscape, channels):
    small.transform.image_mean, small.transform.image_std = [0.5] * channels, [0.2] * channels
    small.backbone[0] = nn.Conv2d(channels, 12, 3, stride=2, padding=1)
    with pytest.raises(ValueError, match=rf"photos of 3 channels \(RGB\), found {channels}"):
        trace(small, landscape)


def test_one_mean_for_all_three_channels(small, landscape):
    small.transform.image_mean, small.transform.image_std = [0.5], [0.2]
    trace(small, landscape)


def test_weights_of_half_precision(small, landscape):
    with pytest.raises(ValueError, match=r"found float16; call model\.float\(\)"):
        trace(small.half(), landscape)


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_weights_of_mixed_precision(small, landscape, kind):
    small.roi_heads.box_predictor.to(kind)
    with pytest.raises(ValueError, match=r"model\.roi_heads\.box_predictor\..* expected float32"):
        trace(small, landscape)


def test_a_model_without_weights(small, landscape):
    for module in small.modules():
        for name, weight in [*module.named_parameters(recurse=False)]:
            delattr(module, name)
            module.register_buffer(name, weight.data)
    with pytest.raises(ValueError, match="found a model without parameters"):
        trace(small, landscape)


def test_another_precision_for_a_while(small, landscape):
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(ValueError, match=r"found torch\.autocast"),
    ):
        trace(small, landscape)


def test_anchors_that_nobody_can_count(small, landscape):
    laid = small.rpn.anchor_generator
    small.rpn.anchor_generator = nn.Module()
    small.rpn.anchor_generator.forward = lambda images, maps: laid(images, maps)
    with pytest.raises(ValueError, match=r"anchor_generator: .*num_anchors_per_location"):
        trace(small, landscape)


def test_a_wrapper_names_the_model_inside(small):
    with pytest.raises(TypeError, match=r"found DataParallel; pass the one inside it: model\.mod"):
        check_model(nn.DataParallel(small))
    with pytest.raises(TypeError, match=r"found OptimizedModule; .*: model\._orig_mod"):
        check_model(torch.compile(small, backend="eager"))


@pytest.mark.parametrize("part", ["box_predictor.cls_score", "mask_predictor.mask_fcn_logits"])
def test_a_head_that_gives_no_numbers(small, landscape, part):
    small.roi_heads.get_submodule(part).bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN; did the training diverge"):
        trace(small, landscape)


def test_a_photo_that_is_none(small, refused, type_refused):
    grey, alpha = torch.rand(1, 40, 50), torch.rand(4, 40, 50)
    empty = torch.zeros(3, 0, 5, dtype=torch.uint8), torch.zeros(3, 5, 0)
    deep = torch.zeros(3, 40, 50, dtype=torch.uint16), torch.zeros(3, 40, 50, dtype=torch.int32)
    odd = (
        torch.zeros(3, 40, 50, dtype=torch.complex64),
        torch.zeros(3, 40, 50).to_sparse(),
        torch.zeros(3, 40, 50, device="meta"),
    )
    for image in (grey, grey[0], alpha, grey[None], *empty, *deep, *odd):
        with pytest.raises(refused):
            trace(small, image)
    for image in ("photo.jpg", None, [torch.rand(3, 40, 50)]):
        with pytest.raises(type_refused):
            trace(small, image)


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.5, 255.0])
def test_brightness_outside_the_unit_range(small, value):
    """A photo of 0…255 in floating point is the usual mistake, and gives confident nonsense."""
    image = torch.rand(3, 40, 50)
    image[1, 2, 3] = value
    with pytest.raises(ValueError, match="floating point in 0…1"):
        trace(small, image)


def test_a_photo_of_another_precision_than_the_model(small, landscape):
    with pytest.raises(ValueError, match="float64"):
        trace(small, landscape.image.double() / 255)


def test_names_that_do_not_fit_the_model(small, landscape):
    with pytest.raises(ValueError, match=r"class_names: found 2 names .* the model has 5 classes"):
        trace(small, landscape.image, class_names=("background", "person"))


def test_names_without_the_background(small, landscape):
    names = ("person", "chair", "bottle", "dining table", "cup")
    with pytest.raises(ValueError, match=r"class_names: found person, .* the background first"):
        trace(small, landscape.image, class_names=names)
    small.class_names = names
    with pytest.raises(ValueError, match=r"model\.class_names: found person"):
        trace(small, landscape.image)


REPLACED = {
    "boxes.nms": (boxes, "nms"),
    "another of torchvision's own": (poolers, "roi_align"),
    "a function of a function's": (_utils, "_topk_min"),
    "a module": (roi_heads, "box_ops"),
    "a function of torch's": (nn.functional, "softmax"),
    "a class": (poolers, "LevelMapper"),
}


@pytest.mark.parametrize("case", REPLACED)
def test_a_function_of_torchvision_that_was_replaced_is_named(small, landscape, case, monkeypatch):
    place, name = REPLACED[case]
    others = {"roi_align": ps_roi_align, "box_ops": types.SimpleNamespace(**vars(boxes))}
    monkeypatch.setattr(place, name, others.get(name, own_step))
    with pytest.raises(ValueError, match=rf"{place.__name__}\.{name}: .*put the old one back"):
        trace(small, landscape)


def test_whatever_the_steps_refer_to_is_noticed(small, monkeypatch):
    """Read from their code: nothing has to be thought of."""
    assert len(REFERENCES) > 80
    for place, name, own in REFERENCES:
        said = re.escape(f"{place.__name__}.{name}: expected torchvision's own, found another")
        with monkeypatch.context() as patch:
            patch.setattr(place, name, functools.partial(lambda own: own, own))
            with pytest.raises(ValueError, match=f"^{said}"):
                check_model(small)


@pytest.mark.parametrize(
    ("place", "name"),
    [(roi_heads, "fastrcnn_loss"), (roi_heads, "maskrcnn_loss"), (warnings, "warn")],
)
def test_what_has_no_part_in_the_answer_may_be_replaced(small, landscape, place, name, monkeypatch):
    monkeypatch.setattr(place, name, lambda *given, **named: own_step())
    trace(small, landscape.image)


EARLY = """
from torchvision.models.detection.roi_heads import RoIHeads
RoIHeads.postprocess_detections = lambda *given: None
from mrcnn_steps import load_model
from mrcnn_steps.overrides import check_model
check_model(load_model("tiny"))
"""


def test_a_method_that_was_replaced_before_we_were_imported_is_named():
    done = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True)
    assert "ValueError: model.roi_heads.postprocess_detections: expected torch" in done.stderr


def test_a_function_that_was_replaced_before_we_were_imported_is_named(small, monkeypatch):
    monkeypatch.setattr(boxes, "batched_nms", own_step)
    monkeypatch.setattr(overrides, "REFERENCES", (Reference(boxes, "batched_nms", own_step),))
    with pytest.raises(ValueError, match=r"torchvision\.ops\.boxes\.batched_nms: expected"):
        check_model(small)


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook"])
def test_a_hook_on_all_modules_is_named(small, landscape, kind):
    handle = getattr(nn.modules.module, f"register_module_{kind}")(own_step)
    try:
        with pytest.raises(ValueError, match=r"found on all modules the .*own_step, expected none"):
            trace(small, landscape)
    finally:
        handle.remove()
    trace(small, landscape)
