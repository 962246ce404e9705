"""What this machine can do at most, and how near a network comes to it (Williams et al. 2009, "Roofline")."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from edgestyle import isolate, processors

_SIDE = 1024
"""Of the matrices that are multiplied: large enough to keep every core busy, small enough for their caches."""
_BYTES = 2**27
"""Of the block that is copied: larger than any cache."""
_RUNS, _SECONDS = 5, 0.5


@dataclass(frozen=True)
class Peak:
    """What a machine was seen to do at most, in 32-bit floats and with all threads."""

    gflops: float
    """Floating-point operations, in billions a second: a product of two 1024x1024 matrices."""
    gb_s: float
    """Bytes read and written, in billions a second: a copy of 128 MiB."""
    threads: int

    def attainable(self, intensity: float) -> float:
        """The roof, in GFLOP/s, at so many floating-point operations a byte moved."""
        return min(self.gflops, self.gb_s * intensity)


def measure() -> Peak:
    """Measure this machine, in about two seconds: the best of many, because others may be busy meanwhile.

    Raises:
        CheckError: The process that measures crashed or hung.
    """
    return isolate.call(measure_here, limit_s=120).value


def measure_here() -> Peak:
    """The same, in this process."""
    import torch

    torch.set_num_threads(processors.usable())
    a, b, c = (torch.rand(_SIDE, _SIDE) for _ in range(3))
    source, target = (torch.zeros(_BYTES, dtype=torch.uint8) for _ in range(2))
    multiply = _best_s(lambda: torch.mm(a, b, out=c))
    copy = _best_s(lambda: target.copy_(source))
    return Peak(2 * _SIDE**3 / multiply / 1e9, 2 * _BYTES / copy / 1e9, torch.get_num_threads())


def _best_s(run: Callable[[], object]) -> float:
    run()  # the first starts threads, which may take longer than all the time there is
    times, end = list[float](), time.perf_counter() + _SECONDS
    while len(times) < _RUNS or time.perf_counter() < end:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)
