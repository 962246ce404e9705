"""int8: weights and activations are 8-bit integers, their ranges found beforehand on calibration photos.

- ONNX: QDQ, u8 activations and s8 weights with one scale a channel. CPUs and NPUs fuse it into integer kernels.
- TFLite: s8 throughout, the arithmetic of XNNPACK and of every Android NPU.
- Core ML: quantize and dequantize around each value, u8, from iOS 17 on; the Neural Engine computes in integers from
  the A17 Pro and M4 on, others in fp16 as before.

Every target has the same ranges, and so nearly the same picture. Input and output stay floats
(of Core ML images) unless an app asks for bytes.
"""

from __future__ import annotations

from functools import partial

from edgestyle.target import Scheme

from . import coreml_integers, onnx_qdq, tflite_integers

SCHEME = Scheme(
    name="int8",
    title="8-bit weights and activations",
    calibrated={
        "onnx": partial(onnx_qdq.write_qdq, activation_bits=8),
        "tflite": partial(tflite_integers.write_integers, activation_bits=8),
        "coreml": coreml_integers.write_integers,
    },
    bytes={"onnx": onnx_qdq.take_and_give_bytes, "tflite": tflite_integers.take_and_give_bytes},
    gain="a quarter of the size; 2 to 3 times faster on a CPU",
    pays="CPUs (XNNPACK, ONNX Runtime), NPUs (Hexagon, Neural Engine from A17 Pro and M4 on); GPUs compute in floats",
)
