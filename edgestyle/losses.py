"""Content, style and smoothness, as numbers.

The losses are those of Gatys et al. 2016 (CVPR, "Image Style Transfer Using Convolutional Neural Networks") as Johnson
et al. 2016 (arXiv:1603.08155) train networks with them, each divided by its own scale so that one set of weights does
for most paintings: 0 is perfect, 1 is as far as showing nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from edgestyle.perceptual import PerceptualNetwork

CONTENT_LAYER = "relu3_3"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")


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
    return (features - photo).square().mean((1, 2, 3)) / photo.square().mean((1, 2, 3))


def gram_loss(gram: Tensor, target: Tensor) -> Tensor:
    """Squared Gram distance over the painting's own: `|G - A|^2 / |A|^2` (Gatys eq. 4, normalised). (B,)"""
    return (gram - target).square().sum((1, 2)) / target.square().sum((1, 2))


def total_variation(x: Tensor) -> Tensor:
    """Mean squared step between neighbours, both ways. (B, C, H, W) -> (B,)"""
    down = (x[:, :, 1:] - x[:, :, :-1]).square().mean((1, 2, 3))
    across = (x[:, :, :, 1:] - x[:, :, :, :-1]).square().mean((1, 2, 3))
    return down + across


@dataclass(frozen=True)
class Losses:
    """Losses of a batch, one number a picture. Shapes: (B,) each."""

    content: Tensor
    style: Tensor
    variation: Tensor


class PerceptualLoss:
    """Compares pictures with their photos and with one painting.

    Style is summed over four layers and two scales: the picture as it is and averaged to half its size, which sees
    strokes twice as long for a quarter of the price of deeper layers.
    """

    def __init__(self, network: PerceptualNetwork, painting: Tensor) -> None:
        """Measure `painting`, (1, 3, H, W) RGB in [0, 1], at the size at which its strokes should appear."""
        self.network = network
        with torch.no_grad():
            self.targets = [gram_matrix(f) for scale in (1, 2) for f in self._style_features(painting, scale)]

    def __call__(self, pictures: Tensor, photos: Tensor) -> Losses:
        """Losses of `pictures` made from `photos`, both (B, 3, H, W) RGB in [0, 1]."""
        with torch.no_grad():
            photo = self.network(photos, (CONTENT_LAYER,))[CONTENT_LAYER]
        features = self.network(pictures, (*STYLE_LAYERS, CONTENT_LAYER))
        measured = [features[layer] for layer in STYLE_LAYERS] + self._style_features(pictures, 2)
        pairs = zip(measured, self.targets, strict=True)
        style = torch.stack([gram_loss(gram_matrix(f), target) for f, target in pairs]).sum(0)
        return Losses(content_loss(features[CONTENT_LAYER], photo), style, total_variation(pictures))

    def _style_features(self, pictures: Tensor, scale: int) -> list[Tensor]:
        """Features of every style layer, of pictures averaged to 1 / `scale` of their size."""
        features = self.network(F.avg_pool2d(pictures, scale) if scale > 1 else pictures, STYLE_LAYERS)
        return [features[layer] for layer in STYLE_LAYERS]
