"""Integers in ONNX files, as QDQ: a QuantizeLinear and a DequantizeLinear around each value, which runtimes fuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgestyle.errors import CheckError, MissingExtraError
from edgestyle.quantization.calibration import Calibration, Range
from edgestyle.quiet import quiet

if TYPE_CHECKING:
    import onnx

    from edgestyle.images import Image


_SUFFIXES = (
    ("_DequantizeLinear_Output", "/f"),
    ("_DequantizeLinear", "/f"),
    ("_QuantizeLinear_Output", "/q"),
    ("_QuantizeLinear", "/q"),
    ("_quantized", "/q"),
    ("_quantized_scale", "/s"),
    ("_scale", "/s"),
    ("_quantized_zero_point", "/z"),
    ("_zero_point", "/z"),
)
"""What onnxruntime adds to a value's name, and something shorter."""


def write_qdq(path: Path, calibration: Calibration, activation_bits: int) -> None:
    """Make weights and activations of a float ONNX file integers, in place; input and output stay float32.

    Weights are signed and symmetric, with one scale a channel of a convolution, and one for a whole matrix (Qualcomm's
    NPU knows no other); activations are unsigned with a zero point. An op whose values are not all in the calibration
    stays float.

    Args:
        path: The float file.
        calibration: Of its network.
        activation_bits: 8 or 16.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx") from error

    model = onnx.load(path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    ranges = (calibration if activation_bits == 8 else calibration.widened()).match(_tensors(model, calibration.photo))
    served = [node.name for node in _integer_nodes(model.graph, ranges)]
    ends = {name: (np.float32(r.low), np.float32(r.high)) for name, r in ranges.items()}
    with quiet():
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8 if activation_bits == 8 else QuantType.QUInt16,
            tensors_range=TensorsData(CalibrationMethod.MinMax, ends),
            nodes_to_quantize=served,
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({node.op_type for node in model.graph.node}),
            extra_options={
                "WeightSymmetric": True,
                "UseQDQContribOps": activation_bits == 16,
                "TensorQuantOverrides": {
                    node.input[1]: [{"quant_type": QuantType.QInt8, "symmetric": True}]
                    for node in model.graph.node
                    if node.op_type in ("Gemm", "MatMul")
                },
            },
        )
        quantizer.quantize_model()
    quantizer.model.topological_sort()
    model = quantizer.model.model
    _shorten_names(model.graph)
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def take_and_give_bytes(path: Path) -> None:
    """Make input and output of an integer ONNX file uint8, 0 to 255, in place.

    Raises:
        CheckError: The photo does not go into a layer at once, in integers.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    source, sink = graph.input[0].name, graph.output[0].name
    first = next(node for node in graph.node if source in node.input)
    if first.op_type != "QuantizeLinear":
        raise CheckError(f"{path.name} begins with {first.op_type} in floats, and cannot take bytes")
    last = next(node for node in graph.node if sink in node.output)
    for node in graph.node:  # the photo's steps of 1/255 are those of its bytes
        node.input[:] = [source if name == first.output[0] else name for name in node.input]
    graph.node.remove(first)
    last.output[0] = f"{sink}/f"
    graph.initializer.append(numpy_helper.from_array(np.array(1 / 255, np.float32), f"{sink}/byte"))
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.uint8), f"{sink}/zero"))
    inputs = [last.output[0], f"{sink}/byte", f"{sink}/zero"]
    graph.node.append(helper.make_node("QuantizeLinear", inputs, [sink], f"{sink}/bytes"))
    for end in (graph.input[0], graph.output[0]):
        end.type.tensor_type.elem_type = TensorProto.UINT8
        end.doc_string = "RGB uint8 NCHW in [0, 255]"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _shorten_names(graph: onnx.GraphProto) -> None:
    """Give what onnxruntime has added names that do not weigh more than it does: a tenth of a small file is names."""

    def short(name: str) -> str:
        for long, brief in _SUFFIXES:
            name = name.removesuffix(long) + brief if name.endswith(long) else name
        return name

    for node in graph.node:
        node.name = short(node.name)
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [name if name == graph.output[0].name else short(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)


def _tensors(model: onnx.ModelProto, photo: Image) -> dict[str, NDArray[Any]]:
    """Everything that a model computes for a photo, by name, the photo included."""
    import onnx
    import onnxruntime as ort

    noisy = onnx.ModelProto()
    noisy.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output]
    del noisy.graph.output[:]
    noisy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # it would fuse some of them away
    session = ort.InferenceSession(noisy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = model.graph.input[0].name
    return {source: photo, **dict(zip(names, session.run(None, {source: photo}), strict=True))}


def _integer_nodes(graph: onnx.GraphProto, ranges: Mapping[str, Range]) -> Iterator[onnx.NodeProto]:
    """The nodes that take and give nothing but what has a range, and constants."""
    constants = {tensor.name for tensor in graph.initializer} | {""}
    for node in graph.node:
        if all(name in ranges for name in [*node.output, *(set(node.input) - constants)]):
            yield node
