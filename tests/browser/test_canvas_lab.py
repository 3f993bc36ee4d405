"""The viewer in a real JupyterLab: what a person does with mouse and keyboard, and what Python hears."""

import pytest

pytestmark = pytest.mark.browser

SETUP = """
import numpy as np
from widgets.canvas import *
rng = np.random.default_rng(0)
photo = np.full((240, 320, 3), 90, np.uint8)
photo[60:180, 80:240] = (200, 120, 40)
boxes = [[10, 10, 310, 230], [80, 60, 240, 180], [140, 100, 180, 140]]
canvas = Canvas(photo, [BoxLayer("boxes", boxes, groups=[NEUTRAL, NEGATIVE, POSITIVE],
    group_index=[0, 1, 2], fields={"score": [0.1, 0.5, 0.9]}, threshold="score")], title="Nested")
"""


def test_a_canvas_shows_and_reports(open_notebook):
    notebook = open_notebook(SETUP, "canvas")
    stage = notebook.wait_for_canvas()
    notebook.screenshot("lab-first")
    stage.hover(position={"x": 350, "y": 260})
    notebook.page.locator(".mrv-card").wait_for()
    notebook.wait_python("canvas.hovered", ("boxes", 2))
    notebook.screenshot("lab-hover")
