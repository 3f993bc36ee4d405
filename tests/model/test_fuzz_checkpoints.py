"""Whatever a checkpoint holds, it is loaded or refused in words: seeded cases, what once failed."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mrcnn_steps.model import load_model

NAMES = ["background", "cat", "dog"]
ABOUT = {"architecture": "tiny", "class_names": NAMES, "image_size": 256}
SCORE = "roi_heads.box_predictor.cls_score.weight"
ONE = {"backbone.body.blocks.0.filter.weight": torch.zeros(1)}


def refused(path: Path) -> str:
    """What is said about a file, which must be named; "" if it is loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = load_model(path)
        except ValueError as error:
            said = str(error)
        else:
            said = ""
    if said:
        assert said.startswith(f"{path}: ")
        assert len(said) < 4000
        return said
    assert all(isinstance(name, str) for name in model.class_names)
    assert all(each.isfinite().all() for each in model.state_dict().values())
    return ""


# --- what once failed -----------------------------------------------------------------------------

METADATA = {
    "class_names a number": ({"class_names": "5"}, "class_names: found int 5"),
    "class_names a text": ({"class_names": '"cat"'}, "class_names: found str 'cat'"),
    "class_names too deep": ({"class_names": "[" * 100_000}, "expected a safetensors file"),
    "class_names of numbers": ({"class_names": "[1, 2, 3]"}, "class_names[0]: found 1"),
    "class_names without background": ({"class_names": '["a", "b", "c"]'}, "the background first"),
    "image_size a word": ({"image_size": "x"}, "image_size: found 'x'"),
    "image_size odd": ({"image_size": "101"}, "image_size: found '101'"),
    "image_size huge": ({"image_size": "9" * 5000}, "image_size: found '999"),
    "architecture nonsense": ({"architecture": "nonsense"}, "architecture: found 'nonsense'"),
}


@pytest.mark.parametrize("case", METADATA)
def test_metadata_of_a_safetensors_file(tmp_path: Path, case: str) -> None:
    metadata, said = METADATA[case]
    save_file(ONE, tmp_path / "model.safetensors", metadata)
    assert said in refused(tmp_path / "model.safetensors")


PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "architecture a tensor": ({"architecture": torch.zeros(3)}, "architecture: found tensor("),
    "architecture a list": ({"architecture": ["tiny"]}, "architecture: found ['tiny']"),
    "image_size nothing": ({"image_size": None}, "image_size: found None"),
    "image_size true": ({"image_size": True}, "image_size: found True"),
    "image_size 100": ({"image_size": 100}, "image_size: "),
    "class_names numbers": ({"class_names": (1, 2, 3)}, "class_names[0]: found 1"),
    "class_names a dict": ({"class_names": {0: "cat"}}, "class_names: found dict"),
    "class_names a tensor": ({"class_names": torch.zeros(())}, "class_names: found Tensor"),
    "class_names twice": ({"class_names": ["BG", "cat", "cat"]}, "found 'cat' twice"),
    "class_names too many": ({"class_names": [*NAMES, "cow"]}, "found 4 names"),
}


@pytest.mark.parametrize("case", PARTS)
def test_parts_of_a_torch_file(model: nn.Module, tmp_path: Path, case: str) -> None:
    part, said = PARTS[case]
    torch.save({"model": model.state_dict()} | ABOUT | part, tmp_path / "model.pth")
    assert said in refused(tmp_path / "model.pth")


WEIGHTS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "no dimension": (lambda w: torch.zeros(()), "found [], expected [3, 384]"),
    "no rows": (lambda w: w[:0], "found [0, 384], expected [3, 384]"),
    "meta": (lambda w: w.to("meta"), "found no numbers"),
    "sparse": (lambda w: w.to_sparse(), "found sparse or quantized numbers"),
    "NaN": (lambda w: w * torch.nan, "found NaN or infinity"),
    "too large": (lambda w: w.double() + 1e300, "found NaN or infinity"),
    "complex": (lambda w: w.to(torch.complex64), "found torch.complex64"),
    "bytes": (lambda w: w.to(torch.uint8), "found torch.uint8"),
    "eight bits": (lambda w: w.to(torch.float8_e5m2), "found torch.float8_e5m2"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_are_no_numbers(model: nn.Module, tmp_path: Path, case: str) -> None:
    change, said = WEIGHTS[case]
    state = model.state_dict()
    state[SCORE] = change(state[SCORE])
    torch.save({"model": state} | ABOUT, tmp_path / "model.pth")
    assert said in refused(tmp_path / "model.pth")


def test_a_box_layer_without_rows(tmp_path: Path) -> None:
    head = {"head.classification_head.cls_logits": 9, "head.regression_head.bbox_reg": 0}
    weights = {f"{name}.weight": torch.zeros(rows, 1) for name, rows in head.items()}
    path = tmp_path / "model.safetensors"
    save_file(weights, path, {"architecture": "retinanet_resnet50_fpn"})
    assert "does not fit the model" in refused(path)


@pytest.mark.parametrize("rows", [90_000, 5_000_000])
def test_a_number_of_classes_is_not_believed_before_the_shapes_fit(
    tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 5 MB must not make a model of gigabytes: none is built."""
    save_file(ONE | {SCORE: torch.zeros(rows, 1, dtype=torch.uint8)}, tmp_path / "m.safetensors")
    monkeypatch.setattr("mrcnn_steps.model.checkpoint.build", lambda *a: pytest.fail("built"))
    assert "found" in refused(tmp_path / "m.safetensors")


# --- seeded cases ---------------------------------------------------------------------------------


def odd_value(generator: random.Random) -> Any:
    return generator.choice(
        [
            *(None, True, -1, 0, 10**30, 0.5, float("nan"), "", "tiny", "\ud800", [], {}, [None]),
            *({1: 2}, torch.zeros(()), torch.zeros(0), torch.full((3,), torch.nan)),
            *(NAMES, {"a": torch.zeros(2)}, ["background"], b"bytes", 1 + 2j),
        ]
    )


def odd_tensor(value: Tensor, generator: random.Random) -> Any:
    changes: list[Callable[[Tensor], Any]] = [
        *(lambda v: v[:0], lambda v: v.flatten(), lambda v: v.sum(), lambda v: v[None]),
        *(lambda v: v.to("meta"), lambda v: v.to_sparse(), lambda v: v * torch.inf),
        *(lambda v: v.half(), lambda v: v.double(), lambda v: v.to(torch.int64)),
        *(lambda v: v.to(torch.bool), lambda v: None, lambda v: v.tolist(), lambda v: "weights"),
        lambda v: torch.zeros(()).expand(v.shape),
    ]
    return generator.choice(changes)(value)


@pytest.mark.parametrize("chunk", range(4))
def test_seeded_cases(model: nn.Module, tmp_path: Path, chunk: int) -> None:
    """One to three things are replaced, removed, renamed or moved."""
    path = tmp_path / "model.pth"
    for seed in range(40 * chunk, 40 * chunk + 40):
        generator = random.Random(seed)
        state: dict[Any, Any] = dict(model.state_dict())
        content: dict[Any, Any] = {"model": state} | ABOUT
        for _ in range(generator.randrange(1, 4)):
            key = generator.choice([SCORE, *generator.sample([*state], 2)])
            action = generator.randrange(6)
            if action == 0:
                content[generator.choice([*content, "average", "state_dict"])] = odd_value(
                    generator
                )
            elif action == 1 and isinstance(state.get(key), Tensor):
                state[key] = odd_tensor(state[key], generator)
            elif action == 2:
                state.pop(key, None)
            elif action == 3:
                state[generator.choice([7, None, "other", "a.b", ("x",)])] = torch.zeros(2)
            elif action == 4:
                content.pop(generator.choice([*content, None]), None)
            else:
                content = {generator.choice(["checkpoint", "net", 5]): content}
        torch.save(content, path)
        refused(path)
