"""`mrcnn-steps inspect`: a photo through every stage, as a table, pictures and a page."""

import argparse
from pathlib import Path

from torchvision.models.detection.faster_rcnn import FasterRCNN
from tqdm import tqdm

from mrcnn_steps.commands.models import add_model_arguments, open_model
from mrcnn_steps.data import open_photo, samples
from mrcnn_steps.gallery import PAGE, check_folder, write_folder
from mrcnn_steps.tracing import trace

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
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: inspect-PHOTO)"
    )


def run(args: argparse.Namespace) -> int:
    """Run `mrcnn-steps inspect`.

    Returns:
        0.

    Raises:
        ValueError, OSError: there is no such photo or model, or the folder must not be written.
    """
    photo = open_photo(args.photo)
    out = (args.out or Path(f"inspect-{photo.name}")).resolve()
    check_folder(out)
    # In a terminal: what takes seconds before the first picture.
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
    count = write_folder(t, table, photo.name, out)
    print(f"\n{count} pictures: {out / PAGE}")
    return 0
