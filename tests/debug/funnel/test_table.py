"""The table for a terminal: aligned, harmless, and with commands that a shell takes."""

import re
import shlex
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrcnn_steps.debug.funnel.columns import cell, columns, width
from mrcnn_steps.debug.funnel.figures import Figures
from mrcnn_steps.debug.funnel.table import table
from mrcnn_steps.debug.funnel.worst import why_command, worst_objects, worst_photos
from tests.debug.funnel.made import a_detection, a_photo, an_object, at_random

PHOTOS = at_random(40)


class TestColumns:
    def test_wide_letters_take_two_columns(self):
        assert width("dog") == 3
        assert width("犬") == 2
        assert width("한글") == 4
        assert width("ｄ") == 2
        assert width("e\u0301") == 1

    @given(st.lists(st.tuples(st.text("ab犬한é", max_size=5), st.text("1犬", max_size=3))))
    def test_cells_end_or_begin_in_one_column(self, rows):
        lines = columns([*rows, ("left", "right")], "<>", indent=0)
        ends = {width(line) for line, row in zip(lines, rows, strict=False) if row[1]}
        assert len(ends) <= 1

    def test_a_name_cannot_speak_to_the_terminal(self):
        for name in ("\x1b[2Jred", "a\nb", "\x07", "\u202eevil", "\r", "\udc80"):
            assert all(unicodedata.category(each)[0] != "C" for each in cell(name))
        assert len(cell("x" * 1000)) < 30


def test_columns_of_numbers_line_up():
    lines = table(Figures(PHOTOS)).split("\n\n")[1].splitlines()
    assert re.split(r"  +", lines[0]) == [
        "objects are lost at",
        "lost",
        "share",
        "95 %",
        "left",
        "ΔAP50",
    ]
    assert len({len(line) for line in lines[:-1]}) == 1


def test_says_what_was_found():
    objects = (an_object(0), an_object(1, "nms"), an_object(2, "nms"))
    text = table(Figures([a_photo(1, objects, (a_detection(),))]))
    assert text.startswith(
        "1 photo, 3 objects: 1 found (33.3 %, 95 % interval 6.1–79.2), 2 missed; "
        "AP50 of the boxes 33.7."
    )
    assert re.search(r"^NMS +2 +66\.7 % +20\.8–93\.9 +1 +\+66\.3$", text, re.MULTILINE)


def test_says_the_mechanisms_that_are_published():
    lost = ("nms", "nms", "anchors", "box", "mask")
    figures = Figures([a_photo(1, tuple(an_object(i, cause) for i, cause in enumerate(lost)))])
    said = "4 misses: proposal process 25.0 %, regressor 25.0 %, calibration 50.0 %."
    assert f"\nAs Miller et al. (2022) count {said}\n" in table(figures)
    assert figures.record()["mechanisms"]["calibration"] == 2
    assert "Miller" not in table(Figures([a_photo(1, (an_object(),), (a_detection(),))]))


def test_says_how_many_photos_could_not_be_read():
    broken = a_photo(2, error="2.jpg: no such file")
    text = table(Figures([a_photo(1, (an_object(),), (a_detection(),)), broken]))
    assert text.startswith("1 photo, 1 object: 1 found")
    assert "\n1 photo could not be read: 2.jpg: no such file.\n" in text
    two = table(Figures([broken, a_photo(3, error="3.jpg: no such file")]))
    assert "\n2 photos could not be read, the first: 2.jpg: no such file." in two
    assert "could not be read" not in table(Figures(PHOTOS))


def test_fewer_than_500_photos_make_anecdotes():
    assert "40 photos are fewer than 500: slices are anecdotes" in table(Figures(PHOTOS))
    many = [a_photo(each, (an_object(),), (a_detection(),)) for each in range(500)]
    assert "anecdotes" not in table(Figures(many))
    assert "anecdotes" in table(Figures(many[1:]))


def test_nothing_is_said_of_nothing():
    assert table(Figures([])) == "0 photos, 0 objects: nothing to find."
    perfect = table(Figures([a_photo(1, (an_object(),), (a_detection(),))]))
    assert "objects are lost at" not in perfect
    assert "the worst photos" not in perfect
    missed = table(Figures([a_photo(1, (an_object(0, "anchors"),))]))
    assert "best F1" not in missed


def test_names_of_classes_and_photos_are_made_harmless():
    objects = (an_object(0, "nms", name="\x1b[31mred\x07"),)
    text = table(Figures([a_photo(1, objects, photo="\x1b]0;title\x07.jpg")]))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"\x1b[31mred\x07" in text


class TestWorst:
    def test_photos_by_what_was_missed_then_by_false_positives(self):
        wrong = (a_detection(0, "background"),)
        ignored = (a_detection(0, "ignored"), a_detection(1, "ignored"))
        photos = [
            a_photo(1, (an_object(0, "nms"),), ignored),
            a_photo(2, (an_object(0),)),
            a_photo(3, (an_object(0, "nms"), an_object(1, "class"))),
            a_photo(4, (an_object(0, "nms"),), wrong),
        ]
        assert [photo.image_id for photo in worst_photos(photos)] == [3, 4, 1]
        assert [photo.image_id for photo in worst_photos(photos, 1)] == [3]

    def test_objects_by_size(self):
        objects = (
            an_object(0, "nms", side=10.0),
            an_object(1, side=900.0),
            an_object(2, "class", side=80.0),
        )
        worst = worst_objects([a_photo(7, objects)])
        assert [(photo.image_id, each.object) for photo, each in worst] == [(7, 2), (7, 0)]

    @pytest.mark.parametrize("name", ["plain", "my file", "a'b", '"; rm -rf ~; "', "$HOME", "é"])
    def test_commands_survive_a_shell(self, name):
        command = why_command(12, 5, 3, ("--annotations", f"{name}.json"))
        assert shlex.split(command) == [
            *("mrcnn-steps", "why", "12", "--object", "3"),
            *("--annotations", f"{name}.json"),
        ]
        assert " --all " in why_command(12, 5, None, ("--annotations", f"{name}.json"))

    def test_a_dataset_of_python_is_asked_in_python(self):
        assert why_command(12, 5, 3, ()) == "explain_missed(trace(model, sample_at(dataset, 5)), 3)"
        assert why_command(12, 5, None, ()) == "fates(trace(model, sample_at(dataset, 5)))"

    def test_every_worst_object_has_its_command(self):
        text = table(Figures(PHOTOS), ("--annotations", "a b.json"))
        for photo, each in worst_objects(PHOTOS, 5):
            wanted = f"why {photo.image_id} --object {each.object} --annotations 'a b.json'"
            assert wanted in text
