"""What runs in a process of its own, where a delegate may crash or hang: opening a file and painting with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgestyle.images import Image
from edgestyle.manifest import Contract
from edgestyle.runner import Placement, Runner


@dataclass(frozen=True)
class Opened:
    """What a delegate found in a file, and painted with it."""

    contract: Contract | None
    size: tuple[int, int] | None
    pictures: tuple[Image, ...] = ()
    placement: Placement | None = None


def look(runner: Runner, path: Path) -> Opened:
    """Open a file, and no more."""
    session = runner.open(path)
    return Opened(session.contract, session.size)


def paint(runner: Runner, path: Path, photos: Sequence[Image]) -> Opened:
    """Open a file and paint photos; none where it takes another size than theirs."""
    session = runner.open(path)
    if session.size and any(session.size != photo.shape[2:] for photo in photos):
        return Opened(session.contract, session.size)
    pictures = tuple(session.run(photo) for photo in photos)
    return Opened(session.contract, session.size, pictures, session.placement())


def limit_s(*photos: Image, emulated: bool = True) -> float:
    """How long a delegate may take for photos, in seconds: ten times what two busy cores need.

    Qualcomm's simulator takes 2 minutes a megapixel, and as long again to compile; a CPU a second.
    """
    start, each_megapixel = (300, 1200) if emulated else (120, 60)
    return start + each_megapixel * sum(pixels(photo) for photo in photos) / 1e6


def pixels(picture: Image) -> int:
    """Height times width."""
    return int(picture[0, 0].size)
