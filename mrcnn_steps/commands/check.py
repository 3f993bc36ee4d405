"""`mrcnn-steps check`: what is wrong with COCO-format data, before a model is blamed for it.

mrcnn-steps check --images DIR --annotations FILE [--model MODEL] [--val-annotations FILE] [--json]
"""

import argparse
import json
from pathlib import Path

from torchvision.models.detection.faster_rcnn import FasterRCNN

from mrcnn_steps.class_names import printable
from mrcnn_steps.commands.models import add_model_arguments, open_model
from mrcnn_steps.data import CocoFolder
from mrcnn_steps.debug.findings import record, table
from mrcnn_steps.debug.preflight import preflight


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mrcnn-steps check`."""
    parser.add_argument("--images", type=Path, required=True, help="folder of the photos")
    parser.add_argument(
        "--annotations", type=Path, required=True, help="COCO instances file of the photos"
    )
    parser.add_argument("--val-images", type=Path, help="default: --images")
    parser.add_argument(
        "--val-annotations",
        type=Path,
        help="validation data, which should share no photo with the other",
    )
    add_model_arguments(parser, default=None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")


def run(args: argparse.Namespace) -> int:
    """Run `mrcnn-steps check`.

    Returns:
        0; 1 if something cannot be used.

    Raises:
        ValueError, OSError: there is no such folder, file or model, or the file is no COCO file.
    """
    if args.val_images is not None and args.val_annotations is None:
        raise ValueError("--val-images: found no --val-annotations, expected both")
    folder = CocoFolder(args.images, args.annotations, strict=False)
    validation = None
    if args.val_annotations is not None:
        images = args.val_images or args.images
        validation = CocoFolder(images, args.val_annotations, strict=False)
    model = None if args.model is None else open_model(args)
    if model is not None and not isinstance(model, FasterRCNN):
        raise ValueError(
            f"{args.model}: found a {type(model).__name__}, expected a Mask R-CNN or Faster R-CNN"
        )
    findings = preflight(folder, model, validation)
    if args.json:
        print(json.dumps([record(each) for each in findings], indent=1))
    else:
        print(printable(f"{args.annotations}: {_counted(folder)}"))
        print(table(findings))
    return int(any(each.level == "error" for each in findings))


def _counted(folder: CocoFolder) -> str:
    objects = sum(len(folder.objects(index)) for index in range(len(folder)))
    lost = f", {len(folder.left_out):,} records left out" if folder.left_out else ""
    return f"{len(folder):,} photos, {objects:,} objects{lost}"
