"""The explorers of stages 5 to 7 and the debugger in a real JupyterLab: step, slide, pick."""

import io
import time

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser

STAGES = (
    "mini_masks",
    "anchors",
    "rpn_targets",
    "proposals",
    "classification",
    "detection",
    "masks",
)
WIDE = {"viewport": {"width": 1280, "height": 1150}}
NARROW = {"viewport": {"width": 900, "height": 1150}}


def start(open_notebook, code: str, count: int = 1, **options):
    """Opens a notebook that makes an explorer `e`, and waits however long the network takes."""
    notebook = open_notebook(code, "e", run=False, **options)
    notebook.menu("Run", "Run All Cells")
    notebook.page.locator(".mrv-stage").first.wait_for(timeout=300_000)
    notebook.wait_idle()
    return notebook, notebook.wait_for_canvas(count)


def until(notebook, expression: str, expected: object = True, seconds: float = 60) -> None:
    """Waits until an expression in the kernel has a value; a busy machine may take its time."""
    end = time.monotonic() + seconds
    while (found := notebook.python(expression)) != expected:
        assert time.monotonic() < end, f"{expression} is {found!r}, expected {expected!r}"
        time.sleep(0.1)


def drag(page, label: str, share: float) -> None:
    """Drags the handle of a slider to a share of its length, in steps as a hand does."""
    slider = page.locator(".widget-hslider:visible", has_text=label).first
    handle, track = slider.locator(".noUi-handle"), slider.locator(".noUi-base")
    box, line = handle.bounding_box(), track.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(line["x"] + share * line["width"], line["y"] + line["height"] / 2, steps=8)
    page.mouse.up()


def place(notebook, expression: str) -> dict[str, float]:
    """Where the center of a box lies on the first stage on the page, in CSS pixels."""
    x1, y1, x2, y2 = notebook.python(f"[float(v) for v in {expression}]")
    width, height = notebook.python("e.canvas.photo.shape[1::-1]")
    stage = notebook.page.locator(".mrv-stage:visible").first
    stage.wait_for()  # an explorer that was opened just now may not be on the page yet
    box = stage.bounding_box()
    return {
        "x": (x1 + x2) / 2 / width * box["width"],
        "y": (y1 + y2) / 2 / height * box["height"],
    }


def upload(page, file) -> None:
    """Chooses a file with the upload button."""
    with page.expect_file_chooser() as chosen:
        page.locator(".widget-upload").click()
    chosen.value.set_files(file)


def height_of(page) -> float:
    """How high the output is: what jumps, changes it."""
    return page.locator(".jp-OutputArea-output").first.bounding_box()["height"]


def test_classification(open_notebook):
    notebook, stage = start(
        open_notebook,
        "from widgets.classification import ClassificationExplorer\n"
        "e = ClassificationExplorer('voc_people')",
        **WIDE,
    )
    page = notebook.page
    notebook.screenshot("classification")
    height = height_of(page)
    smallest = (
        "(lambda b: b[((b[:, 2:] - b[:, :2]).prod(1)"
        " + 1e9 * ~e.canvas.shown('proposals')).argmin()])(e.canvas['proposals'].boxes)"
    )
    at = place(notebook, smallest)
    stage.hover(position=at)
    page.locator(".mrv-card").wait_for()
    notebook.screenshot("classification-hover")
    before = notebook.python("e.proposal")
    stage.click(position=at)
    until(notebook, f"e.proposal != {before}", True)
    name = notebook.python("e.bars.rows[0][0]")
    page.locator(".widget-html", has_text=name).first.wait_for()
    notebook.screenshot("classification-picked")
    page.get_by_label("refine as").select_option(label="dog")
    until(notebook, "e.label == e.trace.class_names.index('dog')", True)
    assert height_of(page) == height
    page.locator(".mrv-chip", has_text="background").click()
    until(notebook, "'proposals/background' in e.canvas.hidden", False)
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("classification-dark")


def test_detection(open_notebook):
    notebook, stage = start(
        open_notebook,
        "from widgets.detection import DetectionExplorer\ne = DetectionExplorer('voc_people')",
        **NARROW,
    )
    page = notebook.page
    notebook.screenshot("detection")
    height = height_of(page)
    for step in ("background out", "low scores out", "NMS per class"):
        page.get_by_role("button", name=step, exact=True).click()
        until(notebook, "__import__('widgets.detection').detection.STEPS[e.step]", step)
        page.wait_for_timeout(400)
        notebook.screenshot(f"detection-{step.replace(' ', '-')}")
    until(notebook, "e.step", "suppressed")
    drag(page, "score >", 0.3)
    until(notebook, "0.2 < e.score_threshold < 0.4", True)
    until(notebook, "(e.detections.scores > e.score_threshold).all().item()", True)
    drag(page, "score >", 0.02)
    page.get_by_label("best class only (the notes' way)").check()
    until(notebook, "e.best_class_only", True)
    page.get_by_label("best class only (the notes' way)").uncheck()
    until(notebook, "e.best_class_only", False)
    row = notebook.python(
        "next(i for i, c in enumerate(e.drawn.tolist()) if e.detections.suppressor(c) is not None)"
    )
    notebook.python(f"e.set_trait('candidate', int(e.drawn[{row}]))")
    page.get_by_text("suppressed by").wait_for()
    page.wait_for_timeout(300)
    notebook.screenshot("detection-suppressed")
    at = place(notebook, "e.canvas['candidates'].boxes[0]")
    stage.hover(position=at)
    until(notebook, "e.canvas.hovered is not None", True)
    stage.click(position=at)
    until(
        notebook,
        "e.canvas.selected and int(e.drawn[e.canvas.selected[1]]) == e.candidate",
        True,
    )
    assert height_of(page) == height
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("detection-dark")


def test_masks(open_notebook):
    notebook, stage = start(
        open_notebook,
        "from widgets.masks import MaskExplorer\ne = MaskExplorer('voc_people')",
        count=3,
        **WIDE,
    )
    page = notebook.page
    notebook.screenshot("masks")
    height = height_of(page)
    drag(page, "threshold", 0.8)
    until(notebook, "0.7 < e.threshold < 0.9", True)
    page.get_by_role("button", name="exact", exact=True).click()
    until(notebook, "e.exact", True)
    page.wait_for_timeout(300)
    notebook.screenshot("masks-high-threshold")
    at = place(notebook, "e.canvas['detections'].boxes[3]")
    stage.hover(position=at)
    page.locator(".mrv-card").first.wait_for()
    stage.click(position=at)
    until(notebook, "e.canvas.selected[0]", "detections")
    page.get_by_label("mask of class").select_option(label="dog")
    until(notebook, "e.label == e.trace.class_names.index('dog')", True)
    assert height_of(page) == height
    page.wait_for_timeout(300)
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("masks-dark")


def test_debugger(open_notebook, tmp_path):
    notebook, _ = start(
        open_notebook,
        "from widgets.debugger import PipelineDebugger\ne = PipelineDebugger('voc_people')",
        **WIDE,
    )
    page = notebook.page
    page.get_by_label("follow").select_option(
        label=notebook.python("e._followed_box.options[10][0]")
    )
    until(notebook, "e.followed", ("object", 9))
    for number, stage in enumerate(
        notebook.python("list(e.stage and __import__('widgets.debugger').debugger.STAGES)")
    ):
        until(notebook, "e.stage", stage)
        page.locator(".mrv-chip:visible", has_text="followed").first.wait_for()
        page.wait_for_timeout(300)
        notebook.screenshot(f"debugger-{number + 1}-{stage}")
        if number < 6:
            page.get_by_title("Next stage").click()
    page.get_by_role("button", name="4 Proposals").click()
    until(notebook, "e.stage", "proposals")
    drag(page, "NMS threshold", 0.3)
    until(notebook, "e.explorer.nms_threshold < 0.5", True)
    page.get_by_role("button", name="6 Detection").click()
    until(notebook, "e.stage", "detection")
    until(notebook, "e.explorer.trace.proposals is e.explorers['proposals'].proposals", True)
    at = place(notebook, "e.canvas['candidates'].boxes[0]")
    page.locator(".mrv-stage:visible").first.click(position=at)
    until(notebook, "e.followed is not None", True)
    page.get_by_title("Previous stage").click()
    until(notebook, "e.stage", "classification")

    model = page.get_by_label("model")
    model.fill("/no/such/model.pth")
    model.press("Enter")
    page.get_by_text("/no/such/model.pth: no such checkpoint").wait_for()
    notebook.screenshot("debugger-message")

    (tmp_path / "holiday.jpg").write_bytes(b"not a photo")
    upload(page, tmp_path / "holiday.jpg")
    page.get_by_text("holiday.jpg: found no readable image").wait_for()
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).resize((640, 480)).save(file, "JPEG")
    (tmp_path / "mine.jpg").write_bytes(file.getvalue())
    upload(page, tmp_path / "mine.jpg")
    until(notebook, "e.photo", "mine.jpg")
    until(notebook, "e.trace.image.shape[1:] == (480, 640) and e.busy == ''", True)
    page.wait_for_timeout(700)
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("debugger-uploaded-dark")
