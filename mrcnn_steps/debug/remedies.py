"""Remedies: the smallest change of a setting that brings a missed object back, and its price.

Each gate tells in closed form what it would have to be set to for a candidate. That is a guess:
greedy NMS is not monotone in its threshold, and what is let through meets the next gate. So the
trace is run again from that stage, and only a change after which the object is found is a remedy.
Where no gate is to blame, the photo is run again in other views.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from tqdm import tqdm

from mrcnn_steps.data import Sample
from mrcnn_steps.debug.candidates import GATES, Survey
from mrcnn_steps.debug.fates import fates, found_objects, operating_threshold
from mrcnn_steps.debug.gates import Measure, measure
from mrcnn_steps.debug.price import NOTHING, Price, Tally, price, tally
from mrcnn_steps.debug.rerun import SETTINGS, Value, current, rerun, variant
from mrcnn_steps.debug.treatments import (
    CROP,
    TREATMENTS,
    Treatment,
    crop_window,
    tally_treated,
    treat,
)
from mrcnn_steps.tracing import Trace
from mrcnn_steps.tracing import trace as run

# The setting behind each gate that has one.
SETTING_OF_GATE = {
    "top_k": "rpn.pre_nms_top_n",
    "rpn_min_size": "rpn.min_size",
    "rpn_score": "rpn.score_thresh",
    "rpn_nms": "rpn.nms_thresh",
    "proposal_limit": "rpn.post_nms_top_n",
    "nms": "roi_heads.nms_thresh",
    "detection_limit": "roi_heads.detections_per_img",
}
SCORE = "roi_heads.score_thresh"

# What raising lets through, and what lowering does; the others are counts.
CEILINGS = ("rpn.nms_thresh", "roi_heads.nms_thresh")
FLOORS = ("rpn.min_size", "rpn.score_thresh", SCORE)

# Causes that lie in the network's weights, for which other views of the photo are tried.
OF_THE_WEIGHTS = ("anchors", "rpn_box", "class", "box")

# Decimals of a threshold that is proposed.
DECIMALS = 4

# How often one setting is moved on to the next value that a candidate asks for.
PUSHES = 3


@runtime_checkable
class Dataset(Protocol):
    """Photos by number: samples, or torchvision's pairs of an image and a target."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class Change:
    """A setting, or a view of the photo, that is changed.

    Attributes:
        setting: one of `rerun.SETTINGS`, or "input.scale", "input.mirrored", "input.crop".
        old: its value in the trace.
        new: the value to set.
    """

    setting: str
    old: Value
    new: Value


@dataclass(frozen=True)
class Remedy:
    """A change that brings a missed object back, proved by running again.

    Attributes:
        changes: one change, or two that only help together.
        price: what it brings and costs on the photo; of a crop, inside it.
        price_on_data: the same summed up over a data set; None without one, and for a crop.
    """

    changes: tuple[Change, ...]
    price: Price
    price_on_data: Price | None = None

    @property
    def setting(self) -> str:
        """The name of what is changed; two are joined by "and"."""
        return " and ".join(change.setting for change in self.changes)

    @property
    def old(self) -> Value | tuple[Value, ...]:
        """The value in the trace; of two changes both."""
        return _alone([change.old for change in self.changes])

    @property
    def new(self) -> Value | tuple[Value, ...]:
        """The value to set; of two changes both."""
        return _alone([change.new for change in self.changes])

    @property
    def settings(self) -> dict[str, Value]:
        """The new values by name, as `rerun` and `variant` take them."""
        return {change.setting: change.new for change in self.changes}

    def __str__(self) -> str:
        changes = " and ".join(
            f"{change.setting} {change.old:g} → {change.new:g}" for change in self.changes
        )
        data = "" if self.price_on_data is None else f"; {self.price_on_data}"
        return f"{changes} ({self.price}{data})"


def remedies(
    trace: Trace,
    object_index: int,
    dataset: Dataset | None = None,
    iou: float = 0.5,
    score_threshold: float | None = None,
    progress: bool = True,
) -> tuple[Remedy, ...]:
    """Find the smallest changes of a setting that bring a missed object back.

    Args:
        trace: of a photo with annotations.
        object_index: row of `trace.ground_truth`.
        dataset: photos to price the remedies on, samples or torchvision's `(image, target)`.
        iou: see `fates`.
        score_threshold: see `fates`.
        progress: show bars.

    Returns:
        The remedies, settings first. None for an object that was found, and where no setting and
        no view of the photo helps: then training is needed.

    Raises:
        IndexError: there is no such object.
        ValueError: see `fates`.
    """
    score = operating_threshold(trace, iou, score_threshold)
    base = rerun(trace, {SCORE: score})
    every = fates(base, iou)
    if not 0 <= object_index < len(every):
        raise IndexError(f"object {object_index} does not exist: there are {len(every)}")
    cause = every[object_index].cause
    if cause not in SETTING_OF_GATE and cause not in (*OF_THE_WEIGHTS, "min_size", "merged"):
        return ()
    before = tally(base, iou)
    found = [
        Remedy(_changes(base, settings), price(before, tally(after, iou), iou))
        for settings, after in _by_settings(base, object_index, iou)
    ]
    if cause in OF_THE_WEIGHTS:
        found += _by_treatment(base, object_index, iou, progress)
    if dataset is None or not found:
        return tuple(found)
    return _priced(base, found, dataset, iou, progress)


# -- Settings --------------------------------------------------------------------------------


def _by_settings(base: Trace, object: int, iou: float) -> Iterator[tuple[dict[str, Value], Trace]]:
    """Settings after which the object is found, and the trace then: one at a time, else two."""
    failed: list[tuple[dict[str, Value], Trace]] = []
    alone = False
    for setting, value in _wanted(base, object, iou).items():
        settings, after = _push(base, {setting: value}, setting, object, iou)
        if found_objects(after, iou)[object]:
            alone = True
            yield settings, after
        else:
            failed.append((settings, after))
    if alone:
        return
    proved: set[frozenset[str]] = set()
    for first, half_way in failed:
        for setting, value in _wanted(half_way, object, iou).items():
            if setting in first or frozenset((*first, setting)) in proved:
                continue
            settings, after = _push(base, first | {setting: value}, setting, object, iou)
            if found_objects(after, iou)[object]:
                proved.add(frozenset(settings))
                yield settings, after


def _push(
    base: Trace, settings: dict[str, Value], last: str, object: int, iou: float
) -> tuple[dict[str, Value], Trace]:
    """Run again, and while the object stays lost move the last setting to what is asked next."""
    after = rerun(base, settings)
    for _ in range(PUSHES):
        if found_objects(after, iou)[object]:
            break
        value = _wanted(after, object, iou).get(last)
        if value is None:
            break
        settings = settings | {last: value}
        after = rerun(base, settings)
    return settings, after


def _wanted(trace: Trace, object: int, iou: float) -> dict[str, Value]:
    """The smallest change of each setting that lets an able candidate through its gate.

    Of the score threshold it is the one that makes a candidate able.
    """
    score = trace.detections.score_threshold
    truth = trace.ground_truth
    assert truth is not None
    label = int(truth.labels[object])
    candidates = Survey(trace, [object], iou, score).of(object)
    wanted: dict[str, list[Value]] = {}
    for row in candidates.able.nonzero().flatten().tolist():
        gate = GATES[int(candidates.gate[row])]
        setting = SETTING_OF_GATE.get(gate)
        if setting is not None:
            measured = measure(trace, gate, int(candidates.anchor[row]), label)
            wanted.setdefault(setting, []).append(_let_through(setting, measured))
    nearly = (candidates.moved_iou >= iou) & ~candidates.says & (candidates.probability > 0)
    if nearly.any():
        probability = float(candidates.probability[candidates.best(nearly)])
        wanted[SCORE] = [_below(probability)]
    now = current(trace)
    best = {
        setting: (max if setting in FLOORS else min)(values) for setting, values in wanted.items()
    }
    return {setting: value for setting, value in best.items() if value != now[setting]}


def _let_through(setting: str, measured: Measure) -> Value:
    """The value nearest to the present one at which a gate lets a candidate through."""
    if setting in CEILINGS:
        # Where NMS's own rounding says more than the IoU, a step past the present threshold.
        return _above(max(measured.value, measured.threshold))
    return _below(measured.value) if setting in FLOORS else int(measured.value)


def _above(value: float) -> float:
    step = 10**-DECIMALS
    return round(math.floor(value / step) * step + step, DECIMALS)


def _below(value: float) -> float:
    step = 10**-DECIMALS
    return max(round(math.ceil(value / step) * step - step, DECIMALS), 0.0)


def _changes(base: Trace, settings: Mapping[str, Value]) -> tuple[Change, ...]:
    now = current(base)
    return tuple(Change(name, now[name], value) for name, value in settings.items())


# -- Other views of the photo ----------------------------------------------------------------


def _by_treatment(base: Trace, object: int, iou: float, progress: bool) -> list[Remedy]:
    """The views of the photo in which the object is found."""
    photo, truth = base.sample, base.ground_truth
    assert photo is not None
    assert truth is not None
    row = int(truth.objects[object])
    before, found = tally(base, iou), []
    for treatment in tqdm(TREATMENTS, desc="other views", disable=not progress, leave=False):
        window = crop_window(photo, row) if treatment.name == CROP else None
        if treatment.name == CROP and window is None:
            continue
        after = tally_treated(treat(base, treatment, window), treatment, window, iou)
        if bool(after.found[after.objects == row].any()):
            compared = before if window is None else before.within(window)
            change = Change(treatment.name, treatment.old, treatment.new)
            found.append(Remedy((change,), price(compared, after, iou)))
    return found


# -- A data set ------------------------------------------------------------------------------


def _priced(
    base: Trace, found: list[Remedy], dataset: Dataset, iou: float, progress: bool
) -> tuple[Remedy, ...]:
    """The remedies with their price on a data set, photo by photo."""
    model = variant(base.model, current(base))
    totals = [NOTHING] * len(found)
    for index in tqdm(range(len(dataset)), desc="price", disable=not progress, leave=False):
        one = run(model, _as_sample(dataset[index], base.class_names), base.class_names)
        before = tally(one, iou)
        for place, remedy in enumerate(found):
            after = _tally_after(one, remedy, iou)
            if after is not None:
                totals[place] += price(before, after, iou)
    return tuple(
        replace(remedy, price_on_data=total if total.photos else None)
        for remedy, total in zip(found, totals, strict=True)
    )


def _tally_after(one: Trace, remedy: Remedy, iou: float) -> Tally | None:
    """What a photo finds after a remedy; None for a crop, which is about one object."""
    [first, *_] = remedy.changes
    if first.setting == CROP:
        return None
    if first.setting in SETTINGS:
        return tally(rerun(one, remedy.settings), iou)
    treatment = Treatment(first.setting, first.old, first.new)
    return tally_treated(treat(one, treatment), treatment, None, iou)


def _as_sample(item: Any, class_names: tuple[str, ...]) -> Sample:
    return item if isinstance(item, Sample) else Sample.from_target(item[0], item[1], class_names)


def _alone(values: list[Value]) -> Value | tuple[Value, ...]:
    return values[0] if len(values) == 1 else tuple(values)
