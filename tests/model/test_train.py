"""Training: the schedule, the order of the photos, exact resume, a clean stop, and the log."""

import csv
import errno
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from mrcnn_steps.cli import main
from mrcnn_steps.commands import train as train_command
from mrcnn_steps.files import PART
from mrcnn_steps.model import load_model, losses, single_stage, train
from mrcnn_steps.model.log import Log
from mrcnn_steps.model.readiness import open_data
from mrcnn_steps.model.reading import read
from mrcnn_steps.model.run import Run
from mrcnn_steps.model.schedule import Average, learning_rate_factor
from mrcnn_steps.model.training_set import BatchStream, repeat_factors
from tests.model.runs import SSDLITE, arguments, command, fresh_run, write_data

# --- schedule -------------------------------------------------------------------------------------


def test_learning_rate_warms_up_then_falls_along_a_cosine() -> None:
    warm = [learning_rate_factor(step, 0.0, warmup=4) for step in range(6)]
    assert warm == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    late = [learning_rate_factor(1000, progress, 4) for progress in (0, 0.5, 1, 1.5)]
    assert late == pytest.approx([1.0, 0.505, 0.01, 0.01])


def test_average_trusts_the_past_more_and_more() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 0.0)
    average = Average(model, decay=0.5)
    torch.nn.init.constant_(model.weight, 1.0)
    average.update(model, 1)  # decay (1 + 1) / (10 + 1)
    assert average.model.weight.item() == pytest.approx(9 / 11)
    average.update(model, 1000)  # decay 0.5
    assert average.model.weight.item() == pytest.approx(10 / 11)


# --- order of the photos --------------------------------------------------------------------------


def test_rare_classes_are_repeated() -> None:
    """By hand: class 1 in 100 of 100 photos, class 2 in 1, threshold 0.04: √(0.04 / 0.01) = 2."""
    photos = [frozenset({1})] * 98 + [frozenset({1, 2}), frozenset({1})]
    assert repeat_factors(photos, 0.04).tolist() == [1.0] * 98 + [2.0, 1.0]
    assert repeat_factors([frozenset()]).tolist() == [1.0]


def test_an_epoch_shows_every_photo_as_often_as_its_factor() -> None:
    stream = iter(BatchStream(torch.tensor([1.0, 2.0, 1.0, 1.0]).double(), 5, seed=1))
    for _ in range(3):
        assert sorted(index for index, _ in next(stream)) == [0, 1, 1, 2, 3]


def test_a_stream_that_starts_later_goes_on_alike() -> None:
    factors = torch.full((7,), 1.5).double()
    whole = iter(BatchStream(factors, 4, seed=3))
    ahead = [next(whole) for _ in range(9)]
    late = iter(BatchStream(factors, 4, seed=3, start=6))
    assert [next(late) for _ in range(3)] == ahead[6:]
    seeds = [seed for batch in ahead for _, seed in batch]
    assert len(set(seeds)) == len(seeds), "no augmentation twice"


def test_processes_share_a_batch() -> None:
    factors = torch.ones(9).double()
    whole = next(iter(BatchStream(factors, 4, seed=3)))
    shares = [next(iter(BatchStream(factors, 4, 3, rank=rank, world=2))) for rank in (0, 1)]
    assert sorted(shares[0] + shares[1]) == sorted(whole)


# --- runs -----------------------------------------------------------------------------------------


def steps_logged(folder: Path) -> list[int]:
    with open(folder / "log.csv", newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("more", [(), SSDLITE], ids=["tiny", "SSDLite"])
def test_resume_equals_an_uninterrupted_run_to_the_last_bit(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    """Ctrl-C during the third of five steps, which is finished; then --resume."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train_command.run(arguments(data, whole, *more)) == 0

    add = Log.add

    def press_ctrl_c(self: Log, step: int, *others: object) -> None:
        add(self, step, *others)  # type: ignore[arg-type]
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "add", press_ctrl_c)
        assert train_command.run(arguments(data, parts, *more)) == 130
    assert read(parts / "last.pth")[1]["step"] == 3
    assert load_model(parts / "model.safetensors").class_names == ("background", "square", "disk")
    assert steps_logged(parts) == [3]
    assert train_command.run(arguments(data, parts, *more, "--resume")) == 0
    assert steps_logged(parts) == [3, 5]

    first, second = (read(run / "last.pth")[1] for run in (whole, parts))
    assert first["step"] == second["step"] == 5
    for part in ("model", "average"):
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), (part, key)
    for row, state in first["optimizer"]["state"].items():
        for key, value in state.items():
            assert torch.equal(value, second["optimizer"]["state"][row][key]), (row, key)


def test_resume_refuses_other_settings(data: tuple[Path, Path], tmp_path: Path) -> None:
    train_command.run(arguments(data, tmp_path, "--iterations", "1"))
    with pytest.raises(ValueError, match=r"seed: 0 then, 7 now"):
        train_command.run(arguments(data, tmp_path, "--iterations", "1", "--resume", "--seed", "7"))
    with pytest.raises(FileExistsError, match="--resume continues it"):
        train_command.run(arguments(data, tmp_path))


def test_resume_refuses_annotations_that_were_changed_meanwhile(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    images, annotations = data
    mine, out = tmp_path / "mine.json", tmp_path / "run"
    mine.write_bytes(annotations.read_bytes())
    train_command.run(arguments((images, mine), out, "--iterations", "1"))
    content = json.loads(mine.read_text())
    content["annotations"].pop()
    mine.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"annotations_sha256: .* then, .* now"):
        train_command.run(arguments((images, mine), out, "--iterations", "1", "--resume"))


@pytest.mark.parametrize(
    ("more", "function"),
    [((), losses.classification_loss), (SSDLITE, single_stage.join_with_background)],
    ids=["tiny", "SSDLite"],
)
def test_a_loss_that_is_not_finite_stops_with_the_image_ids(
    data: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    function: Callable[..., torch.Tensor],
) -> None:
    module = sys.modules[function.__module__]
    monkeypatch.setattr(module, function.__name__, lambda *a: function(*a) * torch.nan)
    with pytest.raises(train.TrainingError, match=r"image ids: 10\d, 10\d") as caught:
        train_command.run(arguments(data, tmp_path / "called", *more))
    assert "step 0" in str(caught.value)
    assert main(command(data, tmp_path / "typed", *more)) == 2
    assert re.search(r"mrcnn-steps: step 0: .*image ids: 10\d, 10\d", capsys.readouterr().err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_usable_checkpoint(
    data: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    """As in a terminal, where the signal reaches the trainer and the process that loads photos."""
    settings = ("--iterations", "10000", "--workers", "1", "--save-minutes", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "mrcnn_steps.cli", *command(data, tmp_path, *settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not (tmp_path / "last.pth").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.killpg(process.pid, number)
        output, errors = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    step = read(tmp_path / "last.pth")[1]["step"]
    assert re.search(rf"interrupted.* step {step}\b.*; --resume continues", output)
    assert load_model(tmp_path / "model.safetensors").class_names[1:] == ("square", "disk")
    assert not list(tmp_path.glob(".*")), "no temporary file is left"


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_photo_cut_off_ends_a_training_that_is_saved_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    """Its header is whole: what is missing shows when its turn comes, in a worker or not."""
    photos, annotations = write_data(tmp_path / "own", photos=3)
    first_epoch = itertools.islice(BatchStream(torch.ones(3).double(), 1, seed=0), 3)
    path = photos / f"{[index for ((index, _),) in first_epoch][-1]}.png"
    photo = io.BytesIO()
    with Image.open(path) as opened:
        opened.save(photo, "JPEG")
    path.write_bytes(photo.getvalue()[:-200])
    settings = ("--batch-size", "1", "--paste", "0", "--workers", workers)
    out = tmp_path / "run"
    assert main(command((photos, annotations), out, *settings)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "mrcnn-steps" in line]
    step = read(out / "last.pth")[1]["step"]
    assert step == 2
    (line,) = errors
    assert line.startswith(f"mrcnn-steps: step {step}: {path}: found a damaged")
    assert line.endswith(f"; the checkpoint of step {step} is written; --resume continues")
    assert sorted(each.name for each in out.iterdir()) == [
        *("last.pth", "log.csv", "loss.png", "model.safetensors")
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("out of\nmemory"), "RuntimeError: out of memory"),
        (KeyError("photo"), "KeyError: 'photo'"),
        (ValueError("a.png: found\nnothing"), "a.png: found nothing"),
        (OSError(28, "No space left on device", "run/last.pth"), "run/last.pth: No space left on "),
        (ValueError("Caught it.\nOriginal Traceback:\n  x\nValueError: a.png: cut"), "a.png: cut"),
        (MemoryError(), "MemoryError: "),
    ],
)
def test_any_error_is_one_line(error: Exception, said: str) -> None:
    line = train.reason_of(error)
    assert line.startswith(said)
    assert "\n" not in line


def test_a_full_disk_is_told_and_the_old_checkpoint_stays(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of the checkpoints does not fit any more."""
    state = fresh_run(data)
    args = arguments(data, tmp_path, "--save-minutes", "0")
    written: list[int] = []

    def save(state: Run, *others: object) -> None:
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "last.pth"))
        written.append(state.step)
        (tmp_path / "last.pth").write_text("step 1")

    monkeypatch.setattr(train, "save", save)
    expected = (
        r"^step 2: .*last\.pth: No space left on device; the last checkpoint is still there; --res"
    )
    with pytest.raises(train.TrainingError, match=expected):
        train.train(args, state, open_data(args)[0], None, torch.device("cpu"))
    assert (tmp_path / "last.pth").read_text() == "step 1"


def test_what_a_killed_training_left_is_cleaned_at_the_start(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    left = tmp_path / f".last.pth.0123abcd{PART}"
    left.write_text("half")
    assert main(command(data, tmp_path, "--iterations", "1")) == 0
    assert not left.exists()


def torchrun(words: list[str]) -> subprocess.Popen[str]:
    """Start the command in two processes, in a session as a terminal would."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.Popen(
        [*launcher, "--nproc-per-node", "2", "-m", "mrcnn_steps.cli", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for the end; the output and the errors."""
    try:
        return process.communicate(timeout=600)
    finally:
        process.kill()


def test_ctrl_c_under_torchrun_leaves_a_usable_checkpoint(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    """The launcher passes the signal on; both processes end after the same step."""
    settings = ("--iterations", "12", "--save-minutes", "0")
    process = torchrun(command(data, tmp_path, *settings))
    while not (tmp_path / "last.pth").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = finish(process)
    state = read(tmp_path / "last.pth")[1]
    assert 1 <= state["step"] < 12
    assert output.count("interrupted after step") == 1, errors[-3000:]
    assert f"interrupted after step {state['step']}; --resume continues" in output
    assert load_model(tmp_path / "model.safetensors").class_names[1:] == ("square", "disk")
    assert not list(tmp_path.glob(".*")), "no temporary file is left"

    process = torchrun(command(data, tmp_path, *settings, "--resume"))
    _, errors = finish(process)
    assert process.returncode == 0, errors[-3000:]
    assert read(tmp_path / "last.pth")[1]["step"] == 12


def test_two_processes_train_a_detector_without_proposals(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    process = torchrun(command(data, tmp_path, *SSDLITE, "--iterations", "2", "--batch-size", "4"))
    _, errors = finish(process)
    assert process.returncode == 0, errors[-3000:]
    state = read(tmp_path / "last.pth")[1]
    assert state["step"] == 2
    assert all(value.isfinite().all() for value in state["model"].values())


def test_two_processes_train_one_model(data: tuple[Path, Path], tmp_path: Path) -> None:
    """`torchrun` with the same command: each process takes one photo of every batch."""
    settings = ("--iterations", "3", "--evaluations", "1")
    validation = ("--val-annotations", str(data[1]))
    process = torchrun(command(data, tmp_path, *settings, *validation))
    _, errors = finish(process)
    assert process.returncode == 0, errors[-3000:]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("last.pth", "log.csv", "loss.png", "metrics.json", "model.safetensors")
    ]
    state = read(tmp_path / "last.pth")[1]
    assert state["step"] == 3
    assert all(value.isfinite().all() for value in state["model"].values())
    with open(tmp_path / "log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["step"] == "3"
    assert all(0 < float(row[name]) < 100 for name in row if name.startswith("loss_"))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["photos"], metrics["objects"]) == (6, 12)
    assert load_model(tmp_path / "model.safetensors").class_names[1:] == ("square", "disk")


def test_worker_processes_make_the_same_batches(data: tuple[Path, Path], tmp_path: Path) -> None:
    for workers in ("0", "2"):
        settings = ("--iterations", "2", "--workers", workers)
        train_command.run(arguments(data, tmp_path / workers, *settings))
    first, second = (read(tmp_path / workers / "last.pth")[1]["model"] for workers in ("0", "2"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


# --- log ------------------------------------------------------------------------------------------


def test_log_and_curve(data: tuple[Path, Path], tmp_path: Path) -> None:
    train_command.run(arguments(data, tmp_path, "--iterations", "3"))
    with open(tmp_path / "log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["step"] == "3"
    assert float(row["lr"]) > 0
    losses = ("objectness", "rpn_box_reg", "classifier", "box_reg", "mask")
    assert all(float(row[f"loss_{name}"]) > 0 for name in losses)
    with Image.open(tmp_path / "loss.png") as curve:
        assert curve.size[0] > 500


def test_a_line_of_the_log_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    """By hand: 20 steps make a line, and what is left at the end another."""
    log = Log(tmp_path, 0)
    for step in range(1, 23):
        log.add(step, 2.0 * step, 0.1, {"loss_mask": float(step)})
    log.close_line()
    log.close_line()
    log.write()
    with open(tmp_path / "log.csv", newline="") as file:
        rows = [[float(value) for value in row.values()] for row in csv.DictReader(file)]
    assert rows == [[20, 40, pytest.approx(0.1), 10.5], [22, 44, pytest.approx(0.1), 21.5]]
    assert Log(tmp_path, 20).rows == [
        {"step": 20, "seconds": 40, "lr": rows[0][2], "loss_mask": 10.5}
    ]
