"""Calls of `trace` with photos, names and generators that may be wrong, seed after seed.

Run as a program, without the checked annotations of the tests, so that what answers is `trace`:

    python trace_calls.py FIRST LAST      # seeds; prints each bad call, ends with status 1 if any

A call is good if its result is the model's own, to the bit, or if a TypeError or ValueError names
the argument, what was expected and what was found.
"""

import random
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrcnn_steps import trace
from mrcnn_steps.model.network import tiny

NAMES = ("background", "nut", "bolt")
IN_WORDS = re.compile(
    r"(image|class_names|generator)(\[\d+\])?: (.*expected .*found|.*found .*expected)", re.DOTALL
)

DTYPES = (
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.uint16),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.complex32, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2),
)

# What a photo may be turned into, one step or two.
TURNS: list[Callable[[Tensor], Any]] = [
    lambda photo: photo,
    lambda photo: photo.transpose(1, 2),
    lambda photo: photo.flip(0),
    lambda photo: photo[:1].expand(3, -1, -1),
    lambda photo: photo[None],
    lambda photo: photo.permute(1, 2, 0),
    lambda photo: photo[:2],
    lambda photo: photo[:, :0],
    lambda photo: photo[:, :1],
    lambda photo: photo[..., :1],
    lambda photo: photo[0, 0, 0],
    lambda photo: photo.flatten(),
    lambda photo: photo.to_sparse(),
    lambda photo: photo[0].to_sparse_csr(),
    lambda photo: photo.to("meta"),
    lambda photo: torch.quantize_per_tensor(photo.float(), 0.1, 0, torch.quint8),
    lambda photo: torch.nested.nested_tensor([photo.float()]),
    lambda photo: photo * float("nan"),
    lambda photo: photo * float("inf"),
    lambda photo: -photo,
    lambda photo: photo * 255,
    lambda photo: photo.to(torch.complex64).conj(),
    lambda photo: torch.view_as_real(photo.to(torch.complex64).conj())[..., 0],
    lambda photo: photo.detach().requires_grad_(),
    lambda photo: nn.Parameter(photo),
    lambda photo: photo.numpy(),
    lambda photo: photo.tolist(),
    lambda photo: [photo],
    lambda photo: {"image": photo},
    lambda photo: None,
    lambda photo: "cat.jpg",
]

CLASS_NAMES: list[Any] = [
    *(None, NAMES, list(NAMES), np.array(NAMES), NAMES[:2], (*NAMES, "washer"), NAMES[::-1]),
    *((), "nut", 3, {0: "background"}, [0, 1, 2], ("background", "nut", "nut"), torch.zeros(3)),
    *(("background", "", " "), ("background", "\ud800", "x"), ("background", None, "x"), b"abc"),
]

GENERATORS: list[Callable[[], Any]] = [lambda: None, torch.Generator]


def photo(dice: random.Random) -> Any:
    """Something like a photo: noise of any size and dtype, turned once or twice."""
    sides = [dice.choice([1, 2, 5, 17, 40]) for _ in range(2)]
    noise = torch.rand(3, *sides, generator=torch.Generator().manual_seed(dice.randrange(1 << 30)))
    dtype = dice.choice(DTYPES) if dice.random() < 0.5 else torch.float32
    made: Any = (noise * 255).to(dtype) if not dtype.is_floating_point else noise.to(dtype)
    for _ in range(dice.choice([0, 1, 1, 2])):
        if not isinstance(made, Tensor):
            break
        try:
            made = dice.choice(TURNS)(made)
        except Exception:  # torch itself has no such tensor
            break
    return made


def complaint(model: nn.Module, seed: int) -> str:
    """What is bad about one call; "" if nothing is."""
    dice = random.Random(seed)
    given = photo(dice)
    names = dice.choice(CLASS_NAMES) if dice.random() < 0.3 else None
    try:
        result = dict(trace(model, given, names, dice.choice(GENERATORS)()).result)
    except (TypeError, ValueError) as error:
        return "" if IN_WORDS.match(str(error)) else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    unit = given / 255 if given.dtype == torch.uint8 else given
    with torch.no_grad():
        [own] = model([unit])
    same = own.keys() == result.keys() and all(torch.equal(own[k], result[k]) for k in own)
    return "" if same else "another result than the model's"


def main(first: int, last: int) -> int:
    warnings.simplefilter("ignore")  # torch's, of sparse, nested and complex tensors
    torch.manual_seed(0)
    model = tiny(NAMES, 128).eval()
    model.rpn._post_nms_top_n["testing"] = 30
    model.roi_heads.detections_per_img = 5
    bad = 0
    for seed in range(first, last):
        said = complaint(model, seed)
        if said:
            bad += 1
            print(f"seed {seed}: {said[:300]}")
    print(f"{last - first} calls, {bad} bad")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
