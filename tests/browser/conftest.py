"""What the browser tests share: Chromium, a JupyterLab of their own, notebooks, plain pages."""

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from mrcnn_widgets.viewer.canvas import NEGATIVE, NEUTRAL, POSITIVE, BoxLayer, Canvas, Category
from mrcnn_widgets.viewer.join import SCRIPT, STYLE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOKEN = "step-by-step"
# A missing icon; and anywidget's complaint that a model took more than two seconds, as it does on
# a busy machine, and which stops nothing: who waits for the canvas sees whether it came.
NOISE = re.compile(r"favicon|Failed to load resource.*404|\[anywidget\] Failed to initialize model")

HOSTILE = "<img src=x onerror=alert(1)>"
ORANGE = (200, 120, 40)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium without a GPU."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go for a person to look at."""
    folder = os.environ.get("MRCNN_STEPS_SCREENSHOTS")
    path = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a fresh browser profile; its `errors` must be empty in the end."""
    contexts, pages = [], []

    def open_page(**options: Any) -> Any:
        options = {"viewport": {"width": 1280, "height": 960}, **options}
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.errors = []

        def on_console(message: Any) -> None:
            if message.type == "error" and not NOISE.search(message.text):
                page.errors.append(message.text)

        page.on("console", on_console)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("dialog", lambda dialog: page.errors.append(f"dialog: {dialog.message}"))
        pages.append(page)
        return page

    yield open_page
    errors = [error for page in pages for error in page.errors]
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def open_plain(open_page: Callable[..., Any]) -> Callable[..., Any]:
    """Shows a canvas in a plain page, without Jupyter; the viewer is `window.viewer` there."""

    def open_plain(canvas: Any, width: int = 900, **options: Any) -> Any:
        page = open_page(**options)
        page.set_content(plain_page(canvas, width, SCRIPT))
        wait_for_viewer(page)
        return page

    return open_plain


@pytest.fixture
def nested() -> Canvas:
    """Three boxes inside each other on a photo of 320 × 240, shown at twice its size."""
    photo = np.full((240, 320, 3), 90, np.uint8)
    photo[60:180, 80:240] = ORANGE
    boxes = [[10, 10, 310, 230], [80, 60, 240, 180], [140, 100, 180, 140]]
    layer = BoxLayer(
        "boxes",
        boxes,
        groups=[NEUTRAL, NEGATIVE, POSITIVE],
        group_index=[0, 1, 2],
        fields={"score": [0.1, 0.5, 0.9], "class": Category([0, 1, 0], ["cat", HOSTILE])},
        threshold="score",
    )
    return Canvas(photo, [layer], title="Nested", max_height=480)


def plain_page(canvas: Any, width: int, script: str) -> str:
    """A page that shows a canvas with a script that knows `mount`."""
    state = json.dumps(canvas.export()).replace("<", "\\u003c")
    return (
        f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style>'
        '<body style="margin: 16px; background: Canvas; color-scheme: light dark">'
        f'<div id="here" style="width: {width}px"></div>'
        f'<script type="application/json" id="state">{state}</script>'
        f'<script type="module">{script}\n'
        "window.viewer = mount(document.getElementById('here'),"
        " JSON.parse(document.getElementById('state').textContent));</script>"
    )


def wait_for_viewer(page: Any) -> None:
    """Waits until the viewer of a plain page shows its photo with all that lies on it."""
    page.wait_for_function("window.viewer?.frames.finished")


@dataclass
class Lab:
    """A running JupyterLab."""

    url: str
    root: Path
    runtime: Path
    settings: Path

    def get(self, path: str) -> Any:
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"token {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on a free port, in a temporary folder, blind to the settings of the user."""
    home = tmp_path_factory.mktemp("lab")
    root, runtime, settings = home / "root", home / "runtime", home / "settings"
    quiet = {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"autoStartDefaultKernel": True},
    }
    for folder in (root, runtime):
        folder.mkdir()
    for name, values in quiet.items():
        file = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "PYTEST"))},
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.ip=127.0.0.1",
    ]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}"]
    command += ["--LabApp.extension_manager=readonly"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=root)
    lab = Lab(f"http://127.0.0.1:{port}", root, runtime, settings)
    try:
        wait_until(lambda: _answers(lab, server), 60, lambda: (home / "log").read_text()[-2000:])
        yield lab
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()


def _answers(lab: Lab, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, "JupyterLab ended at its start"
    try:
        return "version" in lab.get("/api")
    except (urllib.error.URLError, ConnectionError):
        return False


def wait_until(holds: Callable[[], bool], seconds: float, why: Callable[[], object]) -> None:
    """Looks again and again until a condition holds; `why` tells what was there instead."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s in vain: {why()}"
        time.sleep(0.05)


def box_of(locator: Any) -> dict[str, float]:
    """Where an element lies once it is at rest: one that is being swapped has no place."""
    seen: list[dict[str, float] | None] = [None]

    def at_rest() -> bool:
        seen.append(locator.bounding_box())
        return seen[-1] is not None and seen[-1] == seen[-2]

    wait_until(at_rest, 30, lambda: f"{locator} is at {seen[-1]}")
    assert seen[-1] is not None
    return seen[-1]


def next_frame(page: Any) -> None:
    """Waits until what happened so far has been painted."""
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")


@dataclass
class Notebook:
    """A notebook open in JupyterLab: `page` is Playwright's, `python` asks its kernel."""

    lab: Lab
    page: Any
    name: str
    screenshots: Path
    clients: list[Any] = field(default_factory=list)

    def open(self) -> None:
        """Opens it, and waits for a kernel."""
        address = f"{self.lab.url}/lab/workspaces/{self.name[:-6]}/tree/{self.name}"
        self.page.goto(f"{address}?reset&token={TOKEN}")
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=90_000)
        # The indicator says "idle" also before there is a kernel: ask the server.
        wait_until(self.has_kernel, 90, lambda: self.lab.get("/api/sessions"))
        self.page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()

    def save(self) -> None:
        self.page.keyboard.press("Control+s")
        self.page.wait_for_function("!document.querySelector('.jp-mod-dirty')")

    def shut_down(self) -> None:
        """Ends its kernel."""
        for session in self.lab.get("/api/sessions"):
            if session["path"] == self.name:
                request = urllib.request.Request(
                    f"{self.lab.url}/api/sessions/{session['id']}",
                    method="DELETE",
                    headers={"Authorization": f"token {TOKEN}"},
                )
                urllib.request.urlopen(request, timeout=20)

    def has_kernel(self) -> bool:
        """Whether a kernel is up and the page is connected to it."""
        kernels = [s["kernel"] for s in self.lab.get("/api/sessions") if s["path"] == self.name]
        return any(k["connections"] > 0 and k["execution_state"] == "idle" for k in kernels)

    def menu(self, *path: str) -> None:
        """Chooses from the menu bar, like `menu("Run", "Run All Cells")`."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{path[0]}$")).click()
        for label in path[1:]:
            item = self.page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{label}"))
            item.last.click()

    def run_all(self) -> None:
        """Runs all cells and waits until the kernel has answered them."""
        self.menu("Run", "Run All Cells")
        self.wait_idle()

    def wait_idle(self) -> None:
        self.page.wait_for_function(
            """() => {
                const prompts = [...document.querySelectorAll(
                    '.jp-CodeCell .jp-InputArea-prompt')].map((node) => node.textContent);
                return prompts.length && prompts.every((text) => /\\[\\d+\\]/.test(text));
            }""",
            timeout=60_000,
        )

    def wait_for_canvas(self, count: int = 1) -> Any:
        """Waits until `count` viewers show their photo; returns the first one's stage."""
        self.page.wait_for_function(
            "(count) => document.querySelectorAll('.mrv-stage[aria-busy=false]').length >= count",
            arg=count,
        )
        return self.page.locator(".mrv-stage").first

    def python(self, expression: str) -> Any:
        """The value of a Python expression in the notebook's kernel."""
        client = self.clients[0] if self.clients else self._connect()
        client.execute("", silent=True, store_history=False, user_expressions={"value": expression})
        while True:
            reply = client.get_shell_msg(timeout=30)
            if reply["msg_type"] == "execute_reply":
                break
        value = reply["content"]["user_expressions"]["value"]
        assert value["status"] == "ok", value
        return ast.literal_eval(value["data"]["text/plain"])

    def _connect(self) -> Any:
        from jupyter_client import BlockingKernelClient

        session = next(s for s in self.lab.get("/api/sessions") if s["path"] == self.name)
        file = self.lab.runtime / f"kernel-{session['kernel']['id']}.json"
        client = BlockingKernelClient(connection_file=str(file))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        self.clients.append(client)
        return client

    def wait_python(self, expression: str, expected: Any = True) -> None:
        """Waits until an expression in the kernel has a value; a busy machine may take its time."""
        wait_until(
            lambda: self.python(expression) == expected,
            60,
            lambda: f"{expression} is {self.python(expression)!r}, expected {expected!r}",
        )

    def drag(self, label: str, share: float) -> None:
        """Drags the handle of a slider to a share of its length, in steps as a hand does."""
        slider = self.page.locator(".widget-hslider:visible", has_text=label).first
        handle, track = (box_of(slider.locator(part)) for part in (".noUi-handle", ".noUi-base"))
        mouse = self.page.mouse
        mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
        mouse.down()
        mouse.move(track["x"] + share * track["width"], track["y"] + track["height"] / 2, steps=8)
        mouse.up()
        self.settle()

    def settle(self) -> None:
        """Waits until the kernel has had nothing to do for a while.

        While the kernel is at work, a widget holds back its next value; what another widget says
        meanwhile overtakes it.
        """
        self.page.wait_for_function(
            """() => {
                const status = document.querySelector(
                    '.jp-Notebook-ExecutionIndicator').dataset.status;
                if (status !== 'idle' || !window.idleSince) window.idleSince = performance.now();
                const rested = status === 'idle' && performance.now() - window.idleSince > 400;
                if (rested) window.idleSince = 0;
                return rested;
            }""",
            polling=50,
            timeout=60_000,
        )

    def restart_kernel(self) -> None:
        self.menu("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog button", has_text="Restart").click()
        # The button waits a moment before it takes a click for granted.
        self.page.locator(".jp-Dialog").wait_for(state="detached")

    def theme(self, name: str) -> None:
        """Switches JupyterLab's theme, as `JupyterLab Dark`."""
        self.menu("Settings", "Theme", name)
        light = str("Light" in name).lower()
        self.page.wait_for_function(f"document.body.dataset.jpThemeLight === '{light}'")

    def screenshot(self, name: str) -> None:
        """Keeps a picture of the page, once two in a row are the same or some seconds are over."""
        shots = [self.page.screenshot(), self.page.screenshot()]
        while shots[-1] != shots[-2] and len(shots) < 20:
            shots.append(self.page.screenshot())
        (self.screenshots / f"{name}.png").write_bytes(shots[-1])


@pytest.fixture
def open_notebook(
    lab: Lab, open_page: Callable[..., Any], screenshots: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """Writes a notebook of these code cells and opens it in JupyterLab."""
    opened: list[Notebook] = []

    def open_notebook(*cells: str, run: bool = True, **options: Any) -> Notebook:
        name = re.sub(r"\W+", "-", f"{request.node.name}-{len(opened)}") + ".ipynb"
        # JupyterLab remembers the theme that the test before switched to.
        theme = lab.settings / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
        theme.unlink(missing_ok=True)
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        kernel = {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
        nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=kernel), lab.root / name)
        page = open_page(**options)
        notebook = Notebook(lab, page, name, screenshots)
        opened.append(notebook)
        notebook.open()
        if run:
            notebook.run_all()
        return notebook

    yield open_notebook
    for number, notebook in enumerate(opened):
        notebook.screenshot(f"end-of-{request.node.name}-{number}")
        for client in notebook.clients:
            client.stop_channels()
        notebook.shut_down()
