"""The arguments of commands that write a report."""

import argparse
from pathlib import Path


def add_report_arguments(parser: argparse.ArgumentParser, option: str, text: str) -> None:
    """Declare the option that names the report, and `--no-photos`.

    Args:
        parser: of the command.
        option: such as "--report".
        text: its help.
    """
    parser.add_argument(option, type=Path, metavar="FILE.html", help=text)
    parser.add_argument(
        "--no-photos",
        action="store_true",
        help="leave photos out of the report, to share it where they must not go",
    )
