"""What an exercise is: a task, our answer, and the ways in which people get it wrong."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch

from mrcnn_steps.data import Sample
from mrcnn_steps.exercises.dice import Dice
from mrcnn_steps.exercises.pictures import Picture

# The arguments of one call in the order of the function's parameters.
Inputs = dict[str, Any]

MOST_DOTS = 5


class Rating(NamedTuple):
    """What to expect of an exercise.

    Attributes:
        difficulty: 1 (a line that one knows) to 5 (several ideas have to meet).
        importance: 1 (for the curious) to 5 (nobody understands the stage without it).
        minutes: that it takes somebody who knows Python and has read the lesson.
    """

    difficulty: int
    importance: int
    minutes: int

    def __str__(self) -> str:
        return (
            f"difficulty {_dots(self.difficulty)}, importance {_dots(self.importance)}, "
            f"about {self.minutes} minutes"
        )


def _dots(number: int) -> str:
    return "●" * number + "○" * (MOST_DOTS - number)


def always_fair(**inputs: Any) -> bool:
    """Accept every input."""
    return True


def nowhere(**inputs: Any) -> bool:
    """Leave no input to a mistake alone."""
    return False


@dataclass(frozen=True, eq=False)
class Mistake:
    """A known wrong way to solve an exercise.

    Attributes:
        name: what went wrong, said to the learner: "you divided by the intersection".
        hint: what to think about next.
        wrong: a function that makes this mistake; whoever returns the same made it too.
        also: functions that make the same mistake in another way.
        alone: the inputs that only this mistake gets wrong: who fails on these and on no others
            made it, whatever came out.
    """

    name: str
    hint: str
    wrong: Callable[..., Any]
    also: tuple[Callable[..., Any], ...] = ()
    alone: Callable[..., bool] = nowhere


@dataclass(frozen=True, eq=False)
class Exercise:
    """A function that the learner writes.

    Attributes:
        lesson: the lesson's file name without suffix, such as "03_rpn_targets".
        rating: how hard and how important it is, and how long it takes.
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
        verify: for results that are not unique: takes the inputs as they were, the given value
            and the inputs as the call left them, and names the mistake, or returns None if all is
            well.
        picture: draws inputs, expected and given value.
    """

    lesson: str
    rating: Rating
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
    verify: Callable[[Inputs, torch.Tensor, Inputs], str | None] | None = None
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
