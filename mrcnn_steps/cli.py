"""The command `mrcnn-steps`.

A subcommand is a module with `add_arguments(parser)` and `run(args)`. Only the chosen one is
imported.
"""

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

from mrcnn_steps.files import describe
from mrcnn_steps.threads import prepare

COMMANDS = {
    "inspect": (
        "mrcnn_steps.commands.inspect",
        "show every stage of a photo in a page to explore, and print its tensors",
    ),
    "check": (
        "mrcnn_steps.commands.check",
        "say what is wrong with COCO annotations and their photos",
    ),
    "why": (
        "mrcnn_steps.commands.why",
        "say why an object was missed, or where a detection came from",
    ),
    "compare": (
        "mrcnn_steps.commands.compare",
        "say which objects a second model finds and loses, and at which gate",
    ),
    "diagnose": (
        "mrcnn_steps.commands.diagnose",
        "say what is wrong with a model, or with the data, on COCO annotations",
    ),
    "lab": ("mrcnn_steps.commands.lab", "open the lessons in JupyterLab"),
    "train": ("mrcnn_steps.commands.train", "train a model on COCO annotations"),
    "evaluate": ("mrcnn_steps.commands.evaluate", "measure a model on COCO annotations"),
}

# What shells report for a command that Ctrl-C or a closed pipe ended: 128 + the signal's number.
INTERRUPTED, BROKEN_PIPE = 130, 141
FAILED = 2


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Build the parser; only the chosen subcommand knows its arguments.

    Args:
        chosen: a key of `COMMANDS`, or anything else for none.

    Returns:
        The parser; it sets `command`. What was typed is added as `typed`.
    """
    parser = argparse.ArgumentParser(
        prog="mrcnn-steps", description="See a Mask R-CNN think, step by step."
    )
    parser.add_argument("--version", action="version", version=version("mrcnn-steps"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, description=f"{summary}.".capitalize())
        if name == chosen:
            with _loading(name):
                import_module(module).add_arguments(subparser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: without the command's own name; by default those of the process.

    Returns:
        The exit status: 0, or 2 after a message on the error output.
    """
    prepare()
    given = sys.argv[1:] if arguments is None else list(arguments)
    # Started with its output closed (by cron, or by `>&-`), Python has none to write to.
    sys.stdout, sys.stderr = (
        stream or open(os.devnull, "w")  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr)
    )
    try:
        with _plain_warnings():
            status = _run(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes the output once more at exit; what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (ValueError, OSError) as error:
        said = describe(error) if isinstance(error, OSError) else error
        print(f"mrcnn-steps: {said}", file=sys.stderr)
        return FAILED
    return status


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Say in a terminal that the command has begun: importing torch takes seconds."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"{name}: loading …", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Tell a warning in one line, without the place in our code that it comes from."""

    def line(message: Warning | str, *place: Any, **more: Any) -> str:
        return f"mrcnn-steps: {message}\n"

    usual = warnings.formatwarning
    warnings.formatwarning = line
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _run(given: Sequence[str]) -> int:
    chosen = next((word for word in given if not word.startswith("-")), None)
    try:
        args = build_parser(chosen).parse_args(given)
    except SystemExit as end:
        # argparse has printed a help text or what is wrong.
        return FAILED if end.code else 0
    module, _ = COMMANDS[args.command]
    args.typed = shlex.join(["mrcnn-steps", *given])
    return import_module(module).run(args)


if __name__ == "__main__":
    sys.exit(main())
