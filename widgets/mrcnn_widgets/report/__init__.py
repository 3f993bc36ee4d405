"""The report: the whole debugger in one HTML file, without kernel, network or install."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchvision.models.detection.faster_rcnn import FasterRCNN

    from mrcnn_steps.debug.datasets import Dataset
    from mrcnn_steps.debug.funnel.summary import Funnel
    from mrcnn_steps.debug.remedies import Remedy
    from mrcnn_steps.tracing import Trace
    from mrcnn_widgets.report.origin import Origin


def report(
    subject: Trace | Funnel,
    path: str | Path,
    *,
    model: FasterRCNN | None = None,
    dataset: Dataset | None = None,
    photos: bool = True,
    remedies: Mapping[int, Sequence[Remedy]] | None = None,
    score_threshold: float | None = None,
    origin: Origin | None = None,
    command: str | None = None,
) -> Path:
    """Write a report that any browser opens.

    Args:
        subject: the trace of a photo, or the funnel of a data set.
        path: of the HTML file; what it says is written beside it as JSON.
        model: of a funnel, to trace its worst photos with, whose cases then have a lineage.
        dataset: of a funnel, to show its photos.
        photos: False leaves photos themselves out.
        remedies: of a photo, what would bring objects back, by their numbers, such as
            `{3: mrcnn_steps.debug.remedies(trace, 3)}`.
        score_threshold: of a photo, the score that a detection has to exceed to count, from the
            model's own on; None for that. See `mrcnn_steps.debug.fates`.
        origin: of a photo, what it was traced with, so that the report says how to get back there.
        command: what made the report, to be told in it.

    Returns:
        The absolute path of the HTML file.

    Raises:
        ValueError: the path does not end in ".html", it or its twin would replace a file that is
            no report, remedies are of an object that is not there, or the score threshold is below
            the model's own.
        OSError: a file cannot be written; names it.
    """
    # The package is imported with `mrcnn_widgets`, torch only when a report is made.
    from mrcnn_steps.debug.funnel.summary import Funnel
    from mrcnn_widgets.report.dataset import write_dataset
    from mrcnn_widgets.report.photo import write_photo

    if isinstance(subject, Funnel):
        return write_dataset(subject, Path(path), model, dataset, photos, command)
    return write_photo(
        subject, Path(path), photos, remedies or {}, score_threshold, origin, command
    )
