"""`mrcnn-steps diagnose`: one command from annotations and a model to what to change first."""

import csv
import json
import subprocess
import sys

import pytest

from mrcnn_steps.cli import main
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.funnel import Funnel, funnel
from tests.debug.funnel.photos import quick, write_photos

MODEL = "from tests.debug.funnel.photos import quick\n"
NAMES = ("cows", "coffee", "cat")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos, annotations and a model, and the arguments that name them."""
    folder = tmp_path_factory.mktemp("place")
    annotations = write_photos(folder, NAMES)
    (folder / "quick.py").write_text(MODEL)
    return ["--images", str(folder), "--annotations", str(annotations)], f"{folder}/quick.py:quick"


@pytest.fixture(scope="module")
def answer(place, tmp_path_factory, request):
    """What the command prints, and its folder."""
    data, model = place
    out = tmp_path_factory.mktemp("answer") / "out"
    capture = request.getfixturevalue("capsys_module")
    status = main(["diagnose", *data, "--model", model, "--out", str(out)])
    return status, capture(), out


@pytest.fixture(scope="module")
def capsys_module():
    """What has been printed so far, for fixtures that live as long as the module."""
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        yield lambda: "\n".join(lines)
