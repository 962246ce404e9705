"""A reference evaluator for Core ML packages: runs the file that was written, on any system.

It loads the saved package back, its weights included, and computes the program op by op in torch. It stands in for Core
ML where there is no Mac, and its numbers are those of the file's own number formats:

- where the program says fp32, everything is float32;
- where it says fp16, every weight, every input and every result of an op is rounded to float16 (beyond 65504 to
  infinity, as on the device), while sums inside an op are kept in float32. Apple does not document the accumulators of
  its GPUs and Neural Engine; a device may therefore be somewhat less exact inside an op, not between ops.

Pictures are treated as Core ML treats images: the input is rounded to 8 bits, for that is all that a photo's
CVPixelBuffer holds. The output is given *before* it is rounded to 8 bits unless `eight_bit` asks for it: rounding alone
leaves 58.9 dB, which would hide what the network itself does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgestyle import coreml_package
from edgestyle.coreml_package import Package
from edgestyle.errors import ConfigError, UnavailableError
from edgestyle.images import Image
from edgestyle.quiet import quiet
from edgestyle.runner import Placement, Runner, installed

if TYPE_CHECKING:
    from torch import Tensor


class EvaluatorSession:
    """A package opened for evaluation.

    Args:
        path: The `.mlpackage` folder.
        eight_bit: Round the output to 8 bits, as an app gets it.

    Raises:
        ConfigError: It is not a whole Core ML package, or does not map one picture to one picture.
        UnavailableError: It has an op that is not in `coreml_ops.OPS`.
        MissingExtraError: coremltools is not installed.
    """

    def __init__(self, path: Path, eight_bit: bool = False) -> None:
        package = coreml_package.read(path)
        self.contract = package.contract
        self.size = package.input.size
        self._ends = package.input, package.output
        self._eight_bit = eight_bit
        self._program = load(package)

    def run(self, image: Image) -> Image:
        """The network's pictures of `image` (B, 3, H, W), one after the other: a package takes one at a time."""
        sink = self._ends[1]
        results = [self.bind(image[i : i + 1])()[sink.name] for i in range(len(image))]
        return np.concatenate([sink.decode(result.numpy(), self._eight_bit) for result in results])

    def bind(self, image: Image) -> Callable[[], dict[str, Tensor]]:
        import torch

        source = self._ends[0]
        return partial(evaluate, self._program, {source.name: torch.from_numpy(source.encode(image))})

    def placement(self) -> Placement:
        count = sum(not _is_constant(op) for op in self._program.operations)
        return Placement(total=count, delegated=count, partitions=1)


def load(package: Package) -> Any:
    """The package's `main` function, as coremltools reads it back, its weights in place.

    Raises:
        ConfigError: The package is damaged.
        UnavailableError: It has an op that the evaluator lacks.
    """
    from coremltools.converters.mil.frontend import milproto

    from edgestyle.coreml_ops import OPS

    try:
        with quiet():
            version = package.spec.specificationVersion
            program = milproto.load.load(package.spec, version, str(package.weights)).functions["main"]
    except Exception as error:  # the loader trusts its input: a damaged one ends in an error of any type
        lines = str(error).splitlines() or [type(error).__name__]
        raise ConfigError(f"{package.path} is damaged: {lines[0]}; copy or export it again") from error
    for op in program.operations:
        if op.op_type not in OPS and not _is_constant(op):
            raise UnavailableError(
                f"the evaluator has no Core ML op '{op.op_type}' ('{op.name}' in {package.path}); run it on a Mac"
            )
    return program


def evaluate(program: Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Compute a MIL function.

    Args:
        program: As from `load`.
        inputs: Every input by name.

    Returns:
        Every output by name; fp16 and fp32 as float32.

    Raises:
        UnavailableError: An op is used in a way that is not served.
    """
    import torch

    from edgestyle.coreml_ops import OPS

    values = {name: _rounded(inputs[name], var) for name, var in program.inputs.items()}
    pending = Counter(var.name for op in program.operations for var in _variables(op))
    pending.update(var.name for var in program.outputs)
    with torch.inference_mode():
        for op in program.operations:
            if _is_constant(op):
                continue
            try:
                results = OPS[op.op_type](**_arguments(op, values))
            except (TypeError, ValueError, RuntimeError, KeyError, IndexError) as error:
                raise UnavailableError(f"the evaluator cannot compute {op.op_type} '{op.name}': {error}") from error
            for var, result in zip(op.outputs, results if isinstance(results, tuple) else (results,), strict=True):
                values[var.name] = _rounded(result, var)
            for var in _variables(op):
                pending[var.name] -= 1
                if not pending[var.name]:
                    values.pop(var.name, None)  # large pictures would fill the memory otherwise
        return {var.name: _value(var, values) for var in program.outputs}


def _is_constant(op: Any) -> bool:
    return op.op_type.startswith("constexpr_") or all(var.val is not None for var in op.outputs)


def _variables(op: Any) -> list[Any]:
    """All variables that an op reads, those in lists too."""
    groups = (var if isinstance(var, list | tuple) else [var] for var in op.inputs.values())
    return [var for group in groups for var in group if var is not None]


def _arguments(op: Any, values: dict[str, Tensor]) -> dict[str, Any]:
    """The arguments of an op: tensors, and plain Python values where MIL asks for constants that are no weights."""
    arguments: dict[str, Any] = {}
    for name, var in op.inputs.items():
        if isinstance(var, list | tuple):
            arguments[name] = [_value(v, values) for v in var]
        elif var is not None:
            setting = op.input_spec.input_types[name].const and var.val is not None
            plain = setting and (np.ndim(var.val) == 0 or np.asarray(var.val).dtype.kind != "f")
            arguments[name] = np.asarray(var.val).tolist() if plain else _value(var, values)
    return arguments


def _value(var: Any, values: dict[str, Tensor]) -> Tensor:
    """A variable's tensor, computed or constant. Compressed weights are expanded as coremltools does it."""
    import torch

    if var.name in values:
        return values[var.name]
    constant = var.val if var.val is not None else var.op.materialized_val_inference()
    array = np.asarray(constant)
    return _rounded(torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else array.dtype)), var)


def _rounded(tensor: Tensor, var: Any) -> Tensor:
    """`tensor` in the number format of `var`."""
    import torch
    from coremltools.converters.mil.mil import types

    return tensor.to(torch.float16).to(torch.float32) if var.dtype == types.fp16 else tensor


RUNNER = Runner(
    name="coreml-evaluator",
    title="Core ML programs, evaluated in torch",
    hardware="cpu",
    suffixes=(".mlpackage",),
    probe=partial(installed, "coreml", "coremltools"),
    open=EvaluatorSession,
    emulated=True,
)
