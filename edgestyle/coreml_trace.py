"""Where a Core ML package starts to drift: every op's fp16 result beside the same op's in fp32.

Both come from the same file, with the same weights, so that what is left is the arithmetic alone. Two numbers tell an
op that loses from one that only hands on what was lost before it: `snr_db` is how good its result is in the fp16
program, `own_db` how good it would be if everything before it had been exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle import coreml_package
from edgestyle.drift import PSNR_CEILING_DB
from edgestyle.images import Image

if TYPE_CHECKING:
    from torch import Tensor

    from edgestyle.coreml_program import Rounded, Step


@dataclass(frozen=True)
class Row:
    """One result of one op."""

    name: str
    type: str
    """Of the op: "conv"."""
    shape: tuple[int, ...]
    snr_db: float
    """Signal-to-noise ratio of the fp16 program's value: `10 log10(mean(exact^2) / mean((exact - fp16)^2))`, from -200
    (not finite) to 200 (equal)."""
    own_db: float
    """The same where the op alone is in fp16: it is given exact values, rounded, and its result is rounded."""
    max_abs: float
    """Largest difference of the fp16 program's value from the exact one."""
    peak: float
    """Largest exact value, without its sign."""
    overflow: float
    """Share of exact values that pass 65504."""
    subnormal: float
    """Share of exact values, other than 0, under 2^-14, where fp16 has fewer digits."""


def trace(path: Path, image: Image, sums_in_fp16: bool = False) -> list[Row]:
    """Compare each op of a package in fp16 and in fp32 on one picture.

    A program in fp32 is traced as a GPU or a Neural Engine would run it: with everything rounded to fp16.

    Args:
        path: The `.mlpackage` folder.
        image: (1, 3, H, W) RGB in [0, 1], of a size that the package takes.
        sums_in_fp16: Keep sums inside an op in fp16 too: the worst that hardware does.

    Raises:
        ConfigError: It is not a whole Core ML package, or does not map one picture to one picture.
        UnavailableError: It has an op that the evaluator lacks.
        UsageError: The package takes another size.
        MissingExtraError: coremltools is not installed.
    """
    import torch

    from edgestyle.coreml_ops import OPS
    from edgestyle.coreml_program import as_declared, ends, everywhere, load, nowhere, steps
    from edgestyle.coreml_sums import FP16_SUMS

    package = coreml_package.read(path)
    program = load(package)
    source, _ = ends(package, program)
    inputs = {source.name: torch.from_numpy(source.encode(image))}
    has_fp16 = any(as_declared(var) for op in program.operations for var in op.outputs)
    rounded = as_declared if has_fp16 else everywhere
    ops = {**OPS, **FP16_SUMS} if sums_in_fp16 else OPS
    exact, half = steps(program, inputs, nowhere), steps(program, inputs, rounded, ops)
    return [
        row for reference, actual in zip(exact, half, strict=True) for row in _rows(reference, actual, rounded, ops)
    ]


def _rows(exact: Step, half: Step, rounded: Rounded, ops: Mapping[str, Callable[..., Any]]) -> Iterator[Row]:
    from edgestyle.coreml_program import compute, round_arguments
    from edgestyle.fp16_safety import LARGEST, SMALLEST_NORMAL

    alone = compute(exact.op, round_arguments(exact.op, exact.arguments, rounded), rounded, ops)
    for name, reference in exact.results.items():
        value, size = reference.double(), reference.abs()
        yield Row(
            name=name,
            type=exact.op.op_type,
            shape=tuple(reference.shape),
            snr_db=_snr(value, half.results[name]),
            own_db=_snr(value, alone[name]),
            max_abs=float((value - half.results[name]).abs().max()),
            peak=float(size.max()),
            overflow=float((size > LARGEST).double().mean()),
            subnormal=float(((size < SMALLEST_NORMAL) & (size > 0)).double().mean()),
        )


def _snr(exact: Tensor, actual: Tensor) -> float:
    if not bool(actual.isfinite().all()):
        return -PSNR_CEILING_DB
    noise, signal = float((exact - actual).square().mean()), float(exact.square().mean())
    if not noise:
        return PSNR_CEILING_DB
    return max(-PSNR_CEILING_DB, 10 * math.log10(signal / noise)) if signal else -PSNR_CEILING_DB
