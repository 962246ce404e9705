"""One picture optimised by itself, as in Gatys et al. 2016 (CVPR, "Image Style Transfer Using Convolutional Neural
Networks").

Slow, minutes a picture, and with no network to deploy: the reference that trained networks are held against, by the
same losses. L-BFGS as in the paper; first at half the size, then at the whole (Gatys et al. 2017, arXiv:1611.07865,
section 6): large shapes and long strokes are found where they are cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from edgestyle import colors, images, precision
from edgestyle.errors import CheckError, ConfigError
from edgestyle.images import Image
from edgestyle.losses import LossConfig, PerceptualLoss
from edgestyle.perceptual import PerceptualNetwork

SMALLEST = 32
"""Short side in pixels of what can be optimised: the features of relu3 are an eighth of its half."""
_CHUNK = 10
"""Iterations between two reports."""
_HISTORY = 20
_RANGE_WEIGHT = 300.0
"""Of the squared distance from what can be shown. Without it a picture goes beyond black and white, which is cut off in
the end: The Great Wave at 256x256 then had 1.6 times the loss that it ended with."""


@dataclass(frozen=True)
class OptimizeConfig:
    """How to optimise."""

    loss: LossConfig = field(default_factory=LossConfig)
    iterations: int = 300
    """Of L-BFGS, in all; a third of them at half the size."""

    def __post_init__(self) -> None:
        if not 1 <= self.iterations <= 100_000:
            raise ConfigError(f"iterations is {self.iterations}; it must be from 1 to 100000")


@dataclass(frozen=True)
class Step:
    """Where an optimisation is."""

    iteration: int
    content: float
    style: float
    picture: Tensor
    """(1, 3, H, W) in [0, 1]; at half the photo's size in the first third."""


def optimize(
    photo: Tensor, painting: Tensor, network: PerceptualNetwork, config: OptimizeConfig | None = None
) -> Iterator[Step]:
    """Paint a photo in the style of a painting, beginning at the photo.

    Args:
        photo: (1, 3, H, W) RGB in [0, 1], sides even, at least `SMALLEST` pixels.
        painting: (1, 3, h, w), at the size at which its strokes should appear.
        network: Compares pictures.
        config: How.

    Yields:
        The state after every few iterations; the last is the result.

    Raises:
        CheckError: The loss is not finite.
    """
    config = config or OptimizeConfig()
    coarse = config.iterations // 3
    start, done = F.avg_pool2d(photo, 2), 0
    for scale, iterations in ((2, coarse), (1, config.iterations - coarse)):
        aim = F.avg_pool2d(photo, scale) if scale > 1 else photo
        loss = PerceptualLoss(network, F.avg_pool2d(painting, scale) if scale > 1 else painting, config.loss)
        if iterations and start.shape != aim.shape:
            start = F.interpolate(start, aim.shape[2:], mode="bilinear", align_corners=False) if done else aim
        for step in _descend(start, aim, loss, iterations) if iterations else ():
            start = step.picture
            yield Step(done + step.iteration, step.content, step.style, _finish(start, aim, config.loss))
        done += iterations


def _descend(start: Tensor, photo: Tensor, loss: PerceptualLoss, iterations: int) -> Iterator[Step]:
    """L-BFGS at one size; pictures are as the optimiser has them, colours just beyond black and white included."""
    x = start.detach().clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([x], history_size=_HISTORY, line_search_fn="strong_wolfe", tolerance_change=0.0)
    seen = [0.0, 0.0]
    with precision.autocast():
        aim = loss.aim(photo)  # once: it does not change with the picture

    def closure() -> Tensor:
        optimizer.zero_grad()
        with precision.autocast():
            losses = loss(x, photo, aim=aim)
        beyond = (x - x.clamp(0, 1)).square().mean()
        total = loss.weighted(losses).sum() + _RANGE_WEIGHT * beyond
        total.backward()  # type: ignore[no-untyped-call]
        seen[:] = losses.content.item(), losses.style.item()
        return total

    for first in range(0, iterations, _CHUNK):
        optimizer.param_groups[0]["max_iter"] = min(_CHUNK, iterations - first)
        optimizer.param_groups[0]["max_eval"] = 4 * _CHUNK
        optimizer.step(closure)  # type: ignore[no-untyped-call]
        if not x.isfinite().all():
            raise CheckError(f"the optimisation broke down after {first} iterations; try a smaller --style-weight")
        content, style = seen
        yield Step(min(first + _CHUNK, iterations), content, style, x.detach().clone())


def _finish(picture: Tensor, photo: Tensor, config: LossConfig) -> Tensor:
    """Within what can be shown; with luminance alone styled, exactly in the photo's colours."""
    shown = picture.clamp(0, 1)
    return colors.recombine(shown, photo) if config.preserve_color == "luminance" else shown


# As a painter ---------------------------------------------------------------------------------------------------------


Report: TypeAlias = Callable[[Step], None]


@dataclass(frozen=True)
class OptimizingPainter:
    """Gatys' method where a network would be: see `edgestyle.stylize.Painter`."""

    name: str
    painting: Tensor
    """(1, 3, h, w), at the size at which its strokes should appear."""
    network: PerceptualNetwork
    config: OptimizeConfig
    report: Report
    delegate: str = "torch"
    size: None = None

    def paint(self, photo: Image) -> Image:
        """The picture; after Ctrl-C, what there is by then."""
        padded, window = images.pad_to_multiple(photo, SMALLEST)
        picture = padded
        with suppress(KeyboardInterrupt):  # who called finds it among the signals that have come
            for step in optimize(torch.from_numpy(padded), self.painting, self.network, self.config):
                self.report(step)
                picture = step.picture.numpy()
        return window.crop(images.resize(picture, (padded.shape[2], padded.shape[3])))
