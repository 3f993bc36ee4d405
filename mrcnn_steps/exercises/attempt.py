"""Run a learner's function once, so that whatever happens can be told in words.

The function runs in a thread of its own. When its time is up, `OutOfTime` is raised inside it,
which ends any loop in Python, on every system, in scripts and in Jupyter. One long call into C,
such as `time.sleep(60)` or a huge matrix product, does not hear that before it returns: it is
left behind, and the answer does not wait for it. Only a call that lets no other thread run, such
as a regular expression that does not come to an end, is waited for.
"""

import contextlib
import ctypes
import io
import linecache
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from mrcnn_steps.exercises.exercise import Inputs

Ending = Literal["returned", "raised", "out of time"]

# Enough to see what a print says, and a bound for an endless loop that prints.
MOST_PRINTED = 2000


@dataclass(frozen=True, eq=False)
class Attempt:
    """How one call of the learner's function ended.

    Attributes:
        ending: whether it returned, raised, or was stopped.
        value: what it returned.
        error: what it raised, in words.
        changed: the arguments that it modified.
        printed: what it printed.
        seconds: how long it took, if it returned.
        left: the arguments as it left them.
    """

    ending: Ending
    value: Any = None
    error: str = ""
    changed: tuple[str, ...] = ()
    printed: str = ""
    seconds: float = 0.0
    left: Inputs = field(default_factory=dict)


class OutOfTime(SystemExit):
    """Raised in the learner's code; no `except Exception` there catches it.

    A SystemExit, because a thread that ends with one ends silently.
    """


class _Printed(io.TextIOBase):
    """Keeps the first characters written to it."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text[: MOST_PRINTED - len(self.text)]
        return len(text)


def copy(inputs: Inputs) -> Inputs:
    """Copy the tensors and generators among the arguments."""
    return {name: _copy(value) for name, value in inputs.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, torch.Generator):
        return torch.Generator().set_state(value.get_state())
    return value


def attempt(function: Callable[..., Any], inputs: Inputs, seconds: float) -> Attempt:
    """Call a function with copies of the inputs.

    Args:
        function: the learner's.
        inputs: the arguments in order; they are passed by position.
        seconds: after this time the call is stopped.

    Returns:
        How it ended.
    """
    handed = copy(inputs)
    printed = _Printed()
    made: list[Attempt] = []
    done = threading.Event()

    def run() -> None:
        try:
            start = time.perf_counter()
            with torch.no_grad():
                value = function(*handed.values())
            spent = time.perf_counter() - start
            changed = tuple(n for n, before in inputs.items() if _differs(before, handed[n]))
            made.append(Attempt("returned", value, "", changed, printed.text, spent, handed))
        except BaseException as error:  # also what would end the program
            if not isinstance(error, OutOfTime):
                words = _in_words(error, function)
                made.append(Attempt("raised", error=words, printed=printed.text))
        finally:
            done.set()

    thread = threading.Thread(target=run, daemon=True)
    with contextlib.redirect_stdout(printed):
        try:
            thread.start()  # in here, for an interruption may come while it starts
            in_time = done.wait(seconds)
        finally:
            _stop(thread, done)
    return made[0] if in_time and made else Attempt("out of time", printed=printed.text)


def _differs(before: Any, after: Any) -> bool:
    if not isinstance(before, torch.Tensor):
        return False
    return before.shape != after.shape or not torch.equal(before, after)


def _stop(thread: threading.Thread, done: threading.Event) -> None:
    """Raise `OutOfTime` in a thread until it ends, a few times.

    More than once: the code may catch the first one in an `except:` of its own.
    """
    for _ in range(5):
        if done.is_set():
            return
        thread_id = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread_id, ctypes.py_object(OutOfTime))
        done.wait(0.1)


_LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")
)

_MEANINGS: dict[type[BaseException], str] = {
    NameError: "This name does not exist here: a typo, or a cell that was not run.",
    RecursionError: "The function calls itself without end.",
    IndexError: "An index lies outside its tensor: go through the line with the input below.",
    AttributeError: "A value is not what the line takes it for: print its type.",
    TypeError: "A value is not of the type that the line needs: print its type.",
    ZeroDivisionError: "Something is divided by zero.",
    NotImplementedError: "The function is not written yet.",
    SystemExit: "The function ends the program.",
    RuntimeError: "Print the shapes and dtypes of the tensors in this line.",
}


def _in_words(error: BaseException, function: Callable[..., Any]) -> str:
    """Say what was raised, in which of the learner's own lines, and what that means."""
    silent = all(part is None for part in error.args)
    text = "" if silent else _text(error).strip().split("\n")[0]
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    meaning = next((m for kind, m in _MEANINGS.items() if isinstance(error, kind)), "")
    sentence = f"{_own_line(error, function)} raised {said}"
    return "\n".join(part for part in (sentence, meaning) if part)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # an exception of the learner's own, with a `__str__` of its own
        return f"its __str__ raised {type(failure).__name__}"


def _own_line(error: BaseException, function: Callable[..., Any]) -> str:
    own_file = getattr(getattr(function, "__code__", None), "co_filename", None)
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == own_file
        or not frame.filename.startswith((__file__, "<frozen", *_LIBRARIES))
    ]
    if not own:
        return "Your function"
    line = linecache.getline(own[-1].filename, own[-1].lineno or 0).strip()
    return f"Your line {own[-1].lineno}" + (f", `{line}`," if line else "")
