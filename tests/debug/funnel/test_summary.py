"""The funnel's files: what is written is read back, by us, by spreadsheets and by nobody else."""

import csv
import json
import os
import re

import pytest

from mrcnn_steps.debug.fates import FOUND
from mrcnn_steps.debug.funnel.summary import Funnel
from tests.debug.funnel.made import HEADER, a_photo, an_object, at_random

WHOLE = Funnel(HEADER, at_random(12), ("--annotations", "data.json"))


def test_causes_have_a_row_for_each_object():
    assert len(WHOLE.causes) == sum(len(photo.objects) for photo in WHOLE.photos)
    assert WHOLE.figures.found == sum(each.cause == FOUND for each in WHOLE.causes)


def test_unreadable_photos_are_no_part_of_the_figures():
    broken = a_photo(99, error="99.jpg: no such file")
    assert Funnel(HEADER, (*WHOLE.photos, broken)).figures.count == 12


class TestJson:
    def test_is_read_back(self, tmp_path):
        WHOLE.to_json(tmp_path / "funnel.json")
        again = Funnel.from_json(tmp_path / "funnel.json")
        assert (again.header, again.photos) == (WHOLE.header, WHOLE.photos)
        assert again.source == WHOLE.source
        assert again.table() == WHOLE.table()

    def test_has_the_figures(self, tmp_path):
        WHOLE.to_json(tmp_path / "funnel.json")
        content = json.loads((tmp_path / "funnel.json").read_text(encoding="utf-8"))
        assert list(content) == ["header", "source", "figures", "photos"]
        figures = content["figures"]
        assert figures["objects"] - figures["found"] == sum(
            gate["lost"] for gate in figures["gates"]
        )
        assert figures["AP50"] == WHOLE.figures.ap50
        assert len(content["photos"]) == 12

    def test_of_no_photos_is_json_too(self, tmp_path):
        Funnel(HEADER, ()).to_json(tmp_path / "funnel.json")
        assert Funnel.from_json(tmp_path / "funnel.json").photos == ()

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "[]",
            "null",
            "{}",
            '{"header": 3}',
            '{"header": {"class_names": 4}, "photos": [], "source": []}',
            "[" * 100_000,
        ],
    )
    def test_another_file_is_refused_by_name(self, tmp_path, content):
        (tmp_path / "other.json").write_text(content)
        with pytest.raises(ValueError, match=r"other\.json: .*expected a funnel"):
            Funnel.from_json(tmp_path / "other.json")

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda photo: photo["objects"][0].update(cause="magic"), "objects[0].cause: found"),
            (lambda photo: photo["objects"][1].update(extra=1), "objects[1].extra: found 1"),
            (lambda photo: photo.update(objects=3), "objects: found 3, expected a list"),
            (lambda photo: photo["objects"][0].pop("name"), "objects[0].name: found nothing"),
            (lambda photo: photo["objects"][0].update(name=5), "name: found 5, expected a text"),
            (lambda photo: photo["objects"][0].update(side="wide"), "side: found 'wide', expected"),
            (lambda photo: photo["objects"][0].update(side=1e999), "side: found inf"),
            (lambda photo: photo["objects"][0].update(able_score=True), "able_score: found True"),
            (lambda photo: photo["objects"][0].update(box=[1, 2]), "box: found [1, 2], expected a"),
            (lambda photo: photo["objects"][0].update(box=[1, 2, 3, None]), "box[3]: found None"),
            (lambda photo: photo["detections"][0].update(kind="odd"), "detections[0].kind: found"),
            (lambda photo: photo.update(image_id=True), "image_id: found True, expected a whole"),
            (lambda photo: photo.update(error=7), "error: found 7, expected a text"),
        ],
    )
    def test_a_spoiled_file_is_refused_by_field(self, tmp_path, spoil, said):
        path = tmp_path / "funnel.json"
        Funnel(HEADER, at_random(1, seed=1)).to_json(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        spoil(content["photos"][0])
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=rf"funnel\.json: .*{re.escape(said)}"):
            Funnel.from_json(path)

    @pytest.mark.parametrize(
        ("settings", "said"),
        [({}, "settings.iou: found nothing"), ({"iou": "half"}, "settings.iou: found 'half'")],
    )
    def test_rows_that_do_not_say_how_they_were_judged_are_refused(self, tmp_path, settings, said):
        path = tmp_path / "funnel.json"
        WHOLE.to_json(path)
        content = json.loads(path.read_text(encoding="utf-8"))
        content["header"]["settings"] = settings
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=rf"funnel\.json: {said}, expected a number"):
            Funnel.from_json(path)

    def test_what_cannot_be_written_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "funnel.json"
        path.write_text("old")
        nan = a_photo(1, (an_object(value=float("nan")),))
        with pytest.raises(ValueError, match="JSON"):
            Funnel(HEADER, (nan,)).to_json(path)
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["funnel.json"]


class TestCsv:
    def read(self, tmp_path, *names: str) -> list[dict[str, str]]:
        objects = tuple(an_object(row, name=name) for row, name in enumerate(names))
        Funnel(HEADER, (a_photo(1, objects),)).to_csv(tmp_path / "causes.csv")
        with (tmp_path / "causes.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def test_has_a_row_for_each_object_with_its_ids(self, tmp_path):
        WHOLE.to_csv(tmp_path / "causes.csv")
        with (tmp_path / "causes.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [(int(r["image_id"]), int(r["annotation_id"]), r["cause"]) for r in rows] == [
            (each.image_id, each.annotation_id, each.cause) for each in WHOLE.causes
        ]
        assert [float(r["side"]) for r in rows] == [each.side for each in WHOLE.causes]
        assert list(rows[0])[:4] == ["image_id", "annotation_id", "photo", "class"]

    @pytest.mark.parametrize("name", ["a,b", 'say "hi"', "two\nlines", "犬", "two\r\nlines", "'"])
    def test_names_come_back_as_they_were(self, tmp_path, name):
        assert [row["class"] for row in self.read(tmp_path, name, "dog")] == [name, "dog"]

    @pytest.mark.parametrize("name", ["=SUM(A1)", "+1", "-1", "@cmd", "\t=1", "\r=1"])
    def test_no_name_becomes_a_formula(self, tmp_path, name):
        [row] = self.read(tmp_path, name)
        assert row["class"] == f"'{name}"

    def test_negative_numbers_stay_numbers(self, tmp_path):
        objects = (an_object(0, "unknown class", label=-1, score=None),)
        Funnel(HEADER, (a_photo(1, objects),)).to_csv(tmp_path / "causes.csv")
        with (tmp_path / "causes.csv").open(newline="", encoding="utf-8") as file:
            [row] = csv.DictReader(file)
        assert row["label"] == "-1"
        assert row["score"] == ""
