"""`report`: what a trace says, in one file and its twin in JSON."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mrcnn_steps import load_model, sample, trace
from mrcnn_steps.debug.explanation import nothing_helps
from mrcnn_steps.debug.fates import fates
from mrcnn_steps.debug.lineage import describe, lineage
from mrcnn_widgets import report
from mrcnn_widgets.report.origin import Origin
from tests.widgets.report.conftest import HOSTILE
from tests.widgets.report.test_payload import blocks

# Of one photo.
MOST_BYTES = 1_500_000


class Page(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.links, self.images, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        if "href" in found:
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def written(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "small.html"
    origin = Origin("voc_people", "my model.pth")
    assert report(small, path, origin=origin, command="mrcnn-steps inspect") == path
    return path


@pytest.fixture(scope="module")
def data(written):
    """The blocks that are JSON, by name."""
    found = blocks(written.read_text())
    return {name: json.loads(raw) for name, raw in found.items() if raw[:1] in (b"{", b"[")}


def test_it_is_one_file_and_its_twin(written):
    names = sorted(path.name for path in written.parent.iterdir())
    assert names == ["small.html", "small.json"]
    assert written.stat().st_size <= MOST_BYTES


def test_the_summary_is_read_without_the_program(written, small):
    page = Page(re.sub('<script type="module">.*?</script>', "", written.read_text(), flags=re.S))
    text = " ".join(page.words)
    found = sum(fate.found for fate in fates(small))
    assert f"{found} of 19 annotated objects found." in text
    assert page.tags.count("rect") == 19
    assert all(link.startswith("#/case/0?") for link in page.links)
    for row in range(len(small.detections)):
        assert f"#/case/0?detection={row}" in {link.split("&")[0] for link in page.links}
    for name, *_ in small.tensors().items():
        assert name in text
    for said in ("mrcnn-steps inspect", "rpn.nms_thresh", "weights, SHA-256", "left out"):
        assert said in text


def test_the_photo_is_there_once_as_an_image_that_shows_it(written):
    page = Page(written.read_text())
    [image] = page.images
    assert image["src"].startswith("data:image/jpeg;base64,")
    assert written.read_text().count("data:image/") == 1
    assert image["alt"] == "voc_people"


def test_every_object_and_detection_is_told(data, small):
    subjects = {tuple(one["subject"]) for one in data["case-0"]["subjects"]}
    assert subjects == {("object", row) for row in range(19)} | {
        ("detection", row) for row in range(len(small.detections))
    }
    told = data["case-0-followed"]
    assert told["detection-0"]["words"][-1] == describe(small, lineage(small, 0))
    assert told["detection-0"]["rows"] == {
        "mini_masks": lineage(small, 0).object,
        "anchors": lineage(small, 0).anchor,
        "rpn_targets": lineage(small, 0).anchor,
        "proposals": int(small.proposals.rows[lineage(small, 0).proposal]),
        "classification": lineage(small, 0).proposal,
        "detection": int(small.detections.rows[0]),
        "masks": 0,
    }


def test_the_seven_stages_have_steps_with_layers(data):
    stages = data["case-0"]["stages"]
    assert [stage["title"][0] for stage in stages] == list("1234567")
    for stage in stages:
        assert stage["steps"]
        for step in stage["steps"]:
            assert step["layers"] or "candidates" in stage


def table_of(written, stage):
    """The candidates of a stage, as the program unpacks them."""
    found = blocks(written.read_text())
    about = json.loads(found["case-0"])["stages"][stage - 1]["candidates"]
    raw = found[about["block"]]
    return {
        name: np.frombuffer(raw, kind, count, offset)
        for name, (offset, count, kind) in about["arrays"].items()
    }


def test_the_candidates_of_stage_4_are_the_trace_s_own(written, small):
    table, found = table_of(written, 4), small.proposals
    assert torch.equal(torch.tensor(table["refined"]).reshape(4, -1).T, found.refined)
    assert table["score"].tolist() == found.top_scores.tolist()
    assert table["anchor"].tolist() == found.top_index.tolist()


def test_the_candidates_of_stage_6_are_those_that_a_threshold_may_let_pass(written, small, data):
    table, found = table_of(written, 6), small.detections
    rows = torch.tensor(table["row"]).long()
    floor = data["case-0"]["stages"][5]["floor"]
    kept = (found.candidate_label > 0) & (found.candidate_score > floor)
    assert torch.equal(rows, kept.nonzero().flatten())
    assert floor <= found.score_threshold
    assert table["score"].tolist() == found.candidate_score[rows].tolist()
    assert torch.equal(torch.tensor(table["refined"]).reshape(4, -1).T, found.refined[rows])
    assert data["case-0"]["stages"][5]["cut"] == len(found.foreground_rows) - len(rows)


def test_the_twin_says_the_same(written, small):
    twin = json.loads((written.parent / "small.json").read_text())
    assert [one["cause"] for one in sorted(twin["objects"], key=lambda one: one["object"])] == [
        fate.cause for fate in fates(small)
    ]
    assert [one["score"] for one in twin["detections"]] == small.detections.scores.tolist()
    assert [one["box"] for one in twin["detections"]] == small.result["boxes"].tolist()
    assert [one["name"] for one in twin["tensors"]] == list(small.tensors())


def test_the_ways_back_name_model_and_photo(data):
    assert data["report"]["ways"] == {
        "object": [
            "mrcnn-steps why voc_people --model 'my model.pth' --object {row}",
            "explain_missed(trace(load_model('my model.pth'), sample('voc_people')), {row})",
        ],
        "detection": ["lineage(trace(load_model('my model.pth'), sample('voc_people')), {row})"],
    }


def test_remedies_are_told_where_they_were_found(small, tmp_path):
    path = report(small, tmp_path / "a.html", remedies={3: ["raise it"], 4: []})
    told = json.loads(blocks(path.read_text())["case-0-followed"])
    assert told["object-3"]["remedies"] == ["raise it"]
    assert told["object-4"]["remedies"] == nothing_helps(small, fates(small)[4])
    assert told["object-5"]["remedies"] is None


def test_without_photos_there_is_none(small, tmp_path):
    text = report(small, tmp_path / "a.html", photos=False).read_text()
    assert not Page(text).images
    assert json.loads(blocks(text)["case-0"])["photo"] is None
    assert "the photo; " in text


def test_a_photo_without_annotations(bare, tmp_path):
    text = report(bare, tmp_path / "a.html").read_text()
    assert "no annotated objects to compare with" in text
    case = json.loads(blocks(text)["case-0"])
    assert [stage["steps"] == [] for stage in case["stages"]] == [False, False, True, *[False] * 4]


def test_hostile_names_are_text(hostile, tmp_path):
    text = report(hostile, tmp_path / "a.html").read_text()
    page = Page(re.sub('<script type="module">.*?</script>', "", text, flags=re.S))
    assert page.tags.count("img") == 1
    assert page.tags.count("script") == text.count("<script") - 1
    assert any(HOSTILE in words for words in page.words)
    assert json.loads(blocks(text)["case-0"])["name"] == HOSTILE


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.txt", {}, "a.txt: expected a file to write that ends in .html"),
        ("folder.html", {}, "folder.html: found a folder, expected a file"),
        ("a.html", {"remedies": {19: []}}, "remedies: expected objects below 19, found 19"),
        ("a.html", {"score_threshold": 0.01}, "score_threshold: expected from 0.05"),
    ],
)
def test_mistakes_write_nothing(small, tmp_path, name, options, said):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ValueError, match=re.escape(said)):
        report(small, tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


def test_it_is_judged_at_the_score_that_was_asked_for(small, tmp_path):
    scores = small.detections.scores
    score = float(scores.sort().values[len(scores) // 2])
    path = report(small, tmp_path / "a.html", score_threshold=score)
    case = json.loads(blocks(path.read_text())["case-0"])
    named = {tuple(one["subject"]) for one in case["subjects"]}
    over = (scores > score).nonzero().flatten().tolist()
    assert {row for kind, row in named if kind == "detection"} == set(over)
    verdicts = {one["subject"][1]: one["words"] for one in case["subjects"][:19]}
    for fate in fates(small, score_threshold=score):
        assert (verdicts[fate.object] == "found") == fate.found
    assert case["stages"][5]["settings"]["score"] == score
    assert f"{len(over)} detections with a score above {score:g}." in path.read_text()
    twin = json.loads((tmp_path / "a.json").read_text())
    assert [one["detection"] for one in twin["detections"]] == over
    ways = json.loads(blocks(path.read_text())["report"])["ways"]["object"]
    assert ways[0].endswith(f"--object {{row}} --score {score:g}")
    assert ways[1].endswith(f"{{row}}, score_threshold={score:g})")


@pytest.mark.parametrize("name", ["a.html", "a.json"])
def test_a_file_that_is_something_else_is_not_replaced(small, tmp_path, name):
    (tmp_path / name).write_text('{"images": [], "annotations": []}')
    with pytest.raises(ValueError, match=rf"{name}: found a file that is no report"):
        report(small, tmp_path / "a.html")
    assert (tmp_path / name).read_text() == '{"images": [], "annotations": []}'
    assert len(list(tmp_path.iterdir())) == 1


def test_a_report_is_replaced_by_another(small, bare, tmp_path):
    for subject in (small, bare):
        report(subject, tmp_path / "a.html")
    assert "no annotated objects" in (tmp_path / "a.html").read_text()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_whole_photo_of_65_472_anchors_stays_small(tmp_path):
    """The bundled model on a photo of 1600 × 1200: what the first command of the README makes."""
    photo = sample("voc_people").image[None]
    large = F.interpolate(photo, (1200, 1600), mode="bicubic", antialias=True)[0]
    traced = trace(load_model("tiny"), large)
    assert len(traced.anchors) == 65_472
    path = report(traced, tmp_path / "a.html")
    assert path.stat().st_size <= MOST_BYTES
    [image] = Page(path.read_text()).images
    file = io.BytesIO(base64.b64decode(image["src"].split(",")[1]))
    assert Image.open(file).size == (1280, 960)
    frame = json.loads(blocks(path.read_text())["case-0"])["frames"]["photo"]
    assert frame == {"width": 1600, "height": 1200, "step": 1.25}
