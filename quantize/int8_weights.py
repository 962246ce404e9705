"""int8-weights: 8-bit weights, everything computed in floats. A quarter of the size, and nothing to calibrate.

Weights are signed and symmetric, with one scale a channel. CPUs widen them when the file is opened or at each run, and
then compute as with fp32.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgestyle import coreml_package
from edgestyle.errors import MissingExtraError
from edgestyle.target import Scheme

from . import coreml_integers, tflite_integers

if TYPE_CHECKING:
    import onnx

_CHANNELS = {"Conv": 0, "Gemm": 0, "MatMul": 1}
"""Op -> the axis of its weights that is the output's channel."""


def rewrite_onnx(path: Path) -> None:
    """Hold the weights of an ONNX file in 8 bits, each behind a DequantizeLinear, in place.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx") from error

    model = onnx.load(path)
    axes = {node.input[1]: _CHANNELS[node.op_type] for node in model.graph.node if node.op_type in _CHANNELS}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name in axes]:
        _compress(model.graph, tensor, axes[tensor.name])
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _compress(graph: onnx.GraphProto, tensor: onnx.TensorProto, axis: int) -> None:
    """Put integers and a scale a channel in the place of a tensor of floats."""
    import numpy as np
    from onnx import helper, numpy_helper

    weights = numpy_helper.to_array(tensor)
    others = tuple(i for i in range(weights.ndim) if i != axis)
    scale = np.maximum(np.abs(weights).max(others, keepdims=True) / 127, np.finfo(np.float32).tiny)
    integers = np.rint(weights / scale).astype(np.int8)
    name = tensor.name
    graph.initializer.remove(tensor)
    graph.initializer.append(numpy_helper.from_array(integers, f"{name}/q"))
    graph.initializer.append(numpy_helper.from_array(scale.ravel().astype(np.float32), f"{name}/s"))
    graph.node.insert(
        0, helper.make_node("DequantizeLinear", [f"{name}/q", f"{name}/s"], [name], f"{name}/f", axis=axis)
    )


def rewrite_coreml(path: Path) -> None:
    """Hold the weights of an fp16 package in 8 bits, in place.

    Raises:
        MissingExtraError: coremltools is not installed.
    """
    optimize = coreml_package.import_coremltools().optimize.coreml
    every = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", weight_threshold=0)
    config = optimize.OptimizationConfig(op_type_configs={"conv": every, "linear": every})  # not factors of channels
    coreml_integers.change(path, lambda model: optimize.linear_quantize_weights(model, config))


SCHEME = Scheme(
    name="int8-weights",
    title="8-bit weights",
    rewrites={"onnx": rewrite_onnx, "tflite": tflite_integers.write_weights, "coreml": rewrite_coreml},
    gain="a quarter of the size of fp32, half of fp16; no faster",
    pays="wherever the download or the flash counts; on every delegate of Core ML and TFLite, and CPUs with ONNX",
)
