"""Your turn: exercises that check themselves and answer like a tutor.

In a cell the learner writes `def iou(boxes1, boxes2): …` and then `check(iou)`.
"""

from mrcnn_steps.exercises.answer import Answer, Folded
from mrcnn_steps.exercises.exercise import Exercise, Mistake
from mrcnn_steps.exercises.tutor import check, exercises, hint, progress, solution

__all__ = [
    "Answer",
    "Exercise",
    "Folded",
    "Mistake",
    "check",
    "exercises",
    "hint",
    "progress",
    "solution",
]
