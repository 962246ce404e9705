"""What all tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

# Tests paint tiny pictures: torch's threads would only wait for each other, and far longer where cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A small feed-forward network with seeded random weights, in a folder of its own. Do not write to it."""
    import torch

    from edgestyle import checkpoint
    from edgestyle.feedforward import FeedForward, FeedForwardConfig, deploy
    from edgestyle.manifest import Style

    network = {"width": 8, "trunk_width": 8, "trunk_blocks": 1}
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
    return checkpoint.write(tmp_path_factory.mktemp("checkpoints") / "tiny", config, net)
