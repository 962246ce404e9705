"""What can be asked of networks that paint by any painting: which ones, how much of each, how strongly, and where.

All of it happens around the two networks, on codes and on finished pictures. So it is the same in torch and with
exported files, and a plain painting costs no more for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgestyle import images
from edgestyle.errors import ImageError, UsageError
from edgestyle.images import Image

Code: TypeAlias = "NDArray[np.float32]"
"""A style code, (1, length). All zeros is the photo itself."""

SIDE = 256
"""Of the squares that a style encoder takes, in pixels."""
LEAST = 16
"""Shortest side of a painting, in pixels."""
MOST_SQUARES = 8
"""That a long painting is cut into."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32).reshape(1, 3, 1, 1)
"""Of ITU-R BT.601."""


@dataclass(frozen=True)
class Styling:
    """What is wanted of a painting."""

    styles: tuple[Path, ...]
    """The paintings to paint by."""
    weights: tuple[float, ...] = ()
    """How much of each; evenly if empty."""
    strength: float = 1.0
    """0 gives the photo back (as the network sees it), 1 is the style in full."""
    preserve_color: bool = False
    """Whether the photo's own colours stay."""
    masks: tuple[Path, ...] = ()
    """Where each style goes: a picture for each, white where it does. The photo is left where none does."""

    def __post_init__(self) -> None:
        check(len(self.styles), self.weights, self.strength, len(self.masks))


def check(styles: int, weights: Sequence[float], strength: float, masks: int) -> None:
    """Refuse what makes no sense.

    Raises:
        UsageError: With what is allowed.
    """
    if not styles:
        raise UsageError("this network paints by any painting, so it needs one; give --style PAINTING")
    if not 0 <= strength <= 1:
        raise UsageError(f"--strength is {strength:g}; it must be from 0 (the photo) to 1 (the style in full)")
    if weights and len(weights) != styles:
        raise UsageError(f"--style-weights has {len(weights)} numbers for {styles} --style; give one for each")
    if any(not math.isfinite(weight) or weight < 0 for weight in weights):
        raise UsageError(f"--style-weights are {', '.join(f'{w:g}' for w in weights)}; none may be negative")
    if weights and not sum(weights) > 0:
        raise UsageError("--style-weights are all zero; at least one must be larger")
    if masks and masks != styles:
        raise UsageError(f"{masks} --mask for {styles} --style; give one for each, white where that style goes")
    if masks and weights:
        raise UsageError(
            "--style-weights and --mask cannot be combined: each mask says how much of its style goes where"
        )


# Codes ----------------------------------------------------------------------------------------------------------------


def squares(painting: Image) -> list[Image]:
    """A painting (1, 3, h, w) as style encoders take it: the squares along its long side, each (1, 3, 256, 256).

    As many as fit, evenly spread and at most `MOST_SQUARES`; a painting that is nearly square gives one, its middle.

    Raises:
        ImageError: It is smaller than `LEAST`.
    """
    height, width = painting.shape[2:]
    short, long = sorted((height, width))
    if short < LEAST:
        raise ImageError(f"the painting is {width}x{height} pixels; a style needs at least {LEAST}x{LEAST}")
    count = min(max(1, round(long / short)), MOST_SQUARES)
    gap = long - short
    starts = [gap // 2] if count == 1 else [round(gap * i / (count - 1)) for i in range(count)]
    cut = [
        painting[:, :, :, start : start + short] if width > height else painting[:, :, start : start + short]
        for start in starts
    ]
    return [images.resize(square, (SIDE, SIDE)) for square in cut]


def encode(encoder: Callable[[Image], Code], painting: Image) -> Code:
    """The code of a painting of any shape: the mean of its squares'."""
    codes = np.concatenate([encoder(square) for square in squares(painting)])
    mean: Code = codes.mean(0, keepdims=True, dtype=np.float32)
    return mean


def blend(codes: Sequence[Code], weights: Sequence[float] = (), strength: float = 1.0) -> Code:
    """The weighted mean of codes, times the strength. Weights are scaled to sum to one; none are alike for all.

    Raises:
        UsageError: Weights or strength make no sense.
    """
    check(len(codes), weights, strength, 0)
    mean = np.average(np.concatenate(codes), axis=0, weights=weights or None)
    blended: Code = (strength * mean[None]).astype(np.float32)
    return blended


# Pictures -------------------------------------------------------------------------------------------------------------


def with_colours_of(painting: Image, photo: Image) -> Image:
    """The painting's brightness in the photo's colours, both (1, 3, H, W) (Gatys et al. 2016, arXiv:1606.05897, 4.2).

    Each pixel's three channels are shifted alike, which leaves both colour differences as they are.
    """
    luma = [(picture * _LUMA).sum(1, keepdims=True) for picture in (painting, photo)]
    kept: Image = np.clip(photo + (luma[0] - luma[1]), 0, 1)
    return kept


def read_mask(path: Path) -> Image:
    """A mask, (1, 1, H, W) in [0, 1]: the brightness of a picture."""
    brightness: Image = (images.read(path) * _LUMA).sum(1, keepdims=True)
    return brightness


def shares(masks: Sequence[Image], size: tuple[int, int]) -> list[Image]:
    """How much of each style goes into each pixel, (1, 1, H, W) each; the rest up to 1 is the photo's.

    Args:
        masks: (1, 1, h, w) each in [0, 1]; where they sum to more than 1 they are scaled down to 1.
        size: Height and width of the picture. Masks of other sizes are scaled to it.

    Raises:
        ImageError: A mask has another shape than the picture.
    """
    fitted = [_fit_mask(mask, size) for mask in masks]
    total: Image = np.maximum(sum(fitted), np.float32(1))
    return [mask / total for mask in fitted]


def _fit_mask(mask: Image, size: tuple[int, int]) -> Image:
    (h, w), (height, width) = mask.shape[2:], size
    if abs(math.log((w / h) / (width / height))) > 0.03:  # 3 %: rounding of small sides
        raise ImageError(
            f"a mask is {w}x{h} pixels and the photo {width}x{height}: another shape; cut the mask like it"
        )
    return images.resize(np.repeat(mask, 3, 1), size)[:, :1]


# All together ---------------------------------------------------------------------------------------------------------


class StyleNetwork(Protocol):
    """A pair of networks that is ready to paint by any painting."""

    @property
    def name(self) -> str: ...

    @property
    def delegate(self) -> str: ...

    @property
    def size(self) -> tuple[int, int] | None: ...

    def code(self, painting: Image) -> Code:
        """The code of a painting (1, 3, H, W) of any size and shape."""
        ...

    def seen(self, photo: Image) -> Image:
        """The photo as large as its painting will be."""
        ...

    def paint_by(self, photo: Image, code: Code) -> Image:
        """The painting of a photo, as large as `seen` gives it."""
        ...


@dataclass(frozen=True)
class StyledPainter:
    """A `Painter` (see `edgestyle.stylize`) made of a pair of networks and what is wanted of it."""

    network: StyleNetwork
    codes: tuple[Code, ...]
    """One; with masks one for each."""
    masks: tuple[Image, ...] = ()
    preserve_color: bool = False

    @classmethod
    def open(cls, network: StyleNetwork, styling: Styling) -> StyledPainter:
        """Read the paintings and the masks, and find the codes."""
        codes = [network.code(images.read(path)) for path in styling.styles]
        masks = tuple(read_mask(path) for path in styling.masks)
        wanted = [blend([code], strength=styling.strength) for code in codes] if masks else []
        return cls(
            network,
            tuple(wanted) or (blend(codes, styling.weights, styling.strength),),
            masks,
            styling.preserve_color,
        )

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def delegate(self) -> str:
        return self.network.delegate

    @property
    def size(self) -> tuple[int, int] | None:
        return self.network.size

    def paint(self, photo: Image) -> Image:
        """See `Painter`.

        Raises:
            ImageError: A mask has another shape than the photo.
        """
        seen = self.network.seen(photo)
        height, width = seen.shape[2:]
        if self.masks:
            parts = shares(self.masks, (height, width))
            painted = seen * (1 - sum(parts))
            for part, code in zip(parts, self.codes, strict=True):
                painted += part * self.network.paint_by(photo, code)
        else:
            painted = self.network.paint_by(photo, self.codes[0])
        return with_colours_of(painted, seen) if self.preserve_color else painted
