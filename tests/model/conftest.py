"""A small model with random weights, its file, a machine without a network, and small data sets."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mrcnn_steps.model.checkpoint import save_weights
from mrcnn_steps.model.network import tiny
from tests.model.runs import CATEGORIES, HEIGHT, OBJECTS, WIDTH, rectangle, write_data


@pytest.fixture(scope="session")
def model() -> nn.Module:
    torch.manual_seed(0)
    return tiny(("background", "cat", "dog"), 256)


@pytest.fixture
def saved(model: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_weights(model, path, "tiny", 256)
    return path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network (every address leads to a port where nobody listens), and an empty cache."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Six photos of a square and a disk."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def content() -> dict[str, Any]:
    """Rectangles on three photos, and a fourth photo that shows nothing."""
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT}
            for i in (1, 2, 3, 4)
        ],
        "categories": [{"id": i, "name": name} for i, name in CATEGORIES.items()],
        "annotations": [
            {
                "id": number,
                "image_id": photo,
                "category_id": category,
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": crowd,
                "segmentation": rectangle(x, y, w, h, crowd),
            }
            for number, (photo, category, x, y, w, h, crowd) in enumerate(OBJECTS)
        ],
    }
