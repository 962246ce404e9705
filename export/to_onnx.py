"""ONNX: the format of ONNX Runtime on Android, iOS, Windows and in browsers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle.errors import MissingExtraError
from edgestyle.manifest import CODE, METADATA_KEY, Contract, TensorSpec
from edgestyle.quiet import quiet
from edgestyle.runner import installed
from edgestyle.target import Target, image_spec

if TYPE_CHECKING:
    import onnx
    from torch import nn

OPSET, IR_VERSION = 18, 8
"""The oldest that torch's exporter writes: every ONNX Runtime since 1.14 (February 2023) opens it, so also the one that
an app has shipped for years. Nothing in these networks needs a newer one."""


def write(net: nn.Module, contract: Contract, path: Path) -> None:
    """Write `net` as one ONNX file, its weights inside it: a browser cannot open a second file of weights.

    Args:
        net: Network in deploy form.
        contract: Says the size and the names of input and output; stands as JSON in the file's metadata.
        path: The `.onnx` file to write.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx") from error

    model = _convert(net, contract)
    _shuffle_depth_first(model)
    _tidy(model, contract)
    _describe(model, contract)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _convert(net: nn.Module, contract: Contract) -> onnx.ModelProto:
    """The graph as torch's exporter writes it, with the two ops of `_mobile_forms`."""
    import torch

    s = contract.size_multiple
    code = [torch.zeros(1, contract.code.length)] if contract.code and contract.role == "transformer" else []
    if contract.size == "dynamic":
        height, width = 8 * s, 9 * s  # an example; unequal, or torch takes both for one size
        rows, columns = torch.export.Dim("rows"), torch.export.Dim("columns")
        free: Any = ({2: s * rows, 3: s * columns}, *({} for _ in code))
    else:
        (height, width), free = contract.size, None
    with quiet():  # it reports its steps, and what torchvision lacks
        program = torch.onnx.export(
            net,
            (torch.empty(1, 3, height, width), *code),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[contract.input.name, *(CODE for _ in code)],
            output_names=[contract.output.name],
            dynamic_shapes=free,
            custom_translation_table=_mobile_forms(),
        )
    assert program is not None  # noqa: S101  # for mypy: it is None only with the exporter of before dynamo
    return program.model_proto


def _mobile_forms() -> dict[Callable[..., Any], Callable[..., Any]]:
    """How ops are written where torch's own choice does not suit phones.

    - `x ** 2` as Mul, not Pow: shader languages leave Pow of a negative number undefined, and ONNX Runtime's Core ML
      provider takes no Pow in fp16.
    - `rsqrt` as 1 / Sqrt, not Reciprocal: NNAPI has none, and Core ML's adds an epsilon of 1e-4.
    """
    import torch
    from onnxscript import opset18 as op

    def power(x: Any, exponent: float) -> Any:
        return op.Mul(x, x) if exponent == 2 else op.Pow(x, op.CastLike(exponent, x))

    def rsqrt(x: Any) -> Any:
        return op.Div(op.CastLike(1.0, x), op.Sqrt(x))

    aten = torch.ops.aten
    return {aten.pow.Tensor_Scalar: power, aten.rsqrt.default: rsqrt}


def _shuffle_depth_first(model: onnx.ModelProto) -> None:
    """Turn the pixel shuffle at the end into DepthToSpace of mode DCR, the only one that NNAPI and older Core ML know.

    torch's shuffle takes channels in the order (colour, row, column), DCR in the order (row, column, colour); the
    convolution before it is given that order instead. Only a pointwise Sigmoid may stand between the two.
    """
    import numpy as np
    from onnx import numpy_helper

    maker = {output: node for node in model.graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "DepthToSpace":
            continue
        attributes = {attribute.name: attribute for attribute in node.attribute}
        before = maker[node.input[0]]
        convolution = maker[before.input[0]] if before.op_type == "Sigmoid" else before
        if convolution.op_type != "Conv":
            continue  # still right, only less portable
        for name in convolution.input[1:]:
            value = numpy_helper.to_array(weights[name])
            colours = value.reshape(-1, attributes["blocksize"].i ** 2, *value.shape[1:])
            permuted = np.ascontiguousarray(colours.swapaxes(0, 1).reshape(value.shape))
            weights[name].CopyFrom(numpy_helper.from_array(permuted, name))
        attributes["mode"].s = b"DCR"


def _tidy(model: onnx.ModelProto, contract: Contract) -> None:
    """Drop the exporter's notes (they name source files of this machine), and state shapes as the contract does."""
    from onnx import shape_inference

    graph = model.graph
    for noted in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del noted.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    for value, spec in ((graph.input[0], contract.input), (graph.output[0], contract.output)):
        for dimension, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
            if isinstance(size, str):
                dimension.dim_param = size
            else:
                dimension.dim_value = size
    del graph.value_info[:]
    graph.value_info.extend(shape_inference.infer_shapes(model, strict_mode=True).graph.value_info)


def _describe(model: onnx.ModelProto, contract: Contract) -> None:
    """Say in the file what it is, and put the contract into its metadata."""
    from onnx import helper

    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "edgestyle", version("edgestyle")
    model.doc_string = contract.description
    model.graph.name = contract.model
    model.graph.input[0].doc_string = _meaning(contract.input)
    model.graph.output[0].doc_string = _meaning(contract.output)
    helper.set_model_props(
        model,
        {
            "model_author": "edgestyle",
            "model_license": contract.licence,
            METADATA_KEY: contract.model_dump_json(),
        },
    )


def _meaning(spec: TensorSpec) -> str:
    low, high = spec.range
    what = "style code" if spec.layout == "NC" else spec.channels
    return f"{what} {spec.dtype} {spec.layout} in [{low:g}, {high:g}]"


TARGET = Target(
    name="onnx",
    title="ONNX",
    suffix=".onnx",
    spec=partial(image_spec, layout="NCHW"),
    runner="onnxruntime-cpu",
    native_runner=None,
    native=("fp32",),
    default_scheme="fp32",
    dynamic=True,
    probe=partial(installed, "onnx", "onnx", "onnxscript"),
    tools=("onnx", "onnxscript"),
    write=write,
)
