"""Letterboxing: fit a photo of any shape into a square, and map boxes and masks there and back."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from mrcnn_steps.boxes import check_boxes
from mrcnn_steps.checks import (
    BOOL,
    FLOATING,
    check_floats,
    check_image_size,
    check_no_nan,
    check_tensor,
    check_whole,
)


@dataclass(frozen=True, eq=False)
class Letterbox:
    """A photo resized into a square with zeros on both sides of its shorter axis.

    The resized photo has whole pixels, so its two sides are rounded and the two axes are stretched
    by slightly different ratios. Boxes and masks follow the real ratio of each axis: the box of
    the whole photo lands exactly on the window.

    Attributes:
        image: [3, size, size] the square, of the photo's dtype; where a network pads its input
            to another shape, that.
        window: `(x1, y1, x2, y2)` where the photo lies in the square, in whole pixels, exclusive.
        scale: size / longer side of the photo: the ratio that both axes have before rounding.
        photo_size: `(height, width)` of the photo.
    """

    image: Shaped[Tensor, "3 height width"]
    window: tuple[int, int, int, int]
    scale: float
    photo_size: tuple[int, int]

    def __post_init__(self) -> None:
        check_image_size(self.photo_size, "photo_size")
        x1, y1, x2, y2 = self.window
        check_image_size((y2 - y1, x2 - x1), "window")

    def boxes(self, boxes: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
        """Map boxes of the photo into the square.

        Args:
            boxes: [N, 4] `(x1, y1, x2, y2)` in pixels of the photo.

        Returns:
            [N, 4] in pixels of the square.

        Raises:
            ValueError: not finite boxes of shape [N, 4].
        """
        photo, window, offset = self._frame(boxes)
        # Multiplying first keeps whole pixels exact: width × window / width is the window.
        return boxes * window / photo + offset

    def undo_boxes(self, boxes: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
        """Map boxes of the square back into the photo.

        Args:
            boxes: [N, 4] `(x1, y1, x2, y2)` in pixels of the square.

        Returns:
            [N, 4] in pixels of the photo. A box that lies on the padding lies outside the photo;
            nothing is clipped.

        Raises:
            ValueError: not finite boxes of shape [N, 4].
        """
        photo, window, offset = self._frame(boxes)
        return (boxes - offset) * photo / window

    def masks(self, masks: Bool[Tensor, "N H W"]) -> Bool[Tensor, "N height width"]:
        """Map masks of the photo into the square.

        Each pixel takes the value of the photo's pixel under its center: edges stay where they
        are, whereas `mode="nearest"` shifts them by up to half a pixel of the photo. Enlarging
        and `undo_masks` therefore returns every mask unchanged.

        Args:
            masks: [N, H, W] of the photo's size.

        Returns:
            [N, size, size], False on the padding.

        Raises:
            ValueError: the masks do not have the photo's size.
        """
        _check_masks(masks, self.photo_size)
        x1, y1, x2, y2 = self.window
        square = masks.new_zeros((len(masks), *self.image.shape[1:]))
        square[:, y1:y2, x1:x2] = _pick_centers(masks, (y2 - y1, x2 - x1))
        return square

    def undo_masks(self, masks: Bool[Tensor, "N height width"]) -> Bool[Tensor, "N H W"]:
        """Map masks of the square back into the photo.

        Args:
            masks: [N, size, size] of the square's size.

        Returns:
            [N, H, W] of the photo's size; what lay on the padding is gone.

        Raises:
            ValueError: the masks do not have the square's size.
        """
        height, width = self.image.shape[1:]
        _check_masks(masks, (height, width))
        x1, y1, x2, y2 = self.window
        return _pick_centers(masks[:, y1:y2, x1:x2], self.photo_size)

    def _frame(self, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Photo size, window size and window offset, each as (x, y, x, y)."""
        check_boxes(boxes, "boxes")
        height, width = self.photo_size
        x1, y1, x2, y2 = self.window
        return (
            boxes.new_tensor([width, height, width, height]),
            boxes.new_tensor([x2 - x1, y2 - y1, x2 - x1, y2 - y1]),
            boxes.new_tensor([x1, y1, x1, y1]),
        )


def letterbox(image: Shaped[Tensor, "3 H W"], size: int = 1024) -> Letterbox:
    """Resize a photo into a square: the aspect ratio stays, the rest is padded with zeros.

    Bilinear. Where the photo shrinks, every pixel averages all the photo's pixels that it covers
    (antialiasing), or fine texture would turn into noise; where it grows, this is the plain
    bilinear interpolation of torchvision's `GeneralizedRCNNTransform`.

    Args:
        image: [3, H, W] uint8 or floating point.
        size: side of the square in pixels.

    Returns:
        The square and the way back.

    Raises:
        ValueError: the image is not [3, H, W], has no pixels or is of another dtype, or size < 1.
    """
    check_tensor(image, "image", (torch.uint8, *FLOATING), meta=True)
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
        raise ValueError(f"image: expected [3, H, W] with pixels, found {list(image.shape)}")
    if image.is_floating_point() and not image.is_meta:
        check_floats(image, "image", for_native_code=True)
        check_no_nan(image, "image")
    check_whole(size, "size", least=1)
    check_image_size((size, size), "size")
    height, width = image.shape[1:]
    scale = size / max(height, width)
    # The shorter side of 1×2000 would round to nothing.
    window_height, window_width = (max(1, round(side * scale)) for side in (height, width))
    x1, y1 = (size - window_width) // 2, (size - window_height) // 2
    x2, y2 = x1 + window_width, y1 + window_height
    square = image.new_zeros((3, size, size))
    square[:, y1:y2, x1:x2] = _resize(image, (window_height, window_width))
    return Letterbox(square, (x1, y1, x2, y2), scale, (height, width))


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    batch = image[None]
    if image.dtype == torch.uint8:
        # torch's fixed-point code for 8-bit images wants the channels last.
        batch = batch.contiguous(memory_format=torch.channels_last)
    return F.interpolate(batch, size, mode="bilinear", antialias=True, align_corners=False)[0]


def _pick_centers(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [N, H, W] by taking the pixel under the center of each new pixel."""
    if len(masks) == 0:
        return masks.new_zeros((0, *size))
    pixels = masks[None].view(torch.uint8)
    return F.interpolate(pixels, size, mode="nearest-exact")[0].view(torch.bool)


def _check_masks(masks: Tensor, size: tuple[int, int]) -> None:
    check_tensor(masks, "masks", BOOL, ("N", *size))
