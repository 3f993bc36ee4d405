"""How fast a report opens, shows a case and pans, in headless Chromium from its file.

Run with `pytest tests/benchmarks/test_report_speed.py -s`; each is measured on a quiet machine, and
with one core kept busy.
"""

import subprocess
import sys

import numpy as np
import pytest

from mrcnn_steps import load_model, sample, trace
from mrcnn_widgets import report
from mrcnn_widgets.scene import scene
from mrcnn_widgets.viewer.canvas import Canvas
from mrcnn_widgets.viewer.join import SCRIPT
from mrcnn_widgets.views import anchors as anchors_view
from mrcnn_widgets.views.objects import objects_layer
from tests.browser.conftest import plain_page
from tests.widgets.report.rows import Photos, funnel_of, random_rows

# Photos of the data set; with more, less of each is in the page.
PHOTOS = 2000
MOST_BYTES = 15_000_000
# Seconds until the summary is seen, and until a case is.
FIRST_PAINT, CASE = 1.0, 0.3
# How much slower a report may pan than the notebook's own viewer.
AS_IN_THE_NOTEBOOK = 1.3

PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"

# Seconds from another address until what it asks for is on the screen.
OPENED = """async ([hash, ready]) => {
    const frame = () => new Promise(requestAnimationFrame);
    const start = performance.now();
    location.hash = hash;
    const seen = () => [...document.querySelectorAll(ready)].some((one) => one.checkVisibility());
    do { await frame(); } while (!seen());
    await frame();
    return (performance.now() - start) / 1000;
}"""

# Milliseconds from frame to frame while the arrow keys pan.
PANNED = """async () => {
    const stage = document.querySelector('.mrv-stage');
    const press = (key) => stage.dispatchEvent(new KeyboardEvent('keydown', { key }));
    for (let i = 0; i < 3; i++) press('+');
    const times = [];
    let last = await new Promise(requestAnimationFrame);
    for (let i = 0; i < 150; i++) {
        press(i % 20 < 10 ? 'ArrowLeft' : 'ArrowRight');
        await new Promise(requestAnimationFrame);
        times.push(performance.now() - last);
        last = performance.now();
    }
    return times.slice(30);
}"""


@pytest.fixture(params=["quiet", "busy"])
def machine(request):
    """A machine with nothing else to do as far as we know, or with one core that is always busy."""
    loops = [sys.executable, "-c", "while True: pass"]
    neighbor = subprocess.Popen(loops) if request.param == "busy" else None
    yield request.param
    if neighbor is not None:
        neighbor.kill()
        neighbor.wait()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The report on a data set that is larger than a page can be."""
    path = tmp_path_factory.mktemp("large") / "report.html"
    return report(funnel_of(random_rows(PHOTOS)), path, dataset=Photos(PHOTOS))


@pytest.fixture(scope="module")
def traced():
    return trace(load_model("tiny"), sample("voc_people"))


@pytest.fixture(scope="module")
def photo(traced, tmp_path_factory):
    return report(traced, tmp_path_factory.mktemp("photo") / "report.html")


def opened(chromium, path, address=""):
    page = chromium.new_page(viewport={"width": 1300, "height": 1000})
    page.goto(f"{path.as_uri()}{address}")
    page.locator("body[data-live]").wait_for()
    return page


def test_a_large_data_set_opens_soon(chromium, machine, large):
    assert large.stat().st_size <= MOST_BYTES
    painted = []
    for _ in range(5):
        page = opened(chromium, large)
        painted.append(page.evaluate(PAINTED))
        page.close()
    median = np.median(painted)
    print(f"\n{machine}: {large.stat().st_size / 1e6:.1f} MB, first paint {median:.2f} s")
    assert median <= FIRST_PAINT


def test_cases_are_shown_at_once(chromium, machine, large):
    page = opened(chromium, large)
    gallery = page.evaluate(OPENED, ["#/gallery?q=is%3Amissed", ".gallery .cases li"])
    links = page.locator(".gallery .cases a").evaluate_all("all => all.map((a) => a.hash)")[:12]
    ready = "main.case .mrv-stage[aria-busy=false]"
    spent = []
    for link in links:
        page.evaluate("document.querySelector('main.case').replaceChildren()")
        spent.append(page.evaluate(OPENED, [link, ready]))
    page.close()
    print(
        f"\n{machine}: gallery {gallery:.2f} s, first case {spent[0]:.2f} s, "
        f"median {np.median(spent):.2f} s"
    )
    assert np.median(spent) <= CASE


def test_a_photo_opens_soon_and_its_stages_at_once(chromium, machine, photo):
    page = opened(chromium, photo)
    painted = page.evaluate(PAINTED)
    spent = {}
    for stage in range(1, 8):
        shown = f".tabs a:nth-child({stage})[aria-current]"
        page.evaluate("document.querySelector('.tabs')?.replaceChildren()")
        spent[stage] = page.evaluate(OPENED, [f"#/case/0?stage={stage}", shown])
    page.close()
    print(
        f"\n{machine}: first paint {painted:.2f} s, stages",
        " ".join(f"{seconds:.2f}" for seconds in spent.values()),
    )
    assert painted <= FIRST_PAINT
    assert np.median([*spent.values()]) <= CASE


def test_all_anchors_pan_as_in_the_notebook(chromium, machine, photo, traced):
    seen = scene(traced)
    layers = [anchors_view.every(traced.anchors), objects_layer(seen.boxes, seen.names)]
    canvas = Canvas(traced.letterbox.image, layers, max_height=760)
    notebook = chromium.new_page(viewport={"width": 1300, "height": 1000})
    notebook.set_content(plain_page(canvas, 860, SCRIPT))
    notebook.wait_for_function("window.viewer?.frames.finished")
    page = opened(chromium, photo, "#/case/0?stage=2")
    page.locator(".mrv-stage[aria-busy=false]").wait_for()
    assert len(traced.anchors) == 65_472
    rounds = [[np.median(each.evaluate(PANNED)) for each in (page, notebook)] for _ in range(8)]
    page.close()
    notebook.close()
    # The first rounds compile what is hot, and neighbors only ever slow a round down.
    ours, theirs = np.min(rounds, axis=0)
    print(f"\n{machine}: a frame {ours:.1f} ms, in the notebook {theirs:.1f} ms")
    assert ours <= AS_IN_THE_NOTEBOOK * theirs
