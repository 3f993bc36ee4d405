"""How many threads torch may start, and how they wait.

OpenMP's threads wait by spinning. Where another process wants the same processor, each then waits
for the other: a stage of 30 ms takes two seconds. Sleeping threads, no more of them than there are
processors for this process, cost a few percent instead.

OpenMP reads its settings when torch is imported; this module must not import it.
"""

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set OpenMP's environment for this process and those that it starts, before torch is imported.

    What the user has set stays; where torch is imported already, it is too late.

    Args:
        environment: to set.
    """
    if "torch" in sys.modules:
        return
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    environment.setdefault("OMP_NUM_THREADS", str(processors()))


def processors() -> int:
    """Count the processors that this process may use, which may be fewer than the machine has.

    Returns:
        At least 1: those that it may run on, or as many as a container's quota is worth.
    """
    # macOS and Windows keep no list of them.
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    worth = quota()
    return allowed if worth is None else max(1, min(allowed, int(worth)))


def quota(own: Path = OWN_CGROUP, root: Path = CGROUPS) -> float | None:
    """Read the processor time that the control groups of this process grant it.

    Args:
        own: the file that names them (Linux's cgroups(7)).
        root: the folder that describes all.

    Returns:
        Processors' worth of time, of the strictest group; None without a limit.
    """
    if not own.is_file():
        return None
    limits: list[float] = []
    for line in own.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = root / controllers / path.lstrip("/")
        # A container may see its own group as the root, under a path from outside.
        for place in (folder, *folder.parents):
            if place == root.parent:
                break
            limits += _limit(place)
    return min(limits, default=None)


def _limit(group: Path) -> list[float]:
    """Give the quota of one control group, of either version; an empty list without one."""
    second, first = group / "cpu.max", group / "cpu.cfs_quota_us"
    if second.is_file():
        time, period = second.read_text().split()
    elif first.is_file():
        time, period = first.read_text(), (group / "cpu.cfs_period_us").read_text()
    else:
        return []
    return [] if time.strip() in ("max", "-1") else [int(time) / int(period)]
