"""A tiny network through a target and its runtimes: the only proof that what is installed works."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle import isolate
from edgestyle.errors import EdgestyleError

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint

SIZE = (64, 64)
"""Height and width of the trial's pictures in pixels."""
LIMIT_S = 300
"""Longest trial; a usual one takes about 10 s, nearly all of it imports."""


def try_apart(target: str) -> str:
    """Run `try_here` in a process of its own.

    Returns:
        "" if it went well, else what went wrong, in one line.
    """
    try:
        isolate.call(try_here, target, limit_s=LIMIT_S)  # a broken converter may take its process with it
    except EdgestyleError as error:
        return str(error)
    return ""


def try_here(target: str) -> None:
    """Export a network with random weights to `target`, verified as every export is.

    Raises:
        Exception: Whatever goes wrong.
    """
    from edgestyle import exporting, registry

    with tempfile.TemporaryDirectory(prefix="edgestyle-") as folder:
        found = registry.load(registry.TARGETS, target)
        exporting.export(tiny_checkpoint(Path(folder) / "tiny"), found, SIZE, Path(folder))


def tiny_checkpoint(folder: Path) -> Checkpoint:
    """Write a small feed-forward network with seeded random weights into `folder`."""
    import torch

    from edgestyle import checkpoint
    from edgestyle.feedforward import FeedForward, FeedForwardConfig
    from edgestyle.learned import deploy
    from edgestyle.manifest import Style

    network: dict[str, Any] = {"width": 8, "trunk_width": 8, "trunk_blocks": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = deploy(FeedForward(FeedForwardConfig(**network)))
    config = checkpoint.CheckpointConfig(
        name="tiny",
        family="feedforward",
        network=network,
        styles=(Style(name="random", title="Random weights", artist="nobody", year="2025"),),
        training={"steps": 0},
        licence="Apache-2.0",
    )
    return checkpoint.write(folder, config, net)
