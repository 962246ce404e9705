"""What all tests share."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "edgestyle",
    deadline=None,  # a busy machine is no failure
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=True,  # the same examples everywhere: who did not touch the code does not meet its failures
    database=None,  # nothing is written into a folder that may be read-only
)
hypothesis.settings.load_profile("edgestyle")

# Who starts the tests in the background may hand down an ignored Ctrl-C, which would reach no process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests paint tiny pictures: torch's threads would only wait for each other, and far longer where cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A small feed-forward network with seeded random weights, in a folder of its own. Do not write to it."""
    from edgestyle import trial

    return trial.tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A small style encoder and its transformer with seeded random weights, in a folder of their own. As above."""
    from dataclasses import asdict

    import torch

    from edgestyle import checkpoint
    from edgestyle.adain import AdaIN, AdaINConfig

    network = AdaINConfig(code=8, width=8, trunk_width=16, trunk_blocks=2, blocks=1, hidden=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = AdaIN(network)
        for module in net.modules():  # further from zero than they start, so that the code matters
            if (
                isinstance(module, torch.nn.Conv2d)
                and module.in_channels == network.code
                and module.kernel_size == (1, 1)
            ):
                torch.nn.init.normal_(module.weight, std=0.3)
    config = checkpoint.CheckpointConfig(
        name="tiny", family="adain", network=asdict(network), styles=(), training={}, licence="for tests"
    )
    return checkpoint.write(tmp_path_factory.mktemp("pairs") / "tiny", config, net)
