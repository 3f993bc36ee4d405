"""`mrcnn-steps lab`, the one command that a newcomer types, up to the first lesson on the page."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrcnn_steps.commands.lab import FIRST_LESSON

pytestmark = pytest.mark.browser
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+\S+")


def printed_address(log: Path, server: subprocess.Popen, seconds: float = 90) -> str:
    end = time.monotonic() + seconds
    while (found := ADDRESS.search(log.read_text())) is None:
        assert server.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < end, log.read_text()[-2000:]
        time.sleep(0.2)
    return found.group()


@pytest.fixture
def address(tmp_path):
    """What the command prints, as a newcomer would copy it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("mrcnn-steps")), "lab", "mine", "--no-browser"]
    environment = os.environ | {"HOME": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    log = tmp_path / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [*command, f"--port={port}", "--allow-root"],
            cwd=tmp_path,
            env=environment,
            stdout=file,
            stderr=file,
        )
    try:
        yield printed_address(log, server)
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # JupyterLab's own threads may wait for each other
            server.kill()
            server.wait()


def test_the_printed_address_opens_the_first_lesson(address, open_page, screenshots, tmp_path):
    page = open_page()
    page.goto(address)
    page.locator(".jp-Notebook:visible").wait_for(timeout=120_000)
    page.get_by_role("heading", name="The pipeline").first.wait_for(timeout=60_000)
    page.screenshot(path=screenshots / "lab-command.png")

    assert (tmp_path / "mine" / FIRST_LESSON).is_file()
    assert page.get_by_role("tab", name=FIRST_LESSON).is_visible()
