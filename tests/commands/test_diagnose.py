"""`mrcnn-steps diagnose`: one command from annotations and a model to what to change first."""

import csv
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout

import pytest
import torch

from mrcnn_steps.cli import main
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.funnel import Funnel, funnel
from tests.debug.funnel.photos import quick, write_photos

# Runs of the bundled model on a small input; the others have no RPN.
MODELS = """
from torchvision.models import detection
from tests.debug.funnel.photos import quick

def retina():
    model = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2)
    model.class_names = ("background", "cow")
    return model.eval()
"""
NAMES = ("cows", "coffee", "cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three photos, their annotations and a file with models."""
    made = tmp_path_factory.mktemp("data")
    write_photos(made, NAMES)
    (made / "models.py").write_text(MODELS)
    return made


def arguments(folder, out, *more, annotations=None, model="quick"):
    given = ["--images", folder, "--annotations", annotations or folder / "annotations.json"]
    given += ["--model", f"{folder}/models.py:{model}", "--out", out, *more]
    return ["diagnose", *map(str, given)]


@pytest.fixture(scope="module")
def answer(folder, tmp_path_factory):
    """Exit status, what was printed, and the folder."""
    out, printed = tmp_path_factory.mktemp("answer") / "new", io.StringIO()
    with redirect_stdout(printed):
        status = main(arguments(folder, out))
    return status, printed.getvalue(), out


def test_it_goes_from_the_data_to_what_to_change_first(answer):
    status, printed, _ = answer
    assert status == 0
    parts = (
        "What is wrong with the data?",
        "Do the anchors fit?",
        "What becomes of the objects",
        "Does a classic mistake explain what is missed?",
        "What to change first",
    )
    places = [printed.index(part) for part in parts]
    assert places == sorted(places)
    assert "\n1. " in printed[places[-1] :]


def test_the_folder_holds_everything(answer, folder):
    out = answer[2]
    files = {path.name for path in out.iterdir()}
    assert files >= {"funnel.json", "causes.csv", "findings.json", "coverage.json", "report.html"}
    assert files >= {"rows.jsonl", "funnel.png", "coverage.png"}
    assert not [name for name in files if name.endswith("part") or name.startswith("new-")]
    expected = funnel(quick(), CocoFolder(folder, folder / "annotations.json"))
    stored = Funnel.from_json(out / "funnel.json")
    assert tuple(stored.photos) == expected.photos
    content = json.loads((folder / "annotations.json").read_text())
    ids = {(each["image_id"], each["id"]) for each in content["annotations"] if not each["iscrowd"]}
    with (out / "causes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(int(row["image_id"]), int(row["annotation_id"])) for row in rows} == ids


def test_it_names_the_command_that_explains_an_object(answer, folder, capsys):
    printed = answer[1]
    line = next(each for each in printed.splitlines() if "mrcnn-steps why" in each)
    assert f"--annotations {folder / 'annotations.json'}" in line
    assert f"--model {folder}/models.py:quick" in line
    assert main(line.split()[1:]) == 0
    assert "Object" in capsys.readouterr().out


def test_a_run_that_is_there_is_refused_or_resumed(answer, folder, capsys):
    out = answer[2]
    before = (out / "rows.jsonl").read_bytes()
    assert main(arguments(folder, out)) == 2
    assert "rows.jsonl: holds rows already; --resume" in capsys.readouterr().err
    lines = before.splitlines(keepends=True)
    (out / "rows.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:50])
    assert main(arguments(folder, out, "--resume")) == 0
    assert (out / "rows.jsonl").read_bytes() == before
    capsys.readouterr()
    assert main(arguments(folder, out, "--resume", "--score", "0.3")) == 2
    assert "rows.jsonl: score: expected 0.3, found 0.05" in capsys.readouterr().err


def test_two_processes_write_the_same_rows_and_causes(answer, folder, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "-m", "mrcnn_steps.commands.diagnose"]
    command += arguments(folder, tmp_path / "out")[1:]
    # How many threads add up a sum decides about its last bit.
    same = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run(command, check=True, timeout=400, env=os.environ | same)
    for name in ("rows.jsonl", "causes.csv", "coverage.json", "findings.json"):
        assert (tmp_path / "out" / name).read_bytes() == (answer[2] / name).read_bytes(), name


def test_some_photos_and_a_higher_score_and_a_report_to_share(folder, tmp_path):
    chosen = ("--photos", "1", "--score", "0.5", "--no-photos")
    assert main(arguments(folder, tmp_path, *chosen)) == 0
    assert "data:image" not in (tmp_path / "report.html").read_text()
    found = Funnel.from_json(tmp_path / "funnel.json")
    assert len(found.photos) == 1
    assert found.header.settings["score"] == 0.5
    assert all(each.score > 0.5 for each in found.photos[0].detections)


@pytest.fixture
def broken(folder, tmp_path):
    """An object that cannot be used, and a photo that is not there."""
    content = json.loads((folder / "annotations.json").read_text())
    content["annotations"][0]["bbox"] = [5, 5, -1, 4]
    content["images"][2]["file_name"] = "gone.png"
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(content))
    return path, content


def test_what_cannot_be_used_is_left_out_and_told(folder, broken, tmp_path, capsys):
    path, content = broken
    out = tmp_path / "out"
    assert main(arguments(folder, out, annotations=path)) == 1
    printed = capsys.readouterr().out
    assert "photo_unread" in (out / "findings.json").read_text()
    assert "1. Mend the data" in printed
    first = content["annotations"][0]["id"]
    told = json.loads((out / "findings.json").read_text())["data"]
    assert any(first in each["annotation_ids"] for each in told)
    rows = Funnel.from_json(out / "funnel.json").causes
    assert first not in {each.annotation_id for each in rows}
    assert len(rows) == 3


def test_strict_stops_at_it(folder, broken, tmp_path, capsys):
    path, _ = broken
    assert main(arguments(folder, tmp_path / "out", "--strict", annotations=path)) == 2
    assert "bbox" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_boxes_without_masks(folder, tmp_path, capsys):
    content = json.loads((folder / "annotations.json").read_text())
    for each in content["annotations"]:
        del each["segmentation"]
        each["area"] = each["bbox"][2] * each["bbox"][3]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    assert main(arguments(folder, tmp_path / "out", annotations=path)) == 0
    printed = capsys.readouterr().out
    assert printed.count("nothing is said about their masks") == 1
    assert "its mask" not in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "retina"}, "found a RetinaNet, which has no RPN"),
        ({"annotations": "nowhere.json"}, "nowhere.json: found no such file"),
        ({"more": ("--score", "0.01")}, "score_threshold: expected from 0.05"),
        ({"more": ("--photos", "0")}, "photos: expected"),
    ],
)
def test_what_cannot_be_diagnosed_ends_in_a_sentence(folder, tmp_path, capsys, change, message):
    out = tmp_path / "out"
    given = dict(change)
    assert main(arguments(folder, out, *given.pop("more", ()), **given)) == 2
    said = capsys.readouterr()
    assert message in said.err
    # Before anything that takes time.
    assert not said.out
    assert not out.exists()


def test_an_empty_dataset(folder, tmp_path, capsys):
    path = tmp_path / "empty.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert main(arguments(folder, tmp_path / "out", annotations=path)) == 2
    assert "found no photos" in capsys.readouterr().err


def test_results_of_another_framework_need_no_model(folder, tmp_path, capsys):
    content = json.loads((folder / "annotations.json").read_text())
    results = [
        {key: each[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9}
        for each in content["annotations"][1:]
    ]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    out = tmp_path / "out"
    given = ["--images", folder, "--annotations", folder / "annotations.json"]
    given += ["--detections", file, "--out", out]
    assert main(["diagnose", *map(str, given)]) == 0
    printed = capsys.readouterr().out
    assert "With --model, " in printed
    assert "1. missed: 1 object (cow 1): --model would tell" in printed
    causes = [each.cause for each in Funnel.from_json(out / "funnel.json").causes]
    assert sorted(causes) == ["found"] * (len(causes) - 1) + ["missed"]
    assert main(
        ["diagnose", *map(str, [*given, "--detections", file, "--out", out, "--photos", 1])]
    )
    assert "--detections: expected without" in capsys.readouterr().err
