"""The check-up against planted faults: what each is taken for, and what undoing it restores.

    python -m tests.benchmarks.checkup_faults [--images DIR --annotations FILE] [FAULT …]

Two faults at once are written "BGR & limit 3", and no fault "none". Without a folder it runs on the
bundled photos, of which there are too few for faults that cost a good model next to nothing.
"""

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torchvision.models.detection import MaskRCNN

from mrcnn_steps import load_model, sample, samples
from mrcnn_steps.data import CocoFolder, Sample
from mrcnn_steps.debug import check_up
from mrcnn_steps.debug.checkup.normalizations import applied_normalization
from mrcnn_steps.debug.checkup.rounds import Baseline, Effect, Ward, best, look, try_all
from mrcnn_steps.debug.checkup.setup import Setup
from mrcnn_steps.debug.findings import Finding

Photos = list[Sample]
Change = Callable[[MaskRCNN, Photos], tuple[MaskRCNN, Photos] | None]

PERMUTED = ("person", "chair", "car", "dog", "bottle")


def bgr(model: MaskRCNN, photos: Photos) -> tuple[MaskRCNN, Photos]:
    return model, [replace(photo, image=photo.image.flip(0)) for photo in photos]


def normalize(model: MaskRCNN, photos: Photos, mean: float, std: float) -> None:
    model.transform.image_mean, model.transform.image_std = [mean] * 3, [std] * 3


def labels_plus_one(model: MaskRCNN, photos: Photos) -> tuple[MaskRCNN, Photos]:
    last = len(model.class_names) - 1
    return model, [replace(photo, labels=photo.labels % last + 1) for photo in photos]


def labels_permuted(model: MaskRCNN, photos: Photos) -> None:
    """Permute the rows of the scores, not those of the deltas."""
    labels = [model.class_names.index(name) for name in PERMUTED]
    order = torch.arange(len(model.class_names))
    order[labels] = torch.tensor(labels[1:] + labels[:1])
    for parameter in model.roi_heads.box_predictor.cls_score.parameters():
        parameter.data = parameter.data[order]


def weigh(model: MaskRCNN, photos: Photos, part: str, weights: tuple[float, ...]) -> None:
    getattr(model, part).box_coder.weights = weights


def swap_deltas(model: MaskRCNN, photos: Photos, head: Callable) -> None:
    for parameter in head(model).parameters():
        shape = parameter.shape
        parameter.data = parameter.data.reshape(-1, 4, *shape[1:])[:, [1, 0, 3, 2]].reshape(shape)


def lay(model: MaskRCNN, photos: Photos, sizes: float = 1.0, invert: bool = False) -> None:
    generator = model.rpn.anchor_generator
    generator.scales = tuple(scale * sizes for scale in generator.scales)
    if invert:
        generator.ratios = tuple(1 / ratio for ratio in generator.ratios)
    # What it laid before.
    generator.laid = {}


def transpose_cells(model: MaskRCNN, photos: Photos) -> None:
    generator = model.rpn.anchor_generator
    rightly = generator.forward

    def forward(images, maps):
        laid, start, levels = rightly(images, maps)[0], 0, []
        for each, count in zip(maps, generator.num_anchors_per_location(), strict=True):
            rows, columns = each.shape[-2:]
            part = laid[start : start + rows * columns * count]
            start += len(part)
            levels.append(part.reshape(rows, columns, count, 4).transpose(0, 1).reshape(-1, 4))
        return [torch.cat(levels)]

    generator.forward = forward


def set_to(model: MaskRCNN, photos: Photos, name: str, value: float) -> None:
    part, attribute = name.split(".")
    if attribute == "_pre_nms_top_n":
        model.rpn._pre_nms_top_n = {"training": value, "testing": value}
    else:
        setattr(getattr(model, part), attribute, value)


class Masks(torch.nn.Module):
    """A mask predictor whose logits are changed."""

    def __init__(self, own: torch.nn.Module, change: Callable) -> None:
        super().__init__()
        self.own, self.change = own, change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(self.own(x))


def draw(model: MaskRCNN, photos: Photos, change: Callable) -> None:
    model.roi_heads.mask_predictor = Masks(model.roi_heads.mask_predictor, change)


MEAN, STD = 127 / 255, 128 / 255
FAULTS: dict[str, tuple[str, Change]] = {
    "BGR": ("channels_reversed", bgr),
    "normalization forgotten": ("normalization_missing", partial(normalize, mean=0, std=1)),
    "normalization twice": (
        "normalization_twice",
        partial(normalize, mean=MEAN + MEAN * STD, std=STD**2),
    ),
    "pixels 0…255": ("input_range", partial(normalize, mean=MEAN / 255, std=STD / 255)),
    "labels + 1": ("labels_off_by_one", labels_plus_one),
    "five classes permuted": ("labels_permuted", labels_permuted),
    "RPN delta weights": (
        "rpn_delta_weights",
        partial(weigh, part="rpn", weights=(10.0, 10.0, 5.0, 5.0)),
    ),
    "box delta weights": (
        "box_delta_weights",
        partial(weigh, part="roi_heads", weights=(1.0, 1.0, 1.0, 1.0)),
    ),
    "box x/y swapped": (
        "box_xy_swapped",
        partial(swap_deltas, head=lambda model: model.roi_heads.box_predictor.bbox_pred),
    ),
    "anchors × 0.4": ("anchor_sizes", partial(lay, sizes=0.4)),
    "anchors × 2.5": ("anchor_sizes", partial(lay, sizes=2.5)),
    "ratios inverted": ("anchor_ratios_inverted", partial(lay, invert=True)),
    "cells transposed": ("anchor_cells_transposed", transpose_cells),
    "RPN top k 20": ("top_k", partial(set_to, name="rpn._pre_nms_top_n", value=20)),
    "RPN NMS 0.2": ("rpn_nms", partial(set_to, name="rpn.nms_thresh", value=0.2)),
    "minimum size 64": ("rpn_min_size", partial(set_to, name="rpn.min_size", value=64)),
    "score 0.95": ("score_threshold", partial(set_to, name="roi_heads.score_thresh", value=0.95)),
    "limit 3": ("detection_limit", partial(set_to, name="roi_heads.detections_per_img", value=3)),
    "mask upside down": ("mask_upside_down", partial(draw, change=lambda x: x.flip(2))),
    # A pixel is over 0.5 after the shift where it was over 0.95 before.
    "mask threshold 0.95": ("mask_threshold", partial(draw, change=lambda x: x - 2.944)),
}


def ward_of(model: MaskRCNN, photos: Photos) -> Ward:
    return Ward(model, photos, model.class_names, applied_normalization(model), 0.5, False)


def means(before: Baseline) -> tuple[float, float]:
    """Give the mean score and the mean mask IoU of the objects."""
    return tuple(
        float(torch.cat([getattr(case, kind) for case in before.cases]).mean())
        for kind in ("boxes", "masks")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images")
    parser.add_argument("--annotations")
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo")
    parser.add_argument("faults", nargs="*", help=", ".join(FAULTS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = CocoFolder(args.images, args.annotations) if args.images else None
    every = [sample(name) for name in samples()] if folder is None else folder
    photos = [every[index] for index in range(0, len(every), args.every)]
    model = load_model("tiny")
    with torch.no_grad():
        healthy = means(look(ward_of(model, photos), Setup()))
        print(f"{len(photos)} photos; healthy: score {healthy[0]:.4f}, mask IoU {healthy[1]:.4f}")
        for name in args.faults or FAULTS:
            start = time.perf_counter()
            ill, shown = copy.deepcopy(model), photos
            for part in name.split(" & ") if name != "none" else ():
                code, change = FAULTS[part]
                ill, shown = change(ill, shown) or (ill, shown)
            if name not in FAULTS:
                report_findings(name, check_up(ill, shown, progress=False), start)
                continue
            ward = ward_of(ill, shown)
            before = look(ward, Setup())
            effects = try_all(ward, Setup(), before)
            report(name, code, healthy, before, effects, time.perf_counter() - start)


def report_findings(name: str, findings: tuple[Finding, ...], start: float) -> None:
    expected = {FAULTS[part][0] for part in name.split(" & ")} if name != "none" else set()
    first = {finding.code for finding in findings[: 3 if expected else None]}
    named = expected <= first if expected else not first
    print(
        f"{name:40} {'named' if named else 'NOT  '} {time.perf_counter() - start:5.0f} s  "
        + "; ".join(
            f"{each.code} ({each.treatment}) {each.gain:+.3f} p {each.p_value:.2g}"
            for each in findings
        ),
        flush=True,
    )


def report(
    name: str,
    code: str,
    healthy: tuple[float, float],
    before: Baseline,
    effects: tuple[Effect, ...],
    seconds: float,
) -> None:
    which = int(code.startswith("mask"))
    loss = healthy[which] - means(before)[which]
    first = best(effects, before.photo_of)
    share = first.gain / loss if first else 0.0
    named = first is not None and first.treatment.code == code and share >= 0.8
    tried = sorted(effects, key=lambda each: -each.gain)
    print(
        f"{name:24} loss {loss / healthy[which]:6.1%}  {'named' if named else 'NOT  '} "
        f"restored {share:5.0%}  {seconds:5.0f} s  "
        + "; ".join(
            f"{each.treatment.code} ({each.treatment.name}) {each.gain:+.3f} p {each.p_value:.2g}"
            for each in ([first] if named else tried[:3])
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
