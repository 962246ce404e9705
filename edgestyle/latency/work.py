"""How much a network computes and moves, layer by layer: from a torch network or from the exported file itself.

A layer's bytes are its inputs, weights and output, each moved once. Runtimes that fuse layers move less; those whose
caches overflow move more. Multiplications are counted for convolutions and matrix products; the rest is moved only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestyle.errors import ConfigError, MissingExtraError


@dataclass(frozen=True)
class Layer:
    """One operation."""

    name: str
    op: str
    macs: int
    """Multiplications, each with its addition: 2 floating-point operations."""
    params: int
    """Weights that it holds."""
    moved: int
    """Bytes."""


@dataclass(frozen=True)
class Work:
    """All operations of a network, in their order."""

    layers: tuple[Layer, ...]

    @property
    def gmac(self) -> float:
        """Billions of multiplications."""
        return sum(layer.macs for layer in self.layers) / 1e9

    @property
    def intensity(self) -> float:
        """Floating-point operations for each byte moved."""
        return 2e9 * self.gmac / self.moved

    @property
    def params(self) -> int:
        """Weights."""
        return sum(layer.params for layer in self.layers)

    @property
    def moved(self) -> int:
        """Bytes that the layers move, one by one."""
        return sum(layer.moved for layer in self.layers)


def of_file(path: Path, size: tuple[int, int]) -> Work | None:
    """The work of an exported file at height and width `size`; None for formats and sizes that cannot be counted.

    Raises:
        ConfigError: It is not such a file.
        MissingExtraError: The package that reads it is not installed.
    """
    reader = {".onnx": _onnx, ".tflite": _tflite}.get(path.suffix)
    if reader is None:
        return None
    layers = reader(path, size)
    return Work(tuple(layers)) if layers is not None else None


# Torch --------------------------------------------------------------------------------------------------------------


def of_network(net: Any, size: tuple[int, int]) -> Work:
    """The work of a torch network (`nn.Module`, not changed) on a picture (1, 3, H, W). Nothing is computed."""
    import copy

    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.module_tracker import ModuleTracker

    layers: list[Layer] = []
    tracker = ModuleTracker()

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            output = func(*args, **(kwargs or {}))
            if isinstance(output, torch.Tensor) and not func.is_view:
                layers.append(_torch_layer(max(tracker.parents, key=len), func, args, output))
            return output

    net = copy.deepcopy(net).to("meta")
    photo = torch.empty(1, 3, *size, device="meta")
    with torch.no_grad(), tracker, Counter():  # type: ignore[no-untyped-call]
        net(photo)
    return Work(tuple(layers))


def _torch_layer(module: str, func: Any, args: Any, output: Any) -> Layer:
    import torch

    tensors = [value for value in args if isinstance(value, torch.Tensor)]
    held = [tensor for tensor in tensors if isinstance(tensor, torch.nn.Parameter)]
    op = func.overloadpacket.__name__
    macs = 0
    if op == "convolution":
        _, weight, *rest = args
        counted = args[0] if rest[4] else output  # transposed: a product for each value of the input
        macs = counted.numel() * weight[0].numel()
    elif op in ("mm", "addmm", "bmm"):
        macs = output.numel() * tensors[-2].shape[-1]
    params = sum(tensor.numel() for tensor in held)
    return Layer(module.partition(".")[2], op, macs, params, sum(t.nbytes for t in [*tensors, output]))


# ONNX ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]
    itemsize: float
    constant: bool = False
    weight: bool = False
    """Constant and numbers of the network, not sizes or axes."""

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return math.ceil(self.count * self.itemsize)


def _onnx(path: Path, size: tuple[int, int]) -> list[Layer]:
    try:
        import onnx
        from onnx import inliner, shape_inference
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx") from error
    try:
        model = inliner.inline_local_functions(onnx.load(path))
        _fix_size(model.graph.input[0], size)
        del model.graph.value_info[:]  # of free sizes
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # protobuf's and onnx's own types
        raise ConfigError(f"{path} cannot be read as ONNX: {error}") from error
    tensors = _onnx_tensors(graph)
    packed = {"QuantizeLinear", "DequantizeLinear"}  # runtimes fuse them into their neighbours, which move the integers
    stands_for = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    stands_for |= {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    layers = []
    for node in graph.node:
        if node.op_type in packed:
            continue
        inputs, outputs = (
            [tensors[name] for name in (stands_for.get(n, n) for n in names) if name in tensors]
            for names in (node.input, node.output)
        )
        macs = _onnx_macs(node, inputs, outputs)
        params = sum(tensor.count for tensor in inputs if tensor.weight)
        moved = sum(tensor.bytes for tensor in [*inputs, *outputs])
        layers.append(Layer(node.name or node.output[0], node.op_type, macs, params, moved))
    return layers


def _fix_size(value: Any, size: tuple[int, int]) -> None:
    """Give a picture input whose height and width are free those of `size`."""
    dims = value.type.tensor_type.shape.dim
    sides = (2, 3) if len(dims) == 4 and dims[1].dim_value == 3 else (1, 2)
    for index, dim in enumerate(dims):
        if not dim.dim_value:
            dim.dim_value = size[sides.index(index)] if index in sides else 1


def _onnx_tensors(graph: Any) -> dict[str, _Tensor]:
    from onnx import TensorProto, helper

    def itemsize(kind: int) -> float:
        return 0.5 if kind in (TensorProto.INT4, TensorProto.UINT4) else helper.tensor_dtype_to_np_dtype(kind).itemsize

    found = {}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        if kind.elem_type:
            found[value.name] = _Tensor(tuple(d.dim_value for d in kind.shape.dim), itemsize(kind.elem_type))
    sizes = {TensorProto.INT64, TensorProto.BOOL}
    for tensor in graph.initializer:
        is_weight = tensor.data_type not in sizes
        found[tensor.name] = _Tensor(tuple(tensor.dims), itemsize(tensor.data_type), True, is_weight)
    return found


def _onnx_macs(node: Any, inputs: list[_Tensor], outputs: list[_Tensor]) -> int:
    if node.op_type in ("Conv", "ConvInteger"):
        return outputs[0].count * math.prod(inputs[1].shape[1:])
    if node.op_type == "QLinearConv":
        return outputs[0].count * math.prod(inputs[3].shape[1:])
    if node.op_type == "ConvTranspose":
        return inputs[0].count * math.prod(inputs[1].shape[1:])
    if node.op_type in ("Gemm", "MatMul", "MatMulInteger"):
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return outputs[0].count * inputs[0].shape[-2 if transposed else -1]
    return 0


# TFLite -------------------------------------------------------------------------------------------------------------


def _tflite(path: Path, size: tuple[int, int]) -> list[Layer] | None:
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "tflite") from error
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ConfigError(f"{path} is not a TFLite file")
    model = schema.Model.GetRootAs(content)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    graph = model.Subgraphs(0)
    tensors = [_tflite_tensor(model, graph.Tensors(i)) for i in range(graph.TensorsLength())]
    if tensors[graph.Inputs(0)].shape[1:3] != size and size != tensors[graph.Inputs(0)].shape[2:]:
        return None  # of free size: the shapes in the file are those of another
    layers = []
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        code = model.OperatorCodes(operator.OpcodeIndex())
        op = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs = [tensors[index] for index in operator.InputsAsNumpy() if index >= 0]
        output = operator.Outputs(0)
        name = (graph.Tensors(output).Name() or b"").decode(errors="replace")
        params = sum(tensor.count for tensor in inputs if tensor.weight)
        moved = sum(tensor.bytes for tensor in inputs) + tensors[output].bytes
        layers.append(Layer(name, op, _tflite_macs(op, inputs, tensors[output]), params, moved))
    return layers


def _tflite_tensor(model: Any, tensor: Any) -> _Tensor:
    from ai_edge_litert.schema_py_generated import TensorType

    sizes = {"FLOAT16": 2, "FLOAT64": 8, "INT64": 8, "UINT8": 1, "INT8": 1, "BOOL": 1, "INT16": 2, "INT4": 0.5}
    kind = next(name for name, code in vars(TensorType).items() if code == tensor.Type())
    constant = model.Buffers(tensor.Buffer()).DataLength() > 0
    shape = tuple(int(side) for side in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    # Sizes and axes are 32-bit integers, as biases of quantized layers are, which hardly count beside the weights.
    return _Tensor(shape, sizes.get(kind, 4), constant, constant and not kind.startswith(("INT32", "INT64", "BOOL")))


def _tflite_macs(op: str, inputs: list[_Tensor], output: _Tensor) -> int:
    if op == "CONV_2D":
        return output.count * math.prod(inputs[1].shape[1:])
    if op == "DEPTHWISE_CONV_2D":
        return output.count * math.prod(inputs[1].shape[1:3])
    if op == "TRANSPOSE_CONV":  # sizes, weights (O, kh, kw, I), input
        return inputs[2].count * math.prod(inputs[1].shape[:3])
    if op in ("FULLY_CONNECTED", "BATCH_MATMUL"):
        return output.count * inputs[0].shape[-1]
    return 0
