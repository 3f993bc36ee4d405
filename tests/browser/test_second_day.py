"""A notebook in JupyterLab once its kernel is gone: pictures of the viewers, and what to do."""

import io

import numpy as np
import pytest
from PIL import Image

from mrcnn_widgets.viewer.twin import HOW
from tests.browser.conftest import next_frame
from tests.browser.test_canvas_lab import CENTER, SETUP

pytestmark = pytest.mark.browser

TALL = {"width": 1280, "height": 2300}


def check_lives(notebook):
    """The viewer is shown, its twin is not."""
    stage = notebook.wait_for_canvas()
    assert stage.is_visible()
    assert notebook.page.get_by_text(HOW).count() == 1
    assert not notebook.page.get_by_text(HOW).is_visible()
    assert not notebook.page.locator("img[alt^=Nested]").is_visible()
    return stage


def check_is_a_picture(notebook):
    """The twin is shown, and nothing of the viewer, nor of what became of it."""
    page = notebook.page
    page.get_by_text(HOW).wait_for()
    picture = page.locator("img[alt='Nested: 3 boxes on the photo']")
    assert picture.is_visible()
    assert picture.evaluate("(image) => image.naturalWidth") == 640
    assert page.locator(".mrv-stage:visible, .widget-slider:visible").count() == 0
    assert not page.get_by_text("Error displaying widget").is_visible()
    assert not page.get_by_text("Loading widget").is_visible()


FIGURE = """import torch
from mrcnn_steps import draw
figure, [ax] = draw.page("An orange photo", "in print", aspect=0.5)
color = torch.tensor([200, 120, 40], dtype=torch.uint8)
_ = draw.photo(ax, color.view(3, 1, 1).expand(3, 50, 100).contiguous())
figure"""


def look_of_the_figure(notebook):
    """The color of a figure's paper, of its photo, and the brightest of its title."""
    picture = notebook.page.locator("img[alt^='An orange photo']")
    picture.scroll_into_view_if_needed()
    next_frame(notebook.page)
    image = Image.open(io.BytesIO(picture.screenshot())).convert("RGB")
    seen, width = np.asarray(image), image.width
    title = seen[: round(width * 0.04), : width // 3].reshape(-1, 3)
    far = np.abs(title.astype(int) - seen[1, width // 2]).sum(axis=1).argmax()
    return [tuple(map(int, color)) for color in (seen[1, -9], seen[-60, width // 2], title[far])]


def test_a_notebook_opened_again_shows_a_picture_until_the_cell_is_run(open_notebook):
    notebook = open_notebook(SETUP, "canvas", FIGURE)
    check_lives(notebook)
    paper, photo, ink = look_of_the_figure(notebook)
    assert min(paper) > 240
    assert photo == (200, 120, 40)
    assert max(ink) < 80
    notebook.save()
    notebook.shut_down()
    notebook.open()
    notebook.page.get_by_text("Error displaying widget").wait_for(state="attached")
    # What ipywidgets itself says of a model that is gone.
    notebook.page.errors.clear()
    check_is_a_picture(notebook)
    notebook.screenshot("second-day")
    notebook.theme("JupyterLab Dark")
    paper, photo, ink = look_of_the_figure(notebook)
    assert max(paper) < 40
    assert photo == (200, 120, 40)
    assert min(ink) > 170
    notebook.screenshot("second-day-dark")
    notebook.run_all()
    check_lives(notebook)
    notebook.screenshot("second-day-alive")


PANEL = """from ipywidgets import IntSlider
from mrcnn_widgets.panel import Panel
panel = Panel([IntSlider(), canvas])
panel.canvas = canvas
"""


@pytest.mark.parametrize("shown", ["canvas", "panel"])
def test_a_kernel_that_was_restarted_leaves_the_picture(shown, open_notebook):
    notebook = open_notebook(SETUP + PANEL, shown)
    check_lives(notebook)
    notebook.restart_kernel()
    check_is_a_picture(notebook)
    notebook.screenshot("restarted")
    notebook.run_all()
    check_lives(notebook).click(position=CENTER)
    notebook.wait_python("canvas.selected", ("boxes", 2))


EXPLAINED = """from mrcnn_steps import load_model, sample, trace
from mrcnn_steps.debug import explain_missed
told = explain_missed(trace(load_model("tiny"), sample("voc_people")), 11)"""


def test_an_explanation_shows_the_debugger_and_leaves_words_and_pictures(open_notebook):
    """The only place where the library shows a widget: alive, and on the second day."""
    notebook = open_notebook(EXPLAINED, "told", run=False, viewport=TALL)
    page = notebook.page
    words = page.locator(".jp-OutputArea-output b", has_text="Object 11 (person): lost at NMS")
    picture = page.locator(".jp-OutputArea-output img[alt^='Object 11']")
    verdict = page.get_by_role("status").filter(has_text="object 11 · person: lost at NMS")
    notebook.menu("Run", "Run All Cells")
    verdict.wait_for(timeout=300_000)
    notebook.wait_for_canvas()
    assert words.is_visible()
    assert picture.is_visible()
    assert page.locator(".mrv-chip:visible", has_text="kept instead").count() == 1
    assert not page.get_by_text(HOW).is_visible()
    notebook.screenshot("explained")
    notebook.theme("JupyterLab Dark")
    notebook.screenshot("explained-dark")
    notebook.save()
    notebook.shut_down()
    notebook.open()
    page.get_by_text("Error displaying widget").wait_for(state="attached")
    # What ipywidgets itself says of a model that is gone.
    page.errors.clear()
    page.get_by_text(HOW).wait_for()
    assert words.is_visible()
    assert picture.is_visible()
    assert page.locator(".mrv-stage:visible").count() == 0
    notebook.screenshot("explained-second-day")
