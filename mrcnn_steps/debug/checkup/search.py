"""The check-up: which classic mistake explains what a model misses, proved by undoing it."""

from collections.abc import Sequence

import torch
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.debug.checkup.normalizations import PROBE, applied_normalization
from mrcnn_steps.debug.checkup.rounds import Baseline, Effect, Ward, best, look, try_all
from mrcnn_steps.debug.checkup.setup import Setup
from mrcnn_steps.debug.checkup.significance import ENOUGH_PHOTOS, LEAST_PHOTOS, by_photo
from mrcnn_steps.debug.datasets import Dataset, entry_at
from mrcnn_steps.debug.findings import Finding
from mrcnn_steps.model.mode import evaluating
from mrcnn_steps.settings import model_class_names
from mrcnn_steps.tracing import trace

# Mistakes that are looked for, one on top of the other.
MOST_FINDINGS = 5


def check_up(
    model: FasterRCNN,
    dataset: Dataset,
    iou: float = 0.5,
    mask_threshold: float = 0.5,
    class_names: Sequence[str] | None = None,
    progress: bool = True,
) -> tuple[Finding, ...]:
    """Find the mistake in a model or its input that explains what it misses.

    A treatment undoes one classic mistake without training. Each is applied, run on the same
    photos, and compared object by object: by the best score of the object's class at this IoU, and
    for treatments of the masks by the IoU of that detection's mask. The one that gains most is
    kept, and the rest is tried again on top of it, until none helps clearly (see `significance`).

    Args:
        model: a torchvision Mask R-CNN or Faster R-CNN; it is left as it is, and treatments that do
            not apply to it are left out.
        dataset: annotated photos, samples or torchvision's `(image, target)`. More than a dozen
            make the answer surer, and a hundred no surer than thirty.
        iou: from which IoU on a box is an object's.
        mask_threshold: probability from which on you count a pixel to an object.
        class_names: the name of each of the model's labels, the background first; see `trace`.
        progress: show bars.

    Returns:
        The findings, the largest gain first; none for a healthy model. `gain` is the score, or the
        mask IoU, that an object gains on average, on top of the findings that were made before.
        One note alone if there are too few photos with objects to tell.

    Raises:
        TypeError: the model or the dataset is of another kind.
        ValueError: the dataset is empty, a photo of it is not what it should be, or the model
            replaces a step of torchvision's by its own.
    """
    if not len(dataset):
        raise ValueError("dataset: expected photos, found none")
    if not 0 < iou <= 1:
        raise ValueError(f"iou: expected above 0 and up to 1, found {iou}")
    if not 0 < mask_threshold <= 1:
        raise ValueError(f"mask_threshold: expected above 0 and up to 1, found {mask_threshold}")
    names = _class_names(model, dataset, class_names)
    with torch.no_grad(), evaluating(model):
        own = applied_normalization(model)
        ward = Ward(model, dataset, names, own, iou, progress)
        return _examine(ward, Setup(mask_threshold=mask_threshold))


def _examine(ward: Ward, setup: Setup) -> tuple[Finding, ...]:
    findings: list[Finding] = []
    while len(findings) < MOST_FINDINGS:
        before = look(ward, setup)
        if len(before.cases) < LEAST_PHOTOS:
            return (_too_few(len(before.cases)),)
        helped = best(try_all(ward, setup, before), before.photo_of)
        if helped is None:
            break
        findings.append(_finding(helped, before))
        setup = helped.treatment.setup
    return tuple(sorted(findings, key=lambda finding: -(finding.gain or 0)))


def _class_names(
    model: FasterRCNN, dataset: Dataset, given: Sequence[str] | None
) -> tuple[str, ...]:
    """Give the names of a model's labels, and refuse a model that the stages do not repeat."""
    plain = next(model.parameters()).new_zeros((3, PROBE, PROBE))
    count = trace(model, plain, given).classification.probs.shape[1]
    return model_class_names(
        model, given, count, entry_at(dataset, 0, given, any_range=True).sample
    )


def _finding(effect: Effect, before: Baseline) -> Finding:
    treatment = effect.treatment
    differences = by_photo(effect.after - effect.before, before.photo_of)
    better, worse = (differences > 0), int((differences < 0).sum())
    count = len(effect.before)
    quantity = "mask IoU" if treatment.of_masks else "score"
    unit = "photos" if len(differences) >= ENOUGH_PHOTOS else "objects"
    sentence = (
        f"{treatment.mistake[0].upper()}{treatment.mistake[1:]}: with {treatment.name}, the mean "
        f"{quantity} of {count} objects goes from {float(effect.before.mean()):.3f} to "
        f"{float(effect.after.mean()):.3f}, up in {int(better.sum())} of {len(differences)} photos "
        f"and down in {worse}; detections a photo {effect.detections[0]:.1f} → "
        f"{effect.detections[1]:.1f}. Sign-flip test over {unit}."
    )
    return Finding(
        code=treatment.code,
        level="warning",
        sentence=sentence,
        remedy=treatment.remedy,
        image_ids=tuple(
            case.image_id for case, up in zip(before.cases, better.tolist(), strict=True) if up
        ),
        gain=effect.gain,
        p_value=effect.p_value,
        treatment=treatment.name,
    )


def _too_few(count: int) -> Finding:
    return Finding(
        code="check_up_too_small",
        level="note",
        sentence=f"The check-up found objects of the model's classes in {count} photos, and needs "
        f"at least {LEAST_PHOTOS} to tell a mistake from chance.",
        remedy="Give it more annotated photos.",
    )
