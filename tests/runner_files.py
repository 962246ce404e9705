"""Small files for the runners' tests, written without any converter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import skimage.data

from edgestyle.runner import Image

SIDE = 64


def photo() -> Image:
    """A picture of 64x64 pixels."""
    crop = skimage.data.astronaut()[:SIDE, :SIDE].astype(np.float32) / 255
    return np.ascontiguousarray(crop.transpose(2, 0, 1)[None])


def onnx_file(path: Path, *ops: str, size: tuple[int | str, int | str] = (SIDE, SIDE), inputs: int = 1) -> Path:
    """Write a chain of ops, each from one picture to one picture; "Conv" has seeded weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(0, 0.3, (3, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", [f"x{i}", "w"], [f"x{i + 1}"], pads=[1] * 4)
        if op == "Conv"
        else helper.make_node(op, [f"x{i}"], [f"x{i + 1}"])
        for i, op in enumerate(ops)
    ]
    ends = ["x0", *(f"extra{i}" for i in range(inputs - 1)), f"x{len(ops)}"]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, *size]) for name in ends]
    graph = helper.make_graph(nodes, "chain", infos[:-1], infos[-1:], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def tflite_file(path: Path, *ops: str, free: bool = False) -> Path:
    """Write a chain of ops, each from one picture to one picture; "ADD" adds a picture to itself."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray

    model, graph = schema.ModelT(), schema.SubGraphT()
    graph.tensors = [_tensor(schema, i, free) for i in range(len(ops) + 1)]
    graph.inputs, graph.outputs = [0], [len(ops)]
    codes = sorted(set(ops))
    graph.operators = [_operator(schema, op, i, codes.index(op)) for i, op in enumerate(ops)]
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes = [_code(schema, op) for op in codes]
    path.write_bytes(convert_object_to_bytearray(model))
    return path


def _tensor(schema: Any, index: int, free: bool) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = f"x{index}", [1, SIDE, SIDE, 3], 0
    tensor.shapeSignature = [1, -1, -1, 3] if free else tensor.shape
    return tensor


def _operator(schema: Any, op: str, index: int, code: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs, operator.outputs = [index] * (2 if op == "ADD" else 1), [index + 1]
    if op == "ADD":
        operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    return operator


def _code(schema: Any, op: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    return code
