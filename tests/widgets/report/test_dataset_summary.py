"""The summary of a data set: every number is a link, and leads to as many cases as it says."""

import json
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright._impl._driver import compute_driver_executable

from mrcnn_steps.debug.funnel.figures import Figures
from mrcnn_steps.debug.funnel.worst import why_command
from mrcnn_widgets.report.cases import list_cases, pack_cases
from mrcnn_widgets.report.dataset_summary import bar, summary, table
from tests.widgets.report.rows import HOSTILE, OBJECT, found, photo_row, random_rows

JS = Path(__file__).parents[3] / "widgets/mrcnn_widgets/report/js"
COUNT = """
import { readFileSync } from "node:fs";
import { casesFound, unpackCases } from "%s/cases.js";
import { parseSearch } from "%s/search.js";
const { table, queries } = JSON.parse(readFileSync(0, "utf-8"));
const cases = unpackCases(table);
console.log(JSON.stringify(queries.map((query) => {
  const { tokens, problems } = parseSearch(query);
  return problems.length ? problems : casesFound(cases, tokens).length;
})));
"""


class Page(HTMLParser):
    """The links of a page, their texts, and all its elements."""

    def __init__(self, html):
        super().__init__()
        self.links, self.tags, self.text, self.href = [], [], [], None
        self.named = False  # within the name of a row, which may be a number as well
        self.within, self.unlinked = set(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.within.add(tag)
        self.named = tag == "th" or (self.named and tag != "td")
        assert not any(name.startswith("on") or name == "style" for name, _ in attributes)
        if tag == "a":
            self.href, self.words = dict(attributes)["href"], ""

    def handle_endtag(self, tag):
        self.within.discard(tag)
        if tag == "a":
            self.links.append((self.href, "" if self.named else self.words))

    def handle_data(self, data):
        self.text.append(data)
        in_figure = self.within & {"td", "dd"} and not self.within & {"a", "code"}
        if in_figure and re.search(r"\d", data):
            self.unlinked.append(data)
        self.words = getattr(self, "words", "") + data


def cases_found(rows, queries, tmp_path):
    """How many cases the page's own search finds."""
    script = tmp_path / "count.mjs"
    script.write_text(COUNT % (JS, JS))
    node = [compute_driver_executable()[0], "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON"]
    asked = json.dumps({"table": pack_cases(list_cases(rows, 9999)), "queries": queries})
    done = subprocess.run(
        [*node, script], input=asked, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def rows():
    return random_rows(150, seed=3)


@pytest.fixture(scope="module")
def page(rows):
    return Page(summary(Figures(rows), ("--model", "tiny")))


class TestLinks:
    def test_every_number_leads_to_as_many_cases(self, rows, page, tmp_path):
        numbered = []
        for href, text in page.links:
            number = re.fullmatch(r"([\d,]+)|.*\(([\d,]+)\)", text.strip())
            if number is not None and "?q=" in href:
                query = unquote(href.removeprefix("#/gallery?q="))
                numbered.append((query, int((number[1] or number[2]).replace(",", ""))))
        assert len(numbered) > 150
        counts = cases_found(rows, [query for query, _ in numbered], tmp_path)
        said = [(query, count) for (query, _), count in zip(numbered, counts, strict=True)]
        assert said == numbered

    def test_every_link_finds_something_or_says_zero(self, rows, page, tmp_path):
        queries = [unquote(href.partition("?q=")[2]) for href, _ in page.links]
        counts = cases_found(rows, queries, tmp_path)
        empty = {text for (_, text), count in zip(page.links, counts, strict=True) if count == 0}
        assert empty <= {"0", ""}

    def test_every_number_is_a_link(self, page):
        """Of rows, their first cell is what they are called; the last ones hold commands."""
        assert page.unlinked == []

    def test_each_bar_leads_to_what_it_shows(self, page):
        barred = [href for href, text in page.links if text == ""]
        assert "#/gallery?q=cause%3Anms" in barred
        assert "#/gallery?q=is%3Awrong%20kind%3Abackground" in barred


class TestPage:
    def test_names_are_text(self, page):
        assert set(page.tags) <= {
            *("section", "h2", "p", "a", "dl", "div", "dt", "dd", "small", "code", "svg", "rect"),
            *("table", "caption", "thead", "tbody", "tr", "th", "td"),
        }
        assert HOSTILE in page.text

    def test_the_worst_photos_have_their_command(self, rows, page):
        worst = max(rows, key=lambda row: sum(each.cause != "found" for each in row.objects))
        assert why_command(worst.image_id, worst.index, None, ("--model", "tiny")) in page.text

    def test_a_few_photos_are_anecdotes(self, page):
        assert any("slices are anecdotes" in text for text in page.text)

    def test_nothing_to_say(self):
        text = summary(Figures([photo_row(objects=(), detections=())]))
        assert "Where objects are lost" not in text
        assert "Search all cases" in text


def test_a_bar():
    assert 'width="25.00"' in bar(0.25)
    assert 'x="10.00" y="4" width="30.00"' in bar(0.25, (0.1, 0.4))


def test_a_table():
    made = table("A table", ("name", "n"), [("a", "1"), ("b", "2")])
    assert made.count("<tr>") == 3
    assert '<tr><th scope="row">b</th><td>2</td></tr>' in made


def test_without_a_model_nothing_is_said_of_gates():
    """As the results of another framework are judged: an object is found or missed, no more."""
    unexplained = {"cause": "missed", "kind": None, "stage": "", "level": ""}
    rows = [photo_row(objects=[replace(OBJECT, **unexplained), found(stage="", level="")])]
    page = Page(summary(Figures(rows)))
    assert "Where objects are lost" not in page.text
    assert any("Detections do not tell why" in text for text in page.text)
    assert "By side at the network's input" not in page.text
    assert not any("fates(" in text for text in page.text)
