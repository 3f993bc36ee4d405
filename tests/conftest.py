"""What the tests share: the reference numbers, random boxes, and what refusing means."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import jaxtyping
import numpy as np
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from mrcnn_steps import threads

# The processes of the tests share the processors.
threads.prepare()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

REFERENCE = Path(__file__).parent / "reference"

settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


class Scheduler(LoadScopeScheduling):
    """Keeps each file in one process, and all that drive a browser in the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "browser" if file.startswith("tests/browser/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduler:
    """Share the tests out among the processes."""
    return Scheduler(config, log)


@pytest.fixture(scope="session")
def refused() -> tuple[type[Exception], ...]:
    """How a wrong shape or dtype ends: at the checked annotation, or else with our own message."""
    return ValueError, jaxtyping.TypeCheckError


@pytest.fixture(scope="session")
def reference() -> Callable[[str], dict[str, np.ndarray]]:
    """Load a file of reference numbers by its name."""
    return lambda name: dict(np.load(REFERENCE / f"{name}.npz"))


@pytest.fixture(scope="session", params=["case0", "case1", "case2", "case_voc512"])
def case(request, reference) -> SimpleNamespace:
    """One reference photo: masks and everything the notes' functions made of them."""
    numbers = reference(request.param)
    size = int(numbers["size"])
    count = len(numbers["masks"])
    masks = np.unpackbits(numbers["masks"], axis=1).reshape(count, size, size).astype(bool)
    mini_masks = np.unpackbits(numbers["mini_masks"], axis=1).reshape(count, 56, 56).astype(bool)
    return SimpleNamespace(
        size=size,
        anchor_stride=int(numbers["anchor_stride"]),
        masks=torch.from_numpy(masks),
        boxes=torch.from_numpy(numbers["boxes"]).float(),
        crowd=torch.from_numpy(numbers["crowd"]),
        match=torch.from_numpy(numbers["match"]),
        positive_deltas=torch.from_numpy(numbers["positive_deltas"]),
        mini_masks=torch.from_numpy(mini_masks),
        expanded_iou=torch.from_numpy(numbers["expanded_iou"]).float(),
    )


@pytest.fixture(scope="session")
def random_boxes() -> Callable[..., Tensor]:
    """Make boxes inside an image, sides log-uniform as those of real objects are."""

    def make(
        count: int,
        image_size: tuple[int, int] = (600, 800),
        seed: int = 0,
        sides: tuple[float, float] = (8, 400),
    ) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        height, width = image_size
        limit = torch.tensor([width, height])
        spread = torch.rand((count, 2), generator=generator)
        size = (sides[0] * (sides[1] / sides[0]) ** spread).minimum(limit)
        corner = torch.rand((count, 2), generator=generator) * (limit - size)
        return torch.cat((corner, corner + size), dim=1)

    return make
