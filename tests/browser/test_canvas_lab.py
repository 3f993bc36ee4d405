"""The viewer in a real JupyterLab: what a person does there, and what Python hears of it."""

import pytest

pytestmark = pytest.mark.browser

SETUP = """
import numpy as np
from mrcnn_widgets.viewer.canvas import NEGATIVE, NEUTRAL, POSITIVE, BoxLayer, Canvas
photo = np.full((240, 320, 3), 90, np.uint8)
photo[60:180, 80:240] = (200, 120, 40)
def nested(shift=0):
    boxes = np.array([[10, 10, 310, 230], [80, 60, 240, 180], [140, 100, 180, 140]]) + shift
    return BoxLayer("boxes", boxes, groups=[NEUTRAL, NEGATIVE, POSITIVE], group_index=[0, 1, 2],
                    fields={"score": [0.1, 0.5, 0.9]}, threshold="score")
canvas = Canvas(photo, [nested()], title="Nested", max_height=360)
"""
CENTER = {"x": 230, "y": 172}  # of the stage: on the smallest box, beside the photo's middle


def test_what_the_pointer_does_arrives_in_python(open_notebook):
    notebook = open_notebook(SETUP, "canvas")
    stage = notebook.wait_for_canvas()
    stage.hover(position=CENTER)
    notebook.page.locator(".mrv-card").wait_for()
    notebook.wait_python("canvas.hovered", ("boxes", 2))
    stage.click(position=CENTER)
    notebook.wait_python("canvas.selected", ("boxes", 2))
    x, y = notebook.python("canvas.clicked")
    assert abs(x - CENTER["x"] / 1.5) < 1
    assert abs(y - CENTER["y"] / 1.5) < 1
    notebook.screenshot("lab-picked")
    notebook.page.get_by_role("button", name="neutral 1").click()
    notebook.wait_python("canvas.hidden", ["boxes/neutral"])
    notebook.page.get_by_label("boxes: least score").fill("0.6")
    notebook.wait_python("canvas.shown('boxes').tolist()", [False, False, True])


def test_what_python_does_is_shown_and_the_view_stays(open_notebook):
    notebook = open_notebook(
        SETUP,
        "canvas",
        "canvas.put(nested(shift=20))\ncanvas.selected = ('boxes', 1)",
        "canvas.update(layers=[], title='Nothing left')",
        run=False,
    )
    page = notebook.page
    run_cell(notebook, 0)
    run_cell(notebook, 1)
    stage = notebook.wait_for_canvas()
    stage.hover(position=CENTER)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_function("document.querySelector('.mrv-fit').textContent !== '1×'")
    zoom = page.locator(".mrv-fit").inner_text()
    run_cell(notebook, 2)
    page.locator(".mrv-status", has_text="box 100, 80, 260, 200").wait_for()
    assert page.locator(".mrv-fit").inner_text() == zoom
    run_cell(notebook, 3)
    page.locator(".mrv-title", has_text="Nothing left").wait_for()
    notebook.wait_python("canvas.selected", None)
    assert page.locator(".mrv-chip").count() == 0
    assert page.locator(".mrv-fit").inner_text() == zoom


def test_views_of_one_canvas_agree(open_notebook):
    notebook = open_notebook(SETUP, "canvas", "canvas", viewport={"width": 1280, "height": 1400})
    notebook.wait_for_canvas(2)
    notebook.page.get_by_role("button", name="positive 1").first.click()
    pressed = notebook.page.locator(".mrv-chip[aria-pressed=false]")
    notebook.page.wait_for_function(
        "document.querySelectorAll('.mrv-chip[aria-pressed=false]').length === 2"
    )
    assert pressed.all_inner_texts()[0] == pressed.all_inner_texts()[1]
    notebook.page.locator(".mrv-stage").last.click(position=CENTER)
    notebook.wait_python("canvas.selected", ("boxes", 1))
    notebook.page.wait_for_function(
        "[...document.querySelectorAll('.mrv-status')].every((n) => /boxes #1/.test(n.textContent))"
    )


def test_keys_mean_nothing_to_the_notebook(open_notebook):
    notebook = open_notebook(SETUP, "canvas")
    stage = notebook.wait_for_canvas()
    stage.click(position={"x": 10, "y": 300})
    notebook.page.mouse.move(2, 2)
    # In JupyterLab's command mode: insert cells, delete, cut, to Markdown, move on and run.
    for key in ("a", "b", "d", "d", "x", "m", "ArrowDown", "Shift+Enter", "0", "0"):
        notebook.page.keyboard.press(key)
    assert notebook.page.locator(".jp-Notebook .jp-CodeCell").count() == 2
    assert notebook.page.locator(".jp-Dialog").count() == 0
    assert notebook.page.evaluate("document.activeElement === document.querySelector('.mrv-stage')")
    for _ in range(2):
        notebook.page.keyboard.press("Tab")
    notebook.page.keyboard.press("Enter")
    notebook.wait_python("canvas.selected", ("boxes", 1))
    notebook.page.keyboard.press("Escape")
    notebook.wait_python("canvas.selected", None)
    notebook.screenshot("lab-keyboard")


def test_dark_theme(open_notebook):
    notebook = open_notebook(SETUP, "canvas")
    stage = notebook.wait_for_canvas()
    title = notebook.page.locator(".mrv-title")
    light = title.evaluate("(node) => getComputedStyle(node).color")
    notebook.theme("JupyterLab Dark")
    dark = title.evaluate("(node) => getComputedStyle(node).color")
    stage.hover(position=CENTER)
    notebook.page.locator(".mrv-card").wait_for()
    notebook.screenshot("lab-dark")
    notebook.theme("JupyterLab Light")
    assert sum(rgb(light)) < 200 < 550 < sum(rgb(dark))


def test_running_again_frees_the_viewers_before(open_notebook):
    """Thirty viewers come and go; what each held, photo and pixels above all, goes with it."""
    many = """from ipywidgets import VBox
canvases = [Canvas(photo, [nested()], max_height=60) for _ in range(10)]
VBox(canvases)"""
    notebook = open_notebook(SETUP, many, "[c.close() for c in canvases]", run=False)
    page = notebook.page
    session = page.context.new_cdp_session(page)

    def alive(kind):
        """How many objects of a class are left on the heap."""
        session.send("HeapProfiler.collectGarbage")
        prototype = session.send("Runtime.evaluate", {"expression": f"{kind}.prototype"})
        which = {"prototypeObjectId": prototype["result"]["objectId"]}
        found = session.send("Runtime.queryObjects", which)["objects"]["objectId"]
        count = {"objectId": found, "functionDeclaration": "function () { return this.length; }"}
        number = session.send("Runtime.callFunctionOn", count)["result"]["value"]
        session.send("Runtime.releaseObject", {"objectId": found})
        return number

    kinds = ("HTMLCanvasElement", "OffscreenCanvas", "ImageBitmap", "ImageData", "ResizeObserver")
    run_cell(notebook, 0)
    start = {kind: alive(kind) for kind in kinds}
    for _ in range(3):
        run_cell(notebook, 1)
        notebook.wait_for_canvas(10)
        shown = {kind: alive(kind) for kind in kinds}
        # Ten viewers and not one more, although the kernel still has those before.
        assert shown["HTMLCanvasElement"] - start["HTMLCanvasElement"] == 20
        assert shown["ImageBitmap"] - start["ImageBitmap"] == 10
    run_cell(notebook, 2)
    page.wait_for_function("document.querySelectorAll('.mrv').length === 0")
    assert {kind: alive(kind) for kind in kinds} == start


def run_cell(notebook, index):
    """Runs one cell and waits for its end."""
    cell = notebook.page.locator(".jp-Notebook .jp-CodeCell").nth(index)
    prompt = cell.locator(".jp-InputArea-prompt")
    before = prompt.inner_text()
    cell.locator(".jp-InputArea-editor").click()
    notebook.page.keyboard.press("Control+Enter")
    notebook.page.wait_for_function(
        """([index, before]) => {
            const cell = document.querySelectorAll('.jp-Notebook .jp-CodeCell')[index];
            const text = cell.querySelector('.jp-InputArea-prompt').textContent;
            return text !== before && /\\[\\d+\\]/.test(text);
        }""",
        arg=[index, before],
    )


def rgb(css):
    return [int(part) for part in css[4:-1].split(",")]
