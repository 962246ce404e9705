"""A Core ML package as a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgestyle import coreml_package
from edgestyle.errors import ConfigError
from edgestyle.lint.graph import Graph, Op, Tensor
from edgestyle.quiet import quiet

_FORMS = {"kernel_sizes": "window", "strides": "stride", "dilations": "dilation"}


def read(path: Path) -> Graph:
    """The `main` function of an ML Program.

    Raises:
        ConfigError: It is not a Core ML package, or a damaged one.
        MissingExtraError: coremltools is not installed.
    """
    package = coreml_package.read(path)
    from coremltools.converters.mil.frontend.milproto.load import load

    try:
        with quiet():
            program = load(package.spec, package.spec.specificationVersion, str(package.weights))
    except Exception as error:  # whatever damaged files make its reader stumble over
        why = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path} is damaged; copy or export it again ({why})") from error
    operations = program.functions["main"].operations
    return Graph(tuple(_op(op) for op in operations if not _is_constant(op)))


def _is_constant(op: Any) -> bool:
    return bool(op.op_type == "const" or op.op_type.startswith("constexpr_"))


def _op(op: Any) -> Op:
    inputs = {name: value for name, value in op.inputs.items() if value is not None}
    attributes = {name: _plain(value.val) for name, value in inputs.items() if not isinstance(value, (list, tuple))}
    attributes |= {ours: tuple(attributes[theirs]) for theirs, ours in _FORMS.items() if attributes.get(theirs)}
    weight = inputs.get("weight")
    if weight is not None and op.op_type in ("conv", "conv_transpose"):
        attributes["window"] = tuple(weight.shape[2:])
    values = [v for value in inputs.values() for v in (value if isinstance(value, (list, tuple)) else (value,))]
    return Op(
        type=op.op_type,
        name=op.name,
        inputs=tuple(map(_tensor, values)),
        outputs=tuple(map(_tensor, op.outputs)),
        attributes=attributes,
        layer=next(filter(None, (_layer(value.name) for value in values)), ""),
    )


def _plain(value: Any) -> Any:
    """A small constant as Python's own type, to be compared with those of a table; of weights there is no need."""
    if isinstance(value, np.ndarray):
        return value.tolist() if value.size <= 16 else None
    return value.item() if isinstance(value, np.generic) else value


def _layer(weight: str) -> str:
    """The module of a weight as coremltools names it: "p_net_trunk_0_norm_weight_to_fp16" -> "trunk_0_norm"."""
    module, found, _ = weight.removeprefix("p_").removeprefix("net_").rpartition("_weight")
    return module if found and weight.startswith("p_") else ""


def _tensor(value: Any) -> Tensor:
    from coremltools.converters.mil.mil import types

    constant = value.op is not None and _is_constant(value.op)
    is_tensor = types.is_tensor(value.sym_type)
    return Tensor(
        name=value.name,
        shape=tuple(side if isinstance(side, int) else None for side in value.shape) if is_tensor else (),
        dtype=_dtype(value),
        constant=constant,
        value=np.asarray(value.val) if constant and isinstance(value.val, np.ndarray | np.generic) else None,
    )


def _dtype(value: Any) -> str:
    from coremltools.converters.mil.mil import types

    names = {"fp16": "float16", "fp32": "float32", "str": "string"}
    name = str(types.builtin_to_string(value.dtype))
    return names.get(name, name)
