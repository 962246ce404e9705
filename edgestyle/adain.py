"""The adain family: any painting, by two small networks.

A *style encoder* turns a painting into a style code, once; a *transformer* paints photos by that code, on each frame.
Read top to bottom: configuration, encoder, adaptive instance norm, transformer, the pair.

The idea is that of Huang & Belongie 2017 (arXiv:1703.06868): with the mean and deviation of its features replaced, a
photo takes on a style,

    AdaIN(x, code) = scale(code) * (x - mean(x)) / sqrt(var(x) + eps) + shift(code)          (their equation 8)

per channel, mean and var over the picture. There, scale and shift are statistics of VGG-19's features of the painting;
here they are linear functions of a short code, as in Ghiasi et al. 2017 (arXiv:1705.06830), so that no large network
has to run on the phone, and so that one painting can be folded into constants, exactly (`conditional.from_codes`).

All zeros is the code of the photo itself: the transformer has learned to give the photo back for it. So strength is a
factor on a code, and a blend is a weighted sum of codes (`blend`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgestyle.errors import ConfigError
from edgestyle.layers import GREY, InvertedResidual, Stem
from edgestyle.learned import check_ranges


@dataclass(frozen=True)
class TransformerConfig:
    """The numbers that define a transformer, but for the length of its code."""

    width: int = 32
    """Channels at 1/4 of the picture's size."""
    trunk_width: int = 64
    """Channels at 1/8 of the picture's size, where most of the work is done."""
    trunk_blocks: int = 2
    """Residual blocks at 1/8, two plain 3x3 convolutions each, with an adaptive instance norm after each."""
    blocks: int = 1
    """Inverted residuals at 1/4, after the trunk."""
    expansion: int = 2
    """How many times wider the inside of an inverted residual is."""
    fine_norms: bool = False
    """Whether what is made at 1/4 is normalised as well: what each inverted residual adds, and what the head takes."""
    picture_norm: bool = True
    """Whether the lens evens out the photo's colour and contrast; without, it is a `GreyLens`."""

    def __post_init__(self) -> None:
        for name in ("fine_norms", "picture_norm"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be true or false")
        channels, depth = {"width": (8, 256), "trunk_width": (8, 512)}, {"trunk_blocks": (1, 32), "blocks": (0, 32)}
        check_ranges(self, {**channels, **depth, "expansion": (1, 8)})


@dataclass(frozen=True)
class AdaINConfig(TransformerConfig):
    """The numbers that define one pair of networks."""

    code: int = 64
    """Length of a style code."""
    hidden: int = 160
    """Channels between the encoder's statistics and the code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, {"code": (4, 512), "hidden": (8, 1024)})


# Style encoder --------------------------------------------------------------------------------------------------------


def statistics(x: Tensor) -> Tensor:
    """Mean and standard deviation of every channel: what texture is, to a first approximation.

    Summed in two steps, so that no sum in fp16 has more than 1024 terms. A flat picture has the deviation
    `sqrt(eps)`: no division by zero follows, and no infinite gradient.

    Shapes: (B, C, H, W) -> (B, 2 C, 1, 1); H and W multiples of 8.
    """
    eps = 1e-4
    mean = nn.functional.avg_pool2d(x, 8).mean((2, 3), keepdim=True)
    var = nn.functional.avg_pool2d((x - mean).square(), 8).mean((2, 3), keepdim=True)
    return torch.cat([mean, torch.sqrt(var + eps)], 1)


class Separable(nn.Module):
    """A depthwise 3x3 and a 1x1 convolution, ReLU6 after each: the block of MobileNetV1 (arXiv:1704.04861)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(before, before, 3, stride, padding=1, groups=before)
        self.pointwise = nn.Conv2d(before, after, 1)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.pointwise(self.act(self.depthwise(x))))
        return y


class StyleEncoder(nn.Module):
    """Painting in, style code out: the first six layers of MobileNetV1, and the statistics of three of them.

    Shapes: (B, 3, 256, 256) RGB in [0, 1] -> (B, code), each number in (-1, 1). Other sides that are multiples of 64
    work too.
    """

    size = 256
    """Side of the square that a painting is given as."""
    balance: Tensor
    """A factor on each statistic, see `equalise`."""

    def __init__(self, config: AdaINConfig) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1)  # 1/2 of the size
        self.fine = nn.Sequential(Separable(32, 64, 1), Separable(64, 128, 2))  # 1/4
        self.coarse = nn.Sequential(Separable(128, 128, 1), Separable(128, 256, 2), Separable(256, 256, 1))  # 1/8
        self.act = nn.ReLU6()
        self.register_buffer("balance", torch.ones(1, 2 * (32 + 128 + 256), 1, 1))
        self.hidden = nn.Conv2d(self.balance.shape[1], config.hidden, 1)
        self.head = nn.Conv2d(config.hidden, config.code, 1)
        self.middle, self.contrast = 0.45, 4.4  # ImageNet's mean and 1 / deviation, about

    def rescale_photo(self, factor: float) -> None:
        """Make it, in place, take paintings in [0, factor]."""
        self.middle, self.contrast = self.middle * factor, self.contrast / factor

    def features(self, painting: Tensor) -> Tensor:
        """Statistics of the layers, (B, 832, 1, 1)."""
        stem = self.act(self.stem((painting - self.middle) * self.contrast))
        fine = self.fine(stem)
        coarse = self.coarse(fine)
        return torch.cat([statistics(layer) for layer in (stem, fine, coarse)], 1) * self.balance

    def forward(self, painting: Tensor) -> Tensor:
        code: Tensor = self.head(self.act(self.hidden(self.features(painting))))
        return torch.tanh(code).flatten(1)

    @torch.no_grad()
    def equalise(self) -> None:
        """Move what makes the weights of some statistics larger than those of others, in place, into `balance`.

        Exact. A statistic that varies little has weights 300 times as large as others; in 8 bits, with one scale for
        all that makes a hidden channel, nothing is left of the others (equalisation, Nagel et al. 2019,
        arXiv:1906.04721, but within one layer).
        """
        largest = self.hidden.weight.abs().amax(0, keepdim=True).clamp_min(1e-8)
        self.hidden.weight.div_(largest)
        self.balance.mul_(largest)


class PictureNorm(nn.Module):
    """A picture's mean colour and contrast: `mean` and `1 / sqrt(var + eps)`.

    Both are those of a sample: the mean of 2x2 pixels, every 8 pixels both ways. That costs next to nothing and keeps
    sums small enough for fp16: a sum over 512x512 pixels may pass 65504, one over 64x64 samples does not. `var` is one
    number for all channels, so that a colourful picture stays colourful.

    Shapes: (B, 3, H, W) in [0, 1] -> (B, 3, 1, 1), (B, 1, 1, 1); H and W multiples of 8.
    """

    eps = 1e-3  # contrast floor: a flat picture stays flat, and its noise is not blown up more than 32 times

    def sample(self, x: Tensor) -> Tensor:
        """The mean of 2x2 pixels, every 8 pixels both ways. A method, so that a target can have its own form of it."""
        pooled: Tensor = nn.functional.avg_pool2d(x, 2, stride=8)
        return pooled

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        sample = self.sample(x)  # (B, 3, H/8, W/8)
        mean = sample.mean((2, 3), keepdim=True)
        var = (sample - mean).square().mean((2, 3), keepdim=True).mean(1, keepdim=True)
        return mean, torch.rsqrt(var + self.eps)


# Transformer ----------------------------------------------------------------------------------------------------------


class Modulation(nn.Module):
    """A scale and a shift for each channel, linear in the code.

    Shapes: code (B, code, 1, 1) -> two of (B, C, 1, 1).
    """

    def __init__(self, code: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Conv2d(code, channels, 1)
        self.shift = nn.Conv2d(code, channels, 1)
        for conv, start in ((self.scale, 1.0), (self.shift, 0.0)):
            nn.init.normal_(conv.weight, std=0.02)
            nn.init.constant_(conv.bias, start)  # type: ignore[arg-type]

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        return self.scale(code), self.shift(code)

    @classmethod
    @torch.no_grad()
    def holding(cls, scale: Tensor, shift: Tensor, length: int) -> Modulation:
        """One that gives these, (C,) each, for every code of a length."""
        made = cls(length, scale.numel())
        for conv, value in ((made.scale, scale), (made.shift, shift)):
            nn.init.zeros_(conv.weight)
            conv.bias.copy_(value)  # type: ignore[union-attr]
        return made

    @torch.no_grad()
    def hold(self, scales: Tensor, shifts: Tensor) -> None:
        """Give row n of these, (N, C) each, for the one-hot code n, and for a blend the blend."""
        for conv, rows in ((self.scale, scales), (self.shift, shifts)):
            conv.weight.copy_(rows.T[:, :, None, None])
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def mix(self, codes: Tensor) -> None:
        """Take the weights of some codes, (N, code), from now on, in place of a code."""
        for conv in (self.scale, self.shift):
            conv.weight = nn.Parameter((conv.weight[:, :, 0, 0] @ codes.T)[:, :, None, None])
            conv.in_channels = len(codes)


class StyledResidual(nn.Module):
    """Two plain 3x3 convolutions, AdaIN after each, plus the input; ReLU6 between them. (B, C, h, w) -> the same."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.conv1 = AdaptiveNormConv(channels, code)
        self.conv2 = AdaptiveNormConv(channels, code)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        y: Tensor = self.conv2(self.act(self.conv1(x, code)), code)
        return x + y

    def fold(self, code: Tensor) -> None:
        """Move one code's scales and shifts, in place, into the norms."""
        self.conv1.fold(code)
        self.conv2.fold(code)

    def unfold(self, length: int) -> None:
        """Take codes of a length again, in place, for each of which it does the same."""
        self.conv1.unfold(length)
        self.conv2.unfold(length)


class AdaptiveNorm(nn.Module):
    """AdaIN: equation 8, with a scale and a shift that are linear in the code. (B, C, h, w) -> the same."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.modulation: nn.Module | None = Modulation(code, channels)

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        y: Tensor = self.norm(x)
        if self.modulation is None:  # it has been folded
            return y
        scale, shift = self.modulation(code)
        styled: Tensor = y * scale + shift
        return styled

    @torch.no_grad()
    def fold(self, code: Tensor) -> None:
        """Move one code's scale and shift, in place, into the norm."""
        assert self.modulation is not None  # noqa: S101  # for mypy
        scale, shift = self.modulation(code)
        self.norm = nn.InstanceNorm2d(scale.numel(), affine=True)
        self.norm.weight.copy_(scale.flatten())
        self.norm.bias.copy_(shift.flatten())
        self.modulation = None

    def unfold(self, length: int) -> None:
        """Take codes of a length again, in place, for each of which it does the same."""
        scale, shift = self.norm.weight, self.norm.bias
        self.norm, self.modulation = nn.InstanceNorm2d(scale.numel()), Modulation.holding(scale, shift, length)

    @torch.no_grad()
    def hold(self, scales: Tensor, shifts: Tensor) -> None:
        """Scale and shift by row n of these, (N, C) each, in place, for the one-hot code n; folded, by the only row."""
        if isinstance(self.modulation, Modulation):
            self.modulation.hold(scales, shifts)
        else:
            self.norm.weight.copy_(scales[0])
            self.norm.bias.copy_(shifts[0])


class AdaptiveNormConv(AdaptiveNorm):
    """A 3x3 convolution and AdaIN."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__(channels, code)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)  # a norm takes any bias away

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        return super().forward(self.conv(x), code)


class StyledInvertedResidual(InvertedResidual):
    """An inverted residual, scaled and shifted by the code, plus the input: without a norm, feature-wise linear
    modulation (Perez et al. 2018, arXiv:1709.07871). (B, C, h, w) -> the same.
    """

    def __init__(self, channels: int, expansion: int, code: int) -> None:
        super().__init__(channels, expansion)
        self.modulation: nn.Module | None = Modulation(code, channels)

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:  # type: ignore[override]
        y = self.added(x)
        if self.modulation is None:  # it has been folded
            return x + y
        scale, shift = self.modulation(code)
        styled: Tensor = x + (y * scale + shift)
        return styled

    @torch.no_grad()
    def fold(self, code: Tensor) -> None:
        """Move one code's scale and shift, in place, into the last convolution."""
        assert self.modulation is not None  # noqa: S101  # for mypy
        assert self.project.bias is not None  # noqa: S101  # for mypy
        scale, shift = (value.flatten() for value in self.modulation(code))
        self.project.weight.mul_(scale[:, None, None, None])
        self.project.bias.mul_(scale).add_(shift)
        self.modulation = None

    def unfold(self, length: int) -> None:
        """Take codes of a length again, in place, for each of which it does the same."""
        assert self.project.bias is not None  # noqa: S101  # for mypy
        neutral = torch.ones_like(self.project.bias)
        self.modulation = Modulation.holding(neutral, 0 * neutral, length)


class NormedInvertedResidual(InvertedResidual):
    """An inverted residual and AdaIN, plus the input. (B, C, h, w) -> the same."""

    def __init__(self, channels: int, expansion: int, code: int) -> None:
        super().__init__(channels, expansion, bias=False)  # a norm takes any bias away
        self.norm = AdaptiveNorm(channels, code)

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:  # type: ignore[override]
        y: Tensor = self.norm(self.added(x), code)
        return x + y

    def fold(self, code: Tensor) -> None:
        """Move one code's scale and shift, in place, into the norm."""
        self.norm.fold(code)

    def unfold(self, length: int) -> None:
        """Take codes of a length again, in place, for each of which it does the same."""
        self.norm.unfold(length)


class Lens(nn.Module):
    """The photo at 1/4 of its size, seen through the code: between as it is and in an even contrast.

    A stem without bias is linear, so that `PictureNorm` can be applied behind it, where a picture is 1/16 as large, and
    the code can say for each channel how much of it to apply:

        stem(x - mean) * (normed(code) / contrast + plain(code)) + colour(mean - 1/2) * keep(code) + shift(code)

    Attributes:
        middle: What is subtracted from the mean colour: 1/2 for photos in [0, 1].
        plain: A factor on the photo as it is: 1 for photos in [0, 1].

    Shapes: photo (B, 3, H, W) in [0, 1], code (B, code, 1, 1) -> (B, C, H/4, W/4).
    """

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.norm = PictureNorm()
        self.stem = Stem(channels, bias=False)
        self.colour = nn.Conv2d(3, channels, 1, bias=False)
        self.gains = Modulation(code, channels)
        self.colours = Modulation(code, channels)
        self.middle, self.plain = 0.5, 1.0

    @torch.no_grad()
    def rescale_photo(self, factor: float) -> None:
        """Make it, in place, take photos in [0, factor]."""
        self.norm.eps *= factor**2
        self.middle *= factor
        self.plain /= factor
        self.colour.weight.div_(factor)

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        mean, scale = self.norm(x)  # (B, 3, 1, 1), (B, 1, 1, 1)
        normed, plain = self.gains(code)
        keep, shift = self.colours(code)
        if self.plain != 1:  # no operation where there is nothing to do
            plain = plain * self.plain
        colour: Tensor = self.colour(mean - self.middle) * keep + shift
        # Minus, not plus: of constants coremltools 9 makes `x * a + b` a batch norm, whose one channel `scale` has not.
        gain: Tensor = normed * scale - (-plain)
        fine: Tensor = self.stem(x, mean)
        return fine * gain + colour


class FixedLens(nn.Module):
    """A `Lens` at one code: `stem(x - mean) * (normed / contrast + plain) + colour(mean)`."""

    @torch.no_grad()
    def __init__(self, lens: Lens, code: Tensor) -> None:
        super().__init__()
        self.norm, self.stem = copy.deepcopy(lens.norm), copy.deepcopy(lens.stem)
        (normed, plain), (keep, shift) = lens.gains(code), lens.colours(code)
        self.normed, self.minus_plain = nn.Parameter(normed), nn.Parameter(-plain * lens.plain)
        self.colour = nn.Conv2d(3, normed.shape[1], 1)
        weight, bias = lens.colour.weight * keep.transpose(0, 1), self.colour.bias
        assert bias is not None  # noqa: S101  # for mypy
        self.colour.weight.copy_(weight)
        bias.copy_(shift.flatten() - lens.middle * weight.sum((1, 2, 3)))

    @torch.no_grad()
    def rescale_photo(self, factor: float) -> None:
        """Make it, in place, take photos in [0, factor]."""
        self.norm.eps *= factor**2
        self.minus_plain.div_(factor)
        self.colour.weight.div_(factor)

    def forward(self, x: Tensor, _: Tensor | None) -> Tensor:
        mean, scale = self.norm(x)
        colour: Tensor = self.colour(mean)
        fine: Tensor = self.stem(x, mean) * (self.normed * scale - self.minus_plain)
        return fine + colour

    @torch.no_grad()
    def unfolded(self, length: int) -> Lens:
        """A lens that does the same for every code of a length."""
        lens, bias = Lens(self.normed.shape[1], length), self.colour.bias
        assert bias is not None  # noqa: S101  # for mypy
        lens.norm, lens.stem = copy.deepcopy(self.norm), copy.deepcopy(self.stem)
        lens.colour.weight.copy_(self.colour.weight)
        lens.gains = Modulation.holding(self.normed.flatten(), -self.minus_plain.flatten(), length)
        shift = bias + lens.middle * self.colour.weight.sum((1, 2, 3))
        lens.colours = Modulation.holding(torch.ones_like(bias), shift, length)
        return lens


class GreyLens(nn.Module):
    """The photo at 1/4 of its size, less grey, whatever the code: the norms behind it even its contrast out.

    Nothing is lost on the way into integers: 8-bit photos less one of their own levels are integers, and the stem is
    the only layer that rounds. A `Lens` rounds four times, where a night sky is made of the last bits.

    Shapes: photo (B, 3, H, W) in [0, 1] -> (B, C, H/4, W/4).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = Stem(channels, bias=True)
        self.grey = GREY

    @torch.no_grad()
    def rescale_photo(self, factor: float) -> None:
        """Make it, in place, take photos in [0, factor]."""
        self.grey *= factor
        self.stem.weight.div_(factor)

    def forward(self, x: Tensor, _: Tensor | None) -> Tensor:
        fine: Tensor = self.stem(x, self.grey)
        return fine


class Transformer(nn.Module):
    """Photo and style code in, painting out.

    Shapes: (B, 3, H, W) RGB in [0, 1] and (B, code) in [-1, 1] -> (B, 3, H, W); H and W multiples of `stride`, one of
    them larger.
    """

    stride = 8

    def __init__(self, config: TransformerConfig, code: int) -> None:
        super().__init__()
        self.config = config
        c, t, e = config.width, config.trunk_width, config.expansion
        self.lens: Lens | FixedLens | GreyLens = Lens(c, code) if config.picture_norm else GreyLens(c)
        self.down = nn.Conv2d(c, t, 3, stride=2, padding=1)
        self.trunk = nn.ModuleList(StyledResidual(t, code) for _ in range(config.trunk_blocks))
        self.up = nn.Conv2d(t, 4 * c, 1)
        self.up_shuffle = nn.PixelShuffle(2)
        finish = NormedInvertedResidual if config.fine_norms else StyledInvertedResidual
        self.finish = nn.ModuleList(finish(c, e, code) for _ in range(config.blocks))
        self.head_depthwise = nn.Conv2d(c, c, 3, padding=1, groups=c, bias=not config.fine_norms)
        self.head_norm = AdaptiveNorm(c, code) if config.fine_norms else None
        self.head = nn.Conv2d(c, 3 * 4 * 4, 1)
        self.head_shuffle = nn.PixelShuffle(4)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return self.paint(x, code[:, :, None, None])

    def paint(self, x: Tensor, code: Tensor | None) -> Tensor:
        """The painting, by a code (B, code, 1, 1); by None where every use of the code has been folded."""
        fine = self.lens(x, code)  # (B, c, H/4, W/4); linear, so that nothing of the photo is lost on the short way
        coarse = self.act(self.down(fine))  # (B, t, H/8, W/8)
        for block in self.trunk:
            coarse = block(coarse, code)
        y = fine + self.up_shuffle(self.up(coarse))  # (B, c, H/4, W/4)
        for block in self.finish:
            y = block(y, code)
        y = self.head_depthwise(y)
        if self.head_norm is not None:
            y = self.head_norm(y, code)
        picture: Tensor = self.head_shuffle(torch.sigmoid(self.head(y)))  # (B, 48, H/4, W/4) -> (B, 3, H, W)
        return picture

    def _styled(self) -> list[Any]:
        """What takes a code, but for the lens."""
        return [*self.trunk, *self.finish, *([] if self.head_norm is None else [self.head_norm])]

    def fold(self, code: Tensor) -> None:
        """Make it, in place, one of the style of a code (1, code) alone: exact, and as much less work as the code was.

        Everything that the code is used for is linear in it and per channel, so it becomes the weights of instance
        norms and of convolutions.
        """
        column = code[:, :, None, None]
        for block in self._styled():
            block.fold(column)
        if isinstance(self.lens, Lens):
            self.lens = FixedLens(self.lens, column)

    def unfold(self, length: int) -> None:
        """Make one style alone, in place, that of every code of a length: where training begins to tell them apart."""
        for block in self._styled():
            block.unfold(length)
        if isinstance(self.lens, FixedLens):
            self.lens = self.lens.unfolded(length)


class AdaIN(nn.Module):
    """Both networks."""

    def __init__(self, config: AdaINConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AdaINConfig()
        self.encoder = StyleEncoder(config)
        self.transformer = Transformer(config, config.code)

    def forward(self, photo: Tensor, painting: Tensor) -> Tensor:
        """(B, 3, H, W) and (B, 3, 256, 256), RGB in [0, 1] -> (B, 3, H, W)."""
        picture: Tensor = self.transformer(photo, self.encoder(painting))
        return picture


class AtCode(nn.Module):
    """A network at one code or style vector, for what watches networks of a single picture. It is not copied."""

    def __init__(self, net: nn.Module, code: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("code", torch.tensor([code]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        picture: Tensor = self.net(x, self.code)
        return picture
