"""What the tutor says, in a terminal and in a notebook."""

import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from torch import Tensor

from mrcnn_steps.draw.style import colored_parts
from mrcnn_steps.notebook_picture import html_picture
from mrcnn_steps.palette import EXPECTED, GIVEN

# Larger tensors are described, not printed.
MOST_NUMBERS = 64


class Text(str):
    """Text that a notebook shows as it is, without quotes and with its line breaks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Folded(Text):
    """Text that a notebook keeps folded away until it is opened.

    Attributes:
        heading: the line that is shown.
    """

    heading: str

    def __new__(cls, heading: str, text: str) -> "Folded":
        """Fold a text.

        Args:
            heading: the line that is shown.
            text: what opening it shows.
        """
        folded = super().__new__(cls, text)
        folded.heading = heading
        return folded

    def _repr_html_(self) -> str:
        return (
            f"<details><summary>{html.escape(self.heading)}</summary>"
            f'<pre style="margin:.4em 0 0 1.2em;white-space:pre-wrap">{html.escape(self)}</pre>'
            "</details>"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """The tutor's answer to one attempt.

    Attributes:
        right: whether the function passed everything.
        message: the whole answer but for the values.
        mistake: the known mistake that was recognized, such as "you divided by the
            intersection"; None if there was none, or it is an unknown one.
        failing_input: the smallest failing input by argument name; None if there is none.
        expected: what the reference returns for it.
        given: what the learner's function returned for it; None if it did not return.
        printed: what the learner's function printed for it.
        draw: makes the picture, or None.
    """

    right: bool
    message: str
    mistake: str | None = None
    failing_input: dict[str, Any] | None = None
    expected: Any = None
    given: Any = None
    printed: str = ""
    draw: Callable[[], Figure | None] | None = None

    def figure(self) -> Figure | None:
        """Draw where the given value differs from the expected one.

        Returns:
            A matplotlib figure, or None if there is nothing to draw.
        """
        return None if self.draw is None else self.draw()

    def _sections(self) -> list[tuple[str, str]]:
        """Title and text of what belongs to the failing input."""
        if self.failing_input is None:
            return []
        call = "\n".join(
            _indented(f"{name} = ", show(value)) for name, value in self.failing_input.items()
        )
        sections = [("Smallest input that fails", call)]
        if self.expected is not None:
            sections.append(("Expected", show(self.expected)))
        if self.given is not None:
            sections.append(("Given", show(self.given)))
        if self.printed:
            sections.append(("Printed", self.printed.rstrip()))
        return sections

    def __repr__(self) -> str:
        parts = [self._mark(self.message)]
        for title, text in self._sections():
            parts.append(f"{title}:\n" + "\n".join(f"    {line}" for line in text.split("\n")))
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        color = (EXPECTED if self.right else GIVEN).color
        first, *rest = self.message.split("\n")
        title = html.escape(self._mark(first))
        # The words have the page's own color: green and red are told by the border and the mark.
        parts = [f'<div style="font-weight:600">{title}</div>']
        parts += [f'<div style="white-space:pre-wrap">{_with_code(line)}</div>' for line in rest]
        for title, text in self._sections():
            parts.append(
                f'<div style="margin-top:.6em;opacity:.75">{title}</div>'
                f'<pre style="margin:.1em 0 0 0">{html.escape(text)}</pre>'
            )
        figure = self.figure()
        if figure is not None:
            parts.append(_picture(figure))
        style = f"border-left:4px solid {color};padding:.3em .9em;margin:.4em 0;max-width:52em"
        return f'<div style="{style}">{"".join(parts)}</div>'

    def _mark(self, line: str) -> str:
        return ("✓ " if self.right else "✗ ") + line


def _with_code(line: str) -> str:
    """Show what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(line))


def _picture(figure: Figure) -> str:
    figure.set_dpi(80)
    png = io.BytesIO()
    figure.savefig(png, format="png", bbox_inches="tight", pad_inches=0.1)
    saved = figure.get_tightbbox().padded(0.1)
    page = Bbox(saved.get_points() * figure.dpi)
    return html_picture(png.getvalue(), "Where the values differ", colored_parts(figure, page))


def _indented(start: str, text: str) -> str:
    """Put text behind its start, every line of it."""
    return start + text.replace("\n", "\n" + " " * len(start))


def show(value: Any) -> str:
    """Write a value so that it can be read, and pasted into a cell if it is small."""
    if isinstance(value, Tensor):
        return _show_tensor(value)
    if isinstance(value, tuple) and any(isinstance(part, Tensor) for part in value):
        return _indented("(", ",\n".join(show(part) for part in value)) + ")"
    if isinstance(value, torch.Generator):
        return f"torch.Generator().manual_seed({value.initial_seed()})"
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + " …"


def _show_tensor(tensor: Tensor) -> str:
    dtype = str(tensor.dtype)
    if tensor.numel() == 0:
        return f"torch.empty({tuple(tensor.shape)}, dtype={dtype})"
    if tensor.numel() > MOST_NUMBERS:
        low, high = tensor.min().item(), tensor.max().item()
        name = dtype.removeprefix("torch.")
        return f"{name} tensor of shape {list(tensor.shape)}, from {low:.6g} to {high:.6g}"
    implied = tensor.dtype in {torch.float32, torch.int64, torch.bool}
    suffix = "" if implied else f", dtype={dtype}"
    return f"torch.tensor({_nested(tensor.tolist(), len('torch.tensor('))}{suffix})"


def _nested(value: Any, indent: int) -> str:
    if not isinstance(value, list):
        return _number(value)
    if not any(isinstance(part, list) for part in value):
        return "[" + ", ".join(_number(part) for part in value) + "]"
    between = ",\n" + " " * (indent + 1)
    return "[" + between.join(_nested(part, indent + 1) for part in value) + "]"


def _number(value: float) -> str:
    if not isinstance(value, float):
        return str(value)
    if value != value or abs(value) == float("inf"):
        return f"float('{value}')"
    text = f"{value:.6g}"
    return text if "." in text or "e" in text else text + "."
