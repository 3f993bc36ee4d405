"""The arguments that name a model, the same in every command that loads one."""

import argparse
from pathlib import Path

from torch import nn

from mrcnn_steps.class_names import check_class_names
from mrcnn_steps.model import load_model


def add_model_arguments(parser: argparse.ArgumentParser, default: str | None = "tiny") -> None:
    """Declare `--model`, `--architecture` and `--class-names`.

    Args:
        parser: of a command.
        default: the model; None where the command does without one.
    """
    parser.add_argument(
        "--model",
        default=default,
        metavar="MODEL",
        help='"tiny", "coco", a checkpoint, or file.py:function, which is called without arguments '
        f"and returns the model (default: {default or 'none'})",
    )
    parser.add_argument(
        "--architecture",
        metavar="NAME",
        help='of a checkpoint that does not tell it: "tiny" or a torchvision detection model, such '
        "as fasterrcnn_resnet50_fpn",
    )
    parser.add_argument(
        "--class-names",
        metavar="FILE|A,B,C",
        help="of a checkpoint that does not tell them: names separated by commas, or a file with "
        "one a line; the background first",
    )


def add_score_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--score`, the operating threshold of what judges a model."""
    parser.add_argument(
        "--score",
        type=float,
        metavar="S",
        help="score that a detection has to exceed (default: the model's own)",
    )


def open_model(args: argparse.Namespace) -> nn.Module:
    """Load the model that the arguments name.

    Args:
        args: as `add_model_arguments` declares them.

    Returns:
        The model in eval mode, with the attribute `class_names`.

    Raises:
        ValueError, OSError: See `load_model`; the class names are not such.
    """
    names = None if args.class_names is None else read_class_names(args.class_names)
    return load_model(args.model, args.architecture, names)


def read_class_names(text: str) -> tuple[str, ...]:
    """Read class names from the command line, or from the file that it names.

    Args:
        text: names separated by commas, or the path of a file with one a line.

    Returns:
        The names.

    Raises:
        ValueError: They are no class names (see `check_class_names`), or the file is no text.
    """
    path = Path(text)
    if path.is_file():
        try:
            names = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: found {error}, expected names, one a line") from None
        return check_class_names([name.strip() for name in names if name.strip()], str(path))
    if "," not in text:
        raise ValueError(
            f"--class-names: found {text!r:.80}, expected a file, or names separated by commas"
        )
    return check_class_names([name.strip() for name in text.split(",")], "--class-names")
