"""What the ops of a Core ML program (MIL, the model intermediate language) compute, in torch.

One small function an op; its arguments have the op's own names, and what is optional there is optional here. Tensors
hold fp16 and fp32 as float32; whoever evaluates a program rounds what has to be rounded. The ops are those of style
networks.

Source: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgestyle import coreml_compression, coreml_shapes
from edgestyle.coreml_shapes import Ints, Pads, pad_spatial

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


def _reduce_arg(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduce(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
        return _cast(function(x, dim=axis, keepdim=keep_dims), output_dtype)

    return reduce


def _product(x: Tensor, dim: Ints, keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in dim), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def _threshold(x: Tensor, alpha: float) -> Tensor:
    return x.clamp(min=alpha)


def _select(cond: Any, a: Any, b: Any) -> Tensor:
    return torch.where(torch.as_tensor(cond), a, b)


def _einsum(values: list[Tensor], equation: str) -> Tensor:
    return torch.einsum(equation, *values)


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


def _softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    shape = [-1, *[1] * (x.ndim - 2)]
    return alpha.reshape(shape) * F.softplus(beta.reshape(shape) * x)


def _thresholded_relu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.where(x >= alpha, x, 0.0)


def _clamped_relu(x: Tensor, alpha: float, beta: float) -> Tensor:
    return torch.where(x >= 0, x, alpha * x).clamp(max=beta)


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask)


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
        padded = pad_spatial(x, _window_pads(x, weight.shape[2:], strides, dilations, pad_type, pad))
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
        full = pad_spatial(full, [(0, wanted - full.shape[2 + i]) if j == i else (0, 0) for j in range(n)])
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
    counted = pad_spatial(torch.ones_like(x[:1, :1]), pads, 0.0 if exclude_padding_from_average else 1.0)
    pool: Callable[..., Tensor] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[n - 1]
    total = pool(pad_spatial(pad_spatial(x, pads), beyond), kernel_sizes, strides)
    return total / pool(pad_spatial(counted, beyond), kernel_sizes, strides)


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
    padded = pad_spatial(pad_spatial(x, pads, -math.inf), beyond, -math.inf)
    pool: Callable[..., Tensor] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[n - 1]
    return pool(padded, kernel_sizes, strides)


def _l2_pool(x: Tensor, kernel_sizes: Ints, **window: Any) -> Tensor:
    return (_avg_pool(x.square(), kernel_sizes, **window) * math.prod(kernel_sizes)).sqrt()


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


def _l2_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    return x * torch.rsqrt(x.square().sum((-3, -2, -1), keepdim=True) + epsilon)


def _local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    return F.local_response_norm(x, size, alpha, beta, k)


# Number formats -------------------------------------------------------------------------------------------------------


def _cast(x: Tensor, dtype: str) -> Tensor:
    return x.to(coreml_compression.DTYPES[dtype])


OPS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    **coreml_compression.OPS,
    **coreml_shapes.OPS,
    "abs": _unary(torch.abs),
    "acos": _unary(torch.acos),
    "add": _binary(torch.add),
    "asin": _unary(torch.asin),
    "atan": _unary(torch.atan),
    "atanh": _unary(torch.atanh),
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "cast": _cast,
    "ceil": _unary(torch.ceil),
    "clamped_relu": _clamped_relu,
    "clip": _clip,
    "conv": conv_by((F.conv1d, F.conv2d, F.conv3d)),
    "conv_transpose": _conv_transpose,
    "cos": _unary(torch.cos),
    "cosh": _unary(torch.cosh),
    "einsum": _einsum,
    "elu": _elu,
    "equal": _binary(torch.eq),
    "erf": _unary(torch.erf),
    "exp": _unary(torch.exp),
    "exp2": _unary(torch.exp2),
    "floor": _unary(torch.floor),
    "floor_div": _binary(partial(torch.div, rounding_mode="floor")),
    "gelu": _gelu,
    "greater": _binary(torch.gt),
    "greater_equal": _binary(torch.ge),
    "identity": _unary(lambda x: x),
    "instance_norm": _instance_norm,
    "inverse": _inverse,
    "l2_norm": _l2_norm,
    "l2_pool": _l2_pool,
    "layer_norm": _layer_norm,
    "leaky_relu": _leaky_relu,
    "less": _binary(torch.lt),
    "less_equal": _binary(torch.le),
    "linear": _linear,
    "linear_activation": _linear_activation,
    "local_response_norm": _local_response_norm,
    "log": _log,
    "logical_and": _binary(torch.logical_and),
    "logical_not": _unary(torch.logical_not),
    "logical_or": _binary(torch.logical_or),
    "logical_xor": _binary(torch.logical_xor),
    "matmul": _matmul,
    "max_pool": _max_pool,
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "mod": _binary(torch.remainder),
    "mul": _binary(torch.mul),
    "not_equal": _binary(torch.ne),
    "pow": _binary(torch.pow),
    "prelu": _prelu,
    "real_div": _binary(torch.div),
    "reduce_argmax": _reduce_arg(torch.argmax),
    "reduce_argmin": _reduce_arg(torch.argmin),
    "reduce_l1_norm": _reduce(partial(torch.linalg.vector_norm, ord=1)),
    "reduce_l2_norm": _reduce(torch.linalg.vector_norm),
    "reduce_log_sum": _reduce(lambda x, dim, keepdim: x.sum(dim, keepdim).log()),
    "reduce_log_sum_exp": _reduce(torch.logsumexp),
    "reduce_max": _reduce(torch.amax),
    "reduce_mean": _reduce(torch.mean),
    "reduce_min": _reduce(torch.amin),
    "reduce_prod": _reduce(_product),
    "reduce_sum": _reduce(torch.sum),
    "reduce_sum_square": _reduce(lambda x, dim, keepdim: x.square().sum(dim, keepdim)),
    "relu": _unary(torch.relu),
    "relu6": _unary(F.relu6),
    "round": _unary(torch.round),
    "rsqrt": _rsqrt,
    "scaled_dot_product_attention": _attention,
    "scaled_tanh": _scaled_tanh,
    "select": _select,
    "sigmoid": _unary(torch.sigmoid),
    "sigmoid_hard": _sigmoid_hard,
    "sign": _unary(torch.sign),
    "silu": _unary(F.silu),
    "sin": _unary(torch.sin),
    "sinh": _unary(torch.sinh),
    "softmax": _softmax,
    "softplus": _unary(F.softplus),
    "softplus_parametric": _softplus_parametric,
    "softsign": _unary(F.softsign),
    "sqrt": _unary(torch.sqrt),
    "square": _unary(torch.square),
    "sub": _binary(torch.sub),
    "tan": _unary(torch.tan),
    "tanh": _unary(torch.tanh),
    "threshold": _threshold,
    "thresholded_relu": _thresholded_relu,
}
"""MIL op -> what computes it."""
