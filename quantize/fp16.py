"""fp16: half-precision floats. The file is half as large; what is computed in fp16 depends on the format.

- ONNX: weights and arithmetic are fp16 from the first convolution on, between two Casts. GPUs and NPUs run this best. A
  CPU without fp16 arithmetic computes in fp32 and drops the Casts in between: slower than the fp32 file, and nearer to
  the float network than a GPU will be.
- TFLite: weights are fp16, each widened by a DEQUANTIZE. The GPU delegate drops these and computes in fp16, as it does
  with fp32 files too; the CPU widens the weights once, when the file is opened, and computes in fp32.

Input and output stay float32 in both, so that an app calls the file just as it calls the fp32 one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgestyle import tflite_model
from edgestyle.errors import MissingExtraError
from edgestyle.quiet import quiet
from edgestyle.target import Scheme

if TYPE_CHECKING:
    import onnx


def rewrite_onnx(path: Path) -> None:
    """Make weights and arithmetic of an ONNX file fp16, in place. Metadata, names and types of input and output stay.

    What no convolution comes before, the normalisation of the picture, stays fp32: it subtracts the mean and
    multiplies what is left by up to 32, and with it the rounding of a picture in fp16. That would cost 4 to 8 dB.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx") from error

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    start, inputs = _cut_before_convolutions(model.graph)
    model = convert_float_to_float16(model, keep_io_types=True)
    OnnxModel(model).topological_sort()  # the Casts of the inputs were appended, and must come first
    _put_back(model.graph, start, inputs)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _cut_before_convolutions(graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], list[onnx.ValueInfoProto]]:
    """Let a graph begin where convolutions do. Returns the nodes cut off, and the inputs that the graph had."""
    start: list[onnx.NodeProto] = []
    rest: list[onnx.NodeProto] = []
    after: set[str] = set()
    for node in graph.node:
        if node.op_type == "Conv" or after.intersection(node.input):
            after.update(node.output)
            rest.append(node)
        else:
            start.append(node)
    inputs = list(graph.input)
    made = {value.name: value for value in (*inputs, *graph.value_info)}
    there = {value.name for value in inputs} | {name for node in start for name in node.output}
    taken = dict.fromkeys(name for node in rest for name in node.input if name in there)
    del graph.node[:], graph.input[:]
    graph.node.extend(rest)
    graph.input.extend(made[name] for name in taken)
    del graph.value_info[:]  # inferred anew when the types are known
    return start, inputs


def _put_back(graph: onnx.GraphProto, start: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto]) -> None:
    """Undo the cut."""
    rest = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*start, *rest])
    graph.input.extend(inputs)


def rewrite_tflite(path: Path) -> None:
    """Make the weights of a TFLite file fp16, in place. Metadata, signature and float32 input and output stay.

    Raises:
        MissingExtraError: ai-edge-quantizer is not installed.
    """
    try:
        from ai_edge_quantizer import qtyping, quantizer
        from ai_edge_quantizer.algorithm_manager import AlgorithmName
    except ImportError as error:
        raise MissingExtraError("ai-edge-quantizer", "tflite") from error

    half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    weights_only = qtyping.OpQuantizationConfig(
        weight_tensor_config=half, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    job = quantizer.Quantizer(str(path))
    job.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=weights_only,
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    with quiet():  # it prints sizes
        quantized = job.quantize().quantized_model
    path.write_bytes(tflite_model.pack(tflite_model.read(quantized)))  # large arrays stand behind the flatbuffer


SCHEME = Scheme(
    name="fp16",
    title="half-precision floats",
    gain="half the size; on GPUs and NPUs up to twice as fast, on most CPUs no faster",
    pays="GPUs and NPUs",
    rewrites={"onnx": rewrite_onnx, "tflite": rewrite_tflite},
)
