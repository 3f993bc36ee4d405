"""How fast the viewer paints, in headless Chromium without a GPU and without a frame-rate limit.

Times are from frame to frame: drawing, and what the browser then does to put the canvas on the
screen.
"""

import json

import numpy as np
import pytest

from mrcnn_widgets.viewer.canvas import NEGATIVE, NEUTRAL, POSITIVE, BoxLayer, Canvas, Category
from mrcnn_widgets.viewer.join import SCRIPT, STYLE

FRAMES = """async (kind) => {
    const pause = (ms) => new Promise((done) => setTimeout(done, ms));
    viewer.view.reset();
    viewer.view.zoomBy(2.5);
    await pause(500);
    const times = [];
    let last = await new Promise(requestAnimationFrame);
    for (let i = 0; i < 200; i++) {
        if (kind === 'pan') viewer.view.panBy(6 * Math.sin(i / 9), 4 * Math.cos(i / 7));
        else viewer.stage.dispatchEvent(new WheelEvent('wheel', {
            deltaY: i % 60 < 30 ? -16 : 16, clientX: 300, clientY: 200, ctrlKey: true,
            cancelable: true}));
        await new Promise(requestAnimationFrame);
        times.push(performance.now() - last);
        last = performance.now();
    }
    return times;
}"""

HITS = """() => {
    viewer.view.reset();
    const times = [];
    for (let i = 0; i < 200; i++) {
        const start = performance.now();
        viewer.aim.at([100 + 4 * i, 500]);
        times.push(performance.now() - start);
    }
    return times;
}"""

# The message is handled after the frame in which the toggled layers were complete was handed over.
TOGGLES = """async () => {
    viewer.view.reset();
    const chip = viewer.legend.element.querySelectorAll('button')[1];
    const times = [];
    for (let i = 0; i < 20; i++) {
        await new Promise((done) => setTimeout(done, 250));
        const start = performance.now();
        chip.click();
        await new Promise((done) => requestAnimationFrame(function check() {
            if (!viewer.frames.finished) return requestAnimationFrame(check);
            const channel = new MessageChannel();
            channel.port1.onmessage = done;
            channel.port2.postMessage(0);
        }));
        times.push(performance.now() - start);
    }
    return times;
}"""


@pytest.fixture(scope="module", params=[65_472, 261_888])
def page(request, chromium):
    """A page with that many anchors on a photo of 1024 × 1024, shown at 1000 × 1000."""
    canvas = Canvas(photo(), [anchors(request.param)], max_height=1000)
    state = json.dumps(canvas.export()).replace("<", "\\u003c")
    page = chromium.new_page(viewport={"width": 1100, "height": 1150})
    page.count = request.param
    page.set_content(
        f'<!doctype html><style>{STYLE}</style><div id="here" style="width: 1004px"></div>'
        f'<script type="application/json" id="state">{state}</script>'
        f'<script type="module">{SCRIPT}\n'
        "window.viewer = mount(document.getElementById('here'),"
        " JSON.parse(document.getElementById('state').textContent));</script>"
    )
    page.wait_for_function("window.viewer?.frames.finished")
    assert page.evaluate("viewer.frames.base.width") == 1000
    page.evaluate(FRAMES, "pan")  # let the browser compile what is hot
    yield page
    page.close()


def photo():
    """Smooth color with noise, as large as the teaching preset's photos."""
    y, x = np.mgrid[:1024, :1024] / 1024
    noise = np.random.default_rng(0).normal(0, 8, (1024, 1024, 3))
    return np.clip(np.stack([90 + 90 * x, 120 + 60 * y, 100 - 50 * x], 2) + noise, 0, 255).astype(
        np.uint8
    )


def anchors(count):
    """A pyramid like the teaching preset's: 5 levels, 3 ratios; four times denser if need be."""
    stride = 8 if count == 65_472 else 4
    boxes = []
    for level, scale in enumerate((32, 64, 128, 256, 512)):
        step = stride << level
        y, x = np.mgrid[0:1024:step, 0:1024:step].reshape(2, -1)
        for ratio in (0.5, 1.0, 2.0):
            w, h = scale * ratio**0.5 / 2, scale / ratio**0.5 / 2
            boxes.append(np.stack([x - w, y - h, x + w, y + h], axis=1))
    boxes = np.concatenate(boxes)
    assert len(boxes) == count
    generator = np.random.default_rng(0)
    iou = generator.random(count).astype(np.float32) ** 4
    fields = {
        "IoU": iou,
        "level": Category(generator.integers(0, 5, count), ["P2", "P3", "P4", "P5", "P6"]),
    }
    groups = np.where(iou < 0.3, 1, np.where(iou < 0.999, 0, 2))
    return BoxLayer(
        "anchors", boxes, groups=[NEUTRAL, NEGATIVE, POSITIVE], group_index=groups, fields=fields
    )


def quantiles(name, page, times):
    median, late = np.quantile(times, [0.5, 0.95])
    print(f"\n{page.count:,} anchors, {name}: median {median:.1f} ms, 95 % {late:.1f} ms")
    return median, late


@pytest.mark.parametrize("kind", ["pan", "zoom"])
def test_frames(page, kind):
    median, late = quantiles(kind, page, page.evaluate(FRAMES, kind))
    if page.count == 65_472:
        assert median <= 16
        assert late <= 33
    else:
        assert median <= 50  # 20 frames/s


def test_hover(page):
    median, _ = quantiles("hit test", page, page.evaluate(HITS))
    assert median <= 2


def test_toggle(page):
    median, _ = quantiles("toggle a group", page, page.evaluate(TOGGLES))
    if page.count == 65_472:
        assert median <= 50


def test_wire(page):
    canvas = Canvas(photo(), [anchors(page.count)])
    size = len(canvas._layer_0)
    print(f"\n{page.count:,} anchors with IoU and level on the wire: {size / 1e6:.2f} MB")
    if page.count == 65_472:
        assert size <= 1_200_000
