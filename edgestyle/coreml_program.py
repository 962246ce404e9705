"""Core ML programs, computed in torch: the file that was written, op by op, on any system.

The package is loaded back, its weights included, and its numbers are those of its own number formats:

- where the program says fp32, everything is float32;
- where it says fp16, every weight, every input and every result of an op is rounded to float16 (beyond 65504 to
  infinity, subnormal numbers kept), while sums inside an op are kept in float32, as Apple's Neural Engine and GPUs
  appear to do: Apple documents neither. `edgestyle.coreml_sums` keeps sums in fp16 too, for the worst case.

What is constant (weights, compressed or not) is computed once, when the program is loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgestyle.coreml_ops import OPS
from edgestyle.coreml_package import End, Package, find_ranges
from edgestyle.errors import ConfigError, UnavailableError
from edgestyle.images import Image
from edgestyle.quiet import quiet

Rounded = Callable[[Any], bool]
"""Whether a variable of a program is rounded to fp16."""


def as_declared(var: Any) -> bool:
    """Rounds what the program itself holds in fp16."""
    from coremltools.converters.mil.mil import types

    return bool(var.dtype == types.fp16)


def nowhere(var: Any) -> bool:  # noqa: ARG001
    """Rounds nothing: the reference for what fp16 costs. Weights stay those of the file."""
    return False


def everywhere(var: Any) -> bool:
    """Rounds every float, fp32 ones too: what a GPU or a Neural Engine makes of a program in fp32."""
    from coremltools.converters.mil.mil import types

    return bool(types.is_float(var.dtype))


@dataclass(frozen=True)
class Program:
    """The `main` function of a package."""

    inputs: Mapping[str, Any]
    """Variables by name."""
    outputs: tuple[str, ...]
    operations: tuple[Any, ...]
    """Those that need the input, in order."""
    constants: Mapping[str, tuple[Any, Tensor]]
    """Every other variable by name, with its value."""


@dataclass(frozen=True)
class Step:
    """One op that has been computed."""

    op: Any
    arguments: Mapping[str, Any]
    results: Mapping[str, Tensor]
    """By variable; fp16 and fp32 as float32."""


def load(package: Package) -> Program:
    """Read a package's program and fold what is constant in it.

    Raises:
        ConfigError: The package is damaged.
        UnavailableError: It has an op that the evaluator lacks.
    """
    from coremltools.converters.mil.frontend import milproto

    try:
        with quiet():
            version = package.spec.specificationVersion
            function = milproto.load.load(package.spec, version, str(package.weights)).functions["main"]
    except Exception as error:  # the loader trusts its input: a damaged one ends in an error of any type
        lines = str(error).splitlines() or [type(error).__name__]
        raise ConfigError(f"{package.path} is damaged: {lines[0]}; copy or export it again") from error
    constants: dict[str, tuple[Any, Tensor]] = {}
    operations = []
    for op in function.operations:
        if all(var.val is not None for var in op.outputs):
            constants.update({var.name: (var, _tensor(var)) for var in op.outputs if _is_number(var.val)})
            continue
        if op.op_type not in OPS:
            raise UnavailableError(
                f"the evaluator has no Core ML op '{op.op_type}' ('{op.name}' in {package.path}); run it on a Mac"
            )
        if all(var.name in constants or var.val is not None for var in _variables(op)):
            values = {name: tensor for name, (_, tensor) in constants.items()}
            results = compute(op, _arguments(op, values), as_declared)
            constants.update({var.name: (var, results[var.name]) for var in op.outputs})
        else:
            operations.append(op)
    outputs = tuple(var.name for var in function.outputs)
    return Program(function.inputs, outputs, tuple(operations), constants)


def ends(package: Package, program: Program) -> tuple[End, End]:
    """A package's input and output, the range of arrays found out where it does not state it.

    Raises:
        ConfigError: It does not map one picture to one picture.
        UnavailableError: An op is used in a way that is not served.
    """
    source, sink = package.input, package.output

    def run(image: Image) -> NDArray[np.float32]:
        return evaluate(program, {source.name: torch.from_numpy(source.encode(image))})[sink.name].numpy()

    return find_ranges(source, sink, run)


def evaluate(program: Program, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute a program.

    Args:
        program: As from `load`.
        inputs: Every input by name.

    Returns:
        Every output by name; fp16 and fp32 as float32.

    Raises:
        UnavailableError: An op is used in a way that is not served.
    """
    results: dict[str, Tensor] = {}
    for step in steps(program, inputs):
        results.update({name: value for name, value in step.results.items() if name in program.outputs})
    return results


def steps(
    program: Program,
    inputs: Mapping[str, Tensor],
    rounded: Rounded = as_declared,
    ops: Mapping[str, Callable[..., Any]] = OPS,
) -> Iterator[Step]:
    """Compute a program op by op.

    Args:
        program: As from `load`.
        inputs: Every input by name.
        rounded: Which variables are rounded to fp16.
        ops: What computes each op.

    Raises:
        UnavailableError: An op is used in a way that is not served.
    """
    values = {name: _round(tensor, rounded(var)) for name, (var, tensor) in program.constants.items()}
    values.update({name: _round(inputs[name], rounded(var)) for name, var in program.inputs.items()})
    pending = Counter(var.name for op in program.operations for var in _variables(op))
    for op in program.operations:
        step = Step(op, arguments := _arguments(op, values), compute(op, arguments, rounded, ops))
        values.update(step.results)
        yield step
        for var in _variables(op):
            pending[var.name] -= 1
            if not pending[var.name]:
                values.pop(var.name, None)  # large pictures would fill the memory otherwise


@torch.inference_mode()
def compute(
    op: Any, arguments: Mapping[str, Any], rounded: Rounded, ops: Mapping[str, Callable[..., Any]] = OPS
) -> dict[str, Tensor]:
    """The results of one op.

    Raises:
        UnavailableError: The op is used in a way that is not served.
    """
    try:
        results = ops[op.op_type](**arguments)
    except (TypeError, ValueError, RuntimeError, KeyError, IndexError) as error:
        raise UnavailableError(f"the evaluator cannot compute {op.op_type} '{op.name}': {error}") from error
    if not isinstance(results, tuple):
        results = (results,)
    return {var.name: _round(result, rounded(var)) for var, result in zip(op.outputs, results, strict=True)}


def round_arguments(op: Any, arguments: Mapping[str, Any], rounded: Rounded) -> dict[str, Any]:
    """The arguments of a step in other number formats."""
    result = dict(arguments)
    for name, value in arguments.items():
        var = op.inputs[name]
        if isinstance(value, list) and isinstance(var, list | tuple):
            result[name] = [_round(v, rounded(each)) for v, each in zip(value, var, strict=True)]
        elif isinstance(value, Tensor):
            result[name] = _round(value, rounded(var))
    return result


def _variables(op: Any) -> list[Any]:
    """All variables that an op reads, those in lists too."""
    groups = (var if isinstance(var, list | tuple) else [var] for var in op.inputs.values())
    return [var for group in groups for var in group if var is not None]


def _arguments(op: Any, values: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of an op: tensors, and plain Python values where MIL asks for constants that are no weights."""
    arguments: dict[str, Any] = {}
    for name, var in op.inputs.items():
        if isinstance(var, list | tuple):
            arguments[name] = [values[v.name] for v in var]
        elif var is not None:
            arguments[name] = np.asarray(var.val).tolist() if _is_setting(op, name, var) else values[var.name]
    return arguments


def _is_setting(op: Any, name: str, var: Any) -> bool:
    """Whether an argument is a plain value: a number, a word or, but for compressed weights, a list of integers."""
    if var.val is None or not op.input_spec.input_types[name].const:
        return False
    is_list = np.asarray(var.val).dtype.kind != "f" and not op.op_type.startswith("constexpr_")
    return is_list or np.ndim(var.val) == 0


def _is_number(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "biuf"


def _tensor(var: Any) -> Tensor:
    """A constant as a tensor."""
    array = np.asarray(var.val)
    tensor = torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else array.dtype.str))
    return _round(tensor, as_declared(var))


def _round(tensor: Tensor, to_half: bool) -> Tensor:
    return tensor.to(torch.float16).to(torch.float32) if to_half else tensor
