"""Rows: what a funnel keeps of a photo, small enough for a line of JSON.

A row file has the header in its first line and a photo in each of the others.
"""

from dataclasses import asdict, dataclass
from typing import Any

Box = tuple[float, float, float, float]

# What a detection is that is neither right nor wrong; the other kinds are those of TIDE.
TRUE_POSITIVE, IGNORED = "", "ignored"

# The cause of an object that was missed, where there are detections and no model to ask.
UNEXPLAINED = "missed"

# The label of an object whose class the model does not know.
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """What became of an annotated object.

    Attributes:
        image_id: of its photo.
        annotation_id: the file's id; see `debug.datasets`.
        object: its number in `fates(trace)`, as `mrcnn-steps why --object` takes it.
        name: its class.
        label: its class as the model counts them; -1 for one that the model does not know.
        cause: "found", or a key of `debug.fates.CAUSES`; without a model, `UNEXPLAINED`.
        kind: see `debug.fates.Fate`.
        stage: key of the stage where it was lost; of a found object, the last one. "" without a
            model.
        score: of the detection that matches it; of a missed object, the probability of its class in
            the candidate that decided the cause. None for an unknown class.
        box: `(x1, y1, x2, y2)` in pixels of the photo.
        area: of its mask, or of its box where there is none, in pixels of the photo.
        side: square root of its box's area, in pixels of the network's input.
        aspect: height / width of its box.
        crowding: objects of its class that overlap it by an IoU above 0.1, itself left out.
        at_border: whether its box comes within a pixel of the photo's border.
        level: name of the pyramid level of the anchor that overlaps it most.
        able_score: probability of its class in the candidate that, kept and left alone, would have
            been its detection; None if none is able, or it was found.
        able_box: where that candidate was moved, in pixels of the photo.
        mask_iou: of its detection's mask with its own; None without masks or without a detection.
        detection: row of `trace.detections` that matches it; of a merged object, that it shares.
        value: the number that decided.
        threshold: what that was compared with.
        runner_up: see `debug.evidence.Evidence`.
        perfect_probability: of its class in its own box, as the second stage says.
        proposed: whether some proposal overlaps it by the IoU of matching
            (`mrcnn_steps.matching.recalled`); None without a model.
    """

    image_id: int
    annotation_id: int
    object: int
    name: str
    label: int
    cause: str
    kind: str | None
    stage: str
    score: float | None
    box: Box
    area: float
    side: float
    aspect: float
    crowding: int
    at_border: bool
    level: str
    able_score: float | None
    able_box: Box | None
    mask_iou: float | None
    detection: int | None
    value: float | None
    threshold: float | None
    runner_up: str | None
    perfect_probability: float | None
    proposed: bool | None = None


@dataclass(frozen=True, slots=True)
class DetectionRow:
    """A detection over the score threshold, and what it found.

    Attributes:
        detection: row of `trace.detections`.
        name: the class that it claims.
        label: that class, as the model counts them.
        score: 0…1.
        box: `(x1, y1, x2, y2)` in pixels of the photo.
        kind: "" if it found an object, "ignored" if it is neither right nor wrong, or the kind of
            false positive (`debug.errors.KINDS`).
        object: `ObjectRow.object` of what it found; of a false positive, of the object that its
            kind is about. None where there is none.
        iou: with that object, 0…1; 0 without one.
        suspected: why the annotations may be wrong; None if nothing says so.
    """

    detection: int
    name: str
    label: int
    score: float
    box: Box
    kind: str
    object: int | None
    iou: float
    suspected: str | None


@dataclass(frozen=True, slots=True)
class PhotoRow:
    """A photo: its objects and its detections.

    Attributes:
        index: its place in the dataset.
        image_id: see `debug.datasets`.
        photo: what it is called.
        width: in pixels; 0 if it could not be read.
        height: in pixels; 0 if it could not be read.
        objects: those that are no crowds and have pixels, of unknown classes last.
        detections: those over the score threshold, in falling score.
        error: why the photo could not be read; None if it could.
    """

    index: int
    image_id: int
    photo: str
    width: int
    height: int
    objects: tuple[ObjectRow, ...]
    detections: tuple[DetectionRow, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """What rows have to agree in to belong together.

    Attributes:
        annotations_sha256: of the annotations.
        weights_sha256: of the model's weights.
        settings: of the model and of the judgment, by name.
        version: of this package.
        class_names: the name of each of the model's labels, "background" first.
        photos: how many the dataset has.
    """

    annotations_sha256: str
    weights_sha256: str
    settings: dict[str, Any]
    version: str
    class_names: tuple[str, ...]
    photos: int


def photo_record(row: PhotoRow) -> dict[str, Any]:
    """Give a photo as JSON."""
    return asdict(row)


def photo_of(record: dict[str, Any]) -> PhotoRow:
    """Read a photo from what `photo_record` made of it."""
    objects = tuple(
        ObjectRow(**each | {"box": tuple(each["box"]), "able_box": _box(each["able_box"])})
        for each in record["objects"]
    )
    detections = tuple(
        DetectionRow(**each | {"box": tuple(each["box"])}) for each in record["detections"]
    )
    return PhotoRow(**record | {"objects": objects, "detections": detections})


def header_record(header: Header) -> dict[str, Any]:
    """Give a header as JSON."""
    return asdict(header)


def header_of(record: dict[str, Any]) -> Header:
    """Read a header from what `header_record` made of it."""
    return Header(**record | {"class_names": tuple(record["class_names"])})


def _box(found: Any) -> Box | None:
    return None if found is None else tuple(found)
