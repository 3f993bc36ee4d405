"""The report on a data set as its reader uses it: one file, opened without network or kernel."""

import re
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from mrcnn_steps import load_model, trace
from mrcnn_steps.data import sample
from mrcnn_steps.debug.datasets import entry_at
from mrcnn_steps.debug.errors import KINDS
from mrcnn_steps.debug.funnel.photo_row import photo_row as row_of
from mrcnn_widgets.report import report
from mrcnn_widgets.report.page import HERE
from tests.browser.conftest import next_frame, wait_until
from tests.widgets.report.rows import HOSTILE, OBJECT, Photos, funnel_of, photo_row, random_rows

COUNT = 40
RED = "([r, g, b]) => r > 180 && g < 90 && b < 90"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Forty photos with cases of all kinds; the red square in each is a large missed object."""
    square = replace(OBJECT, object=90, side=900.0, name=HOSTILE)
    rows = [
        replace(row, objects=(*row.objects, replace(square, image_id=row.image_id)))
        for row in random_rows(COUNT, seed=5)
    ]
    path = tmp_path_factory.mktemp("data set") / "report.html"
    return report(funnel_of(rows), path, dataset=Photos(COUNT)), rows


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """Two real photos, traced by the bundled model."""
    model, photos = load_model("tiny"), [sample("coffee"), sample("cat")]
    rows = [
        row_of(trace(model, photo), entry_at(photos, place), place, 0.5, 0.3)
        for place, photo in enumerate(photos)
    ]
    settings = {"iou": 0.5, "score": 0.3}
    funnel = funnel_of(rows, settings=settings, class_names=photos[0].class_names)
    path = tmp_path_factory.mktemp("traced") / "report.html"
    return report(funnel, path, model=model, dataset=photos)


@pytest.fixture
def open_report(open_page):
    """Opens a report; what the page asks of the network is an error in the end."""
    pages = []

    def open_report(path, address="", **options):
        page = open_page(**options)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(f"{path.as_uri()}{address}")
        if options.get("java_script_enabled", True):
            page.locator("body[data-live]").wait_for()
        pages.append((page, path.as_uri()))
        return page

    yield open_report
    for page, uri in pages:
        assert {url.partition("#")[0] for url in page.asked} <= {uri}


def cases_in(page):
    """How many cases the gallery says that it found."""
    text = page.locator(".gallery [role=status]").inner_text()
    return int(text.split()[0].replace(",", ""))


def wait_for_search(page, query):
    """Waits until the gallery shows what a search finds."""
    expect(page.locator("main.gallery:visible input")).to_have_value(query)
    expect(page.locator(".gallery .cases li")).not_to_have_count(0)


def wait_for_photo(page):
    page.locator("main.case:visible .mrv-stage[aria-busy=false]").wait_for()


class TestFromBarToCase:
    def test_by_mouse(self, made, open_report):
        page = open_report(made[0])
        nms = page.locator("tr", has_text="NMS").filter(has_not_text="RPN").first
        count = int(nms.locator("td a:not(.barred)").first.inner_text())
        nms.locator("a.barred").click()
        wait_for_search(page, "cause:nms")
        assert cases_in(page) == count == page.locator(".gallery .cases li").count()
        page.locator(".gallery .cases a").nth(1).click()
        wait_for_photo(page)
        assert f"2 of {count} · cause:nms" in page.locator(".way").inner_text()
        heading = page.locator("main.case h1").inner_text()
        page.get_by_role("link", name="next →").click()
        page.locator(".way", has_text=f"3 of {count}").wait_for()
        page.go_back()
        page.get_by_role("heading", name=heading, exact=True).wait_for()
        page.go_back()
        wait_for_search(page, "cause:nms")
        page.go_back()
        page.get_by_role("heading", name=re.compile("^Where objects are lost:")).wait_for()

    def test_a_case_is_looked_at_closely(self, made, open_report):
        page = open_report(made[0], "#/case/3?object=90")
        wait_for_photo(page)
        page.locator(".mrv-tools", has_text=re.compile(r"[2-9](\.\d)?×")).wait_for()

    def test_by_keyboard(self, made, open_report):
        page = open_report(made[0])
        page.keyboard.press("/")
        page.locator(".gallery input:focus").wait_for()
        page.keyboard.type("is:wrong score:>0.5")
        found = cases_in(page)
        wrong = [each for row in made[1] for each in row.detections if each.kind in KINDS]
        assert found == sum(each.score > 0.5 for each in wrong)
        page.keyboard.press("Escape")
        page.locator(".gallery .cases a").first.focus()
        page.keyboard.press("Enter")
        wait_for_photo(page)
        for key, place in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2)):
            page.keyboard.press(key)
            page.locator(".way", has_text=f"{place} of {found}").wait_for()
        page.keyboard.press("Escape")
        wait_for_search(page, "is:wrong score:>0.5")
        assert cases_in(page) == found
        page.keyboard.press("Escape")
        page.locator("#summary:visible").wait_for()

    def test_a_copied_link_opens_the_same_view(self, made, open_report):
        page = open_report(made[0], "#/gallery?q=is%3Amissed%20size%3A%3C32")
        page.locator(".gallery .cases a").nth(2).click()
        wait_for_photo(page)
        again = open_report(made[0], page.evaluate("location.hash"))
        wait_for_photo(again)
        for part in ("main.case h1", ".way", "main.case .side"):
            assert again.locator(part).inner_text() == page.locator(part).inner_text()

    def test_a_case_is_copied_to_python(self, made, open_report):
        expected = "explain_missed(trace(model, sample_at(dataset, 3)), 90)"
        may = ["clipboard-read", "clipboard-write"]
        page = open_report(made[0], "#/case/3?object=90", permissions=may)
        page.locator(".copy button").click()
        page.locator(".copy button", has_text="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == expected
        # Where a page may not copy, the text is selected.
        page.evaluate(
            "() => { navigator.clipboard.writeText = () => Promise.reject(Error('no')); }"
        )
        page.locator(".copy button").click()
        page.locator(".copy button", has_text="Selected").wait_for()
        assert page.evaluate("getSelection().toString()") == expected


class TestGallery:
    def test_a_token_is_removed_and_another_set(self, made, open_report):
        page = open_report(made[0], "#/gallery?q=is%3Amissed%20cause%3Anms")
        page.get_by_role("link", name="remove cause:nms").click()
        wait_for_search(page, "is:missed")
        chip = page.locator(".narrower a", has_text="person").first
        count = int(chip.locator(".count").inner_text())
        chip.click()
        wait_for_search(page, "is:missed class:person")
        assert cases_in(page) == count

    def test_what_cannot_be_read_is_said(self, made, open_report):
        page = open_report(made[0], "#/gallery?q=size%3Asmall%20color%3Ared")
        said = page.get_by_role("alert").inner_text()
        assert "size:small: expected a number" in said
        assert "color:red: expected one of is, cause" in said

    def test_crops_are_drawn_when_they_come_into_view(self, made, open_report):
        page = open_report(made[0], "#/gallery?q=is%3Amissed")
        painted = f"""() => [...document.querySelectorAll(".gallery canvas")].map((canvas) => {{
            const {{ data }} = canvas.getContext("2d").getImageData(60, 120, 1, 1);
            return data[3] ? ({RED})([...data]) : null;
        }})"""
        seen = f"() => {{ const seen = ({painted})(); return seen[0] === null ? null : seen; }}"
        first = page.wait_for_function(seen).json_value()
        assert first[0] is True  # the largest missed object is the red square
        assert first[-1] is None
        page.locator(".gallery .cases li").last.scroll_into_view_if_needed()
        page.wait_for_function(f"() => ({painted})().at(-1) !== null")

    def test_more_are_shown_on_demand(self, made, open_report):
        page = open_report(made[0], "#/gallery")
        shown = page.locator(".gallery .cases li")
        expect(shown).to_have_count(60)
        page.get_by_role("button", name=re.compile("^Show 60 more")).click()
        expect(shown).to_have_count(120)


class TestNames:
    def test_a_hostile_name_is_text_everywhere(self, made, open_report):
        page = open_report(made[0])
        row = page.locator("tr", has_text=HOSTILE).first
        row.locator("th a").click()
        page.locator(".gallery .cases li").first.wait_for()
        every = [each for photo in made[1] for each in photo.objects if each.name == HOSTILE]
        assert cases_in(page) == len(every)
        assert page.locator(".gallery .cases b").first.inner_text() == HOSTILE
        page.locator(".gallery .cases a").first.click()
        wait_for_photo(page)
        assert HOSTILE in page.locator("main.case h1").inner_text()
        assert page.locator("img[src=x]").count() == 0


class TestTraced:
    def test_a_case_leads_to_its_lineage_stage_by_stage(self, traced, open_report):
        page = open_report(traced, "#/gallery?q=is%3Amissed")
        page.locator(".gallery .cases a").first.click()
        wait_for_photo(page)
        facts = page.locator("main.case .side").inner_text()
        assert re.search(r"Object \d+ \(.*\): lost at", facts)
        case = page.evaluate("location.hash")
        page.keyboard.press("4")
        page.locator("main.trace:visible .mrv-stage[aria-busy=false]").wait_for()
        assert "Proposals" in page.locator("main.trace [aria-current=page]").inner_text()
        assert re.search(r"Object \d+ \(.*\): lost at", page.locator("main.trace").inner_text())
        slider = page.locator(".control", has_text="NMS IoU").locator("input")
        slider.focus()
        page.keyboard.press("ArrowLeft")
        wait_until(lambda: "nms=0.69" in page.evaluate("location.hash"), 10, lambda: "no nms")
        page.keyboard.press("2")
        page.locator("main.trace [aria-current=page]", has_text="Anchors").wait_for()
        page.keyboard.press("Escape")
        wait_for_photo(page)
        assert page.evaluate("location.hash") == case


class TestHelp:
    def test_every_key_of_the_search_is_told(self, made, open_report):
        page = open_report(made[0])
        page.keyboard.press("?")
        told = page.locator("dialog").inner_text()
        search = HERE / "js" / "search.js"
        keys = re.search("SEARCH_KEYS = {(.*?)}", search.read_text(), re.DOTALL)[1]
        for key in re.findall(r"(\w+): ", keys):
            assert re.search(rf"\b{key}\b", told), key


class TestEverywhere:
    def test_the_summary_is_read_without_javascript(self, made, open_report):
        page = open_report(made[0], java_script_enabled=False)
        objects = sum(len(row.objects) for row in made[1])
        assert f"{objects:,}" in page.locator(".tiles").inner_text()
        assert page.locator("tbody tr").count() > 20
        assert page.locator("#summary .cases img").count() == 12

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_a_phone_scrolls_in_one_direction(self, made, open_report, screenshots, scheme):
        size = {"width": 390, "height": 844}
        page = open_report(made[0], viewport=size, color_scheme=scheme)
        for name, address in (
            ("summary", "#/"),
            ("gallery", "#/gallery?q=is%3Amissed"),
            ("case", "#/case/3?object=90"),
        ):
            page.evaluate("(address) => { location.hash = address; }", address)
            page.locator(f"main.{name}:visible, main#{name}:visible").first.wait_for()
            next_frame(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
            page.screenshot(path=screenshots / f"report-data-phone-{scheme}-{name}.png")

    def test_it_is_printed(self, made, open_report, screenshots):
        page = open_report(made[0])
        page.emulate_media(media="print")
        assert page.locator("#summary .cases img").first.is_visible()
        (screenshots / "report-data.pdf").write_bytes(page.pdf())
        page.evaluate("location.hash = '#/gallery?q=is%3Amissed'")
        page.locator(".gallery .cases li").first.wait_for()
        assert not page.locator(".gallery .search").is_visible()

    def test_pages_are_worth_a_look(self, made, open_report, screenshots):
        for scheme in ("light", "dark"):
            page = open_report(made[0], color_scheme=scheme)
            page.screenshot(path=screenshots / f"report-data-{scheme}.png", full_page=True)
            page.evaluate("location.hash = '#/gallery?q=is%3Amissed'")
            page.locator(".gallery .cases li").first.wait_for()
            page.locator(".gallery .cases a").first.click()
            wait_for_photo(page)
            page.screenshot(path=screenshots / f"report-data-case-{scheme}.png")
            focused = page.evaluate("document.activeElement.tagName")
            assert focused == "H1"  # which is read aloud


def test_a_photo_that_is_gone_from_the_page_leads_to_the_gallery(made, open_report):
    page = open_report(made[0], "#/case/77777?object=1&q=is%3Afound")
    wait_for_search(page, "is:found")


def test_a_single_case_has_no_neighbors(tmp_path, open_report):
    row = photo_row(0, objects=())
    path = report(funnel_of([row]), tmp_path / "report.html", dataset=Photos(1))
    page = open_report(path, "#/case/0?detection=0")
    wait_for_photo(page)
    assert page.locator(".way a[aria-disabled]").count() == 2
