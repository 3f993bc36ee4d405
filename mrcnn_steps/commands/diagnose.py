"""`mrcnn-steps diagnose`: what is wrong with a model, or with the data, on one's own photos.

    mrcnn-steps diagnose --images DIR --annotations FILE --model MODEL --out FOLDER

Under `torchrun` every process takes a share of the photos; the numbers stay the same.
"""

import argparse
import shlex
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from torch.utils.data import Subset
from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.commands.models import add_model_arguments, add_score_argument, open_model
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.checkup import check_up
from mrcnn_steps.debug.coverage import Coverage, coverage
from mrcnn_steps.debug.datasets import Dataset
from mrcnn_steps.debug.fates import operating_threshold
from mrcnn_steps.debug.findings import Finding, record, table
from mrcnn_steps.debug.funnel import Funnel, funnel
from mrcnn_steps.debug.funnel.results import from_results
from mrcnn_steps.debug.funnel.row_folder import check_folder
from mrcnn_steps.debug.funnel.running import evenly, silent_about_unknown_classes
from mrcnn_steps.debug.funnel.unread import unread
from mrcnn_steps.debug.preflight import preflight
from mrcnn_steps.debug.priorities import what_first
from mrcnn_steps.files import write_atomically, write_json
from mrcnn_steps.model.evaluate import place_in_group
from mrcnn_steps.model.processes import process_group
from mrcnn_steps.settings import detection_settings
from mrcnn_widgets.report import report

# Photos that classic mistakes are undone on: more of them make the answer hardly surer.
CHECKED = 24

# The first process looks at the data alone, and the others wait for it.
PATIENCE = timedelta(days=2)

EPILOG = """
FOLDER receives report.html, funnel.json and causes.csv (a row for each object, with the ids of its
image and annotation), findings.json, coverage.json, plots, and rows.jsonl, which --resume goes on
with. Exit status: 0; 1 if the data have errors, or a photo could not be read: all else is told
nevertheless; 2 after a message about something without which nothing can be told.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mrcnn-steps diagnose`."""
    parser.epilog = EPILOG
    parser.add_argument("--images", type=Path, required=True, help="folder of the photos")
    parser.add_argument(
        "--annotations", type=Path, required=True, help="COCO instances file of the photos"
    )
    add_model_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything found")
    parser.add_argument(
        "--photos", type=int, metavar="N", help="take N photos, spread evenly (default: all)"
    )
    add_score_argument(parser)
    parser.add_argument(
        "--detections",
        type=Path,
        metavar="FILE",
        help="judge these COCO results of any framework instead of a model",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop at data with errors; without it, what cannot be used is left out and counted",
    )
    parser.add_argument(
        "--no-photos", action="store_true", help="leave the photos out of the report, to share it"
    )
    parser.add_argument("--device", help="cuda, cpu, … (default: cuda where there is one)")


def run(args: argparse.Namespace) -> int:
    """Run `mrcnn-steps diagnose`.

    Returns:
        0; 1 if the data have errors.

    Raises:
        ValueError, OSError: there are no such data or model, the model has no RPN, or the folder
            holds another run or cannot be written.
    """
    check_folder(args.out, args.resume)
    with process_group(args.device, PATIENCE) as device:
        folder = CocoFolder(args.images, args.annotations, strict=args.strict)
        if not len(folder):
            raise ValueError(f"{args.annotations}: found no photos that can be used")
        if args.detections is not None:
            return _judge(args, folder)
        model = open_model(args)
        if not isinstance(model, FasterRCNN):
            raise ValueError(
                f"{args.model}: found a {type(model).__name__}, which has no RPN whose proposals "
                "could be followed; expected a Mask R-CNN or Faster R-CNN. The results of any "
                "detector can be judged with --detections"
            )
        return _diagnose(args, folder, model.to(device))


def _diagnose(args: argparse.Namespace, folder: CocoFolder, model: FasterRCNN) -> int:
    # A score that is refused, is refused before all that takes time.
    operating_threshold(detection_settings(model)["score_threshold"], 0.5, args.score)
    dataset: Dataset = folder if args.photos is None else evenly(folder, args.photos)
    first = place_in_group()[0] == 0
    data, cover = (_preflight(args, folder, model), _cover(model, dataset)) if first else ((), None)
    if args.strict and _errors(data):
        return 1
    found = funnel(model, dataset, score=args.score, out=args.out, resume=args.resume)
    if not first:
        return 0
    found = replace(found, source=_source(args))
    _title(f"What becomes of the objects: {args.model}")
    print(found.table())
    _say_boxes_only(folder, model)
    data += unread(found)
    mistakes = _check_up(model, dataset, found)
    _write(args.out, found, data, cover, mistakes)
    _report(args, found, dataset, model)
    return _end(data, cover, found, mistakes)


def _report(
    args: argparse.Namespace, found: Funnel, dataset: Dataset, model: FasterRCNN | None
) -> None:
    with silent_about_unknown_classes():
        report(
            found,
            args.out / "report.html",
            model=model,
            dataset=dataset,
            photos=not args.no_photos,
            command=_command(args),
        )


def _check_up(model: FasterRCNN, dataset: Dataset, found: Funnel) -> tuple[Finding, ...]:
    """Undo classic mistakes one at a time, on photos with objects from all over the dataset."""
    _title("Does a classic mistake explain what is missed?")
    usable = [row.index for row in found.photos if row.objects]
    if not usable:
        print("Left out: no photo has an object.")
        return ()
    part = evenly(usable, CHECKED)
    chosen = [part[place] for place in range(len(part))]
    print(f"Tried on {len(chosen):,} of {len(found.photos):,} photos, spread evenly.")
    mistakes = check_up(
        model,
        Subset(cast(Any, dataset), chosen),
        class_names=found.header.class_names,
        progress=sys.stderr.isatty(),
    )
    print(table(mistakes))
    return mistakes


def _judge(args: argparse.Namespace, folder: CocoFolder) -> int:
    """Judge the results of any detector, without a model."""
    if args.photos is not None or args.resume:
        raise ValueError("--detections: expected without --photos and --resume; all are judged")
    data = _preflight(args, folder, None)
    if args.strict and _errors(data):
        return 1
    args.out.mkdir(parents=True, exist_ok=True)
    found = from_results(folder, args.detections, score=args.score)
    _title(f"What becomes of the objects: {args.detections}")
    print(found.table())
    _write(args.out, found, data, None, ())
    _report(args, found, folder, None)
    return _end(data, None, found, ())


def _end(
    data: tuple[Finding, ...],
    cover: Coverage | None,
    found: Funnel,
    mistakes: tuple[Finding, ...],
) -> int:
    _title("What to change first")
    for number, line in enumerate(what_first(data, mistakes, cover, found), start=1):
        print(f"{number}. {line}")
    return int(_errors(data))


def _preflight(
    args: argparse.Namespace, folder: CocoFolder, model: FasterRCNN | None
) -> tuple[Finding, ...]:
    _title("What is wrong with the data?")
    # Who wants an answer from a few photos does not want all of them decoded.
    found = preflight(folder, model, photos="pixels" if args.photos is None else "headers")
    print(table(found))
    return found


def _errors(findings: tuple[Finding, ...]) -> bool:
    return any(each.level == "error" for each in findings)


def _say_boxes_only(folder: CocoFolder, model: FasterRCNN) -> None:
    objects = (each for index in range(len(folder)) for each in folder.objects(index))
    count = sum(each.segmentation is None for each in objects)
    if count and model.roi_heads.has_mask():
        print(f"{count:,} objects have a box and no mask: nothing is said about their masks.")


def _cover(model: FasterRCNN, dataset: Dataset) -> Coverage | None:
    """Compare anchors and objects, where the anchors are a grid."""
    _title("Do the anchors fit?")
    try:
        cover = coverage(model, dataset)
    except ValueError as error:
        print(f"Left out: {error}")
        return None
    print(cover.table())
    return cover


def _source(args: argparse.Namespace) -> tuple[str, ...]:
    """Give the arguments of `mrcnn-steps why` that name the same data and model."""
    given = {
        "--annotations": args.annotations,
        "--images": args.images,
        "--model": args.model,
        "--architecture": args.architecture,
        "--class-names": args.class_names,
        "--score": args.score,
    }
    return tuple(
        text for name, value in given.items() if value is not None for text in (name, str(value))
    )


def _command(args: argparse.Namespace) -> str:
    given = [*_source(args), "--out", str(args.out)]
    for name, value in (("--photos", args.photos), ("--detections", args.detections)):
        given += [] if value is None else [name, str(value)]
    return shlex.join(["mrcnn-steps", "diagnose", *given])


def _write(
    out: Path,
    found: Funnel,
    data: tuple[Finding, ...],
    cover: Coverage | None,
    mistakes: tuple[Finding, ...],
) -> None:
    found.to_json(out / "funnel.json")
    found.to_csv(out / "causes.csv")
    _draw(out / "funnel.png", found.plot())
    findings = {"data": data, "mistakes": mistakes}
    told = {name: [record(each) for each in group] for name, group in findings.items()}
    write_json(out / "findings.json", told)
    if cover is not None:
        write_json(out / "coverage.json", cover.record())
        _draw(out / "coverage.png", cover.draw())


def _draw(path: Path, picture: Any) -> None:
    write_atomically(path, lambda file: picture.savefig(file, format="png"))


def _title(text: str) -> None:
    print(f"\n{text}\n{'=' * len(text)}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    sys.exit(run(arguments.parse_args()))
