"""The debugger on small pages of JupyterLab: what belongs together is seen together."""

import json

import nbformat
import pytest

from tests.browser.conftest import TOKEN, box_of, next_frame
from tests.browser.test_explorers_b import STAGES, start
from tests.lessons.execute import lesson_paths

pytestmark = pytest.mark.browser

DEBUGGER = """from mrcnn_widgets.debugger import PipelineDebugger
e = PipelineDebugger('voc_people', followed=('object', 17))"""
# 150 % zoom of a page of 1400 × 900 pixels leaves 933 × 600.
SMALL = ((1000, 700), (933, 600))

# The cells of tables whose number stands on more than one line, or reaches beyond its table.
TORN = """(tables) => tables.flatMap((table) => [...table.querySelectorAll('td')].filter((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
    const beyond = cell.getBoundingClientRect().right > table.getBoundingClientRect().right + 1;
    return beyond || (/^[\\d.,+-]+$/.test(cell.textContent) && lines.size > 1);
}).map((cell) => cell.textContent))"""


# Texts that are hard to read: with a contrast below AA (4.5, large letters 3). Of what is painted
# behind a text the page knows the colors; labels on the photo are told apart by `ink_on`.
FAINT = """(output) => {
    const rgba = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    const over = ([r, g, b, a = 1], [R, G, B]) =>
        [[r, R], [g, G], [b, B]].map(([top, below]) => a * top + (1 - a) * below);
    const light = (color) => color.map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const found = new Set();
    const walk = document.createTreeWalker(output, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const element = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
        if (!text || !element.checkVisibility({ opacityProperty: true })) continue;
        if (element.closest(":disabled, option, style")) continue;
        const around = [];
        for (let each = element; each; each = each.parentElement) around.push(each);
        const grounds = around.reverse().map((each) => getComputedStyle(each).backgroundColor);
        const below = grounds.reduce((color, each) => over(rgba(each), color), [255, 255, 255]);
        const opacity = around.reduce((all, each) => all * getComputedStyle(each).opacity, 1);
        const style = getComputedStyle(element);
        const [r, g, b, a = 1] = rgba(style.color);
        const ink = over([r, g, b, a * opacity], below);
        const [dark, bright] = [light(ink), light(below)].sort((x, y) => x - y);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
        const contrast = (bright + 0.05) / (dark + 0.05);
        if (contrast < (large ? 3 : 4.5)) found.add(`${text}: ${contrast.toFixed(2)}`);
    }
    return [...found];
}"""


def show(notebook, stage):
    """Turns to a stage and brings the debugger to the top of the page."""
    page = notebook.page
    notebook.python(f"e.set_trait('stage', '{stage}')")
    page.locator(".mrv-chip:visible", has_text="followed").first.wait_for()
    page.locator(".jp-OutputArea-output").first.evaluate("(node) => node.scrollIntoView(true)")
    next_frame(page)


def visible_part(page):
    """Top and bottom of what is seen of the notebook."""
    box = box_of(page.locator(".jp-NotebookPanel-notebook").first)
    return box["y"], box["y"] + box["height"]


def bottom_of(locator):
    box = box_of(locator)
    return box["y"] + box["height"]


def test_all_stages_are_as_high_and_fit_the_page(open_notebook):
    notebook, _ = start(open_notebook, DEBUGGER, viewport={"width": 1400, "height": 900})
    page = notebook.page
    output = page.locator(".jp-OutputArea-output").first
    heights = set()
    for stage in STAGES:
        show(notebook, stage)
        top, bottom = visible_part(page)
        heights.add(box_of(output)["height"])
        assert bottom_of(page.locator(".mrv-legend:visible").first) <= bottom, stage
        assert box_of(page.locator("button[title='Previous stage']"))["y"] >= top, stage
        notebook.screenshot(f"layout-1400-{stage}")
        assert output.evaluate(FAINT) == [], stage
    assert len(heights) == 1

    for width, height in SMALL:
        page.set_viewport_size({"width": width, "height": height})
        for stage in STAGES:
            show(notebook, stage)
            notebook.screenshot(f"layout-{width}-{stage}")
            scroller = page.locator(".widget-vbox[style*='100vh']")
            controls = page.locator(".widget-hbox:has(> button[title*='own settings']):visible")
            start_y, room = box_of(controls)["y"], box_of(scroller)["height"]
            top, bottom = visible_part(page)
            assert room <= bottom - top, "all that scrolls in the debugger is seen at once"
            photo, table = (
                box_of(page.locator(".mrv-stage:visible").first),
                box_of(page.locator("table:visible").first),
            )
            assert photo["x"] + photo["width"] <= table["x"], f"{stage}: the table is below"
            assert photo["y"] + photo["height"] - start_y <= room, stage
            assert table["y"] + 60 - start_y <= room, stage
            back, on = (
                box_of(page.locator(f"button[title='{text} stage']"))
                for text in ("Previous", "Next")
            )
            assert back["y"] == on["y"]
            torn = page.locator("table:visible").evaluate_all(TORN)
            assert torn == [], stage

    page.set_viewport_size({"width": 1400, "height": 900})
    notebook.theme("JupyterLab Dark")
    for stage in STAGES:
        show(notebook, stage)
        notebook.screenshot(f"layout-dark-{stage}")
        assert output.evaluate(FAINT) == [], stage


# What reaches beyond its cell: formulas, tables, and pictures such as the network's plan.
BEYOND = """(cells) => cells.flatMap((cell) => {
    const edge = cell.getBoundingClientRect().right + 1;
    return [...cell.querySelectorAll('mjx-math, table, img, details, pre')]
        .filter((part) => part.getBoundingClientRect().right > edge)
        .map((part) => part.alt || cell.textContent.slice(0, 400));
})"""


def test_formulas_tables_and_the_plan_of_the_lessons_fit(lab, open_page, screenshots):
    """All that is written in the lessons, in one notebook, all cells in the page."""
    lessons = [nbformat.read(path, as_version=4) for path in lesson_paths()]
    written = [c.source for book in lessons for c in book.cells if c.cell_type == "markdown"]
    [plan] = [c for c in lessons[0].cells if c.source == "draw.figure_network(t)"]
    cells = [nbformat.v4.new_markdown_cell(source) for source in written]
    nbformat.write(nbformat.v4.new_notebook(cells=[*cells, plan]), lab.root / "written.ipynb")
    tracker = lab.settings / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    before = tracker.read_text()
    tracker.write_text(json.dumps({"windowingMode": "none", "autoStartDefaultKernel": False}))
    try:
        page = open_page(viewport={"width": 1400, "height": 900})
        page.goto(f"{lab.url}/lab/workspaces/written/tree/written.ipynb?reset&token={TOKEN}")
        page.locator("img[alt^='Mask R-CNN']").wait_for(state="attached", timeout=90_000)
        page.locator("mjx-container").first.wait_for()
        page.locator(".jp-Dialog button", has_text="No Kernel").click()
        shown = page.locator(".jp-RenderedHTMLCommon")
        assert shown.count() > len(written)
        assert shown.locator("mjx-container").count() > 30
        for width, height in ((1400, 900), *SMALL):
            page.set_viewport_size({"width": width, "height": height})
            next_frame(page)
            assert shown.evaluate_all(BEYOND) == [], width
        page.locator("img[alt^='Mask R-CNN']").scroll_into_view_if_needed()
        page.screenshot(path=screenshots / "plan-933.png")
    finally:
        tracker.write_text(before)
