"""`mrcnn-steps inspect`: a photo through every stage, as a page to explore, pictures, a table."""

import argparse
from pathlib import Path

from torchvision.models.detection.faster_rcnn import FasterRCNN
from tqdm import tqdm

from mrcnn_steps.commands.models import add_model_arguments, open_model
from mrcnn_steps.commands.reports import add_report_arguments
from mrcnn_steps.data import open_photo, samples
from mrcnn_steps.gallery import PAGE, check_folder, write_folder
from mrcnn_steps.tracing import trace
from mrcnn_widgets.report import report
from mrcnn_widgets.report.origin import Origin
from mrcnn_widgets.report.paths import check_path

DEFAULT_SAMPLE = "voc_people"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mrcnn-steps inspect`."""
    parser.add_argument(
        "photo",
        nargs="?",
        default=DEFAULT_SAMPLE,
        metavar="PHOTO",
        help=f"an image file, or one of {', '.join(samples())} (default: {DEFAULT_SAMPLE})",
    )
    add_model_arguments(parser)
    add_report_arguments(parser, "--out", "file to write (default: inspect-PHOTO.html)")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="also draw every stage as a picture, into this folder",
    )


def run(args: argparse.Namespace) -> int:
    """Run `mrcnn-steps inspect`.

    Returns:
        0.

    Raises:
        ValueError, OSError: there is no such photo or model, or file or folder must not be
            written.
    """
    photo = open_photo(args.photo)
    out = (args.out or Path(f"inspect-{photo.name}.html")).resolve()
    check_path(out)
    pictures = None if args.pictures is None else args.pictures.resolve()
    if pictures is not None:
        check_folder(pictures)
    # In a terminal: what takes seconds before there is anything to see.
    with tqdm(total=2, desc="load the model", unit="", leave=False, disable=None) as bar:
        model = open_model(args)
        if not isinstance(model, FasterRCNN):
            raise ValueError(
                f"{args.model}: found a {type(model).__name__}, expected a Mask R-CNN or Faster "
                "R-CNN"
            )
        bar.update()
        bar.set_description("trace the photo")
        t = trace(model, photo)
        bar.update()
    table = t.table()
    if pictures is not None:
        count = write_folder(t, table, photo.name, pictures)
        print(f"\n{count} pictures: {pictures / PAGE}")
    origin = Origin(args.photo, args.model)
    report(t, out, photos=not args.no_photos, origin=origin, command=args.typed)
    print(f"\nOpen {out}")
    return 0
