"""Calls of the stage functions with arguments that may be wrong, one after another, for ever.

Run as a program, without the checked annotations of the tests, so that what answers is the stage:

    python stage_calls.py FIRST LAST      # seeds; prints each bad call, ends with status 1 if any

A call is good if it returns numbers without NaN, or raises an error of ours: one that names the
argument, what was expected and what was found.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from mrcnn_steps import boxes, classification, masks, matching, mini_masks, nms, rpn_targets
from mrcnn_steps.anchors import pyramid
from mrcnn_steps.data import Letterbox, letterbox
from mrcnn_steps.detection import detect
from mrcnn_steps.proposals import propose

# What a person may pass by mistake in place of anything.
STRANGE: list[Callable[[], Any]] = [
    lambda: None,
    lambda: "a",
    lambda: float("nan"),
    lambda: float("inf"),
    lambda: -1,
    lambda: 0,
    lambda: 2.5,
    lambda: True,
    lambda: 10**12,
    lambda: (),
    lambda: (0, 0),
    lambda: (-3, 5),
    lambda: (float("nan"), 9),
    lambda: (9.5, 9),
    lambda: (9, 9, 9),
    lambda: (10**9, 10**9),
    lambda: [1, 2],
    lambda: {},
    lambda: torch.zeros(0),
    lambda: torch.zeros(()),
    lambda: torch.zeros(0, 4),
    lambda: torch.zeros(3, 4),
    lambda: torch.zeros(2, 3, 4),
    lambda: torch.zeros(3, 4, dtype=torch.int64),
    lambda: torch.zeros(3, dtype=torch.bool),
    lambda: torch.tensor([False]),
    lambda: torch.zeros(3, 4, dtype=torch.complex64),
    lambda: torch.zeros(3, 4).to_sparse(),
    lambda: torch.zeros(3, 4, device="meta"),
    lambda: torch.zeros(3, 4, dtype=torch.float16),
    lambda: torch.full((3, 4), float("nan")),
]


class Maker:
    """Valid arguments of small sizes, each call others."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.torch = torch.Generator().manual_seed(seed)
        self.rows = self.choose.choice([0, 1, 2, 5])
        self.objects = self.choose.choice([0, 1, 3])
        self.classes = self.choose.choice([1, 2, 4])

    def numbers(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.torch)

    def boxes(self, count: int, side: float = 30) -> Tensor:
        corner = torch.rand((count, 2), generator=self.torch) * side
        size = 1 + torch.rand((count, 2), generator=self.torch) * (39 - side)
        return torch.cat((corner, corner + size), dim=1)

    def labels(self, count: int, classes: int) -> Tensor:
        return torch.randint(0, max(classes, 1), (count,), generator=self.torch)

    def masks(self, count: int, height: int = 40, width: int = 40) -> Tensor:
        return torch.rand((count, height, width), generator=self.torch) > 0.5


def calls(make: Maker) -> dict[str, Callable[[], tuple[Callable, dict[str, Any]]]]:
    """Every stage function with valid arguments."""
    rows, objects, classes, size = make.rows, make.objects, make.classes, (40, 40)
    here = make.boxes(rows)
    index = make.labels(rows, objects) if objects else make.labels(0, 1)

    def boxed() -> Letterbox:
        return letterbox(torch.zeros((3, 20, 30)), 40)

    return {
        "encode": lambda: (
            boxes.encode,
            {"boxes": here, "anchors": make.boxes(rows), "weights": (1,) * 4},
        ),
        "decode": lambda: (
            boxes.decode,
            {"deltas": make.numbers(rows, 4), "anchors": here, "weights": (10, 10, 5, 5)},
        ),
        "normalize": lambda: (boxes.normalize, {"boxes": here, "image_size": size}),
        "propose": lambda: (
            propose,
            {
                "objectness": make.numbers(rows),
                "deltas": make.numbers(rows, 4),
                "anchors": here,
                "image_size": size,
                "level_sizes": make.choose.choice([None, [rows]]),
                "pre_nms_top_n": 4,
                "post_nms_top_n": 3,
                "nms_threshold": 0.7,
                "min_size": 1e-3,
                "score_threshold": 0.0,
            },
        ),
        "detect": lambda: (
            detect,
            {
                "proposals": here,
                "probs": make.numbers(rows, classes).softmax(dim=1),
                "deltas": make.numbers(rows, classes, 4),
                "image_size": size,
                "score_threshold": 0.05,
                "nms_threshold": 0.5,
                "max_detections": 3,
                "weights": (10, 10, 5, 5),
                "min_size": 1e-2,
                "best_class_only": make.choose.choice([True, False]),
            },
        ),
        "assign_levels": lambda: (
            classification.assign_levels,
            {"rois": here, "first_level": 2, "last_level": 5, "canonical_size": 224},
        ),
        "pool": lambda: (
            classification.pool,
            {
                "features": [make.numbers(1, 3, 10, 10), make.numbers(1, 3, 5, 5)],
                "rois": here,
                "levels": make.labels(rows, 2),
                "scales": [0.25, 0.125],
                "output_size": (3, 3),
                "sampling_ratio": make.choose.choice([0, 2]),
            },
        ),
        "sample_points": lambda: (
            classification.sample_points,
            {"roi": torch.tensor([1.0, 2, 9, 9]), "scale": 0.25, "output_size": (3, 3)},
        ),
        "classify": lambda: (
            classification.classify,
            {
                "class_logits": make.numbers(rows, classes),
                "box_regression": make.numbers(rows, 4 * classes),
                "roi_level": make.labels(rows, 2),
            },
        ),
        "mask_targets": lambda: (
            masks.mask_targets,
            {
                "masks": make.masks(objects),
                "gt_boxes": make.boxes(objects),
                "rois": make.boxes(len(index)),
                "gt_index": index,
                "size": 7,
            },
        ),
        "class_probs": lambda: (
            masks.class_probs,
            {
                "mask_logits": make.numbers(rows, classes, 7, 7),
                "labels": make.labels(rows, classes),
            },
        ),
        "paste": lambda: (
            masks.paste,
            {
                "mask_probs": make.numbers(rows, 7, 7).sigmoid(),
                "boxes": here,
                "image_size": size,
                "threshold": 0.5,
                "exact": make.choose.choice([True, False]),
            },
        ),
        "paste_soft": lambda: (
            masks.paste_soft,
            {"mask_probs": make.numbers(rows, 7, 7).sigmoid(), "boxes": here, "image_size": size},
        ),
        "boxes_from_masks": lambda: (mini_masks.boxes_from_masks, {"masks": make.masks(rows)}),
        "shrink": lambda: (
            mini_masks.shrink,
            {"masks": make.masks(rows), "boxes": here, "size": (7, 7)},
        ),
        "expand": lambda: (
            mini_masks.expand,
            {"mini_masks": make.masks(rows, 7, 7), "boxes": here, "image_size": size},
        ),
        "round_trip": lambda: (mini_masks.round_trip, {"masks": make.masks(rows), "size": (7, 7)}),
        "mask_iou": lambda: (
            mini_masks.mask_iou,
            {"masks": make.masks(rows), "others": make.masks(rows)},
        ),
        "rpn_targets.match": lambda: (
            rpn_targets.match,
            {
                "anchors": here,
                "gt_boxes": make.boxes(objects),
                "crowd_boxes": make.boxes(1),
                "positive_iou": 0.7,
                "negative_iou": 0.3,
            },
        ),
        "sample_anchors": lambda: (
            rpn_targets.sample_anchors,
            {
                "labels": rpn_targets.match(here, make.boxes(objects)).labels,
                "count": 4,
                "positive_fraction": 0.5,
            },
        ),
        "rpn_targets.build": lambda: (
            rpn_targets.build,
            {"anchors": here, "gt_boxes": make.boxes(objects), "count": 4},
        ),
        "matching.match": lambda: (
            matching.match,
            {
                "boxes": here,
                "labels": make.labels(rows, 3),
                "scores": make.numbers(rows),
                "objects": make.boxes(objects),
                "object_labels": make.labels(objects, 3),
                "crowd_boxes": make.boxes(1),
                "crowd_labels": make.labels(1, 3),
                "iou": 0.5,
                "score_threshold": 0.0,
            },
        ),
        "Overlaps": lambda: (nms.Overlaps, {"boxes": here, "scores": make.numbers(rows)}),
        "Overlaps.nms": lambda: (
            nms.Overlaps(here, make.numbers(rows)).nms,
            {"threshold": 0.5, "rows": torch.arange(rows)},
        ),
        "pyramid": lambda: (
            pyramid,
            {
                "image_size": size,
                "strides": (8, 16),
                "scales": (32, 64),
                "ratios": (0.5, 1.0),
                "anchor_stride": 1,
            },
        ),
        "letterbox": lambda: (letterbox, {"image": torch.rand((3, 20, 30)), "size": 40}),
        "letterbox.boxes": lambda: (boxed().boxes, {"boxes": here}),
        "letterbox.undo_boxes": lambda: (boxed().undo_boxes, {"boxes": here}),
        "letterbox.masks": lambda: (boxed().masks, {"masks": make.masks(rows, 20, 30)}),
        "letterbox.undo_masks": lambda: (boxed().undo_masks, {"masks": make.masks(rows)}),
    }


def spoiled(make: Maker, value: Any) -> Any:
    """One argument made wrong: something else, or a tensor with one flaw."""
    choose = make.choose
    if not isinstance(value, Tensor) or choose.random() < 0.4:
        return choose.choice(STRANGE)()
    flaw = choose.randrange(7)
    if flaw == 0:
        return value[..., : value.shape[-1] // 2]
    if flaw == 1:
        return torch.cat((value, value, value[:1]))
    if flaw == 2:
        return value[None]
    if flaw == 3:
        others = [torch.float64, torch.int64, torch.bool, torch.uint8, torch.float16, torch.int32]
        return value.to(choose.choice(others))
    if not value.numel():
        return value.new_zeros(value.shape)
    place = choose.randrange(value.numel())
    changed = value.clone()
    odd = [float("nan"), float("inf"), -float("inf"), -1.0, 1e30, 3e38, -3e38, 1e9, 0.0]
    if value.is_floating_point():
        changed.view(-1)[place] = choose.choice(odd)
    elif value.dtype != torch.bool:
        changed.view(-1)[place] = choose.choice([-1, 99, 127, -128])
    return changed


def has_nan(result: Any) -> bool:
    """Whether a tensor in a result, however deep, holds NaN."""
    if isinstance(result, Tensor):
        return bool(result.is_floating_point() and result.isnan().any())
    if is_dataclass(result):
        return any(has_nan(getattr(result, field.name)) for field in fields(result))
    return isinstance(result, tuple) and any(has_nan(part) for part in result)


def fault(function: Callable, arguments: dict[str, Any]) -> str | None:
    """What is bad about a call; None for a good one."""
    try:
        result = function(**arguments)
    except (ValueError, TypeError, IndexError) as error:
        said = str(error)
        ours = any(words in said for words in (", found ", "; found ", "; expected as many"))
        missing = isinstance(error, IndexError) and "does not exist" in said
        return None if ours or missing else f"{type(error).__name__}: {said[:150]}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:150]}"
    return "NaN in the result" if has_nan(result) else None


def shown(value: Any) -> str:
    if isinstance(value, Tensor):
        some = value.flatten()[:8].tolist() if not value.is_meta and not value.is_sparse else ""
        return f"{value.dtype}{list(value.shape)} {some}"
    return repr(value)[:80]


def main(first: int, last: int) -> int:
    """Try the seeds; count the bad calls."""
    torch.set_num_threads(1)
    bad = 0
    for seed in range(first, last):
        make = Maker(seed)
        every = calls(make)
        name = make.choose.choice(sorted(every))
        function, arguments = every[name]()
        count = min(make.choose.choice([0, 1, 1, 1, 2]), len(arguments))
        for key in make.choose.sample(sorted(arguments), count):
            arguments[key] = spoiled(make, arguments[key])
        # A crash leaves no more than this line.
        print(f"seed {seed}: {name}", end="\r", flush=True)
        found = fault(function, arguments)
        if found is not None:
            bad += 1
            given = ", ".join(f"{key}={shown(value)}" for key, value in arguments.items())
            print(f"seed {seed}: {name}({given})\n    {found}")
    return bad


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]), int(sys.argv[2])) else 0)
