"""Where training runs: one device or many, through Lightning Fabric."""

from __future__ import annotations

import logging
import os
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from edgestyle.errors import MissingExtraError, UnavailableError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision: TypeAlias = Literal["bf16", "fp32"]
"""bf16: weights in fp32, convolutions in bfloat16 (autocast). On a GPU, and on a CPU with matrix units for it (AMX), it
is several times as fast as fp32; on other CPUs it may be half as fast: see `faster`."""


def start(accelerator: str = "auto", precision: Precision = "bf16") -> Fabric:
    """Take this process's place among those that `torchrun` started; alone, one device is taken.

    Args:
        accelerator: "auto" for the best that there is, or "cpu", "cuda", "mps".
        precision: Of the convolutions.

    Raises:
        MissingExtraError: lightning-fabric is not installed.
        UnavailableError: This machine has no such device.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise MissingExtraError("lightning-fabric", "train") from error
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces what was asked for
    local, world = (int(os.environ.get(name, 1)) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=world // local,
            strategy="ddp" if world > 1 else "auto",
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of launchers that it recommends
            fabric.launch()
    except Exception as error:  # Fabric and torch.distributed raise many types
        raise UnavailableError(f"training cannot start on {accelerator} with {world} process(es): {error}") from error
    return fabric


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
