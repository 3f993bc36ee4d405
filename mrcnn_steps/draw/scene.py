"""What pictures of all stages share: the photo as the network sees it, views of a part, words."""

from collections import Counter
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from mrcnn_steps.draw.primitives import photo
from mrcnn_steps.draw.style import Picture, Swatch, page, plural, short
from mrcnn_steps.ground_truth import GroundTruth
from mrcnn_steps.tracing import Trace

INPUT = "pixels of the network's input"
PHOTO = "pixels of the photo"


def ratio(image: Tensor) -> float:
    """Height / width of an image."""
    return image.shape[-2] / image.shape[-1]


def unpadded(trace: Trace) -> Tensor:
    """Give the network's input without the padding that batching adds: masks have its size."""
    height, width = trace.image_size
    return trace.letterbox.image[:, :height, :width]


def on_input(
    trace: Trace, title: str, subtitle: str, shown: Tensor, legend: tuple[Swatch, ...] = ()
) -> tuple[Picture, Axes]:
    """Make a page with the network's input, and room around it for boxes that reach beyond it."""
    image = trace.letterbox.image
    height, width = image.shape[1:]
    frame = image.new_tensor([0, 0, width, height], dtype=torch.float32)
    room = 0.12 * max(height, width)
    corners = torch.cat((shown, frame[None]))
    x1, y1 = corners[:, :2].amin(dim=0).clamp(min=-room).tolist()
    x2, y2 = corners[:, 2:].amax(dim=0).minimum(frame[2:] + room).tolist()
    figure, [ax] = page(title, subtitle, (y2 - y1) / (x2 - x1), legend=legend, axis=INPUT)
    photo(ax, image, (x1, y1, x2, y2))
    return figure, ax


def nothing(trace: Trace, title: str, why: str) -> Picture:
    """Show the network's input and say why there is nothing to draw on it."""
    return on_input(trace, title, why, trace.anchors.boxes[:0])[0]


NO_ANNOTATIONS = "This photo has no annotations, so there is nothing to compare with or to learn."


def tally(names: Sequence[str]) -> str:
    """Count names, the most frequent first; of very many, the first ones."""
    counts = Counter(names).most_common()
    more = f" and {plural(len(counts) - 8, 'more class')}" if len(counts) > 8 else ""
    return ", ".join(f"{name} × {count:,}" for name, count in counts[:8]) + more


def around(box: Tensor, aspect: float, room: float) -> tuple[float, float, float, float]:
    """Give a view of a box with some room around it, in a panel's shape (height / width)."""
    x1, y1, x2, y2 = box.tolist()
    half_width = max((x2 - x1) / 2, (y2 - y1) / 2 / aspect, 1) * room
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    half_height = half_width * aspect
    return x - half_width, y - half_height, x + half_width, y + half_height


def enlarged(image: Tensor, box: Tensor) -> tuple[float, float, float, float] | None:
    """Give a view of a box; of one as large as the image, the image itself."""
    view = around(box, ratio(image), 1.3)
    return view if view[2] - view[0] < image.shape[2] else None


def object_names(trace: Trace, truth: GroundTruth) -> list[str]:
    """Give the class of each ground-truth object, as short text."""
    return [short(trace.class_names[label]) for label in truth.labels.tolist()]


def largest_first(boxes: Tensor) -> Tensor:
    """Rows of boxes by descending area."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides.prod(dim=1).argsort(descending=True, stable=True)
