"""Whatever a page sends, or a program sets, a canvas takes a sound value or leaves it alone."""

import math
import random
from typing import Any

import numpy as np
import pytest
import traitlets as t

from mrcnn_widgets.viewer.canvas import BoxLayer, Canvas, GridLayer, MaskLayer, PointLayer

CASES = 10_000
REPORTED = ("selected", "hovered", "clicked", "hidden", "thresholds")
OTHERS = ("title", "view", "max_height", "_scene", "_photo", "_layer_0", "layers", "nothing", "")
ATOMS = (
    None, True, False, 0, 1, 2, -1, 7, 1.5, 2**31, 2**63, 10**400, math.nan, math.inf, -math.inf,
    "", "boxes", "masks", "points", "grid", "IoU", "boxes/x", "\ud800", "<img src=x>", b"", b"\0",
)  # fmt: skip


def anything(dice: random.Random, depth: int = 3) -> Any:
    kind = dice.randrange(6) if depth else 0
    parts = [anything(dice, depth - 1) for _ in range(dice.randrange(4))] if kind > 2 else []
    if kind == 3:
        return parts
    if kind == 4:
        return tuple(parts)
    if kind == 5:
        return {_key(dice): part for part in parts}
    return dice.choice(ATOMS)


def _key(dice: random.Random) -> Any:
    return dice.choice(["boxes", "IoU", "masks", "", 3, None])


def nearly_right(dice: random.Random, name: str) -> Any:
    """A value of the right form, with one odd part."""
    layer, odd = dice.choice(["boxes", "masks", "points", "grid", "gone"]), dice.choice(ATOMS)
    return {
        "selected": [layer, odd],
        "hovered": (odd, dice.randrange(-2, 5)),
        "clicked": [odd, 2],
        "hidden": ["boxes", odd],
        "thresholds": {layer: {"IoU": [odd, dice.choice(ATOMS)]}},
    }[name]


@pytest.fixture
def canvas():
    made = Canvas(
        np.zeros((9, 12, 3), np.uint8),
        [
            BoxLayer("boxes", np.array([[1, 1, 5, 5.0], [2, 2, 3, 3]]), fields={"IoU": [0.5, 1]}),
            MaskLayer("masks", np.ones((1, 9, 12), bool)),
            PointLayer("points", np.array([[1.0, 2.0]])),
            GridLayer("grid", (4, 4), (2, 3)),
        ],
    )
    yield made
    made.close()


def state_of(canvas: Canvas) -> dict[str, Any]:
    return {name: getattr(canvas, name) for name in (*REPORTED, *OTHERS) if hasattr(canvas, name)}


def is_sound(canvas: Canvas) -> bool:
    """What a canvas says of itself can be asked for, and drawn."""
    rows = {"boxes": 2, "masks": 1, "points": 1}
    for pick in (canvas.selected, canvas.hovered):
        if pick is not None and not 0 <= pick[1] < rows[pick[0]]:
            return False
    return all(len(canvas.shown(name)) == count for name, count in rows.items())


def test_no_message_of_a_page_breaks_a_canvas(canvas):
    dice = random.Random(0)
    fixed = {name: value for name, value in state_of(canvas).items() if name not in REPORTED}
    taken = 0
    for number in range(CASES):
        name = dice.choice(REPORTED if number % 4 else OTHERS)
        near = name in REPORTED and dice.random() < 0.5
        value = nearly_right(dice, name) if near else anything(dice)
        before = state_of(canvas)
        canvas.set_state({name: value})
        after = state_of(canvas)
        assert is_sound(canvas), (name, value)
        assert {key: after[key] for key in fixed} == fixed, (name, value)
        taken += before != after
        if number % 500 == 0:
            assert canvas.to_png().startswith(b"\x89PNG")
    assert taken > 200, "some messages are right"


def test_no_value_that_a_program_sets_breaks_a_canvas(canvas):
    dice = random.Random(1)
    taken = refused = 0
    for number in range(CASES):
        name = dice.choice(REPORTED)
        value = nearly_right(dice, name) if number % 2 else anything(dice)
        try:
            setattr(canvas, name, value)
            taken += 1
        except (t.TraitError, OverflowError):  # the latter is traitlets' own for 10**400
            refused += 1
        assert is_sound(canvas), (name, value)
    assert min(taken, refused) > 200
    assert canvas.to_png().startswith(b"\x89PNG")
