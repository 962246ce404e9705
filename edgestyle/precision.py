"""In which precision convolutions are computed where pictures are compared: the faster one of this machine."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["bf16", "fp32"]
"""bf16: weights in fp32, convolutions in bfloat16 (autocast). On a GPU, and on a CPU with matrix units for it (AMX), it
is several times as fast as fp32; on other CPUs it may be half as fast: see `faster`."""


def faster(accelerator: str = "auto") -> Precision:
    """The precision in which this machine trains faster.

    Args:
        accelerator: As of `start`. A CPU is measured, for a few milliseconds; anything else is faster in bf16.
    """
    other = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not other)
    return _faster_on_cpu() if on_cpu else "bf16"


@cache
def _faster_on_cpu() -> Precision:
    def seconds(dtype: torch.dtype) -> float:
        weight = torch.ones(128, 128, 3, 3, dtype=dtype)
        picture = torch.ones(1, 128, 64, 64, dtype=dtype).to(memory_format=torch.channels_last)
        times = []
        for _ in range(4):
            began = time.perf_counter()
            torch.nn.functional.conv2d(picture, weight, padding=1)
            times.append(time.perf_counter() - began)
        return min(times)

    with torch.inference_mode():
        return "bf16" if seconds(torch.bfloat16) < seconds(torch.float32) else "fp32"


def autocast() -> AbstractContextManager[object]:
    """On the CPU, convolutions in the precision that is faster there."""
    return torch.autocast("cpu", torch.bfloat16) if faster("cpu") == "bf16" else nullcontext()
