"""One process or many: `torchrun` starts many and tells each its place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed


@contextmanager
def process_group(device: str | None) -> Iterator[torch.device]:
    """Join the processes that `torchrun` started, if it did.

    Args:
        device: What the user asked for; None takes a GPU where there is one.

    Yields:
        The device of this process.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if "WORLD_SIZE" not in os.environ:
        yield torch.device(kind)
        return
    here = torch.device(kind)
    if here.type == "cuda":
        here = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(here)
    distributed.init_process_group("nccl" if here.type == "cuda" else "gloo")
    try:
        yield here
    finally:
        distributed.destroy_process_group()
