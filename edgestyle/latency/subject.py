"""What can be timed. Subjects are picklable and light: all that is heavy begins with `open`, in the timing process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgestyle.errors import UsageError
from edgestyle.images import Image
from edgestyle.manifest import Contract
from edgestyle.runner import Placement

if TYPE_CHECKING:
    from edgestyle.learned import Learned

SIZE = (512, 512)
"""Height and width at which files of free size are timed if nobody says otherwise."""


@dataclass(frozen=True)
class Ready:
    """A subject that can be run."""

    bind: Callable[[], Callable[[], object]]
    """Makes a picture, and gives what runs it once, upload and readback in it. What has a clock of its own returns the
    seconds, a float."""
    size: tuple[int, int]
    """Height and width in pixels."""
    fixed: bool = False
    """Whether it has no other size."""
    contract: Contract | None = None
    """That of the file itself; None for somebody else's file."""
    placement: Callable[[], Placement | None] = lambda: None
    """Where its operations run."""


class Subject(Protocol):
    """What can be timed."""

    def open(self) -> Ready:
        """Get it ready to run. The time that this takes is `init_ms`."""
        ...


@dataclass(frozen=True)
class File:
    """An exported file on a delegate."""

    path: Path
    delegate: str
    size: tuple[int, int] | None = None
    """Height and width for a file of free size; `SIZE` if None. A file of fixed size has its own."""

    def open(self) -> Ready:
        """See `Subject`. Raises what the delegate's `open` raises."""
        from edgestyle import registry
        from edgestyle.runner import Runner

        runner: Runner = registry.load(registry.RUNNERS, self.delegate)
        session = runner.open(self.path)
        size = session.size or self.size or SIZE
        fixed = session.size is not None
        return Ready(lambda: session.bind(example(size)), size, fixed, session.contract, session.placement)


@dataclass(frozen=True)
class Network:
    """A checkpoint on torch."""

    folder: Path
    size: tuple[int, int] = SIZE
    tile: int | None = None
    """Side of the tiles that the picture is painted in; None for the picture as a whole."""

    def load(self) -> Learned:
        """The network; of several paintings the first alone, for any painting one folded in, which is as much work."""
        import torch

        from edgestyle import checkpoint, parts
        from edgestyle.conditional import from_codes

        found = checkpoint.read(self.folder)
        if found.config.family == "adain":
            pair = found.pair()
            return from_codes(pair.transformer, torch.from_numpy(parts.example(pair)))
        net = found.network()
        several = net.config.styles > 1
        return net.specialized([1.0, *[0.0] * (net.config.styles - 1)]) if several else net

    def open(self) -> Ready:
        """See `Subject`. Raises UsageError if the network does not take this size."""
        import torch

        from edgestyle import tiles

        net = self.load()
        if any(side % net.stride for side in self.size):
            height, width = self.size
            raise UsageError(
                f"{self.folder.name} takes multiples of {net.stride} pixels; {width}x{height} was asked for"
            )

        def run(photo: torch.Tensor) -> object:
            with torch.inference_mode():
                return net(photo) if self.tile is None else tiles.paint(net, photo, self.tile)

        return Ready(lambda: partial(run, torch.from_numpy(example(self.size))), self.size)


def example(size: tuple[int, int]) -> Image:
    """A picture of noise (1, 3, H, W) in [0, 1], the same each time. What is in it does not change the work."""
    return np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)
