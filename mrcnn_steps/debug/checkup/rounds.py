"""One round of the check-up: every treatment on every photo, compared with none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FasterRCNN
from tqdm import tqdm

from mrcnn_steps.debug.checkup.clues import Clues, clues, no_clues
from mrcnn_steps.debug.checkup.examination import Examination
from mrcnn_steps.debug.checkup.setup import Normalization, Setup
from mrcnn_steps.debug.checkup.significance import LEVEL, is_clear, p_values
from mrcnn_steps.debug.checkup.treatments import Treatment, treatments
from mrcnn_steps.debug.datasets import Dataset, entry_at

# Photos with the most objects come first. A treatment is given up when on n photos it has lost this
# much of the score, divided by n: none that undoes a mistake goes on to lose.
GIVEN_UP = 0.25

# Or when, after some photos, another one gains much an object, and it itself less than half that.
PILOT, LEAD, BEHIND = 3, 0.05, 0.5

# Of treatments that gain about as much as the best, the first counts: it is the simpler one.
AS_GOOD = 0.95

# Features of photos that are kept for the treatments, in bytes.
KEPT = 100_000_000


@dataclass(frozen=True)
class Ward:
    """What stays the same in all rounds.

    Attributes:
        model: in eval mode.
        dataset: the photos.
        class_names: the name of each of the model's labels.
        own: the normalization that the model's transform applies.
        iou: from which IoU on a box is an object's.
        progress: show bars.
    """

    model: FasterRCNN
    dataset: Dataset
    class_names: tuple[str, ...]
    own: Normalization
    iou: float
    progress: bool

    def open(self, index: int, start: Setup) -> tuple[int, Examination]:
        """Open a photo: its id, and its examination."""
        entry = entry_at(self.dataset, index, self.class_names, any_range=True)
        sample, pixels = entry.sample, entry.pixels
        photo = Examination(self.model, sample, self.class_names, self.own, start, self.iou, pixels)
        return entry.image_id, photo


class Effect(NamedTuple):
    """What a treatment did.

    Attributes:
        treatment: that was tried.
        before: [G] the score of every object without it.
        after: [G] and with it.
        detections: a photo, before and after.
        p_value: that it does not help, corrected for all that were tried.
    """

    treatment: Treatment
    before: Float[Tensor, "G"]
    after: Float[Tensor, "G"]
    detections: tuple[float, float]
    p_value: float

    @property
    def gain(self) -> float:
        """What it gains an object, −1…1."""
        return float((self.after - self.before).mean())


@dataclass(eq=False)
class Scores:
    """The scores of a setup, photo by photo.

    Attributes:
        parts: [G] of the objects of each photo.
        detections: on all photos.
    """

    parts: list[Tensor] = field(default_factory=list)
    detections: int = 0

    def add(self, photo: Examination, setup: Setup, of_masks: bool) -> None:
        """Run a photo and add what its objects get."""
        measured = photo.mask_scores(setup) if of_masks else photo.scores(setup)
        self.parts.append(measured.double().cpu())
        self.detections += len(photo.detections(setup))


@dataclass(eq=False)
class Case:
    """A photo before a round's treatments.

    Attributes:
        index: in the dataset.
        image_id: its id.
        boxes: [G] the score of every object.
        masks: [G] the mask IoU of every object.
        detections: how many there are.
        kept: its examination, if there was room for it.
    """

    index: int
    image_id: int
    boxes: Float[Tensor, "G"]
    masks: Float[Tensor, "G"]
    detections: int
    kept: Examination | None

    def of(self, treatment: Treatment) -> Float[Tensor, "G"]:
        """Give what a treatment is compared with."""
        return self.masks if treatment.of_masks else self.boxes


class Baseline(NamedTuple):
    """What the photos give before a round's treatments.

    Attributes:
        cases: photos with objects, those with the most first.
        clues: what they say.
    """

    cases: tuple[Case, ...]
    clues: Clues

    @property
    def photo_of(self) -> Int[Tensor, "G"]:
        """The place of each object's photo among the cases."""
        counts = torch.tensor([len(case.boxes) for case in self.cases], dtype=torch.int64)
        return torch.arange(len(counts)).repeat_interleave(counts)


def look(ward: Ward, start: Setup) -> Baseline:
    """Run the photos in the setup that a round starts from.

    Args:
        ward: the model and the photos.
        start: the setup.

    Returns:
        What they give.
    """
    classes = len(ward.class_names)
    cases, said, room = [], no_clues(classes), KEPT
    for index in tqdm(
        range(len(ward.dataset)), desc="check-up: before", disable=not ward.progress, leave=False
    ):
        image_id, photo = ward.open(index, start)
        if not len(photo.labels):
            continue
        said += clues(photo, start, classes, ward.iou)
        room -= photo.size
        cases.append(
            Case(
                index,
                image_id,
                photo.scores(start).double().cpu(),
                photo.mask_scores(start).double().cpu(),
                len(photo.detections(start)),
                photo if room >= 0 else None,
            )
        )
    return Baseline(tuple(sorted(cases, key=lambda case: -len(case.boxes))), said)


def try_all(ward: Ward, start: Setup, before: Baseline) -> tuple[Effect, ...]:
    """Try every treatment on the photos.

    Args:
        ward: the model and the photos.
        start: the setup that each treatment changes.
        before: what it gives.

    Returns:
        What each did, those that were given up left out.
    """
    listed = treatments(ward.model, ward.class_names, ward.own, start, before.clues)
    alive = {treatment: Scores() for treatment in listed}
    for count, case in enumerate(
        tqdm(before.cases, desc="check-up", disable=not ward.progress, leave=False), start=1
    ):
        photo = case.kept or ward.open(case.index, start)[1]
        case.kept = None
        for treatment, scores in alive.items():
            scores.add(photo, treatment.setup, treatment.of_masks)
        alive = _promising(alive, before.cases[:count])
    return _effects(alive, before)


def best(effects: Sequence[Effect], photo: Int[Tensor, "G"]) -> Effect | None:
    """Choose the treatment that helps most.

    Args:
        effects: of the treatments.
        photo: [G] the photo of each object.

    Returns:
        The first of those that gain about as much as the best; None if none helps clearly.
    """
    clear = [
        each
        for each in effects
        if each.p_value < LEVEL and is_clear(each.before, each.after - each.before, photo)
    ]
    most = max((each.gain for each in clear), default=0.0)
    return next((each for each in clear if each.gain >= AS_GOOD * most), None)


def _promising(tried: dict[Treatment, Scores], cases: Sequence[Case]) -> dict[Treatment, Scores]:
    """Keep the treatments that may turn out to be the one that helps most."""
    whole = {
        treatment: float(sum(case.of(treatment).sum() for case in cases)) for treatment in tried
    }
    gains = {
        treatment: float(sum(part.sum() for part in scores.parts)) - whole[treatment]
        for treatment, scores in tried.items()
    }
    least = -GIVEN_UP / len(cases)
    lead = max(gains.values(), default=0.0)
    leads = len(cases) >= PILOT and lead >= LEAD * sum(len(case.boxes) for case in cases)
    return {
        treatment: scores
        for treatment, scores in tried.items()
        if gains[treatment] >= least * whole[treatment]
        and not (leads and gains[treatment] < BEHIND * lead)
    }


def _effects(tried: dict[Treatment, Scores], before: Baseline) -> tuple[Effect, ...]:
    photos = len(before.cases)
    found = sum(case.detections for case in before.cases)
    effects = [
        Effect(
            treatment,
            torch.cat([case.of(treatment) for case in before.cases]),
            torch.cat(scores.parts),
            (found / photos, scores.detections / photos),
            1.0,
        )
        for treatment, scores in tried.items()
    ]
    adjusted = p_values([each.after - each.before for each in effects], before.photo_of)
    return tuple(
        each._replace(p_value=p_value) for each, p_value in zip(effects, adjusted, strict=True)
    )
