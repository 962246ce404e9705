"""Painting photos of any size, with a checkpoint on torch or with an exported file on a delegate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgestyle import checkpoint, images, registry
from edgestyle.errors import CheckError, ConfigError, UnavailableError, UsageError
from edgestyle.files import sha256
from edgestyle.images import Image
from edgestyle.manifest import manifest_path, read_manifest
from edgestyle.runner import Runner, Session, runners_for, suffixes

if TYPE_CHECKING:
    from edgestyle.feedforward import FeedForward

TILE = 2048
"""Longest side in pixels that a checkpoint paints in one piece. Memory grows with its square: 0.5 GB at 2048."""

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
        runner = _choose_runner(path, delegate)
        _check_manifest(path)
        return FilePainter(path, runner.name, runner.open(path))
    if delegate:
        raise UsageError(f"--delegate {delegate} is for exported files; {model} is a checkpoint, which runs on torch")
    found = checkpoint.find(model)
    return CheckpointPainter(found.name, found.network())


def _check_manifest(path: Path) -> None:
    """Refuse a file that is not the one that the manifest beside it describes. One without a manifest is welcome."""
    manifest = read_manifest(path)
    if manifest and manifest.sha256 != sha256(path):
        name = manifest_path(path).name
        raise ConfigError(f"{path} is not the file that {name} beside it describes; export it again, or remove {name}")


def _choose_runner(path: Path, delegate: str | None) -> Runner:
    """The runner named `delegate`, or the first that works here."""
    runners = runners_for(path)
    if delegate:
        wanted: Runner = registry.load(registry.RUNNERS, delegate)
        if path.suffix not in wanted.suffixes:
            fitting = ", ".join(runner.name for runner in runners)
            raise UsageError(f"{delegate} opens {', '.join(wanted.suffixes)}; {path.name} runs on: {fitting}")
        runners = [wanted]
    reasons = []
    for runner in runners:
        availability = runner.probe()
        if availability.status == "works":
            return runner
        install = f" ({availability.install})" if availability.install else ""
        reasons.append(f"{runner.name}: {availability.reason}{install}")
    raise UnavailableError(f"{path} cannot be run here: {'; '.join(reasons)}")


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
        if self.size:
            fitted, window = images.fit(photo, self.size)
        else:
            contract = self.session.contract
            fitted, window = images.pad_to_multiple(photo, contract.size_multiple if contract else FOREIGN_MULTIPLE)
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
        padded, window = images.pad_to_multiple(photo, self.net.stride)
        return window.crop(paint_in_tiles(self.net, padded))


def paint_in_tiles(net: FeedForward, photo: Image, tile: int = TILE) -> Image:
    """What `net(photo)` would be, painted in tiles of at most `tile` pixels a side, so that memory stays bounded.

    It is the same picture: the statistics of the whole picture, for `PictureNorm`, are taken beforehand, and each tile
    is painted with as much around it as the network sees. Where that ends at the photo's edge, so does the tile, and
    the network's own padding is what it would have been.

    Shapes: (1, 3, H, W) -> the same; H and W multiples of the network's stride.
    """
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(photo)
        mean, scale = net.norm.statistics(x)
        rows, columns = (_spans(side, tile, net.stride) for side in photo.shape[2:])
        halo = reach(net) if len(rows) * len(columns) > 1 else 0
        painted = np.empty_like(photo)
        for top, bottom in rows:
            for left, right in columns:
                first_row, first_column = max(0, top - halo), max(0, left - halo)
                piece = x[:, :, first_row : bottom + halo, first_column : right + halo]
                y = net.paint((piece - mean) * scale)[:, :, top - first_row :, left - first_column :]
                painted[:, :, top:bottom, left:right] = y[:, :, : bottom - top, : right - left].numpy()
    return painted


def _spans(side: int, tile: int, stride: int) -> list[tuple[int, int]]:
    """Cut a side into parts of about `tile` pixels, all alike but for the last, that start at multiples of `stride`."""
    step = math.ceil(side / math.ceil(side / tile) / stride) * stride
    return [(start, min(start + step, side)) for start in range(0, side, step)]


def reach(net: FeedForward) -> int:
    """How many pixels around itself an output pixel of `net.paint` depends on, a multiple of the stride.

    Found by trial, so that it holds for whatever the network is made of: one cell of NaN goes in, and NaN comes out
    wherever it is seen.

    Raises:
        CheckError: The network sees more than about 1000 pixels far, or its own weights hold NaN.
    """
    import torch

    for side in (256, 512, 1024, 2048):
        first = side // 2 // net.stride * net.stride
        x = torch.zeros(1, 3, side, side)
        x[:, :, first : first + net.stride, first : first + net.stride] = torch.nan
        seen = net.paint(x).isnan().any(1)[0].nonzero()  # (n, 2): rows and columns
        lowest, highest = int(seen.min()), int(seen.max())
        if lowest > 0 and highest < side - 1:
            return math.ceil(max(first - lowest, highest + 1 - first - net.stride) / net.stride) * net.stride
    raise CheckError(
        "the network cannot paint in tiles: it sees too far, or its weights hold NaN; use a smaller --size"
    )
