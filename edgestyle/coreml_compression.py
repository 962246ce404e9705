"""Weights as `coremltools.optimize` compresses them, and 8-bit activations: what these MIL ops compute, in torch.

iOS 16 packs bits and gives the shape beside them; iOS 18 has tensors of 1 to 8 bits and a scale or a table a block.
Sources: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html (iOS16 constexpr_ops,
iOS17 quantization_ops, iOS18 compression).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "fp16": torch.float32,
    "fp32": torch.float32,
    "bool": torch.bool,
    **{name: getattr(torch, name) for name in ("int8", "uint8", "int16", "uint16", "int32", "int64")},
}
"""How a number format of MIL is held here."""


def _affine_dequantize(quantized_data: Tensor, zero_point: Any, scale: Any, axis: int) -> Tensor:
    return _dequantize(quantized_data, scale, zero_point, axis)


def _blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    shifted = data.float() if offset is None else data.float() - _spread(offset, data.shape).float()
    return shifted * _spread(scale, data.shape)


def _lut_to_dense(indices: Tensor, lut: Tensor, shape: Tensor | None = None, vector_axis: int | None = None) -> Tensor:
    if shape is not None:
        return lut[_unpack(indices, int(math.log2(len(lut))), shape.tolist())]
    *blocks, palettes, _ = lut.shape
    table = _spread(torch.arange(math.prod(blocks)).reshape(blocks), indices.shape)
    entries = lut.flatten(0, -2)[table * palettes + indices.long()]  # (*indices.shape, vector size)
    if vector_axis is None:
        return entries.squeeze(-1)
    vector_axis %= indices.ndim
    return entries.movedim(-1, vector_axis + 1).flatten(vector_axis, vector_axis + 1)


def _sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: Tensor | None = None) -> Tensor:
    kept = mask.bool() if shape is None else _unpack(mask, 1, shape.tolist()).bool()
    return torch.zeros(kept.shape, dtype=nonzero_data.dtype).masked_scatter(kept, nonzero_data)


def _lut_to_sparse(
    indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: int | None = None
) -> tuple[Tensor, Tensor]:
    dense = _lut_to_dense(_sparse_to_dense(indices_nonzero_data, indices_mask), lut, vector_axis=vector_axis)
    mask = indices_mask if vector_axis is None else indices_mask.repeat_interleave(lut.shape[-1], vector_axis)
    return mask, dense[mask.bool()]


def _sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    dense = _blockwise_shift_scale(_sparse_to_dense(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask.bool()]


def _constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    return source_val.to(DTYPES[output_dtype])


def _quantize(
    input: Tensor,  # noqa: A002  # the op's own name for it
    scale: Any,
    output_dtype: str,
    zero_point: Any = 0,
    axis: int | None = None,
) -> Tensor:
    limits = torch.iinfo(DTYPES[output_dtype])
    levels = torch.round(input / _along(scale, input, axis)) + _along(zero_point, input, axis)
    return levels.clamp(limits.min, limits.max).to(DTYPES[output_dtype])


def _dequantize(
    input: Tensor,  # noqa: A002
    scale: Any,
    zero_point: Any = 0,
    axis: int | None = None,
) -> Tensor:
    return (input.float() - _along(zero_point, input, axis)) * _along(scale, input, axis)


def _along(value: Any, x: Tensor, axis: int | None) -> Tensor:
    """A scale or zero point, shaped to be broadcast along `axis` of `x`."""
    tensor = torch.as_tensor(value, dtype=torch.float32)
    return tensor if axis is None or tensor.ndim == 0 else tensor.reshape([-1, *[1] * (x.ndim - 1 - axis % x.ndim)])


def _spread(blocks: Tensor, shape: Sequence[int]) -> Tensor:
    """One value a block -> one an element of a tensor of that shape."""
    for axis, size in enumerate(shape):
        blocks = blocks.repeat_interleave(size // blocks.shape[axis], axis)
    return blocks


def _unpack(packed: Tensor, bits: int, shape: list[int]) -> Tensor:
    """Numbers of some bits from bytes that are filled from the lowest bit up."""
    stream = (packed.long()[:, None] >> torch.arange(8) & 1).flatten()[: bits * math.prod(shape)]
    return (stream.reshape(-1, bits) << torch.arange(bits)).sum(1).reshape(shape)


OPS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_cast": _constexpr_cast,
    "constexpr_lut_to_dense": _lut_to_dense,
    "constexpr_lut_to_sparse": _lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": _sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": _sparse_to_dense,
    "dequantize": _dequantize,
    "quantize": _quantize,
}
"""MIL op -> what computes it."""
