"""One number for content and one for style: how good the pictures of a network are, whatever made them.

The measure of the training losses, taken on photos that training has not seen: content at relu3_3, style as the Gram
distance at relu1_1, relu2_1, relu3_1 and relu3_4, at full and at half size, both relative (see
`edgestyle.losses`). An untouched photo scores 0 + about 5, a good filter about 1 + 0.3. Lower is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from edgestyle import images
from edgestyle.losses import PerceptualLoss
from edgestyle.stylize import Painter

SIZE = 512
"""Side of the squares that photos are cropped and scaled to, and short side of the painting."""


@dataclass(frozen=True)
class Score:
    """Losses of one picture; the mean of several is that of each number."""

    content: float
    style: float

    @property
    def total(self) -> float:
        """Content + style."""
        return self.content + self.style


def square(path: Path) -> images.Image:
    """A photo as it is scored: cropped to a square and scaled to 512x512 by Lanczos."""
    return images.centre_crop(images.read(path), (SIZE, SIZE))


def scores(painter: Painter, photos: Iterable[Path], loss: PerceptualLoss) -> Iterator[Score]:
    """The score of what `painter` makes of each photo."""
    for path in photos:
        photo = square(path)
        with torch.inference_mode():
            losses = loss(torch.from_numpy(painter.paint(photo)).clamp(0, 1), torch.from_numpy(photo))
        yield Score(losses.content.item(), losses.style.item())


def mean(values: list[Score]) -> Score:
    """The mean of each number."""
    return Score(*(sum(getattr(value, key) for value in values) / len(values) for key in ("content", "style")))
