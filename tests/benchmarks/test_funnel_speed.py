"""A funnel costs little more than an evaluation, and no memory for each photo."""

import time

import pytest
import torch

from mrcnn_steps import load_model
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.funnel import funnel
from mrcnn_steps.model.evaluate import evaluate
from tests.debug.funnel.photos import write_photos
from tests.memory import peak

# Forty photos, on which both sides take turns: neighbors on the machine slow them down alike.
FOLDERS = 2 * (
    ("voc_people", "cows", "cat", "wine", "dogs"),
    ("horses", "coffee", "motorcycle", "voc_people", "astronaut"),
    ("cows", "wine", "horses", "dogs", "cat"),
    ("motorcycle", "voc_people", "coffee", "cows", "horses"),
)

FUNNEL = """
import sys
from mrcnn_steps import load_model, sample
from mrcnn_steps.debug.funnel import funnel
from mrcnn_steps.model.network import LetterboxTransform
model = load_model("tiny")
own = model.transform
model.transform = LetterboxTransform(128, own.image_mean, own.image_std).eval()
model.rpn._post_nms_top_n["testing"] = 100
photo = sample("cat")
class Drawn:
    def __len__(self):
        return int(sys.argv[1])
    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError
        return photo
found = funnel(model, Drawn(), out=sys.argv[2], progress=False)
assert all(each.detections for each in found.photos)
"""


@pytest.fixture
def folders(tmp_path):
    made = []
    for place, names in enumerate(FOLDERS):
        folder = tmp_path / str(place)
        folder.mkdir()
        made.append(CocoFolder(folder, write_photos(folder, names)))
    return made


def test_a_funnel_takes_at_most_one_and_a_half_times_as_long_as_an_evaluation(folders, tmp_path):
    model, spent = load_model("tiny"), {"evaluate": 0.0, "funnel": 0.0}
    evaluate(model, folders[0], torch.device("cpu"), progress=False)
    for place, folder in enumerate(folders):
        start = time.perf_counter()
        evaluate(model, folder, torch.device("cpu"), progress=False)
        middle = time.perf_counter()
        funnel(model, folder, out=tmp_path / f"out-{place}", progress=False)
        spent["evaluate"] += middle - start
        spent["funnel"] += time.perf_counter() - middle
    ratio = spent["funnel"] / spent["evaluate"]
    print(f"\nfunnel {spent['funnel']:.1f} s, evaluate {spent['evaluate']:.1f} s: {ratio:.2f}")
    assert spent["funnel"] <= 1.5 * spent["evaluate"]


def test_memory_does_not_grow_with_the_photos(tmp_path):
    few = peak(FUNNEL, "40", str(tmp_path / "few"))
    many = peak(FUNNEL, "400", str(tmp_path / "many"))
    print(f"\n40 photos {few:.3f} GB, 400 photos {many:.3f} GB")
    assert many <= 1.05 * few
