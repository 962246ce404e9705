"""Training photos: any folder of pictures, kept in memory as 8-bit tensors, drawn from as random crops."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from edgestyle import images
from edgestyle.errors import ImageError, UsageError


@dataclass(frozen=True)
class Photos:
    """Photos to train on."""

    pictures: tuple[Tensor, ...]
    """(3, H, W) uint8 each."""
    skipped: tuple[str, ...]
    """What was wrong with each file that could not be read."""

    @classmethod
    def load(cls, folder: Path, longest: int = 640) -> Photos:
        """Read every picture under `folder`, none longer than `longest` pixels on its short side.

        Raises:
            UsageError: There is no picture that can be read.
        """
        pictures, skipped = [], []
        for path in images.find([folder]):
            try:
                photo = torch.from_numpy(images.read(path))
            except ImageError as error:
                skipped.append(str(error))
                continue
            factor = longest / min(photo.shape[2:])
            if factor < 1:
                photo = _resize(photo, factor)
            pictures.append((photo[0] * 255).round().to(torch.uint8))
        if not pictures:
            raise UsageError(f"no photo in {folder} can be read; training needs a folder of photos, better hundreds")
        return cls(tuple(pictures), tuple(skipped))

    def crops(self, count: int, size: int, scales: tuple[int, int], generator: torch.Generator) -> Tensor:
        """A batch of random crops, half of them mirrored.

        Each photo is thought of as resized to a short side drawn evenly from `scales`, so that the network meets both
        views and details; the crop is cut first and only then resized.

        Shapes: (count, 3, size, size) float32 RGB in [0, 1], channels_last.
        """

        def draw(low: float, high: float) -> float:
            return low + (high - low) * torch.rand((), generator=generator).item()

        batch = []
        for _ in range(count):
            photo = self.pictures[int(draw(0, len(self.pictures)))]
            height, width = photo.shape[1:]
            short = max(size, draw(*scales))
            side = min(math.ceil(size * min(height, width) / short), height, width)
            top, left = int(draw(0, height - side + 1)), int(draw(0, width - side + 1))
            crop = photo[None, :, top : top + side, left : left + side].float() / 255
            crop = F.interpolate(crop, (size, size), mode="bilinear", antialias=True, align_corners=False)
            batch.append(crop.flip(3) if draw(0, 1) < 0.5 else crop)
        return torch.cat(batch).to(memory_format=torch.channels_last)


def load_painting(path: Path, short_side: int) -> Tensor:
    """The painting, (1, 3, H, W) RGB in [0, 1], resized to `short_side`: the size at which its strokes should appear.

    Raises:
        ImageError: It cannot be read, or is smaller than 64 pixels.
    """
    painting = torch.from_numpy(images.read(path))
    if min(painting.shape[2:]) < 64:
        raise ImageError(f"{path} is {painting.shape[3]}x{painting.shape[2]} pixels; a painting needs at least 64x64")
    return _resize(painting, short_side / min(painting.shape[2:])).to(memory_format=torch.channels_last)


def _resize(picture: Tensor, factor: float) -> Tensor:
    size = tuple(max(1, round(n * factor)) for n in picture.shape[2:])
    return F.interpolate(picture, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
