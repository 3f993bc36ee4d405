"""Models and traces that the tests of the debugger's logic share."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.models import detection
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from mrcnn_steps.data import Sample, sample
from mrcnn_steps.model import load_model
from mrcnn_steps.tracing import Trace, trace
from tests.parity.conftest import CLASSES, MODELS, SMALL, UNTRAINED, Strided, liven, single_map


class OneDelta(FastRCNNPredictor):
    """A box head whose classes share a delta, said once or once a class as torchvision wants it."""

    def __init__(self, channels: int, classes: int, repeats: int) -> None:
        super().__init__(channels, classes)
        self.bbox_pred = torch.nn.Linear(channels, 4)
        self.repeats = repeats

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, deltas = super().forward(x)
        return scores, deltas.repeat(1, self.repeats)


def class_agnostic() -> MaskRCNN:
    model = single_map()
    model.roi_heads.box_predictor = OneDelta(1024, len(CLASSES), len(CLASSES))
    return model


def one_class() -> FasterRCNN:
    model = detection.fasterrcnn_mobilenet_v3_large_fpn(**UNTRAINED, **SMALL, num_classes=2)
    model.class_names = ("background", "person")
    return model


def boxes_only() -> FasterRCNN:
    """A quick detector without masks, so that finding a box is finding the object."""
    model = FasterRCNN(
        Strided(),
        num_classes=len(CLASSES),
        min_size=200,
        max_size=320,
        rpn_anchor_generator=AnchorGenerator(((16, 48, 128),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
    )
    model.class_names = CLASSES
    return model


# A heavier twin of `own_anchors` for the purposes of these tests.
REDUNDANT = "maskrcnn_resnet50_fpn"
KINDS = {name: build for name, build in MODELS.items() if name != REDUNDANT} | {
    "class_agnostic": class_agnostic,
    "one_class": one_class,
    "boxes_only": boxes_only,
}


@pytest.fixture(scope="session")
def people() -> Sample:
    """Nineteen people, chairs and bottles around tables."""
    return sample("voc_people")


@pytest.fixture(scope="session")
def bundled() -> MaskRCNN:
    """The bundled model; who changes it, changes it back."""
    return load_model("tiny")


@pytest.fixture(scope="session")
def traced(bundled: MaskRCNN, people: Sample) -> Trace:
    """The people as the bundled model sees them."""
    return trace(bundled, people)


@pytest.fixture(scope="session")
def kind(people: Sample) -> Callable[[str], FasterRCNN]:
    """Build an untrained model by its name, once a session, whose heads find hundreds of things."""
    built: dict[str, FasterRCNN] = {}

    def build(name: str) -> FasterRCNN:
        if name not in built:
            torch.manual_seed(0)
            built[name] = liven(KINDS[name]().eval(), people.image / 255)
        return built[name]

    return build
