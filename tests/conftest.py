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
