"""Boxes: the arithmetic that several stages share.

A box is a row `(x1, y1, x2, y2)` in pixels with `x2, y2` exclusive, so its width is `x2 - x1`.
A delta is a row `(dx, dy, dw, dh)` that moves and scales one box onto another.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mrcnn_steps.checks import check_finite, check_floats, check_image_size, check_positive

# Beyond this a predicted width would be more than 62.5 times the anchor's; torchvision clamps
# there before the exponential so that an untrained network does not overflow.
MAX_LOG_SCALE = math.log(1000.0 / 16)

Weights = tuple[float, float, float, float]


@runtime_checkable
class HasBoxes(Protocol):
    """Anything that carries boxes, such as the anchors of a pyramid."""

    @property
    def boxes(self) -> Tensor:
        """[N, 4] in pixels."""
        ...


BoxesLike = Float[Tensor, "A 4"] | HasBoxes


def as_boxes(boxes: BoxesLike, name: str, positive_area: bool = False) -> Float[Tensor, "A 4"]:
    """Take the boxes out of what carries them, and check them.

    Args:
        boxes: [A, 4] in pixels, or an object with such an attribute `boxes`.
        name: the argument's name, for the message.
        positive_area: also refuse boxes without area.

    Returns:
        [A, 4] in pixels.

    Raises:
        TypeError: it neither is a tensor nor carries boxes.
        ValueError: see `check_boxes`.
    """
    if not isinstance(boxes, (Tensor, HasBoxes)):
        raise TypeError(f"{name}: expected boxes, found {type(boxes).__name__}")
    found = boxes if isinstance(boxes, Tensor) else boxes.boxes
    check_boxes(found, name, positive_area)
    return found


def check_boxes(
    boxes: Tensor, name: str, positive_area: bool = False, ordered: bool = False
) -> None:
    """Refuse what is not a set of boxes.

    Args:
        boxes: what a caller passed as boxes.
        name: the argument's name, for the message.
        positive_area: also refuse boxes without area.
        ordered: also refuse boxes of a negative side; those without area may pass.

    Raises:
        TypeError: it is no tensor.
        ValueError: the shape is not [N, 4], a value is NaN or infinite, or a box has no area;
            the message names the argument and the first bad row.
    """
    check_floats(boxes, name, ("N", 4))
    check_finite(boxes, name)
    if positive_area or ordered:
        first, last = boxes[:, :2], boxes[:, 2:]
        wrong = (last <= first if positive_area else last < first).any(dim=1)
        if wrong.any():
            row, sign = int(wrong.nonzero()[0]), "<" if positive_area else "≤"
            raise ValueError(
                f"{name}: expected x1 {sign} x2 and y1 {sign} y2, found {boxes[row].tolist()} in "
                f"row {row}"
            )


def check_weights(weights: Weights) -> Weights:
    """Refuse what cannot be the weights of deltas.

    Args:
        weights: what a caller passed.

    Returns:
        The weights of `(dx, dy, dw, dh)`.

    Raises:
        ValueError: not four finite numbers above 0.
    """
    four = isinstance(weights, (tuple, list)) and len(weights) == 4
    if not four:
        raise ValueError(f"weights: expected four numbers above 0, found {weights!r}")
    for each in weights:
        check_positive(each, "weights")
    return weights


def centers_and_sizes(boxes: Float[Tensor, "N 4"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give each box as its center and size.

    Args:
        boxes: [N, 4] in pixels.

    Returns:
        `center_x, center_y, width, height`, each [N] in pixels.
    """
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    width, height = x2 - x1, y2 - y1
    return x1 + 0.5 * width, y1 + 0.5 * height, width, height


def paired_iou(
    boxes: Float[Tensor, "*N 4"], others: Float[Tensor, "*M 4"]
) -> Float[Tensor, "*shape"]:
    """Compute the IoU of each box with its partner, in the arithmetic of torchvision's `box_iou`.

    Args:
        boxes: [..., 4] in pixels.
        others: [..., 4] in the same pixels, one a box; sizes of 1 are repeated.

    Returns:
        [...] IoU, 0…1; NaN for two boxes without area.
    """
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    other_x1, other_y1, other_x2, other_y2 = others.unbind(dim=-1)
    width = (torch.minimum(x2, other_x2) - torch.maximum(x1, other_x1)).clamp(min=0)
    height = (torch.minimum(y2, other_y2) - torch.maximum(y1, other_y1)).clamp(min=0)
    shared = width * height
    area, other_area = (x2 - x1) * (y2 - y1), (other_x2 - other_x1) * (other_y2 - other_y1)
    return shared / (area + other_area - shared)


def encode(
    boxes: Float[Tensor, "N 4"],
    anchors: Float[Tensor, "N 4"],
    weights: Weights = (1.0, 1.0, 1.0, 1.0),
) -> Float[Tensor, "N 4"]:
    """Compute the deltas that turn each anchor into its box (Faster R-CNN §3.1.2, eq. 2).

    `dx = wx (x - xa) / wa`, `dw = ww log(w / wa)`, likewise for y and h, with centers x and
    widths w of the box and xa, wa of the anchor.

    Args:
        boxes: [N, 4] the boxes to reach, in pixels, with area.
        anchors: [N, 4] the boxes to start from, row by row, in pixels, with area.
        weights: the factors of `(dx, dy, dw, dh)`; 1 for the RPN, `(10, 10, 5, 5)` for the box
            head in torchvision.

    Returns:
        [N, 4] deltas `(dx, dy, dw, dh)`.

    Raises:
        ValueError: a box is not finite or has no area, or the row counts differ.
    """
    check_boxes(boxes, "boxes", positive_area=True)
    check_boxes(anchors, "anchors", positive_area=True)
    if len(boxes) != len(anchors):
        raise ValueError(f"encode: {len(boxes)} boxes for {len(anchors)} anchors; expected as many")
    x, y, width, height = centers_and_sizes(boxes)
    anchor_x, anchor_y, anchor_width, anchor_height = centers_and_sizes(anchors)
    wx, wy, ww, wh = check_weights(weights)
    deltas = torch.stack(
        (
            wx * (x - anchor_x) / anchor_width,
            wy * (y - anchor_y) / anchor_height,
            ww * torch.log(width / anchor_width),
            wh * torch.log(height / anchor_height),
        ),
        dim=1,
    )
    _check_result(deltas, "boxes", boxes)
    return deltas


def decode(
    deltas: Float[Tensor, "N *classes 4"],
    anchors: Float[Tensor, "N 4"],
    weights: Weights = (1.0, 1.0, 1.0, 1.0),
) -> Float[Tensor, "N *classes 4"]:
    """Move and scale each anchor by its deltas, the inverse of `encode`.

    The order of the operations is torchvision's, so that the result is the same to the last bit.

    Args:
        deltas: [N, 4], or [N, C, 4] for one delta per class.
        anchors: [N, 4] the boxes to start from, in pixels.
        weights: as in `encode`.

    Returns:
        Boxes of the shape of `deltas`, in pixels, not clipped.

    Raises:
        ValueError: shapes that do not fit, anchors that are not finite, or NaN.
    """
    check_boxes(anchors, "anchors")
    check_floats(deltas, "deltas")
    if deltas.ndim < 2 or deltas.shape[-1] != 4 or len(deltas) != len(anchors):
        raise ValueError(
            f"deltas: expected shape [{len(anchors)}, 4] or [{len(anchors)}, C, 4], "
            f"found {list(deltas.shape)}"
        )
    per_anchor = (len(anchors),) + (1,) * (deltas.ndim - 2)
    anchor_x, anchor_y, anchor_width, anchor_height = (
        value.reshape(per_anchor) for value in centers_and_sizes(anchors.to(deltas.dtype))
    )
    wx, wy, ww, wh = check_weights(weights)
    dx, dy, dw, dh = deltas.unbind(dim=-1)
    x = dx / wx * anchor_width + anchor_x
    y = dy / wy * anchor_height + anchor_y
    half_width = 0.5 * (torch.exp((dw / ww).clamp(max=MAX_LOG_SCALE)) * anchor_width)
    half_height = 0.5 * (torch.exp((dh / wh).clamp(max=MAX_LOG_SCALE)) * anchor_height)
    boxes = torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), dim=-1)
    _check_result(boxes, "deltas", deltas)
    return boxes


def _check_result(result: Tensor, name: str, given: Tensor) -> None:
    """Refuse NaN that came in, or that numbers beyond all measure turned into."""
    if result.isnan().any():
        row = int(result.isnan().flatten(1).any(dim=1).nonzero()[0])
        found = given[row].tolist()
        raise ValueError(f"{name}: expected numbers that give a box, found {found} in row {row}")


def normalize(boxes: Float[Tensor, "*N 4"], image_size: tuple[int, int]) -> Float[Tensor, "*N 4"]:
    """Express boxes as fractions of the image, 0…1.

    The notes divide by `(width - 1, height - 1)` and shift `x2, y2` by one pixel; here a box that
    fills the image is `(0, 0, 1, 1)` without either.

    Args:
        boxes: [..., 4] in pixels.
        image_size: `(height, width)` in pixels.

    Returns:
        [..., 4] without unit.

    Raises:
        ValueError: the last size is not 4, a value is not finite, or the image has no pixels.
    """
    check_floats(boxes, "boxes")
    if boxes.ndim == 0 or boxes.shape[-1] != 4:
        raise ValueError(f"boxes: expected shape [..., 4], found {list(boxes.shape)}")
    check_boxes(boxes.reshape(-1, 4), "boxes")
    height, width = check_image_size(image_size)
    return boxes / boxes.new_tensor([width, height, width, height])
