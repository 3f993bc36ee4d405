"""Class names: what is accepted, and how a difference is told."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrcnn_steps.class_names import check_class_names, difference, enumerate_names, printable

NAMES = ("background", "nut", "bolt")


@pytest.mark.parametrize("first", ["background", "__background__", "BG"])
@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_the_background_comes_first_however_it_is_spelled(first, kind):
    checked = check_class_names(kind([first, "nut", "bolt"]))
    assert checked == NAMES
    assert {type(name) for name in checked} == {str}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["nut", "bolt", "background"], "found nut, bolt and background, expected the background"),
        (["nut", "bolt", "washer"], "found nut, bolt and washer, expected the background first"),
        ({0: "background", 1: "nut"}, "found dict {0: 'background', 1: 'nut'}, expected a list"),
        ([0, 1, 2], r"names\[0\]: found 0, expected a text"),
        (["background", None], r"names\[1\]: found None, expected a text"),
        (["background", " "], r"names\[1\]: found ' ', expected a text"),
        (["background", "\ud800"], r"names\[1\]: found '\\ud800', expected a text"),
        ("nut", "found str 'nut', expected a list"),
        ({"background"}, "found set {'background'}, expected a list"),
        (5, "found int 5, expected a list"),
        (torch.zeros(()), r"found Tensor tensor\(0.\), expected a list"),
        (None, "found NoneType None, expected a list"),
        ([], "found no names, expected the background first"),
        (["background", "nut", "nut"], "found 'nut' twice"),
        (["BG", "background"], "found 'background' twice"),
        (["x" * 1000], "found x{59}…, expected"),
    ],
)
def test_anything_else_is_refused(names, said):
    with pytest.raises(ValueError, match=f"(?s)file: names.*{said.removeprefix('names')}"):
        check_class_names(names, "file: names")


def test_rows_that_torchvision_does_not_use_may_share_a_name():
    names = ["__background__", "person", "N/A", "N/A"]
    assert check_class_names(names) == ("background", "person", "N/A", "N/A")


def test_another_number_of_classes_is_told_with_the_names():
    with pytest.raises(ValueError, match=r"found 3 names \(background, nut and bolt\), expected 4"):
        check_class_names(NAMES, count=4)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (NAMES, ""),
        (("background", "bolt", "nut"), "nut and bolt trade places"),
        ((*NAMES, "washer"), "washer is new"),
        (("background", "bolt", "nut", "washer"), "washer is new; nut and bolt trade places"),
        (("background", "nut"), "bolt is missing"),
        (("background", "Nut", "Bolt"), "Nut and Bolt are new; nut and bolt are missing"),
    ],
)
def test_a_difference_is_told_as_names(now, told):
    assert difference(NAMES, now) == told


def test_three_that_move():
    assert difference(("a", "b", "c"), ("c", "a", "b")) == "a, b and c stand in another order"


@given(*[st.lists(st.text(min_size=1), unique=True)] * 2)
def test_only_equal_lists_have_no_difference(before, now):
    assert (difference(before, now) == "") == (before == now)


def test_long_lists_are_cut():
    assert enumerate_names([*"abcdefg"]) == "a, b, c, d, e and 2 more"


def test_printable_shows_what_a_terminal_would_obey() -> None:
    assert printable("Nuß, 鸟 and 🐦") == "Nuß, 鸟 and 🐦"
    assert printable("a\x1b[31m\r\n\u202e\ud800\x9b") == r"a\x1b[31m\r\n\u202e\ud800\x9b"


def test_blanks_around_a_name_are_not_seen() -> None:
    assert check_class_names(["background", " nut", "bolt\u00a0\n"]) == NAMES
    with pytest.raises(ValueError, match="found 'nut' twice"):
        check_class_names(["background", "nut", "nut "])


def test_letters_composed_in_two_ways_are_one_name() -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert (
        difference(
            check_class_names(["background", composed]), check_class_names(["background", apart])
        )
        == ""
    )
    with pytest.raises(ValueError, match="twice"):
        check_class_names(["background", composed, apart])
