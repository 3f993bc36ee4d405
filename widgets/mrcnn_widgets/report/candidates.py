"""Stages 4 and 6 of a report: the candidates, from which the page computes every step again.

The program filters the very numbers that Python had, in its precision, and so ends with the same
rows (`js/nms.js`). Layers without rows travel as patterns, which it fills.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mrcnn_steps.proposals import Proposals
from mrcnn_steps.steps import TURNED_AWAY
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.report.packing import Packed, in_json
from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.scene import scene
from mrcnn_widgets.viewer import wire
from mrcnn_widgets.viewer.layers import as_numpy
from mrcnn_widgets.views import detection as detection_view
from mrcnn_widgets.views import proposals as proposals_view
from mrcnn_widgets.views.objects import objects_of

Record = dict[str, Any]

# Candidates of stage 6 that travel: those over the model's threshold, or this many if there are
# fewer; and at most as many as the second number.
USUAL, MOST = 3000, 12_000
# Candidates of stage 4 that are drawn until somebody asks for another number.
FEW = 60
# Up to this many boxes `torchvision.ops.batched_nms` spreads groups apart, on each kind of device;
# it counts their 4000 and 100,000 numbers.
SPREAD = {"cpu": 1000, "cuda": 25_000}


def table(arrays: Mapping[str, np.ndarray], payload: Payload, name: str) -> Record:
    """Store arrays of one row a candidate.

    Args:
        arrays: by name; boxes are [N, 4] and travel column by column.
        payload: gets the block.
        name: of the block.

    Returns:
        The block, and where each array lies in it.
    """
    columns = {key: array.T if array.ndim == 2 else array for key, array in arrays.items()}
    places, raw = wire.lay_out(columns)
    return {"block": payload.add_compressed(name, zlib.compress(raw, 9)), "arrays": places}


def proposals(trace: Trace, payload: Payload, case: str, anchors: Packed) -> Record:
    """Stage 4: every candidate before NMS.

    Args:
        trace: of a photo.
        payload: gets the block.
        case: begins its name.
        anchors: the layer of all anchors, from which the candidates' own are taken.

    Returns:
        The stage's record.
    """
    found: Proposals = trace.proposals
    seen = scene(trace)
    nothing = np.zeros(0, np.int64)
    patterns = {
        layer.name: in_json(layer)
        for layer in proposals_view.layers(found, trace.anchors, "final", nothing)
    }
    patterns["suppressor"] = in_json(proposals_view.suppressor_layer(found, None, None))
    arrays = {
        "refined": found.refined,
        "score": found.top_scores,
        "anchor": found.top_index.int(),
        "group": found.group.int(),
    }
    objects = proposals_view.object_layers(seen.boxes, seen.names, None)[0]
    return {
        "main": "candidates",
        "steps": [
            {"title": name, "hint": view.tooltip, "layers": [], "filters": view.filters}
            for name, view in proposals_view.VIEWS.items()
        ],
        "first": len(proposals_view.VIEWS) - 1,
        "candidates": table(_numpy(arrays), payload, f"{case}-candidates-4"),
        "patterns": patterns,
        "objects": in_json(objects),
        "turned_away": TURNED_AWAY,
        "levels": [
            [name, grid.rows, grid.columns, grid.per_cell]
            for name, grid in zip(trace.anchors.level_names, trace.anchors.grids, strict=True)
        ],
        "image_size": found.image_size,
        "settings": {
            "score": found.score_threshold,
            "nms": found.nms_threshold,
            "limit": found.post_nms_top_n,
            "min_size": found.min_size,
        },
        "anchors": anchors,
        "object_boxes": seen.boxes.tolist(),
        "draws": {
            "few": FEW,
            "most": proposals_view.MOST,
            "around": proposals_view.AROUND,
            "reached": proposals_view.REACHED,
        },
        "per_level": found.per_level,
        "spread": SPREAD.get(found.rows.device.type, SPREAD["cuda"]),
    }


def detection(trace: Trace, payload: Payload, case: str, score_threshold: float) -> Record:
    """Stage 6: the candidates that a score threshold of the report may let pass.

    Args:
        trace: of a photo.
        payload: gets the block.
        case: begins its name.
        score_threshold: that the stage starts with, from the model's own on.

    Returns:
        The stage's record.
    """
    found = trace.detections
    rows = found.foreground_rows
    floor = _floor(as_numpy(found.candidate_score[rows]), found.score_threshold)
    rows = rows[found.candidate_score[rows] > floor]
    pattern = detection_view.candidates(trace, found, "detection_limit", rows[:0])
    layers = [pattern, *detection_view.details(trace, found, None)]
    arrays = {
        "row": rows.int(),
        "refined": found.refined[rows],
        "score": found.candidate_score[rows],
        "label": found.candidate_label[rows].int(),
        "proposal": found.candidate_proposal[rows].int(),
        "origin": trace.proposals.boxes[found.candidate_proposal[rows]],
    }
    cut = len(found.foreground_rows) - len(rows)
    return {
        "main": "candidates",
        "steps": [
            {"title": title, "hint": "", "layers": [], "filters": [name]}
            for name, title in detection_view.STEPS.items()
        ],
        "first": len(detection_view.STEPS) - 1,
        "candidates": table(_numpy(arrays), payload, f"{case}-candidates-6"),
        "patterns": {layer.name: in_json(layer) for layer in layers},
        "objects": in_json(objects_of(trace, visible=False)),
        "turned_away": TURNED_AWAY,
        "totals": {
            "refined": len(found.candidate_score),
            "foreground": len(found.foreground_rows),
        },
        "floor": floor,
        "draws": {
            "likely": detection_view.LIKELY,
            "best": detection_view.BEST,
            "most": detection_view.MOST_DRAWN,
            "labeled": detection_view.MOST_LABELED,
        },
        "spread": SPREAD.get(rows.device.type, SPREAD["cuda"]),
        "cut": cut,
        "image_size": trace.image_size,
        "settings": {
            "score": score_threshold,
            "nms": found.nms_threshold,
            "limit": found.max_detections,
            "min_size": found.min_size,
        },
    }


def _floor(scores: np.ndarray, threshold: float) -> float:
    """Choose the score that a candidate has to exceed to travel."""
    best = np.sort(scores)[::-1]
    floor = min(threshold, float(best[USUAL])) if len(best) > USUAL else 0.0
    return max(floor, float(best[MOST])) if len(best) > MOST else floor


def _numpy(arrays: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: as_numpy(array) for name, array in arrays.items()}
