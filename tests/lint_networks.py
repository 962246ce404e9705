"""Small networks that some delegate will not like, written op by op: no converter needed, no converter's choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 16
Shape = tuple[int, ...]


class TFLite:
    """Writes a TFLite file, from a picture (1, 16, 16, 3) to a picture."""

    def __init__(self, free: bool = False) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.model = schema, schema.ModelT()
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.version, self.model.operatorCodes, self.model.subgraphs = 3, [], [self.graph]
        self.model.buffers = [schema.BufferT()]
        self.random = np.random.default_rng(0)
        self.input = self.tensor((1, SIDE, SIDE, 3))
        if free:
            self.graph.tensors[self.input].shapeSignature = [1, -1, -1, 3]
        self.graph.inputs = [self.input]

    def tensor(self, shape: Shape, value: Any = None) -> int:
        tensor = self.schema.TensorT()
        tensor.shape, tensor.name = list(shape), f"t{len(self.graph.tensors)}".encode()
        tensor.buffer = 0
        if value is not None:
            tensor.type = {"float32": 0, "int32": 2}[value.dtype.name]
            tensor.buffer = len(self.model.buffers)
            buffer = self.schema.BufferT()
            buffer.data = list(value.tobytes())
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def const(self, value: Any, dtype: str = "int32") -> int:
        array = np.asarray(value, dtype)
        return self.tensor(array.shape, array)

    def op(self, name: str, inputs: Sequence[int], shape: Shape, kind: str = "", **options: Any) -> int:
        """Add an op; `kind` is the schema's name for its options, "Conv2D" for Conv2DOptions."""
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        operator = self.schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes)
        operator.inputs, operator.outputs = list(inputs), [self.tensor(shape)]
        if kind:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, f"{kind}Options")
            operator.builtinOptions = getattr(self.schema, f"{kind}OptionsT")()
            for key, value in options.items():
                setattr(operator.builtinOptions, key, value)
        self.model.operatorCodes.append(code)
        self.graph.operators.append(operator)
        return int(operator.outputs[0])

    def conv(self, x: int, shape: Shape, valid: bool = False) -> int:
        """A 3x3 convolution to `shape`, from 3 channels."""
        weights = self.const(self.random.normal(size=(shape[-1], 3, 3, 3)), "float32")
        bias = self.const(np.zeros(shape[-1]), "float32")
        padding = self.schema.Padding.VALID if valid else self.schema.Padding.SAME
        return self.op("CONV_2D", (x, weights, bias), shape, "Conv2D", padding=padding, strideH=1, strideW=1)

    def write(self, path: Path, output: int) -> Path:
        import flatbuffers

        self.graph.outputs = [output]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


PICTURE: Shape = (1, SIDE, SIDE, 3)
SMALL: Shape = (1, SIDE // 2, SIDE // 2, 3)
PADDED: Shape = (1, SIDE + 2, SIDE + 2, 3)
PADS = [[0, 0], [1, 1], [1, 1], [0, 0]]


def _plain(net: TFLite, x: int) -> int:
    return net.op("LOGISTIC", (x,), PICTURE)


def _mirror(mode: int) -> Callable[[TFLite, int], int]:
    def build(net: TFLite, x: int) -> int:
        padded = net.op("MIRROR_PAD", (x, net.const(PADS)), PADDED, "MirrorPad", mode=mode)
        return net.conv(padded, PICTURE, valid=True)

    return build


def _clamp(net: TFLite, x: int) -> int:
    return net.op("RELU_0_TO_1", (x,), PICTURE)


def _nearest(net: TFLite, x: int) -> int:
    small = net.op("MAX_POOL_2D", (x,), SMALL, "Pool2D", filterHeight=2, filterWidth=2, strideH=2, strideW=2)
    return net.op("RESIZE_NEAREST_NEIGHBOR", (small, net.const([SIDE, SIDE])), PICTURE, "ResizeNearestNeighbor")


def _sparse_pool(net: TFLite, x: int) -> int:
    sample = net.op(
        "AVERAGE_POOL_2D", (x,), (1, 4, 4, 3), "Pool2D", filterHeight=2, filterWidth=2, strideH=4, strideW=4
    )
    mean = net.op("MEAN", (sample, net.const([1, 2])), (1, 1, 1, 3), "Reducer", keepDims=True)
    return net.op("SUB", (x, mean), PICTURE, "Sub")


def _gather(net: TFLite, x: int) -> int:
    backwards = net.const(list(range(SIDE))[::-1])
    return net.op("GATHER", (x, backwards), PICTURE, "Gather", axis=2)


def _instance_norm(net: TFLite, x: int) -> int:
    """As litert-torch writes nn.InstanceNorm2d: between two transposes."""
    planes = (1, 3, SIDE, SIDE)
    x = net.op("TRANSPOSE", (x, net.const([0, 3, 1, 2])), planes)
    centred = net.op("SUB", (x, _mean(net, x)), planes, "Sub")
    variance = _mean(net, net.op("MUL", (centred, centred), planes, "Mul"))
    scale = net.op("RSQRT", (variance,), (1, 3, 1, 1))
    y = net.op("MUL", (centred, scale), planes, "Mul")
    return net.op("TRANSPOSE", (y, net.const([0, 2, 3, 1])), PICTURE)


def _mean(net: TFLite, x: int) -> int:
    return net.op("MEAN", (x, net.const([2, 3])), (1, 3, 1, 1), "Reducer", keepDims=True)


def _transposed_conv(net: TFLite, x: int) -> int:
    small = net.op("MAX_POOL_2D", (x,), SMALL, "Pool2D", filterHeight=2, filterWidth=2, strideH=2, strideW=2)
    weights = net.const(net.random.normal(size=(3, 2, 2, 3)), "float32")
    return net.op(
        "TRANSPOSE_CONV", (net.const(PICTURE), weights, small), PICTURE, "TransposeConv", strideH=2, strideW=2
    )


TFLITE: dict[str, Callable[[TFLite, int], int]] = {
    "plain": _plain,
    "reflect pad": _mirror(0),
    "symmetric pad": _mirror(1),
    "clamp": _clamp,
    "nearest": _nearest,
    "pooling with gaps": _sparse_pool,
    "gather": _gather,
    "instance norm": _instance_norm,
    "transposed convolution": _transposed_conv,
}


def write_tflite(name: str, path: Path, free: bool = False) -> Path:
    """A convolution, what `name` says, and a convolution."""
    net = TFLite(free)
    return net.write(path, net.conv(TFLITE[name](net, net.conv(net.input, PICTURE)), PICTURE))


def write_onnx(path: Path, nodes: Sequence[Any], constants: dict[str, Any] | None = None, free: bool = False) -> Path:
    """A convolution "0" from a picture to "x" of 4 channels, `nodes` from there to "y", a convolution "9"."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights = {
        "0.weight": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "9.weight": random.normal(size=(3, 4, 3, 3)).astype(np.float32),
        **(constants or {}),
    }
    shape = (1, 3, "height", "width") if free else (1, 3, SIDE, SIDE)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "0.weight"], ["x"], "first", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            *nodes,
            helper.make_node("Conv", ["y", "9.weight"], ["stylized"], "last", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        ],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("stylized", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path
