"""The network in ops that LiteRT runs well."""

from __future__ import annotations

import copy
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from edgestyle.adain import PictureNorm
from edgestyle.layers import Stem

Net = TypeVar("Net", bound=nn.Module)


def dialect(net: Net) -> Net:
    """A copy of `net` that computes the same in ops that LiteRT runs well, all of them in one piece on every delegate.

    - A pixel shuffle is one DEPTH_TO_SPACE, not four TRANSPOSE and three RESHAPE. The convolution before it is given
      the channel order of that op; only pointwise ops stand between the two.
    - The stem is a SPACE_TO_DEPTH and half as large a convolution: integer kernels take channels in eights, and three
      left five of each idle. An int8 file's stem takes a quarter to two thirds of the time.
    - The sampling of the picture's mean is a depthwise convolution: XNNPACK refuses pooling whose stride is larger than
      its window, and LiteRT's own kernel for it takes a seventh of the whole network's time.
    - An instance norm is written out: the converter puts torch's own between two TRANSPOSE.
    """
    net = copy.deepcopy(net)
    for convolution, shuffle in (("up", "up_shuffle"), ("head", "head_shuffle")):
        if not hasattr(net, shuffle):
            continue
        block = getattr(net, shuffle).upscale_factor
        _order_rows_first(getattr(net, convolution), block)
        setattr(net, shuffle, DepthToSpace(block))
    for parent in list(net.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, Stem):
                setattr(parent, name, StemByDepth(module))
            elif isinstance(module, PictureNorm):
                setattr(parent, name, SampledByConvolution(module))
            elif isinstance(module, nn.InstanceNorm2d):
                setattr(parent, name, MeanNorm(module))
    return net


def _order_rows_first(convolution: nn.Conv2d, block: int) -> None:
    """Reorder output channels from torch's (colour, row, column) to TFLite's (row, column, colour)."""
    for parameter in (convolution.weight, convolution.bias):
        assert parameter is not None  # noqa: S101  # for mypy: all our convolutions have a bias
        colours = parameter.data.view(-1, block * block, *parameter.shape[1:])  # (colour, row and column, ...)
        parameter.data = colours.transpose(0, 1).reshape(parameter.shape)


class SampledByConvolution(PictureNorm):
    """A picture norm whose average pooling is a depthwise convolution."""

    def __init__(self, norm: PictureNorm) -> None:
        super().__init__()
        self.eps = norm.eps

    def sample(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        weight = x.new_full((channels, 1, 2, 2), 1 / 4)
        return nn.functional.conv2d(x, weight, stride=8, groups=channels)


class ChannelLast(nn.Module):
    """A network with pictures (B, H, W, 3) at both ends, as mobile runtimes keep them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, *code: Tensor) -> Tensor:
        made: Tensor = self.net(image.permute(0, 3, 1, 2), *code)
        return made.permute(0, 2, 3, 1) if made.ndim == 4 else made  # a style encoder makes a code


class MeanNorm(nn.Module):
    """Instance norm by means, on (B, C, H, W)."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.eps = norm.eps
        for name in ("weight", "bias"):  # None where what comes after scales and shifts
            value = getattr(norm, name)
            self.register_buffer(name, None if value is None else value.detach().view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - _mean(x)
        scale = torch.rsqrt(_mean(centred.square()) + self.eps)
        if self.weight is None or self.bias is None:
            return centred * scale
        return centred * (self.weight * scale) + self.bias


def _mean(x: Tensor) -> Tensor:
    """Mean over each channel, one axis at a time: shorter sums for devices that add in fp16. (B, C, 1, 1)"""
    return x.mean(3, keepdim=True).mean(2, keepdim=True)


class StemByDepth(nn.Module):
    """A stem on the photo with each 2x2 pixels as one of twelve channels: a 4x4 convolution with a stride of 2."""

    block = 2

    def __init__(self, stem: Stem) -> None:
        super().__init__()
        side, stride = (n // self.block for n in (stem.kernel_size[0], stem.stride[0]))
        padding = int(stem.padding[0]) // self.block
        self.conv = nn.Conv2d(3 * self.block**2, stem.out_channels, side, stride, padding, bias=stem.bias is not None)
        # (out, colour, y, row, x, column) -> (out, row, column, colour, y, x), as SPACE_TO_DEPTH orders channels
        taps = stem.weight.detach().view(-1, 3, side, self.block, side, self.block).permute(0, 3, 5, 1, 2, 4)
        self.conv.weight.data = taps.reshape(self.conv.weight.shape)
        self.conv.bias = stem.bias

    def forward(self, x: Tensor, middle: Tensor | float) -> Tensor:
        if isinstance(middle, Tensor):
            middle = torch.cat([middle] * self.block**2, 1)
        y: Tensor = _space_to_depth(x.permute(0, 2, 3, 1), self.block).permute(0, 3, 1, 2)
        picture: Tensor = self.conv(y - middle)
        return picture


@torch.library.custom_op("edgestyle::space_to_depth", mutates_args=())
def _space_to_depth(x: Tensor, block: int) -> Tensor:
    """(B, H, W, C) -> (B, H / block, W / block, block * block * C), channels in the order (row, column, C)."""
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // block, block, width // block, block, channels).transpose(2, 3)
    return blocks.reshape(batch, height // block, width // block, -1).clone()


@_space_to_depth.register_fake
def _(x: Tensor, block: int) -> Tensor:
    batch, height, width, channels = x.shape
    return x.new_empty(batch, height // block, width // block, channels * block**2)


class DepthToSpace(nn.Module):
    """TFLite's DEPTH_TO_SPACE on (B, block * block * C, H, W) -> (B, C, block * H, block * W)."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _depth_to_space(x.permute(0, 2, 3, 1), self.block)
        return y.permute(0, 3, 1, 2)


@torch.library.custom_op("edgestyle::depth_to_space", mutates_args=())
def _depth_to_space(x: Tensor, block: int) -> Tensor:
    """(B, H, W, block * block * C) -> (B, block * H, block * W, C), channels in the order (row, column, C).

    An op of its own, so that it can have a lowering of its own.
    """
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height, width, block, block, channels // block**2).transpose(2, 3)
    return blocks.reshape(batch, height * block, width * block, -1).clone()


@_depth_to_space.register_fake
def _(x: Tensor, block: int) -> Tensor:
    batch, height, width, channels = x.shape
    return x.new_empty(batch, height * block, width * block, channels // block**2)


@cache
def register_lowerings() -> None:
    """Tell litert-torch that `edgestyle::depth_to_space` and `space_to_depth` are TFLite's ops of those names."""
    from litert_converter.mlir import ir
    from litert_converter.mlir.dialects import stablehlo
    from litert_torch.backend.lowerings import registry, utils

    def lower(op: str, context: Any, x: Any, block: int) -> Any:
        block_size = ir.IntegerAttr.get(ir.IntegerType.get_signless(32), block)
        return stablehlo.custom_call(  # the converter turns a call of this name into the op itself
            result=utils.node_meta_to_ir_types(context.node),
            inputs=[x],
            call_target_name=ir.StringAttr.get(f"tfl.{op}"),
            has_side_effect=ir.BoolAttr.get(False),
            backend_config=ir.StringAttr.get(str(ir.DictAttr.get({"block_size": block_size}))),
        )

    for op in ("depth_to_space", "space_to_depth"):
        registry.lower(getattr(torch.ops.edgestyle, op).default)(partial(lower, op))
