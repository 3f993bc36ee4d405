"""Damaged photos and COCO files, seeded: a clear error or a clean result, never a bare one."""

import copy
import io
import json
import os
import random
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mrcnn_steps.data import CocoFolder, Sample
from tests.data.coco_content import HEIGHT, WIDTH, content

# Pillow's names of formats; those that this build cannot write are left out.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM", "JPEG2000")
DAMAGES = 120
FILES = 800

# What a field may hold that a careless tool, or an enemy, has written.
STRANGE: list[Any] = [
    *(None, True, -1, 0, 1.5, 2**63, -(2**70), 10**400, float("nan"), float("inf")),
    *("", "1", "\ud800", "a\0b", "../x", "x" * 5000, "loop/x"),
    *([], [[]], [None], [[1, 2]], [0.0] * 4, [float("nan")] * 8, {}, {"counts": "PP", "size": []}),
    *([[0, 0] * 3], [[1e308] * 6], [[2**70] * 6], {"size": [HEIGHT, WIDTH], "counts": "\x7f"}),
    {"size": [HEIGHT, WIDTH], "counts": [2**40] * 3},
    {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH, 0, 0, 0]},
    {"size": [HEIGHT, WIDTH], "counts": "0" * 4000},
    {"size": [float(HEIGHT), WIDTH], "counts": [HEIGHT * WIDTH]},
]


def refusal(call: Callable[[], object], *kinds: type[Exception]) -> str | None:
    """The message with which a call is refused; None if it is not. Other errors go through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except kinds as error:
            return str(error)
    return None


def pictures() -> list[Any]:
    generator = np.random.default_rng(3)
    pixels = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "held upright"
    made = []
    for name in FORMATS:
        whole = io.BytesIO()
        try:
            options = {"exif": exif} if name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF") else {}
            Image.fromarray(pixels).save(whole, name, **options)
        except (KeyError, OSError):
            continue
        made.append(pytest.param(whole.getvalue(), id=name))
    return made


@pytest.mark.parametrize("whole", pictures())
def test_damaged_photos(whole: bytes, tmp_path: Path) -> None:
    generator = random.Random(7)
    path = tmp_path / "photo"
    for _ in range(DAMAGES):
        damaged = bytearray(whole)
        # Headers and tags, at the beginning and the end, are where decoders stumble.
        limit = generator.choice([40, 200, len(damaged)])
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(min(limit, len(damaged)))
            damaged[generator.choice([place, -place - 1])] = generator.randrange(256)
        if generator.random() < 0.2:
            del damaged[generator.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        message = refusal(lambda: Sample.from_image(path), ValueError)
        assert message is None or (str(path) in message and "expected" in message)


def mutated(generator: random.Random) -> dict[str, Any]:
    """A good file with up to two strange values in places of any depth."""
    changed = copy.deepcopy(content())
    # The third mask is a star, 37 × 36 pixels.
    changed["annotations"][2] |= {"bbox": [15.5, 2.5, 37, 35.6], "area": 560}
    for _ in range(generator.randint(0, 2)):
        place: Any = changed
        key = generator.choice(list(place))
        while isinstance(place[key], dict | list) and place[key] and generator.random() < 0.8:
            place = place[key]
            key = generator.choice(list(place if isinstance(place, dict) else range(len(place))))
        if generator.random() < 0.15 and isinstance(place, dict):
            del place[key]
        else:
            place[key] = copy.deepcopy(generator.choice(STRANGE))
        if not changed:
            break
    return changed


def test_damaged_coco_files(write, tmp_path: Path) -> None:
    """Whatever is accepted can be loaded as well; each refusal names the file."""
    photos, path = write(content())
    os.symlink(photos / "loop", photos / "loop")
    generator = random.Random(11)
    accepted = refused = 0
    for _ in range(FILES):
        path.write_text(json.dumps(mutated(generator)))
        message = refusal(lambda: CocoFolder(photos, path), ValueError)
        if message is not None:
            assert message.startswith(f"{path}: ")
            assert "found" in message
            assert "expected" in message
            refused += 1
            continue
        accepted += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            folder = CocoFolder(photos, path)
        for index in range(len(folder)):
            message = refusal(partial(folder.__getitem__, index), ValueError, OSError)
            assert message is None or str(folder.image_path(index))[:200] in message
    assert accepted > 200
    assert refused > 200
