"""A setup: what is done otherwise than the model does it, as data, and what it does to tensors."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mrcnn_steps.anchors import Anchors, Grid
from mrcnn_steps.boxes import Weights, centers_and_sizes
from mrcnn_steps.debug.rerun import Value


@dataclass(frozen=True)
class Normalization:
    """How pixels in 0…1 become what the backbone sees: `(pixel − mean) / std`.

    Attributes:
        mean: of each channel.
        std: of each channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def like(self, other: "Normalization") -> bool:
        """Tell whether two differ by less than a network would notice."""
        means = zip(self.mean, other.mean, strict=True)
        ratios = zip(self.std, other.std, strict=True)
        return all(abs(a / b - 1) < 0.03 for a, b in ratios) and all(
            abs(a - b) < 0.03 * max(self.std) for a, b in means
        )


@dataclass(frozen=True)
class Setup:
    """What is done otherwise than the model does it: nothing, as it begins.

    Attributes:
        channels_reversed: show the backbone the channels in the other order.
        normalization: of the pixels, instead of the model's own.
        cells_transposed: read the anchors of each level column by column.
        levels_reversed: give the anchors of the first level the sizes of the last, and so on.
        anchor_scale: factor of the anchors' sides.
        ratios_inverted: exchange width and height of every anchor.
        rpn_weights: of the RPN's deltas, instead of its own.
        rpn_swapped: exchange x and y in the RPN's deltas.
        settings: of `rerun.SETTINGS`, by name, instead of the model's own.
        box_zoom: factor of the scales by which the box head's RoIs are cut out.
        columns: the model's label that speaks for each label; empty for its own.
        deltas_follow: whether the deltas come from that label too, or the scores alone.
        box_weights: of the box head's deltas, instead of its own.
        box_swapped: exchange x and y in the box head's deltas.
        mask_zoom: factor of the scales by which the mask head's RoIs are cut out.
        mask_upside_down: turn each mask over in its box.
        mask_mirrored: exchange left and right of each mask in its box.
        mask_transposed: exchange rows and columns of each mask.
        mask_threshold: probability from which on a pixel is the object's.
    """

    channels_reversed: bool = False
    normalization: Normalization | None = None
    cells_transposed: bool = False
    levels_reversed: bool = False
    anchor_scale: float = 1.0
    ratios_inverted: bool = False
    rpn_weights: Weights | None = None
    rpn_swapped: bool = False
    settings: tuple[tuple[str, Value], ...] = ()
    box_zoom: float = 1.0
    columns: tuple[int, ...] = ()
    deltas_follow: bool = True
    box_weights: Weights | None = None
    box_swapped: bool = False
    mask_zoom: float = 1.0
    mask_upside_down: bool = False
    mask_mirrored: bool = False
    mask_transposed: bool = False
    mask_threshold: float = 0.5


def set_input(
    input: Float[Tensor, "1 C h w"],
    image_size: tuple[int, int],
    own: Normalization,
    setup: Setup,
) -> Float[Tensor, "1 C h w"]:
    """Give the backbone's input with its channels and its normalization as a setup has them.

    Args:
        input: as the model's transform made it.
        image_size: `(height, width)` of it without the padding of a batch, which stays.
        own: the normalization that the transform applied.
        setup: to follow.

    Returns:
        [1, C, h, w]; the input itself where nothing changes.
    """
    to = setup.normalization or own
    if to == own and not setup.channels_reversed:
        return input
    mean, std, new_mean, new_std = (
        input.new_tensor(values)[:, None, None] for values in (own.mean, own.std, to.mean, to.std)
    )
    rows, columns = image_size
    pixels = input[..., :rows, :columns] * std + mean
    if setup.channels_reversed:
        pixels = pixels.flip(1)
    changed = input.clone()
    changed[..., :rows, :columns] = (pixels - new_mean) / new_std
    return changed


def set_anchors(anchors: Anchors, setup: Setup) -> Float[Tensor, "A 4"]:
    """Give the anchors in the order and the sizes that a setup has.

    Args:
        anchors: as the model lays them.
        setup: to follow.

    Returns:
        [A, 4] in pixels of the network's input.
    """
    levels = [anchors.boxes[part] for part in anchors.level_slices]
    if setup.cells_transposed:
        levels = [
            _transposed(boxes, grid) for boxes, grid in zip(levels, anchors.grids, strict=True)
        ]
    factors = [setup.anchor_scale] * len(levels)
    if setup.levels_reversed:
        sides = [typical_side(boxes) for boxes in levels]
        factors = [
            factor * new / old
            for factor, new, old in zip(factors, reversed(sides), sides, strict=True)
        ]
    if factors == [1.0] * len(levels) and not setup.ratios_inverted:
        return torch.cat(levels)
    return torch.cat(
        [
            _resized(boxes, factor, setup.ratios_inverted)
            for boxes, factor in zip(levels, factors, strict=True)
        ]
    )


def typical_side(boxes: Float[Tensor, "N 4"]) -> float:
    """Give the side of a square of the boxes' typical area, in pixels; 1 without boxes."""
    if not len(boxes):
        return 1.0
    _, _, width, height = centers_and_sizes(boxes)
    return float((width * height).median().sqrt())


def set_deltas(deltas: Float[Tensor, "*N 4"], swapped: bool) -> Float[Tensor, "*N 4"]:
    """Give deltas with x and y exchanged, if a setup has them so."""
    return deltas[..., [1, 0, 3, 2]] if swapped else deltas


def set_masks(probs: Float[Tensor, "D m m"], setup: Setup) -> Float[Tensor, "D m m"]:
    """Give masks turned in their boxes as a setup has them; its threshold is not applied.

    Args:
        probs: [D, m, m] the mask of each detection's class, 0…1.
        setup: to follow.

    Returns:
        [D, m, m].
    """
    if setup.mask_transposed:
        probs = probs.transpose(1, 2)
    turned = [1] * setup.mask_upside_down + [2] * setup.mask_mirrored
    return probs.flip(turned) if turned else probs


def _transposed(boxes: Tensor, grid: Grid) -> Tensor:
    """Read anchors that were listed column by column: then each cell gets its own."""
    listed = boxes.reshape(grid.columns, grid.rows, grid.per_cell, 4)
    return listed.transpose(0, 1).reshape(-1, 4)


def _resized(boxes: Tensor, factor: float, inverted: bool) -> Tensor:
    x, y, width, height = centers_and_sizes(boxes)
    if inverted:
        width, height = height, width
    across, down = width * factor / 2, height * factor / 2
    return torch.stack((x - across, y - down, x + across, y + down), dim=1)
