"""What is trained: which parameters, from which weights, and which models by name."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from mrcnn_steps.cli import main
from mrcnn_steps.commands import train as train_command
from mrcnn_steps.model import load_model, losses, train
from mrcnn_steps.model.readiness import open_data
from mrcnn_steps.model.reading import CheckpointWarning, read
from mrcnn_steps.model.run import start
from tests.model.runs import SSDLITE, arguments, command, fresh_run, write_data


def test_frozen_parameters_stay_as_they_are_and_only_these(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    patterns = ("backbone.body.stem.*", "backbone.body.blocks.[0-6].*", "*.filter.weight")
    settings = ("--iterations", "2", "--freeze", *patterns)
    before = fresh_run(data, *settings).model.state_dict()
    train_command.run(arguments(data, tmp_path, *settings))
    after = read(tmp_path / "last.pth")[1]["model"]
    frozen = {
        key
        for key in before
        if ".stem." in key
        or key.endswith("filter.weight")
        or any(f".blocks.{block}." in key for block in range(7))
    }
    assert len(frozen) > 40
    assert {key for key in before if torch.equal(before[key], after[key])} == frozen


def test_a_pattern_that_matches_nothing(data: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--freeze backbone\.steam\.\*: matches no parameter"):
        train_command.run(arguments(data, tmp_path, "--freeze", "rpn.*", "backbone.steam.*"))
    assert not (tmp_path / "last.pth").exists()


def test_cheaper_rois_are_for_training_alone(data: tuple[Path, Path]) -> None:
    """The averaged model, which is evaluated, pools as a loaded one will."""

    def settings_of(model: object) -> tuple[int, int, int]:
        heads = model.roi_heads  # type: ignore[attr-defined]
        pools = heads.box_roi_pool.sampling_ratio, heads.mask_roi_pool.sampling_ratio
        return heads.fg_bg_sampler.batch_size_per_image, *pools

    run = fresh_run(data, "--rois", "7", "--roi-sampling", "1")
    assert settings_of(run.model) == (7, 1, 1)
    own = fresh_run(data)
    assert (
        settings_of(run.average.model) == settings_of(own.model) == settings_of(own.average.model)
    )
    assert settings_of(own.model) == (128, 2, 2)


def test_a_run_starts_from_weights_of_other_classes(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    """A checkpoint with the same two classes in another order and a third one."""
    other = write_data(tmp_path / "other", photos=2)
    content = json.loads(other[1].read_text())
    content["categories"] = [
        {"id": 1, "name": "disk"},
        {"id": 2, "name": "square"},
        {"id": 3, "name": "star"},
    ]
    other[1].write_text(json.dumps(content))
    train_command.run(arguments(other, tmp_path / "first", "--iterations", "1"))
    weights = tmp_path / "first" / "model.safetensors"
    with pytest.warns(CheckpointWarning, match="square and disk go on from what was learned"):
        started = fresh_run(data, "--weights", str(weights)).model
    learned = load_model(weights).state_dict()
    key = "roi_heads.box_predictor.cls_score.weight"
    assert started.class_names == ("background", "square", "disk")
    assert torch.equal(started.state_dict()[key], learned[key][[0, 2, 1]])
    assert torch.equal(
        started.state_dict()["rpn.head.conv.0.0.bias"], learned["rpn.head.conv.0.0.bias"]
    )


@pytest.mark.parametrize(
    ("name", "count"),
    [("maskrcnn_resnet50_fpn", 5), ("fasterrcnn_mobilenet_v3_large_320_fpn", 4)],
)
def test_torchvision_models_are_trained_by_name(
    data: tuple[Path, Path], tmp_path: Path, name: str, count: int
) -> None:
    start = fresh_run(data, "--model", name).model.state_dict()
    assert main(command(data, tmp_path, "--model", name, "--iterations", "1")) == 0
    after = read(tmp_path / "last.pth")[1]["model"]
    for part in ("backbone.body", "backbone.fpn", "rpn.head", "roi_heads.box_predictor"):
        keys = [key for key in start if key.startswith(part) and key.endswith("weight")]
        assert any(not torch.equal(start[key], after[key]) for key in keys), part
    loaded = load_model(tmp_path / "model.safetensors")
    assert type(loaded).__name__ == ("MaskRCNN" if count == 5 else "FasterRCNN")
    assert loaded.class_names == ("background", "square", "disk")


def test_a_detector_without_proposals_is_trained_and_evaluated(
    data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SSDLite, on the only canvas that it has."""
    words = command(data, tmp_path, "--iterations", "2", *SSDLITE[:2])
    place = words.index("--image-size")
    del words[place : place + 2]
    assert main([*words, "--val-annotations", str(data[1])]) == 0
    assert read(tmp_path / "last.pth")[1]["image_size"] == 320
    with open(tmp_path / "log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert [name for name in row if name.startswith("loss_")] == [
        *("loss_bbox_regression", "loss_classification")
    ]
    assert all(0 < float(row[name]) < 1000 for name in row)
    with Image.open(tmp_path / "loss.png") as curve:
        assert curve.size[0] > 500
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert set(metrics) == {"step", "seconds", "box", "photos", "objects"}
    capsys.readouterr()
    loaded = load_model(tmp_path / "model.safetensors")
    assert type(loaded).__name__ == "SSD"
    assert loaded.class_names == ("background", "square", "disk")


@pytest.mark.parametrize(
    ("name", "size"),
    [("retinanet_resnet50_fpn", 128), ("fcos_resnet50_fpn", 128), ("ssd300_vgg16", 300)],
)
def test_a_step_of_a_detector_without_proposals(
    data: tuple[Path, Path], name: str, size: int
) -> None:
    settings = ("--model", name, "--image-size", str(size), "--lr", "0.01")
    args = arguments(data, Path("unused"), *settings)
    training, cpu = open_data(args)[0], torch.device("cpu")
    run = start(args, training, cpu)
    run.optimizer.param_groups[0]["lr"] = 0.01
    batch = next(train.load_batches(args, training, 0, cpu, 0, 1))
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    values = train.training_step(run, losses.Losses(run.model), batch, torch.Generator(), cpu)
    assert all(value > 0 for value in values.values())
    assert {"loss_classification", "loss_bbox_regression", "gradient"} <= values.keys()
    after = run.model.state_dict()
    assert after.keys() == before.keys()
    for part in ("backbone", "head.classification_head", "head.regression_head"):
        keys = [key for key in before if key.startswith(part) and key.endswith("weight")]
        assert any(not torch.equal(before[key], after[key]) for key in keys), part


def test_the_pretrained_part_learns_slower(data: tuple[Path, Path]) -> None:
    for settings in ((), SSDLITE):
        groups = fresh_run(data, *settings, "--lr", "1", "--backbone-lr", "0.25").optimizer
        rates = {group["base_lr"] for group in groups.param_groups}
        assert rates == {1, 0.25}


def test_keypoints_cannot_be_trained_on_instances(
    data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(data, tmp_path, "--model", "keypointrcnn_resnet50_fpn")) == 2
    message = capsys.readouterr().err
    assert "--model: invalid choice: 'keypointrcnn_resnet50_fpn'" in message
    assert "fcos_resnet50_fpn" in message
