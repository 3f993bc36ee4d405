"""Where a report comes from, and how its reader gets back there: to the terminal and to Python."""

import shlex
from dataclasses import dataclass

from mrcnn_steps.data import samples


@dataclass(frozen=True)
class Origin:
    """What a photo was traced with, as somebody would type it.

    Attributes:
        photo: a bundled photo, a path, or what the options make of it.
        model: as `load_model` takes it.
        read: Python's way to the photo and its annotations; without, that of a bundled photo or
            an image file.
        options: further arguments of the command, such as `("--annotations", "instances.json")`.
    """

    photo: str
    model: str
    read: str | None = None
    options: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """The command that tells what became of the objects."""
        model = () if self.model == "tiny" else ("--model", self.model)
        return shlex.join(("mrcnn-steps", "why", self.photo, *self.options, *model))

    @property
    def trace(self) -> str:
        """The same trace in Python."""
        known = "sample" if self.photo in samples() else "Sample.from_image"
        read = self.read or f"{known}({self.photo!r})"
        return f"trace(load_model({self.model!r}), {read})"


def ways_back(origin: Origin | None, score_threshold: float | None = None) -> dict[str, list[str]]:
    """List what to copy for an object and for a detection; `{row}` stands for its number.

    Args:
        origin: None names photo and model by placeholders.
        score_threshold: that was asked for, if any was; see `fates`.

    Returns:
        Lines by "object" and "detection".
    """
    why = "mrcnn-steps why PHOTO --model MODEL" if origin is None else origin.why
    option = argument = ""
    if score_threshold is not None:
        option = f" --score {score_threshold:g}"
        argument = f", score_threshold={score_threshold:g}"
    trace = "trace(model, photo)" if origin is None else origin.trace
    return {
        "object": [
            f"{why} --object {{row}}{option}",
            f"explain_missed({trace}, {{row}}{argument})",
        ],
        "detection": [f"lineage({trace}, {{row}})"],
    }
