"""LiteRT on the CPU, with XNNPACK: opens any `.tflite` style file, ours or somebody else's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestyle import processors
from edgestyle.errors import CheckError, ConfigError, MissingExtraError
from edgestyle.manifest import CODE, METADATA_KEY, Contract, Layout, parse_contract
from edgestyle.quiet import quiet
from edgestyle.runner import Image, Placement, Runner, check_size, example_code, installed, is_encoder

_DELEGATE = "DELEGATE"
"""What LiteRT calls an op that stands for those that it has handed over."""
_IDENTIFIER = b"TFL3"
_TYPES = (np.float32, np.uint8, np.int8)


@dataclass(frozen=True)
class End:
    """The input or the output of a file."""

    index: int
    """Of its tensor."""
    layout: Layout
    size: tuple[int, int] | None
    """Height and width; None if free."""
    dtype: type[Any]
    """One of numpy's float32, uint8 and int8."""
    scale: float
    """An integer q stands for `scale * (q - zero_point)`; not used with floats."""
    zero_point: int


@dataclass(frozen=True)
class LiteRtSession:
    """A TFLite file opened on the CPU. Its floats, also those that its integers stand for, are in [0, 1]."""

    path: Path
    contract: Contract | None
    input: End
    output: End
    interpreter: Any
    code: NDArray[np.float32] | None
    """What a transformer is to paint by, (1, length)."""

    def by(self, code: NDArray[np.float32]) -> LiteRtSession:
        """The same file, to paint by another style code."""
        return replace(self, code=code)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that the file takes, or None if free."""
        return self.input.size

    def run(self, image: Image) -> Image:
        """The network's picture of `image` (B, 3, H, W), one after another: files take one at a time.

        Raises:
            UsageError: The file takes another size.
            CheckError: LiteRT fails.
        """
        check_size(self.path, self.size, image)
        return np.concatenate([self._run_one(image[i : i + 1]) for i in range(len(image))])

    def bind(self, image: Image) -> Callable[[], object]:
        return partial(self._call, self.encode(image))

    def encode(self, image: Image) -> NDArray[Any]:
        """`image` as the file takes it.

        Raises:
            UsageError: The file takes another size.
        """
        check_size(self.path, self.size, image)
        return _encode(image, self.input)

    def placement(self) -> Placement | None:
        ops = {op["index"]: op for op in self.interpreter._get_ops_details()}  # LiteRT has no public name for it
        delegates = [op for op in ops.values() if op["op_name"] == _DELEGATE]
        delegated = {index for delegate in delegates for index in _replaced(delegate, ops)}
        own = ops.keys() - {op["index"] for op in delegates}
        return Placement(
            total=len(own),
            delegated=len(delegated),
            partitions=len(delegates),
            fallback_ops=tuple(sorted({ops[index]["op_name"] for index in own - delegated})),
        )

    def _call(self, value: NDArray[Any]) -> NDArray[Any]:
        if self.size is None and value.shape != tuple(self.interpreter.get_input_details()[0]["shape"]):
            self.interpreter.resize_tensor_input(self.input.index, value.shape)
            self.interpreter.allocate_tensors()
        self.interpreter.set_tensor(self.input.index, value)
        if self.code is not None:
            self.interpreter.set_tensor(_named(self.interpreter.get_input_details(), CODE)["index"], self.code)
        self.interpreter.invoke()
        result: NDArray[Any] = self.interpreter.get_tensor(self.output.index)
        return result

    def _run_one(self, image: Image) -> Image:
        try:
            output = self._call(_encode(image, self.input))
        except (RuntimeError, ValueError) as error:
            raise CheckError(f"{self.path} cannot be run at {image.shape[2:]}: {_one_line(error)}") from error
        return output if is_encoder(self.contract) else _decode(output, self.output)


def open_file(path: Path, kernels: str = "AUTO") -> LiteRtSession:
    """Open a TFLite style file with all cores.

    Args:
        path: The `.tflite` file.
        kernels: Which kernels, and whether XNNPACK: a name in `ai_edge_litert.interpreter.OpResolverType`.

    Raises:
        ConfigError: It is not a TFLite file, or not one picture in and one picture out.
        MissingExtraError: ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "tflite") from error

    content = _read(path)
    try:
        with quiet():
            interpreter = Interpreter(
                model_content=content,
                num_threads=processors.usable(),
                experimental_op_resolver_type=OpResolverType[kernels],
            )
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:  # LiteRT verifies the whole buffer before it follows any offset in it
        raise ConfigError(
            f"{path} cannot be opened as TFLite, or it is truncated; copy or export it again ({_one_line(error)})"
        ) from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    text = _metadata(content)
    contract = parse_contract(text, path) if text is not None else None
    code = example_code(contract)
    if len(inputs) != (1 if code is None else 2) or len(outputs) != 1:
        came = f"its inputs are {_signature(inputs)}, its outputs {_signature(outputs)}"
        raise ConfigError(f"{path} is not one picture in, one picture out: {came}")
    source = _end(_named(inputs, contract.input.name) if contract and code is not None else inputs[0], "takes", path)
    sink = source if is_encoder(contract) else _end(outputs[0], "gives", path)
    sink = replace(sink, index=outputs[0]["index"])
    return LiteRtSession(path, contract, source, sink, interpreter, code)


def _named(tensors: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The input or output of that name; LiteRT may put a signature before and a number behind."""
    return next(tensor for tensor in tensors if name in re.split(r"[_:]|serving_default", tensor["name"]))


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; a .tflite file is needed") from error
    if content[4:8] != _IDENTIFIER:
        came = "is empty" if not content else f"lacks the mark {_IDENTIFIER.decode()} of TFLite files"
        raise ConfigError(f"{path} is not a TFLite file: it {came}")
    return content


def _replaced(delegate: dict[str, Any], ops: dict[int, dict[str, Any]]) -> Iterator[int]:
    """The ops in whose place a delegate runs: those between its inputs and its outputs."""
    makers = {tensor: index for index, op in ops.items() if op["op_name"] != _DELEGATE for tensor in op["outputs"]}
    seen, waiting = set(delegate["inputs"].tolist()), delegate["outputs"].tolist()
    while waiting:
        tensor = waiting.pop()
        if tensor in makers and tensor not in seen:
            op = ops[makers[tensor]]
            seen.update(op["outputs"].tolist())
            waiting.extend(op["inputs"].tolist())
            yield op["index"]


def _metadata(content: bytes) -> str | None:
    """The contract's JSON in a verified TFLite file, if it has one."""
    from ai_edge_litert.schema_py_generated import Model

    model = Model.GetRootAs(content)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == METADATA_KEY.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode("utf-8", errors="replace")
    return None


def _end(tensor: dict[str, Any], verb: str, path: Path) -> End:
    """What an input or output of `get_input_details` is, if it is a picture."""
    shape = tuple(int(side) for side in tensor["shape_signature"])  # a free side is -1
    if len(shape) != 4 or shape[0] not in (1, -1) or 3 not in (shape[1], shape[3]) or tensor["dtype"] not in _TYPES:
        allowed = "(1, H, W, 3) or (1, 3, H, W) of float32, uint8 or int8 can be run"
        raise ConfigError(f"{path} {verb} {_signature([tensor])}, which is no picture; {allowed}")
    layout: Layout = "NHWC" if shape[3] == 3 else "NCHW"
    height, width = shape[1:3] if layout == "NHWC" else shape[2:]
    scale, zero_point = tensor["quantization"]
    if not scale:  # integers that are not said to stand for anything are plain bytes
        scale, zero_point = 1 / 255, -128 if tensor["dtype"] is np.int8 else 0
    size = None if -1 in (height, width) else (height, width)
    return End(tensor["index"], layout, size, tensor["dtype"], scale, zero_point)


def _encode(image: Image, end: End) -> NDArray[Any]:
    """A picture in the house's convention as the file's input."""
    value = image if end.layout == "NCHW" else image.transpose(0, 2, 3, 1)
    if end.dtype is not np.float32:
        limits = np.iinfo(end.dtype)
        value = np.rint(value / end.scale + end.zero_point).clip(limits.min, limits.max)
    return np.ascontiguousarray(value, dtype=end.dtype)


def _decode(value: NDArray[Any], end: End) -> Image:
    """The file's output as a picture (1, 3, H, W) float32."""
    if end.dtype is not np.float32:
        value = (value.astype(np.float32) - end.zero_point) * np.float32(end.scale)
    return np.ascontiguousarray(value if end.layout == "NCHW" else value.transpose(0, 3, 1, 2), dtype=np.float32)


def _signature(tensors: list[dict[str, Any]]) -> str:
    return ", ".join(f"{t['name']} {t['dtype'].__name__} {tuple(map(int, t['shape_signature']))}" for t in tensors)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


RUNNER = Runner(
    name="litert-cpu",
    title="LiteRT on the CPU (XNNPACK)",
    hardware="cpu",
    suffixes=(".tflite",),
    probe=partial(installed, "tflite", "ai_edge_litert"),
    open=open_file,
)
