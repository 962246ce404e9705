"""What the ops of a Core ML program (MIL, the model intermediate language) compute, in torch.

One small function an op; its arguments have the op's own names, and what is optional there is optional here. Tensors
hold fp16 and fp32 as float32; whoever evaluates a program rounds what has to be rounded. The ops are those of style
networks.

Source: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from edgestyle import coreml_compression

Ints = Sequence[int]
Pads = list[tuple[int, int]]
"""What stands before and after each dimension."""


# Arithmetic -----------------------------------------------------------------------------------------------------------


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x: function(x)


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x, y: function(x, y)


def _rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    return torch.rsqrt(x + epsilon)


def _inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    return 1 / (x + epsilon)


def _log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    return torch.log(x + epsilon)


def _clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    return x.clamp(alpha, beta)


def _matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


def _reduce(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduce(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
        return function(x, dim=tuple(range(x.ndim) if axes is None else axes), keepdim=keep_dims)

    return reduce


# Activations ----------------------------------------------------------------------------------------------------------


def _leaky_relu(x: Tensor, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


def _prelu(x: Tensor, alpha: Tensor) -> Tensor:
    return F.prelu(x, alpha)


def _elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return F.elu(x, alpha)


def _gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


def _sigmoid_hard(x: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def _scaled_tanh(x: Tensor, alpha: float = 1.0, beta: float = 1.0) -> Tensor:
    return alpha * torch.tanh(beta * x)


def _linear_activation(x: Tensor, alpha: float, beta: float = 0.0) -> Tensor:
    return alpha * x + beta


def _softmax(x: Tensor, axis: int = -1) -> Tensor:
    return F.softmax(x, dim=axis)


# Convolution and pooling ----------------------------------------------------------------------------------------------


def conv_by(functions: Sequence[Callable[..., Tensor]]) -> Callable[..., Tensor]:
    """MIL's conv, by what convolves in one, two and three dimensions what has been padded."""

    def conv(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        strides: Ints | None = None,
        pad_type: str = "valid",
        pad: Ints | None = None,
        dilations: Ints | None = None,
        groups: int = 1,
    ) -> Tensor:
        n = x.ndim - 2
        strides, dilations = strides or [1] * n, dilations or [1] * n
        padded = _pad_spatial(x, _window_pads(x, weight.shape[2:], strides, dilations, pad_type, pad))
        return functions[n - 1](padded, weight, bias, strides, 0, dilations, groups)

    return conv


def _conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    n = x.ndim - 2
    strides, dilations = strides or [1] * n, dilations or [1] * n
    convolve: Callable[..., Tensor] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
    full = convolve(x, weight, bias, strides, 0, 0, groups, dilations)
    for i in range(n):  # what was padding to a convolution is cropped here
        length = full.shape[2 + i]
        before, after = (pad[2 * i], pad[2 * i + 1]) if pad_type == "custom" and pad else (0, 0)
        if pad_type == "same":
            before = max(length - x.shape[2 + i] * strides[i], 0) // 2
            after = length - before - x.shape[2 + i] * strides[i]
        wanted = output_shape[2 + i] if output_shape is not None else length - before - after
        full = full.narrow(2 + i, before, min(wanted, length - before))
        full = _pad_spatial(full, [(0, wanted - full.shape[2 + i]) if j == i else (0, 0) for j in range(n)])
    return full


def _avg_pool(
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    n = x.ndim - 2
    strides = strides or [1] * n
    pads = _window_pads(x, kernel_sizes, strides, [1] * n, pad_type, pad)
    beyond = _ceil_pads(x, kernel_sizes, strides, pads) if ceil_mode else [(0, 0)] * n
    counted = _pad_spatial(torch.ones_like(x[:1, :1]), pads, 0.0 if exclude_padding_from_average else 1.0)
    pool: Callable[..., Tensor] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[n - 1]
    total = pool(_pad_spatial(_pad_spatial(x, pads), beyond), kernel_sizes, strides)
    return total / pool(_pad_spatial(counted, beyond), kernel_sizes, strides)


def _max_pool(
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    n = x.ndim - 2
    strides = strides or [1] * n
    pads = _window_pads(x, kernel_sizes, strides, [1] * n, pad_type, pad)
    beyond = _ceil_pads(x, kernel_sizes, strides, pads) if ceil_mode else [(0, 0)] * n
    padded = _pad_spatial(_pad_spatial(x, pads, -math.inf), beyond, -math.inf)
    pool: Callable[..., Tensor] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[n - 1]
    return pool(padded, kernel_sizes, strides)


def _window_pads(x: Tensor, kernel: Ints, strides: Ints, dilations: Ints, pad_type: str, pad: Ints | None) -> Pads:
    """What a sliding window's padding type comes to, for each spatial dimension."""
    n = x.ndim - 2
    if pad_type == "valid" or (pad_type == "custom" and not pad):
        return [(0, 0)] * n
    if pad_type == "custom" and pad:
        return [(pad[2 * i], pad[2 * i + 1]) for i in range(n)]
    pads = []
    for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size, 0)
        small, large = total // 2, total - total // 2
        pads.append((large, small) if pad_type == "same_lower" else (small, large))
    return pads


def _ceil_pads(x: Tensor, kernel: Ints, strides: Ints, pads: Pads) -> Pads:
    """What lies beyond the padding when the number of windows is rounded up; the last one must start inside."""
    beyond = []
    for size, k, s, (before, after) in zip(x.shape[2:], kernel, strides, pads, strict=True):
        count = math.ceil((size + before + after - k) / s) + 1
        if (count - 1) * s >= size + before:
            count -= 1
        beyond.append((0, max((count - 1) * s + k - size - before - after, 0)))
    return beyond


def _pad_spatial(x: Tensor, pads: Pads, value: float = 0.0) -> Tensor:
    if not any(map(any, pads)):
        return x
    return F.pad(x, [n for pair in reversed(pads) for n in pair], value=value)


# Normalisation --------------------------------------------------------------------------------------------------------


def _batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, eps=epsilon)


def _instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    return F.instance_norm(x, weight=gamma, bias=beta, eps=epsilon)


def _layer_norm(
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    over = {axis % x.ndim for axis in (range(x.ndim) if axes is None else axes)}
    shape = [size if axis in over else 1 for axis, size in enumerate(x.shape)]
    variance, mean = torch.var_mean(x, tuple(over), correction=0, keepdim=True)
    y = (x - mean) * torch.rsqrt(variance + epsilon)
    y = y if gamma is None else y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


# Resampling and borders -----------------------------------------------------------------------------------------------


def _pad(x: Tensor, pad: Tensor, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    pairs = pad.reshape(-1, 2).tolist()  # of the last dimensions
    if mode == "constant":
        return _pad_spatial(x, pairs, constant_val)
    for axis, (before, after) in enumerate(pairs, x.ndim - len(pairs)):
        last = x.shape[axis] - 1
        index = torch.arange(-before, last + 1 + after)
        index = index.clamp(0, last) if mode == "replicate" else last - (last - index.abs()).abs()
        x = x.index_select(axis, index)
    return x


def _crop(x: Tensor, crop_height: Ints, crop_width: Ints) -> Tensor:
    (top, bottom), (left, right) = crop_height, crop_width
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def _resize_nearest_neighbor(x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    for axis, size in ((-2, target_size_height), (-1, target_size_width)):
        x = x.index_select(axis, torch.arange(size) * x.shape[axis] // size)
    return x


def _upsample_nearest_neighbor(x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1) -> Tensor:
    height, width = x.shape[-2:]
    return _resize_nearest_neighbor(x, int(height * scale_factor_height), int(width * scale_factor_width))


_GRIDS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    # where the i-th of m samples lies among n
    "DEFAULT": lambda i, n, m: i * n / m,
    "STRICT_ALIGN_CORNERS": lambda i, n, m: i * (n - 1) / max(m - 1, 1),
    "ALIGN_CORNERS": lambda i, n, m: i * (n - 1) / (m - 1) if m > 1 else i + (n - 1) / 2,
    "UNALIGN_CORNERS": lambda i, n, m: (i + 0.5) * n / m - 0.5,
    "OFFSET_CORNERS": lambda i, n, m: (i + 0.5) * max(1, n - 1) / m,
}


def _resize_bilinear(
    x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    for axis, size in ((-2, target_size_height), (-1, target_size_width)):
        last = x.shape[axis] - 1
        samples = torch.arange(size, dtype=torch.float64)
        grid = _GRIDS[sampling_mode](samples, x.shape[axis], size).clamp(0, last)
        low = grid.floor().long()
        weight = (grid - low).to(x.dtype)
        weight = weight[:, None] if axis == -2 else weight
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, (low + 1).clamp(max=last)), weight)
    return x


def _upsample_bilinear(
    x: Tensor,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    if half_pixel_centers is None:
        half_pixel_centers = not align_corners
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if half_pixel_centers else "DEFAULT"
    height, width = x.shape[-2:]
    return _resize_bilinear(x, int(height * scale_factor_height), int(width * scale_factor_width), mode)


def _pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    return F.pixel_shuffle(x, upscale_factor)


def _pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    return F.pixel_unshuffle(x, downscale_factor)


def _depth_to_space(x: Tensor, block_size: int) -> Tensor:
    n, channels, h, w = x.shape  # unlike in a pixel shuffle, the place in the block comes before the channel
    blocks = x.reshape(n, block_size, block_size, channels // block_size**2, h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * block_size, w * block_size)


def _space_to_depth(x: Tensor, block_size: int) -> Tensor:
    n, channels, h, w = x.shape
    blocks = x.reshape(n, channels, h // block_size, block_size, w // block_size, block_size)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // block_size, w // block_size)


# Shapes ---------------------------------------------------------------------------------------------------------------


def _concat(values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    if not interleave:
        return torch.cat(values, axis)
    axis %= values[0].ndim
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


def _stack(values: list[Tensor], axis: int) -> Tensor:
    return torch.stack(values, axis)


def _split(
    x: Tensor, axis: int, num_splits: int | None = None, split_sizes: list[int] | None = None
) -> tuple[Tensor, ...]:
    if split_sizes is None:
        if num_splits is None:
            raise ValueError("neither num_splits nor split_sizes is given")
        split_sizes = [x.shape[axis] // num_splits] * num_splits
    return torch.split_with_sizes(x, split_sizes, axis)


def _reshape(x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([size or x.shape[axis] for axis, size in enumerate(shape.tolist())])


def _transpose(x: Tensor, perm: list[int]) -> Tensor:
    return x.permute(perm)


def _expand_dims(x: Tensor, axes: Ints) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _tile(x: Tensor, reps: Tensor) -> Tensor:
    return x.repeat(reps.tolist())


def _slice_by_index(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: list[bool] | None = None,
    end_mask: list[bool] | None = None,
    squeeze_mask: list[bool] | None = None,
) -> Tensor:
    squeezed = []
    for axis, (first, last) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
        size = x.shape[axis]
        if squeeze_mask and squeeze_mask[axis]:
            x = x.narrow(axis, first % size, 1)
            squeezed.append(axis)
            continue
        start = None if begin_mask and begin_mask[axis] else first
        stop = None if end_mask and end_mask[axis] else last
        step = 1 if stride is None else int(stride[axis])
        chosen = range(size)[start:stop:step]  # torch has no negative steps, Python has
        if chosen != range(size):
            x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.long))
    return x.squeeze(tuple(squeezed)) if squeezed else x


def _slice_by_size(x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    for axis, (first, count) in enumerate(zip(begin.tolist(), size.tolist(), strict=True)):
        first %= x.shape[axis]
        x = x.narrow(axis, first, x.shape[axis] - first if count == -1 else count)
    return x


def _cast(x: Tensor, dtype: str) -> Tensor:
    return x.to(coreml_compression.DTYPES[dtype])


OPS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    **coreml_compression.OPS,
    "abs": _unary(torch.abs),
    "add": _binary(torch.add),
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "cast": _cast,
    "ceil": _unary(torch.ceil),
    "clip": _clip,
    "concat": _concat,
    "conv": conv_by((F.conv1d, F.conv2d, F.conv3d)),
    "conv_transpose": _conv_transpose,
    "crop": _crop,
    "depth_to_space": _depth_to_space,
    "elu": _elu,
    "exp": _unary(torch.exp),
    "expand_dims": _expand_dims,
    "floor": _unary(torch.floor),
    "gelu": _gelu,
    "identity": _unary(lambda x: x),
    "instance_norm": _instance_norm,
    "inverse": _inverse,
    "layer_norm": _layer_norm,
    "leaky_relu": _leaky_relu,
    "linear": _linear,
    "linear_activation": _linear_activation,
    "log": _log,
    "matmul": _matmul,
    "max_pool": _max_pool,
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "mul": _binary(torch.mul),
    "pad": _pad,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "pow": _binary(torch.pow),
    "prelu": _prelu,
    "real_div": _binary(torch.div),
    "reduce_max": _reduce(torch.amax),
    "reduce_mean": _reduce(torch.mean),
    "reduce_min": _reduce(torch.amin),
    "reduce_sum": _reduce(torch.sum),
    "relu": _unary(torch.relu),
    "relu6": _unary(F.relu6),
    "reshape": _reshape,
    "resize_bilinear": _resize_bilinear,
    "resize_nearest_neighbor": _resize_nearest_neighbor,
    "round": _unary(torch.round),
    "rsqrt": _rsqrt,
    "scaled_tanh": _scaled_tanh,
    "sigmoid": _unary(torch.sigmoid),
    "sigmoid_hard": _sigmoid_hard,
    "silu": _unary(F.silu),
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "softmax": _softmax,
    "softplus": _unary(F.softplus),
    "space_to_depth": _space_to_depth,
    "split": _split,
    "sqrt": _unary(torch.sqrt),
    "square": _unary(torch.square),
    "squeeze": _squeeze,
    "stack": _stack,
    "sub": _binary(torch.sub),
    "tanh": _unary(torch.tanh),
    "tile": _tile,
    "transpose": _transpose,
    "upsample_bilinear": _upsample_bilinear,
    "upsample_nearest_neighbor": _upsample_nearest_neighbor,
}
"""MIL op -> what computes it."""
