"""What an exercise is: a task, our answer, and the ways in which people get it wrong."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from mrcnn_steps.data import Sample
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.pictures import Picture

# The arguments of one call in the order of the function's parameters.
Inputs = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Mistake:
    """A known wrong way to solve an exercise.

    Attributes:
        name: what went wrong, said to the learner: "you divided by the intersection".
        hint: what to think about next.
        wrong: a function that makes this mistake; whoever returns the same made it too.
    """

    name: str
    hint: str
    wrong: Callable[..., Any]


def always_fair(**inputs: Any) -> bool:
    """Accept every input."""
    return True


@dataclass(frozen=True, eq=False)
class Exercise:
    """A function that the learner writes.

    Attributes:
        lesson: the lesson's file name without suffix, such as "03_rpn_targets".
        task: what to write, with the formula and where it comes from.
        solution: our function, shown by `solution`. It needs nothing but torch (and `uses`).
        uses: solutions of other exercises that this one calls.
        reference: what judges: a stage of the pipeline, or a function of torch or torchvision.
        shapes: for each tensor among the arguments its dimensions, such as "N 4"; arguments that
            share a letter lose rows together when a failing input is made smaller.
        returns: name and dimensions of each returned value. A letter that no argument has is a
            length that the function has to find out.
        tolerance: largest difference that counts as equal, for floating-point results.
        why: one sentence to take home, shown with "right".
        hints: from a gentle push to nearly the answer.
        mistakes: what people do instead.
        edge_cases: inputs to try first, ordinary ones before odd ones.
        random: makes a random input; its second argument, 1 to 5, is the number of rows.
        photo: makes the input of the lesson's photo.
        fair: whether every correct function must agree on an input; NaN, boxes without area or an
            IoU that misses its threshold by a rounding error are not fair.
        verify: for results that are not unique: takes the inputs and the given value and names
            the mistake, or returns None if all is well.
        picture: draws inputs, expected and given value.
    """

    lesson: str
    task: str
    solution: Callable[..., Any]
    reference: Callable[..., Any]
    shapes: dict[str, str]
    returns: dict[str, str]
    why: str
    hints: tuple[str, ...]
    mistakes: tuple[Mistake, ...]
    edge_cases: tuple[tuple[Any, ...], ...]
    random: Callable[[Dice, int], tuple[Any, ...]]
    photo: Callable[[Sample], tuple[Any, ...]]
    tolerance: float = 1e-4
    uses: tuple[Callable[..., Any], ...] = ()
    fair: Callable[..., bool] = always_fair
    verify: Callable[[Inputs, torch.Tensor], str | None] | None = None
    picture: Picture | None = None

    @property
    def name(self) -> str:
        """The name of the function to write."""
        return self.solution.__name__

    @property
    def signature(self) -> str:
        """The function's head, such as `iou(boxes1, boxes2)`."""
        return f"{self.name}{inspect.signature(self.solution)}"

    @property
    def source(self) -> str:
        """Our solution as text that runs wherever torch is imported."""
        return "\n\n".join(inspect.getsource(part) for part in (*self.uses, self.solution))

    @cached_property
    def input_dimensions(self) -> frozenset[str]:
        """The letters in the shapes of the arguments."""
        return frozenset(d for shape in self.shapes.values() for d in shape.split())

    def named(self, arguments: tuple[Any, ...]) -> Inputs:
        """Give each argument the name of its parameter."""
        names = list(inspect.signature(self.solution).parameters)
        return dict(zip(names, arguments, strict=True))
