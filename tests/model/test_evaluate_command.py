"""The command `evaluate`: what it prints and writes, and what it refuses."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mrcnn_steps.cli import main
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.model.checkpoint import build, save_weights
from mrcnn_steps.model.evaluate import table
from mrcnn_steps.model.network import tiny
from tests.model.runs import MODEL_CLASSES, write


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_weights(tiny(MODEL_CLASSES, 128), path, "tiny", 128)
    return path


def command(folder: CocoFolder, *more: str) -> list[str]:
    paths = ["--images", str(folder.images), "--annotations", str(folder.annotations)]
    return ["evaluate", *paths, "--device", "cpu", *more]


def test_command_prints_a_table_and_writes_json(
    content: dict[str, Any],
    tmp_path: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write(content, tmp_path)
    out = tmp_path / "out" / "metrics.json"
    out.parent.mkdir()
    assert main(command(folder, "--model", str(checkpoint), "--out", str(out))) == 0
    metrics = json.loads(out.read_text())
    assert set(metrics) == {"box", "mask", "rpn", "photos", "objects"}
    printed = capsys.readouterr().out
    assert printed == table(metrics) + "\n"
    lines = printed.splitlines()
    assert "box AP50" in lines[0]
    # The class with the most objects first; those without any are left out.
    assert [line.split()[0] for line in lines[1:4]] == ["all", "person", "dog"]
    assert any(line.startswith("RPN recall50@1000") for line in lines)
    assert list(out.parent.iterdir()) == [out], "no temporary file is left"


def test_a_detector_without_proposals_and_masks(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Box AP alone; the table says why there is nothing else."""
    folder = write(content, tmp_path)
    name, path = "ssdlite320_mobilenet_v3_large", tmp_path / "model.safetensors"
    save_weights(build(name, MODEL_CLASSES), path, name, 320)
    out = tmp_path / "metrics.json"
    assert main(command(folder, "--model", str(path), "--out", str(out))) == 0
    metrics = json.loads(out.read_text())
    assert set(metrics) == {"box", "photos", "objects"}
    assert (metrics["photos"], metrics["objects"]) == (4, 6)
    assert metrics["box"]["classes"]["person"]["objects"] == 4
    printed = capsys.readouterr().out
    assert printed == table(metrics) + "\n"
    assert printed.splitlines()[0].split() == ["objects", "box", "AP", "box", "AP50"]
    assert printed.splitlines()[-2:] == [
        "no mask AP: the model predicts no masks",
        "no RPN recall: the model has no RPN",
    ]


def test_json_is_written_whole_or_not_at_all(
    content: dict[str, Any], tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk after half of the text: the file of an earlier evaluation is untouched."""
    folder = write(content, tmp_path)
    out = tmp_path / "out" / "metrics.json"
    out.parent.mkdir()
    out.write_text("earlier")
    real = Path.write_bytes

    def write_half(self: Path, data: bytes) -> int:
        real(self, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    assert main(command(folder, "--model", str(checkpoint), "--out", str(out))) == 2
    assert out.read_text() == "earlier"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "no.safetensors"], "no.safetensors: no such checkpoint"),
        (["--out", "no/metrics.json"], "no: no such folder to write metrics.json"),
    ],
)
def test_command_refuses(
    content: dict[str, Any],
    tmp_path: Path,
    more: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(command(write(content, tmp_path), *more)) == 2
    assert message in capsys.readouterr().err


def test_command_refuses_a_missing_photo_and_a_data_set_without_photos(
    content: dict[str, Any], tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(content, tmp_path)
    (tmp_path / "2.png").unlink()
    assert main(command(folder, "--model", str(checkpoint))) == 2
    assert "1 of 4 photos are missing" in capsys.readouterr().err
    empty = copy.deepcopy(content) | {"images": [], "annotations": []}
    assert main(command(write(empty, tmp_path), "--model", str(checkpoint))) == 2
    assert "no photos to evaluate on" in capsys.readouterr().err


def test_a_name_of_any_kind_stays_on_its_line() -> None:
    name = "a\nb\x1b[2J" + 99 * "c"
    classes = {name: {"objects": 1, "AP": 1.0, "AP50": 2.0}}
    metrics = {"objects": 1, "box": {"AP": 1.0, "AP50": 2.0, "classes": classes}}
    lines = table(metrics | {"unknown_classes": {name: 1}}).split("\n")
    assert len(lines) == 6
    assert max(map(len, lines)) < 100
    assert all(line.isprintable() for line in lines)
