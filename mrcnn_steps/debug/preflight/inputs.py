"""What the backbone sees of a photo, against what the model's transform would give."""

from collections.abc import Iterable
from math import isfinite
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.debug.preflight.codes import Findings
from mrcnn_steps.model.mode import evaluating

# Photos that are shown to the model.
PHOTOS = 8

# Below this, and above that, no photo that was meant in 0…1 has values. An interpolation may
# overshoot by less.
LOWEST, HIGHEST = -0.05, 1.05

# The brightest value of photos that were divided by 255 twice.
DARKEST = 1.5 / 255

# Two inputs are alike if their means differ by less than this many deviations, and their
# deviations by less than this factor. The bundled network halves photos first, which smooths them.
MEAN, FACTOR = 0.25, 1.4


class Moments(NamedTuple):
    """Mean and deviation of each channel."""

    mean: Float[Tensor, "C"]
    deviation: Float[Tensor, "C"]

    def moved(self, factor: Float[Tensor, "C"], offset: Float[Tensor, "C"]) -> "Moments":
        """Give the moments of `factor · x + offset`."""
        return Moments(self.mean * factor + offset, self.deviation * factor)

    def like(self, other: "Moments") -> bool:
        """Whether two inputs may be the same."""
        ratio = self.deviation / other.deviation.clamp(min=1e-9)
        near = (self.mean - other.mean).abs() < MEAN * other.deviation + 1e-6
        return bool((near & (ratio < FACTOR) & (ratio > 1 / FACTOR)).all())

    def __str__(self) -> str:
        means, deviations = (", ".join(f"{v:.3g}" for v in each.tolist()) for each in self)
        return f"mean {means} and deviation {deviations}"


class _StopError(Exception):
    """Ends a pass through a model where enough is seen of it."""


def check_range(image: Tensor, image_id: int, findings: Findings) -> None:
    """Look at the values of a photo that a dataset gives.

    Args:
        image: [3, H, W] uint8, or floating point that should be in 0…1.
        image_id: the photo's.
        findings: where they go.
    """
    if not image.is_floating_point() or not image.numel():
        return
    low, high = image.min().item(), image.max().item()
    code = _code_of_range(low, high)
    if code is not None:
        moments = _moments([image[None]])
        findings.add(code, f"image {image_id} has {low:.3g} to {high:.3g}, {moments}", [image_id])


def _code_of_range(low: float, high: float) -> str | None:
    if not (isfinite(low) and isfinite(high)):
        return "input_not_finite"
    if low < LOWEST:
        return "input_normalized_twice"
    if high > HIGHEST:
        return "input_0_255"
    if low < 0 or high > 1:
        return "input_overshoots"
    return "input_too_dark" if 0 < high < DARKEST else None


def check_input(model: FasterRCNN, images: Iterable[Tensor], findings: Findings) -> None:
    """Compare the tensor that the backbone's first convolution gets with the transform's.

    Args:
        model: any Mask R-CNN or Faster R-CNN of torchvision's.
        images: [3, H, W] each, as the data set gives them. What `check_range` tells of them is
            undone first: here the model is on trial.
        findings: where they go.
    """
    stem = next((part for part in model.backbone.modules() if isinstance(part, nn.Conv2d)), None)
    if stem is None:
        return
    weight = next(model.parameters())
    seen, given = [], []
    for image in images:
        photo = image.to(weight) / (1 if image.is_floating_point() else 255)
        if not photo.isfinite().all():
            continue
        photo = _in_unit_range(model, photo)
        try:
            seen.append(_seen(model, stem, photo))
            given.append(_transformed(model, photo))
        except (ValueError, TypeError, RuntimeError) as error:
            findings.add("input_refused", str(error).strip().split("\n")[0])
            return
    if not seen or seen[0].shape[1] != given[0].shape[1]:
        return
    found, expected = _moments(seen), _moments(given)
    code = _judge(model, found, expected)
    if code is not None:
        said = f"the backbone sees {found}; the model's transform makes {expected} of these photos"
        findings.add(code, said)


def _judge(model: FasterRCNN, found: Moments, once: Moments) -> str | None:
    """Tell what was done to the photos by what became of their mean and deviation."""
    mean, deviation = _normalization(model, once.mean)
    zero, one = torch.zeros_like(mean), torch.ones_like(mean)
    unit = once.moved(deviation, mean)
    normalized = (1 / deviation, -mean / deviation)
    identity = bool((mean.abs() < 1e-6).all() and ((deviation - 1).abs() < 1e-6).all())
    suspects = (
        ("input_0_255", unit.moved(255 * one, zero)),
        ("input_not_normalized", unit),
        (None, once),
        ("input_normalized_twice", once.moved(*normalized)),
        ("input_0_255", unit.moved(255 * one, zero).moved(*normalized)),
        ("input_too_dark", unit.moved(one / 255, zero).moved(*normalized)),
    )
    for code, moments in suspects:
        if found.like(moments):
            return code
    # Where the transform does nothing, normalizing is left to the backbone.
    return None if identity else "input_changed"


def _seen(model: FasterRCNN, stem: nn.Module, photo: Tensor) -> Float[Tensor, "1 C H W"]:
    """Give what reaches the first convolution, and go no further."""
    caught: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0].detach())
        raise _StopError

    hook = stem.register_forward_pre_hook(catch)
    try:
        with torch.no_grad(), evaluating(model):
            model([photo])
    except _StopError:
        return caught[0]
    finally:
        hook.remove()
    raise ValueError("the backbone's first convolution was not asked")


def _transformed(model: FasterRCNN, photo: Tensor) -> Float[Tensor, "1 C H W"]:
    with torch.no_grad(), evaluating(model):
        images, _ = model.transform([photo])
    return images.tensors


def _in_unit_range(model: FasterRCNN, photo: Tensor) -> Float[Tensor, "C H W"]:
    """Undo what was done to a photo before it was given to the model."""
    code = _code_of_range(photo.min().item(), photo.max().item())
    if code == "input_normalized_twice":
        mean, deviation = _normalization(model, photo)
        photo = photo * deviation[:, None, None] + mean[:, None, None]
    elif code == "input_0_255":
        photo = photo / 255
    elif code == "input_too_dark":
        photo = photo * 255
    return photo.clamp(0, 1)


def _normalization(model: FasterRCNN, like: Tensor) -> tuple[Tensor, Tensor]:
    transform = model.transform
    return like.new_tensor(transform.image_mean), like.new_tensor(transform.image_std)


def _moments(tensors: Iterable[Float[Tensor, "1 C _h _w"]]) -> Moments:
    """Compute mean and deviation of each channel over several photos, one photo one vote."""
    parts = [torch.var_mean(each.double(), dim=(0, 2, 3), correction=0) for each in tensors]
    mean = torch.stack([m for _, m in parts]).mean(dim=0)
    square = torch.stack([v + m**2 for v, m in parts]).mean(dim=0)
    return Moments(mean, (square - mean**2).clamp(min=0).sqrt())
