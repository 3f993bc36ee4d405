"""The quick look at all annotations says yes only where the closer look finds nothing else."""

import copy
import math
from itertools import pairwise

import numpy as np
import pytest

from mrcnn_steps.data.agreement import BATCH, agreeing
from mrcnn_steps.data.annotation import read_annotation
from mrcnn_steps.data.field_error import FieldError

SIZES = {1: (480, 640), 2: (30, 50)}
CATEGORIES = {3: "nut"}


def outlined(generator: np.random.Generator, number: int) -> dict:
    """One to three polygons side by side, with the box and the area that they have."""
    image_id = int(generator.integers(1, 3))
    height, width = SIZES[image_id]
    edges = np.linspace(0, width, int(generator.integers(2, 5)))
    polygons, area = [], 0.0
    for left, right in pairwise(edges):
        corners = np.sort(generator.uniform((left, 0), (right, height), (2, 2)), axis=0).round(2)
        (x1, y1), (x2, y2) = corners.tolist()
        polygons.append([x1, y1, x2, y1, x2, y2])
        area += (x2 - x1) * (y2 - y1) / 2
    points = np.concatenate(polygons).reshape(-1, 2)
    low, high = points.min(axis=0), points.max(axis=0)
    record = {"id": number, "image_id": image_id, "category_id": 3, "iscrowd": 0, "area": area}
    return record | {"bbox": [*low.tolist(), *(high - low).tolist()], "segmentation": polygons}


def damaged(record: dict, generator: np.random.Generator) -> dict:
    """Move or replace one number."""
    record = copy.deepcopy(record)
    places = (record["bbox"], record["segmentation"][0], record)
    place = places[generator.integers(len(places))]
    key = "area" if place is record else int(generator.integers(len(place)))
    strange = [math.nan, math.inf, -math.inf, -1, 0, 1e12, 10**400, True, "5", None, []]
    if generator.random() < 0.3:
        place[key] = strange[generator.integers(len(strange))]
    else:
        place[key] += float(generator.choice([-1, 1])) * 10 ** generator.uniform(-1, 3)
    return record


def test_right_annotations_need_no_closer_look():
    generator = np.random.default_rng(0)
    records = [outlined(generator, number) for number in range(BATCH + 100)]
    assert all(agreeing(records, SIZES))


def test_what_agrees_is_read_as_by_the_closer_look():
    """One number of each is moved: some still agree, and what is wrong is never let through."""
    generator = np.random.default_rng(1)
    agreed = refused = 0
    for number in range(4000):
        record = damaged(outlined(generator, number), generator)
        [agrees] = agreeing([record], SIZES)
        try:
            expected = read_annotation(record, SIZES, CATEGORIES)
        except FieldError:
            assert not agrees
            refused += 1
        else:
            if agrees:
                assert read_annotation(record, SIZES, CATEGORIES, agrees) == expected
                agreed += 1
    assert min(agreed, refused) > 500


@pytest.mark.parametrize(
    "change",
    [
        *({field: value} for field in ("segmentation", "bbox") for value in (None, [], {}, "x", 7)),
        *({"segmentation": [points]} for points in (None, 7, [1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7])),
        *({"image_id": value} for value in (None, 99, "1", [1], True)),
        {"segmentation": {"size": [480, 640], "counts": [480 * 640]}},
        {"bbox": [1, 2, 3]},
        {"segmentation": [[5, 5, 6, 5, 6, 6]], "bbox": [6, 5, -0.5, 1], "area": 0.5},
        {"segmentation": [[0, 0, 50, 30] * 21_000], "bbox": [0, 0, 50, 30], "area": 0},
    ],
)
def test_one_strange_record_is_found_among_others(change):
    generator = np.random.default_rng(2)
    records = [outlined(generator, number) for number in range(7)]
    records[3] |= {"image_id": 2} | change
    records[5] = "no record"
    assert list(agreeing(records, SIZES)) == [True] * 3 + [False, True, False, True]
