"""`mrcnn-steps compare`: what a second model does better and worse than a first.

mrcnn-steps compare A/funnel.json B/funnel.json [--out FILE]
"""

import argparse
from pathlib import Path

from mrcnn_steps.debug.funnel.comparison import compare
from mrcnn_steps.debug.funnel.summary import Funnel
from mrcnn_steps.files import write_json

# What `mrcnn-steps diagnose` calls the file in its folder.
FUNNEL = "funnel.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mrcnn-steps compare`."""
    for name, which in (("first", "FIRST"), ("second", "SECOND")):
        parser.add_argument(
            name,
            type=Path,
            metavar=which,
            help=f"{FUNNEL} of the {name} model, or the folder that `diagnose` wrote it into",
        )
    parser.add_argument("--out", type=Path, help="also write the comparison to this JSON file")


def run(args: argparse.Namespace) -> int:
    """Run `mrcnn-steps compare`.

    Returns:
        0.

    Raises:
        ValueError, OSError: A file is no funnel, or the two are not of the same photos.
    """
    if args.out is not None and not args.out.parent.is_dir():
        raise FileNotFoundError(f"{args.out.parent}: no such folder to write {args.out.name}")
    first, second = (
        Funnel.from_json(path / FUNNEL if path.is_dir() else path)
        for path in (args.first, args.second)
    )
    comparison = compare(first, second)
    print(comparison.table())
    if args.out is not None:
        write_json(args.out, comparison.record())
    return 0
