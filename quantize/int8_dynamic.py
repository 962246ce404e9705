"""int8-dynamic: 8-bit weights, and activations that each run rounds to 8 bits by the range that it meets.

Nothing to calibrate, and no photo passes a range; but every layer has to look at all of its input before it starts.
Core ML knows no such thing.
"""

from __future__ import annotations

from pathlib import Path

from edgestyle.errors import MissingExtraError
from edgestyle.quiet import quiet
from edgestyle.target import Scheme

from . import tflite_integers


def rewrite_onnx(path: Path) -> None:
    """Let the convolutions and matrix products of an ONNX file compute in integers, in place.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx") from error

    model = onnx.load(path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    with quiet():
        # Unsigned weights: ConvInteger of onnxruntime's CPU has no kernel for signed ones.
        quantize_dynamic(model, path, weight_type=QuantType.QUInt8, op_types_to_quantize=["Conv", "MatMul", "Gemm"])
    model = onnx.load(path)
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, path)


SCHEME = Scheme(
    name="int8-dynamic",
    title="8-bit weights, activations rounded to 8 bits at each run",
    rewrites={"onnx": rewrite_onnx, "tflite": tflite_integers.write_dynamic},
    gain="a quarter of the size; with TFLite faster than fp32, with ONNX slower",
    pays="the CPU with TFLite (XNNPACK), where calibration photos are not to be had",
)
