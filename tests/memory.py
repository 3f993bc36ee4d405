"""How much memory some code takes, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

STATUS = Path("/proc/self/status")
# `getrusage` would do, were it not for its habit on Linux: a new process begins with the peak of
# the one that started it.
READ = f"""
from pathlib import Path as _Path
[_peak] = [l for l in _Path("{STATUS}").read_text().splitlines() if l.startswith("VmHWM")]
print(int(_peak.split()[1]) / 2**20)
"""


def peak(code: str, *arguments: str) -> float:
    """Run code, and measure the most memory that its process ever held, in GB."""
    if not STATUS.exists():
        pytest.skip("the peak of a process is read from /proc, which Linux has")
    command = [sys.executable, "-c", code + READ, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])
