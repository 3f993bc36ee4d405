"""`mrcnn-steps lab`: a learner's work is never lost, and newer lessons arrive all the same."""

import argparse
import json
import os
import subprocess
import sys

import nbformat
import pytest

from mrcnn_steps.cli import main
from mrcnn_steps.commands import lab

OLD = {"00_a.ipynb": b"tour", "01_b.ipynb": b"masks"}
NEW = {"00_a.ipynb": b"tour", "01_b.ipynb": b"better masks"}


def content(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != lab.MANIFEST}


def test_a_new_folder_gets_all_lessons(tmp_path):
    copied = lab.copy_lessons(OLD, tmp_path / "new" / "folder")
    assert copied.written == ("00_a.ipynb", "01_b.ipynb")
    assert content(tmp_path / "new" / "folder") == OLD


def test_a_second_time_nothing_is_written(tmp_path):
    lab.copy_lessons(OLD, tmp_path)
    before = (tmp_path / "01_b.ipynb").stat().st_mtime_ns
    copied = lab.copy_lessons(OLD, tmp_path)
    assert copied.unchanged == ("00_a.ipynb", "01_b.ipynb")
    assert (tmp_path / "01_b.ipynb").stat().st_mtime_ns == before


def test_a_newer_lesson_replaces_an_untouched_one(tmp_path):
    lab.copy_lessons(OLD, tmp_path)
    assert lab.copy_lessons(NEW, tmp_path).written == ("01_b.ipynb",)
    assert content(tmp_path) == NEW


def test_a_changed_lesson_stays(tmp_path):
    lab.copy_lessons(OLD, tmp_path)
    (tmp_path / "01_b.ipynb").write_bytes(b"my own work")
    assert lab.copy_lessons(OLD, tmp_path).kept == ("01_b.ipynb",)
    assert content(tmp_path) == OLD | {"01_b.ipynb": b"my own work"}


def test_a_newer_lesson_lands_beside_a_changed_one_once(tmp_path):
    lab.copy_lessons(OLD, tmp_path)
    (tmp_path / "01_b.ipynb").write_bytes(b"my own work")
    (tmp_path / "01_b-2.ipynb").write_bytes(b"my second try")
    copied = lab.copy_lessons(NEW, tmp_path)
    assert copied.beside == (("01_b.ipynb", "01_b-3.ipynb"),)
    expected = {
        "00_a.ipynb": b"tour",
        "01_b.ipynb": b"my own work",
        "01_b-2.ipynb": b"my second try",
        "01_b-3.ipynb": b"better masks",
    }
    assert content(tmp_path) == expected
    assert lab.copy_lessons(NEW, tmp_path).kept == ("01_b.ipynb",)
    assert content(tmp_path) == expected


def test_a_file_of_the_same_name_is_not_ours_to_overwrite(tmp_path):
    (tmp_path / "00_a.ipynb").write_bytes(b"from another course")
    copied = lab.copy_lessons(OLD, tmp_path)
    assert copied.beside == (("00_a.ipynb", "00_a-2.ipynb"),)
    assert (tmp_path / "00_a.ipynb").read_bytes() == b"from another course"


def test_a_deleted_lesson_comes_back(tmp_path):
    lab.copy_lessons(OLD, tmp_path)
    (tmp_path / "00_a.ipynb").unlink()
    assert lab.copy_lessons(OLD, tmp_path).written == ("00_a.ipynb",)


def test_an_interruption_does_not_make_our_copies_look_changed(tmp_path, monkeypatch):
    write = lab.write_bytes

    def fail_at_second(path, written):
        if path.name == "01_b.ipynb":
            raise OSError("disk full")
        write(path, written)

    monkeypatch.setattr(lab, "write_bytes", fail_at_second)
    with pytest.raises(OSError, match="disk full"):
        lab.copy_lessons(OLD, tmp_path)
    monkeypatch.undo()
    assert lab.copy_lessons({"00_a.ipynb": b"newer tour"}, tmp_path).written == ("00_a.ipynb",)


@pytest.mark.parametrize("manifest", ["{", "[1]", '{"00_a.ipynb": 1}'])
def test_a_damaged_manifest_is_refused(tmp_path, manifest):
    (tmp_path / lab.MANIFEST).write_text(manifest)
    with pytest.raises(ValueError, match=r"mrcnn-lessons\.json"):
        lab.copy_lessons(OLD, tmp_path)
    assert content(tmp_path) == {}


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="expected a folder"):
        lab.copy_lessons(OLD, tmp_path / "file")


def test_the_bundled_lessons_are_notebooks_in_order():
    found = lab.bundled_lessons()
    assert next(iter(found)) == lab.FIRST_LESSON
    assert list(found) == sorted(found)
    for content in found.values():
        nbformat.validate(nbformat.reads(content.decode(), as_version=4))


def test_copy_only_says_where_the_lessons_are(tmp_path, capsys):
    assert main(["lab", str(tmp_path / "here"), "--copy-only"]) == 0
    assert f"lessons in {tmp_path / 'here'}" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "here" / lab.MANIFEST).read_text())
    assert set(manifest) == set(lab.bundled_lessons())


def test_becomes_jupyterlab_on_the_first_lesson(tmp_path, monkeypatch):
    started = []

    def execv(path, words):
        started.append((os.getcwd(), path, words))
        raise SystemExit  # the real one does not return either

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["lab", "--no-browser", "--port", "9000"])
    [(folder, path, words)] = started
    assert folder == str(tmp_path / "mrcnn-lessons")
    assert path == sys.executable
    lesson = f"--LabApp.default_url=/lab/tree/{lab.FIRST_LESSON}"
    assert words[1:] == ["-P", "-m", "jupyterlab", lesson, "--no-browser", "--port=9000"]


def test_tells_the_learner_what_became_of_changed_lessons(tmp_path):
    copied = lab.Copied(("00.ipynb",), (), ("01.ipynb",), (("02.ipynb", "02-2.ipynb"),))
    assert lab.report(copied, tmp_path).splitlines()[1:] == [
        "Yours stay as you left them: 01.ipynb.",
        "02.ipynb has changed, and you had changed yours: the new one is 02-2.ipynb.",
    ]


def test_help_names_the_default_folder(capsys):
    parser = argparse.ArgumentParser()
    lab.add_arguments(parser)
    assert "mrcnn-lessons" in parser.format_help()


# --- what counts as a change ----------------------------------------------------------------------


def notebook(*sources, **more):
    cells = [{"cell_type": "code", "source": source, "outputs": [], **more} for source in sources]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def test_running_and_saving_is_no_change(tmp_path):
    """Autosave writes counts and outputs, other indentation, and sources as lists of lines."""
    lab.copy_lessons({"00_a.ipynb": notebook("a = 1\nb = 2")}, tmp_path)
    saved = json.loads(notebook(["a = 1\n", "b = 2"], execution_count=3, id="x"))
    saved["metadata"]["kernelspec"] = {"name": "python3"}
    (tmp_path / "00_a.ipynb").write_text(json.dumps(saved, indent=1))
    newer = {"00_a.ipynb": notebook("a = 1\nb = 3")}
    assert lab.copy_lessons({"00_a.ipynb": notebook("a = 1\nb = 2")}, tmp_path).unchanged
    assert lab.copy_lessons(newer, tmp_path).written == ("00_a.ipynb",)
    assert content(tmp_path) == newer


@pytest.mark.parametrize("sources", [("a = 2",), ("a = 1", ""), (), ("a = 1 ",)])
def test_another_cell_is_a_change(tmp_path, sources):
    lab.copy_lessons({"00_a.ipynb": notebook("a = 1")}, tmp_path)
    (tmp_path / "00_a.ipynb").write_bytes(notebook(*sources))
    assert lab.copy_lessons({"00_a.ipynb": notebook("a = 0")}, tmp_path).beside


# --- fetching a lesson anew -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["01_mini_masks", "01_mini_masks.ipynb"])
def test_reset_fetches_a_lesson_anew_and_keeps_the_learners(tmp_path, capsys, name):
    assert main(["lab", str(tmp_path), "--copy-only"]) == 0
    (tmp_path / "01_mini_masks.ipynb").write_bytes(b"my own work")
    assert main(["lab", str(tmp_path), "--copy-only", "--reset", name]) == 0
    assert "Yours is now 01_mini_masks-2.ipynb." in capsys.readouterr().out
    assert (tmp_path / "01_mini_masks-2.ipynb").read_bytes() == b"my own work"
    fresh = lab.bundled_lessons()["01_mini_masks.ipynb"]
    assert (tmp_path / "01_mini_masks.ipynb").read_bytes() == fresh


def test_reset_of_no_lesson(tmp_path, capsys):
    assert main(["lab", str(tmp_path), "--copy-only", "--reset", "99"]) == 2
    assert "--reset: found '99', expected one of 00_the_pipeline, 01" in capsys.readouterr().err


# --- files that are not ours ----------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="links and pipes are POSIX's")
def test_nothing_is_written_through_a_link_or_over_a_file_of_the_learner(tmp_path):
    folder, outside = tmp_path / "lessons", tmp_path / "outside.txt"
    folder.mkdir()
    outside.write_text("precious")
    (folder / "00_a.ipynb.part").symlink_to(outside)
    (folder / "01_b.ipynb.part").write_text("the learner's own")
    (folder / "01_b.ipynb").symlink_to(outside)
    os.mkfifo(folder / "02_c.ipynb")
    copied = lab.copy_lessons(OLD | {"02_c.ipynb": b"pipes"}, folder)
    assert copied.beside == (("01_b.ipynb", "01_b-2.ipynb"), ("02_c.ipynb", "02_c-2.ipynb"))
    assert outside.read_text() == "precious"
    assert (folder / "01_b.ipynb.part").read_text() == "the learner's own"
    assert (folder / "00_a.ipynb").read_bytes() == b"tour"
    assert (folder / "01_b.ipynb").is_symlink()
    assert (folder / "02_c.ipynb").is_fifo()


def test_code_in_the_folder_is_not_run(tmp_path):
    """`--version` instead of a server: what Python imports first is the same."""
    for name in ("random.py", "jupyterlab.py"):
        (tmp_path / name).write_text("raise SystemExit('code of the folder ran')\n")
    words = lab.lab_command(argparse.Namespace(no_browser=False, allow_root=True, port=None))
    done = subprocess.run(
        [*words, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "code of the folder" not in done.stderr
