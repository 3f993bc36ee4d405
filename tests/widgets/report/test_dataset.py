"""The report on a data set as a file: what is in it, what was left out, what is refused."""

import base64
import io
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mrcnn_steps.data import sample
from mrcnn_steps.debug.funnel import Funnel
from mrcnn_widgets.report import dataset as dataset_module
from mrcnn_widgets.report import report
from mrcnn_widgets.report.page import program, styles
from mrcnn_widgets.report.pictures import SIDES, crop, picture, side_for
from mrcnn_widgets.report.scenes import layers, object_facts, pack_photo
from tests.widgets.report.rows import (
    DETECTION,
    HOSTILE,
    OBJECT,
    Photos,
    found,
    funnel_of,
    photo_row,
    random_rows,
)


def blocks(html):
    """The blocks of a page, unpacked."""
    packed = re.findall(r'<script type="application/octet-stream" id="([\w-]+)">([^<]*)<', html)
    return {name: zlib.decompress(base64.b64decode(text)) for name, text in packed}


def cases_in(html):
    return json.loads(blocks(html)["cases"])


@pytest.fixture
def written(tmp_path):
    """Writes the report on twenty photos, and gives its HTML."""
    rows = random_rows(20)

    def write(**options):
        path = report(funnel_of(rows), tmp_path / "report.html", **options)
        return path.read_text(encoding="utf-8")

    return write


class TestPictures:
    def test_fewer_photos_are_larger(self):
        sides = [side_for(count, 7_500_000) for count in (1, 50, 150, 200, 500, 5000)]
        assert sides[0] == SIDES[0]
        assert sides[-1] == SIDES[-1]
        assert sides == sorted(sides, reverse=True)

    def test_a_photo_is_scaled_to_its_longer_side(self):
        jpeg, width = picture(torch.zeros((3, 300, 600), dtype=torch.uint8), 288)
        assert Image.open(io.BytesIO(jpeg)).size == (288, 144)
        assert width == 288

    def test_a_small_photo_stays_as_it_is(self):
        assert picture(torch.zeros((3, 30, 60), dtype=torch.uint8), 288)[1] == 60

    def test_a_crop_shows_the_box_in_its_middle(self):
        image = Photos(1)[0].image
        shown = np.asarray(
            Image.open(io.BytesIO(crop(image, OBJECT.box, 160, "#0000ff"))).convert("RGB")
        ).astype(int)
        assert shown.shape == (160, 160, 3)
        red = (shown[..., 0] > 180) & (shown[..., 2] < 90)
        ys, xs = np.nonzero(red)
        assert abs(xs.mean() - 80) < 2
        assert abs(ys.mean() - 80) < 2
        # 64 of 64 * 1.6 pixels high, less the line of the box.
        assert abs(ys.max() - ys.min() - 100) < 8


class TestScenes:
    def test_objects_and_detections_are_grouped_by_what_became_of_them(self):
        kinds = ("", "background", "ignored")
        row = photo_row(
            objects=[OBJECT, found()],
            detections=[replace(DETECTION, detection=i, kind=kind) for i, kind in enumerate(kinds)],
        )
        objects, detections, able = layers(row)
        assert [objects.groups[i].name for i in objects.group_index] == ["missed", "found"]
        named = [detections.groups[i].name for i in detections.group_index]
        assert named == ["right", "wrong", "ignored"]
        assert able.boxes.tolist() == [list(OBJECT.able_box)]

    def test_a_photo_without_anything(self):
        packed = pack_photo(photo_row(objects=[], detections=[]), 1.0, ())
        assert packed["objects"] == packed["detections"] == {}

    def test_what_is_known_is_found_by_number(self):
        row = photo_row(objects=[found(object=1), replace(OBJECT, object=0)])
        packed = pack_photo(row, 2.0, ("--model", "tiny"))
        assert packed["frame"] == {"width": 320, "height": 240, "step": 2.0}
        assert packed["objects"][0]["place"] == 1
        assert packed["objects"][0]["commands"] == [
            "mrcnn-steps why 1 --object 0 --model tiny",
            "explain_missed(trace(model, sample_at(dataset, 0)), 0)",
        ]

    def test_facts(self):
        facts = dict(object_facts(OBJECT))
        assert facts["what decided"] == "0.62 against 0.5"
        assert facts["else it would have been lost at"] == "classification"
        assert "what decided" not in dict(object_facts(found()))

    def test_without_a_model_nobody_is_sent_to_it(self):
        row = photo_row(objects=[replace(OBJECT, cause="missed", stage="", level="")])
        packed = pack_photo(row, 1.0, None)
        assert packed["objects"][0]["commands"] == packed["detections"][0]["commands"] == []
        assert "pyramid level" not in dict(packed["objects"][0]["facts"])


class TestReport:
    def test_a_photo_is_stored_once(self, written):
        html = written(dataset=Photos(20))
        stored = [photo["picture"] for photo in cases_in(html)["photos"]]
        assert len(stored) == len(set(stored)) == 20
        for name in stored:
            assert Image.open(io.BytesIO(blocks(html)[name])).size == (320, 240)
        assert "20 of 20 photos are in it" in html

    def test_without_photos_no_picture_leaves(self, written):
        html = written(dataset=Photos(20), photos=False)
        assert not any("picture" in photo for photo in cases_in(html)["photos"])
        assert not any(block.startswith(b"\xff\xd8") for block in blocks(html).values())
        assert "data:image" not in html
        assert "pictures themselves were left out" in html

    def test_without_a_data_set_the_rows_are_there(self, written):
        table = cases_in(written())
        assert all("packed" in photo and "picture" not in photo for photo in table["photos"])

    def test_what_had_no_room_is_said(self, written, monkeypatch):
        monkeypatch.setattr(dataset_module, "MOST_BYTES", 25_000)
        monkeypatch.setattr(dataset_module, "MOST_CASES", 90)
        html = written(dataset=Photos(20))
        table = cases_in(html)
        stored = ["packed" in photo for photo in table["photos"]]
        assert 1 < sum(stored) < len(stored)
        assert stored == sorted(stored, reverse=True)
        assert len(table["row"]) == 90
        assert re.search(r"90 of \d{3}</a> cases can be searched", html)
        assert f"{sum(stored)} of {len(stored)} photos are in it" in html

    @pytest.fixture
    def people(self, tmp_path, lively_model):
        """Writes the report on the same photo twice, traced by a model, and gives its HTML."""
        photo = sample("voc_people")
        about = {"width": photo.image.shape[2], "height": photo.image.shape[1]}
        rows = [
            replace(photo_row(i, [replace(OBJECT, side=90.0 - i)], index=i), **about)
            for i in range(2)
        ]

        def write():
            path = report(
                funnel_of(rows, class_names=photo.class_names),
                tmp_path / "report.html",
                model=lively_model,
                dataset=[photo, photo],
            )
            return path.read_text(encoding="utf-8")

        return write

    def test_the_worst_photos_are_traced_again(self, people, monkeypatch):
        monkeypatch.setattr(dataset_module, "MOST_TRACED", 1)
        html = people()
        first, second = cases_in(html)["photos"]
        assert "traced" not in second
        packed = blocks(html)
        record = json.loads(packed[first["traced"]])
        assert record["photo"] == first["picture"] == second["picture"]
        assert [stage["key"] for stage in record["stages"]][:2] == ["mini_masks", "anchors"]
        assert json.loads(packed[record["followed"]])["object-0"]["words"][0].startswith("Object 0")
        assert "1</a> of them were traced again" in html

    def test_stages_have_all_they_computed_where_there_is_room(self, people):
        html = people()
        records = [json.loads(blocks(html)[each["traced"]]) for each in cases_in(html)["photos"]]
        for record in records:
            assert "candidates" in record["stages"][3]
            assert record["stages"][5]["settings"]["score"] == 0.05
        assert "All</a> of them were traced again" in html
        assert "is room for" not in html

    def test_where_there_is_no_room_a_lineage_is_left(self, people, monkeypatch):
        monkeypatch.setattr(dataset_module, "MOST_BYTES", 400_000)
        html = people()
        packed = blocks(html)
        for place, photo in enumerate(cases_in(html)["photos"]):
            record = json.loads(packed[photo["traced"]])
            told = packed[record["followed"]]
            assert json.loads(told)["object-0"]["words"][0].startswith("Object 0")
            for stage in record["stages"]:
                assert "candidates" not in stage
                assert f"sample_at(dataset, {place})), 'case-{place}.html')" in stage["note"]
            size = len(zlib.compress(packed[photo["traced"]])) + len(zlib.compress(told))
            assert size < 100_000
        assert "with all else that the stages computed in 0" in html

    def test_a_trace_without_room_is_left_out(self, people, monkeypatch):
        monkeypatch.setattr(dataset_module, "MOST_BYTES", 40_000)
        html = people()
        assert not any("traced" in photo for photo in cases_in(html)["photos"])
        assert "None of them was traced again" in html
        assert not any(name.startswith("case-") for name in blocks(html))

    def test_names_leave_no_element(self, written):
        html = written(dataset=Photos(20))
        body = html.replace(program("dataset"), "").replace(styles(), "")
        assert HOSTILE not in body
        assert body.count("</script>") == len(blocks(html)) + 1
        assert "onerror=alert(1)>" not in body

    def test_rows_that_could_not_be_read_are_left_out(self, tmp_path):
        rows = [photo_row(1), replace(photo_row(2), width=0, height=0, objects=(), error="gone")]
        path = report(funnel_of(rows), tmp_path / "report.html")
        assert "Where objects are lost: 1 photo<" in path.read_text(encoding="utf-8")

    def test_what_it_says_lies_beside_it(self, tmp_path):
        funnel = funnel_of(random_rows(3))
        report(funnel, tmp_path / "report.html")
        assert Funnel.from_json(tmp_path / "report.json").photos == funnel.photos

    def test_it_replaces_its_own_twin_and_no_other_file(self, tmp_path):
        funnel = funnel_of(random_rows(3))
        for _ in range(2):
            report(funnel, tmp_path / "report.html")
        (tmp_path / "report.json").write_text("[]")
        with pytest.raises(ValueError, match=r"report\.json: found a file that is no report"):
            report(funnel, tmp_path / "report.html")

    def test_another_kind_of_file_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"report\.htm: expected a file to write that ends"):
            report(funnel_of([photo_row(0)]), tmp_path / "report.htm")
        assert not list(tmp_path.iterdir())

    def test_a_part_of_a_data_set_is_read_from_the_whole(self, tmp_path):
        rows = [photo_row(image_id, index=place) for place, image_id in enumerate((0, 5))]
        path = report(funnel_of(rows), tmp_path / "report.html", dataset=Photos(10))
        html = path.read_text(encoding="utf-8")
        first, second = (blocks(html)[photo["picture"]] for photo in cases_in(html)["photos"])
        shades = [np.asarray(Image.open(io.BytesIO(jpeg)))[200, 200, 0] for jpeg in (first, second)]
        assert shades == [40, 45]

    def test_another_data_set_is_refused(self, tmp_path):
        path = tmp_path / "report.html"
        rows = [photo_row(7, index=0)]
        with pytest.raises(
            ValueError, match=r"dataset\[0\]: expected photo 7 of the funnel, found 0"
        ):
            report(funnel_of(rows), path, dataset=Photos(1))
        assert not path.exists()
