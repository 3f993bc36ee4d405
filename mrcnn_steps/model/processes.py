"""One process or many: `torchrun` starts many and tells each its place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed


def choose_device(name: str | None) -> torch.device:
    """Find the device of a name.

    Args:
        name: What the user asked for; None takes a GPU where there is one.

    Returns:
        The device.

    Raises:
        ValueError: There is no such device here; names those that there are.
    """
    here = devices()
    if name is None:
        return torch.device("cuda" if "cuda" in here else "cpu")
    if name not in here:
        raise ValueError(f"--device: found {name!r}, expected one of {', '.join(here)}")
    return torch.device(name)


def devices() -> list[str]:
    """Give the devices of this machine, as torch calls them."""
    found = ["cpu"]
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        if kind is not None:
            numbers = range(torch.accelerator.device_count())
            found += [kind.type, *(f"{kind.type}:{number}" for number in numbers)]
    return found


@contextmanager
def process_group(device: str | None, patience: timedelta | None = None) -> Iterator[torch.device]:
    """Join the processes that `torchrun` started, if it did.

    Args:
        device: What the user asked for; None takes a GPU where there is one.
        patience: How long a process waits for the others; torch's own minutes without.

    Yields:
        The device of this process.

    Raises:
        ValueError: There is no such device here.
    """
    here = choose_device(device)
    if "WORLD_SIZE" not in os.environ:
        yield here
        return
    if here.type == "cuda":
        here = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(here)
    distributed.init_process_group("nccl" if here.type == "cuda" else "gloo", timeout=patience)
    try:
        yield here
    finally:
        distributed.destroy_process_group()
