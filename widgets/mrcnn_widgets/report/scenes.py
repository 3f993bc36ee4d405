"""A photo of a data set as its case pages show it: from a funnel's rows alone, without a trace."""

from collections.abc import Sequence
from typing import Any

from mrcnn_steps.class_names import short
from mrcnn_steps.debug.errors import KINDS
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.rows import DetectionRow, ObjectRow, PhotoRow
from mrcnn_steps.debug.funnel.worst import why_command
from mrcnn_steps.palette import DETECTION, GRAY, OBJECT, ORANGE, PURPLE, VERMILLION
from mrcnn_widgets.report.packing import in_json
from mrcnn_widgets.viewer.layers import BoxLayer, Group, Layer

OBJECTS = (Group("found", OBJECT.color), Group("missed", VERMILLION, "dashed"))
DETECTIONS = (
    Group("right", DETECTION.color),
    Group("wrong", PURPLE, "dashed"),
    Group("ignored", GRAY, "dotted"),
)

Facts = list[tuple[str, str]]


def layers(photo: PhotoRow) -> list[Layer]:
    """Show a photo's objects, its detections, and the boxes that would have found a missed object.

    Args:
        photo: a row of a funnel.

    Returns:
        Layers in pixels of the photo; row i of "objects" and "detections" is row i there.
    """
    objects, found = photo.objects, photo.detections
    able = [row for row in objects if row.able_box is not None]
    return [
        BoxLayer(
            "objects",
            [row.box for row in objects],
            groups=OBJECTS,
            group_index=[int(row.cause != FOUND) for row in objects],
            labels=[f"{row.object} · {short(row.name)}" for row in objects],
        ),
        BoxLayer(
            "detections",
            [row.box for row in found],
            groups=DETECTIONS,
            group_index=[1 if row.kind in KINDS else 2 if row.kind else 0 for row in found],
            labels=[f"{short(row.name)} {row.score:.2f}" for row in found],
            fields={"score": [row.score for row in found], "IoU": [row.iou for row in found]},
            threshold="score",
        ),
        BoxLayer(
            "able candidates",
            [row.able_box for row in able],
            groups=[Group("able candidates", ORANGE, "dotted")],
            labels=[f"would find {row.object}" for row in able],
            fields={"score": [row.able_score for row in able]},
        ),
    ]


def pack_photo(photo: PhotoRow, step: float, source: Sequence[str] | None) -> dict[str, Any]:
    """Put what the case pages of a photo show into JSON.

    Args:
        photo: a row of a funnel.
        step: how many of its pixels one of the stored picture spans.
        source: see `why_command`; None where no model can be asked.

    Returns:
        The `frame` and the `layers` to show; and of its `objects` and `detections`, by number, the
        `place` in the layer, the `facts`, and the `commands` that explain it.
    """
    every = {
        "objects": [(row.object, object_facts(row)) for row in photo.objects],
        "detections": [(row.detection, detection_facts(row)) for row in photo.detections],
    }
    known = {
        kind: {
            number: {
                "place": place,
                "facts": facts,
                "commands": _commands(photo, number if kind == "objects" else None, source),
            }
            for place, (number, facts) in enumerate(rows)
        }
        for kind, rows in every.items()
    }
    return {
        "frame": {"width": photo.width, "height": photo.height, "step": step},
        "layers": [in_json(layer) for layer in layers(photo)],
        **known,
    }


def _commands(photo: PhotoRow, object: int | None, source: Sequence[str] | None) -> list[str]:
    """Give what explains an object, or all of a photo: for a terminal, if it can, and in Python."""
    ways = () if source is None else (source, ()) if source else ((),)
    return [why_command(photo.image_id, photo.index, object, way) for way in ways]


def object_facts(row: ObjectRow) -> Facts:
    """Say what is known about an object.

    Args:
        row: of a funnel.

    Returns:
        What a fact is, and the fact.
    """
    x1, y1, x2, y2 = row.box
    facts = [
        ("annotation", str(row.annotation_id)),
        ("box", f"{x2 - x1:.0f} × {y2 - y1:.0f} px"),
        ("area of its mask", f"{row.area:,.0f} px²"),
        ("others of its class on it", str(row.crowding)),
        ("at the photo's border", "yes" if row.at_border else "no"),
    ]
    if row.level:
        facts.append(("side in the network's input", f"{row.side:.0f} px"))
        facts.append(("pyramid level", row.level))
    if row.value is not None and row.cause != FOUND:
        facts.append(("what decided", f"{row.value:.3g} against {row.threshold:.3g}"))
    if row.able_score is not None:
        facts.append(("kept, it would have been", f"{row.name} {row.able_score:.2f}"))
    if row.runner_up is not None:
        facts.append(("else it would have been lost at", CAUSES[row.runner_up].title))
    if row.perfect_probability is not None:
        facts.append(("a perfect box is called", f"{row.name} {row.perfect_probability:.2f}"))
    if row.detection is not None:
        facts.append(("found by" if row.cause == FOUND else "detection", str(row.detection)))
    if row.score is not None:
        facts.append(("score", f"{row.score:.3f}"))
    if row.mask_iou is not None:
        facts.append(("IoU of the masks", f"{row.mask_iou:.2f}"))
    return facts


def detection_facts(row: DetectionRow) -> Facts:
    """Say what is known about a detection; see `object_facts`."""
    x1, y1, x2, y2 = row.box
    facts = [
        ("score", f"{row.score:.3f}"),
        ("box", f"{x2 - x1:.0f} × {y2 - y1:.0f} px"),
        ("object", "none" if row.object is None else f"{row.object}, IoU {row.iou:.2f}"),
    ]
    if row.suspected is not None:
        facts.append(("suspected", row.suspected))
    return facts
