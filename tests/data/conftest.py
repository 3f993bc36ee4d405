"""What the tests of data share: a COCO file beside its photos."""

import json

import pytest
from PIL import Image

from tests.data.coco_content import HEIGHT, WIDTH


@pytest.fixture
def write(tmp_path):
    """Write a COCO file and its photos; returns what `CocoFolder` takes."""

    def write(annotations):
        photos = tmp_path / "photos"
        (photos / "sub").mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(("b.png", "empty.png", "sub/a.png")):
            Image.new("RGB", (WIDTH, HEIGHT), (i, 0, 0)).save(photos / name)
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(annotations))
        return photos, path

    return write
