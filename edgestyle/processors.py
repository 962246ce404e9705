"""How many processors there are for a process."""

from __future__ import annotations

import os


def usable() -> int:
    """Processors that this process may use: fewer than the machine has where it is kept to some (`taskset`)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
