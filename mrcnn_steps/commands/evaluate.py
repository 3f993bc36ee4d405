"""`mrcnn-steps evaluate`: a model's average precision and recall on COCO-format data.

    mrcnn-steps evaluate --images DIR --annotations FILE [--model MODEL] [--out FILE]

Under `torchrun` every process takes a share of the photos; the numbers stay the same.
"""

import argparse
import sys
from pathlib import Path

from mrcnn_steps.commands.models import add_model_arguments, open_model
from mrcnn_steps.data.coco import CocoFolder
from mrcnn_steps.files import write_json
from mrcnn_steps.model.evaluate import evaluate, table
from mrcnn_steps.model.processes import process_group


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mrcnn-steps evaluate`."""
    parser.add_argument("--images", type=Path, required=True, help="folder of the photos")
    parser.add_argument(
        "--annotations", type=Path, required=True, help="COCO instances file of the photos"
    )
    add_model_arguments(parser)
    parser.add_argument("--out", type=Path, help="also write the metrics to this JSON file")
    parser.add_argument("--device", help="cuda, cpu, … (default: cuda where there is one)")


def run(args: argparse.Namespace) -> int:
    """Run `mrcnn-steps evaluate`; returns the exit status."""
    with process_group(args.device) as device:
        folder = CocoFolder(args.images, args.annotations)
        folder.check_images()
        if args.out is not None and not args.out.parent.is_dir():
            raise FileNotFoundError(f"{args.out.parent}: no such folder to write {args.out.name}")
        model = open_model(args)
        metrics = evaluate(model.to(device), folder, device)
    if metrics is not None:
        print(table(metrics))
        if args.out is not None:
            write_json(args.out, metrics)
    return 0


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    sys.exit(run(arguments.parse_args()))
