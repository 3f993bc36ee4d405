"""Photos as phones make them, larger than a message to the kernel may be."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import wait_until

pytestmark = pytest.mark.browser

SETUP = """
import io
from PIL import Image
from mrcnn_widgets.upload import Upload
got, refused = [], []
def receive(name, content):
    got.append((name, len(content), Image.open(io.BytesIO(content)).size))
button = Upload(receive, refused.append)
"""
ORIENTATION, QUARTER_TURN = 0x0112, 6


def noise(width, height, kind, **options):
    """The worst that a camera can send: nothing of it compresses."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def test_large_photos_are_made_smaller_and_later_ones_still_arrive(open_notebook, tmp_path):
    notebook = open_notebook(SETUP, "button")
    page = notebook.page
    button = page.locator(".widget-upload")

    button.wait_for()

    def upload(name, content):
        (tmp_path / name).write_bytes(content)
        with page.expect_file_chooser() as chosen:
            button.click()
        chosen.value.set_files(tmp_path / name)

    exif = Image.Exif()
    exif[ORIENTATION] = QUARTER_TURN
    upload("phone.jpg", noise(4000, 3000, "JPEG", quality=99, subsampling=0, exif=exif))
    assert (tmp_path / "phone.jpg").stat().st_size > 18e6
    button.filter(has_text="MB …").wait_for()
    assert button.is_disabled()
    notebook.screenshot("uploading")
    notebook.wait_python("len(got)", 1)
    name, size, (width, height) = notebook.python("got[0]")
    assert name == "phone.jpg"
    assert size < 8e6
    assert height > 1000
    assert abs(height / width - 4 / 3) < 0.01, "turned upright, as the browser shows it"

    upload("screen.png", noise(2600, 2400, "PNG", compress_level=1))
    assert (tmp_path / "screen.png").stat().st_size > 18e6
    notebook.wait_python("got[-1][0]", "screen.png")

    upload("raw.dng", bytes(9_000_000))
    notebook.wait_python("refused", ["raw.dng"])

    content = noise(64, 48, "PNG")
    upload("small.png", content)
    notebook.wait_python("got[-1]", ("small.png", len(content), (64, 48)))
    wait_until(button.is_enabled, 30, button.inner_text)
    assert button.inner_text().strip() == "Upload"
