"""The state of a training run in its last checkpoint, read without trusting it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mrcnn_steps.class_names import check_class_names, difference
from mrcnn_steps.model.checkpoint import FLOATS
from mrcnn_steps.model.reading import read_torch

# What AdamW remembers of each parameter.
MOMENTS = ("step", "exp_avg", "exp_avg_sq")

# What may differ between a run and its continuation.
FREE_SETTINGS = ("resume", "workers", "device", "out", "evaluations", "save_minutes")


def read_state(path: Path, settings: Mapping[str, Any], class_names: tuple[str, ...]) -> Any:
    """Read the state that a run goes on from.

    Args:
        path: The run's last checkpoint.
        settings: The arguments of the continuation.
        class_names: Of the data now.

    Returns:
        A dict with `model`, `average`, `optimizer` (each a dict), `step` and `seconds`.

    Raises:
        ValueError: A part is missing or of another kind, or settings or class names differ.
    """
    content = read_torch(path)
    if "settings" not in content:
        raise ValueError(f"{path}: holds weights but no training state to resume from")
    for part in ("settings", "model", "average", "optimizer"):
        if not isinstance(content.get(part), dict):
            fail(path, part, content.get(part), "a dict")
    for part in ("model", "average"):
        for key, value in content[part].items():
            if not isinstance(key, str) or not isinstance(value, Tensor):
                fail(path, f"{part}[{key!r}]", value, "tensors by their names")
    for part, kinds in (("step", (int,)), ("seconds", (int, float))):
        # `type(...) in`: True is an int to `isinstance`.
        if type(content.get(part)) not in kinds or not 0 <= content[part] < 10**12:
            fail(path, part, content.get(part), "a number from 0")
    # Before the settings, where other annotations are a number only.
    names = check_class_names(content.get("class_names"), f"{path}: class_names")
    if told := difference(names, class_names):
        raise ValueError(f"{path}: the run was started with other classes: {told}")
    check_settings(path, content["settings"], settings)
    return content


def fail(path: Path, part: str, found: object, expected: str) -> None:
    """Refuse a part of a checkpoint."""
    what = "nothing" if found is None else f"{type(found).__name__} {found!r:.40}"
    raise ValueError(f"{path}: {part}: found {what}, expected {expected}")


def check_settings(path: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings than a run was started with."""
    # As text: a damaged file may hold tensors there, which cannot be compared.
    changed = [
        f"{name!s:.40}: {then.get(name)!s:.80} then, {now.get(name)!s:.80} now"
        for name in {**then, **now}
        if name not in FREE_SETTINGS and str(now.get(name)) != str(then.get(name))
    ]
    if changed:
        raise ValueError(f"{path}: the run was started with other settings: {'; '.join(changed)}")


def load_moments(optimizer: torch.optim.Optimizer, found: Mapping[str, Any], path: Path) -> None:
    """Give an optimizer what it remembered of each parameter.

    Its rates come from the settings, which are the same, and not from the file.

    Raises:
        ValueError: Something is missing, or of another shape than the parameter.
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    moments = found.get("state")
    if not isinstance(moments, dict):
        fail(path, "optimizer.state", moments, "a dict")
        return
    taken = {}
    for row, values in moments.items():
        where = f"optimizer.state[{row!r}]"
        if type(row) is not int or not 0 <= row < len(parameters) or not isinstance(values, dict):
            fail(path, where, values, f"a dict for each of {len(parameters)} parameters")
        for name in MOMENTS:
            value = values.get(name)
            shape = () if name == "step" else parameters[row].shape
            if not is_plain(value) or value.shape != shape:
                fail(path, f"{where}.{name}", value, f"finite numbers of shape {list(shape)}")
        taken[row] = {name: values[name] for name in MOMENTS}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": taken, "param_groups": groups})


def is_plain(value: object) -> bool:
    """Whether a value is a dense tensor of finite numbers."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_meta
        and value.dtype in FLOATS
        and bool(value.isfinite().all())
    )
