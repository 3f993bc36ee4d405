"""A mask as runs of pixels, and COCO's two ways to write their lengths down."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

# COCO's text writes a number in groups of 5 bits; pixels of a photo need no more groups.
MOST_GROUPS = 6


@dataclass(frozen=True, eq=False)
class Runs:
    """A mask as runs of pixels down its columns, one column after the other.

    No run is empty and no two touch: the runs of a mask are always the same.

    Attributes:
        starts: [R] the first pixel of each run, counted down the columns.
        ends: [R] the pixel after its last.
        size: `(height, width)` of the mask.
    """

    starts: Int[np.ndarray, "R"]
    ends: Int[np.ndarray, "R"]
    size: tuple[int, int]

    @classmethod
    def of(
        cls, starts: Int[np.ndarray, "Q"], ends: Int[np.ndarray, "Q"], size: tuple[int, int]
    ) -> "Runs":
        """Drop empty runs and join those that touch.

        Args:
            starts: [Q] ascending.
            ends: [Q] each at least its start, and at most the next start.
            size: `(height, width)` of the mask.

        Returns:
            The runs.
        """
        filled = ends > starts
        starts, ends = starts[filled], ends[filled]
        apart = starts[1:] > ends[:-1]
        first = np.concatenate((np.ones(len(starts[:1]), dtype=bool), apart))
        last = np.concatenate((apart, np.ones(len(ends[:1]), dtype=bool)))
        return cls(starts[first], ends[last], size)

    @classmethod
    def of_patch(
        cls, values: Bool[np.ndarray, "h w"], corner: tuple[int, int], size: tuple[int, int]
    ) -> "Runs":
        """Take a mask that is empty outside a part of the photo.

        Args:
            values: [h, w] the mask inside the part.
            corner: `(top, left)` of the part in the photo.
            size: `(height, width)` of the photo.

        Returns:
            The runs.
        """
        height, width = values.shape
        padded = np.zeros((width, height + 2), dtype=np.int8)
        padded[:, 1:-1] = values.T
        steps = np.diff(padded, axis=1)
        # A run may not go on in the next column: `of` joins the two where it does.
        column, row = np.nonzero(steps == 1)
        starts = (corner[1] + column) * size[0] + corner[0] + row
        column, row = np.nonzero(steps == -1)
        return cls.of(starts, (corner[1] + column) * size[0] + corner[0] + row, size)

    @classmethod
    def of_counts(cls, counts: Any, size: tuple[int, int]) -> "Runs | None":
        """Read COCO's run lengths.

        Args:
            counts: a list of lengths, zeros first, or COCO's compressed text.
            size: `(height, width)` of the mask.

        Returns:
            The runs; None if the lengths are none, or do not add up to the pixels.
        """
        pixels = size[0] * size[1]
        if isinstance(counts, str):
            lengths = decompress(counts)
        elif isinstance(counts, list) and all(type(n) is int and 0 <= n <= pixels for n in counts):
            lengths = np.array(counts, dtype=np.int64)
        else:
            return None
        if lengths is None or (lengths < 0).any() or lengths.sum() != pixels:
            return None
        ends = lengths.cumsum()
        return cls.of(ends[: len(ends) // 2 * 2 : 2], ends[1::2], size)

    @property
    def area(self) -> int:
        """The number of pixels."""
        return int((self.ends - self.starts).sum())

    @property
    def box(self) -> tuple[float, float, float, float]:
        """`(x1, y1, x2, y2)` around the pixels, `x2, y2` exclusive; zeros without any."""
        if not len(self.starts):
            return 0.0, 0.0, 0.0, 0.0
        height, last = self.size[0], self.ends - 1
        x1, x2 = self.starts[0] // height, last[-1] // height + 1
        if (self.starts // height != last // height).any():
            # A run that goes on in the next column is at the bottom here and at the top there.
            y1, y2 = 0, height
        else:
            y1, y2 = (self.starts % height).min(), (last % height).max() + 1
        return float(x1), float(y1), float(x2), float(y2)

    def mask(self) -> Bool[np.ndarray, "H W"]:
        """Draw the pixels.

        Returns:
            [H, W].
        """
        height, width = self.size
        flat = np.zeros(height * width, dtype=bool)
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            flat[start:end] = True
        return flat.reshape(width, height).T

    def coco(self) -> dict[str, Any]:
        """Write the mask as pycocotools takes it: compressed run lengths."""
        from pycocotools import mask as coco_mask

        height, width = self.size
        pixels = height * width
        bounds = np.stack((self.starts, self.ends), axis=1).flatten()
        after = [] if len(self.ends) and self.ends[-1] == pixels else [pixels]
        lengths = np.diff(np.concatenate(([0], bounds, after)).astype(np.int64))
        return coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)


def decompress(counts: str) -> Int[np.ndarray, "N"] | None:
    """Undo COCO's compression of run lengths.

    A number is cut into groups of 5 bits, lowest first, each a character from "0" on; the sixth
    bit says that more follow, the fifth of the last group is the sign. From the fourth run on,
    the difference to the run before the last is stored.

    Args:
        counts: the text.

    Returns:
        [N] the lengths, not yet checked; None if the text is none of the kind.
    """
    if not counts.isascii():
        return None
    codes = np.frombuffer(counts.encode(), dtype=np.uint8).astype(np.int64) - 48
    if not len(codes):
        return codes
    ends = np.flatnonzero((codes & 32) == 0)
    if ((codes < 0) | (codes > 63)).any() or not len(ends) or ends[-1] != len(codes) - 1:
        return None
    starts = np.concatenate(([0], ends[:-1] + 1))
    groups = ends - starts + 1
    if groups.max() > MOST_GROUPS:
        return None
    place = 5 * (np.arange(len(codes)) - np.repeat(starts, groups))
    lengths = np.add.reduceat((codes & 31) << place, starts)
    lengths -= np.where(codes[ends] & 16, 1 << (5 * groups), 0)
    lengths[1::2] = lengths[1::2].cumsum()
    lengths[2::2] = lengths[2::2].cumsum()
    return lengths
