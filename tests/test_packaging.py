"""What a person gets who installs the wheel, beside folders of her own."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Opens a debugger, and finds the lessons, among files that bear our folders' names.
OPEN = """
import mrcnn_steps, mrcnn_widgets
from mrcnn_widgets import PipelineDebugger
from mrcnn_steps.commands.lab import bundled_lessons
debugger = PipelineDebugger("cat")
print(mrcnn_steps.__file__)
print(mrcnn_widgets.__file__)
print(debugger.stage, len(bundled_lessons()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture
def environment(wheel, tmp_path) -> Path:
    """An empty environment with the wheel in it; its dependencies are those of the tests."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    scheme = sysconfig.get_preferred_scheme("prefix")
    site = Path(sysconfig.get_path("purelib", scheme, vars={"base": str(home)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # Comes after the environment's own folder, so that the wheel's packages are the ones found.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Path(sysconfig.get_path("scripts", scheme, vars={"base": str(home)})) / "python"


def test_only_our_two_packages_take_names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "mrcnn_steps",
        "mrcnn_widgets",
    }
    lessons = sorted(path.name for path in (ROOT / "lessons").glob("*.ipynb"))
    packed = sorted(name for name in names if name.startswith("mrcnn_steps/lessons/"))
    assert packed == [f"mrcnn_steps/lessons/{name}" for name in lessons]
    assert {"mrcnn_steps/py.typed", "mrcnn_widgets/py.typed"} <= set(names)


def test_a_debugger_opens_beside_a_users_own_widgets_and_lessons(environment, tmp_path):
    (tmp_path / "widgets.py").write_text("raise ImportError('the wrong widgets')\n")
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "__init__.py").write_text("raise ImportError('the wrong lessons')\n")
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(environment), "-c", OPEN], cwd=tmp_path, capture_output=True, text=True, env=clean
    )
    assert done.returncode == 0, done.stderr
    steps, widgets, opened = done.stdout.split("\n")[:3]
    assert Path(steps).is_relative_to(tmp_path)
    assert Path(widgets).is_relative_to(tmp_path)
    lessons = len(list((ROOT / "lessons").glob("*.ipynb")))
    assert opened.split() == ["mini_masks", str(lessons)]


def test_lessons_holds_notebooks_only():
    assert {path.suffix for path in (ROOT / "lessons").iterdir() if path.is_file()} == {".ipynb"}


def test_the_checkout_needs_no_symbolic_links():
    """Windows' git writes a link as a text file."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--stage"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert not [line for line in listed.stdout.splitlines() if line.startswith("120000")]
