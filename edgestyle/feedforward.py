"""The feed-forward family: one small network a painting, built to be cheap on phones.

Read top to bottom: configuration, blocks, network, deploy form.

The shape follows what mobile runtimes are good at. All the work happens at 1/4 and 1/8 of the picture's size, in
inverted residuals (Sandler et al. 2018, MobileNetV2, arXiv:1801.04381), and pixel shuffles (Shi et al. 2016,
arXiv:1609.05158) bring it back. Instance norm teaches well but costs two passes over its input, so it stands only where
that is small: at 1/8, once a block. At full size the picture is normalised once, by its mean colour and contrast
(`PictureNorm`), and training starts from weights that give every channel unit variance
(`edgestyle.training.initialisation`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgestyle.errors import ConfigError


@dataclass(frozen=True)
class FeedForwardConfig:
    """The numbers that define one feed-forward network."""

    width: int = 32
    """Channels at 1/4 of the picture's size."""
    trunk_width: int = 64
    """Channels at 1/8 of the picture's size, where most of the work is done."""
    trunk_blocks: int = 7
    """Inverted residuals at 1/8."""
    trunk_norms: bool = True
    """Whether each of them has an instance norm."""
    blocks: int = 1
    """Inverted residuals at 1/4, after the trunk."""
    expansion: int = 2
    """How many times wider the inside of an inverted residual is."""

    def __post_init__(self) -> None:
        if not isinstance(self.trunk_norms, bool):
            raise ConfigError(f"trunk_norms is {self.trunk_norms!r}; it must be true or false")
        for name, low, high in (
            ("width", 8, 256),
            ("trunk_width", 8, 512),
            ("trunk_blocks", 1, 32),
            ("blocks", 0, 32),
            ("expansion", 1, 8),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")


class PictureNorm(nn.Module):
    """Subtract the picture's mean colour and divide by its contrast: `(x - mean) / sqrt(var + eps)`.

    Both statistics are those of a sample: the mean of 2x2 pixels, every 8 pixels both ways. That costs next to nothing
    and keeps sums small enough for fp16: a sum over 512x512 pixels may pass 65504, one over 64x64 samples does not.
    `var` is one number for all channels, so that a colourful picture stays colourful.

    Shapes: (B, 3, H, W) in [0, 1] -> (B, 3, H, W); H and W multiples of 8.
    """

    eps = 1e-3  # contrast floor: a flat picture stays flat, and its noise is not blown up more than 32 times

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean colour (B, 3, 1, 1) and 1 / contrast (B, 1, 1, 1) of pictures (B, 3, H, W)."""
        sample: Tensor = nn.functional.avg_pool2d(x, 2, stride=8)  # (B, 3, H/8, W/8)
        mean = sample.mean((2, 3), keepdim=True)  # (B, 3, 1, 1)
        var = (sample - mean).square().mean((2, 3), keepdim=True).mean(1, keepdim=True)  # (B, 1, 1, 1)
        return mean, torch.rsqrt(var + self.eps)

    def forward(self, x: Tensor) -> Tensor:
        mean, scale = self.statistics(x)
        return (x - mean) * scale


class InvertedResidual(nn.Module):
    """1x1 expand, 3x3 depthwise, 1x1 project, plus the input. ReLU6 keeps activation ranges known for int8.

    With `normed`, an instance norm (Ulyanov et al. 2016, arXiv:1607.08022) stands before the sum.
    """

    def __init__(self, channels: int, expansion: int, normed: bool) -> None:
        super().__init__()
        inside = channels * expansion
        self.expand = nn.Conv2d(channels, inside, 1)
        self.depthwise = nn.Conv2d(inside, inside, 3, padding=1, groups=inside)
        self.project = nn.Conv2d(inside, channels, 1)
        self.norm = nn.InstanceNorm2d(channels, affine=True) if normed else nn.Identity()
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.expand(x))  # (B, expansion C, h, w)
        y = self.act(self.depthwise(y))
        y = self.norm(self.project(y))  # (B, C, h, w)
        return x + y


class FeedForward(nn.Module):
    """Photo in, painting out.

    Shapes: (B, 3, H, W) RGB in [0, 1] -> the same; H and W multiples of `stride`, one of them larger.
    """

    stride = 8

    def __init__(self, config: FeedForwardConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FeedForwardConfig()
        c, t = config.width, config.trunk_width

        def residuals(channels: int, count: int, normed: bool) -> nn.Sequential:
            return nn.Sequential(*(InvertedResidual(channels, config.expansion, normed) for _ in range(count)))

        self.norm = PictureNorm()
        self.stem = nn.Conv2d(3, c, 8, stride=4, padding=2)
        self.down = nn.Conv2d(c, t, 3, stride=2, padding=1)
        self.trunk = residuals(t, config.trunk_blocks, normed=config.trunk_norms)
        self.up = nn.Conv2d(t, 4 * c, 1)
        self.up_shuffle = nn.PixelShuffle(2)
        self.finish = residuals(c, config.blocks, normed=False)
        self.head_depthwise = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.head = nn.Conv2d(c, 3 * 4 * 4, 1)
        self.head_shuffle = nn.PixelShuffle(4)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        fine = self.stem(
            self.norm(x)
        )  # (B, c, H/4, W/4); linear, so that nothing of the photo is lost on the short way
        coarse = self.trunk(self.act(self.down(fine)))  # (B, t, H/8, W/8)
        y = self.finish(fine + self.up_shuffle(self.up(coarse)))  # (B, c, H/4, W/4)
        y = self.head(self.head_depthwise(y))  # (B, 48, H/4, W/4)
        picture: Tensor = self.head_shuffle(torch.sigmoid(y))  # (B, 3, H, W)
        return picture


def deploy(net: FeedForward) -> FeedForward:
    """The form that is saved and exported: a frozen copy in evaluation mode, its weights in the default memory layout.

    Instance norms need the picture and stay. What one target alone wants of a graph (its *dialect*) is in that target's
    own file.
    """
    return copy.deepcopy(net).eval().requires_grad_(False).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]
