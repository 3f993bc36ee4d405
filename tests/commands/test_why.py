"""`mrcnn-steps why`: the answer in a terminal."""

import json
import re

import pytest
from torchvision.ops import box_iou

from mrcnn_steps.cli import main
from mrcnn_steps.data import open_photo
from mrcnn_steps.data.bundled import PHOTOS
from mrcnn_steps.debug import fates
from mrcnn_steps.model import load_model
from mrcnn_steps.tracing import trace


def test_it_lists_the_verdict_on_every_object(capsys):
    assert main(["why", "cows"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("object ") == 3
    assert "3 of 3 objects found." in printed


def test_one_object_with_its_picture(capsys, tmp_path):
    out = tmp_path / "fate.png"
    assert main(["why", "cows", "--object", "0", "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("Object 0 (cow): found, ")
    assert out.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["fate.png"]


@pytest.mark.parametrize("name", ["cat", "cat.jpg", "{id}"])
def test_a_photo_of_a_coco_file_by_name_and_by_id(capsys, name):
    annotations = PHOTOS / "instances.json"
    images = json.loads(annotations.read_text())["images"]
    record = next(image for image in images if image["file_name"].startswith("cat."))
    photo = name.format(id=record["id"]) if name != "cat.jpg" else record["file_name"]
    if name == "cat":
        photo = str(PHOTOS / record["file_name"])
    assert main(["why", photo, "--annotations", str(annotations), "--json"]) == 0
    [fate] = json.loads(capsys.readouterr().out)
    assert fate["name"] == "cat"
    assert fate["cause"] == "found"
    assert fate["evidence"]["detection"] == 0


def test_without_annotations_it_explains_the_detections(capsys):
    photo = str(next(PHOTOS.glob("cat.*")))
    assert main(["why", photo, "--score", "0.5"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "No annotations; 1 detections over a score of 0.5."
    assert "detection 0 (cat" in printed[1]
    count = int(printed[1].split("→ suppressed ")[1].split()[0])
    assert count > 0
    listed = printed[2:] if count <= 5 else printed[2:-1]
    assert len(listed) == min(count, 5)
    line = r"    candidate [\d,]+ \(proposal \d+, cat [01]\.\d\d\), IoU [01]\.\d\d"
    assert all(re.fullmatch(line, each) for each in listed)


def test_as_json_every_suppressed_candidate_is_told(capsys):
    photo = str(next(PHOTOS.glob("cat.*")))
    assert main(["why", photo, "--score", "0.5", "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)
    found = trace(load_model("tiny"), open_photo(photo)).detections
    label = int(found.labels[0])
    assert told["suppressed"]
    for each in told["suppressed"]:
        row = each["candidate"]
        pair = found.clipped[row, None], found.boxes[:1]
        assert found.candidate_label[row] == label
        assert found.suppressor(row) == found.rows[0]
        assert each["score"] == found.candidate_score[row] <= told["score"]
        assert each["proposal"] == found.candidate_proposal[row]
        assert each["iou"] == pytest.approx(float(box_iou(*pair)), abs=1e-5)
        assert each["iou"] > found.nms_threshold


def test_all_that_were_missed_are_explained_in_a_blink(capsys):
    """Without remedies, each of which is a run of its own."""
    assert main(["why", "voc_people", "--all"]) == 0
    printed = capsys.readouterr().out
    told = fates(trace(load_model("tiny"), open_photo("voc_people")))
    missed = [fate for fate in told if not fate.found]
    assert printed.count("\n\nObject ") == len(missed) - 1
    assert "Remedy" not in printed
    assert "training" not in printed
    assert printed.endswith(f"What would bring one back: --object {missed[0].object}.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jpg"], "nowhere.jpg: no such file, and no bundled photo ("),
        (["cat", "--object", "7"], "--object: expected 0 to 0, found 7"),
        (["cat", "--score", "0.01"], "score_threshold: expected from 0.05"),
        (["cat", "--out", "a.png"], "--out: expected together with --object N"),
        (["cat", "--images", "."], "--images: expected together with --annotations"),
        (["cat", "--object", "0", "--out", "nowhere/a.png"], "nowhere: no such folder"),
        (["fly", "--annotations", str(PHOTOS / "instances.json")], "has no photo of this name"),
    ],
)
def test_mistakes_end_with_one_line(capsys, arguments, said):
    assert main(["why", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("mrcnn-steps: ")
    assert error.count("\n") == 1


def test_the_report_has_the_remedies_and_the_way_back(capsys, tmp_path):
    out, annotations = tmp_path / "fate.html", PHOTOS / "instances.json"
    photo = next(PHOTOS.glob("cat.*")).name
    words = ["why", photo, "--object", "0", "--annotations", str(annotations)]
    assert main([*words, "--report", str(out), "--no-photos"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [f"Open {out}", ""]
    twin = json.loads((tmp_path / "fate.json").read_text())
    assert [fate["cause"] for fate in twin["objects"]] == ["found"]
    assert twin["made"]["command"].startswith(f"mrcnn-steps why {photo} --object 0 ")


def test_the_report_is_judged_at_the_score_that_was_asked_for(tmp_path):
    out = tmp_path / "cat.html"
    assert main(["why", "cat", "--report", str(out), "--score", "0.999"]) == 0
    twin = json.loads((tmp_path / "cat.json").read_text())
    assert [fate["cause"] for fate in twin["objects"]] != ["found"]
    assert all(one["score"] > 0.999 for one in twin["detections"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--report", "fate.pdf"], "fate.pdf: expected a file to write that ends in .html"),
        (["--no-photos"], "--no-photos: expected together with --report FILE.html"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_at_once(capsys, words, said):
    assert main(["why", "cat", *words]) == 2
    assert said in capsys.readouterr().err
