"""Comparisons: shifts by a plain loop, intervals that cover, lists, and what cannot be compared."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from mrcnn_steps.cli import main
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.comparison import compare
from mrcnn_steps.debug.funnel.rows import UNEXPLAINED, PhotoRow
from mrcnn_steps.debug.funnel.summary import Funnel
from tests.debug.funnel.made import HEADER, a_photo, an_object, at_random


def changed(photos: tuple[PhotoRow, ...], seed: int, share: float = 0.3) -> tuple[PhotoRow, ...]:
    """The same objects as another model leaves them: some have another cause."""
    dice = np.random.default_rng(seed)

    def turn(row):
        if dice.random() > share:
            return row
        return replace(row, cause=str(dice.choice([FOUND, "class", "nms"])))

    return tuple(replace(p, objects=tuple(turn(each) for each in p.objects)) for p in photos)


BEFORE = at_random(40)
AFTER = changed(BEFORE, 1)
COMPARED = compare(Funnel(HEADER, BEFORE), Funnel(HEADER, AFTER, ("--annotations", "a b.json")))


def causes(photos) -> dict[tuple[int, int], str]:
    return {(p.image_id, o.annotation_id): o.cause for p in photos for o in p.objects}


class TestShifts:
    def test_are_what_a_plain_loop_counts(self):
        before, after = causes(BEFORE), causes(AFTER)
        assert COMPARED.objects == len(before)
        shifts = {each.cause: each for each in (COMPARED.found, *COMPARED.gates)}
        assert list(shifts) == [FOUND, *CAUSES]
        for cause, shift in shifts.items():
            assert shift.before == sum(each == cause for each in before.values())
            assert shift.after == sum(each == cause for each in after.values())
            assert shift.change == pytest.approx((shift.after - shift.before) / len(before))
            assert shift.interval[0] <= shift.change <= shift.interval[1]

    def test_what_one_gate_gains_others_lose(self):
        assert COMPARED.found.change == pytest.approx(-sum(e.change for e in COMPARED.gates))

    def test_of_detections_alone_tell_no_gates(self):
        detected = tuple(
            replace(
                photo,
                objects=tuple(
                    replace(each, stage="", cause=FOUND if each.cause == FOUND else UNEXPLAINED)
                    for each in photo.objects
                ),
            )
            for photo in BEFORE
        )
        compared = compare(Funnel(HEADER, BEFORE), Funnel(HEADER, detected))
        assert compared.gates == compared.fixed == compared.newly_missed == ()
        assert compared.found.before == compared.found.after > 0
        assert "do not tell at which gate" in compared.table()
        assert "do not tell" not in COMPARED.table()

    def test_the_same_funnel_twice_changes_nothing(self):
        same = compare(Funnel(HEADER, BEFORE), Funnel(HEADER, BEFORE[::-1]))
        assert all(each.interval == (0, 0) for each in (same.found, *same.gates))
        assert same.fixed == same.newly_missed == ()
        assert "clear" not in same.table()
        assert same.ap50[0] == pytest.approx(same.ap50[1])

    def test_a_generator_decides_which_photos_are_drawn(self):
        a, b = Funnel(HEADER, BEFORE), Funnel(HEADER, AFTER)
        other = compare(a, b, torch.Generator().manual_seed(7))
        assert compare(a, b).found.interval == COMPARED.found.interval
        assert other.found.interval != COMPARED.found.interval
        assert other.found.interval == pytest.approx(COMPARED.found.interval, abs=0.02)

    def test_equal_models_rarely_differ_clearly(self):
        # Each photo has luck of its own that its objects share.
        alarms, dice = 0, np.random.default_rng(1)
        for _ in range(60):
            funnels = []
            for _ in range(2):
                luck = dice.beta(2, 2, 50)
                photos = tuple(
                    a_photo(
                        image_id,
                        tuple(
                            an_object(
                                k,
                                FOUND if dice.random() < luck[image_id] else "nms",
                                image_id=image_id,
                            )
                            for k in range(5)
                        ),
                    )
                    for image_id in range(50)
                )
                funnels.append(Funnel(HEADER, photos))
            low, high = compare(*funnels).found.interval
            alarms += low > 0 or high < 0
        assert alarms <= 8


class TestLists:
    def test_name_every_object_that_turned(self):
        before, after = causes(BEFORE), causes(AFTER)
        fixed = {k for k in before if before[k] != FOUND and after[k] == FOUND}
        lost = {k for k in before if before[k] == FOUND and after[k] != FOUND}
        assert {(t.image_id, t.annotation_id) for t in COMPARED.fixed} == fixed
        assert {(t.image_id, t.annotation_id) for t in COMPARED.newly_missed} == lost
        assert len(fixed) > 3
        assert len(lost) > 3
        for turn in COMPARED.fixed:
            assert turn.cause == before[turn.image_id, turn.annotation_id]
        for turn in COMPARED.newly_missed:
            assert turn.cause == after[turn.image_id, turn.annotation_id]

    def test_begin_with_the_largest(self):
        sides = [turn.side for turn in COMPARED.fixed]
        assert sides == sorted(sides, reverse=True)


class TestTable:
    def test_tells_the_changes(self):
        objects = [(an_object(0, "nms"),), (an_object(0, FOUND),)]
        funnels = [
            Funnel(HEADER, tuple(a_photo(i, (replace(each[0], image_id=i),)) for i in range(30)))
            for each in objects
        ]
        text = compare(*funnels).table()
        assert text.startswith(
            "30 photos, 30 objects: 0 found before, 30 now (+100.0 points of percent, "
            "95 % interval +100.0 … +100.0)."
        )
        assert re.search(r"^lost at NMS +30 +0 +-30 +-100\.0, .* clear$", text, re.MULTILINE)
        assert "fixed: missed before, found now (30)" in text
        assert "and 20 more" in text
        assert "newly missed" not in text

    def test_gives_the_command_for_what_is_newly_missed(self):
        turn = COMPARED.newly_missed[0]
        wanted = f"mrcnn-steps why {turn.image_id} --object {turn.object} --annotations 'a b.json'"
        assert wanted in COMPARED.table()

    def test_names_are_made_harmless(self):
        rows = [
            a_photo(1, (an_object(0, cause, name="\x1b[2J"),), photo="\x07")
            for cause in ("nms", FOUND)
        ]
        first, second = (Funnel(HEADER, (row,)) for row in rows)
        assert not {"\x1b", "\x07"} & set(compare(first, second).table())
        assert not {"\x1b", "\x07"} & set(compare(second, first).table())

    def test_names_settings_that_differ(self):
        other = replace(HEADER, settings=HEADER.settings | {"nms_threshold": 0.7})
        text = compare(Funnel(HEADER, BEFORE), Funnel(other, BEFORE)).table()
        assert "settings that differ\n  nms_threshold: None before, 0.7 now" in text

    def test_of_nothing(self):
        nothing = compare(Funnel(HEADER, ()), Funnel(HEADER, ()))
        assert nothing.table().startswith("0 photos, 0 objects: 0 found before, 0 now.")
        json.dumps(nothing.record(), allow_nan=False)


class TestRefused:
    def test_other_photos(self):
        with pytest.raises(
            ValueError,
            match="photos: expected the same in both funnels; 38 are, only the first has "
            f"{min(p.image_id for p in BEFORE[:2])}, {max(p.image_id for p in BEFORE[:2])}, only "
            "the second has none",
        ):
            compare(Funnel(HEADER, BEFORE), Funnel(HEADER, BEFORE[2:]))

    def test_other_objects(self):
        one, two = a_photo(1, (an_object(0),)), a_photo(1, (an_object(0), an_object(1)))
        with pytest.raises(ValueError, match=r"annotations: .* only the second has 101"):
            compare(Funnel(HEADER, (one,)), Funnel(HEADER, (two,)))

    def test_another_class(self):
        one, two = (a_photo(1, (an_object(0, name=name),)) for name in ("person", "dog"))
        with pytest.raises(ValueError, match=r"annotation 100 of image 1: .*'person', found 'dog'"):
            compare(Funnel(HEADER, (one,)), Funnel(HEADER, (two,)))

    def test_another_iou(self):
        other = replace(HEADER, settings={"iou": 0.75})
        with pytest.raises(ValueError, match=r"iou: .*0\.5, found 0\.75"):
            compare(Funnel(HEADER, BEFORE), Funnel(other, BEFORE))


def test_photos_that_one_could_not_read_are_left_out():
    broken = replace(AFTER[0], objects=(), detections=(), error="no such file")
    compared = compare(Funnel(HEADER, BEFORE), Funnel(HEADER, (broken, *AFTER[1:])))
    assert (compared.photos, compared.unread) == (39, 1)
    assert compared.objects == len(causes(BEFORE[1:]))
    assert compared.ap50[0] == pytest.approx(Funnel(HEADER, BEFORE[1:]).figures.ap50)
    assert "1 photo could not be read, and are left out." in compared.table()


class TestCommand:
    @pytest.fixture
    def folders(self, tmp_path):
        for name, photos in (("a", BEFORE), ("b", AFTER)):
            (tmp_path / name).mkdir()
            Funnel(HEADER, photos).to_json(tmp_path / name / "funnel.json")
        return tmp_path / "a", tmp_path / "b"

    def test_takes_folders_or_files(self, folders, capsys, tmp_path):
        out = tmp_path / "comparison.json"
        assert main(["compare", str(folders[0]), str(folders[1] / "funnel.json")]) == 0
        printed = capsys.readouterr().out
        assert f"{COMPARED.found.before} found before, {COMPARED.found.after} now" in printed
        assert main(["compare", *map(str, folders), "--out", str(out)]) == 0
        written = json.loads(out.read_text(encoding="utf-8"))
        assert written["found"]["after"] == COMPARED.found.after
        assert len(written["fixed"]) == len(COMPARED.fixed)

    def test_says_which_file_is_wrong(self, folders, capsys, tmp_path):
        (folders[1] / "funnel.json").write_text("{}")
        assert main(["compare", *map(str, folders)]) == 2
        assert "b/funnel.json: photos: found nothing" in capsys.readouterr().err.replace("\\", "/")
        assert main(["compare", str(tmp_path), str(folders[0])]) == 2
        assert "funnel.json: No such file" in capsys.readouterr().err
