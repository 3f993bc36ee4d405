"""What a stage refuses at its door: one helper for each kind of argument.

Native code reads tensors without looking: a wrong index or shape ends in a crash, a NaN in results
that look like numbers. Every message names the argument, what was expected and what was found.
"""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

# An image larger than this is a mistake, not a photo: 100 megapixels.
MAX_PIXELS = 100_000_000

FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INDEX = (torch.int64, torch.int32)
BOOL = (torch.bool,)
_KINDS = {FLOATING: "floating-point", INDEX: "int64", BOOL: "bool"}

# Most samples of an RoI, and most pixels that its side may have where RoIAlign takes the more
# samples the larger it is: beyond them it would not come back.
MOST_SAMPLES, MOST_SAMPLED = 1 << 20, 16_384

# Why the outputs of a network may be NaN.
DIVERGED = "; did the training diverge?"

Shape = Sequence[int | str]


def check_tensor(
    value: Any,
    name: str,
    dtypes: tuple[torch.dtype, ...],
    shape: Shape | None = None,
    meta: bool = False,
) -> None:
    """Refuse what is not a tensor of some dtype and shape.

    Args:
        value: what a caller passed.
        name: the argument's name, for the message.
        dtypes: those that are allowed, such as `FLOATING`.
        shape: each size, or a letter for any; any shape without.
        meta: whether a tensor without values, on torch's device "meta", may pass.

    Raises:
        TypeError: it is no tensor.
        ValueError: it has no dense values, another dtype or another shape.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, found {type(value).__name__}")
    if value.layout != torch.strided or value.is_nested or (value.is_meta and not meta):
        found = f"{'nested' if value.is_nested else value.layout} on {value.device}"
        raise ValueError(f"{name}: expected a dense tensor with values, found {found}")
    fits = shape is None or (
        value.ndim == len(shape)
        and all(
            isinstance(size, str) or size == n for size, n in zip(shape, value.shape, strict=True)
        )
    )
    if value.dtype not in dtypes or not fits:
        kind = _KINDS.get(dtypes, " or ".join(str(each) for each in dtypes))
        sizes = "" if shape is None else f" of shape [{', '.join(map(str, shape))}]"
        raise ValueError(
            f"{name}: expected {kind}{sizes}, found {value.dtype} of shape {list(value.shape)}"
        )


def check_floats(
    value: Any, name: str, shape: Shape | None = None, for_native_code: bool = False
) -> None:
    """Refuse what is not a tensor of floating-point numbers.

    Args:
        value: what a caller passed.
        name: the argument's name, for the message.
        shape: see `check_tensor`.
        for_native_code: also refuse half precision on the CPU, for which torchvision's NMS and
            RoIAlign are not written.

    Raises:
        TypeError: it is no tensor.
        ValueError: see `check_tensor`.
    """
    check_tensor(value, name, FLOATING, shape)
    if for_native_code and value.device.type == "cpu" and value.dtype.itemsize < 4:
        raise ValueError(f"{name}: expected float32 or float64 on the CPU, found {value.dtype}")


def check_same_dtype(value: Tensor, name: str, other: Tensor, other_name: str) -> None:
    """Refuse tensors of two precisions.

    Args:
        value: a tensor.
        name: the argument's name, for the message.
        other: the one that it is used with.
        other_name: that argument's name.

    Raises:
        ValueError: their dtypes differ.
    """
    if value.dtype != other.dtype:
        raise ValueError(f"{name}: expected {other.dtype} as {other_name}, found {value.dtype}")


def check_finite(value: Tensor, name: str) -> None:
    """Refuse NaN and infinite numbers.

    Args:
        value: [N, …] of any shape.
        name: the argument's name, for the message.

    Raises:
        ValueError: a value is not finite; the message names the first bad row.
    """
    finite = torch.isfinite(value)
    if not finite.all():
        row = int((~finite).nonzero()[0, 0])
        raise ValueError(
            f"{name}: expected finite numbers, found {value[row].tolist()} in row {row}"
        )


def check_no_nan(value: Tensor, name: str, hint: str = "") -> None:
    """Refuse NaN.

    Args:
        value: [N, …] of any shape.
        name: the argument's name, for the message.
        hint: what may be the reason, for the message.

    Raises:
        ValueError: a value is NaN; the message names the first bad row.
    """
    if value.isnan().any():
        row = int(value.isnan().nonzero()[0, 0]) if value.ndim else 0
        raise ValueError(f"{name}: expected numbers, found NaN{hint} (row {row})")


def check_indices(value: Any, name: str, rows: int | str, count: int) -> None:
    """Refuse what does not index `count` things.

    Args:
        value: what a caller passed.
        name: the argument's name, for the message.
        rows: how many indices there have to be, or a letter for any number.
        count: how many things there are.

    Raises:
        TypeError: it is no tensor.
        ValueError: the dtype is not int64, the shape not [rows], or an index not 0…count-1; the
            message names the first bad row.
    """
    check_tensor(value, name, INDEX, (rows,))
    if len(value) and not 0 <= int(value.min()) <= int(value.max()) < count:
        row = int(((value < 0) | (value >= count)).nonzero()[0, 0])
        expected = f"0…{count - 1}" if count else "none, as there is nothing to index"
        raise ValueError(f"{name}: expected {expected}, found {int(value[row])} in row {row}")


def check_image_size(
    value: Any, name: str = "image_size", most: int = MAX_PIXELS, least: int = 1
) -> tuple[int, int]:
    """Refuse what is not the size of an image.

    Args:
        value: what a caller passed.
        name: the argument's name, for the message.
        most: pixels that it may have.
        least: pixels that a side has to have; a crop may be empty.

    Returns:
        `(height, width)` in pixels.

    Raises:
        ValueError: not two whole numbers of at least `least`, or too many pixels.
    """
    pair = isinstance(value, (tuple, list)) and len(value) == 2
    if not pair or not all(_is_whole(side) and side >= least for side in value):
        raise ValueError(
            f"{name}: expected (height, width) in whole pixels, at least {least}, found {value!r}"
        )
    height, width = (int(side) for side in value)
    if height * width > most:
        raise ValueError(f"{name}: expected at most {most:,} pixels, found {height} × {width}")
    return height, width


def check_number(value: Any, name: str) -> None:
    """Refuse what is not a number: a threshold, a least size.

    Args:
        value: what a caller passed.
        name: the argument's name, for the message.

    Raises:
        ValueError: it is no number, or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        raise ValueError(f"{name}: expected a number, found {value!r}")


def check_positive(value: Any, name: str) -> None:
    """Refuse what is not a finite number above 0: a scale, a side.

    Args:
        value: what a caller passed.
        name: the argument's name, for the message.

    Raises:
        ValueError: it is no number, not finite, or not above 0.
    """
    check_number(value, name)
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: expected a finite number above 0, found {value!r}")


def check_list(value: Any, name: str) -> None:
    """Refuse what is not a sequence, such as a list, a tuple or a range.

    Args:
        value: what a caller passed.
        name: the argument's name, for the message.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ValueError(f"{name}: expected a list or tuple, found {type(value).__name__}")


def check_flag(value: Any, name: str) -> None:
    """Refuse what is neither True nor False.

    Args:
        value: what a caller passed.
        name: the argument's name, for the message.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected True or False, found {value!r}")


def check_whole(value: Any, name: str, least: int = 0, most: int | None = None) -> None:
    """Refuse what is not a whole number: a count, a row.

    Args:
        value: what a caller passed.
        name: the argument's name, for the message.
        least: the smallest that is allowed.
        most: the largest that is allowed; any without.

    Raises:
        ValueError: it is no whole number, too small or too large.
    """
    if not _is_whole(value) or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, found {value!r}")
    if most is not None and value > most:
        raise ValueError(f"{name}: expected a whole number of at most {most:,}, found {value:,}")


def check_sampled(rois: Tensor, name: str) -> None:
    """Refuse RoIs for which RoIAlign would take more samples than anyone waits for.

    Args:
        rois: [R, 4] in pixels of the picture that is sampled.
        name: the argument's name, for the message.

    Raises:
        ValueError: a side is too long; the message names the row.
    """
    large = (rois[:, 2:] - rois[:, :2] > MOST_SAMPLED).any(dim=1)
    if large.any():
        row = int(large.nonzero()[0])
        raise ValueError(
            f"{name}: expected sides of at most {MOST_SAMPLED:,} pixels of what is sampled, found "
            f"{rois[row].tolist()} in row {row}"
        )


def check_row(row: Any, name: str, count: int) -> None:
    """Refuse what is not a row of `count` things.

    Args:
        row: what a caller passed.
        name: of one of them, for the message: "candidate".
        count: how many there are.

    Raises:
        IndexError: there is no such row.
    """
    if not _is_whole(row) or not 0 <= row < count:
        raise IndexError(f"{name} {row} does not exist: there are {count:,}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
