"""Broken fields of every kind in every place, seeded: each ends in findings that can be shown."""

import json
import random

import pytest

from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.findings import record, table
from mrcnn_steps.debug.preflight import preflight
from tests.data.test_fuzz import STRANGE
from tests.debug.preflight.drawn import content, write

# pycocotools 2.0.11 has not heard of the copy keyword of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FIELDS = [
    *(("images", field) for field in ("id", "file_name", "width", "height")),
    *(("categories", field) for field in ("id", "name")),
    *(
        ("annotations", field)
        for field in ("id", "image_id", "category_id", "iscrowd", "bbox", "area", "segmentation")
    ),
]


@pytest.mark.parametrize(("key", "field"), FIELDS)
def test_one_broken_field(tmp_path, key, field):
    """What strictness refuses is an error of preflight, and nothing else is lost."""
    photos, path = write(tmp_path)
    for strange in STRANGE:
        changed = content()
        changed[key][0][field] = strange
        path.write_text(json.dumps(changed))
        folder = CocoFolder(photos, path, strict=False)
        findings = preflight(folder, photos="none")
        assert all(line.isprintable() for line in table(findings).split("\n"))
        assert all(len(each.sentence) < 600 for each in findings)
        json.dumps([record(each) for each in findings])
        if folder.left_out:
            assert any(each.level == "error" for each in findings)


def test_many_broken_fields(tmp_path):
    photos, path = write(tmp_path)
    generator = random.Random(3)
    told = 0
    for _ in range(150):
        changed = content()
        for _ in range(generator.randint(1, 6)):
            key, field = generator.choice(FIELDS)
            where = generator.choice(changed[key])
            if not isinstance(where, dict):
                continue
            if generator.random() < 0.2:
                changed[key][changed[key].index(where)] = generator.choice(STRANGE)
            else:
                where[field] = generator.choice(STRANGE)
        path.write_text(json.dumps(changed))
        told += len(preflight(CocoFolder(photos, path, strict=False), photos="headers"))
    assert told > 300
