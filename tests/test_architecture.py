"""Imports go down only: ARCHITECTURE.md's floors against every import of the two packages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {"mrcnn_steps": ROOT, "mrcnn_widgets": ROOT / "widgets"}
# A person reads a file in one sitting; a weight of a model or a notebook is no such file.
MOST_LINES = {".py": 450, ".js": 300}


def floors() -> dict[str, int]:
    """The floor of each room, 0 at the top."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    [listed] = re.findall(r"```floors\n(.*?)```", text, flags=re.DOTALL)
    return {room: i for i, line in enumerate(listed.splitlines()) for room in line.split()}


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in SOURCES.items():
        for path in sorted((folder / package).rglob("*.py")):
            name = ".".join(path.relative_to(folder).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def imported(name: str, path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, wherever in it."""
    known = {module for module, _ in modules()}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def room_of(module: str, rooms: dict[str, int]) -> str:
    parts = module.split(".")
    names = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    found = [name for name in names if name in rooms]
    assert found, f"{module} is in none of the rooms of ARCHITECTURE.md"
    return found[0]


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=[name for name, _ in modules()])
def test_arrows_go_down(name, path):
    rooms = floors()
    own = room_of(name, rooms)
    for other in set(imported(name, path)):
        room = room_of(other, rooms)
        assert room == own or rooms[room] > rooms[own], f"{name} imports {other}"


def test_every_room_exists():
    names = {name for name, _ in modules()}
    assert [room for room in floors() if room not in names] == []


def test_no_file_is_longer_than_one_reads():
    files = [path for folder in SOURCES.values() for path in folder.rglob("*")]
    code = [p for p in files if p.suffix in MOST_LINES and "tests" not in p.parts]
    long = {
        str(path.relative_to(ROOT)): count
        for path in code
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES[path.suffix]
    }
    assert long == {}


@pytest.mark.parametrize(
    "path", [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "README.md"], ids=str
)
def test_what_a_page_links_to_is_there(path):
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), link
