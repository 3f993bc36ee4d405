"""Wrong arguments to the stage functions: an error of ours or a clean result."""

import subprocess
import sys
from pathlib import Path

CASES = 10_000


def test_no_call_ends_in_a_crash_a_bare_error_or_nan():
    """In a process of its own, so that a crash of native code is a failure and not the end."""
    program = Path(__file__).with_name("stage_calls.py")
    done = subprocess.run(
        [sys.executable, program, "0", str(CASES)], capture_output=True, text=True, timeout=300
    )
    said = [line for line in done.stdout.splitlines() if line]
    assert done.returncode == 0, "\n".join([*said[-20:], done.stderr[-2000:]])
    assert f"seed {CASES - 1}:" in said[-1]
