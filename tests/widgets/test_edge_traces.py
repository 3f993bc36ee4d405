"""The explorers and the debugger on traces with little, much or odd in them."""

from dataclasses import replace

import ipywidgets
import pytest
import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead

from mrcnn_steps.data import Sample
from mrcnn_steps.model.network import CHANNELS, HalvedPyramid, PyramidAnchors, tiny
from mrcnn_steps.tracing import trace
from mrcnn_widgets.classification import ClassificationExplorer
from mrcnn_widgets.debugger import EXPLORERS, KEYS, PipelineDebugger
from mrcnn_widgets.detection import DetectionExplorer
from mrcnn_widgets.masks import MaskExplorer

EVIL = "<img src=x onerror=alert(1)>"
NAMES = ("background", EVIL, "cat")


@pytest.fixture(scope="module")
def small():
    """A network on a square of 128 pixels whose every candidate may become a detection."""
    torch.manual_seed(3)
    model = tiny(NAMES, 128, box_score_thresh=0.0).eval()
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.weight *= 30
    model.roi_heads.detections_per_img = 20
    return model


def _photo(size=(96, 128), objects=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 255, (3, *size), generator=generator, dtype=torch.uint8)
    masks = torch.zeros((objects, *size), dtype=torch.bool)
    for row in range(objects):
        y, x = (7 * row) % (size[0] - 20), (11 * row) % (size[1] - 20)
        masks[row, y : y + 20, x : x + 20] = True
    return Sample.from_masks(
        image=image,
        masks=masks,
        labels=torch.ones(objects, dtype=torch.int64),
        crowd=torch.zeros(objects, dtype=torch.bool),
        class_names=NAMES,
        name=EVIL,
    )


def _html_of(widget) -> str:
    """All HTML that a widget hands to the page."""
    own = widget.value if isinstance(widget, ipywidgets.HTML) else ""
    return own + "".join(_html_of(child) for child in getattr(widget, "children", ()))


@pytest.fixture(scope="module")
def usual(small):
    return trace(small, _photo())


@pytest.fixture(scope="module")
def without_objects(small):
    return trace(small, _photo(objects=0))


@pytest.fixture(scope="module")
def without_proposals(usual):
    return usual.with_proposals(replace(usual.proposals, rows=usual.proposals.rows[:0]))


@pytest.fixture(scope="module")
def without_detections(usual):
    return usual.with_detections(replace(usual.detections, rows=usual.detections.rows[:0]))


@pytest.fixture(scope="module")
def without_masks():
    torch.manual_seed(3)
    model = FasterRCNN(
        HalvedPyramid(),
        rpn_anchor_generator=PyramidAnchors(),
        box_head=nn.Sequential(TwoMLPHead(CHANNELS * 49, 64)),
        box_predictor=FastRCNNPredictor(64, len(NAMES)),
        min_size=128,
        max_size=128,
        box_score_thresh=0.0,
    )
    return trace(model.eval(), _photo((128, 128)), NAMES)


@pytest.fixture(scope="module")
def crowded(small):
    """300 objects, and as many detections."""
    small.roi_heads.detections_per_img = 300
    small.roi_heads.nms_thresh = 1.0
    found = trace(small, _photo((200, 260), objects=300))
    small.roi_heads.detections_per_img, small.roi_heads.nms_thresh = 20, 0.5
    assert len(found.detections) == 300
    return found


@pytest.fixture(scope="module")
def narrow(small):
    return trace(small, _photo((40, 30)))


@pytest.fixture(scope="module")
def huge(small):
    small.roi_heads.detections_per_img = 1
    found = trace(small, _photo((4000, 6000)))
    small.roi_heads.detections_per_img = 20
    return found


TRACES = (
    "usual",
    "without_objects",
    "without_proposals",
    "without_detections",
    "without_masks",
    "crowded",
    "narrow",
    "huge",
)


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("make", EXPLORERS.values(), ids=EXPLORERS.keys())
def test_it_displays_and_leaves_a_picture(make, name, request):
    explorer = make(request.getfixturevalue(name))
    data, _ = explorer._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR")
    assert EVIL not in _html_of(explorer)
    explorer.close()


@pytest.mark.parametrize("make", EXPLORERS.values(), ids=EXPLORERS.keys())
def test_without_rows_its_layers_stay(make, usual, without_objects, without_proposals):
    """What somebody hid in the legend stays hidden while rows come and go."""
    layers = []
    for traced in (usual, without_objects, without_proposals):
        explorer = make(traced)
        layers.append({layer.name for layer in explorer.canvas.layers})
        explorer.close()
    assert layers == [layers[0]] * 3


def test_the_check_for_html_sees_the_readouts(usual):
    explorer = ClassificationExplorer(usual)
    assert "&lt;img src=x" in _html_of(explorer)
    explorer.close()


@pytest.mark.parametrize("name", TRACES)
def test_the_debugger_steps_through_all_stages(name, request):
    debugger = PipelineDebugger(request.getfixturevalue(name))
    for stage in KEYS:
        debugger.stage = stage
        assert debugger.to_png()
        assert EVIL not in _html_of(debugger)
    debugger.close()


def test_nothing_is_picked_where_there_is_nothing(without_proposals, without_detections):
    explorer = ClassificationExplorer(without_proposals)
    assert explorer.proposal is None
    assert explorer.counts.rows == []
    explorer.close()
    explorer = DetectionExplorer(without_proposals)
    assert set(explorer.counts.values()) == {0}
    explorer.close()
    explorer = MaskExplorer(without_detections)
    assert explorer.detection is None
    assert explorer.numbers.rows == [("no detection", "")]
    explorer.close()


def test_a_model_without_a_mask_head_is_told(without_masks):
    explorer = MaskExplorer(without_masks)
    assert explorer.mask is None
    assert ("mask", "none: this model has no mask head") in explorer.numbers.rows
    explorer.close()


def test_without_annotations_there_is_nothing_to_compare_with(without_objects):
    explorer = MaskExplorer(without_objects)
    assert explorer.truth is None
    assert ("object found", "none: no annotations") in explorer.numbers.rows
    explorer.close()


def test_300_detections_are_all_there(crowded):
    explorer = MaskExplorer(crowded, detection=299)
    assert len(explorer.canvas["detections"]) == len(explorer.canvas["soft masks"]) == 300
    explorer.close()
    debugger = PipelineDebugger(crowded, stage="detection")
    assert len(debugger._chooser.boxes["followed"].options) == 601
    debugger.close()


def test_a_detection_on_a_huge_photo_is_pasted_as_the_model_does(huge):
    explorer = MaskExplorer(huge)
    assert explorer.mask.shape == (4000, 6000)
    assert torch.equal(explorer.mask, huge.result["masks"][0, 0] >= 0.5)
    explorer.close()
