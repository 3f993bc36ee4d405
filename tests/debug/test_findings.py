"""Findings: grouped by how bad they are, cut to what a person reads, harmless to a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrcnn_steps.debug.findings import Finding, record, summary, table

NOTE = Finding("class_unused", "note", "No object is a nut.", "Leave it out.")
WARNING = Finding("same_photo", "warning", "Two photos are one.", "Keep one.", (3, 4))
ERROR = Finding("photo_missing", "error", "There is no a.jpg.", "Copy it.", (7,), (1, 2))


def test_errors_come_first_and_a_level_keeps_its_order() -> None:
    later = Finding("bbox", "error", "A box has no area.", "Delete it.")
    assert table([NOTE, ERROR, WARNING, later]) == (
        "2 errors, 1 warning, 1 note\n\n"
        "ERRORS\n\n"
        "photo_missing: There is no a.jpg.\n    image 7\n    annotations 1, 2\n    → Copy it.\n\n"
        "bbox: A box has no area.\n    → Delete it.\n\n"
        "WARNINGS\n\n"
        "same_photo: Two photos are one.\n    images 3, 4\n    → Keep one.\n\n"
        "NOTES\n\n"
        "class_unused: No object is a nut.\n    → Leave it out."
    )
    assert table([]) == "no findings"


def test_long_lists_of_ids_are_cut() -> None:
    finding = Finding("bbox", "error", "Boxes.", "Mend.", annotation_ids=tuple(range(1, 1046)))
    assert "    annotations 1, 2, 3, 4, 5, 6, 7, 8 and 1,037 more\n" in table([finding])


def test_a_treatment_is_shown_with_its_gain() -> None:
    finding = Finding(
        "bgr", "error", "Colors.", "Swap.", gain=0.25, p_value=0.0012, treatment="RGB reversed"
    )
    assert "    undone (RGB reversed): +0.250, p 0.0012\n" in table([finding])


@given(st.text())
def test_no_name_from_a_file_reaches_the_terminal_unescaped(name: str) -> None:
    shown = table([Finding("name", "note", f"Found {name}.", f"Rename {name}.")])
    assert all(line.isprintable() for line in shown.split("\n"))
    assert len(shown.split("\n")) == 6
    shown.encode()


def test_a_summary_is_one_line_without_notes() -> None:
    told = "1 error (photo_missing), 2 warnings (same_photo, same_photo)"
    assert summary([NOTE, WARNING, ERROR, WARNING]) == told
    assert summary([NOTE]) == ""


def test_a_record_is_json_and_the_finding_again() -> None:
    read = json.loads(json.dumps(record(ERROR)))
    read |= {key: tuple(read[key]) for key in ("image_ids", "annotation_ids")}
    assert Finding(**read) == ERROR


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(Exception, match="level"):
        Finding("name", "fatal", "Found.", "Mend.")  # type: ignore[arg-type]
