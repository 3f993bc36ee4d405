"""Checkpoints as they are found: whoever wrote them, and whatever they hold."""

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mrcnn_steps.model import load_model
from mrcnn_steps.model.architectures import build
from mrcnn_steps.model.reading import CheckpointWarning, read

MOBILENET = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build(MOBILENET, ("background", "nut", "bolt")).state_dict()


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


WRITERS: dict[str, tuple[Callable[[dict], object], str]] = {
    "bare": (lambda s: s, ""),
    "torchvision's script": (
        lambda s: {"model": s, "args": argparse.Namespace(lr=0.1), "epoch": 1},
        "",
    ),
    "PyTorch's tutorial": (
        lambda s: {"model_state_dict": s, "optimizer_state_dict": {}, "epoch": 1},
        "under 'model_state_dict'",
    ),
    "Lightning": (
        lambda s: {"state_dict": prefixed(s, "model."), "epoch": 1},
        "without 'model.'",
    ),
    "DataParallel": (lambda s: prefixed(s, "module."), "without 'module.'"),
    "torch.compile": (lambda s: prefixed(s, "_orig_mod."), "without '_orig_mod.'"),
    "compiled backbone": (
        lambda s: {k.replace("backbone.", "backbone._orig_mod."): v for k, v in s.items()},
        "without '_orig_mod.'",
    ),
    "both": (lambda s: prefixed(s, "_orig_mod.module."), "without '_orig_mod.' and 'module.'"),
    "AveragedModel": (
        lambda s: prefixed(s, "module.") | {"n_averaged": torch.tensor(3)},
        "left out, as no part of the model: n_averaged",
    ),
    "a loss beside it": (
        lambda s: {"state_dict": prefixed(s, "model.") | {"loss.weight": torch.ones(2)}},
        "left out, as no part of the model: loss.weight",
    ),
    "own class": (lambda s: prefixed(s, "net.detector."), "without 'net.detector.'"),
    "own name": (
        lambda s: {"weights": s, "loss": torch.zeros(3), "metrics": {"ap": torch.zeros(1)}},
        "under 'weights'",
    ),
    "two floors": (lambda s: {"checkpoint": {"net": s}}, "under 'checkpoint.net'"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_the_dict_of_tensors_is_found_and_a_common_prefix_undone(
    state: dict[str, torch.Tensor], tmp_path: Path, writer: str
) -> None:
    change, said = WRITERS[writer]
    path = tmp_path / "model.pth"
    torch.save(change(state), path)
    if said:
        with pytest.warns(CheckpointWarning) as told:
            weights, _ = read(path)
        assert any(said in str(each.message) for each in told)
    else:
        weights, _ = read(path)
    assert weights.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in weights.items())


def test_such_a_file_becomes_a_model(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed(state, "model.")}, tmp_path / "model.ckpt")
    with pytest.warns(CheckpointWarning):
        model = load_model(tmp_path / "model.ckpt", MOBILENET, ["BG", "nut", "bolt"])
    assert model.class_names == ("background", "nut", "bolt")
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_two_models_in_a_file(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"student": state, "teacher": state}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"found weights under 'student', 'teacher', expected one"):
        read(tmp_path / "model.pth")
    both = prefixed(state, "student.") | prefixed(state, "teacher.model.")
    torch.save(both, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"detectors under 'student', 'teacher\.model', expected"):
        read(tmp_path / "model.pth")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: {"model": m}, nn.DataParallel])
def test_a_whole_pickled_model_is_refused_with_the_line_that_saves_it(
    tmp_path: Path, wrap: Callable, legacy: bool
) -> None:
    whole = nn.Sequential(nn.Linear(2, 2))
    torch.save(wrap(whole), tmp_path / "m.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"m\.pth: found a whole pickled model") as caught:
        load_model(tmp_path / "m.pth")
    assert 'torch.save(model.state_dict(), "weights.pth")' in str(caught.value)


class Attack:
    """Unpickling this runs a command."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    "save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
def test_a_file_that_would_run_code_is_refused(tmp_path: Path, save: Callable) -> None:
    save({"model": Attack(tmp_path / "pwned")}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth: found UnpicklingError.*weights_only=True"):
        load_model(tmp_path / "model.pth")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"step": 3}])
def test_a_file_without_tensors(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth: found"):
        load_model(tmp_path / "model.pth")


@pytest.mark.parametrize(
    "content",
    [{"model": None}, {"average": 5}, {"model": {}}, {"model": {"a": {"b": 1}}}, {1: 2}],
)
def test_parts_that_hold_no_tensors(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth: found no tensors"):
        read(tmp_path / "model.pth")


@pytest.mark.parametrize("content", [{1: torch.zeros(2)}, {"model": {1: torch.zeros(1)}}])
def test_keys_that_are_no_texts(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"model\.pth: found the key 1, expected names"):
        read(tmp_path / "model.pth")


@pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX's")
@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_a_file_that_may_not_be_read(saved: Path, name: str) -> None:
    path = saved.with_name(name)
    saved.rename(path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("whoever runs the tests may read everything")
    with pytest.raises(PermissionError, match=name):
        read(path)
