"""The report on one photo, opened from its file: mouse, keys, addresses, no network, no trust."""

import re

import pytest
import torch

from mrcnn_steps import sample, trace
from mrcnn_steps.detection import detect
from mrcnn_steps.settings import detection_settings
from mrcnn_widgets import report
from mrcnn_widgets.report.origin import Origin
from tests.browser.conftest import wait_until
from tests.widgets.report.conftest import HOSTILE, small_model, with_hostile_names

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def traced():
    return trace(small_model(), sample("voc_people"))


@pytest.fixture(scope="module")
def file(traced, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    return report(traced, path, origin=Origin("voc_people", "tiny"), command="mrcnn-steps inspect")


@pytest.fixture
def open_report(open_page, file):
    """Opens the report at an address; only the file itself may be asked for."""
    asked = []

    def open_report(address="", path=file, **options):
        page = open_page(**options)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{path.as_uri()}{address}")
        if options.get("java_script_enabled", True):
            wait_for_view(page)
        return page

    yield open_report
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert all(url.split("#")[0].endswith("report.html") for url in asked if url[:5] == "file:")


def wait_for_view(page):
    """Waits until the page shows what its address asks for."""
    until(
        page,
        """() => location.hash.startsWith('#/case')
            ? document.querySelector('#trace .mrv-stage[aria-busy="false"], #trace canvas')
            : !document.querySelector('#summary').hidden""",
    )
    page.wait_for_timeout(150)


def until(page, expression, argument=None):
    """Waits until an expression holds: Playwright's own waiting evaluates text, which the policy
    of the page forbids."""
    wait_until(lambda: page.evaluate(expression, argument), 30, lambda: f"{expression}: never")


def words(page, selector):
    return page.locator(selector).inner_text()


def address(page):
    return page.evaluate("location.hash")


class TestMouse:
    def test_from_the_summary_to_a_row_and_back(self, open_report, screenshots):
        page = open_report()
        assert "of 19 annotated objects found" in words(page, ".lead")
        page.screenshot(path=screenshots / "report-summary.png", full_page=True)
        page.locator("nav a", has_text="5 Classification").click()
        wait_for_view(page)
        assert address(page) == "#/case/0?stage=5"
        assert page.locator("#summary").is_hidden()
        chosen = page.locator('.tabs [aria-current="page"]')
        assert chosen.inner_text() == "5 Classification"
        stage = page.locator("#trace .mrv-stage").bounding_box()
        page.mouse.click(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
        until(page, "location.hash.includes('row=')")
        page.locator("dt", has_text="RoIAlign samples").wait_for()
        assert page.locator(".bars li").count() == 8
        columns, rows = map(int, words(page, "dt:has-text('RoIAlign samples') + dd").split(" × "))
        chip = page.locator('.mrv-chip[data-key="RoIAlign samples"] .mrv-count')
        assert chip.inner_text() == f"{columns * rows:,}"
        assert words(page, '.mrv-chip[data-key="RoI bins"] .mrv-count') == "7 × 7"
        there = address(page)
        page.go_back()
        until(page, "location.hash === '#/case/0?stage=5'")
        page.locator(".bars").wait_for(state="detached")
        copied = open_report(there)
        copied.locator("dt", has_text="RoIAlign samples").wait_for()
        assert copied.locator(".bars li").count() == 8

    def test_what_is_hidden_is_hidden_in_its_stage(self, open_report):
        page = open_report("#/case/0?stage=2")
        objects = page.locator('.mrv-chip[data-key="objects"]')
        objects.wait_for()
        seen = []
        for number in "262":
            page.locator(".tabs a", has_text=f"{number} ").click()
            until(page, "n => document.querySelector('.mrv-title').textContent[0] === n", number)
            seen.append(objects.get_attribute("aria-pressed"))
            if number == "6":
                objects.click()
        assert seen == ["true", "false", "true"]
        page.locator(".tabs a", has_text="6 ").click()
        until(page, "() => document.querySelector('.mrv-title').textContent[0] === '6'")
        assert objects.get_attribute("aria-pressed") == "true"

    def test_an_object_is_followed_through_the_stages(self, open_report, screenshots):
        page = open_report("#/case/0?stage=6")
        page.locator(".subjects li.lost a").first.click()
        page.locator(".copy code").first.wait_for()
        row = re.search(r"object=(\d+)", address(page))[1]
        said = page.locator(".copy code").all_inner_texts()
        assert said == [
            f"mrcnn-steps why voc_people --object {row}",
            f"explain_missed(trace(load_model('tiny'), sample('voc_people')), {row})",
        ]
        for number in "1234567":
            page.locator(".tabs a", has_text=f"{number} ").click()
            wait_for_view(page)
            until(
                page,
                "n => document.querySelector('.tabs [aria-current]').textContent[0] === n",
                number,
            )
            assert f"object={row}" in address(page)
            page.locator(".side h2", has_text=f"object {row}").wait_for()
            page.locator(".mrv-chip", has_text="followed").first.wait_for()
        page.screenshot(path=screenshots / "report-followed.png")

    def test_sliders_compute_what_python_computes(self, open_report, traced):
        page = open_report("#/case/0?stage=6")
        for name, value in (("score >", "0.3"), ("NMS IoU >", "0.2"), ("at most", "7")):
            slider = page.locator(".control", has_text=name).locator("input")
            slider.evaluate(
                """(input, value) => {
                    input.value = value;
                    input.dispatchEvent(new Event('input', { bubbles: true }));
                }""",
                value,
            )
        until(
            page,
            "['score=0.3', 'nms=0.2', 'limit=7'].every((part) => location.hash.includes(part))",
        )
        settings = detection_settings(traced.model) | {
            "score_threshold": 0.3,
            "nms_threshold": 0.2,
            "max_detections": 7,
        }
        answer = traced.classification
        with torch.no_grad():
            found = detect(
                traced.proposals, answer.probs, answer.deltas, traced.image_size, **settings
            )
        expected = [f"{len(step):,}" for step in found.steps]
        until(
            page,
            """(expected) => {
                const rows = [...document.querySelectorAll('.side tbody tr')].slice(1, 6);
                return rows.map((row) => row.cells[1].textContent).join() === expected;
            }""",
            ",".join(expected),
        )
        page.locator(".control", has_text="score >").locator("button").click()
        until(page, "!location.hash.includes('score=')")


class TestKeys:
    def test_each_means_what_the_list_says(self, open_report):
        page = open_report()
        page.keyboard.press("4")
        until(page, "location.hash === '#/case/0?stage=4'")
        page.locator(".steps a").first.wait_for()
        page.keyboard.press("ArrowLeft")
        until(page, "location.hash.includes('step=4')")
        page.keyboard.press("ArrowRight")
        until(page, "location.hash.includes('step=5')")
        page.keyboard.press("?")
        assert page.locator("dialog").is_visible()
        page.keyboard.press("Escape")
        assert page.locator("dialog").is_hidden()
        page.keyboard.press("/")
        page.keyboard.type("is:missed class:chair")
        until(page, "new URLSearchParams(location.hash.split('?')[1]).get('q')")
        names = page.locator(".subjects ul a").all_inner_texts()
        assert names
        assert all("chair" in name for name in names)
        page.keyboard.press("Escape")
        page.keyboard.press("Tab")
        focused = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(focused) != "none"
        page.keyboard.press("Escape")
        until(page, "!document.querySelector('#summary').hidden")

    def test_the_viewer_s_own_keys_stay_its_own(self, open_report):
        page = open_report("#/case/0?stage=2")
        page.locator("#trace .mrv-stage").focus()
        for key in ("+", "ArrowLeft", "Tab"):
            page.keyboard.press(key)
        assert address(page) == "#/case/0?stage=2"

    def test_all_others_are_heard_wherever_the_focus_is(self, open_report):
        page = open_report("#/case/0?stage=6")
        page.locator(".mrv-chip").first.click()
        page.keyboard.press("4")
        until(page, "location.hash === '#/case/0?stage=4'")
        page.locator("#trace .mrv-stage").focus()
        page.keyboard.press("6")
        until(page, "location.hash === '#/case/0?stage=6'")
        page.locator(".control input[type=checkbox]").click()
        page.keyboard.press("3")
        until(page, "location.hash === '#/case/0?stage=3'")
        page.keyboard.press("?")
        assert page.locator("dialog").is_visible()

    def test_escape_in_the_photo_lets_go_first_and_goes_up_then(self, open_report):
        page = open_report("#/case/0?stage=6&object=0&row=0")
        page.locator("#trace .mrv-stage").focus()
        for left in ("#/case/0?stage=6&object=0", "#/case/0?stage=6", "#/"):
            page.keyboard.press("Escape")
            until(page, "hash => location.hash === hash", left)

    def test_a_slider_keeps_its_arrows(self, open_report):
        page = open_report("#/case/0?stage=6&score=0.3")
        slider = page.locator(".control", has_text="score >").locator("input")
        slider.focus()
        page.keyboard.press("ArrowRight")
        until(page, "location.hash === '#/case/0?stage=6&score=0.31'")


class TestLooks:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_a_phone_shows_it_without_scrolling_sideways(self, open_report, screenshots, scheme):
        phone = {"viewport": {"width": 390, "height": 800}, "color_scheme": scheme}
        page = open_report("#/case/0?stage=4&object=0", **phone)
        for name in ("stage", "summary"):
            wide = page.evaluate("document.documentElement.scrollWidth")
            page.screenshot(path=screenshots / f"report-{name}-narrow-{scheme}.png")
            assert wide <= 390
            page.evaluate("location.hash = '#/'")
            wait_for_view(page)

    def test_print(self, open_report, screenshots):
        page = open_report()
        page.emulate_media(media="print", color_scheme="light")
        page.screenshot(path=screenshots / "report-print.png", full_page=True)
        assert page.locator("#summary h1").is_visible()

    def test_without_javascript_the_summary_is_there(self, open_report, screenshots):
        page = open_report("#/case/0?stage=4", java_script_enabled=False)
        page.screenshot(path=screenshots / "report-without-javascript.png")
        for said in ("of 19 annotated objects found", "How this was made", "target_rpn_match"):
            assert page.get_by_text(said).count() == 1
        assert "In a browser that runs JavaScript" in page.locator("noscript").inner_text()
        assert page.locator("img").evaluate("image => image.naturalWidth") == 500


class TestTrust:
    def test_hostile_names_are_read_and_do_nothing(self, open_report, traced, tmp_path):
        path = report(with_hostile_names(traced), tmp_path / "report.html")
        page = open_report("", path)
        assert words(page, "#summary h1") == HOSTILE
        for stage in (5, 6, 7):
            page.evaluate(f"location.hash = '#/case/0?stage={stage}&object=0&q=onerror'")
            page.locator(".mrv-chip").first.wait_for()
            page.wait_for_timeout(100)
        assert HOSTILE in words(page, "#trace h1")
        assert page.locator("img").count() == 1

    @pytest.mark.parametrize(
        "hash",
        ["#/case/0?stage=99&step=99&row=99999", "#/case/0?score=NaN&nms=-5&stage=6", "#/%E0", "#x"],
    )
    def test_an_address_that_nothing_stands_for_shows_what_comes_nearest(self, open_report, hash):
        page = open_report(hash)
        assert page.locator("h1:visible").count() == 1

    def test_a_photo_of_one_line(self, open_report, tmp_path):
        line = torch.full((3, 1, 5000), 128, dtype=torch.uint8)
        path = report(trace(small_model(), line), tmp_path / "report.html")
        page = open_report("#/case/0?stage=7", path)
        page.locator(".mrv-chip").first.wait_for()
        assert "1" in page.locator("#trace .mrv-stage").get_attribute("aria-label")

    def test_without_the_photo(self, open_report, traced, tmp_path):
        path = report(traced, tmp_path / "report.html", photos=False)
        page = open_report("#/case/0?stage=7&detection=0", path)
        page.locator(".mrv-chip").first.wait_for()
        assert page.locator("img").count() == 0
