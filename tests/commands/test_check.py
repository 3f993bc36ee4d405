"""`mrcnn-steps check`: findings in a terminal, or as JSON, and the exit status."""

import json

import pytest

from mrcnn_steps.cli import main
from mrcnn_steps.commands.train import report_data
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.data.bundled import PHOTOS
from tests.debug.preflight.drawn import content, write
from tests.model.runs import command

# pycocotools 2.0.11 has not heard of the copy keyword of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def check(photos, path, *more):
    return main(["check", "--images", str(photos), "--annotations", str(path), *map(str, more)])


def test_the_bundled_photos_have_no_errors(capsys):
    assert check(PHOTOS, PHOTOS / "instances.json", "--model", "tiny") == 0
    printed = capsys.readouterr().out
    assert "8 photos" in printed
    assert "NOTES" in printed
    assert "WARNINGS" not in printed


def test_a_clean_data_set(capsys, tmp_path):
    photos, path = write(tmp_path)
    assert check(photos, path) == 0
    assert capsys.readouterr().out == f"{path}: 3 photos, 6 objects\nno findings\n"


def test_errors_come_first_and_make_the_exit_status(capsys, tmp_path):
    changed = content()
    changed["annotations"][0]["bbox"] = [8, 10, 38, 34]
    changed["annotations"][1]["area"] = 1
    changed["annotations"].append(changed["annotations"][2] | {"id": 7})
    changed["categories"].append({"id": 9, "name": "cow"})
    photos, path = write(tmp_path, changed)
    assert check(photos, path) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path}: 3 photos, 5 objects, 2 records left out\n")
    order = ["2 errors, 1 warning, 1 note", "bbox_corners", "area_not_of_mask", "objects_alike"]
    places = [printed.index(text) for text in [*order, "class_without_objects"]]
    assert places == sorted(places)


def test_warnings_are_no_reason_to_fail(capsys, tmp_path):
    changed = content()
    changed["annotations"].append(changed["annotations"][2] | {"id": 7})
    assert check(*write(tmp_path, changed)) == 0
    assert "objects_alike" in capsys.readouterr().out


def test_json_has_every_id(capsys, tmp_path):
    changed = content()
    for one in changed["annotations"]:
        one["category_id"] = 5
    assert check(*write(tmp_path, changed), "--json") == 1
    records = json.loads(capsys.readouterr().out)
    [error] = [each for each in records if each["level"] == "error"]
    assert error["code"] == "category_id_unknown"
    assert error["annotation_ids"] == [101, 102, 201, 301, 302, 303]
    assert error["image_ids"] == [1, 2, 3]


def test_photos_in_training_and_validation(capsys, tmp_path):
    photos, path = write(tmp_path / "train")
    others, val = write(tmp_path / "val")
    more = ("--val-images", others, "--val-annotations", val)
    assert check(photos, path, *more) == 0
    assert "photo_in_validation: Found 3 photos" in capsys.readouterr().out


def test_names_do_not_reach_the_terminal_as_control_characters(capsys, tmp_path):
    changed = content()
    changed["categories"][1]["name"] = "\x1b[31mCat\x07"
    changed["categories"].append({"id": 9, "name": "\x1b[31mcat\x07"})
    changed["images"][0]["file_name"] = "\x1b]0;title\x07.png"
    changed["images"][1]["file_name"] = "../\x1b[2J"
    photos, path = write(tmp_path, changed)
    for more in ((), ("--json",)):
        assert check(photos, path, *more) == 1
        printed = capsys.readouterr()
        assert all(line.isprintable() for line in printed.out.split("\n"))
        assert "\x1b" not in printed.err
        assert "x1b" in printed.out or "u001b" in printed.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "found no such file"),
        ("{", "expected complete JSON"),
        ("[]", "an object with images"),
    ],
)
def test_what_is_no_coco_file_is_an_error_of_its_own(capsys, tmp_path, text, said):
    photos, path = write(tmp_path)
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert check(photos, path) == 2
    assert said in capsys.readouterr().err


def test_a_model_of_another_kind_is_refused(capsys, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n\n\nclass _Mine(nn.Module):\n    class_names = ('BG', 'cat')\n\n\n"
        "def build():\n    return _Mine()\n"
    )
    assert check(*write(tmp_path / "data"), "--model", f"{file}:build") == 2
    assert "expected" in capsys.readouterr().err


def test_validation_photos_need_their_annotations(capsys, tmp_path):
    photos, path = write(tmp_path)
    assert check(photos, path, "--val-images", photos) == 2
    assert "--val-annotations" in capsys.readouterr().err


def test_ctrl_c_ends_it(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(CocoFolder, "objects", interrupt)
    assert check(*write(tmp_path)) == 130


def test_training_begins_with_it(capsys, tmp_path):
    changed = content()
    changed["annotations"].append(changed["annotations"][2] | {"id": 7})
    photos, path = write(tmp_path / "data", changed)
    with pytest.warns(UserWarning, match=r"1 warning \(objects_alike\); `mrcnn-steps check`"):
        report_data([CocoFolder(photos, path)])
    for one in changed["annotations"]:
        one["bbox"] = [0.1, 0.1, 0.3, 0.3]
        del one["segmentation"], one["area"]
    path.write_text(json.dumps(changed))
    out = tmp_path / "run"
    detector = ("--model", "fasterrcnn_mobilenet_v3_large_fpn")
    with pytest.warns(UserWarning, match="have a box and no mask"):
        assert main(command((photos, path), out, *detector)) == 2
    assert "in shares of the photo" in capsys.readouterr().err
    assert not out.exists()
