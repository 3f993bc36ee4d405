"""Photos and models to draw, and what a test reads off a drawn page."""

import itertools

import torch
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

from mrcnn_steps.data import COCO_CLASSES, Sample


def lively(model, seed=0):
    """Random weights under which every stage has something to choose from."""
    torch.manual_seed(seed)
    for layer, spread in (
        (model.rpn.head.cls_logits, 10),
        (model.rpn.head.bbox_pred, 0.5),
        (model.roi_heads.box_predictor.cls_score, 8),
        (model.roi_heads.box_predictor.bbox_pred, 0.5),
    ):
        torch.nn.init.normal_(layer.weight, std=spread)
    # Untrained proposals overlap objects a little; enough of them count as positive like this.
    model.roi_heads.proposal_matcher.high_threshold = 0.1
    return model.eval()


def blobs(count: int, height: int, width: int, class_names=COCO_CLASSES) -> Sample:
    """A photo of noise with random ellipses as its objects."""
    generator = torch.Generator().manual_seed(count)
    y, x = torch.arange(height)[:, None], torch.arange(width)[None]
    masks = torch.zeros((count, height, width), dtype=torch.bool)
    for mask in masks:
        cy, cx, ry, rx = torch.rand(4, generator=generator).tolist()
        ry, rx = (0.05 + 0.2 * ry) * height, (0.05 + 0.2 * rx) * width
        mask |= ((y - cy * height) / ry) ** 2 + ((x - cx * width) / rx) ** 2 <= 1
    return Sample.from_masks(
        image=torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator),
        masks=masks,
        labels=torch.arange(count) % (len(class_names) - 1) + 1,
        crowd=torch.zeros(count, dtype=torch.bool),
        class_names=class_names,
        name=f"{count} blobs",
    )


def small_faster_rcnn():
    return fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=81, min_size=128, max_size=192
    )


def written(figure) -> list[Text]:
    """All text of a figure."""
    return [text for text in figure.findobj(Text) if text.get_text()]


def labels_of(ax) -> list[Text]:
    return [text for text in ax.texts if text.get_bbox_patch() is not None]


def outlines(ax, color=None, dashed=None) -> int:
    """Number of boxes on a panel, of one color; contours, which are translucent, not counted."""
    count = 0
    for group in ax.findobj(PolyCollection):
        edges = group.get_edgecolor()
        if len(edges) == 0 or edges[0][3] < 1:
            continue
        if dashed is not None and (group.get_linestyle()[0][1] is not None) != dashed:
            continue
        each = itertools.islice(itertools.cycle(edges), len(group.get_paths()))
        count += sum(color is None or to_hex(edge).upper() == color for edge in each)
    return count


def collide(first, second) -> bool:
    return (
        min(first.x1, second.x1) - max(first.x0, second.x0) > 0.01
        and min(first.y1, second.y1) - max(first.y0, second.y0) > 0.01
    )


def check_labels(figure) -> None:
    """No label lies on another or leaves its panel."""
    figure.canvas.draw()
    for ax in figure.axes:
        panel = ax.get_window_extent()
        places = [label.get_bbox_patch().get_window_extent() for label in labels_of(ax)]
        for place in places:
            assert panel.x0 - 0.6 <= place.x0
            assert place.x1 <= panel.x1 + 0.6
            assert panel.y0 - 0.6 <= place.y0
            assert place.y1 <= panel.y1 + 0.6
        assert not any(collide(*pair) for pair in itertools.combinations(places, 2))


def images(figure):
    return [shown for ax in figure.axes for shown in ax.images]
