"""Where training runs: one device or many, through Lightning Fabric."""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING

from edgestyle.errors import MissingExtraError, UnavailableError
from edgestyle.precision import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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
