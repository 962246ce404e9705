"""A TFLite file as a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestyle.errors import ConfigError, MissingExtraError
from edgestyle.lint.graph import Graph, Op, Tensor
from edgestyle.quiet import quiet

_IDENTIFIER = b"TFL3"
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")


def read(path: Path) -> Graph:
    """The first subgraph of a TFLite file.

    Raises:
        ConfigError: It is not a TFLite file, or a damaged one.
        MissingExtraError: ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "tflite") from error

    content = path.read_bytes()
    try:
        if content[4:8] != _IDENTIFIER:
            raise ValueError(f"it lacks the mark {_IDENTIFIER.decode()}")
        with quiet():
            Interpreter(model_content=content)  # verifies every offset before anything follows one
    except (RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{path} is not a TFLite file, or a damaged one; copy or export it again ({why})") from error
    return _Reader(schema, schema.ModelT.InitFromObj(schema.Model.GetRootAs(content)), content).graph()


class _Reader:
    """Turns the schema's objects into ours."""

    def __init__(self, schema: Any, model: Any, content: bytes) -> None:
        self.model, self.subgraph, self.content = model, model.subgraphs[0], content
        self.enums = {
            "fusedActivationFunction": _names(schema.ActivationFunctionType),
            "padding": _names(schema.Padding),
            "mode": _names(schema.MirrorPadMode),
        }
        self.builtins, self.dtypes = _names(schema.BuiltinOperator), _names(schema.TensorType)
        self.tensors = {index: self._tensor(index, raw) for index, raw in enumerate(self.subgraph.tensors)}

    def graph(self) -> Graph:
        return Graph(tuple(self._op(index, raw) for index, raw in enumerate(self.subgraph.operators)))

    def _op(self, index: int, raw: Any) -> Op:
        code = self.model.operatorCodes[raw.opcodeIndex]
        name = self.builtins[max(code.builtinCode, code.deprecatedBuiltinCode)]
        inputs = tuple(self.tensors.get(int(index)) for index in raw.inputs)  # -1: not given
        outputs = tuple(self.tensors[int(index)] for index in raw.outputs)
        if name == "DEQUANTIZE" and inputs[0] and inputs[0].constant:  # weights in fp16: still weights
            weights = outputs[0]
            outputs = (Tensor(weights.name, weights.shape, weights.dtype, constant=True),)
            self.tensors[int(raw.outputs[0])] = outputs[0]
        return Op(
            type=code.customCode.decode() if name == "CUSTOM" and code.customCode else name,
            name=f"op {index}" if "/" in outputs[0].name else outputs[0].name,  # paths are for `layer`
            inputs=inputs,
            outputs=outputs,
            attributes=self._attributes(name, raw, inputs),
            layer=layer_of(outputs[0].name, weighted=name in _WEIGHTED),
        )

    def _attributes(self, op: str, raw: Any, inputs: tuple[Tensor | None, ...]) -> dict[str, Any]:
        found = dict(vars(raw.builtinOptions)) if raw.builtinOptions else {}
        found |= {key: names[found[key]] for key, names in self.enums.items() if found.get(key) in names}
        if "strideH" in found:
            found["stride"] = found["strideH"], found["strideW"]
        if "filterHeight" in found:
            found["window"] = found["filterHeight"], found["filterWidth"]
        if "dilationHFactor" in found:
            found["dilation"] = found["dilationHFactor"], found["dilationWFactor"]
        if op in _WEIGHTED and (weights := inputs[1]) and weights.shape:
            found["window"] = weights.shape[1:3]
        return found

    def _tensor(self, index: int, raw: Any) -> Tensor:
        sizes = raw.shape if raw.shapeSignature is None else raw.shapeSignature
        dtype = self.dtypes[raw.type].lower()
        data = self._data(self.model.buffers[raw.buffer])
        scales = raw.quantization.scale if raw.quantization else None
        return Tensor(
            name=raw.name.decode(errors="replace") if raw.name else f"tensor {index}",
            shape=tuple(int(side) if side >= 0 else None for side in (sizes if sizes is not None else ())),
            dtype=dtype,
            constant=data is not None,
            value=_value(data, dtype),
            scale=float(scales[0]) if scales is not None and len(scales) == 1 else None,
        )

    def _data(self, buffer: Any) -> bytes | None:
        """A constant's bytes, inside the flatbuffer or, as quantizers write them, behind it; None if there are none."""
        if buffer.offset > 1:
            return self.content[buffer.offset : buffer.offset + buffer.size]
        return None if buffer.data is None else bytes(buffer.data)


def layer_of(tensor: str, weighted: bool = False) -> str:
    """The module path in a tensor's name as litert-torch writes it; "" for other names and for the network itself.

    One module is "package.Class_attribute", a path joins them by "/", and an op that stands for several modules joins
    their paths by ";": the last is the one that has weights, the first the one whose result it is.
    """
    paths = [path for path in tensor.split(";") if "/" in path]
    if not paths:
        return ""
    modules = paths[-1 if weighted else 0].split("/")[1:]  # the first is the network itself
    attributes = [module.rpartition(".")[2].partition("_")[2] for module in modules]
    if "ChannelLast" in tensor.split("/")[0]:  # our own wrapper around the network
        attributes = attributes[1:]
    return ".".join(attributes)


def _names(enum: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


def _value(data: bytes | None, dtype: str) -> NDArray[Any] | None:
    """A constant's numbers, flat; None for types that numpy lacks."""
    if data is None or dtype not in ("float32", "float16", "int32", "int64", "int8", "uint8"):
        return None
    return np.frombuffer(data, dtype)
