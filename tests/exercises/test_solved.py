"""What is solved is kept beside the lessons, a teacher collects it, and may lock the solutions."""

import csv
import io
import json
from datetime import date

import pytest
from torchvision.ops import box_iou, clip_boxes_to_image

from mrcnn_steps.cli import main
from mrcnn_steps.commands.lab import bundled_lessons
from mrcnn_steps.exercises import check, exercises, progress, solution, solved


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """A folder of lessons that is the current one, as in a notebook."""
    (tmp_path / "01_mini_masks.ipynb").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_right_is_kept_with_its_day(lessons):
    assert check(box_iou, "iou").right
    assert not check(lambda boxes, size: boxes, "clip").right
    assert json.loads((lessons / solved.FILE).read_text()) == {"iou": date.today().isoformat()}
    lines = progress().split("\n")
    assert [line for line in lines if line.startswith("✓")] == [
        f"✓ 03_rpn_targets     iou                {date.today().isoformat()}"
    ]
    assert len(lines) == len(exercises()) + 1
    assert lines[-1] == f"1 of {len(exercises())} solved"


def test_the_first_day_stays(lessons):
    (lessons / solved.FILE).write_text('{"iou": "2020-01-01"}')
    check(box_iou, "iou")
    check(clip_boxes_to_image, "clip")
    assert solved.read() == {"iou": "2020-01-01", "clip": date.today().isoformat()}


def test_a_script_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check(box_iou, "iou").right
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["{", "[]", '{"iou": 3}', "\xff"])
def test_a_damaged_file_is_named_and_left_as_it_is(lessons, broken):
    (lessons / solved.FILE).write_bytes(broken.encode("latin-1"))
    answer = check(box_iou, "iou")
    assert answer.right
    assert "progress.json: expected" in answer.message
    assert (lessons / solved.FILE).read_bytes() == broken.encode("latin-1")
    with pytest.raises(ValueError, match=r"progress.json: expected"):
        progress()


# -- A teacher ------------------------------------------------------------------------------------


def test_a_teacher_collects_a_table_and_csv(tmp_path, capsys):
    for name, days in {"ada": {"iou": "2026-01-02", "nms": "2026-01-03"}, "=bob": None}.items():
        (tmp_path / name).mkdir()
        if days:
            (tmp_path / name / solved.FILE).write_text(json.dumps(days))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert main(["lab", "--progress", "ada", "=bob"]) == 0
    table, rows = capsys.readouterr().out.split("\n\n")
    total = len(exercises())
    head, ada, bob = table.split("\n")
    assert head.split() == ["folder", *(f"{n:02}" for n in range(1, 9)), "all"]
    assert ada.split()[0] == "ada"
    assert ada.split()[3] == "1/4"
    assert ada.split()[-1] == f"2/{total}"
    assert bob.split()[-1] == f"0/{total}"
    first, second = csv.DictReader(io.StringIO(rows))
    assert first["iou"] == "2026-01-02"
    assert first["clip"] == ""
    # Not a formula in a spreadsheet.
    assert second["folder"] == "'=bob"
    assert list(first) == ["folder", *(e.name for e in exercises())]


def test_a_folder_that_is_none_is_named(tmp_path, capsys):
    assert main(["lab", "--progress", str(tmp_path / "nobody")]) == 2
    assert "expected folders of lessons" in capsys.readouterr().err


def test_a_lock_hides_the_solutions_and_their_former_outputs(tmp_path, monkeypatch):
    assert main(["lab", str(tmp_path), "--copy-only"]) == 0
    shown = (tmp_path / "01_mini_masks.ipynb").read_text()
    source = "mask2).sum()"
    assert source in shown
    assert main(["lab", str(tmp_path), "--copy-only", "--lock-solutions"]) == 0
    for name, content in bundled_lessons().items():
        found, ours = json.loads((tmp_path / name).read_text()), json.loads(content)
        assert [c["source"] for c in found["cells"]] == [c["source"] for c in ours["cells"]]
        for cell in found["cells"]:
            if "solution(" in "".join(cell["source"]) and cell["cell_type"] == "code":
                assert cell["outputs"] == []
    assert source not in (tmp_path / "01_mini_masks.ipynb").read_text()
    monkeypatch.chdir(tmp_path)
    assert solution("mask_iou").startswith("The solutions are locked")
    (tmp_path / solved.LOCK).unlink()
    assert "def mask_iou" in solution("mask_iou")


def test_a_lock_leaves_what_is_no_notebook_of_ours_alone(tmp_path):
    for name, content in {"a.ipynb": b"my own", "b.ipynb": b'{"cells": [3]}'}.items():
        (tmp_path / name).write_bytes(content)
        assert main(["lab", str(tmp_path), "--copy-only", "--lock-solutions"]) == 0
        assert (tmp_path / name).read_bytes() == content
