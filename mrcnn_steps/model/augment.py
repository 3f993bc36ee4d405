"""Augmentation: one photo becomes a different training picture every time it is seen.

Everything geometric happens at the photo's own resolution, and only the image is enlarged to the
canvas: the masks of fifty objects at 1024 × 1024 would cost more time than the training step.
They are shrunk to mini-masks instead, from which `mask_targets` cuts what a RoI needs.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as transforms

from mrcnn_steps.data.sample import Sample
from mrcnn_steps.mini_masks import boxes_from_masks, shrink

# Objects smaller than this on the canvas (side in pixels), or of which less than this part is
# left after cropping and pasting, are ignored: neither object nor background.
SMALLEST_SIDE = 8
SMALLEST_PART = 0.15

MINI_SIZE = 112

# Pasted objects are shrunk or enlarged by up to these factors, so that a class of which the photos
# show no close-up is seen large as well, and whole.
PASTED_SCALE = (0.4, 2.5)


@dataclass(frozen=True)
class Augmentation:
    """How much the training pictures differ from the photos.

    Attributes:
        scale: range of the large-scale jitter: longer side of the photo / side of the canvas.
        color: brightness, contrast and saturation change by up to this factor.
        paste: probability of pasting objects of another photo.
    """

    scale: tuple[float, float] = (0.5, 1.7)
    color: float = 0.4
    paste: float = 0.4


@dataclass(frozen=True)
class Scene:
    """A photo in the works: the image and the masks of its objects, cut and pasted together."""

    image: UInt8[Tensor, "3 H W"]
    masks: Bool[Tensor, "N H W"]
    labels: Int64[Tensor, "N"]
    crowd: Bool[Tensor, "N"]
    full_area: Float[Tensor, "N"]


@dataclass(frozen=True)
class Example:
    """A training picture with its ground truth.

    Attributes:
        image: [3, S, S] the canvas.
        boxes: [N, 4] in pixels of the canvas.
        labels: [N] from 1.
        minis: [N, m, m] masks inside their boxes, 0 or 1.
        crowds: [K, 4] boxes of what is neither object nor background.
    """

    image: UInt8[Tensor, "3 S S"]
    boxes: Float[Tensor, "N 4"]
    labels: Int64[Tensor, "N"]
    minis: UInt8[Tensor, "N m m"]
    crowds: Float[Tensor, "K 4"]


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """Give a random number between two others."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def areas(masks: Bool[Tensor, "N H W"]) -> Float[Tensor, "N"]:
    """Count the pixels of each mask; NumPy counts ten times as fast as torch sums bools."""
    return torch.from_numpy(np.count_nonzero(masks.numpy(), axis=(1, 2))).float()


def augment(
    sample: Sample,
    source: Sample | None,
    canvas: int,
    how: Augmentation,
    generator: torch.Generator,
) -> Example:
    """Make a training picture.

    Args:
        sample: The photo.
        source: Another photo, to paste objects from.
        canvas: Side of the square training picture.
        how: How much to change.
        generator: Source of all randomness.

    Returns:
        The picture and its ground truth.
    """
    masks = sample.masks_or_rectangles()
    scene = Scene(sample.image, masks, sample.labels, sample.crowd, areas(masks))
    if source is not None:
        scene = paste_objects(scene, source, generator)
    scene = replace(scene, image=jitter_colors(scene.image, how.color, generator))
    if torch.rand((), generator=generator) < 0.5:
        scene = flip(scene)
    scale = uniform(*how.scale, generator)
    return crop(scene, scale, canvas, generator)


def jitter_colors(
    image: UInt8[Tensor, "3 H W"], strength: float, generator: torch.Generator
) -> UInt8[Tensor, "3 H W"]:
    """Change brightness, contrast and saturation, each by a random factor around 1."""
    for adjust in (
        transforms.adjust_brightness,
        transforms.adjust_contrast,
        transforms.adjust_saturation,
    ):
        image = adjust(image, uniform(1 - strength, 1 + strength, generator))
    return image


def flip(scene: Scene) -> Scene:
    """Mirror left and right."""
    return replace(
        scene,
        image=transforms.horizontal_flip(tv_tensors.Image(scene.image)).as_subclass(Tensor),
        masks=transforms.horizontal_flip(tv_tensors.Mask(scene.masks)).as_subclass(Tensor),
    )


def crop(scene: Scene, scale: float, canvas: int, generator: torch.Generator) -> Example:
    """Large-scale jitter ("Simple Copy-Paste", 2021): a window of the photo fills the canvas.

    The window is a square. One larger than the photo shows the whole photo, small, somewhere on
    black; a smaller one shows a part of it, enlarged.

    Args:
        scene: The photo.
        scale: Longer side of the photo / side of the window; 1 fits the photo into the canvas.
        canvas: Side of the result in pixels.
        generator: Places the window.

    Returns:
        The window as a training picture.
    """
    height, width = scene.image.shape[1:]
    side = max(1, round(max(height, width) / scale))
    # Where the window is the larger one, its corner lies outside the photo: the range turns over.
    left, top = (
        round(uniform(min(0, length - side), max(0, length - side), generator))
        for length in (width, height)
    )
    window = (top, left, side, side)
    image = transforms.crop(tv_tensors.Image(scene.image), *window)
    image = transforms.resize(image, [canvas, canvas], antialias=True).as_subclass(Tensor)
    masks = transforms.crop(tv_tensors.Mask(scene.masks), *window).as_subclass(Tensor)
    visible = areas(masks)
    boxes = boxes_from_masks(masks)
    zoom = canvas / side
    sides = (boxes[:, 2:] - boxes[:, :2]) * zoom
    clear = (
        (sides.amin(dim=1) >= SMALLEST_SIDE)
        & (visible >= SMALLEST_PART * scene.full_area)
        & ~scene.crowd
    )
    ignored = (visible > 0) & ~clear
    return Example(
        image=image,
        boxes=boxes[clear] * zoom,
        labels=scene.labels[clear],
        minis=shrink(masks[clear], boxes[clear], (MINI_SIZE, MINI_SIZE)).to(torch.uint8),
        crowds=boxes[ignored] * zoom,
    )


def paste_objects(scene: Scene, source: Sample, generator: torch.Generator) -> Scene:
    """Paste one to three objects of another photo ("Simple Copy-Paste", 2021).

    Only objects travel, nothing around them, so a photo labeled for some classes stays labeled
    for them.

    Args:
        scene: The photo to paste into.
        source: The photo to take objects from; crowds and specks stay there.
        generator: Chooses objects, sizes and places.

    Returns:
        The changed photo; pasted objects cover what is behind them.
    """
    large = (source.boxes[:, 2:] - source.boxes[:, :2]).amin(dim=1) >= 16
    candidates = torch.where(large & ~source.crowd)[0]
    order = torch.randperm(len(candidates), generator=generator)
    count = int(torch.randint(1, 4, (), generator=generator))
    for index in candidates[order[:count]].tolist():
        scene = paste_object(scene, source, index, generator)
    return scene


def paste_object(scene: Scene, source: Sample, index: int, generator: torch.Generator) -> Scene:
    """Paste one object, resized, with its center somewhere in the photo."""
    x1, y1, x2, y2 = (int(v) for v in source.boxes[index])
    patch = source.image[:, y1:y2, x1:x2]
    cutout = source.masks_or_rectangles()[index, y1:y2, x1:x2]
    height, width = scene.image.shape[1:]
    smallest, largest = PASTED_SCALE
    factor = smallest * (largest / smallest) ** uniform(0, 1, generator)
    factor = min(factor, 0.8 * height / (y2 - y1), 0.8 * width / (x2 - x1))
    size = [max(1, round((y2 - y1) * factor)), max(1, round((x2 - x1) * factor))]
    patch = transforms.resize(tv_tensors.Image(patch), size, antialias=True).as_subclass(Tensor)
    cutout = transforms.resize(tv_tensors.Mask(cutout[None]), size).as_subclass(Tensor)[0]
    top = round(uniform(0, height, generator)) - size[0] // 2
    left = round(uniform(0, width, generator)) - size[1] // 2

    mask = torch.zeros((height, width), dtype=torch.bool)
    place = (slice(max(top, 0), top + size[0]), slice(max(left, 0), left + size[1]))
    shown = mask[place].shape
    part = (
        slice(max(-top, 0), max(-top, 0) + shown[0]),
        slice(max(-left, 0), max(-left, 0) + shown[1]),
    )
    mask[place] = cutout[part]
    image = scene.image.clone()
    image[:, *place] = torch.where(cutout[part], patch[:, *part], image[:, *place])
    return Scene(
        image=image,
        masks=torch.cat((scene.masks & ~mask, mask[None])),
        labels=torch.cat((scene.labels, source.labels[index : index + 1])),
        crowd=torch.cat((scene.crowd, torch.zeros(1, dtype=torch.bool))),
        full_area=torch.cat((scene.full_area, cutout.sum()[None].float())),
    )
