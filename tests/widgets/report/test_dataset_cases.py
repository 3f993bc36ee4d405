"""The cases of a data set: which there are, in which order, and what the search knows of them."""

import json
from dataclasses import replace
from urllib.parse import unquote

import numpy as np

from mrcnn_steps.debug.errors import KINDS
from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_widgets.report.addresses import case_page, gallery, token
from mrcnn_widgets.report.cases import Case, list_cases, pack_cases
from tests.widgets.report.rows import DETECTION, HOSTILE, OBJECT, found, photo_row, random_rows


class TestCases:
    def test_each_object_and_each_wrong_detection_is_a_case(self):
        rows = random_rows(60)
        cases = list_cases(rows, 9999)
        objects = sum(len(row.objects) for row in rows)
        wrong = sum(each.kind in KINDS for row in rows for each in row.detections)
        assert len(cases) == len(set(map(id, (case.row for case in cases)))) == objects + wrong
        assert sum(case.verdict == "wrong" for case in cases) == wrong
        missed = sum(each.cause != FOUND for row in rows for each in row.objects)
        assert sum(case.verdict == "missed" for case in cases) == missed

    def test_the_worst_come_first_missed_and_wrong_in_turn(self):
        small, large = replace(OBJECT, side=8.0), replace(OBJECT, side=80.0)
        sure, unsure = replace(DETECTION, score=0.9), replace(DETECTION, score=0.4)
        right, ignored = replace(DETECTION, kind=""), replace(DETECTION, kind="ignored")
        rows = [
            photo_row(1, [found(score=0.9), small, large], [unsure, right]),
            photo_row(2, [found(score=0.2)], [ignored, sure, replace(DETECTION, score=0.1)]),
        ]
        cases = list_cases(rows, 9999)
        assert [case.verdict for case in cases] == [
            *("missed", "wrong", "missed", "wrong", "wrong", "found", "found"),
        ]
        assert [case.row.side for case in cases if case.verdict == "missed"] == [80, 8]
        assert [case.row.score for case in cases if case.verdict == "wrong"] == [0.9, 0.4, 0.1]
        assert [case.row.score for case in cases if case.verdict == "found"] == [0.2, 0.9]

    def test_few_are_the_first_of_many(self):
        rows = random_rows(30)
        every = list_cases(rows, 9999)
        for most in (0, 7, 150, len(every)):
            assert list_cases(rows, most) == every[:most]


class TestPacked:
    def unpacked(self, cases):
        """What the program makes of the columns, case by case."""
        table = json.loads(json.dumps(pack_cases(cases)))
        items = []
        for place, photo in enumerate(table["photo"]):
            item = {"photo": table["photos"][photo]["name"], "box": table["box"][place]}
            for key, column in table["texts"].items():
                item[key] = column["names"][column["index"][place]]
            items.append(item | {key: column[place] for key, column in table["numbers"].items()})
        return items

    def test_an_object(self):
        (item,) = self.unpacked([Case(photo_row(name=HOSTILE), OBJECT)])
        assert item == {
            "photo": HOSTILE,
            "box": [10.0, 20.0, 42.0, 84.0],
            "is": "missed",
            "cause": "nms",
            "kind": "another object",
            "class": "cup",
            "stage": "detection",
            "level": "P3",
            "border": "no",
            "shape": "2:1",
            "suspected": None,
            "detected": "no",
            "past": [*CAUSES][: [*CAUSES].index("nms")],
            "size": 32.0,
            "side": 45.3,
            "aspect": 2.0,
            "crowding": 1,
            "score": 0.75,
        }

    def test_a_detection_has_no_cause_but_a_kind(self):
        (item,) = self.unpacked([Case(photo_row(), DETECTION)])
        expected = {"is": "wrong", "cause": None, "kind": "background", "suspected": "yes"}
        assert expected.items() <= item.items()
        assert (item["size"], item["score"], item["side"]) == (40.0, 0.9, None)
        assert (item["detected"], item["past"]) == ("yes", None)

    def test_what_was_found_has_no_cause(self):
        (item,) = self.unpacked([Case(photo_row(), found())])
        assert (item["is"], item["cause"], item["stage"]) == (FOUND, None, None)
        assert (item["detected"], item["past"]) == ("yes", [*CAUSES])

    def test_a_wrong_mask_has_a_detection(self):
        row = replace(OBJECT, cause="mask", kind=None, stage="masks")
        assert self.unpacked([Case(photo_row(), row)])[0]["detected"] == "yes"

    def test_without_a_model_no_gate_is_past(self):
        row = replace(OBJECT, cause="missed", kind=None, stage="", level="")
        assert self.unpacked([Case(photo_row(), row)])[0]["past"] is None

    def test_a_score_stays_on_its_side_of_every_bound(self):
        just_over = float(np.nextafter(np.float32(0.3), np.float32(1)))
        (item,) = self.unpacked([Case(photo_row(), replace(DETECTION, score=just_over))])
        assert item["score"] > 0.3

    def test_a_number_just_below_a_bound_stays_below(self):
        (item,) = self.unpacked([Case(photo_row(), replace(OBJECT, area=1023.9999, side=63.99999))])
        assert item["size"] < 32
        assert item["side"] < 64

    def test_every_case_is_there(self):
        cases = list_cases(random_rows(40), 9999)
        items = self.unpacked(cases)
        assert [item["class"] for item in items] == [case.row.name for case in cases]
        assert [item["photo"] for item in items] == [case.photo.photo for case in cases]

    def test_no_cases(self):
        assert self.unpacked([]) == []


class TestAddresses:
    def test_a_token_has_quotes_where_it_needs_them(self):
        assert token("class", "cup") == "class:cup"
        assert token("class", "traffic light") == 'class:"traffic light"'
        assert token("class", 'a"b\\c') == 'class:"a\\"b\\\\c"'
        assert token("class", "-x") == 'class:"-x"'

    def test_a_search_cannot_leave_its_address(self):
        address = gallery(token("class", HOSTILE), "is:missed")
        assert not set(address) & set(" \"'<>&\\")
        assert unquote(address).startswith('#/gallery?q=class:"</script>')
        assert gallery() == "#/gallery"

    def test_a_case(self):
        assert case_page(Case(photo_row(7), OBJECT)) == "#/case/7?object=0"
        assert case_page(Case(photo_row(7), DETECTION)) == "#/case/7?detection=0"
