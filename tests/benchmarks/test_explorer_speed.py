"""From a slider to the painted frame, in a real JupyterLab: a recomputation from stage 4 on."""

import statistics
import subprocess
import sys
import time

import pytest
import torch

from mrcnn_steps import load_model, tracing
from mrcnn_steps.threads import processors
from mrcnn_widgets.debugger import PipelineDebugger
from tests.browser.conftest import chromium, lab, open_notebook, open_page, screenshots

__all__ = ["chromium", "lab", "open_notebook", "open_page", "screenshots"]

# Every paint of the viewer draws onto its canvas. A slider may lead to several paints: the last
# one before half a second of rest shows all of the new layers.
WATCH = """() => {
    const draw = CanvasRenderingContext2D.prototype.drawImage;
    window.painted = [];
    CanvasRenderingContext2D.prototype.drawImage = function (...what) {
        if (this.canvas.classList?.contains('mrv-base')) painted.push(performance.now());
        return draw.apply(this, what);
    };
    addEventListener('keydown', () => { window.pressed = performance.now(); painted.length = 0; },
        true);
}"""


def _slider_to_frame(page, label: str, presses: int = 8) -> list[float]:
    """Milliseconds from a key on the slider's handle to the end of the last frame it leads to."""
    slider = page.locator(".widget-slider:visible, .widget-hslider:visible", has_text=label).first
    slider.locator(".noUi-handle").focus()
    spent = []
    for _ in range(presses):
        page.keyboard.press("PageDown")
        page.wait_for_function("painted.length && performance.now() - painted.at(-1) > 500")
        spent.append(page.evaluate("painted.at(-1) - pressed"))
    return spent


@pytest.mark.parametrize(
    ("stage", "label"), [("proposals", "NMS threshold"), ("detection", "NMS IoU >")]
)
@pytest.mark.parametrize(("loops", "limit"), [(0, 150), (processors(), 300)], ids=["quiet", "busy"])
def test_a_slider_paints_in_time(open_notebook, stage, label, loops, limit):
    """Also with as many busy neighbors as processors: kernel, server and browser share them."""
    notebook = open_notebook(
        "from mrcnn_widgets.debugger import PipelineDebugger\n"
        f"e = PipelineDebugger('voc_people', stage='{stage}')\n"
        # Where all candidates are drawn, every step of the slider is seen.
        "if e.stage == 'detection':\n    e.explorer.likely_only = False",
        "e",
        viewport={"width": 1280, "height": 1150},
    )
    notebook.wait_for_canvas()
    notebook.page.evaluate(WATCH)
    neighbors = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        spent = _slider_to_frame(notebook.page, label)
    finally:
        for neighbor in neighbors:
            neighbor.kill()
    median = statistics.median(spent)
    print(f"\n{stage}: slider to painted frame {median:.0f} ms, worst {max(spent):.0f} ms")
    assert median <= limit


def test_what_flows_on_costs_little_besides_the_network(monkeypatch):
    """From other proposals to the masks on the canvas, less pooling and the two heads."""
    torch.set_num_threads(1)  # two would wait for each other wherever something else runs
    model = load_model("tiny")
    debugger = PipelineDebugger("voc_people", model)
    for stage in ("proposals", "masks"):
        debugger.stage = stage
    network = []

    def timed(compute):
        def run(*args):
            start = time.perf_counter()
            result = compute(*args)
            network.append(time.perf_counter() - start)
            return result

        return run

    for name in ("_classify", "_mask_logits"):
        monkeypatch.setattr(tracing, name, timed(getattr(tracing, name)))
    besides = []
    for step in range(8):
        debugger.stage = "proposals"
        debugger.explorer.nms_threshold = 0.69 - 0.01 * step
        network.clear()
        start = time.perf_counter()
        debugger.stage = "masks"
        besides.append(1000 * (time.perf_counter() - start - sum(network)))
    debugger.close()
    median = statistics.median(besides)
    print(f"\nproposals to masks: {median:.0f} ms besides the network, worst {max(besides):.0f} ms")
    assert median <= 150
