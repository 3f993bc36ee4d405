"""Bilinear resizing of masks whose outside is zero."""

import torch
from jaxtyping import Float
from torch import Tensor


def resize_matrix(count: int, target: int, like: Tensor) -> Float[Tensor, "target count"]:
    """Make the weights that resize `count` values to `target` values bilinearly.

    Values sit at the centers of their pixels; beyond the ends there are zeros. Resizing a picture
    is `resize_matrix(h, H) @ picture @ resize_matrix(w, W).T`.

    Args:
        count: values to start from, at least 1.
        target: values to make.
        like: a tensor of the dtype and on the device wanted.

    Returns:
        [target, count], each row adding up to 1, or less at the ends.
    """
    centers = torch.arange(target, dtype=like.dtype, device=like.device) + 0.5
    position = centers * (count / max(target, 1)) - 0.5
    pixels = torch.arange(count, dtype=like.dtype, device=like.device)
    return (1 - (position[:, None] - pixels).abs()).clamp(min=0)
