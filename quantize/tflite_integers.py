"""Integers in TFLite files, written by ai-edge-quantizer."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestyle import tflite_model
from edgestyle.errors import CheckError, MissingExtraError
from edgestyle.images import Image
from edgestyle.quantization.calibration import Calibration, Range
from edgestyle.quiet import quiet


def write_integers(path: Path, calibration: Calibration, activation_bits: int) -> None:
    """Make weights and activations of a float TFLite file integers, in place; input and output stay float32.

    Weights are symmetric with one scale a channel, those of fully connected layers with one for all (older runtimes,
    and NPUs still, know no other); activations of 8 bits have a zero point, those of 16 have none. An
    op whose values are not all in the calibration stays float.

    Args:
        path: The float file.
        calibration: Of its network.
        activation_bits: 8 or 16.

    Raises:
        MissingExtraError: ai-edge-quantizer is not installed.
    """
    try:
        from ai_edge_quantizer import qtyping, quantizer
    except ImportError as error:
        raise MissingExtraError("ai-edge-quantizer", "tflite") from error

    content = path.read_bytes()
    ranges = (calibration if activation_bits == 8 else calibration.widened()).match(
        _tensors(content, calibration.photo)
    )
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    with quiet():  # it prints sizes
        job = quantizer.Quantizer(content)
        job.add_static_config(".*", everything, activation_bits, 8)
        for_vectors = {"weight_granularity": qtyping.QuantGranularity.TENSORWISE}
        job.add_static_config(".*", qtyping.TFLOperationName.FULLY_CONNECTED, activation_bits, 8, **for_vectors)
        for scope in _float_scopes(content, ranges):
            job.update_quantization_recipe(scope, everything, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE)
        for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            job.update_quantization_recipe(".*", end, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE)
        quantized = job.quantize({name: _statistics(range_) for name, range_ in ranges.items()}).quantized_model
    model = tflite_model.read(quantized)
    if activation_bits == 8:  # LiteRT has no kernel for 16
        _shuffle_integers(model)
        _clip_by_rounding(model)
    _shorten_names(model)
    path.write_bytes(tflite_model.pack(model))


def write_weights(path: Path) -> None:
    """Hold the weights of a float TFLite file in 8 bits, each widened by a DEQUANTIZE, in place.

    Nothing between input and output keeps its name: this is the format for where size is all, and names are 6 % of it.

    Raises:
        MissingExtraError: ai-edge-quantizer is not installed.
    """
    _apply(path, lambda job, everything: job.add_weight_only_config(".*", everything, 8))
    model = tflite_model.read(path.read_bytes())
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    ends = {end.tensorIndex for end in (*signature.inputs, *signature.outputs)}
    for i, tensor in enumerate(graph.tensors):
        if i not in ends:
            tensor.name = str(i)
    path.write_bytes(tflite_model.pack(model))


def write_dynamic(path: Path) -> None:
    """Let the layers of a float TFLite file round what they are given to 8 bits at each run, in place.

    Raises:
        MissingExtraError: ai-edge-quantizer is not installed.
    """
    _apply(path, lambda job, everything: job.add_dynamic_config(".*", everything, 8))


def _apply(path: Path, configure: Callable[[Any, Any], None]) -> None:
    """Quantize a file, in place, as far as that needs no ranges."""
    try:
        from ai_edge_quantizer import qtyping, quantizer
    except ImportError as error:
        raise MissingExtraError("ai-edge-quantizer", "tflite") from error

    with quiet():  # it prints sizes
        job = quantizer.Quantizer(path.read_bytes())
        configure(job, qtyping.TFLOperationName.ALL_SUPPORTED)
        quantized = job.quantize().quantized_model
    path.write_bytes(tflite_model.pack(tflite_model.read(quantized)))  # large arrays stand behind the flatbuffer


def take_and_give_bytes(path: Path) -> None:
    """Make input and output of an integer TFLite file uint8, 0 to 255, in place.

    Raises:
        CheckError: The photo does not go into a layer at once, in integers.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = tflite_model.read(path.read_bytes())
    graph = model.subgraphs[0]
    (source,), (sink,) = graph.inputs, graph.outputs
    first = next(op for op in graph.operators if source in op.inputs)  # from float32 to int8
    last = next(op for op in graph.operators if sink in op.outputs)  # from int8 to float32
    if (
        _kind(model, first) != schema.BuiltinOperator.QUANTIZE
        or _kind(model, last) != schema.BuiltinOperator.DEQUANTIZE
    ):
        raise CheckError(f"{path.name} begins or ends in floats, and cannot take and give bytes")
    last.opcodeIndex = first.opcodeIndex  # QUANTIZE also goes from one integer format to another
    last.builtinOptionsType, last.builtinOptions = first.builtinOptionsType, first.builtinOptions
    for end in (source, sink):
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = [1 / 255], [0]
        graph.tensors[end].type, graph.tensors[end].quantization = schema.TensorType.UINT8, quantization
    path.write_bytes(tflite_model.pack(model))


def _statistics(range_: Range) -> dict[str, NDArray[np.float32]]:
    """A range as ai-edge-quantizer's calibration gives it."""
    return {"min": np.full((1, 1, 1, 1), range_.low, "f4"), "max": np.full((1, 1, 1, 1), range_.high, "f4")}


def _tensors(content: bytes, photo: Image) -> dict[str, NDArray[Any]]:
    """Everything that a model computes for a photo, by name, the photo included."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with quiet():
        interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], photo.transpose(0, 2, 3, 1))
    interpreter.invoke()
    computed = {index for op in interpreter._get_ops_details() for index in op["outputs"]}  # there is no public name
    computed.add(interpreter.get_input_details()[0]["index"])
    details = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    return {details[index]: interpreter.get_tensor(index) for index in computed}


def _float_scopes(content: bytes, ranges: Mapping[str, Range]) -> Iterator[str]:
    """Patterns for the ops that take or give something without a range, and no constant."""
    from ai_edge_litert import schema_py_generated as schema

    model = tflite_model.read(content)
    graph = model.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]

    def stays_float(index: int) -> bool:
        tensor = graph.tensors[index]
        is_variable = tensor.type == schema.TensorType.FLOAT32 and model.buffers[tensor.buffer].data is None
        return is_variable and names[index] not in ranges

    for op in graph.operators:
        if any(stays_float(index) for index in [*op.inputs, *op.outputs] if index >= 0):
            yield f"^{re.escape(';'.join(names[index] for index in op.outputs))};?$"


def _shuffle_integers(model: Any) -> None:
    """Let every DEPTH_TO_SPACE between a DEQUANTIZE and a QUANTIZE move integers, in place.

    ai-edge-quantizer does not know the op and leaves it in floats: four times the bytes, and a conversion before and
    after at the largest size of all.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    maker = {index: op for op in graph.operators for index in op.outputs}
    for op in [op for op in graph.operators if _kind(model, op) == schema.BuiltinOperator.DEPTH_TO_SPACE]:
        before = maker.get(op.inputs[0])
        if before is None or _kind(model, before) != schema.BuiltinOperator.DEQUANTIZE:
            continue
        (integers,), (floats,) = before.inputs, op.outputs
        moved = copy.copy(graph.tensors[floats])
        moved.name = graph.tensors[floats].name + b"/integers"
        moved.type, moved.quantization = graph.tensors[integers].type, graph.tensors[integers].quantization
        graph.tensors.append(moved)
        op.inputs, op.outputs = [integers], [len(graph.tensors) - 1]
        after = copy.copy(before)
        after.inputs, after.outputs = op.outputs, [floats]
        graph.operators.insert(graph.operators.index(op) + 1, after)
    _drop_round_trips(model)


def _shorten_names(model: Any) -> None:
    """Leave of litert-torch's names what tells the layer, in place: a fiftieth of a small file is names.

    "ChannelLast/FeedForward_net/Sequential_trunk/Residual_0/Conv2d_conv1" becomes "ChannelLast/_net/_trunk/_0/_conv1";
    of the paths of several modules in one name the first and the last stay, and a number tells equal names apart.
    """

    def short(path: str) -> str:
        wrapper, *modules = path.split("/")
        return "/".join([wrapper, *(f"_{module.rpartition('.')[2].partition('_')[2]}" for module in modules)])

    graph = model.subgraphs[0]
    ends = {*graph.inputs, *graph.outputs}
    taken: Counter[str] = Counter()
    for index, tensor in enumerate(graph.tensors):
        paths = [part for part in tensor.name.decode().split(";") if "/" in part]
        if paths and index not in ends:
            name = ";".join(dict.fromkeys([short(paths[0]), short(paths[-1])]))
            taken[name] += 1
            tensor.name = f"{name};{taken[name]}".encode()


def _clip_by_rounding(model: Any) -> None:
    """Take out each RELU6 between a DEQUANTIZE and a QUANTIZE whose integers end at 0 and 6 or before, in place.

    ai-edge-quantizer leaves a RELU6 that is not fused with the op before it in floats. Going from one integer format to
    the other cuts off the same.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    maker = {index: op for op in graph.operators for index in op.outputs}
    clipped = {
        op.outputs[0]: maker[op.inputs[0]].inputs[0]
        for op in graph.operators
        if _kind(model, op) == schema.BuiltinOperator.RELU6
        and op.inputs[0] in maker
        and _kind(model, maker[op.inputs[0]]) == schema.BuiltinOperator.DEQUANTIZE
    }
    for op in graph.operators:
        if op.inputs[0] in clipped and _kind(model, op) == schema.BuiltinOperator.QUANTIZE:
            to = graph.tensors[op.outputs[0]].quantization
            if to.zeroPoint[0] == -128 and to.scale[0] * 255 <= 6 + 1e-4:
                op.inputs = [clipped[op.inputs[0]]]
    _drop_unread(model)


def _drop_unread(model: Any) -> None:
    """Take out ops of floats that nobody reads, one after another."""
    from ai_edge_litert import schema_py_generated as schema

    graph, idle = model.subgraphs[0], (schema.BuiltinOperator.RELU6, schema.BuiltinOperator.DEQUANTIZE)
    for _ in idle:  # the RELU6 first, and then what it alone has read
        read = {index for op in graph.operators for index in op.inputs} | set(graph.outputs)
        graph.operators = [op for op in graph.operators if _kind(model, op) not in idle or op.outputs[0] in read]


def _drop_round_trips(model: Any) -> None:
    """Take out each QUANTIZE that only undoes a DEQUANTIZE, then each DEQUANTIZE that nobody reads."""
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    source = {
        op.outputs[0]: op.inputs[0] for op in graph.operators if _kind(model, op) == schema.BuiltinOperator.DEQUANTIZE
    }
    same = {
        op.outputs[0]: source[op.inputs[0]]
        for op in graph.operators
        if _kind(model, op) == schema.BuiltinOperator.QUANTIZE
        and op.inputs[0] in source
        and _grid(graph.tensors[op.outputs[0]]) == _grid(graph.tensors[source[op.inputs[0]]])
    }
    graph.operators = [op for op in graph.operators if op.outputs[0] not in same]
    for op in graph.operators:
        op.inputs = [same.get(index, index) for index in op.inputs]
    _drop_unread(model)


def _kind(model: Any, op: Any) -> int:
    return int(model.operatorCodes[op.opcodeIndex].builtinCode)


def _grid(tensor: Any) -> tuple[Any, ...]:
    """What tells one integer format from another."""
    return tensor.type, list(tensor.quantization.scale), list(tensor.quantization.zeroPoint)
