"""The stages of the pipeline in their order: key, number, name, what happens, and the lesson."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        key: name of its module, and of its fields in a trace.
        number: place in the pipeline, from 1.
        name: what a person calls it.
        sentence: what happens in it.
    """

    key: str
    number: int
    name: str
    sentence: str

    @property
    def title(self) -> str:
        """Number and name: "4 Proposals"."""
        return f"{self.number} {self.name}"

    @property
    def lesson(self) -> str:
        """File name of the lesson about it."""
        return f"{self.number:02d}_{self.key}.ipynb"


STAGES = (
    Stage("mini_masks", 1, "Mini-masks", "Each object's mask, kept as a small picture of its box."),
    Stage("anchors", 2, "Anchors", "The boxes that every proposal starts from."),
    Stage(
        "rpn_targets",
        3,
        "RPN targets",
        "What the region proposal network is taught about each anchor.",
    ),
    Stage(
        "proposals",
        4,
        "Proposals",
        "From a score and a delta per anchor to the boxes worth a second look.",
    ),
    Stage(
        "classification",
        5,
        "Classification",
        "What is in each proposal, and how to move its box.",
    ),
    Stage("detection", 6, "Detection", "From classified proposals to detections."),
    Stage("masks", 7, "Masks", "A mask inside each detection."),
)


def stage(key: str) -> Stage:
    """Find a stage.

    Args:
        key: such as "rpn_targets".

    Returns:
        The stage.

    Raises:
        ValueError: there is no such stage.
    """
    for each in STAGES:
        if each.key == key:
            return each
    keys = ", ".join(each.key for each in STAGES)
    raise ValueError(f"stage: expected one of {keys}, found {key!r}")
