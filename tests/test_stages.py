"""The order, the names and the lessons of the stages, known in one place."""

from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from mrcnn_steps.stages import STAGES, stage


def test_every_stage_has_a_module_of_its_name():
    for each in STAGES:
        assert import_module(f"mrcnn_steps.{each.key}").__doc__


def test_every_stage_has_a_lesson():
    lessons = Path(__file__).parents[1] / "lessons"
    assert [each.lesson for each in STAGES] == sorted(
        path.name for path in lessons.glob("0[1-7]_*.ipynb")
    )


def test_they_are_numbered_in_order():
    assert [each.number for each in STAGES] == list(range(1, 8))
    assert all(getattr(each, field.name) for each in STAGES for field in fields(each))


def test_a_stage_is_found_by_its_key():
    assert stage("proposals").title == "4 Proposals"
    with pytest.raises(ValueError, match=r"expected one of mini_masks, .*, found 'nonsense'"):
        stage("nonsense")
