"""TFLite models as bytes, without what a file need not hold twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(model: Any) -> bytes:
    """A `ModelT` as a file, each array in it once.

    A layer in 8 bits has a zero point of 8 bytes for each channel, all of them zero: an eighth of a small network's
    file. A flatbuffer may point to one array from many places.
    """
    import flatbuffers  # type: ignore[import-untyped]  # it has no types

    class Sharing(flatbuffers.Builder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(1024)
            self._written: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802  # flatbuffers' name
            key = x.dtype.str, x.tobytes()
            if key not in self._written:
                self._written[key] = int(super().CreateNumpyVector(x))
            return self._written[key]

    builder = Sharing()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def read(content: bytes) -> Any:
    """A file as a `ModelT`."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        if tensor.quantization is not None and isinstance(tensor.quantization.zeroPoint, list):
            tensor.quantization.zeroPoint = np.array(tensor.quantization.zeroPoint, np.int64)
    return model
