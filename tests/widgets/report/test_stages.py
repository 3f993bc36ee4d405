"""What the page draws of a picked row is what the notebook draws."""

import json
from pathlib import Path

import pytest

from mrcnn_widgets.report.payload import Payload
from mrcnn_widgets.report.stages import classification
from mrcnn_widgets.views import classification as view
from tests.widgets.report.test_payload import blocks
from tests.widgets.test_js import node

PROGRAM = Path(__file__).with_name("marks.mjs")
# Boxes travel as hundredths of a pixel.
HUNDREDTH = 0.011


def test_roi_align_reads_where_the_notebook_says(small):
    payload = Payload()
    record = classification(small, payload, "case")
    [step] = record["steps"]
    known = json.loads(blocks(payload.html())[step["rows"]])
    picked = [0, 7, len(known) - 1]
    question = {"record": record, "rows": [known[row] for row in picked]}
    done = node(PROGRAM, input=json.dumps(question))
    assert done.returncode == 0, done.stderr
    for row, drawn in zip(picked, json.loads(done.stdout), strict=True):
        label = int(small.classification.labels[row])
        bins, samples, refinement, refined = view.details(small, view.look_at(small, row, label))
        found = {layer["name"]: layer for layer in drawn}
        assert list(found) == [bins.name, samples.name, refinement.name, refined.name]
        assert found["RoI bins"]["shape"] == list(bins.shape)
        for name in ("stride", "origin"):
            expected = pytest.approx(getattr(bins, name), abs=HUNDREDTH)
            assert found["RoI bins"][name] == expected
        x, y, *_ = found["RoIAlign samples"]["box"]
        assert x == pytest.approx(samples.points[:, 0].tolist(), abs=HUNDREDTH)
        assert y == pytest.approx(samples.points[:, 1].tolist(), abs=HUNDREDTH)
