"""Metrics that are taken only where they are asked for: flicker, which needs a film, and LPIPS, which needs files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgestyle import flicker, images
from edgestyle.errors import CheckError
from edgestyle.flicker import Clip
from edgestyle.images import Image

if TYPE_CHECKING:
    from edgestyle.lpips import LPIPS

STEP, FRAMES = (3, 5), 8
"""Of the film: pixels down and to the right from each frame to the next, and how many."""


@dataclass(frozen=True)
class Film:
    """A film, and what is to be painted of it."""

    clip: Clip
    expected: Sequence[Image]


def film(photo: Image, size: tuple[int, int], paint: Callable[[Sequence[Image]], Sequence[Image]]) -> Film:
    """A window of `size` (height, width) that moves over a photo, which is scaled so that it has room, in 8 bits."""
    room = [side + step * (FRAMES - 1) for side, step in zip(size, STEP, strict=True)]
    scene = images.from_uint8(images.to_uint8(images.centre_crop(photo, (room[0], room[1]))))
    clip = flicker.pan(scene, size, STEP, FRAMES)
    return Film(clip, paint(clip.frames))


def flicker_drift(film: Film, actual: Sequence[Image]) -> float | None:
    """`Flicker.drift` of what a delegate made of a film; None where that is no picture at all."""
    try:
        return flicker.measure(actual, film.expected, film.clip.flows).drift
    except CheckError:
        return None


def load_lpips(backbone: str, heads: str) -> LPIPS:
    """See `edgestyle.lpips.load`."""
    from edgestyle import lpips

    return lpips.load(Path(backbone), Path(heads))


def worst_lpips(network: LPIPS, actual: Sequence[Image], expected: Sequence[Image]) -> float | None:
    """The largest LPIPS of several pairs; None where a picture holds NaN or infinity."""
    import torch

    def distances() -> Iterator[float]:
        for a, b in zip(actual, expected, strict=True):
            with torch.inference_mode():
                yield float(network(torch.from_numpy(a), torch.from_numpy(b)))

    return max(distances()) if all(np.isfinite(picture).all() for picture in actual) else None
