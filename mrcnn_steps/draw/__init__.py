"""Pictures of every stage, drawn with matplotlib: for lessons, reports and papers.

Each `figure_…` is a pure function of a trace and returns a matplotlib `Figure` that a notebook
shows by itself and `savefig` writes. The primitives `photo`, `boxes`, `masks` and `labels` draw on
any axes; `page` lays out a figure in the same style.
"""

from mrcnn_steps.draw.anchors import figure_anchor_cell, figure_anchor_levels
from mrcnn_steps.draw.annotations import (
    figure_letterbox,
    figure_mini_mask_round_trip,
    figure_mini_masks,
    figure_sample,
)
from mrcnn_steps.draw.feature_maps import figure_feature_maps
from mrcnn_steps.draw.overview import figure_network, figure_pipeline
from mrcnn_steps.draw.predictions import (
    figure_classified_proposals,
    figure_detection_steps,
    figure_mask_targets,
    figure_predicted_masks,
    figure_proposals,
    figure_refined_anchors,
    figure_result,
    figure_top_anchors,
)
from mrcnn_steps.draw.primitives import (
    Tile,
    boxes,
    crop,
    joins,
    labels,
    masks,
    photo,
    tile_page,
)
from mrcnn_steps.draw.style import Picture, Swatch, caption, page
from mrcnn_steps.draw.targets import (
    figure_negative_anchors,
    figure_neutral_anchors,
    figure_positive_anchors,
    figure_refined_positives,
)
from mrcnn_steps.palette import NEGATIVE, NEUTRAL, OKABE_ITO, POSITIVE, class_colors, palette

__all__ = [
    "NEGATIVE",
    "NEUTRAL",
    "OKABE_ITO",
    "POSITIVE",
    "Picture",
    "Swatch",
    "Tile",
    "boxes",
    "caption",
    "class_colors",
    "crop",
    "figure_anchor_cell",
    "figure_anchor_levels",
    "figure_classified_proposals",
    "figure_detection_steps",
    "figure_feature_maps",
    "figure_letterbox",
    "figure_mask_targets",
    "figure_mini_mask_round_trip",
    "figure_mini_masks",
    "figure_negative_anchors",
    "figure_network",
    "figure_neutral_anchors",
    "figure_pipeline",
    "figure_positive_anchors",
    "figure_predicted_masks",
    "figure_proposals",
    "figure_refined_anchors",
    "figure_refined_positives",
    "figure_result",
    "figure_sample",
    "figure_top_anchors",
    "joins",
    "labels",
    "masks",
    "page",
    "palette",
    "photo",
    "tile_page",
]
