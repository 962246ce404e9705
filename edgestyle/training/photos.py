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

SMALLEST = 64
"""Photos with a shorter side than this show too little to learn from."""
_DARKEST = 0.3
_SAMPLES = ("motorcycle_left.png", "brick.png", "grass.png", "gravel.png", "ihc.png", "retina.jpg", "coins.png")
"""In scikit-image beside `images.sample_photos`."""


@dataclass(frozen=True)
class Photos:
    """Photos to train on."""

    pictures: tuple[Tensor, ...]
    """(3, H, W) uint8 each."""
    skipped: tuple[str, ...] = ()
    """What was wrong with each file that could not be used."""
    dark: float = 0.0
    """Share of the crops that are darkened, so that a network knows shadows and their noise."""

    @classmethod
    def load(cls, folder: Path, longest: int = 640, dark: float = 0.0) -> Photos:
        """Read every picture under `folder`, none longer than `longest` pixels on its short side.

        Raises:
            UsageError: There is no picture that can be used.
        """
        pictures, skipped = [], []
        for path in images.find([folder]):
            try:
                photo = torch.from_numpy(images.read(path))
            except ImageError as error:
                skipped.append(str(error))
                continue
            if min(photo.shape[2:]) < SMALLEST:
                size = f"{photo.shape[3]}x{photo.shape[2]}"
                skipped.append(f"{path} is {size} pixels; at least {SMALLEST}x{SMALLEST} are needed to learn from")
                continue
            pictures.append(_to_bytes(photo, longest))
        if not pictures:
            why = f" ({skipped[0]})" if skipped else ""
            raise UsageError(
                f"no photo in {folder} can be used{why}; training needs a folder of photos, better hundreds"
            )
        return cls(tuple(pictures), tuple(skipped), dark)

    @classmethod
    def samples(cls, longest: int = 640, dark: float = 0.0) -> Photos:
        """The photos that ship with scikit-image, for those who have none at hand."""
        import skimage

        folder = Path(skimage.__file__).parent / "data"
        found = [*images.sample_photos().values(), *(images.read(folder / name) for name in _SAMPLES)]
        return cls(tuple(_to_bytes(torch.from_numpy(photo), longest) for photo in found), dark=dark)

    def smaller_than(self, side: int) -> int:
        """How many are shorter than `side` pixels, so that crops of that size are enlarged."""
        return sum(min(picture.shape[1:]) < side for picture in self.pictures)

    def crops(self, count: int, size: int, scales: tuple[int, int], generator: torch.Generator) -> Tensor:
        """A batch of random crops, half of them mirrored, some of them darkened.

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
            if self.dark and draw(0, 1) < self.dark:
                crop = _darken(crop, generator)
            batch.append(crop.flip(3) if draw(0, 1) < 0.5 else crop)
        return torch.cat(batch).to(memory_format=torch.channels_last)


def _darken(crop: Tensor, generator: torch.Generator) -> Tensor:
    """A crop in shadow from one side, with a sensor's noise, in whole grey levels: (1, 3, H, W).

    Every second is out of focus besides: a night sky.
    """
    size = crop.shape[-1]
    darkest, angle, level, sky = torch.rand(4, generator=generator).tolist()
    if sky < 0.5:
        crop = F.interpolate(F.adaptive_avg_pool2d(crop, 4), (size, size), mode="bicubic").clamp(0, 1)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    ramp = (x * math.cos(2 * math.pi * angle) + y * math.sin(2 * math.pi * angle) + 2 * level).clamp(0, 1)
    darkest *= _DARKEST
    noise = torch.randn(crop.shape, generator=generator) / 255
    dark: Tensor = ((crop * (darkest + (1 - darkest) * ramp) + noise) * 255).round().clamp(0, 255) / 255
    return dark


def flattened(crops: Tensor, generator: torch.Generator) -> Tensor:
    """The crops, each with less contrast by chance; of the first little but shades is left, in grey levels: a sky.

    A crop that is alone stays one half of the time, so that not all that is seen is flat.

    Shapes: (B, 3, H, W) -> the same.
    """
    mean = crops.mean((2, 3), keepdim=True)
    contrast = 1 - 0.75 * torch.rand(len(crops), 1, 1, 1, generator=generator).square()
    batch = mean + (crops - mean) * contrast
    if len(crops) == 1 and torch.rand((), generator=generator) < 0.5:
        return batch
    cells = int(torch.randint(3, 9, (), generator=generator))
    shades = F.interpolate(F.adaptive_avg_pool2d(crops[:1], cells), crops.shape[2:], mode="bicubic")
    detail = torch.rand((), generator=generator).square() / 2
    noise = torch.randn(shades.shape, generator=generator) / 255
    flat = shades + (crops[:1] - shades) * detail + noise
    batch[:1] = (flat * 255).round().clamp(0, 255) / 255
    return batch


def load_painting(path: Path, short_side: int) -> Tensor:
    """The painting, (1, 3, H, W) RGB in [0, 1], resized to `short_side`: the size at which its strokes should appear.

    Raises:
        ImageError: It cannot be read, or is smaller than 64 pixels.
    """
    painting = torch.from_numpy(images.read(path))
    if min(painting.shape[2:]) < 64:
        raise ImageError(f"{path} is {painting.shape[3]}x{painting.shape[2]} pixels; a painting needs at least 64x64")
    return _resize(painting, short_side / min(painting.shape[2:])).to(memory_format=torch.channels_last)


def _to_bytes(photo: Tensor, longest: int) -> Tensor:
    """(1, 3, H, W) in [0, 1] -> (3, H, W) uint8, at most `longest` pixels on its short side."""
    factor = longest / min(photo.shape[2:])
    photo = _resize(photo, factor) if factor < 1 else photo
    return (photo[0] * 255).round().to(torch.uint8)


def _resize(picture: Tensor, factor: float) -> Tensor:
    size = tuple(max(1, round(n * factor)) for n in picture.shape[2:])
    return F.interpolate(picture, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
