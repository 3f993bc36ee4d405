"""`file.py:function`: a model that its owner's own code builds."""

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from torch import nn

Result = TypeVar("Result")


def is_function(name: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a function in a Python file, and not of a checkpoint."""
    return str(name).rpartition(":")[0].endswith(".py")


def call(name: str) -> nn.Module:
    """Run a file and call one of its functions, without arguments.

    Args:
        name: `file.py:function`. This file is run, and nothing that was not named; what it imports
            from beside it is found.

    Returns:
        The model that the function returned.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It has no such function, fails, or returns no model.
    """
    file, _, function = name.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected one that defines {function}()")
    with beside(path):
        module = attempt(path, lambda: run(path))
        make = getattr(module, function, None)
        if not callable(make):
            raise ValueError(f"{path}: defines no function {function!r}, expected one")
        _check_arguments(name, make)
        model = attempt(path, make)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name}: returned {type(model).__name__}, expected a torch.nn.Module")
    return model


def _check_arguments(name: str, make: Callable[..., object]) -> None:
    try:
        inspect.signature(make).bind()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}; expected a function without arguments") from None


def attempt(path: Path, action: Callable[[], Result]) -> Result:
    """Run the owner's code; an error in it is told with the line it comes from."""
    try:
        return action()
    except Exception as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename) == path
        ]
        where = getattr(error, "lineno", None) or (lines[-1] if lines else None)
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path}, line {where}: {reason}" if where else f"{path}: {reason}"
        ) from error


def run(path: Path) -> ModuleType:
    """Import a file under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"_model_of_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@contextmanager
def beside(path: Path) -> Iterator[None]:
    """Let a file import its neighbors, last, so that none of them hides another module."""
    folder = str(path.resolve().parent)
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
