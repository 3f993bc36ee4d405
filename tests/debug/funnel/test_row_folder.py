"""Rows in a folder survive a kill at any byte, and do not depend on who wrote them."""

import dataclasses
import json
import os
import random
import subprocess
import sys

import pytest

from mrcnn_steps.debug.funnel.row_file import merge, read_rows
from mrcnn_steps.debug.funnel.row_folder import collect_rows
from mrcnn_steps.debug.funnel.rows import DetectionRow, Header, PhotoRow

COUNT = 7
HEADER = Header(
    annotations_sha256="a" * 64,
    weights_sha256="b" * 64,
    settings={"iou": 0.5, "rpn.nms_thresh": 0.7},
    version="1.0",
    class_names=("background", "cup"),
    photos=COUNT,
)


def row(index, error=None):
    detections = tuple(
        DetectionRow(each, "cup", 1, 0.9 / (each + 1), (0.1, 2.0, 3.0, 4.5), "", None, 0.0, None)
        for each in range(index % 3)
    )
    return PhotoRow(index, 100 - index, f"tasse-ä{index}.jpg", 20, 30, (), detections, error)


class Observer:
    """Gives rows, and remembers which were asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, index):
        self.asked.append(index)
        return row(index)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    collect_rows(folder, HEADER, row)
    return (folder / "rows.jsonl").read_bytes()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_photo_has_a_row_in_the_order_of_the_dataset(tmp_path, whole):
    rows = collect_rows(tmp_path / "new", HEADER, row)
    assert list(rows) == [row(index) for index in range(COUNT)]
    assert names(tmp_path / "new") == ["rows.jsonl"]
    assert len(rows) == COUNT
    assert rows[-1] == row(COUNT - 1)
    assert rows[1:3] == (row(1), row(2))
    header, again = read_rows(tmp_path / "new" / "rows.jsonl")
    assert header == HEADER
    assert list(again) == list(rows)


def test_a_killed_run_goes_on_from_any_byte(tmp_path, whole):
    ends = [place for place, byte in enumerate(whole, start=1) if byte == ord("\n")]
    cuts = {0, 1, *ends, *(end - 1 for end in ends), *(end + 1 for end in ends[:-1])}
    cuts |= set(random.Random(0).sample(range(len(whole)), 60))
    for cut in sorted(cuts):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "new-rows-0.jsonl").write_bytes(whole[:cut])
        observer = Observer()
        collect_rows(folder, HEADER, observer, resume=True)
        complete = sum(end <= cut for end in ends) - 1
        assert observer.asked == list(range(max(0, complete), COUNT))
        assert (folder / "rows.jsonl").read_bytes() == whole
        assert names(folder) == ["rows.jsonl"]


def test_a_run_killed_while_many_processes_wrote_goes_on_with_what_each_has(tmp_path, whole):
    lines = whole.splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_bytes(lines[0] + lines[6])
    (tmp_path / "new-rows-0.jsonl").write_bytes(lines[0] + lines[3] + lines[1][:9])
    (tmp_path / "new-rows-1.jsonl").write_bytes(lines[0] + lines[2])
    (tmp_path / "new-rows-2.jsonl").write_bytes(lines[0][:20])
    observer = Observer()
    collect_rows(tmp_path, HEADER, observer, resume=True)
    assert observer.asked == [0, 3, 4, 6]
    assert (tmp_path / "rows.jsonl").read_bytes() == whole
    assert names(tmp_path) == ["rows.jsonl"]


def test_a_finished_run_is_resumed_without_work(tmp_path, whole):
    (tmp_path / "rows.jsonl").write_bytes(whole)
    observer = Observer()
    collect_rows(tmp_path, HEADER, observer, resume=True)
    assert observer.asked == []
    assert (tmp_path / "rows.jsonl").read_bytes() == whole


def test_rows_that_are_there_are_not_written_over(tmp_path, whole):
    for name in ("rows.jsonl", "new-rows-1.jsonl"):
        folder = tmp_path / name[:3]
        folder.mkdir()
        (folder / name).write_bytes(whole)
        with pytest.raises(FileExistsError, match=f"{name}: holds rows already; --resume"):
            collect_rows(folder, HEADER, row)
        assert names(folder) == [name]
        assert (folder / name).read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations_sha256": "c" * 64}, "annotations_sha256: expected ccc.*, found aaa"),
        ({"weights_sha256": "c" * 64}, "weights_sha256: expected ccc.*, found bbb"),
        ({"version": "2.0"}, "version: expected 2.0, found 1.0"),
        ({"photos": 8}, "photos: expected 8, found 7"),
        ({"class_names": ("background", "jug")}, "class_names: expected .*jug.*, found .*cup"),
        (
            {"settings": {"iou": 0.5, "rpn.nms_thresh": 0.8}},
            "rpn.nms_thresh: expected 0.8, found 0.7",
        ),
        ({"settings": {"iou": 0.5}}, "rpn.nms_thresh: expected None, found 0.7"),
    ],
)
def test_rows_of_something_else_are_refused_by_the_field_that_differs(
    tmp_path, whole, change, message
):
    (tmp_path / "new-rows-0.jsonl").write_bytes(whole)
    other = dataclasses.replace(HEADER, **change)
    with pytest.raises(ValueError, match=rf"new-rows-0\.jsonl: {message}"):
        collect_rows(tmp_path, other, row, resume=True)
    assert names(tmp_path) == ["new-rows-0.jsonl"]
    assert (tmp_path / "new-rows-0.jsonl").read_bytes() == whole


def test_merging_is_idempotent_and_in_any_order(tmp_path, whole):
    lines = whole.splitlines(keepends=True)
    parts = [tmp_path / name for name in ("a", "b", "c")]
    parts[0].write_bytes(lines[0] + lines[7] + lines[2] + lines[4])
    parts[1].write_bytes(lines[0] + b"".join(lines[1:6]))
    parts[2].write_bytes(lines[0] + lines[6] + lines[6])
    for order in (parts, parts[::-1], [*parts, *parts]):
        merge(order, tmp_path / "out", HEADER)
        assert (tmp_path / "out").read_bytes() == whole
    merge([tmp_path / "out", parts[0]], tmp_path / "out", HEADER)
    assert (tmp_path / "out").read_bytes() == whole


def test_a_photo_that_could_not_be_read_is_tried_again(tmp_path, whole):
    collect_rows(tmp_path, HEADER, lambda index: row(index, "gone" if index in (2, 5) else None))
    observer = Observer()
    collect_rows(tmp_path, HEADER, observer, resume=True)
    assert observer.asked == [2, 5]
    assert (tmp_path / "rows.jsonl").read_bytes() == whole


def test_a_photo_that_still_cannot_be_read_keeps_what_is_known(tmp_path):
    def gone(index):
        return row(index, "gone" if index == 2 else None)

    collect_rows(tmp_path, HEADER, gone)
    before = (tmp_path / "rows.jsonl").read_bytes()
    rows = collect_rows(tmp_path, HEADER, gone, resume=True)
    assert (tmp_path / "rows.jsonl").read_bytes() == before
    assert [each.index for each in rows if each.error] == [2]


@pytest.mark.parametrize(
    ("number", "text", "message"),
    [
        (1, b"{}\n", "line 1: expected a header"),
        (3, b"nonsense\n", "line 3: expected a photo's row, found b'nonsense"),
        (3, b"\xff\xfe\n", "line 3: expected a photo's row"),
        (3, b"[1]\n", "line 3: expected a photo's row"),
        (3, json.dumps({"index": 1}).encode() + b"\n", "line 3: expected a photo's row"),
    ],
)
def test_a_line_that_is_no_row_is_refused(tmp_path, whole, number, text, message):
    lines = whole.splitlines(keepends=True)
    lines[number - 1] = text
    (tmp_path / "rows.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=f"rows.jsonl, {message}"):
        collect_rows(tmp_path, HEADER, row, resume=True)


def test_a_row_of_a_photo_that_the_dataset_lacks_is_refused(tmp_path, whole):
    short = dataclasses.replace(HEADER, photos=3)
    folder = tmp_path / "short"
    collect_rows(folder, short, row)
    path = folder / "rows.jsonl"
    path.write_bytes(path.read_bytes() + whole.splitlines(keepends=True)[5])
    with pytest.raises(ValueError, match="line 5: index: expected 0 to 2, found 4"):
        read_rows(path)


def test_a_full_disk_is_told_and_the_rows_before_stay_valid(tmp_path, monkeypatch, whole):
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    # A limit of the size of files: the system refuses what goes beyond, after a part of it.
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    lines = whole.splitlines(keepends=True)
    size = len(b"".join(lines[:5])) + 10
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        with pytest.raises(OSError, match="a run can go on") as raised:
            collect_rows(tmp_path, HEADER, row)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert os.fspath(raised.value.filename).endswith("new-rows-0.jsonl")
    assert (tmp_path / "new-rows-0.jsonl").read_bytes() == b"".join(lines[:5])
    collect_rows(tmp_path, HEADER, row, resume=True)
    assert (tmp_path / "rows.jsonl").read_bytes() == whole


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""


def test_two_runs_do_not_share_a_folder(tmp_path):
    pytest.importorskip("fcntl")
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match="in use by another process"):
            collect_rows(tmp_path, HEADER, row)
        other.communicate(b"\n")
    assert len(collect_rows(tmp_path, HEADER, row)) == COUNT
