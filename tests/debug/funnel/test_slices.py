"""Slices and gates: limits by hand, counts by a plain loop."""

from collections import Counter

import pytest
from scipy import stats

from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.figures import Figures, gates
from mrcnn_steps.debug.funnel.slices import SLICES, divide
from mrcnn_steps.debug.funnel.table import table
from tests.debug.funnel.made import a_photo, an_object, at_random

OBJECTS = [each for photo in at_random(60) for each in photo.objects]


def only_part(by: str, **facts: object) -> str:
    [part] = divide([an_object(**facts)], by)
    return part.name


@pytest.mark.parametrize(
    ("by", "facts", "name"),
    [
        ("class", {"name": "dog"}, "dog"),
        ("size", {"area": 1023.9}, "small"),
        ("size", {"area": 1024.0}, "medium"),
        ("size", {"area": 9215.9}, "medium"),
        ("size", {"area": 9216.0}, "large"),
        ("side", {"side": 31.99}, "16–32 px"),
        ("side", {"side": 32.0}, "32–64 px"),
        ("side", {"side": 0.7}, "0.5–1 px"),
        ("aspect", {"aspect": 0.01}, "≤ 1:4"),
        ("aspect", {"aspect": 0.5}, "1:2"),
        ("aspect", {"aspect": 1.3}, "1:1"),
        ("aspect", {"aspect": 1.5}, "2:1"),
        ("aspect", {"aspect": 100.0}, "≥ 4:1"),
        ("crowding", {"crowding": 0}, "0"),
        ("crowding", {"crowding": 1}, "1–2"),
        ("crowding", {"crowding": 2}, "1–2"),
        ("crowding", {"crowding": 3}, "≥ 3"),
        ("border", {"at_border": True}, "touched"),
        ("border", {"at_border": False}, "not touched"),
        ("level", {"level": "P4"}, "P4"),
    ],
)
def test_limits(by, facts, name):
    assert only_part(by, **facts) == name


@pytest.mark.parametrize("by", SLICES)
def test_parts_are_what_a_plain_loop_counts(by):
    parts = divide(OBJECTS, by)
    name_of = {id(each): only_part(by, **facts_of(each)) for each in OBJECTS}
    assert {part.name for part in parts} == set(name_of.values())
    for part in parts:
        own = [each for each in OBJECTS if name_of[id(each)] == part.name]
        assert part.objects == len(own)
        counted = Counter(each.cause for each in own)
        assert part.found == counted.pop(FOUND, 0)
        assert part.causes == counted
        # In the order of the pipeline.
        assert list(part.causes) == [cause for cause in CAUSES if cause in counted]
        expected = stats.binomtest(part.found, part.objects).proportion_ci(0.95, "wilson")
        assert part.interval == pytest.approx((expected.low, expected.high))


def facts_of(row) -> dict:
    return {
        key: getattr(row, key)
        for key in ("name", "area", "side", "aspect", "crowding", "at_border", "level")
    }


@pytest.mark.parametrize("by", SLICES)
def test_no_object_is_in_two_parts_or_none(by):
    parts = divide(OBJECTS, by)
    assert sum(part.objects for part in parts) == len(OBJECTS)
    assert sum(part.found for part in parts) == sum(each.cause == FOUND for each in OBJECTS)
    for part in parts:
        assert part.found + sum(part.causes.values()) == part.objects


def test_parts_come_in_their_order():
    assert [part.name for part in divide(OBJECTS, "class")] == ["person", "dog", "犬"]
    assert [part.name for part in divide(OBJECTS, "size")] == ["small", "medium", "large"]
    sides = [float(part.name.split("–")[0]) for part in divide(OBJECTS, "side")]
    assert sides == sorted(sides)


def test_refuses_another_slice():
    with pytest.raises(ValueError, match=r"by: expected one of class, size, .*, found 'color'"):
        divide([], "color")


class TestGates:
    def test_alive_is_what_is_lost_later_or_found(self):
        order = [*CAUSES, FOUND]
        for place, gate in enumerate(gates(OBJECTS)):
            assert gate.cause == order[place]
            assert gate.lost == sum(each.cause == gate.cause for each in OBJECTS)
            assert gate.alive == sum(order.index(each.cause) > place for each in OBJECTS)
            assert gate.share == pytest.approx(gate.lost / len(OBJECTS))
            assert gate.interval[0] <= gate.share <= gate.interval[1]

    def test_causes_add_up_to_what_was_missed(self):
        counted = gates(OBJECTS)
        missed = sum(each.cause != FOUND for each in OBJECTS)
        assert sum(gate.lost for gate in counted) == missed
        assert counted[-1].alive == len(OBJECTS) - missed

    def test_without_objects_nothing_is_lost(self):
        assert all(gate.lost == gate.alive == gate.share == 0 for gate in gates([]))


def test_proposal_recall_names_its_rule():
    proposed = [an_object(k, "class", proposed=each) for k, each in enumerate((True, False, True))]
    figures = Figures([a_photo(1, tuple(proposed))], iou=0.75)
    assert figures.record()["proposal_recall"] == pytest.approx(2 / 3)
    rule = "some proposal overlaps the object by an IoU of 0.75 or more"
    assert figures.record()["proposal_recall_rule"] == rule
    assert f"Proposal recall 66.7 %: {rule}." in table(figures)
    assert Figures([a_photo(1, (an_object(),))]).proposal_recall is None


def test_figures_of_photos_without_anything():
    figures = Figures([a_photo(1)])
    record = figures.record()
    assert record["objects"] == record["found"] == 0
    assert record["AP50"] is None
    assert record["calibration_error"] is None
    assert all(kind["detections"] == 0 for kind in record["false_positives"])
