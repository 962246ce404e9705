"""The feed-forward family: one small network for one painting or several, built to be cheap on phones.

Read top to bottom: configuration, blocks, network.

The shape follows what mobile runtimes are good at. All the work happens at 1/4 and 1/8 of the picture's size, most of
it in plain 3x3 convolutions at 1/8, which phones and their int8 units run near their peak; pixel shuffles (Shi et al.
2016, arXiv:1609.05158) bring the picture back. There is no norm at run time. What instance norm gives a style network,
a view of the *whole* picture in each layer, comes from `PictureCode`: a few dozen numbers, from which `Film` computes a
scale and a shift for each channel. Means of ReLU6 are safe in fp16 and int8 at any size, which the variances of an
instance norm are not.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from edgestyle.layers import GREY, InvertedResidual, Stem
from edgestyle.learned import Learned, LearnedConfig, check_ranges


@dataclass(frozen=True)
class FeedForwardConfig(LearnedConfig):
    """The numbers that define one feed-forward network."""

    width: int = 32
    """Channels at 1/4 of the picture's size."""
    trunk_width: int = 64
    """Channels at 1/8 of the picture's size, where most of the work is done."""
    trunk_blocks: int = 2
    """Residual blocks at 1/8, two plain 3x3 convolutions each."""
    blocks: int = 1
    """Inverted residuals at 1/4, after the trunk."""
    expansion: int = 2
    """How many times wider the inside of an inverted residual is."""
    code: int = 32
    """Length of the code that says what the picture as a whole looks like."""

    def __post_init__(self) -> None:
        channels, depth = {"width": (8, 256), "trunk_width": (8, 512)}, {"trunk_blocks": (1, 32), "blocks": (0, 32)}
        check_ranges(self, {**channels, **depth, "expansion": (1, 8), "code": (4, 256), "styles": (1, 1024)})

    def build(self) -> FeedForward:
        return FeedForward(self)


class PictureCode(nn.Module):
    """What a picture as a whole looks like: the mean of each channel, and what a small layer makes of it.

    The squeeze of Hu et al. 2018 (arXiv:1709.01507). The mean is taken one axis at a time, so that no sum passes what
    fp16 holds, at any size. With several paintings, the style vector is a second part of the same small layer's input,
    as one-hot vectors choose the norms of Dumoulin et al. 2017 (arXiv:1610.07629); a blend of vectors blends styles.

    Shapes: features (B, C, h, w), style (B, S, 1, 1) or None -> (B, length, 1, 1) in [0, 6].
    """

    def __init__(self, channels: int, length: int, styles: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, length, 1)
        self.style = nn.Conv2d(styles, length, 1, bias=False) if styles > 1 else None
        self.act = nn.ReLU6()

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y = self.squeeze(x.mean(3, keepdim=True).mean(2, keepdim=True))
        if self.style is not None:
            y = y + self.style(style)
        code: Tensor = self.act(y)
        return code


def from_code(length: int, channels: int, start: float) -> nn.Conv2d:
    """A layer from codes to one number a channel, all of which begin near to `start`."""
    layer = nn.Conv2d(length, channels, 1)
    nn.init.normal_(layer.weight, std=0.04 / length**0.5)
    nn.init.constant_(layer.bias, start)  # type: ignore[arg-type]  # it has a bias
    return layer


class Film(nn.Module):
    """Feature-wise linear modulation (Perez et al. 2018, arXiv:1709.07871): `scale(code) * x + shift(code)`.

    It begins near to `x` itself. Shapes: features (B, C, h, w), code (B, length, 1, 1) -> (B, C, h, w).
    """

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.scale = from_code(length, channels, start=1)
        self.shift = from_code(length, channels, start=0)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y: Tensor = x * self.scale(code) + self.shift(code)
        return y


class Residual(nn.Module):
    """Two 3x3 convolutions, the first modulated by the picture's code, plus the input. (B, C, h, w) -> the same."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)  # the shift is its bias
        self.film = Film(channels, length)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.act(self.film(self.conv1(x), code)))
        return x + y


class FeedForward(Learned):
    """See `edgestyle.learned.Learned`."""

    family = "feedforward"
    config: FeedForwardConfig
    grey = GREY

    def __init__(self, config: FeedForwardConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FeedForwardConfig()
        c, t, length = config.width, config.trunk_width, config.code

        self.stem = Stem(c, bias=True)
        self.down = nn.Conv2d(c, t, 3, stride=2, padding=1)
        self.picture_code = PictureCode(t, length, config.styles)
        self.film = Film(t, length)
        self.trunk = nn.ModuleList(Residual(t, length) for _ in range(config.trunk_blocks))
        self.up = nn.Conv2d(t, 4 * c, 1)
        self.up_shuffle = nn.PixelShuffle(2)
        self.skip = from_code(length, c, start=1)
        self.finish = nn.Sequential(*(InvertedResidual(c, config.expansion) for _ in range(config.blocks)))
        self.head_depthwise = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.head = nn.Conv2d(c, 3 * 4 * 4, 1)
        self.head_shuffle = nn.PixelShuffle(4)
        self.act = nn.ReLU6()

    @torch.no_grad()
    def rescale_photo(self, factor: float) -> None:
        """Make it, in place, take photos in [0, factor]."""
        self.grey *= factor
        self.stem.weight.div_(factor)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        if style is not None:
            style = style[:, :, None, None]  # (B, styles, 1, 1)
        fine = self.stem(x, self.grey)  # (B, c, H/4, W/4); linear: nothing of the photo is lost on the short way
        coarse = self.down(fine)  # (B, t, H/8, W/8)
        code = self.picture_code(self.act(coarse), style)  # (B, code, 1, 1)
        coarse = self.act(self.film(coarse, code))
        for block in self.trunk:
            coarse = block(coarse, code)
        y = self.finish(fine * self.skip(code) + self.up_shuffle(self.up(coarse)))  # (B, c, H/4, W/4)
        y = self.head(self.head_depthwise(y))  # (B, 48, H/4, W/4)
        picture: Tensor = self.head_shuffle(torch.sigmoid(y))  # (B, 3, H, W)
        return picture

    def _folded(self, style: Tensor) -> FeedForward:
        state = copy.deepcopy(self.state_dict())
        code = nn.functional.conv2d(style[:, :, None, None], state.pop("picture_code.style.weight"))
        state["picture_code.squeeze.bias"] += code.flatten()
        single = FeedForward(replace(self.config, styles=1))
        single.load_state_dict(state)
        return single

    def _unfolded(self, styles: int) -> FeedForward:
        many = FeedForward(replace(self.config, styles=styles))
        many.load_state_dict(self.state_dict(), strict=False)  # what it lacks are the weights of the style vector
        return many
