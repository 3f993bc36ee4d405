"""Two funnels of the same photos: which gate loses more or fewer objects, and which objects."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from mrcnn_steps.debug.fates import CAUSES, FOUND
from mrcnn_steps.debug.funnel.figures import Figures
from mrcnn_steps.debug.funnel.rows import ObjectRow
from mrcnn_steps.debug.statistics import Interval, paired_bootstrap

if TYPE_CHECKING:
    from mrcnn_steps.debug.funnel.summary import Funnel

# Ids that a message lists.
SHOWN = 3

# An object of both funnels: its photo's id, and its own.
Key = tuple[int, int]


@dataclass(frozen=True)
class Photo:
    """A photo of a funnel: what it is called, its place, and whether it could be read."""

    name: str
    index: int
    read: bool


class Shift(NamedTuple):
    """How many objects end somewhere, with one model and with the other.

    Attributes:
        cause: "found", or a key of `debug.fates.CAUSES`.
        title: that in words.
        before: how many with the first model.
        after: how many with the second.
        change: of their share of all objects.
        interval: 95 %, of that change; photos are drawn with replacement. None without objects.
    """

    cause: str
    title: str
    before: int
    after: int
    change: float
    interval: Interval | None


@dataclass(frozen=True)
class Turn:
    """An object that one model found and the other missed.

    Attributes:
        image_id: of its photo.
        photo: what the photo is called.
        index: of the photo in the second funnel.
        annotation_id: its own.
        object: its number, as `mrcnn-steps why --object` takes it.
        name: its class.
        side: in pixels of the network's input.
        cause: what lost it, with the model that missed it.
    """

    image_id: int
    photo: str
    index: int
    annotation_id: int
    object: int
    name: str
    side: float
    cause: str


@dataclass(frozen=True)
class Comparison:
    """What the second of two models does better and worse than the first.

    Attributes:
        photos: that both have judged.
        unread: that one of them could not read; they are left out.
        objects: of those photos.
        ap50: of the boxes, with the first and with the second, in percent; None without objects.
        found: how many objects were found.
        gates: how many were lost at each gate, in the order of the pipeline; none where one of the
            two knows detections only.
        fixed: objects that only the second model found, the largest first.
        newly_missed: objects that only the first model found, the largest first.
        settings: what the two were set to, by name, where it differs.
        source: see `Funnel.source`; that of the second.
    """

    photos: int
    unread: int
    objects: int
    ap50: tuple[float | None, float | None]
    found: Shift
    gates: tuple[Shift, ...]
    fixed: tuple[Turn, ...]
    newly_missed: tuple[Turn, ...]
    settings: dict[str, tuple[Any, Any]]
    source: tuple[str, ...] = ()

    def table(self) -> str:
        """Write the comparison for a terminal."""
        from mrcnn_steps.debug.funnel.comparison_table import table

        return table(self)

    def record(self) -> dict[str, Any]:
        """Give the comparison as JSON."""
        return asdict(self) | {
            "found": self.found._asdict(),
            "gates": [each._asdict() for each in self.gates],
        }


def compare(
    first: "Funnel", second: "Funnel", generator: torch.Generator | None = None
) -> Comparison:
    """Compare two models, or two epochs of one, on the same photos.

    Args:
        first: the funnel of the first model.
        second: the funnel of the second, of the same photos at the same IoU.
        generator: draws the photos of the intervals; without one, the same are drawn every time.

    Returns:
        The comparison. Photos that one of the two could not read are left out.

    Raises:
        ValueError: photos, objects or the IoU differ; says which.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    photos, unread = _shared_photos(first, second)
    own, other = (_figures(each, photos, unread) for each in (first, second))
    before, after = _by_key(own.objects), _by_key(other.objects)
    _check_objects(before, after)
    place = {image_id: row for row, image_id in enumerate(sorted(photos))}
    rows = torch.tensor([place[image_id] for image_id, _ in before], dtype=torch.int64)
    weights = torch.zeros(len(place)).index_add_(0, rows, torch.ones(len(rows)))

    def shift(cause: str, title: str) -> Shift:
        had, has = _flags(before, before, cause), _flags(before, after, cause)
        differences = torch.zeros(len(place)).index_add_(0, rows, has - had)
        interval = paired_bootstrap(differences, generator, weights) if before else None
        change = float((has - had).sum()) / max(len(before), 1)
        return Shift(cause, title, int(had.sum()), int(has.sum()), change, interval)

    return Comparison(
        photos=len(photos),
        unread=unread,
        objects=len(before),
        ap50=(own.ap50, other.ap50),
        found=shift(FOUND, FOUND),
        gates=tuple(
            shift(cause, title)
            for cause, (_, title) in CAUSES.items()
            if own.explained and other.explained
        ),
        fixed=_turns(before, after, photos),
        newly_missed=_turns(after, before, photos),
        settings=_differing(first, second),
        source=second.source,
    )


def _shared_photos(first: "Funnel", second: "Funnel") -> tuple[dict[int, Photo], int]:
    """Give the photos that both have judged, by their ids, and count those that one has not."""
    iou = [each.header.settings.get("iou") for each in (first, second)]
    if iou[0] != iou[1]:
        raise ValueError(f"iou: expected that of the first funnel, {iou[0]}, found {iou[1]}")
    own, other = (
        {row.image_id: Photo(row.photo, row.index, row.error is None) for row in each.photos}
        for each in (first, second)
    )
    missing, extra = sorted(own.keys() - other.keys()), sorted(other.keys() - own.keys())
    if missing or extra:
        raise ValueError(
            f"photos: expected the same in both funnels; {len(own.keys() & other.keys())} are, "
            f"only the first has {_ids(missing)}, only the second has {_ids(extra)}"
        )
    shared = {i: photo for i, photo in other.items() if photo.read and own[i].read}
    return shared, len(own) - len(shared)


def _figures(funnel: "Funnel", photos: dict[int, Photo], unread: int) -> Figures:
    """Give a funnel's figures, of the shared photos only."""
    if not unread:
        return funnel.figures
    return Figures([row for row in funnel.photos if row.image_id in photos], funnel.figures.iou)


def _by_key(objects: Sequence[ObjectRow]) -> dict[Key, ObjectRow]:
    return {(row.image_id, row.annotation_id): row for row in objects}


def _check_objects(before: dict[Key, ObjectRow], after: dict[Key, ObjectRow]) -> None:
    missing, extra = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    if missing or extra:
        raise ValueError(
            f"annotations: expected the same in both funnels; {len(before.keys() & after.keys())} "
            f"are, only the first has {_ids([key[1] for key in missing])}, only the second has "
            f"{_ids([key[1] for key in extra])}"
        )
    for key, row in before.items():
        if row.name != after[key].name:
            raise ValueError(
                f"annotation {key[1]} of image {key[0]}: expected the class of the first funnel, "
                f"{row.name!r}, found {after[key].name!r}"
            )


def _flags(order: dict[Key, ObjectRow], rows: dict[Key, ObjectRow], cause: str) -> Tensor:
    return torch.tensor([float(rows[key].cause == cause) for key in order])


def _turns(
    missed: dict[Key, ObjectRow], found: dict[Key, ObjectRow], photos: dict[int, Photo]
) -> tuple[Turn, ...]:
    """List the objects that were missed here and found there, the largest first."""
    turned = [
        Turn(
            image_id=row.image_id,
            photo=photos[row.image_id].name,
            index=photos[row.image_id].index,
            annotation_id=row.annotation_id,
            object=row.object,
            name=row.name,
            side=row.side,
            cause=row.cause,
        )
        for key, row in missed.items()
        if row.cause != FOUND and found[key].cause == FOUND
    ]
    return tuple(sorted(turned, key=lambda turn: -turn.side))


def _differing(first: "Funnel", second: "Funnel") -> dict[str, tuple[Any, Any]]:
    own, other = first.header.settings, second.header.settings
    return {
        name: (own.get(name), other.get(name))
        for name in sorted(own.keys() | other.keys())
        if own.get(name) != other.get(name)
    }


def _ids(ids: Sequence[int]) -> str:
    if not ids:
        return "none"
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(map(str, ids[:SHOWN])) + more
