"""What each stage shows in a report: its steps, the layers of each, and what is said of a row.

A stage is a record of JSON:

    frame       "network" or "photo": in whose pixels its layers are
    main        the layer whose rows can be picked
    steps       title, hint and layers of each position of the scrubber
    tables      caption and rows of what is said about the stage as a whole
    rows        the block with facts and layers of each row of `main`, if there is such a block

Stages 4 and 6 have no layers here but the candidates they are made from; see `candidates`.
"""

from collections.abc import Iterator
from typing import Any

from mrcnn_steps.anchors import best_anchors
from mrcnn_steps.settings import roi_pooling, rpn_training_settings
from mrcnn_steps.stages import STAGES
from mrcnn_steps.tracing import Trace
from mrcnn_widgets.report.candidates import detection, proposals
from mrcnn_widgets.report.packing import Packed, in_block, in_json
from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.scene import Scene, scene
from mrcnn_widgets.viewer.layers import Layer
from mrcnn_widgets.views import anchors as anchors_view
from mrcnn_widgets.views import classification as classification_view
from mrcnn_widgets.views import masks as masks_view
from mrcnn_widgets.views import mini_masks as mini_masks_view
from mrcnn_widgets.views import rpn_targets as targets_view
from mrcnn_widgets.views.objects import as_boxes, objects_layer, objects_of

Record = dict[str, Any]

# Sides of a mini-mask: the mask head's, and that of the Keras-era implementation.
SIDES = (28, 56)
# From this IoU on an object is covered by an anchor.
COVERED = 0.5


def stages(
    trace: Trace, payload: Payload, case: str, mask_step: int, score_threshold: float
) -> Iterator[Record]:
    """Make the record of each stage.

    Args:
        trace: of a photo.
        payload: gets the blocks.
        case: begins the names of the blocks.
        mask_step: how many of the photo's pixels a pixel of the stored photo spans.
        score_threshold: that stage 6 starts with.

    Yields:
        The records in the order of the pipeline.
    """
    seen = scene(trace)
    every = in_block(anchors_view.every(trace.anchors), payload, f"{case}-anchors")
    make = {
        "mini_masks": lambda: mini_masks(seen, payload, case),
        "anchors": lambda: anchors(trace, seen, payload, case, every),
        "rpn_targets": lambda: rpn_targets(trace, seen, payload, case),
        "proposals": lambda: proposals(trace, payload, case, every),
        "classification": lambda: classification(trace, payload, case),
        "detection": lambda: detection(trace, payload, case, score_threshold),
        "masks": lambda: masks(trace, payload, case, mask_step, score_threshold),
    }
    for stage in STAGES:
        about = {"key": stage.key, "title": stage.title, "sentence": stage.sentence}
        yield {**about, "frame": "network", "tables": [], **make[stage.key]()}


def outlines(trace: Trace, left_out: str) -> Iterator[Record]:
    """Make the records of stages that show no more than the objects, and what is followed.

    Args:
        trace: of a photo.
        left_out: says that the rest is not there.

    Yields:
        The records in the order of the pipeline.
    """
    for stage in STAGES:
        in_photo = stage.key == "masks"
        objects = in_json(objects_of(trace, in_photo=in_photo))
        yield {
            "key": stage.key,
            "title": stage.title,
            "sentence": stage.sentence,
            "frame": "photo" if in_photo else "network",
            "main": "",
            "tables": [],
            "note": left_out,
            "steps": [_step(stage.title, "What is followed, at this stage.", [objects])],
        }


def _step(title: str, hint: str, layers: list[Packed], **more: Any) -> Record:
    return {"title": title, "hint": hint, "layers": layers, **more}


def _objects(seen: Scene, **options: Any) -> Layer:
    return objects_layer(seen.boxes, seen.names, **options)


def mini_masks(seen: Scene, payload: Payload, case: str) -> Record:
    """Stage 1: each object's mask, and what is left of it at two sizes."""
    steps = []
    for side in SIDES:
        rows = []
        for row in range(len(seen.names)):
            found = mini_masks_view.cut(seen.mask(row))
            mini = found.shrunk(side)
            name = f"{case}-mini-{side}-{row}"
            layers = mini_masks_view.layers(found, mini)
            rows.append(
                {
                    "facts": mini_masks_view.facts(found, mini),
                    "layers": [in_block(each, payload, f"{name}-{each.name}") for each in layers],
                }
            )
        steps.append(
            _step(
                f"{side} × {side}",
                f"Masks of {side} × {side} samples, made large again.",
                [in_json(_objects(seen, pickable=True))],
                rows=payload.add_json(f"{case}-mini-{side}", rows),
            )
        )
    if not seen.names:
        return {"main": "objects", "steps": steps[:1], "note": mini_masks_view.NO_OBJECTS}
    return {"main": "objects", "steps": steps, "first": 0}


def anchors(trace: Trace, seen: Scene, payload: Payload, case: str, every: Packed) -> Record:
    """Stage 2: every anchor by its level, and which objects have one that fits."""
    found = trace.anchors
    counts = ("level", "stride", "cells × shapes", "anchors")
    tables: list[Record] = [
        {"caption": "Anchors", "head": counts, "rows": anchors_view.counts(found)}
    ]
    hint = "Every anchor, by its level."
    laid = _step("all anchors", hint, [every, in_json(_objects(seen))])
    if not seen.names:
        return {"main": "anchors", "steps": [laid], "tables": tables}
    best = best_anchors(found, seen.boxes)
    covered = best.iou >= COVERED
    rows = []
    for row in range(len(seen.names)):
        _, marks = anchors_view.coverage_layers(found, seen, best, covered, row)
        facts = anchors_view.facts(found, int(best.row[row]))
        rows.append({"facts": facts, "layers": [in_json(marks)]})
    head, *lines = anchors_view.coverage(found, seen.names, best, covered)
    tables.append({"caption": "Objects and their best anchor", "head": head, "rows": lines})
    objects, _ = anchors_view.coverage_layers(found, seen, best, covered, None)
    fit = _step(
        "objects covered",
        f"Objects with an anchor of IoU {COVERED} or more; pick one to see its best anchor.",
        [in_json(objects)],
        main="objects",
        rows=payload.add_json(f"{case}-covered", rows),
    )
    return {"main": "anchors", "steps": [laid, fit], "tables": tables}


def rpn_targets(trace: Trace, seen: Scene, payload: Payload, case: str) -> Record:
    """Stage 3: what every anchor is taught, before and after sampling, and the moves."""
    truth = trace.ground_truth
    if truth is None:
        return {"main": "anchors", "steps": [], "note": targets_view.NO_OBJECTS}
    targets = truth.rpn_targets
    boxes = as_boxes(trace.anchors.boxes)
    around = [in_json(layer) for layer in targets_view.scene_layers(seen)]
    settings = rpn_training_settings(trace.model)
    steps: list[Record] = []
    for when, labels, hint in (
        ("before sampling", targets.match.labels, "What each anchor's overlaps make of it."),
        ("after sampling", targets.labels, "The anchors that a step of training would use."),
    ):
        layer = targets_view.anchors_layer(trace.anchors, boxes, targets.match, labels, seen.names)
        block = f"{case}-targets-{len(steps)}"
        steps.append(_step(when, hint, [*around, in_block(layer, payload, block)]))
    moves = targets_view.refinement_layers(trace.anchors, targets, seen.names)
    hint = "Where the sampled positives are taught to move."
    steps.append(_step("refined", hint, [*around, *map(in_json, moves)], main="after"))
    counts = targets_view.counts(targets)
    before, after = counts.values()
    lines = [(name, f"{before[name]:,}", f"{after[name]:,}") for name in before]
    rules = [(name.replace("_", " "), f"{value:g}") for name, value in settings.items()]
    return {
        "main": "anchors",
        "steps": steps,
        "tables": [
            {"caption": "Anchors", "head": ("", *counts), "rows": lines},
            {"caption": "Settings of the model", "head": ("", ""), "rows": rules},
        ],
    }


def classification(trace: Trace, payload: Payload, case: str) -> Record:
    """Stage 5: the proposals by class, and what the box head says of each."""
    overview = classification_view.overview(trace)
    rows = []
    for row, label in enumerate(trace.classification.labels.tolist()):
        picked = classification_view.look_at(trace, row, label)
        bars = classification_view.bars(trace, picked)
        rows.append(
            {
                "facts": classification_view.facts(trace, picked),
                "bars": [(bar.name, round(bar.value, 4), bar.color) for bar in bars],
                "box": [round(value, 2) for value in picked.box.tolist()],
                "refined": [round(value, 2) for value in picked.refined_box.tolist()],
                "samples": picked.samples,
                "scale": picked.scale,
            }
        )
    patterns = classification_view.details(trace, None)
    return {
        "main": "proposals",
        "bins": roi_pooling(trace.model, trace.features, trace.image_size).output_size,
        "patterns": {layer.name: in_json(layer) for layer in patterns},
        "steps": [
            _step(
                "proposals",
                "Each proposal by its most probable class; pick one to see all it was called.",
                [in_block(each, payload, f"{case}-classes-{each.name}") for each in overview],
                rows=payload.add_json(f"{case}-classes", rows),
            )
        ],
        "tables": [
            {
                "caption": "Proposals by class",
                "head": ("class", "proposals"),
                "rows": classification_view.class_counts(trace),
            }
        ],
    }


def masks(
    trace: Trace, payload: Payload, case: str, mask_step: int, score_threshold: float
) -> Record:
    """Stage 7: soft masks and detections in the photo, and the pasted mask of each."""
    rows, probs = [], trace.mask_probs
    for row in range(len(trace.detections)):
        soft = None if probs is None else probs[row]
        truth = masks_view.find_truth(trace, row)
        mask = None if soft is None else masks_view.pasted(trace, row, soft)
        layers = [masks_view.object_layer(truth), masks_view.pasted_layer(trace, row, mask)]
        rows.append(
            {
                "facts": masks_view.facts(trace, row, truth, soft, mask),
                "layers": [
                    in_block(each, payload, f"{case}-mask-{row}-{i}", mask_step)
                    for i, each in enumerate(layers)
                ],
            }
        )
    objects, detections, soft_masks, *_ = masks_view.layers(trace)
    asked = score_threshold > trace.detections.score_threshold
    likely = score_threshold if asked else masks_view.LIKELY
    many = bool((trace.detections.scores >= likely).any())
    shown = {"score": [likely, None]} if many else {}
    return {
        "frame": "photo",
        # A hundred masks at once hide the photo; the legend's sliders bring the rest back.
        "thresholds": {"detections": shown, "soft masks": shown},
        "main": "detections",
        "steps": [
            _step(
                "masks",
                "Detections and their soft masks; pick one to see its mask in pixels.",
                [
                    in_block(each, payload, f"{case}-masks-{each.name}".replace(" ", "-"))
                    for each in (objects, soft_masks, detections)
                ],
                rows=payload.add_json(f"{case}-masks", rows),
            )
        ],
    }
