"""An explanation says in ten plain lines what the evidence holds."""

import base64
import io
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image

from mrcnn_steps.debug import explain_missed, fates
from mrcnn_steps.debug.words import sentences
from mrcnn_steps.tracing import trace
from tests.debug.scenes import imagined, set_to
from tests.debug.test_remedies import LOST_AT


@pytest.fixture(scope="module")
def model(kind):
    return kind("boxes_only")


@pytest.fixture(scope="module")
def scene(model, people):
    return imagined(model, people, 8, found_only=True)


@pytest.mark.parametrize("cause", LOST_AT)
def test_it_names_the_gate_and_the_numbers(model, scene, cause):
    with set_to(model, LOST_AT[cause]):
        traced = trace(model, scene)
        fate = next(fate for fate in fates(traced) if fate.cause == cause)
        said = str(explain_missed(traced, fate.object))
    lines = said.splitlines()
    assert 3 <= len(lines) <= 10
    assert lines[0].startswith(f"Object {fate.object} ({fate.name}): lost at ")
    assert f"{fate.evidence.anchor:,}" in lines[1]
    assert f"IoU of {fate.evidence.iou:.2f}" in lines[1]
    assert "Remedy: " in said or "training is needed" in said
    if fate.evidence.suppressor is not None:
        assert f"{fate.evidence.suppressor.iou:.2f}" in lines[1]


def test_every_fate_of_a_real_photo_can_be_said(traced):
    for fate in fates(traced):
        lines = sentences(traced, fate)
        assert 2 <= len(lines) <= 7
        assert all("None" not in line and line.endswith(".") for line in lines)


def test_a_found_object_is_explained_without_remedies(traced):
    fate = next(fate for fate in fates(traced) if fate.found)
    explained = explain_missed(traced, fate.object)
    assert explained.remedies == ()
    assert "and whose mask one of" in str(explained)
    assert explained.lines[0].endswith(f"found, {fate.evidence.probability:.2f}.")


def test_a_notebook_shows_the_words_and_the_picture(traced):
    fate = next(fate for fate in fates(traced) if fate.found)
    explained = explain_missed(traced, fate.object)
    [address] = re.findall(r'src="data:image/png;base64,([^"]+)"', explained._repr_html_())
    picture = Image.open(io.BytesIO(base64.b64decode(address)))
    assert min(picture.size) > 200
    page = explained._repr_html_()
    assert "data:image/png;base64," in page
    assert page.count("<li>") == len(explained.lines) - 1


def test_a_name_is_text_and_not_html(model, scene):
    traced = trace(model, scene)
    explained = explain_missed(traced, next(f.object for f in fates(traced) if f.found))
    object.__setattr__(explained.fate, "name", "<script>alert(1)</script>")
    assert "<script>" not in explained._repr_html_()


def test_a_box_that_comes_back_without_its_mask_is_said(bundled, people):
    """The annotated masks are a pixel each, which no mask is."""
    with set_to(bundled, {"roi_heads.detections_per_img": 1}):
        traced = trace(bundled, people)
    masks = torch.zeros_like(people.masks)
    masks[:, 0, 0] = True
    pixels = replace(traced, sample=replace(people, masks=masks))
    lost = next(fate for fate in fates(pixels) if fate.cause == "detection_limit")
    said = explain_missed(pixels, lost.object).lines
    assert said[-2].startswith("With roi_heads.detections_per_img 1 → ")
    assert said[-2].endswith(" its box comes back, but its mask stays at an IoU of 0.00 < 0.5.")
    assert said[-1] == "No setting brings it back: training is needed."


def test_there_is_no_such_object(traced):
    with pytest.raises(IndexError, match="object 19 does not exist: there are 19"):
        explain_missed(traced, 19)
