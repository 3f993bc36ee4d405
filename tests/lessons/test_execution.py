"""Every lesson runs from top to bottom: offline, in a bare environment, and soon."""

import os
import resource
import sys

import nbformat
import pytest

from tests.lessons.execute import lesson_paths, run

EACH, ALL = 60, 240

# Python reads a module of this name at its start. A kernel talks with its client over 127.0.0.1.
NO_NETWORK = """
import socket

def refuse(*args, **kwargs):
    raise OSError("a lesson reached for the network")

def local(connect):
    def checked(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            refuse()
        return connect(self, address)
    return checked

socket.getaddrinfo = socket.gethostbyname = refuse
socket.socket.connect = local(socket.socket.connect)
socket.socket.connect_ex = local(socket.socket.connect_ex)
"""


@pytest.fixture(scope="module")
def bare_environment(tmp_path_factory):
    """Nothing but what pip installed: no settings, no caches, no network.

    OpenMP's settings stay, as `mrcnn-steps lab` makes them for the kernels that it starts.
    """
    home = tmp_path_factory.mktemp("home")
    (home / "site").mkdir()
    (home / "site" / "sitecustomize.py").write_text(NO_NETWORK)
    kept = {name: value for name, value in os.environ.items() if name.startswith("OMP_")}
    return {
        **kept,
        "HOME": str(home),
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.defpath]),
        "PYTHONPATH": str(home / "site"),
        "LANG": "C.UTF-8",
    }


@pytest.fixture(scope="module")
def seconds():
    """Processor time that each lesson took, by name: the other tests run beside it."""
    return {}


def processor_seconds():
    """Processor time of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("path", lesson_paths(), ids=lambda path: path.stem)
def test_runs_offline_from_top_to_bottom(path, bare_environment, seconds, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    start = processor_seconds()
    run(notebook, tmp_path, bare_environment)
    seconds[path.stem] = processor_seconds() - start
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert [o for o in outputs if o.output_type == "error"] == []
    assert [o.text for o in outputs if o.get("name") == "stderr"] == []
    assert 1 < seconds[path.stem] < EACH


def test_all_together_are_soon_done(seconds):
    assert sum(seconds.values()) < ALL, seconds


def test_the_network_is_blocked(bare_environment, tmp_path):
    code = """import urllib.request
try:
    urllib.request.urlopen("http://example.com")
except OSError as error:
    print(error)"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    run(notebook, tmp_path, bare_environment)
    assert "a lesson reached for the network" in notebook.cells[0].outputs[0].text
