"""Errors before the first step: a training begins nothing that cannot end well."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from mrcnn_steps.cli import main
from mrcnn_steps.model import train
from mrcnn_steps.model.readiness import check_settings, open_data
from mrcnn_steps.model.reading import CheckpointWarning
from tests.model.runs import SSDLITE, arguments, command, write_data


@pytest.fixture
def own_data(tmp_path: Path) -> tuple[Path, Path]:
    return write_data(tmp_path / "own", photos=2)


@pytest.fixture
def refused_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run the command, which must fail before any training step; gives its message."""

    def run(data: tuple[Path, Path], *more: str, out: Path = tmp_path / "run") -> str:
        def step(*args: object) -> None:
            raise AssertionError("a step was taken")

        monkeypatch.setattr(train, "training_step", step)
        assert main(command(data, out, *more)) == 2
        assert not (out / "last.pth").exists()
        errors = capsys.readouterr().err
        assert errors.startswith("mrcnn-steps: ")
        assert errors.count("\n") == 1, "one line, no traceback"
        return errors

    return run


def change(data: tuple[Path, Path], edit: Callable[[dict], object]) -> None:
    content = json.loads(data[1].read_text())
    edit(content)
    data[1].write_text(json.dumps(content))


def test_annotations_cut_in_half(own_data: tuple[Path, Path], refused_with: Callable) -> None:
    text = own_data[1].read_text()
    own_data[1].write_text(text[: len(text) // 2])
    assert re.search(r"instances\.json.*complete JSON", refused_with(own_data))


def test_a_category_that_does_not_exist(
    own_data: tuple[Path, Path], refused_with: Callable
) -> None:
    change(own_data, lambda content: content["annotations"][1].update(category_id=77))
    assert re.search(r"annotations\[1\].*category_id: found 77", refused_with(own_data))


def test_a_photo_that_is_not_there(own_data: tuple[Path, Path], refused_with: Callable) -> None:
    (own_data[0] / "1.png").unlink()
    assert re.search(r"1 of 2 photos are missing: .*1\.png", refused_with(own_data))


def test_a_validation_photo_that_is_not_there(
    data: tuple[Path, Path], own_data: tuple[Path, Path], refused_with: Callable
) -> None:
    (own_data[0] / "0.png").unlink()
    validation = ("--val-images", str(own_data[0]), "--val-annotations", str(own_data[1]))
    assert re.search(r"1 of 2 photos are missing: .*0\.png", refused_with(data, *validation))


def test_an_output_folder_that_cannot_be_written(
    own_data: tuple[Path, Path], refused_with: Callable
) -> None:
    """Whoever runs the tests may write everywhere, but no folder fits into a file."""
    assert "instances.json" in refused_with(own_data, out=own_data[1] / "run")


def test_images_and_annotations_come_in_pairs(
    data: tuple[Path, Path], tmp_path: Path, refused_with: Callable
) -> None:
    assert "found 1 for 2" in refused_with(data, "--images", str(data[0]))
    assert not (tmp_path / "run").exists()


def test_data_sets_of_different_classes(
    data: tuple[Path, Path], own_data: tuple[Path, Path], refused_with: Callable
) -> None:
    more = ("--images", str(own_data[0]), "--annotations", str(own_data[1]))
    change(own_data, lambda content: content["categories"][1].update(name="circle"))
    assert re.search(
        r"own/instances\.json: categories.* differ from .*: circle is new; disk is missing;",
        refused_with(data, *more),
    )
    change(own_data, lambda content: content["categories"][0].update(name="disk"))
    change(own_data, lambda content: content["categories"][1].update(name="square"))
    assert "square and disk trade places; data sets trained on" in refused_with(data, *more)


def test_no_photos(own_data: tuple[Path, Path], refused_with: Callable) -> None:
    change(own_data, lambda content: content.update(images=[], annotations=[]))
    assert "found no photos to train on" in refused_with(own_data)


def test_weights_that_do_not_fit(
    data: tuple[Path, Path], tmp_path: Path, refused_with: Callable
) -> None:
    torch.save({"rpn.head.conv.0.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    for option in ("--weights", "--backbone-weights"):
        message = refused_with(data, option, str(tmp_path / "other.pth"))
        assert "other.pth: does not fit the model: " in message
    assert "no.pth: no such checkpoint" in refused_with(data, "--weights", "no.pth")


@pytest.mark.parametrize("option", ["--batch-size", "--iterations", "--image-size"])
def test_numbers_that_allow_no_step(
    data: tuple[Path, Path], option: str, refused_with: Callable
) -> None:
    assert f"{option}: found 0, expected" in refused_with(data, option, "0")


def test_settings_that_a_model_does_not_have(
    data: tuple[Path, Path], refused_with: Callable
) -> None:
    message = refused_with(data, *SSDLITE, "--rois", "64")
    assert "--rois, --roi-sampling: --model ssdlite320_mobilenet_v3_large has no RoI" in message
    assert "has no RoI heads" in refused_with(data, *SSDLITE, "--roi-sampling", "1")
    message = refused_with(data, *SSDLITE[:2])
    assert "--image-size: found 128, expected 320, the only size of ssdlite320" in message
    message = refused_with(data, *SSDLITE, "--batch-size", "1")
    assert "--batch-size: found 1, expected at least 2, two photos for each process" in message
    assert "no ImageNet weights" in refused_with(data, *SSDLITE, "--pretrained-backbone")
    assert "no ImageNet weights" in refused_with(data, *SSDLITE, "--backbone-weights", "a.pth")


def test_fewer_photos_in_a_batch_than_processes(
    data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, refused_with: Callable
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert "found 2, expected at least 3, one photo for each process" in refused_with(data)


def test_nothing_to_resume(data: tuple[Path, Path], refused_with: Callable) -> None:
    assert "last.pth: nothing to resume from" in refused_with(data, "--resume")


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "values"),
    [
        *((f"--{name}", ["-1"]) for name in ("warmup", "evaluations", "rois", "seed", "workers")),
        *((f"--{name}", ["nan"]) for name in ("lr", "average", "paste", "color", "save-minutes")),
        *((f"--{name}", ["inf"]) for name in ("backbone-lr", "weight-decay")),
        *((f"--{name}", ["1" + "0" * 30]) for name in ("iterations", "batch-size", "image-size")),
        ("--lr", ["0"]),
        ("--average", ["1"]),
        ("--paste", ["1.5"]),
        ("--scale", ["2", "1"]),
        ("--scale", ["0", "1"]),
        ("--scale", ["1", "nan"]),
        ("--roi-sampling", ["0"]),
        ("--seed", [str(2**32)]),
        ("--image-size", ["100"]),
    ],
)
def test_numbers_that_make_no_sense(
    data: tuple[Path, Path], tmp_path: Path, option: str, values: list[str], refused_with: Callable
) -> None:
    # As one word: argparse takes "-1" for an option of its own.
    words = [f"{option}={values[0]}"] if len(values) == 1 else [option, *values]
    message = refused_with(data, *words)
    assert f"mrcnn-steps: {option}: found " in message
    assert ", expected " in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf])
def test_a_time_that_makes_no_sense(
    data: tuple[Path, Path], tmp_path: Path, minutes: float
) -> None:
    args = arguments(data, tmp_path)
    args.minutes = minutes
    with pytest.raises(ValueError, match=rf"--minutes: found {minutes}, expected 0\.001 to 10"):
        check_settings(args)


def test_the_largest_seed_and_step_fit_into_64_bits() -> None:
    train.seed_step(2**32 - 1, 10**9, 0, torch.Generator())


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "cpu0", ""])
def test_a_device_that_is_not_there(
    data: tuple[Path, Path], device: str, refused_with: Callable
) -> None:
    message = refused_with(data, "--device", device)
    assert f"--device: found {device!r}, expected one of cpu" in message


# --- photos and objects ---------------------------------------------------------------------------


def test_photos_are_opened_as_far_as_their_headers(
    own_data: tuple[Path, Path], refused_with: Callable
) -> None:
    (own_data[0] / "0.png").write_bytes(b"these are words")
    Image.new("RGB", (90, 120)).save(own_data[0] / "1.png")
    message = refused_with(own_data)
    assert "instances.json: 2 of 2 photos cannot be used: " in message
    assert "0.png: found no readable image" in message
    assert "1.png: found 90×120 pixels (after EXIF rotation), expected 120×90" in message


def test_of_the_processes_on_a_machine_one_looks_at_the_photos(
    own_data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`torchrun` ends the others when it fails."""
    (own_data[0] / "0.png").write_bytes(b"these are words")
    monkeypatch.setenv("LOCAL_RANK", "1")
    open_data(arguments(own_data, Path("unused")))
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match="1 of 2 photos cannot be used"):
        open_data(arguments(own_data, Path("unused")))


def test_the_size_is_that_after_exif(own_data: tuple[Path, Path]) -> None:
    """Stored lying, shown standing: with the tag the photo has the size that the file says."""
    stored = Image.new("RGB", (90, 120))
    exif = stored.getexif()
    exif[274] = 6
    stored.save(own_data[0] / "0.png", exif=exif)
    assert len(open_data(arguments(own_data, Path("unused")))[0]) == 2


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: [each.update(iscrowd=1) for each in content["annotations"]],
        lambda content: content["annotations"].clear(),
        lambda content: [
            each.update(segmentation={"size": [90, 120], "counts": [90 * 120]})
            for each in content["annotations"]
        ],
    ],
    ids=["crowds", "nothing", "masks without pixels"],
)
def test_no_objects(own_data: tuple[Path, Path], edit: Callable, refused_with: Callable) -> None:
    change(own_data, edit)
    assert "instances.json: found no object to train on" in refused_with(own_data)


# --- validation -----------------------------------------------------------------------------------


def rename(content: dict) -> None:
    for category in content["categories"]:
        category["name"] = category["name"].title()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (rename, "shares no class with the training data: Square and Disk are new; square and di"),
        (lambda c: c.update(images=[], annotations=[]), "found no photos to evaluate on"),
        (lambda c: [a.update(iscrowd=1) for a in c["annotations"]], "found no object to evaluate"),
        (
            lambda c: [i.update(width=121) for i in c["images"]],
            "2 of 2 photos cannot be used: .*expected 121×90",
        ),
    ],
    ids=["names", "photos", "crowds", "sizes"],
)
def test_validation_is_checked_before_the_first_step(
    data: tuple[Path, Path],
    own_data: tuple[Path, Path],
    edit: Callable,
    said: str,
    refused_with: Callable,
) -> None:
    change(own_data, edit)
    more = ("--val-images", str(own_data[0]), "--val-annotations", str(own_data[1]))
    assert re.search(rf"own/instances\.json: {said}", refused_with(data, *more))


def test_classes_that_only_the_validation_has_are_named(
    data: tuple[Path, Path], own_data: tuple[Path, Path]
) -> None:
    change(own_data, lambda content: content["categories"][1].update(name="star"))
    words = ("--val-images", str(own_data[0]), "--val-annotations", str(own_data[1]))
    with pytest.warns(CheckpointWarning, match="only common ones count: star is new; disk is mis"):
        open_data(arguments(data, Path("unused"), *words))


def test_validation_photos_without_their_annotations(
    data: tuple[Path, Path], refused_with: Callable
) -> None:
    message = refused_with(data, "--val-images", str(data[0]))
    assert "--val-images: found no --val-annotations, expected both" in message


# --- the folder -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "log.csv", "loss.png", "metrics.json"])
def test_a_users_own_files_are_never_overwritten(
    data: tuple[Path, Path], tmp_path: Path, name: str, refused_with: Callable
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / name).write_text("mine")
    assert f"{out / name}: is there, but no last.pth of a run" in refused_with(data, out=out)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(name, "mine")]


def test_a_folder_that_was_made_for_nothing_is_removed(
    data: tuple[Path, Path], tmp_path: Path, refused_with: Callable
) -> None:
    assert "no.pth: no such checkpoint" in refused_with(data, "--weights", "no.pth")
    assert not (tmp_path / "run").exists()


def test_two_trainings_never_share_a_folder(
    data: tuple[Path, Path], tmp_path: Path, refused_with: Callable
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    code = (
        "import sys; from pathlib import Path; from mrcnn_steps.files import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    try:
        assert f"{out}: is in use by another process" in refused_with(data, out=out)
    finally:
        other.communicate()


def test_a_file_where_the_folder_should_be_is_named(data, refused_with, tmp_path) -> None:
    (tmp_path / "taken").write_text("mine")
    assert "expected a folder, found the file" in refused_with(data, out=tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"
