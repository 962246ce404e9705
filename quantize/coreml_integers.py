"""Integers in Core ML packages: a quantize and a dequantize op around each value, and weights that are looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestyle import coreml_package
from edgestyle.images import Image
from edgestyle.quantization.calibration import Calibration, Range
from edgestyle.quiet import quiet

_FUSED = ("relu", "relu6", "clip", "leaky_relu")
"""What the convolution before it computes along: between the two nothing is rounded."""


def write_integers(path: Path, calibration: Calibration) -> None:
    """Make weights and activations of an fp16 package 8-bit integers, in place; it then needs iOS 17 or macOS 14.

    coremltools would run the model for its activation ranges, which only a Mac can, and knows symmetric ranges only,
    which wastes half of the steps after a ReLU. So the pairs of ops are set here, as it would set them.

    Args:
        path: The fp16 package.
        calibration: Of its network.

    Raises:
        MissingExtraError: coremltools is not installed.
    """
    ct = coreml_package.import_coremltools()
    ranges = calibration.match(_tensors(path, calibration.photo))
    floats: set[str] = set()

    def insert(program: Any) -> None:
        for function in program.functions.values():
            floats.update(_float_weights(function, ranges))
            _insert_pairs(function, ranges)

    rewrite(path, insert, ct.target.iOS17)
    change(path, lambda model: ct.optimize.coreml.linear_quantize_weights(model, _weights(ct, floats)))


def _weights(ct: Any, floats: Iterable[str]) -> Any:
    """Signed, symmetric, one scale a channel of a convolution, and one for a whole matrix, as in the other formats."""

    def with_granularity(granularity: str) -> Any:
        return ct.optimize.coreml.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", granularity=granularity, weight_threshold=0
        )

    return ct.optimize.coreml.OptimizationConfig(
        global_config=with_granularity("per_channel"),
        op_type_configs={"linear": with_granularity("per_tensor")},
        op_name_configs=dict.fromkeys(floats),
    )


def rewrite(path: Path, edit: Callable[[Any], None], minimum: Any) -> None:
    """Edit the MIL program of a package, in place.

    Args:
        path: The package.
        edit: Is given the program.
        minimum: The oldest system that will open it: `coremltools.target`.
    """
    coreml_package.import_coremltools()
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.models.utils import _apply_graph_pass

    class Edit(AbstractGraphPass):  # type: ignore[misc]
        def apply(self, prog: Any) -> None:
            edit(prog)

    change(path, lambda model: _apply_graph_pass(model, Edit(), spec_version=minimum, skip_model_load=True))


def raise_target(path: Path, minimum: Any) -> None:
    """Let a package need a newer system, so that what came with it can be used, in place.

    Args:
        path: The package.
        minimum: The oldest system that will open it: `coremltools.target`.
    """
    rewrite(path, lambda _: None, minimum)


def change(path: Path, to: Callable[[Any], Any]) -> None:
    """Put what coremltools makes of a package in its place, with the same description.

    Args:
        path: The package.
        to: From model to model.
    """
    import shutil

    ct = coreml_package.import_coremltools()
    with quiet():
        model = to(ct.models.MLModel(str(path), skip_model_load=True))
    spec = model.get_spec()
    spec.description.metadata.userDefined.pop("com.github.apple.coremltools.conversion_date", None)
    weights = path.with_name(path.name + ".weights")
    shutil.copytree(model.weights_dir, weights)
    shutil.rmtree(path)
    coreml_package.write(path, spec, weights)
    shutil.rmtree(weights)


def _tensors(path: Path, photo: Image) -> dict[str, NDArray[Any]]:
    """Everything that a package computes for a photo, by name, nothing rounded."""
    import torch

    from edgestyle.coreml_program import load, nowhere, steps

    package = coreml_package.read(path)
    source = package.input
    picture = source.encode(photo)
    found: dict[str, NDArray[Any]] = {source.name: picture}
    for step in steps(load(package), {source.name: torch.from_numpy(picture)}, nowhere):
        found.update({name: value.numpy() for name, value in step.results.items()})
    return found


def _insert_pairs(function: Any, ranges: Mapping[str, Range]) -> None:
    """Round each value that has a range."""
    from coremltools.converters.mil.mil import Builder as mb  # noqa: N813  # as in all of coremltools
    from coremltools.converters.mil.mil import types

    ends = {*function.outputs, *function.inputs.values()}
    with function:
        for op in list(function.operations):
            for value in op.outputs:
                if value in ends or not _is_rounded(value, ranges):
                    continue
                scale, zero_point = ranges[value.name].grid()
                kind = np.float16 if value.dtype == types.fp16 else np.float32
                pair = {"scale": kind(scale), "zero_point": np.uint8(zero_point)}
                following = _next(function, op)
                integers = mb.quantize(input=value, output_dtype="uint8", **pair, before_op=following)
                rounded = mb.dequantize(input=integers, **pair, before_op=following)
                function.replace_uses_of_var_after_op(anchor_op=rounded.op, old_var=value, new_var=rounded)


def _float_weights(function: Any, ranges: Mapping[str, Range]) -> Iterator[str]:
    """Names of the weights of ops that stay in floats."""
    for op in function.operations:
        if op.op_type in ("conv", "linear") and not _is_covered(op, ranges):
            yield op.weight.op.name


def _next(function: Any, op: Any) -> Any:
    operations = list(function.operations)
    return operations[operations.index(op) + 1]


def _is_rounded(value: Any, ranges: Mapping[str, Range]) -> bool:
    """Whether a value is to be held in integers: an op computes with it that has nothing but such values."""
    if value.val is not None or value.name not in ranges:
        return False
    if len(value.child_ops) == 1 and value.child_ops[0].op_type in _FUSED:
        return False
    moved = [var for var in _variables(value.op) if ranges.get(var.name) == ranges[value.name]]
    if len(moved) == len(_variables(value.op)) == 1:
        return False  # the same numbers in another shape
    return any(_is_covered(op, ranges) for op in (value.op, *value.child_ops))


def _is_covered(op: Any, ranges: Mapping[str, Range]) -> bool:
    return all(var.name in ranges for var in [*_variables(op), *op.outputs])


def _variables(op: Any) -> list[Any]:
    """What an op takes that is not constant."""
    groups = (var if isinstance(var, list | tuple) else [var] for var in op.inputs.values())
    return [var for group in groups for var in group if var is not None and var.val is None]
