"""MIL ops that move numbers and do not compute with them: borders, resampling, shapes, slices.

As in `edgestyle.coreml_ops`, which says more, one function an op.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Ints = Sequence[int]
Pads = Sequence[Sequence[int]]
"""What stands before and after each dimension."""


# Resampling and borders -----------------------------------------------------------------------------------------------


def _pad(x: Tensor, pad: Tensor, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    pairs = pad.reshape(-1, 2).tolist()  # of the last dimensions
    if mode == "constant":
        return pad_spatial(x, pairs, constant_val)
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


def _resize(
    x: Tensor, shape: Tensor, resized_dims: int, interpolation_mode: str = "LINEAR", sampling_mode: str = "DEFAULT"
) -> Tensor:
    if resized_dims != 2:
        raise ValueError(f"it resizes {resized_dims} dimensions; two are served")
    height, width = (int(size) or x.shape[axis] for axis, size in zip((-2, -1), shape[-2:], strict=True))
    if interpolation_mode == "LINEAR":
        return _resize_bilinear(x, height, width, sampling_mode)
    return _resize_nearest_neighbor(x, height, width)


def _resample(
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    modes = {"constant": "zeros", "border": "border"}
    if padding_mode not in modes or padding_value or coordinates_mode == "unnormalized":
        raise ValueError(f"padding '{padding_mode}' with {padding_value} and coordinates '{coordinates_mode}'")
    grid = coordinates * 2 - 1 if coordinates_mode == "normalized_zero_to_one" else coordinates
    return F.grid_sample(x, grid, sampling_mode, modes[padding_mode], align_corners)


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


def _shape(x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int32)


def _gather(x: Tensor, indices: Any, axis: int = 0, batch_dims: int = 0, **_: bool) -> Tensor:
    if batch_dims:
        raise ValueError("batch_dims other than 0 are not served")
    indices = torch.as_tensor(indices)
    axis %= x.ndim
    picked = x.index_select(axis, indices.flatten().long() % x.shape[axis])
    return picked.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


def _gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0, **_: bool) -> Tensor:
    return torch.take_along_dim(x, indices.long() % x.shape[axis], axis)


def _gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0, **_: bool) -> Tensor:
    if batch_dims:
        raise ValueError("batch_dims other than 0 are not served")
    return x[tuple(indices.long().unbind(-1))]


def _fill(shape: Any, value: float = 0.0) -> Tensor:
    return torch.full(torch.as_tensor(shape).tolist(), value)


def _fill_like(ref_tensor: Tensor, value: float = 0.0) -> Tensor:
    return torch.full(ref_tensor.shape, value)


def _range_1d(end: Any, start: Any, step: Any) -> Tensor:
    return torch.arange(*(torch.as_tensor(value).item() for value in (start, end, step)))


def _reverse(x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.flip(tuple(range(x.ndim) if axes is None else axes))


def _flatten2d(x: Tensor, axis: int = 1) -> Tensor:
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _one_hot(
    indices: Tensor, one_hot_vector_size: Any, axis: int = -1, on_value: float = 1, off_value: float = 0
) -> Tensor:
    size = int(one_hot_vector_size)
    chosen = F.one_hot(indices.long(), size).movedim(-1, axis)
    return torch.where(chosen.bool(), on_value, off_value)


def _space_to_batch(x: Tensor, block_shape: Ints, paddings: Tensor) -> Tensor:
    pairs = torch.as_tensor(paddings).tolist()
    x = pad_spatial(x, pairs)
    (n, c, h, w), (tall, wide) = x.shape, block_shape
    blocks = x.reshape(n, c, h // tall, tall, w // wide, wide)
    return blocks.permute(3, 5, 0, 1, 2, 4).reshape(-1, c, h // tall, w // wide)


def _batch_to_space(x: Tensor, block_shape: Ints, crops: Tensor) -> Tensor:
    (_, c, h, w), (tall, wide) = x.shape, block_shape
    blocks = x.reshape(tall, wide, -1, c, h, w).permute(2, 3, 4, 0, 5, 1).reshape(-1, c, h * tall, w * wide)
    return _crop(blocks, *torch.as_tensor(crops).tolist())


def pad_spatial(x: Tensor, pads: Pads, value: float = 0.0) -> Tensor:
    """`x` with its last dimensions padded, each by what is before and after it."""
    if not any(map(any, pads)):
        return x
    return F.pad(x, [n for pair in reversed(pads) for n in pair], value=value)


OPS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "batch_to_space": _batch_to_space,
    "concat": _concat,
    "crop": _crop,
    "depth_to_space": _depth_to_space,
    "expand_dims": _expand_dims,
    "fill": _fill,
    "fill_like": _fill_like,
    "flatten2d": _flatten2d,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "gather_nd": _gather_nd,
    "one_hot": _one_hot,
    "pad": _pad,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "range_1d": _range_1d,
    "resample": _resample,
    "reshape": _reshape,
    "resize": _resize,
    "resize_bilinear": _resize_bilinear,
    "resize_nearest_neighbor": _resize_nearest_neighbor,
    "reverse": _reverse,
    "shape": _shape,
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "space_to_batch": _space_to_batch,
    "space_to_depth": _space_to_depth,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
    "upsample_bilinear": _upsample_bilinear,
    "upsample_nearest_neighbor": _upsample_nearest_neighbor,
}
"""MIL op -> what computes it."""
