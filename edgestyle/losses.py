"""Content, style, smoothness and steadiness, as numbers.

The losses are those of Gatys et al. 2016 (CVPR, "Image Style Transfer Using Convolutional Neural Networks") as Johnson
et al. 2016 (arXiv:1603.08155) train networks with them, each divided by its own scale so that one set of weights does
for most paintings: 0 is perfect, 1 is as far as showing nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from edgestyle.colors import PreserveColor, chroma, luminance, match
from edgestyle.errors import ConfigError
from edgestyle.perceptual import PerceptualNetwork

CONTENT_LAYER = "relu3_3"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
GREY_LEVEL = 1 / 255
"""One step of an 8-bit picture: the noise that `stability_loss` is measured with."""
_CELL, _TILE = 8, 8
"""Sides of what `lattice_loss` averages: pixels of a cell, cells of a tile."""


def gram_matrix(features: Tensor) -> Tensor:
    """Gram matrices `F F^T / (C H W)` (Johnson et al. 2016, section 3.2).

    Multiplied in the features' own precision, one picture at a time on a view of channels_last features: on a CPU in
    bfloat16 that is six times faster than a batched product, which copies them first.

    Shapes: (B, C, H, W) -> (B, C, C) float32.
    """
    _, c, h, w = features.shape
    flat = features.permute(0, 2, 3, 1).flatten(1, 2)  # (B, HW, C)
    return torch.stack([f.T @ f for f in flat]).float() / (c * h * w)


def content_loss(features: Tensor, photo: Tensor) -> Tensor:
    """Squared feature distance over the photo's own power: `|F - P|^2 / |P|^2` (Gatys eq. 1, normalised). (B,)"""
    features, photo = features.float(), photo.float()
    return (features - photo).square().mean((1, 2, 3)) / photo.square().mean((1, 2, 3)).clamp_min(1e-12)


def gram_loss(gram: Tensor, target: Tensor) -> Tensor:
    """Squared Gram distance over the painting's own: `|G - A|^2 / |A|^2` (Gatys eq. 4, normalised). (B,)"""
    return (gram - target).square().sum((1, 2)) / target.square().sum((1, 2))


def total_variation(x: Tensor) -> Tensor:
    """Mean squared step between neighbours, both ways (Johnson et al. 2016, section 3.2). (B, C, H, W) -> (B,)"""
    down = (x[:, :, 1:] - x[:, :, :-1]).square().mean((1, 2, 3))
    across = (x[:, :, :, 1:] - x[:, :, :, :-1]).square().mean((1, 2, 3))
    return down + across


def stability_loss(pictures: Tensor, disturbed: Tensor) -> Tensor:
    """Squared difference between pictures of a photo and of the same disturbed, `|N(x) - N(x + n)|^2 / |n|^2`. (B,)

    The unit is noise of `GREY_LEVEL`: 1 is as loud as that came in. A network that amplifies noise paints grain into
    flat dark areas, flickers in video, and makes much of the rounding of int8 (Zheng et al. 2016, arXiv:1604.04326,
    train classifiers so). Where the photo was also moved, and the picture moved back, what differs is what the network
    paints by place: patterns of its own lattice, and frames.
    """
    return (pictures - disturbed).square().mean((1, 2, 3)) / GREY_LEVEL**2


def detail(photos: Tensor) -> Tensor:
    """How much there is to paint in photos, from 0, nothing, to 1, (B, 3, H, W) -> (B,).

    The mean distance from the mean of 9x9 pixels, as a share of 0.02, which ordinary photos pass. Style counts by it:
    strokes in a night sky could only be made of its noise, and the sky would be another in every frame, and in 8 bits.
    """
    distance = (photos - _smoothed(photos)).abs().mean((1, 2, 3))
    return (distance / 0.02).clamp(max=1)


def _smoothed(pictures: Tensor) -> Tensor:
    """The mean of 9x9 pixels around each; as planes, for three channels in channels_last take four times as long."""
    return F.avg_pool2d(pictures.contiguous(), 9, 1, 4, count_include_pad=False)


def lattice_loss(pictures: Tensor) -> Tensor:
    """How strongly the same pattern stands in every 8x8 pixels, in squared grey levels. (B, 3, H, W) -> (B,)

    A network that works at 1/8 of the size and unfolds each of its places into 8x8 pixels can please the Gram matrices
    with one pattern everywhere: the checkerboard of Odena et al. 2016 (distill.pub/2016/deconv-checkerboard), 8 pixels
    wide. What a picture really shows lies anywhere against that grid and averages out over a tile of 8x8 cells; what
    stays is the lattice. Larger tiles would tell the two apart better, and overlook dots that stand in dark regions
    alone. Photos and paintings have 2 to 10, a visible lattice 12 to 50.
    """
    fine = pictures - _smoothed(pictures)  # no slopes, no tints
    height, width = (min(_TILE, side // _CELL) for side in pictures.shape[2:])  # of a tile, in cells
    down, across = pictures.shape[2] // (height * _CELL), pictures.shape[3] // (width * _CELL)
    tiles = fine[:, :, : down * height * _CELL, : across * width * _CELL]
    cells = tiles.reshape(*pictures.shape[:2], down, height, _CELL, across, width, _CELL).mean((3, 6))
    return cells.square().mean((1, 2, 3, 4, 5)) / GREY_LEVEL**2


@dataclass(frozen=True)
class LossConfig:
    """What is measured where, and what counts how much. By default content and style are those of `edgestyle score`."""

    style_weight: float = 1.0
    """How much style counts against content: beta / alpha of Gatys et al."""
    content_layers: tuple[str, ...] = (CONTENT_LAYER,)
    """VGG-19's layers at which content is compared; their mean counts."""
    content_scales: tuple[tuple[int, float], ...] = ((1, 1.0),)
    """(n, weight): content at 1/n of the picture's size. Coarse content holds light, dark and large shapes and leaves
    fine strokes free; fine content holds every edge."""
    style_layers: tuple[str, ...] = STYLE_LAYERS
    style_scales: tuple[int, ...] = (1, 2)
    """n: style at 1/n of the picture's size, summed. The half size sees strokes twice as long for a quarter of the
    price of deeper layers."""
    variation_weight: float = 0.0
    """Of total variation: smooths single pixels."""
    stability_weight: float = 0.0
    """Of `stability_loss`."""
    lattice_weight: float = 0.0
    """Of `lattice_loss`."""
    preserve_color: PreserveColor = "no"
    """Whether pictures keep the photo's colours, and how; see `edgestyle.colors`."""
    color_weight: float = 20.0
    """With "luminance": what squared distance from the photo's chroma costs."""

    def __post_init__(self) -> None:
        for name in ("style_weight", "variation_weight", "stability_weight", "lattice_weight", "color_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if self.preserve_color not in get_args(PreserveColor):
            raise ConfigError(f"preserve_color is {self.preserve_color!r}; one of {', '.join(get_args(PreserveColor))}")
        if not (self.content_layers and self.content_scales and self.style_layers and self.style_scales):
            raise ConfigError("content and style need at least one layer and one scale each")


@dataclass(frozen=True)
class Losses:
    """Losses of a batch, one number a picture. Shapes: (B,) each."""

    content: Tensor
    style: Tensor
    variation: Tensor
    color: Tensor
    """Squared distance from the photo's chroma; 0 unless luminance alone is styled."""


@dataclass(frozen=True)
class Aim:
    """What the pictures of some photos are to have in common with these, and with a painting, by (scale, layer)."""

    features: dict[tuple[int, str], Tensor]
    """(B, C, H, W), for content."""
    grams: dict[tuple[int, str], Tensor]
    """(B, C, C), for style."""


class PerceptualLoss:
    """Compares pictures with their photos and with one painting, or with one of several."""

    def __init__(
        self, network: PerceptualNetwork, paintings: Tensor | Sequence[Tensor], config: LossConfig | None = None
    ) -> None:
        """Measure paintings, (1, 3, H, W) RGB in [0, 1] each, at the size at which their strokes should appear."""
        self.network = network
        self.config = config or LossConfig()
        self.paintings = [paintings] if isinstance(paintings, Tensor) else list(paintings)
        self.targets: dict[tuple[int, str], Tensor] = {}
        """(scale, layer) -> Gram matrices of all paintings, (S, C, C); empty where they depend on the photo."""
        if self.config.preserve_color == "no":
            grams = [self._style_grams(painting) for painting in self.paintings]
            self.targets = {key: torch.cat([gram[key] for gram in grams]) for key in grams[0]}

    def __call__(
        self, pictures: Tensor, photos: Tensor, styles: Tensor | None = None, aim: Aim | None = None
    ) -> Losses:
        """Losses of `pictures` made from `photos`, both (B, 3, H, W) RGB in [0, 1].

        Args:
            pictures: What is judged.
            photos: What it was made from.
            styles: (B, S), which painting each picture is to look like; a blend aims at the blend of their Gram
                matrices. The first painting if None.
            aim: What `self.aim(photos, styles)` gave, for whoever judges many pictures of the same photos.
        """
        config, aim = self.config, aim or self.aim(photos, styles)
        color = pictures.new_zeros(len(pictures))
        variation = total_variation(pictures)
        if config.preserve_color == "luminance":
            color = (chroma(pictures) - chroma(photos)).square().mean((1, 2, 3))
            pictures = luminance(pictures)
        content = style = pictures.new_zeros(len(pictures))
        content_weights = dict(config.content_scales)
        for scale in sorted({*content_weights, *config.style_scales}):
            features = self.network(shrink(pictures, scale), self._layers(scale))
            if scale in content_weights:
                apart = [content_loss(features[layer], aim.features[scale, layer]) for layer in config.content_layers]
                content = content + content_weights[scale] * torch.stack(apart).mean(0)
            for layer in config.style_layers if scale in config.style_scales else ():
                style = style + gram_loss(gram_matrix(features[layer]), aim.grams[scale, layer])
        return Losses(content, style, variation, color)

    @torch.no_grad()
    def aim(self, photos: Tensor, styles: Tensor | None = None) -> Aim:
        """What pictures of some photos are compared with; arguments as of a call."""
        if styles is None:
            styles = F.one_hot(torch.zeros(len(photos), dtype=torch.long), len(self.paintings)).to(photos)
        grams = self._targets(photos, styles)
        if self.config.preserve_color == "luminance":
            photos = luminance(photos)
        layers, features = self.config.content_layers, {}
        for scale, _ in self.config.content_scales:
            found = self.network(shrink(photos, scale), layers)
            features.update({(scale, layer): found[layer] for layer in layers})
        return Aim(features, grams)

    def weighted(self, losses: Losses) -> Tensor:
        """What is minimised, (B,): `alpha content + beta style` with alpha = 1 (Gatys eq. 7), and the other terms."""
        config = self.config
        return (
            losses.content
            + config.style_weight * losses.style
            + config.variation_weight * losses.variation
            + config.color_weight * losses.color
        )

    def learned(self, pictures: Tensor, photos: Tensor, styles: Tensor | None = None) -> Losses:
        """The losses that networks learn from: as of a call, but style counts by the photo's `detail`."""
        losses = self(pictures, photos, styles)
        return replace(losses, style=losses.style * detail(photos))

    def objective(self, pictures: Tensor, photos: Tensor, styles: Tensor | None = None) -> Tensor:
        """What is minimised where pictures are not also moved, (B,), a lattice among it; arguments as of a call."""
        return self.weighted(self.learned(pictures, photos, styles)) + self.config.lattice_weight * lattice_loss(
            pictures
        )

    def _targets(self, photos: Tensor, styles: Tensor) -> dict[tuple[int, str], Tensor]:
        """The Gram matrices that each picture is to have: (scale, layer) -> (B, C, C)."""
        if self.targets:
            return {key: torch.einsum("bs,scd->bcd", styles.to(grams), grams) for key, grams in self.targets.items()}
        rows = [self._recoloured(photo[None], weights) for photo, weights in zip(photos, styles, strict=True)]
        return {key: torch.cat([row[key] for row in rows]) for key in rows[0]}

    @torch.no_grad()
    def _recoloured(self, photo: Tensor, weights: Tensor) -> dict[tuple[int, str], Tensor]:
        """Blended Gram matrices of the paintings in the colours of one photo: (scale, layer) -> (1, C, C)."""
        total: dict[tuple[int, str], Tensor] = {}
        for painting, weight in zip(self.paintings, weights.tolist(), strict=True):
            if weight:
                grams = self._style_grams(match(painting, photo, self.config.preserve_color))
                total = {key: total.get(key, 0) + weight * gram for key, gram in grams.items()}
        return total

    @torch.no_grad()
    def _style_grams(self, painting: Tensor) -> dict[tuple[int, str], Tensor]:
        layers = self.config.style_layers
        features = {scale: self.network(shrink(painting, scale), layers) for scale in self.config.style_scales}
        return {(scale, layer): gram_matrix(found[layer]) for scale, found in features.items() for layer in layers}

    def _layers(self, scale: int) -> Iterable[str]:
        config = self.config
        content = config.content_layers if scale in dict(config.content_scales) else ()
        return dict.fromkeys((*content, *(config.style_layers if scale in config.style_scales else ())))


def shrink(pictures: Tensor, scale: int) -> Tensor:
    """Pictures averaged to 1 / `scale` of their size."""
    return F.avg_pool2d(pictures, scale) if scale > 1 else pictures
