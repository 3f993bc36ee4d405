"""Reports in the Firefox that is installed, which Playwright cannot drive: over WebDriver BiDi."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import closing
from itertools import count

import pytest
from websocket import create_connection

from mrcnn_steps import sample, trace
from mrcnn_widgets import report
from tests.widgets.report.conftest import small_model
from tests.widgets.report.rows import Photos, funnel_of, random_rows

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
pytestmark = pytest.mark.skipif(FIREFOX is None, reason="no firefox on this machine")

PATIENCE = 30
# How many colors the picture of the shown page has: one that nothing was drawn on has one.
COLORS = """(() => {
    const canvas = document.querySelector('main:not([hidden]) [aria-busy="false"] .mrv-base');
    if (!canvas) return 0;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
})()"""
PAINTED = "performance.getEntriesByName('first-contentful-paint').length"
TITLE = "document.querySelector('.mrv-title')?.textContent[0]"
CASES = "document.querySelectorAll('.gallery .cases li').length"


class Tab:
    """A tab of a running Firefox, and what it logged and asked for."""

    def __init__(self, socket):
        self.socket, self.numbers = socket, count()
        self.errors, self.asked = [], set()
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
        self.context = self.call("browsingContext.create", type="tab")["context"]

    def call(self, method, **params):
        """The result of a command; what happens until it is there is noted."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (said := json.loads(self.socket.recv())).get("id") != number:
            about = said["params"]
            if said["method"] == "network.beforeRequestSent":
                self.asked.add(about["request"]["url"])
            elif said["method"] == "log.entryAdded" and about["level"] == "error":
                self.errors.append(about["text"])
        assert said["type"] == "success", said
        return said["result"]

    def value(self, text):
        target = {"context": self.context}
        done = self.call("script.evaluate", expression=text, target=target, awaitPromise=False)
        assert done["type"] == "success", done
        return done["result"].get("value")

    def until(self, expression):
        end = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < end, f"{expression}: never"
            time.sleep(0.05)

    def open(self, path, address=""):
        # Another address of the same file would not load it anew.
        for url in ("about:blank", path.as_uri() + address):
            self.call("browsingContext.navigate", context=self.context, url=url, wait="complete")
        self.until(f"document.body.dataset.live === 'true' && {PAINTED}")

    def type(self, text):
        keys = [{"type": way, "value": key} for key in text for way in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": keys}]
        self.call("input.performActions", context=self.context, actions=actions)


def address_of(process, profile):
    """Where a Firefox that was just started listens: it leaves a note in its profile."""
    note, end = profile / "WebDriverBiDiServer.json", time.monotonic() + PATIENCE
    while not (note.exists() and note.read_text().endswith("}")):
        assert process.poll() is None, "Firefox ended at its start"
        assert time.monotonic() < end, "Firefox does not listen"
        time.sleep(0.1)
    found = json.loads(note.read_text())
    return f"ws://{found['ws_host']}:{found['ws_port']}/session"


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    """A headless Firefox with a fresh profile; one session at a time."""
    profile = tmp_path_factory.mktemp("profile")
    command = [FIREFOX, "--headless", "--remote-debugging-port", "0", "--profile", str(profile)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield address_of(process, profile)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def tab(firefox):
    """A tab whose pages have to log no error, and to ask for nothing but themselves."""
    with closing(create_connection(firefox, timeout=PATIENCE, suppress_origin=True)) as socket:
        tab = Tab(socket)
        yield tab
        tab.call("session.end")
    assert tab.errors == []
    assert {url for url in tab.asked if not url.startswith(("file:", "data:", "blob:"))} == set()
    assert tab.asked


def test_a_photo(tab, tmp_path):
    path = report(trace(small_model(), sample("voc_people")), tmp_path / "report.html")
    tab.open(path)
    assert "of 19 annotated objects found" in tab.value("document.querySelector('.lead').innerText")
    before = 0
    for number in range(1, 8):
        tab.value(f"location.hash = '#/case/0?stage={number}'")
        tab.until(f"{TITLE} === '{number}' && {COLORS} > 100 && {COLORS} !== {before}")
        before = tab.value(COLORS)
    tab.call("browsingContext.traverseHistory", context=tab.context, delta=-1)
    tab.until(f"{TITLE} === '6'")
    tab.open(path, "#/case/0?stage=5&row=7")
    tab.until("document.querySelectorAll('.bars li').length === 8")


def test_a_data_set(tab, tmp_path):
    rows = random_rows(8, seed=5)
    path = report(funnel_of(rows), tmp_path / "report.html", dataset=Photos(8))
    missed = [each for row in rows for each in row.objects if each.cause == "nms"]
    tab.open(path)
    assert "objects" in tab.value("document.querySelector('#summary').innerText")
    tab.type("/")
    tab.until("document.activeElement.matches('.gallery input')")
    assert tab.value(CASES) > len(missed) > 0
    tab.type("cause:nms")
    tab.until(f"{CASES} === {len(missed)}")
    tab.value("document.querySelector('.gallery .cases a').click()")
    tab.until(f"{COLORS} > 1")
    tab.call("browsingContext.traverseHistory", context=tab.context, delta=-1)
    tab.until(f"!document.querySelector('.gallery').hidden && {CASES} === {len(missed)}")
    tab.open(path, "#/gallery?q=cause%3Anms")
    tab.until(f"{CASES} === {len(missed)}")
