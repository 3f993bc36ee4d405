"""`mrcnn-steps why`: why an object was missed, or where a detection came from.

mrcnn-steps why PHOTO [--object N | --all] [--annotations FILE [--images DIR]] [--json]
                      [--report FILE.html]
"""

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.commands.models import add_model_arguments, add_score_argument, open_model
from mrcnn_steps.commands.reports import add_report_arguments
from mrcnn_steps.data import CocoFolder, Sample, open_photo, samples
from mrcnn_steps.debug.datasets import entry_at
from mrcnn_steps.debug.explanation import Explanation, explain_missed
from mrcnn_steps.debug.fates import Fate, fates
from mrcnn_steps.debug.lineage import describe, lineage
from mrcnn_steps.debug.remedies import Remedy
from mrcnn_steps.debug.words import sentences, verdict
from mrcnn_steps.files import write_atomically
from mrcnn_steps.matching import overlaps
from mrcnn_steps.tracing import Trace, trace
from mrcnn_widgets.report import report
from mrcnn_widgets.report.origin import Origin
from mrcnn_widgets.report.paths import check_path

# Candidates that are listed below the detection that suppressed them.
MOST_SUPPRESSED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mrcnn-steps why`."""
    parser.add_argument(
        "photo",
        metavar="PHOTO",
        help=f"an image file, one of {', '.join(samples())}, or with --annotations the name or id "
        "of a photo in the file",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--object",
        type=int,
        metavar="N",
        help="explain this object, and look for what would bring it back",
    )
    which.add_argument(
        "--all",
        action="store_true",
        help="explain every object that was missed, without looking for remedies",
    )
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="COCO instances file")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of its photos (default: that of PHOTO, or else of the annotations)",
    )
    add_model_arguments(parser)
    add_score_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="with --object: draw its picture into this file"
    )
    add_report_arguments(
        parser, "--report", "also write a page to explore, as `mrcnn-steps inspect` does"
    )


def run(args: argparse.Namespace) -> int:
    """Run `mrcnn-steps why`.

    Returns:
        0.

    Raises:
        ValueError, OSError: there is no such photo, object or model, or the picture cannot be
            written.
    """
    _check(args)
    photo, read = _open(args)
    model = open_model(args)
    if not isinstance(model, FasterRCNN):
        raise ValueError(
            f"{args.model}: found a {type(model).__name__}, expected a Mask R-CNN or Faster R-CNN"
        )
    traced = trace(model, photo)
    every = fates(traced, score_threshold=args.score)
    if not every:
        if args.object is not None:
            raise ValueError(f"--object {args.object}: {args.photo} has no annotated objects")
        if args.report is not None:
            _write_report(traced, None, read, args)
        _print_detections(traced, args)
        return 0
    if args.object is not None and not 0 <= args.object < len(every):
        raise ValueError(f"--object: expected 0 to {len(every) - 1}, found {args.object}")
    told = None
    if args.object is not None:
        told = explain_missed(traced, args.object, score_threshold=args.score)
    if args.report is not None:
        _write_report(traced, told, read, args)
    if args.json:
        about = {} if told is None else {told.fate.object: told.remedies}
        print(json.dumps([_record(fate, about.get(fate.object)) for fate in every], indent=1))
    elif told is not None:
        print(told)
    elif args.all and not all(fate.found for fate in every):
        missed = [fate for fate in every if not fate.found]
        print("\n\n".join("\n".join(sentences(traced, fate)) for fate in missed))
        print(f"\nWhat would bring one back: --object {missed[0].object}.")
    else:
        _print_verdicts(every)
    if args.out is not None and told is not None:
        _draw(told, args.out)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be answered before any network runs."""
    if args.out is not None and args.object is None:
        raise ValueError("--out: expected together with --object N, whose picture it is")
    if args.out is not None and not args.out.parent.is_dir():
        raise FileNotFoundError(f"{args.out.parent}: no such folder to write {args.out.name}")
    if args.report is not None:
        check_path(args.report)
    elif args.no_photos:
        raise ValueError("--no-photos: expected together with --report FILE.html")
    if args.images is not None and args.annotations is None:
        raise ValueError("--images: expected together with --annotations FILE")


def _open(args: argparse.Namespace) -> tuple[Sample, str | None]:
    """Give the photo, with its annotations where there are any, and how Python reads those."""
    if args.annotations is None:
        return open_photo(args.photo), None
    path = Path(args.photo)
    beside = path.parent if path.is_file() else args.annotations.parent
    images = args.images or beside
    folder = CocoFolder(images, args.annotations)
    for index, image_id in enumerate(folder.image_ids):
        file = folder.image_path(index)
        names = (str(image_id), file.name, str(file.relative_to(images)))
        if args.photo in names or (path.is_file() and file.resolve() == path.resolve()):
            where = f"CocoFolder({str(images)!r}, {str(args.annotations)!r})"
            return entry_at(folder, index).sample, f"{where}.by_image_id({image_id})"
    raise ValueError(
        f"{args.photo}: {args.annotations} has no photo of this name or id; it has "
        f"{len(folder)}, such as {', '.join(map(str, folder.image_ids[:3]))}"
    )


def _print_verdicts(every: tuple[Fate, ...]) -> None:
    for fate in every:
        print(f"object {fate.object:>3}  {fate.name:<16} {verdict(fate)}")
    missed = [fate.object for fate in every if not fate.found]
    print(f"\n{len(every) - len(missed)} of {len(every)} objects found.", end=" ")
    if missed:
        print(f"Why not object {missed[0]}: --object {missed[0]}; why not all: --all.")
    else:
        print()


def _print_detections(traced: Trace, args: argparse.Namespace) -> None:
    """Where each detection came from, and what it suppressed: all there is without annotations."""
    found = traced.detections
    score = found.score_threshold if args.score is None else args.score
    rows = (found.scores > score).nonzero().flatten().tolist()
    suppressed = _suppressed(traced)
    if args.json:
        records = [
            {
                "detection": row,
                "name": traced.class_names[int(found.labels[row])],
                "score": float(found.scores[row]),
                "lineage": asdict(lineage(traced, row)),
                "suppressed": [asdict(each) for each in suppressed.get(row, [])],
            }
            for row in rows
        ]
        print(json.dumps(records, indent=1))
        return
    print(f"No annotations; {len(rows)} detections over a score of {score:g}.")
    for row in rows:
        losers = suppressed.get(row, [])
        print(f"{describe(traced, lineage(traced, row))} → suppressed {len(losers)} others")
        name = traced.class_names[int(found.labels[row])]
        for each in losers[:MOST_SUPPRESSED]:
            print(
                f"    candidate {each.candidate:,} (proposal {each.proposal}, {name} "
                f"{each.score:.2f}), IoU {each.iou:.2f}"
            )
        if len(losers) > MOST_SUPPRESSED:
            print(f"    and {len(losers) - MOST_SUPPRESSED} more: --json lists all")


@dataclass(frozen=True)
class Suppressed:
    """A candidate that a detection of its class suppressed.

    Attributes:
        candidate: row of the candidates of `trace.detections`.
        proposal: row of `trace.proposals`.
        score: its own.
        iou: with the detection.
    """

    candidate: int
    proposal: int
    score: float
    iou: float


def _suppressed(traced: Trace) -> dict[int, list[Suppressed]]:
    """Tell what each detection suppressed, the best first."""
    found = traced.detections
    place = {row: detection for detection, row in enumerate(found.rows.tolist())}
    kept = set(found.nms_rows.tolist())
    losers: dict[int, list[Suppressed]] = {}
    for row in found.large_rows.tolist():
        rival = None if row in kept else found.suppressor(row)
        if rival in place:
            one = Suppressed(
                candidate=row,
                proposal=int(found.candidate_proposal[row]),
                score=float(found.candidate_score[row]),
                iou=float(overlaps(found.clipped[row, None], found.clipped[rival, None])),
            )
            losers.setdefault(place[rival], []).append(one)
    return {
        detection: sorted(each, key=lambda one: -one.score) for detection, each in losers.items()
    }


def _record(fate: Fate, remedies: tuple[Remedy, ...] | None) -> dict[str, Any]:
    """Give a fate as JSON; remedies only of one that was asked about."""
    record = asdict(fate)
    return record if remedies is None else record | {"remedies": [asdict(r) for r in remedies]}


def _write_report(
    traced: Trace, told: Explanation | None, read: str | None, args: argparse.Namespace
) -> None:
    """Write the page, with the remedies of the object that was asked about."""
    found = {} if told is None or told.fate.found else {told.fate.object: told.remedies}
    given = {"--annotations": args.annotations, "--images": args.images}
    options = [(name, str(value)) for name, value in given.items() if value is not None]
    origin = Origin(args.photo, args.model, read, tuple(chain.from_iterable(options)))
    report(
        traced,
        args.report,
        photos=not args.no_photos,
        remedies=found,
        score_threshold=args.score,
        origin=origin,
        command=args.typed,
    )
    if not args.json:
        print(f"Open {args.report.resolve()}\n")


def _draw(explained: Explanation, out: Path) -> None:
    kind = out.suffix.lstrip(".") or "png"
    write_atomically(out, lambda file: explained.draw().savefig(file, format=kind))
