"""The explorers of the first stages in a real JupyterLab: sliders, hovering, picking, playing."""

import pytest

pytestmark = pytest.mark.browser

WIDE = {"viewport": {"width": 1280, "height": 1150}}
MINI = (
    "from mrcnn_widgets.mini_masks import MiniMaskExplorer\n"
    "e = MiniMaskExplorer('voc_people', object=9)"
)
ANCHORS = "from mrcnn_widgets.anchors import AnchorExplorer\ne = AnchorExplorer('voc_people')"
TARGETS = (
    "from mrcnn_widgets.rpn_targets import RPNTargetExplorer\ne = RPNTargetExplorer('voc_people')"
)
PROPOSALS = (
    "from mrcnn_widgets.proposals import ProposalExplorer\ne = ProposalExplorer('voc_people')"
)


def test_mini_masks(open_notebook):
    notebook = open_notebook(MINI, "e", **WIDE)
    notebook.wait_for_canvas(2)
    notebook.screenshot("mini-masks")
    notebook.drag("mini-mask size", -0.1)  # beyond the end: it stops there
    notebook.wait_python("e.size", 14)
    notebook.wait_python("e.mini.mini_masks.shape[1:] == (14, 14)")
    notebook.page.get_by_label("object").select_option(label="16 · person")
    notebook.wait_python("e.object", 16)
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("mini-masks-dark")


def test_anchors(open_notebook):
    notebook = open_notebook(ANCHORS, "e", **WIDE)
    stage = notebook.wait_for_canvas()
    notebook.screenshot("anchors")
    stage.click(position={"x": 100, "y": 200})
    notebook.wait_python("round(e.point[0] / e.point[1], 1)", 0.5)
    notebook.wait_python("e.index == e.anchors.index(e.cells[0])")
    before = notebook.python("e.index")
    notebook.page.locator(".widget-play button").first.click()
    notebook.wait_python(f"e.index > {before} + 3")
    notebook.screenshot("anchors-playing")
    notebook.page.locator(".widget-play button").first.click()
    notebook.page.get_by_label("anchor stride").select_option(label="1")
    notebook.wait_python("len(e.anchors)", 261_888)
    field = notebook.page.get_by_label("ratios")
    field.fill("1, nonsense")
    field.press("Enter")
    notebook.page.get_by_text("ratios: expected numbers such as 0.5, 1, 2").wait_for()
    field.fill("1")
    field.press("Enter")
    notebook.wait_python("len(e.anchors)", 87_296)
    notebook.screenshot("anchors-one-ratio")
    notebook.page.get_by_role("button", name="Reset").click()
    notebook.wait_python("len(e.anchors)", 65_472)
    assert field.input_value() == "0.5, 1, 2"


def test_rpn_targets(open_notebook):
    notebook = open_notebook(TARGETS, "e", **WIDE)
    stage = notebook.wait_for_canvas()
    tracks = notebook.page.locator(".widget-slider .noUi-target").all()
    assert len(tracks) == 5
    assert min(track.bounding_box()["width"] for track in tracks) >= 80
    notebook.screenshot("rpn-targets")
    stage.hover(position={"x": 200, "y": 300})
    notebook.page.locator(".mrv-card").wait_for()
    notebook.screenshot("rpn-targets-hover")
    notebook.drag("positive IoU", 0.5)
    notebook.wait_python("0.4 < e.positive_iou < 0.6")
    positive = notebook.python("e.counts['after sampling']['positive']")
    notebook.page.locator(".mrv-chip", has_text=f"positive{positive}").wait_for()
    notebook.page.get_by_role("button", name="refinement").click()
    notebook.wait_python("e.view", "refinement")
    notebook.screenshot("rpn-targets-refinement")


def test_proposals(open_notebook):
    notebook = open_notebook(PROPOSALS, "e", **WIDE)
    notebook.wait_for_canvas()
    notebook.settle()
    assert notebook.python("e.changed") == [], "the page sends no rounded settings back"
    for step in ("score", "refined", "clipped", "NMS", "final"):
        notebook.page.get_by_role("button", name=step, exact=True).click()
        notebook.wait_python("e.step", step)
        notebook.screenshot(f"proposals-{step}")
    notebook.page.get_by_label("boxes around").select_option(label="9 · person")
    notebook.wait_python("e.object", 9)
    notebook.page.get_by_role("button", name="refined", exact=True).click()
    notebook.wait_python("len(e.canvas['moves']) == len(e.drawn) > 0")
    notebook.screenshot("proposals-around-a-person")
    notebook.page.get_by_role("button", name="Show all").click()
    notebook.wait_python("(e.object, e.limit, len(e.drawn)) == (-1, 2000, 2000)")
    notebook.screenshot("proposals-all")
    notebook.drag("NMS threshold", 0.3)
    notebook.wait_python("0.2 < e.nms_threshold < 0.4")
    notebook.wait_python("e.proposals.nms_threshold == e.nms_threshold")
    notebook.page.get_by_text("NMS threshold •").wait_for()
    notebook.screenshot("proposals-changed")
    notebook.page.get_by_role("button", name="Reset").click()
    notebook.wait_python("e.nms_threshold", 0.7)
