"""The viewer's JavaScript without a browser: its unit tests, the linter, and how it is joined."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright._impl._driver import compute_driver_executable

from mrcnn_widgets.viewer.join import SCRIPT, join

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
JS = ROOT / "widgets/mrcnn_widgets/viewer/js"
REPORT = ROOT / "widgets/mrcnn_widgets/report/js"
MODULES = sorted(JS.glob("*.js"))


def node(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs the Node that Playwright's wheel brings."""
    command = [compute_driver_executable()[0], "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON"]
    command += map(str, arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("file", sorted(HERE.glob("js/*.test.mjs")), ids=lambda file: file.stem)
def test_unit(file):
    done = node("--test", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_is_content():
    linter = shutil.which("oxlint")
    assert linter is not None, "oxlint is missing: pip install -e '.[test]'"
    folders = [JS, REPORT, HERE / "js"]
    done = subprocess.run([linter, *folders], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", [*MODULES, *REPORT.glob("*.js")], ids=lambda file: file.stem)
def test_a_module_is_short_and_typed(file):
    text = file.read_text(encoding="utf-8")
    assert text.startswith("// @ts-check\n")
    assert text.count("\n") <= 300


class TestJoin:
    def test_every_module_is_in_the_text_once(self):
        for file in MODULES:
            first = file.read_text(encoding="utf-8").splitlines()[1]
            assert SCRIPT.count(first) == 1, file.name

    def test_only_the_entry_exports_and_nothing_is_imported(self):
        names = re.findall(r"^export (default|function mount)", SCRIPT, re.MULTILINE)
        assert names == ["default", "function mount"]
        assert len(re.findall(r"^(?:export|import)\b", SCRIPT, re.MULTILINE)) == 2

    def test_the_text_is_a_module(self, tmp_path):
        """Two modules that use one name at their top level are a syntax error here."""
        file = tmp_path / "joined.mjs"
        file.write_text(SCRIPT, encoding="utf-8")
        done = node("--check", file)
        assert done.returncode == 0, done.stderr

    def test_what_is_imported_comes_first_and_once(self, tmp_path):
        modules = {
            "a.js": 'import { b } from "./b.js";\nimport { c } from "./c.js";\nconst a = b\n',
            "b.js": 'import {\n  c,\n} from "./c.js";\nexport const b = c + 1;\n',
            "c.js": "export const c = 1;\n",
        }
        for name, text in modules.items():
            (tmp_path / name).write_text(text)
        text = join(tmp_path / "a.js")
        assert [line for line in text.splitlines() if line] == [
            "const c = 1;",
            "const b = c + 1;",
            "const a = b",
        ]
