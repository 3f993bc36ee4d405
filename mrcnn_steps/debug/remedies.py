"""Remedies: the smallest change of a setting that brings a missed object back, and its price.

Each gate tells in closed form what it would have to be set to for a candidate. That is a guess:
greedy NMS is not monotone in its threshold, and what is let through meets the next gate. So the
trace is run again from that stage, and only a change after which the object is found is a remedy.
Where no gate is to blame, the photo is run again in other views.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from tqdm import tqdm

from mrcnn_steps.data import Sample
from mrcnn_steps.debug.candidates import GATES
from mrcnn_steps.debug.fates import Fate, fates, operating_threshold
from mrcnn_steps.debug.gates import Measure, measure
from mrcnn_steps.debug.price import NOTHING, Price, Tally, price
from mrcnn_steps.debug.rerun import SETTINGS, Value, current, rerun, variant
from mrcnn_steps.debug.treatments import (
    CROP,
    TREATMENTS,
    Treatment,
    Views,
    crop_window,
    tally_treated,
    treat,
)
from mrcnn_steps.debug.trials import Trials
from mrcnn_steps.matching import match_trace
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
        data = "" if self.price_on_data is None else f"; {self.price_on_data}"
        return f"{changes_in_words(self.changes)} ({self.price}{data})"


@dataclass(frozen=True)
class BoxOnly:
    """A change that brings an object's box back, but not its mask.

    Attributes:
        changes: see `Remedy`.
        mask_iou: of the mask with the object's.
    """

    changes: tuple[Change, ...]
    mask_iou: float


def remedies(
    trace: Trace,
    object_index: int,
    dataset: Dataset | None = None,
    iou: float = 0.5,
    score_threshold: float | None = None,
    progress: bool = True,
    views: Views | None = None,
) -> tuple[Remedy, ...]:
    """Find the smallest changes of a setting that bring a missed object back.

    Args:
        trace: of a photo with annotations.
        object_index: row of `trace.ground_truth`.
        dataset: photos to price the remedies on, samples or torchvision's `(image, target)`.
        iou: see `fates`.
        score_threshold: see `fates`.
        progress: show bars.
        views: the other views of the trace at the score threshold, to be shared by several calls,
            as most of them are the same for every object; they are run anew without.

    Returns:
        The remedies, settings first, then views, the cheapest first. None for an object that was
        found, and where no setting and no view of the photo helps: then training is needed.

    Raises:
        IndexError: there is no such object.
        ValueError: see `fates`.
    """
    every = fates(trace, iou, score_threshold)
    if not 0 <= object_index < len(every):
        raise IndexError(f"object {object_index} does not exist: there are {len(every)}")
    search = Search(trace, every[object_index], iou, score_threshold, views)
    found = [*search.settings, *search.views(progress)]
    if dataset is None or not found:
        return tuple(found)
    return _priced(search.base, found, dataset, iou, progress)


class Search:
    """The search for what brings an object back.

    Args:
        trace: of a photo with annotations.
        fate: of the object, made by `fates` with the same thresholds.
        iou: see `fates`.
        score_threshold: see `fates`.
        views: see `remedies`.

    Attributes:
        base: the trace at the score threshold.
        other_views: of the photo, to be shared with the search for another of its objects.
        box_only: of the changes that were tried, the one that brings the box back with the best
            mask, where none brings the object back; known once `settings` are.
    """

    def __init__(
        self,
        trace: Trace,
        fate: Fate,
        iou: float = 0.5,
        score_threshold: float | None = None,
        views: Views | None = None,
    ) -> None:
        score = operating_threshold(trace.detections.score_threshold, iou, score_threshold)
        self.base = trace
        if score != trace.detections.score_threshold:
            self.base = rerun(trace, {SCORE: score})
        self.box_only: BoxOnly | None = None
        self._fate, self._object = fate, fate.object
        self._trials = Trials(self.base, iou)
        self.other_views = Views(self.base, iou) if views is None else views

    @cached_property
    def settings(self) -> tuple[Remedy, ...]:
        """The settings that help, one at a time; where none does, two at a time."""
        cause = self._fate.cause
        if cause not in SETTING_OF_GATE and cause not in (*OF_THE_WEIGHTS, "min_size", "merged"):
            return ()
        before = self._trials.tally(self.base)
        return tuple(
            Remedy(
                _changes(self.base, settings),
                price(before, self._trials.tally(trial), self._trials.iou),
            )
            for settings, trial in self._try_settings()
        )

    def views(self, progress: bool = True) -> Iterator[Remedy]:
        """Run other views of the photo, one after another, where the weights are to blame.

        Args:
            progress: show a bar.

        Returns:
            Those in which the object is found, as soon as each is.
        """
        if self._fate.cause not in OF_THE_WEIGHTS:
            return
        base, iou = self.base, self._trials.iou
        photo, truth = base.sample, base.ground_truth
        assert photo is not None
        assert truth is not None
        row = int(truth.objects[self._object])
        before = self._trials.tally(base)
        for treatment in tqdm(
            TREATMENTS, desc="other views", disable=None if progress else True, leave=False
        ):
            window = crop_window(photo, row) if treatment.name == CROP else None
            if treatment.name == CROP and window is None:
                continue
            after = self.other_views.tally(treatment, window)
            if bool(after.found[after.objects == row].any()):
                compared = before if window is None else before.within(window)
                change = Change(treatment.name, treatment.old, treatment.new)
                yield Remedy((change,), price(compared, after, iou))

    def _try_settings(self) -> Iterator[tuple[dict[str, Value], Trace]]:
        """Find settings after which the object is found, and the trial: one at a time, else two."""
        failed: list[tuple[list[dict[str, Value]], Trace]] = []
        alone = False
        for setting, value in self._wanted(self.base).items():
            tried, trial = self._push({setting: value}, setting)
            if self._is_found(tried[-1], trial):
                alone = True
                yield tried[-1], trial
            else:
                failed.append((tried, trial))
        if alone:
            return
        proved: set[frozenset[str]] = set()
        for firsts, half_way in failed:
            first = firsts[-1]
            for setting, value in self._wanted(half_way).items():
                if setting in first or frozenset((*first, setting)) in proved:
                    continue
                tried, trial = self._push(first | {setting: value}, setting)
                if self._is_found(tried[-1], trial):
                    proved.add(frozenset(tried[-1]))
                    yield self._least(firsts, tried[-1], trial)

    def _least(
        self, firsts: list[dict[str, Value]], settings: dict[str, Value], trial: Trace
    ) -> tuple[dict[str, Value], Trace]:
        """Move the setting that was pushed first no farther than it has to, with the other's help.

        Of a score threshold that is just below the detection that finds the object: what scores
        less stands in nobody's way.
        """
        smaller = [settings | first for first in firsts[:-1]]
        if SCORE in firsts[-1]:
            detection = int(match_trace(trial, self._trials.iou).detection_of[self._object])
            smaller = [settings | {SCORE: _below(float(trial.detections.scores[detection]))}]
        for less in smaller:
            attempt = self._trials.run(less)
            if self._is_found(less, attempt):
                return less, attempt
        return settings, trial

    def _push(self, settings: dict[str, Value], last: str) -> tuple[list[dict[str, Value]], Trace]:
        """Run, and while the object stays lost move the last setting to what is asked next.

        Args:
            settings: to begin with.
            last: the one that is moved.

        Returns:
            The settings that were tried, and the last trial.
        """
        trial, tried = self._trials.run(settings), [settings]
        for _ in range(PUSHES):
            if self._is_found(tried[-1], trial):
                break
            value = self._wanted(trial).get(last)
            if value is None:
                break
            tried.append(settings | {last: value})
            trial = self._trials.run(tried[-1])
        return tried, trial

    def _is_found(self, settings: dict[str, Value], trial: Trace) -> bool:
        """Whether a trial finds the object; of one with its box alone, a note is taken."""
        detection = int(match_trace(trial, self._trials.iou).detection_of[self._object])
        if detection < 0:
            return False
        overlap = self._trials.mask_iou(trial, self._object, detection)
        if overlap is None or overlap >= self._trials.iou:
            return True
        if self.box_only is None or overlap > self.box_only.mask_iou:
            self.box_only = BoxOnly(_changes(self.base, settings), overlap)
        return False

    def _wanted(self, trial: Trace) -> dict[str, Value]:
        """Give the smallest change of each setting that lets an able candidate through its gate.

        Of the score threshold it is the one that makes a candidate able.
        """
        truth = trial.ground_truth
        assert truth is not None
        label = int(truth.labels[self._object])
        candidates = self._trials.candidates(trial, self._object)
        wanted: dict[str, list[Value]] = {}
        for row in candidates.able.nonzero().flatten().tolist():
            gate = GATES[int(candidates.gate[row])]
            setting = SETTING_OF_GATE.get(gate)
            if setting is not None:
                measured = measure(trial, gate, int(candidates.anchor[row]), label)
                wanted.setdefault(setting, []).append(_let_through(setting, measured))
        near = candidates.moved_iou >= self._trials.iou
        nearly = near & ~candidates.says & (candidates.probability > 0)
        if nearly.any():
            probability = float(candidates.probability[candidates.best(nearly)])
            wanted[SCORE] = [_below(probability)]
        now = current(trial)
        best = {
            setting: (max if setting in FLOORS else min)(values)
            for setting, values in wanted.items()
        }
        return {setting: value for setting, value in best.items() if value != now[setting]}


def _let_through(setting: str, measured: Measure) -> Value:
    """Give the value nearest to the present one at which a gate lets a candidate through."""
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


def changes_in_words(changes: Sequence[Change]) -> str:
    """Say changes, such as "rpn.nms_thresh 0.7 → 0.75"."""
    return " and ".join(f"{each.setting} {each.old:g} → {each.new:g}" for each in changes)


def _changes(base: Trace, settings: Mapping[str, Value]) -> tuple[Change, ...]:
    now = current(base)
    return tuple(Change(name, now[name], value) for name, value in settings.items())


# -- A data set ------------------------------------------------------------------------------


def _priced(
    base: Trace, found: list[Remedy], dataset: Dataset, iou: float, progress: bool
) -> tuple[Remedy, ...]:
    """Give the remedies with their price on a data set, photo by photo."""
    model = variant(base.model, current(base))
    totals = [NOTHING] * len(found)
    for index in tqdm(range(len(dataset)), desc="price", disable=not progress, leave=False):
        one = run(model, _as_sample(dataset[index], base.class_names), base.class_names)
        trials = Trials(one, iou)
        before = trials.tally(one)
        for place, remedy in enumerate(found):
            after = _tally_after(trials, remedy)
            if after is not None:
                totals[place] += price(before, after, iou)
    return tuple(
        replace(remedy, price_on_data=total if total.photos else None)
        for remedy, total in zip(found, totals, strict=True)
    )


def _tally_after(trials: Trials, remedy: Remedy) -> Tally | None:
    """Tell what a photo finds after a remedy; None for a crop, which is about one object."""
    [first, *_] = remedy.changes
    if first.setting == CROP:
        return None
    if first.setting in SETTINGS:
        return trials.tally(trials.run(remedy.settings))
    treatment = Treatment(first.setting, first.old, first.new)
    return tally_treated(treat(trials.trace, treatment), treatment, None, trials.iou)


def _as_sample(item: Any, class_names: tuple[str, ...]) -> Sample:
    return item if isinstance(item, Sample) else Sample.from_target(item[0], item[1], class_names)


def _alone(values: list[Value]) -> Value | tuple[Value, ...]:
    return values[0] if len(values) == 1 else tuple(values)
