"""`file.py:function`: a model that its owner's own code builds."""

import sys
from pathlib import Path

import pytest
from torchvision.models.detection import FasterRCNN

from mrcnn_steps import load_model

CODE = """
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
from names import NAMES

def make():
    model = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=len(NAMES)
    )
    model.class_names = NAMES
    return model

def nameless():
    model = make()
    del model.class_names
    return model

def nothing():
    return "a model"

def fails():
    raise KeyError("weights")

def wants(path):
    return path

here = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "names.py").write_text("NAMES = ['BG', 'nut', 'bolt']\n")
    # A neighbor must not hide a module of Python's own.
    (tmp_path / "random.py").write_text("raise RuntimeError('run though nobody named it')\n")
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path / "mine.py"


def test_the_function_builds_the_model(file: Path) -> None:
    before = list(sys.path)
    model = load_model(f"{file}:make")
    assert isinstance(model, FasterRCNN)
    assert not model.training
    assert model.class_names == ("background", "nut", "bolt")
    assert sys.path == before


def test_names_are_given_guessed_or_compared(file: Path) -> None:
    assert load_model(f"{file}:nameless").class_names == ("background", "class 1", "class 2")
    named = load_model(f"{file}:nameless", class_names=("background", "a", "b"))
    assert named.class_names == ("background", "a", "b")
    with pytest.raises(ValueError, match=r"those of .*mine\.py:make: nut and bolt trade places"):
        load_model(f"{file}:make", class_names=("background", "bolt", "nut"))
    with pytest.raises(ValueError, match="found 2 names"):
        load_model(f"{file}:nameless", class_names=("background", "a"))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("absent", r"mine\.py: defines no function 'absent'"),
        ("here", r"mine\.py: defines no function 'here'"),
        ("nothing", r"mine\.py:nothing: returned str, expected a torch\.nn\.Module"),
        ("fails", r"mine\.py, line 21: KeyError: 'weights'"),
        ("wants", r"mine\.py:wants: missing a required argument.*a function without arguments"),
    ],
)
def test_what_goes_wrong_is_told_with_its_place(file: Path, function: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_model(f"{file}:{function}")


def test_a_file_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ndef make(:\n")
    with pytest.raises(ValueError, match=r"broken\.py, line 2: SyntaxError"):
        load_model(f"{tmp_path / 'broken.py'}:make")
    with pytest.raises(FileNotFoundError, match=r"none\.py: no such file, expected one that defi"):
        load_model(f"{tmp_path / 'none.py'}:make")
    (tmp_path / "fine.py").write_text("from torch.nn import Module as make\n")
    with pytest.raises(ValueError, match="found the architecture 'tiny', expected what its funct"):
        load_model(f"{tmp_path / 'fine.py'}:make", "tiny", ["background"])


def test_a_file_that_was_not_named_is_not_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text("raise RuntimeError")
    Path("model.py").write_text("raise RuntimeError")
    assert len(load_model("tiny").class_names) == 81
    with pytest.raises((FileNotFoundError, ValueError), match=r"model\.py: found "):
        load_model("model.py")
