"""What the losses see of a network's pictures, in training and in fine-tuning for 8 bits alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import EllipsisType

import torch
from torch import Tensor

from edgestyle.losses import GREY_LEVEL, Losses, PerceptualLoss, lattice_loss, stability_loss


@dataclass(frozen=True)
class View:
    """Sides in pixels."""

    crop: int
    """Of what the losses see; a multiple of 8."""
    shift: int = 40
    """By which a photo is moved, at most, to see how steady its picture is. A network that works at 1/8 of the size can
    please the Gram matrices with one pattern in every 8x8 pixels, and frame the picture, both wherever the photo
    happens to lie: strokes that have to move with the photo leave no room for either."""

    @property
    def context(self) -> int:
        """Of what only the network sees, on each side on average.

        What the losses see lies anywhere in it, so that with crops of 256 to 512 they look at as large a share of the
        outer 16 pixels, where zero padding tells a network of the border, as a picture of 512x512 has. Networks that
        were shown less had twice the style loss in whole pictures; one that was shown more painted frames.
        """
        return max(0, 16 - self.crop // 32) // 4 * 4

    @property
    def seen(self) -> int:
        """Of what the network sees."""
        return self.crop + 2 * self.context

    @property
    def side(self) -> int:
        """Of a crop with its context and what may move into it."""
        return self.seen + self.shift

    def inside(self, generator: torch.Generator) -> tuple[EllipsisType, slice, slice]:
        """Where the losses look, this time, in what the network sees."""
        top, left = _draw(2 * self.context, generator)
        return ..., slice(top, top + self.crop), slice(left, left + self.crop)

    def move(self, generator: torch.Generator) -> tuple[int, int]:
        """How far down and right a photo is moved, this time."""
        return _draw(self.shift, generator)


@dataclass(frozen=True)
class Seen:
    """Pictures, and what the losses say of them."""

    photos: Tensor
    """As the network saw them, (B, 3, seen, seen)."""
    pictures: Tensor
    """Of these, (B, 3, seen, seen)."""
    losses: Losses
    stability: Tensor
    """Of the first picture, (1,)."""
    lattice: Tensor
    """(B,), and that of the moved picture."""

    def total(self, loss: PerceptualLoss) -> Tensor:
        """The weighted sum that is minimised."""
        weights = loss.config
        steady = weights.stability_weight * self.stability.mean() + weights.lattice_weight * self.lattice.mean()
        return loss.weighted(self.losses).mean() + steady


def look(
    paint: Callable[..., Tensor],
    photos: Tensor,
    styles: Tensor | None,
    loss: PerceptualLoss,
    view: View,
    generator: torch.Generator,
) -> Seen:
    """Let a network paint, and look at what lies anywhere inside its pictures; at how steady the first is, where that
    counts; and at lattices.

    Args:
        paint: The network: photos, and style vectors if there are any, to pictures.
        photos: (B, 3, side, side) in [0, 1], where side is `view.side`.
        styles: (B, S), or None for a network of one painting.
        loss: What is measured.
        view: Where.
        generator: Draws places, shifts and noise.
    """
    count, seen = len(photos), view.seen
    inside = view.inside(generator)
    shown, chosen = photos[..., :seen, :seen], styles
    down, right = view.move(generator)
    if loss.config.stability_weight:
        moved = photos[:1, :, down : down + seen, right : right + seen]
        noise = GREY_LEVEL * torch.randn(moved.shape, generator=generator)
        shown = torch.cat([shown, moved + noise.to(photos.device)])
        chosen = None if styles is None else torch.cat([styles, styles[:1]])
    shown = shown.contiguous(memory_format=torch.channels_last)
    pictures = paint(shown, *(() if chosen is None else (chosen,))).float()
    losses = loss.learned(pictures[:count][inside], shown[:count][inside], styles)
    stability = torch.zeros(1, device=photos.device)
    if len(pictures) > count:
        overlap = pictures[count:, :, : seen - down, : seen - right]
        stability = stability_loss(pictures[:1, :, down:, right:], overlap)
    return Seen(shown[:count], pictures[:count], losses, stability, lattice_loss(pictures))


def _draw(most: int, generator: torch.Generator) -> tuple[int, int]:
    """A place, 0 to `most` both ways."""
    top, left = torch.randint(most + 1, (2,), generator=generator).tolist()
    return top, left
