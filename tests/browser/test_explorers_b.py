"""The explorers of stages 5 to 7 and the debugger in a real JupyterLab: step, slide, pick."""

import io

import numpy as np
import pytest
from PIL import Image

from mrcnn_widgets.views.detection import STEPS
from tests.browser.conftest import box_of, next_frame, wait_until

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


def place(notebook, expression: str) -> dict[str, float]:
    """Where the center of a box lies on the first stage on the page, in CSS pixels."""
    x1, y1, x2, y2 = notebook.python(f"[float(v) for v in {expression}]")
    width, height = notebook.python("e.canvas.photo.shape[1::-1]")
    box = box_of(notebook.page.locator(".mrv-stage:visible").first)
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
    return box_of(page.locator(".jp-OutputArea-output").first)["height"]


def test_classification(open_notebook):
    notebook, stage = start(
        open_notebook,
        "from mrcnn_widgets.classification import ClassificationExplorer\n"
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
    notebook.wait_python(f"e.proposal != {before}")
    notebook.settle()
    name = notebook.python("e.bars.rows[0].name")
    page.locator(".widget-html", has_text=name).first.wait_for()
    notebook.screenshot("classification-picked")
    page.get_by_label("refine as").select_option(label="dog")
    notebook.wait_python("e.label == e.trace.class_names.index('dog')")
    assert height_of(page) == height
    page.locator(".mrv-chip", has_text="background").click()
    notebook.wait_python("'proposals/background' in e.canvas.hidden", False)
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("classification-dark")


def test_detection(open_notebook):
    notebook, stage = start(
        open_notebook,
        "from mrcnn_widgets.detection import DetectionExplorer\n"
        "e = DetectionExplorer('voc_people')",
        **NARROW,
    )
    page = notebook.page
    notebook.screenshot("detection")
    for key in ("foreground", "score", "nms"):
        page.get_by_role("button", name=STEPS[key], exact=True).click()
        notebook.wait_python("e.step", key)
        notebook.screenshot(f"detection-{key}")
    likely = notebook.python("len(e.drawn)")
    page.get_by_label("draw scores ≥ 0.5 only").uncheck()
    notebook.wait_python(f"len(e.drawn) > {likely}")
    notebook.settle()
    height = height_of(page)  # with all classes the legend is as high as it gets
    notebook.drag("score >", 0.3)
    notebook.wait_python("0.2 < e.score_threshold < 0.4")
    notebook.wait_python("(e.detections.scores > e.score_threshold).all().item()")
    page.get_by_label("best class only").check()
    notebook.wait_python("e.best_class_only")
    page.get_by_role("button", name="Reset").click()
    notebook.wait_python("e.best_class_only", False)
    notebook.settle()
    row = notebook.python(
        "next(i for i, c in enumerate(e.drawn.tolist()) if e.detections.suppressor(c) is not None)"
    )
    notebook.python(f"e.set_trait('candidate', int(e.drawn[{row}]))")
    page.get_by_text("suppressed by").wait_for()
    notebook.screenshot("detection-suppressed")
    at = place(notebook, "e.canvas['candidates'].boxes[0]")
    stage.hover(position=at)
    notebook.wait_python("e.canvas.hovered is not None")
    stage.click(position=at)
    notebook.wait_python(
        "e.canvas.selected and int(e.drawn[e.canvas.selected[1]]) == e.candidate",
    )
    assert height_of(page) == height
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("detection-dark")


def test_masks(open_notebook):
    notebook, stage = start(
        open_notebook,
        "from mrcnn_widgets.masks import MaskExplorer\ne = MaskExplorer('voc_people')",
        count=3,
        **WIDE,
    )
    page = notebook.page
    notebook.screenshot("masks")
    height = height_of(page)
    notebook.drag("threshold", 0.8)
    notebook.wait_python("0.7 < e.threshold < 0.9")
    page.get_by_label("paste", exact=True).select_option(label="exact")
    notebook.wait_python("e.exact")
    notebook.screenshot("masks-high-threshold")
    at = place(notebook, "e.canvas['detections'].boxes[3]")
    stage.hover(position=at)
    page.locator(".mrv-card").first.wait_for()
    stage.click(position=at)
    notebook.settle()
    notebook.wait_python("e.canvas.selected[0]", "detections")
    page.get_by_label("mask of class").select_option(label="dog")
    notebook.wait_python("e.label == e.trace.class_names.index('dog')")
    assert height_of(page) == height
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("masks-dark")


def test_debugger(open_notebook, tmp_path):
    notebook, _ = start(
        open_notebook,
        "from mrcnn_widgets.debugger import PipelineDebugger\ne = PipelineDebugger('voc_people')",
        **WIDE,
    )
    page = notebook.page
    page.get_by_label("follow").select_option(
        label=notebook.python("e._chooser.boxes['followed'].options[10][0]")
    )
    notebook.wait_python("e.followed", ("object", 9))
    for number, stage in enumerate(
        notebook.python("list(__import__('mrcnn_widgets.debugger').debugger.KEYS)")
    ):
        notebook.wait_python("e.stage", stage)
        page.locator(".mrv-chip:visible", has_text="followed").first.wait_for()
        notebook.screenshot(f"debugger-{number + 1}-{stage}")
        if number < 6:
            page.get_by_title("Next stage").click()
    page.get_by_role("button", name="4 Proposals").click()
    notebook.wait_python("e.stage", "proposals")
    notebook.drag("NMS threshold", 0.3)
    notebook.wait_python("e.explorer.nms_threshold < 0.5")
    page.get_by_role("button", name="6 Detection").click()
    notebook.wait_python("e.stage", "detection")
    notebook.wait_python("e.explorer.trace.proposals is e.explorers['proposals'].proposals")
    at = place(notebook, "e.canvas['candidates'].boxes[0]")
    page.locator(".mrv-stage:visible").first.click(position=at)
    notebook.wait_python("e.followed is not None")
    page.get_by_title("Previous stage").click()
    notebook.wait_python("e.stage", "classification")

    model = page.get_by_label("model")
    model.fill("/no/such/model.pth")
    model.press("Enter")
    page.get_by_text("/no/such/model.pth: no such checkpoint").first.wait_for()
    wait_until(lambda: model.input_value() == "tiny", 30, model.input_value)
    notebook.screenshot("debugger-message")

    (tmp_path / "holiday.jpg").write_bytes(b"not a photo")
    upload(page, tmp_path / "holiday.jpg")
    page.get_by_text("holiday.jpg: found no readable image").wait_for()
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).resize((640, 480)).save(file, "JPEG")
    (tmp_path / "mine.jpg").write_bytes(file.getvalue())
    upload(page, tmp_path / "mine.jpg")
    notebook.wait_python("e.photo", "mine.jpg")
    # JupyterLab has widgets heard in a thread of their own: ask for a trace that is there.
    notebook.wait_python("e.busy == '' and e.trace.image.shape[1:] == (480, 640)")
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("debugger-uploaded-dark")


SMALL = """
import torch
from mrcnn_steps.data import Sample
from mrcnn_steps.model.network import tiny
from mrcnn_steps.tracing import trace
from mrcnn_widgets.debugger import PipelineDebugger
torch.manual_seed(3)
names = ("background", "<img src=x onerror=alert(1)>", "cat")
model = tiny(names, 128, box_score_thresh=0.0).eval()
masks = torch.zeros((1, 30, 40), dtype=torch.bool)
masks[0, 5:25, 10:30] = True
photo = Sample.from_masks(torch.randint(0, 255, (3, 30, 40), dtype=torch.uint8), masks,
                          torch.tensor([1]), torch.tensor([False]), names, names[1])
e = PipelineDebugger(trace(model, photo))
"""


def test_a_hostile_name_on_a_tiny_photo_is_text_in_every_stage(open_notebook):
    """Were it HTML anywhere, its dialog would be among the page's errors."""
    notebook, _ = start(open_notebook, SMALL, **WIDE)
    page = notebook.page
    follow = page.get_by_label("follow")
    follow.select_option(label="object 0 · <img src=x onerror=alert(1)>")
    for stage in STAGES:
        notebook.wait_python("e.stage", stage)
        page.locator(".mrv-chip:visible", has_text="followed").first.wait_for()
        page.get_by_role("status").filter(has_text="<img src=x").first.wait_for()
        box = box_of(page.locator(".mrv-stage:visible").first)
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        next_frame(page)
        assert page.locator("img[src='x']").count() == 0
        notebook.screenshot(f"hostile-{stage}")
        if stage != STAGES[-1]:
            page.get_by_title("Next stage").click()


def test_verdicts(open_notebook):
    """Picking in the list follows through all stages, and says where an object ended."""
    notebook, _ = start(
        open_notebook,
        "from mrcnn_widgets.debugger import PipelineDebugger\n"
        "e = PipelineDebugger('voc_people', stage='detection')",
        **WIDE,
    )
    page = notebook.page
    page.locator("button.widget-toggle-button", has_text="Verdicts").click()
    notebook.wait_python("len(e._verdicts.judged) > 0")
    first, second = notebook.python("[v.subject for v in e._verdicts.judged[:2]]")
    chosen = page.locator("select[size]").first
    chosen.select_option(index=0)
    notebook.wait_python("e.followed", tuple(first))
    notebook.screenshot("verdicts")
    chosen.focus()
    page.keyboard.press("ArrowDown")
    notebook.wait_python("e.followed", tuple(second))
    page.keyboard.press("ArrowUp")
    notebook.wait_python("e.followed", tuple(first))
    page.keyboard.press("ArrowDown")
    notebook.wait_python("e.followed", tuple(second))
    page.get_by_text("lost at").first.wait_for()
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("verdicts-dark")
