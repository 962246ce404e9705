"""The ops that add up, with sums kept in fp16: the worst that hardware does.

Some mobile GPUs (Arm's Mali among them) add in fp16 what is stored in fp16. A sum then stops growing where a term is
under half of its last digit, and is infinite beyond 65504. Convolutions add term by term, each product and sum rounded
once (a fused multiply-add); sums over a picture are added as a tree, the way parallel hardware adds. Other ops, and
convolutions in one or three dimensions, are those of `edgestyle.coreml_ops`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from edgestyle import coreml_ops

Ints = Sequence[int]


def _conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, strides: Ints, _: int, dilations: Ints, groups: int
) -> Tensor:
    """`torch.nn.functional.conv2d` of what has been padded, one fused multiply-add in fp16 after the other."""
    n, channels, *sizes = x.shape
    inside, (tall, wide) = channels // groups, weight.shape[2:]
    kernel = weight.half().reshape(groups, -1, inside, tall, wide)  # (groups, outputs, inputs, height, width)
    spans = [d * (k - 1) for k, d in zip((tall, wide), dilations, strict=True)]
    out = [(size - span - 1) // s + 1 for size, span, s in zip(sizes, spans, strides, strict=True)]
    sums = torch.zeros(n, groups, kernel.shape[1], *out, dtype=torch.float16)
    if bias is not None:
        sums += bias.half().reshape(1, groups, -1, 1, 1)
    values = x.half().reshape(n, groups, inside, 1, *sizes)
    for channel in range(inside):
        for row in range(tall):
            for column in range(wide):
                taps = values[:, :, channel]
                for axis, at in ((-2, row), (-1, column)):
                    first, step = at * dilations[axis], strides[axis]
                    index = torch.arange(first, first + (out[axis] - 1) * step + 1, step)
                    taps = taps.index_select(axis, index)
                sums = torch.addcmul(sums, taps, kernel[:, :, channel, row, column, None, None])
    return sums.flatten(1, 2).float()


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    flat = x.reshape(-1, x.shape[-1], 1, 1)
    return _conv2d(flat, weight[..., None, None], bias, (1, 1), 0, (1, 1), 1).reshape(*x.shape[:-1], -1)


def tree_sum(x: Tensor, axes: Ints) -> Tensor:
    """The sum over `axes`, kept as dimensions of 1, in fp16: halves are added until one number is left."""
    axes = sorted(axis % x.ndim for axis in axes)
    kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    sums = x.half().movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))
    while (count := sums.shape[-1]) > 1:
        if count % 2:
            sums = F.pad(sums, (0, 1))
        first, second = sums.chunk(2, -1)
        sums = first + second
    return sums.reshape(kept).float()


def _reduce_sum(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    axes = range(x.ndim) if axes is None else axes
    total = tree_sum(x, axes)
    return total if keep_dims else total.squeeze(tuple(axes))


def _reduce_mean(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return _reduce_sum(x, axes, keep_dims) / math.prod(x.shape[a] for a in (range(x.ndim) if axes is None else axes))


def _instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    axes = range(2, x.ndim)
    centred = (x - _reduce_mean(x, axes, keep_dims=True).half()).half().float()
    variance = _reduce_mean(centred.square(), axes, keep_dims=True).half().float()
    y = centred * torch.rsqrt(variance + epsilon)
    shape = [-1, *[1] * len(axes)]
    y = y if gamma is None else y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


FP16_SUMS: dict[str, Callable[..., Tensor]] = {
    "conv": coreml_ops.conv_by((F.conv1d, _conv2d, F.conv3d)),
    "instance_norm": _instance_norm,
    "linear": _linear,
    "reduce_mean": _reduce_mean,
    "reduce_sum": _reduce_sum,
}
"""MIL op -> what computes it, in place of the one in `coreml_ops.OPS`."""
