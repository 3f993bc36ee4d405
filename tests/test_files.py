"""A reader sees the old file or the new one, never half of one."""

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mrcnn_steps.files import exclusive, write_atomically, write_json, write_text


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("old")

    def fail(file):
        file.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_and_json_arrive_as_they_were(tmp_path):
    write_text(tmp_path / "a.txt", "grün\n")
    assert (tmp_path / "a.txt").read_bytes() == "grün\n".encode()
    write_json(tmp_path / "a.json", {"größe": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"größe": [1, None]}


@pytest.mark.skipif(os.name != "posix", reason="links and rights are POSIX's")
def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("precious")
    link = tmp_path / "new.txt"
    link.symlink_to(outside)
    write_text(link, "ours")
    assert outside.read_text() == "precious"
    assert not link.is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="links and rights are POSIX's")
def test_rights_stay_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "private.json"
    before = os.umask(0o077)
    try:
        write_json(path, 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    write_json(path, 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


KILLED = """
import os, sys
from pathlib import Path
from mrcnn_steps.files import write_atomically

def die(file):
    file.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), 9)

write_atomically(Path(sys.argv[1]), die)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path, own = tmp_path / "a[1].txt", tmp_path / ".a[1].txt.part"
    own.write_text("a user's own file")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    write_text(path, "alive")
    assert len(list(tmp_path.iterdir())) == 3, "the other process still writes its file"
    process.communicate()
    assert len(list(tmp_path.iterdir())) == 3, "it was killed"
    write_text(path, "new")
    assert sorted(tmp_path.iterdir()) == sorted([path, own])
    assert own.read_text() == "a user's own file"


def test_the_error_names_the_file_and_the_reason(tmp_path: Path) -> None:
    def full(file: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "new.txt"
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(path, full)
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as missing:
        write_text(tmp_path / "none" / "new.txt", "")
    assert missing.value.filename == str(tmp_path / "none" / "new.txt")
    assert list(tmp_path.iterdir()) == []


WAITS = """
import sys
from pathlib import Path
from mrcnn_steps.files import exclusive

with exclusive(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_for_one_process_at_a_time(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(ValueError, match="is in use by another process"), exclusive(tmp_path):
        raise AssertionError("two processes in one folder")
    process.kill()
    process.communicate()
    with exclusive(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []
