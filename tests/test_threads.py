"""Threads that fit the processors which this process may really use."""

import os
import subprocess
import sys

import pytest

from mrcnn_steps import threads


@pytest.fixture
def groups(tmp_path):
    """Write a description of control groups; returns what reads it."""

    def write(own, files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "groups" / name).write_text(text)
        return threads.quota(tmp_path / "own", tmp_path / "groups")

    return write


def test_a_container_of_one_and_a_half_processors(groups):
    assert groups("0::/\n", {"cpu.max": "150000 100000\n"}) == 1.5


def test_no_limit(groups, tmp_path):
    assert groups("0::/\n", {"cpu.max": "max 100000\n"}) is None
    assert threads.quota(tmp_path / "no such file") is None


def test_the_strictest_group_on_the_way_up_counts(groups):
    files = {"cpu.max": "max 100000", "a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}
    assert groups("0::/a/b\n", files) == 2


def test_a_group_that_is_named_from_outside(groups):
    assert groups("0::/docker/5f2a\n", {"cpu.max": "100000 100000"}) == 1


def test_groups_of_the_first_version(groups):
    own = "5:memory:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/box\n"
    files = {
        "cpu,cpuacct/box/cpu.cfs_quota_us": "300000\n",
        "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    assert groups(own, files) == 3


@pytest.mark.parametrize(("worth", "expected"), [(None, 6), (2.7, 2), (0.5, 1), (64.0, 6)])
def test_affinity_and_quota_both_limit(monkeypatch, worth, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(threads, "quota", lambda: worth)
    assert threads.processors() == expected


def in_a_process_of_its_own(code, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=kept | environment
    )
    return done.stdout.split()


SHOW = """
import os, sys
from mrcnn_steps.cli import main
assert "torch" not in sys.modules
main(["--version"])
print(os.environ["OMP_WAIT_POLICY"], os.environ["OMP_NUM_THREADS"])
import torch
print(torch.get_num_threads())
"""


def test_commands_prepare_before_torch_is_imported():
    *_, policy, count, used = in_a_process_of_its_own(SHOW)
    assert policy == "passive"
    assert count == used == str(threads.processors())


def test_what_the_user_has_set_stays():
    *_, policy, count, used = in_a_process_of_its_own(
        SHOW, OMP_WAIT_POLICY="active", OMP_NUM_THREADS="1"
    )
    assert (policy, count, used) == ("active", "1", "1")


def test_where_torch_is_imported_it_is_too_late():
    environment = {}
    threads.prepare(environment)
    assert environment == {}, "the tests have imported torch"
