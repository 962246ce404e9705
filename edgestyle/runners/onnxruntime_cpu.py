"""ONNX Runtime on the CPU: opens any `.onnx` style file, ours or somebody else's.

x86 CPUs without VNNI add two products of u8 and s8 in 16 bits, and ONNX Runtime's sums saturate there (a file of 45 dB
drops to 34 on Intel's Haswell). No phone does so. On such a CPU integer files are therefore computed as they are
written, op by op in floats, which gives the numbers of exact integers; the time is then that of floats.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestyle.errors import CheckError, ConfigError, EdgestyleError, MissingExtraError, UsageError
from edgestyle.manifest import CODE, METADATA_KEY, Contract, Layout, parse_contract
from edgestyle.runner import Image, Placement, Runner, check_size, example_code, installed, is_encoder

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
CPU = "CPUExecutionProvider"
_SILENT = 4  # ONNX Runtime's log level "fatal": what goes wrong is raised, and need not be on the terminal too


@dataclass(frozen=True)
class OnnxSession:
    """An ONNX file opened by ONNX Runtime. Its floats are in [0, 1], its bytes in [0, 255]."""

    path: Path
    contract: Contract | None
    size: tuple[int, int] | None
    layout: Layout
    dtype: type[np.generic]
    session: Any
    """ONNX Runtime's."""
    provider: str
    """ONNX Runtime's name of the delegate that was asked for."""
    code: NDArray[np.float32] | None
    """What a transformer is to paint by, (1, length)."""

    def by(self, code: NDArray[np.float32]) -> OnnxSession:
        """The same file, to paint by another style code."""
        return replace(self, code=code)

    def run(self, image: Image) -> Image:
        """The network's picture of `image` (B, 3, H, W), one after another: files take one at a time.

        Raises:
            UsageError: The file takes another size.
            CheckError: ONNX Runtime fails, or what comes out is not a picture.
        """
        check_size(self.path, self.size, image)
        self._check_multiple(image.shape[2], image.shape[3])
        return np.concatenate([self._run_one(image[i : i + 1]) for i in range(len(image))])

    def bind(self, image: Image) -> Callable[[], object]:
        return partial(self._call, self.encode(image))

    def encode(self, image: Image) -> NDArray[Any]:
        """`image` as the file takes it.

        Raises:
            UsageError: The file takes another size.
        """
        check_size(self.path, self.size, image)
        self._check_multiple(image.shape[2], image.shape[3])
        return _encode(image, self.layout, self.dtype)

    def placement(self) -> Placement | None:
        pieces = self.session.get_provider_graph_assignment_info()
        ops = [(node.op_type, piece.ep_name == self.provider) for piece in pieces for node in piece.get_nodes()]
        handed_over = sum(piece.ep_name == self.provider for piece in pieces)
        return Placement(
            total=len(ops),
            delegated=sum(delegated for _, delegated in ops),
            partitions=1 if self.provider == CPU else handed_over,  # on the CPU each op is listed as a piece
            fallback_ops=tuple(sorted({name for name, delegated in ops if not delegated})),
        )

    def _call(self, value: NDArray[Any]) -> Any:
        code = {} if self.code is None else {CODE: self.code}
        return self.session.run(None, {self.session.get_inputs()[0].name: value, **code})[0]

    def _run_one(self, image: Image) -> Image:
        try:
            output = self._call(_encode(image, self.layout, self.dtype))
        except EdgestyleError:  # of those who run it elsewhere
            raise
        except Exception as error:  # onnxruntime's own types have no common base
            raise CheckError(f"{self.path} cannot be run at {image.shape[2:]}: {first_line(error)}") from error
        return output if is_encoder(self.contract) else _decode(output, self.path)

    def _check_multiple(self, height: int, width: int) -> None:
        step = self.contract.size_multiple if self.contract else 1
        if height % step or width % step:
            came = f"the picture is {height}x{width} (height x width)"
            raise UsageError(f"{self.path} takes multiples of {step} pixels; {came}")


def open_file(path: Path) -> OnnxSession:
    """Open an ONNX style file with all cores.

    Raises:
        ConfigError: It is not an ONNX file, or not one picture in and one picture out.
        MissingExtraError: onnxruntime is not installed.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx") from error

    if not path.is_file():
        raise ConfigError(f"{path} is not a file; an .onnx file is needed")
    options = session_options()
    if _saturates():
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        session = ort.InferenceSession(path, options, providers=[CPU])
    except Exception as error:  # onnxruntime's own types have no common base
        raise ConfigError(
            f"{path} cannot be opened as ONNX, or it is truncated; copy or export it again ({first_line(error)})"
        ) from error

    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    contract = parse_contract(text, path) if text is not None else None
    code = example_code(contract)
    layout, size, dtype = _read_input(session, path, 1 if code is None else 2)
    return OnnxSession(path, contract, size, layout, dtype, session, CPU, code)


def session_options() -> Any:
    """Silent, sparing of the cores, and able to tell afterwards where the ops run."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    # Idle threads would spin for a while after each run, and steal the cores from whatever comes next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _saturates() -> bool:
    """Whether this CPU adds products of u8 and s8 in 16 bits; taken for granted where x86 does not say."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return True


def _read_input(session: Any, path: Path, count: int) -> tuple[Layout, tuple[int, int] | None, type[np.generic]]:
    """Layout, size and type of the one picture that a file takes, the first of `count` inputs."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != count or len(outputs) != 1:
        came = f"its inputs are {_signature(inputs)}, its outputs {_signature(outputs)}"
        raise ConfigError(f"{path} is not one picture in, one picture out: {came}")
    shape = inputs[0].shape
    is_picture = len(shape) == 4 and not (isinstance(shape[0], int) and shape[0] != 1) and 3 in (shape[1], shape[3])
    if not is_picture or inputs[0].type not in _DTYPES:
        allowed = "(1, 3, H, W) or (1, H, W, 3) of float32, float16 or uint8 can be run"
        raise ConfigError(f"{path} takes {_signature(inputs)}, which is no picture; {allowed}")
    layout: Layout = "NCHW" if shape[1] == 3 else "NHWC"
    height, width = shape[2:] if layout == "NCHW" else shape[1:3]
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    return layout, size, _DTYPES[inputs[0].type]


def _encode(image: Image, layout: Layout, dtype: type[np.generic]) -> NDArray[Any]:
    """A picture in the house's convention as the file's input."""
    value = np.rint(image.clip(0, 1) * 255) if dtype is np.uint8 else image
    return np.ascontiguousarray(value if layout == "NCHW" else value.transpose(0, 2, 3, 1), dtype=dtype)


def _decode(output: NDArray[Any], path: Path) -> Image:
    """The file's output, whichever layout and type it has, as a picture (1, 3, H, W) float32 in [0, 1]."""
    if output.ndim != 4 or 3 not in (output.shape[1], output.shape[3]):
        raise CheckError(f"{path} returns an array of shape {output.shape}, which is no picture")
    picture = np.ascontiguousarray(output if output.shape[1] == 3 else output.transpose(0, 3, 1, 2), dtype=np.float32)
    return picture / np.float32(255) if output.dtype == np.uint8 else picture


def _signature(values: Any) -> str:
    return ", ".join(f"{value.name} {value.type} {value.shape}" for value in values) or "none"


def first_line(error: Exception) -> str:
    """What an error of ONNX Runtime's says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


RUNNER = Runner(
    name="onnxruntime-cpu",
    title="ONNX Runtime on the CPU",
    hardware="cpu",
    suffixes=(".onnx",),
    probe=partial(installed, "onnx", "onnxruntime"),
    open=open_file,
)
