"""The photos that a debugger offers by name: the bundled ones, and one's own beside them."""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.data import Sample, open_photo, sample, samples
from mrcnn_steps.model import load_model
from mrcnn_steps.tracing import Trace, trace


class Photos:
    """Photos by name. One's own never takes the place of a bundled one, whatever it is called."""

    def __init__(self) -> None:
        self._own: dict[str, Sample] = {}

    @property
    def names(self) -> list[str]:
        """The names of all photos, the bundled ones first."""
        return [*samples(), *self._own]

    def __getitem__(self, name: str) -> Sample:
        """Give the photo of a name, one of `names`."""
        return self._own[name] if name in self._own else sample(name)

    def add(self, photo: Sample) -> str:
        """Offer a photo; one of one's own replaces another of the same name.

        Args:
            photo: a bundled one as it is, or one's own.

        Returns:
            The name under which it is offered.
        """
        if is_bundled(photo):
            return photo.name
        name = f"{photo.name} (own)" if photo.name in samples() else photo.name
        self._own[name] = replace(photo, name=name)
        return name


def is_bundled(photo: Sample) -> bool:
    """Whether a photo is the bundled one of its name, with the same annotations."""
    if photo.name not in samples():
        return False
    bundled = sample(photo.name)
    return torch.equal(photo.image.cpu(), bundled.image) and (
        torch.equal(photo.boxes.cpu(), bundled.boxes)
        and torch.equal(photo.labels.cpu(), bundled.labels)
        and photo.class_names == bundled.class_names
    )


def photo_of(trace: Trace) -> Sample:
    """Give the photo of a trace; one that came as a tensor is called "photo" and has no objects."""
    if trace.sample is not None:
        return trace.sample
    return Sample.from_masks(
        image=trace.image.cpu(),
        masks=torch.zeros((0, *trace.image.shape[1:]), dtype=torch.bool),
        labels=torch.zeros(0, dtype=torch.int64),
        crowd=torch.zeros(0, dtype=torch.bool),
        class_names=trace.class_names,
        name="photo",
    )


def read_photo(name: str, content: bytes, class_names: tuple[str, ...]) -> Sample:
    """Read a photo from the bytes of a file.

    Args:
        name: of the file; it comes from outside, is shown, and is never used as a path.
        content: of the file.
        class_names: what the sample's labels would be called.

    Returns:
        The photo, without objects.

    Raises:
        ValueError: the content is no photo.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "photo")
        file.write_bytes(content)
        try:
            return replace(Sample.from_image(file, class_names), name=name)
        except ValueError as error:
            raise ValueError(str(error).replace(str(file), name)) from error


def first_trace(
    source: Trace | Sample | str | Path, model: FasterRCNN | str | None
) -> tuple[Trace, str]:
    """Make the trace that a debugger starts with.

    Args:
        source: a trace, a sample, the name of a bundled photo, or the path of an image file.
        model: what `load_model` takes, or a model itself; None where a trace brings its own.

    Returns:
        The trace, and the name of its model, or nothing for one that was passed as itself.

    Raises:
        TypeError: the source is none, or there is a model besides that of a trace.
        ValueError: there is no such photo.
    """
    if isinstance(source, Trace):
        if model is not None:
            raise TypeError("model: a trace brings its own; pass the photo to run another one")
        return source, ""
    if not isinstance(source, Sample | str | Path):
        raise TypeError(
            "source: expected a Trace, a Sample, the name of a bundled photo or the path of an "
            f"image file, found {type(source).__name__}"
        )
    if isinstance(source, Path):
        photo = Sample.from_image(source)
    else:
        photo = open_photo(source) if isinstance(source, str) else source
    if isinstance(model, str | None):
        name = model or "tiny"
        return trace(load_model(name), photo), name
    return trace(model, photo), ""
