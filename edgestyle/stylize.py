"""Painting photos of any size, with a checkpoint on torch or with an exported file on a delegate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgestyle import artifacts, checkpoint, images
from edgestyle.errors import CheckError, UsageError
from edgestyle.images import Image
from edgestyle.runner import Session, choose, suffixes

if TYPE_CHECKING:
    from edgestyle.feedforward import FeedForward

MOST_PIXELS = 2**26
"""Largest photo that is painted, twice 8K. Memory grows with it: 3 GB for 8K, 6 GB for this. Instance norms look at the
whole picture, so that it cannot be cut into pieces."""

FOREIGN_MULTIPLE = 32
"""Sides are padded to multiples of this for somebody else's file of free size, which does not say what it needs."""


class Painter(Protocol):
    """A network that is ready to paint."""

    @property
    def name(self) -> str:
        """Of the network, as in the zoo."""
        ...

    @property
    def delegate(self) -> str:
        """Where it runs: "torch", or the name of a runner."""
        ...

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that every photo is scaled to fit inside; None if photos keep their size."""
        ...

    def paint(self, photo: Image) -> Image:
        """The painting of a photo (1, 3, H, W) of any size: of the same size, or as large as fits inside `size`."""
        ...


def open_painter(model: str, delegate: str | None = None) -> Painter:
    """Get a network ready.

    Args:
        model: A zoo name, a checkpoint, or an exported file.
        delegate: The runner for an exported file; if None, the first that works on this machine.

    Raises:
        UnknownNameError: There is no such model or delegate.
        ConfigError: The file is not what its name says.
        UnavailableError: No runner for the file works here; the message says what to do.
    """
    path = Path(model)
    if path.suffix and path.suffix in suffixes():
        if not path.exists():
            raise UsageError(f"there is no {path}; 'edgestyle export' writes such files")
        runner = choose(path, delegate)
        artifacts.examine(path)
        return FilePainter(path, runner.name, runner.open(path))
    if delegate:
        raise UsageError(f"--delegate {delegate} is for exported files; {model} is a checkpoint, which runs on torch")
    found = checkpoint.find(model)
    return CheckpointPainter(found.name, found.network())


# From an exported file ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FilePainter:
    """An exported file on a delegate."""

    path: Path
    delegate: str
    session: Session

    @property
    def name(self) -> str:
        return self.session.contract.model if self.session.contract else self.path.stem

    @property
    def size(self) -> tuple[int, int] | None:
        return self.session.size

    def paint(self, photo: Image) -> Image:
        """See `Painter`.

        Raises:
            CheckError: The file's output has another size than its input.
        """
        contract = self.session.contract
        fitted, window = images.prepare(photo, self.size, contract.size_multiple if contract else FOREIGN_MULTIPLE)
        painted = self.session.run(fitted)
        if painted.shape != fitted.shape:
            raise CheckError(f"{self.path} made {painted.shape} of {fitted.shape}; a style filter must keep the size")
        return window.crop(painted)


# From a checkpoint --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckpointPainter:
    """A feed-forward network on torch."""

    name: str
    net: FeedForward
    delegate: str = "torch"
    size: None = None

    def paint(self, photo: Image) -> Image:
        """See `Painter`.

        Raises:
            UsageError: The photo is larger than `MOST_PIXELS`.
        """
        import torch

        height, width = photo.shape[2:]
        if height * width > MOST_PIXELS:
            came = f"{width}x{height} is {height * width // 10**6} megapixels"
            raise UsageError(f"{came}; at most {MOST_PIXELS // 10**6} are painted at once, so give a smaller --size")
        stride = self.net.stride
        least = stride if min(height, width) > stride else 2 * stride  # an instance norm needs more than one cell
        padded, window = images.pad_to_multiple(photo, least)
        with torch.inference_mode():
            return window.crop(self.net(torch.from_numpy(padded)).numpy())
