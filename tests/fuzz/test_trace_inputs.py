"""Wrong photos and names given to `trace`: refused in words, or the model's own answer."""

import subprocess
import sys
from pathlib import Path

CASES = 300


def test_no_call_ends_in_a_bare_error_or_another_result():
    """In a process of its own, so that a crash of native code is a failure and not the end."""
    program = Path(__file__).with_name("trace_calls.py")
    done = subprocess.run(
        [sys.executable, program, "0", str(CASES)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert done.stdout == f"{CASES} calls, 0 bad\n"
