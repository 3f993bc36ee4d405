"""Checkpoint files as they are found, read without trusting them.

Training scripts put the weights under a name of their own, wrappers put a prefix before every key.
Both are undone, and said in a `CheckpointWarning`, so that nobody has to rewrite a file by hand.
"""

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

# Where the weights lie in ours and in what torchvision's script, Lightning and the tutorials write.
KNOWN_PARTS = ("average", "model", "state_dict", "model_state_dict")

# The parts of torchvision's detectors: no wrapper's prefix.
OWN_PARTS = frozenset({"anchor_generator", "backbone", "head", "roi_heads", "rpn"})

# What `torch.compile` writes into the keys of a compiled module, wherever it is.
COMPILED = "_orig_mod."

SAVE = 'torch.save(model.state_dict(), "weights.pth")'


class CheckpointWarning(UserWarning):
    """Says how a file was read that was not written by this package."""


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint.

    Args:
        path: `.safetensors`, or anything `torch.load(weights_only=True)` accepts.

    Returns:
        The weights, and what else the file says (`architecture`, `class_names`, `image_size`).

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is not a checkpoint.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such checkpoint; expected a file, "tiny", "coco" or "file.py:function"'
        )
    with open(path, "rb"):
        pass  # a file that may not be read is no damaged one
    if path.suffix == ".safetensors":
        weights, about = read_safetensors(path)
        where = ""
    else:
        about = read_torch(path)
        where, weights = find_weights(about, path)
    if where and where not in KNOWN_PARTS[:2]:
        say(f"{path}: the weights are those under {where!r}")
    return strip(weights, path), {k: v for k, v in about.items() if isinstance(k, str)}


def say(text: str) -> None:
    """Tell the user how a file was read."""
    warnings.warn(text, CheckpointWarning, stacklevel=2)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Give the tensors of a safetensors file, and its metadata."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about: dict[str, Any] = dict(file.metadata() or {})
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if "class_names" in about:
            about["class_names"] = json.loads(about["class_names"])
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: found {error}, expected a safetensors file") from error
    if not weights:
        raise ValueError(f"{path}: found no tensors, expected a checkpoint")
    return weights, about


def read_torch(path: Path) -> dict[Any, Any]:
    """Give the dict that `torch.save` wrote."""
    try:
        # torchvision's own training script saves its arguments beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch reports damaged and unsafe files with many exception types.
        raise ValueError(refusal(path, error)) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: found {type(content).__name__}, expected a dict of tensors")
    return content


def refusal(path: Path, error: Exception) -> str:
    """Why torch would not load a file, and what to do about it."""
    try:
        classes = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:
        # The file is damaged, or older than the format that can be searched.
        classes = [word for word in str(error).split() if word.startswith("torch.nn.")]
    if any(name.startswith("torch.nn.") for name in classes):
        return (
            f"{path}: found a whole pickled model, which runs code when it is read; where it was "
            f"made, save its weights alone: {SAVE}"
        )
    found = f" ({', '.join(sorted(classes)[:3])})" if classes else ""
    return (
        f"{path}: found {type(error).__name__}{found}, expected a checkpoint that torch can load "
        f"with weights_only=True, such as {SAVE} writes"
    )


def find_weights(content: dict[Any, Any], path: Path) -> tuple[str, dict[str, Tensor]]:
    """Find the one dict of tensors inside a checkpoint.

    Returns:
        Under which name it lies, "" for the whole, and its tensors.

    Raises:
        ValueError: There is none, more than one, or its keys are no texts.
    """
    for part in KNOWN_PARTS:
        if isinstance(content.get(part), dict):
            found = list(dicts_of_tensors(content[part], part))
            break
    else:
        found = list(dicts_of_tensors(content, ""))
    most = max((len(weights) for _, weights in found), default=0)
    if most == 0:
        raise ValueError(f"{path}: found no tensors, expected a checkpoint")
    # An optimizer's state or a metric has few tensors a dict; a second model has as many.
    large = [(where, weights) for where, weights in found if 2 * len(weights) > most]
    if len(large) > 1:
        names = ", ".join(repr(where) for where, _ in large)
        raise ValueError(f"{path}: found weights under {names}, expected one dict of tensors")
    where, weights = large[0]
    if odd := [key for key in weights if not isinstance(key, str)]:
        raise ValueError(f"{path}: found the key {odd[0]!r:.60}, expected names of weights")
    return where, weights


def dicts_of_tensors(
    content: Any, where: str, depth: int = 3
) -> Iterator[tuple[str, dict[Any, Tensor]]]:
    """Give the tensors of each dict inside a checkpoint, with the way to it."""
    if not isinstance(content, dict):
        return
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield where, tensors
    for key, value in content.items():
        if isinstance(value, dict) and depth:
            yield from dicts_of_tensors(value, f"{where}.{key}" if where else str(key), depth - 1)


def strip(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Undo what wrappers put before the keys of a detector: `module.`, `_orig_mod.`, `model.` ….

    What else a wrapper holds, such as the counter of an average or the weights of a loss, is left
    out.

    Raises:
        ValueError: There is more than one detector.
    """
    plain = {key.replace(COMPILED, ""): value for key, value in weights.items()}
    prefixes = sorted({prefix for key in plain if (prefix := prefix_of(key)) is not None})
    prefix = prefixes[0] if prefixes and "" not in prefixes else ""
    if prefix and len(prefixes) > 1:
        names = ", ".join(repr(each[:-1]) for each in prefixes[:5])
        raise ValueError(
            f"{path}: found detectors under {names}, expected one, saved alone: {SAVE}"
        )
    undone = [COMPILED] * any(COMPILED in key for key in weights) + [prefix] * bool(prefix)
    if undone:
        say(f"{path}: the keys were read without {' and '.join(map(repr, undone))}")
    if others := [key for key in plain if not key.startswith(prefix)]:
        many = f" and {len(others) - 3} more" if len(others) > 3 else ""
        say(f"{path}: left out, as no part of the model: {', '.join(others[:3])}{many}")
    return {
        key.removeprefix(prefix): value for key, value in plain.items() if key.startswith(prefix)
    }


def prefix_of(key: str) -> str | None:
    """Give what stands before the part of a detector in a key; None without such a part."""
    words = key.split(".")
    place = next((i for i, word in enumerate(words) if word in OWN_PARTS), None)
    return None if place is None else "".join(f"{word}." for word in words[:place])
