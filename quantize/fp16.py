"""fp16: half-precision floats. The file is half as large; what is computed in fp16 depends on the format.

- ONNX: weights and arithmetic are fp16, with a Cast behind the input and one before the output. GPUs and NPUs run this
  best. A CPU without fp16 arithmetic computes in fp32 between Casts, so there it is slower than the fp32 file.
- TFLite: weights are fp16, each widened by a DEQUANTIZE. The GPU delegate drops these and computes in fp16, as it does
  with fp32 files too; the CPU widens the weights once, when the file is opened, and computes in fp32.

Input and output stay float32 in both, so that an app calls the file just as it calls the fp32 one.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from edgestyle.errors import MissingExtraError
from edgestyle.target import Rewrite, Scheme


def rewrite_onnx(path: Path) -> None:
    """Make weights and arithmetic of an ONNX file fp16, in place. Metadata, names and types of input and output stay.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx") from error

    model = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    OnnxModel(model).topological_sort()  # the Cast of the input was appended, and must come first
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


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
    with contextlib.redirect_stdout(io.StringIO()):  # it prints sizes
        quantized = job.quantize().quantized_model
    path.write_bytes(quantized)


SCHEME = Scheme(
    name="fp16",
    title="half-precision floats",
    rewrites={
        "onnx": Rewrite(apply=rewrite_onnx, min_psnr_db=55.0),
        "tflite": Rewrite(apply=rewrite_tflite, min_psnr_db=55.0),
    },
)
