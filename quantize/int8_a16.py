"""int8-a16: 8-bit weights and 16-bit activations, for networks whose picture 8-bit activations spoil.

- ONNX: QDQ with u16 activations, as Qualcomm's NPU computes. A CPU computes in floats between the pairs, slower than
  the fp32 file.
- TFLite: s16 activations without zero point. XNNPACK has no kernels for it: a CPU takes many times as long.
- Core ML knows no 16-bit activations; its fp16 is as fine.
"""

from __future__ import annotations

from functools import partial

from edgestyle.target import Scheme

from . import onnx_qdq, tflite_integers

SCHEME = Scheme(
    name="int8-a16",
    title="8-bit weights, 16-bit activations",
    calibrated={
        "onnx": partial(onnx_qdq.write_qdq, activation_bits=16),
        "tflite": partial(tflite_integers.write_integers, activation_bits=16),
    },
    gain="a quarter of the size, a picture near that of fp16; slower than fp32 on every CPU",
    pays="NPUs with 16-bit activations (Hexagon)",
)
