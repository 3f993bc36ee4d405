"""The report: the whole debugger in one HTML file, without kernel, network or install."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchvision.models.detection.faster_rcnn import FasterRCNN

    from mrcnn_steps.debug.datasets import Dataset
    from mrcnn_steps.debug.funnel.summary import Funnel
    from mrcnn_steps.tracing import Trace


def report(
    subject: Trace | Funnel,
    path: str | Path,
    *,
    model: FasterRCNN | None = None,
    dataset: Dataset | None = None,
    photos: bool = True,
    explained: Sequence[int] = (),
    command: str | None = None,
) -> Path:
    """Write a report that any browser opens.

    Args:
        subject: the trace of a photo, or the funnel of a data set.
        path: of the HTML file; a JSON file of the same name is written beside it.
        model: of a funnel, to trace its worst photos with, whose cases then have a lineage.
        dataset: of a funnel, to show its photos.
        photos: False leaves photos themselves out.
        explained: objects of a photo for which the report says what would bring them back; takes
            seconds for each.
        command: what made the report, to be told in it.

    Returns:
        The absolute path of the HTML file.

    Raises:
        ValueError: the path does not end in ".html", or there is no such object to explain.
        OSError: a file cannot be written; names it.
    """
    # The package is imported with `mrcnn_widgets`, torch only when a report is made.
    from mrcnn_steps.debug.funnel.summary import Funnel
    from mrcnn_widgets.report.dataset import write_dataset
    from mrcnn_widgets.report.photo import write_photo

    if isinstance(subject, Funnel):
        return write_dataset(subject, Path(path), model, dataset, photos, command)
    return write_photo(subject, Path(path), photos, explained, command)
