"""Training: exact resume, a clean stop, errors before the first step, and learning itself."""

import argparse
import csv
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from mrcnn_steps.model import load_model, train
from mrcnn_steps.model.checkpoint import read
from mrcnn_steps.model.log import Log
from mrcnn_steps.model.schedule import Average, learning_rate_factor
from mrcnn_steps.model.training_set import BatchStream, repeat_factors


def write_data(folder: Path, photos: int = 6) -> tuple[Path, Path]:
    """Photos of a red square and a blue disk at varying places, with their polygons."""
    (folder / "photos").mkdir(parents=True)
    images, annotations = [], []
    for i in range(photos):
        image = Image.new("RGB", (120, 90), (90, 110, 90))
        draw = ImageDraw.Draw(image)
        x, y = 5 + 4 * i, 8 + 3 * i
        draw.rectangle((x, y, x + 35, y + 35), fill=(200, 40, 30))
        draw.ellipse((70, 50 - 5 * i, 105, 85 - 5 * i), fill=(30, 60, 220))
        image.save(folder / "photos" / f"{i}.png")
        images.append({"id": 100 + i, "file_name": f"{i}.png", "width": 120, "height": 90})
        square = [x, y, x + 36, y, x + 36, y + 36, x, y + 36]
        angle = torch.arange(24) * torch.pi / 12
        points = torch.stack((88 + 18 * angle.cos(), 68 - 5 * i + 18 * angle.sin()), dim=1)
        for category, polygon in ((1, square), (2, points.flatten().tolist())):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 100 + i,
                    "category_id": category,
                    "segmentation": [polygon],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 1, "name": "square"}, {"id": 2, "name": "disk"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "photos", folder / "instances.json"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_data(tmp_path_factory.mktemp("data"))


def arguments(data: tuple[Path, Path], out: Path, *more: str) -> argparse.Namespace:
    """The command line of a small run on the CPU."""
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    small = "--image-size 128 --batch-size 2 --workers 0 --warmup 2 --device cpu --iterations 5"
    paths = ["--images", str(data[0]), "--annotations", str(data[1]), "--out", str(out)]
    return parser.parse_args([*paths, *small.split(), *more])


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


def test_resume_equals_an_uninterrupted_run_to_the_last_bit(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C during the third of five steps, which is finished; then --resume."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train.run(arguments(data, whole)) == 0

    add = Log.add

    def press_ctrl_c(self: Log, step: int, *others: object) -> None:
        add(self, step, *others)  # type: ignore[arg-type]
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "add", press_ctrl_c)
        assert train.run(arguments(data, parts)) == 130
    assert read(parts / "last.pth")[1]["step"] == 3
    assert load_model(parts / "model.safetensors").class_names == ("background", "square", "disk")
    assert train.run(arguments(data, parts, "--resume")) == 0

    first, second = (read(run / "last.pth")[1] for run in (whole, parts))
    assert first["step"] == second["step"] == 5
    for part in ("model", "average"):
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), (part, key)
    for row, state in first["optimizer"]["state"].items():
        for key, value in state.items():
            assert torch.equal(value, second["optimizer"]["state"][row][key]), (row, key)


def test_resume_refuses_other_settings(data: tuple[Path, Path], tmp_path: Path) -> None:
    train.run(arguments(data, tmp_path, "--iterations", "1"))
    with pytest.raises(ValueError, match=r"seed: 0 then, 7 now"):
        train.run(arguments(data, tmp_path, "--iterations", "1", "--resume", "--seed", "7"))
    with pytest.raises(FileExistsError, match="--resume continues it"):
        train.run(arguments(data, tmp_path))


def test_a_loss_that_is_not_finite_stops_with_the_image_ids(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mrcnn_steps.model import losses

    real = losses.classification_loss
    monkeypatch.setattr(losses, "classification_loss", lambda *a: real(*a) * torch.nan)
    with pytest.raises(train.NonFiniteLossError, match=r"image ids: 10\d, 10\d") as caught:
        train.run(arguments(data, tmp_path))
    assert "step 0" in str(caught.value)


def test_worker_processes_make_the_same_batches(data: tuple[Path, Path], tmp_path: Path) -> None:
    for workers in ("0", "2"):
        settings = ("--iterations", "2", "--workers", workers)
        train.run(arguments(data, tmp_path / workers, *settings))
    first, second = (read(tmp_path / workers / "last.pth")[1]["model"] for workers in ("0", "2"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_log_and_curve(data: tuple[Path, Path], tmp_path: Path) -> None:
    train.run(arguments(data, tmp_path, "--iterations", "20"))
    with open(tmp_path / "log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["step"] == "20"
    losses = ("objectness", "rpn_box_reg", "classifier", "box_reg", "mask")
    assert all(float(row[f"loss_{name}"]) > 0 for name in losses)
    assert Image.open(tmp_path / "loss.png").size[0] > 500


# --- errors before the first step -----------------------------------------------------------------


@pytest.fixture
def own_data(tmp_path: Path) -> tuple[Path, Path]:
    return write_data(tmp_path / "own", photos=2)


def test_annotations_cut_in_half(own_data: tuple[Path, Path], tmp_path: Path) -> None:
    text = own_data[1].read_text()
    own_data[1].write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match=r"instances\.json.*complete JSON"):
        train.run(arguments(own_data, tmp_path / "run"))


def test_a_category_that_does_not_exist(own_data: tuple[Path, Path], tmp_path: Path) -> None:
    content = json.loads(own_data[1].read_text())
    content["annotations"][1]["category_id"] = 77
    own_data[1].write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"annotations\[1\].*category_id: found 77"):
        train.run(arguments(own_data, tmp_path / "run"))


def test_a_photo_that_is_not_there(own_data: tuple[Path, Path], tmp_path: Path) -> None:
    (own_data[0] / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 photos are missing: .*1\.png"):
        train.run(arguments(own_data, tmp_path / "run"))


def test_an_output_folder_that_cannot_be_written(own_data: tuple[Path, Path]) -> None:
    with pytest.raises(OSError, match=r"instances\.json"):
        train.run(arguments(own_data, own_data[1] / "run"))


def test_images_and_annotations_come_in_pairs(data: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 1 for 2"):
        train.run(arguments(data, tmp_path / "run", "--images", str(data[0])))
    assert not (tmp_path / "run").exists()
