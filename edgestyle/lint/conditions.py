"""The words in which a table says what a delegate needs of an op.

Each is a function of an op and of what the table gives it; it returns "" where the op is as needed, else what came
("mode SYMMETRIC"). A table names them as keys: `needs = { rank_at_most = 4, constant = [1] }`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from edgestyle.lint.graph import Op, Tensor

Condition = Callable[[Op, Any], str]


def attribute(op: Op, allowed: Mapping[str, Sequence[Any]]) -> str:
    """Each attribute that the op has is one of the values."""
    return _first(f"{name} {op.attributes[name]}" for name, values in allowed.items() if _given(op, name, values))


def combination(op: Op, refused: Mapping[str, Any]) -> str:
    """The op has not all of these attributes together."""
    if all(op.attributes.get(name) == value for name, value in refused.items()):
        return ", ".join(f"{name} {value}" for name, value in refused.items())
    return ""


def constant(op: Op, indexes: Sequence[int]) -> str:
    """These inputs, where given, are constants."""
    given = (op.inputs[i] for i in indexes if i < len(op.inputs))
    return _first(f"{tensor.name} is computed" for tensor in given if tensor and not tensor.constant)


def dtypes(op: Op, allowed: Sequence[str]) -> str:
    """All inputs and outputs that depend on the picture are of these types."""
    return _first(tensor.dtype for tensor in op.activations if tensor.dtype and tensor.dtype not in allowed)


def fixed_shape(op: Op, _: bool) -> str:
    """All sides of its inputs and outputs are known."""
    return _first("free size" for tensor in op.activations if tensor.shape is None or None in tensor.shape)


def inputs_at_most(op: Op, count: int) -> str:
    """It has no more inputs."""
    return f"{len(op.inputs)} inputs" if len(op.inputs) > count else ""


def kernel_at_most(op: Op, side: int) -> str:
    """No side of its kernel is larger."""
    window = op.attributes.get("window", ())
    return f"kernel {_by(window)}" if max(window, default=0) > side else ""


def last_axis_at_least(op: Op, count: int) -> str:
    """The last side of its picture-sized inputs and outputs (rank 4 and more) is no smaller."""
    sides = ((t.shape[-1], t.shape) for t in op.activations if t.shape and len(t.shape) > 3 and prod(_known(t)) > count)
    return _first(f"shape {_by(shape)}" for side, shape in sides if side is not None and side < count)


def magnitude_at_most(op: Op, limit: float) -> str:
    """No number among its constants is larger."""
    values = (t.value for t in op.inputs if t and t.value is not None and t.value.dtype.kind == "f" and t.value.size)
    return _first(f"{peak:g}" for peak in (float(np.abs(value).max()) for value in values) if peak > limit)


def pixels_at_most(op: Op, count: int) -> str:
    """Its input, of shape (B, C, H, W), has no more pixels."""
    shape = op.inputs[0].shape if op.inputs and op.inputs[0] else None
    pixels = prod(side or 1 for side in shape[2:]) if shape else 0
    return f"{pixels} pixels" if pixels > count else ""


def rank_at_most(op: Op, rank: int) -> str:
    """None of its inputs and outputs that depend on the picture has more dimensions."""
    return _first(f"rank {len(t.shape)}" for t in op.activations if t.shape and len(t.shape) > rank)


def scale_ratio(op: Op, limits: tuple[float, float]) -> str:
    """Of quantized tensors: each input's scale over that of the output is in [low, high)."""
    low, high = limits
    out = op.outputs[0].scale
    ratios = (t.scale / out for t in op.inputs if t and t.scale and out)
    return _first(f"scale ratio {ratio:.2g}" for ratio in ratios if not low <= ratio < high)


def stride_factors(op: Op, factors: Sequence[int]) -> str:
    """Its strides have no other prime factors."""

    def rest(stride: int) -> int:
        for factor in factors:
            while stride > 1 and stride % factor == 0:
                stride //= factor
        return stride

    stride = op.attributes.get("stride", ())
    return f"stride {_by(stride)}" if any(rest(side) > 1 for side in stride) else ""


def stride_within_window(op: Op, _: bool) -> str:
    """Its stride is no larger than its window."""
    stride, window = op.attributes.get("stride", ()), op.attributes.get("window", ())
    if any(step > side for step, side in zip(stride, window, strict=False)):
        return f"stride {_by(stride)}, window {_by(window)}"
    return ""


def dilation_at_most(op: Op, rate: int) -> str:
    """It is not dilated more."""
    dilation = op.attributes.get("dilation", ())
    return f"dilation {_by(dilation)}" if max(dilation, default=1) > rate else ""


def summed_at_most(op: Op, count: int) -> str:
    """Of a reduction: no output is made of more elements."""
    before, after = (_known(op.inputs[0]) if op.inputs and op.inputs[0] else []), _known(op.outputs[0])
    summed = prod(before) // max(1, prod(after))
    return f"{summed} elements" if summed > count else ""


CONDITIONS: dict[str, Condition] = {
    function.__name__: function
    for function in (
        attribute,
        combination,
        constant,
        dilation_at_most,
        dtypes,
        fixed_shape,
        inputs_at_most,
        kernel_at_most,
        last_axis_at_least,
        magnitude_at_most,
        pixels_at_most,
        rank_at_most,
        scale_ratio,
        stride_factors,
        stride_within_window,
        summed_at_most,
    )
}


def _given(op: Op, name: str, allowed: Sequence[Any]) -> bool:
    return name in op.attributes and op.attributes[name] not in allowed


def _known(tensor: Tensor) -> list[int]:
    return [side or 1 for side in tensor.shape or ()]


def _by(sides: Sequence[Any]) -> str:
    return "x".join("?" if side is None else str(side) for side in sides)


def _first(found: Any) -> str:
    return next(iter(found), "")
