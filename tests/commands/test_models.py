"""`--model`, `--architecture` and `--class-names`: the same in every command."""

import argparse
from pathlib import Path

import pytest
import torch
from PIL import Image

from mrcnn_steps.cli import main
from mrcnn_steps.commands.models import add_model_arguments, open_model, read_class_names
from mrcnn_steps.model.architectures import build

MOBILENET = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "fine_tuned.pth"
    torch.save(build(MOBILENET, ("background", "nut", "bolt")).state_dict(), path)
    return str(path)


def opened(*words: str) -> torch.nn.Module:
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    return open_model(parser.parse_args(words))


def test_the_default_is_the_bundled_model() -> None:
    assert len(opened().class_names) == 81  # type: ignore[arg-type]


def test_architecture_and_names_of_somebody_elses_checkpoint(weights: str, tmp_path: Path) -> None:
    words = ("--model", weights, "--architecture", MOBILENET)
    assert opened(*words).class_names == ("background", "class 1", "class 2")
    named = opened(*words, "--class-names", "background, nut,bolt")
    assert named.class_names == ("background", "nut", "bolt")
    (tmp_path / "names.txt").write_text("\ufeffBG\r\nnut\r\n\r\nbolt, long\r\n", encoding="utf-8")
    named = opened(*words, "--class-names", str(tmp_path / "names.txt"))
    assert named.class_names == ("background", "nut", "bolt, long")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nut,bolt", "--class-names: found nut and bolt, expected the background first"),
        ("names.txt", "--class-names: found 'names.txt', expected a file, or names separated"),
        ("background,,nut", r"--class-names\[1\]: found '', expected a text"),
    ],
)
def test_names_that_are_none(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_class_names(text)


def test_a_file_of_names_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"background\n\xff\xfe")
    with pytest.raises(ValueError, match=r"names\.txt: found .*expected names, one a line"):
        read_class_names(str(tmp_path / "names.txt"))


def test_the_command_says_which_argument_is_missing(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48), "teal").save("photo.png")
    assert main(["inspect", "photo.png", "--model", weights]) == 2
    said = capsys.readouterr().err
    assert "cannot tell the architecture" in said
    assert "--architecture" in said
    assert said.count("\n") == 1
    names = ("--architecture", MOBILENET, "--class-names", "nut,bolt")
    assert main(["inspect", "photo.png", "--model", weights, *names]) == 2
    assert "expected the background first" in capsys.readouterr().err
