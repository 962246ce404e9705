"""LiteRT on the GPU, in fp32: opens any `.tflite` style file of fixed size.

It is LiteRT's GPU delegate on WebGPU, which on Linux needs Vulkan. On a machine without a GPU it computes on
SwiftShader, Google's software Vulkan, which comes with Chromium: the same shaders, slowly.

fp32 is asked for although apps get fp16 by default: so a file's numbers are those of its own format on every machine.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestyle.errors import CheckError, UnavailableError
from edgestyle.manifest import CODE
from edgestyle.quiet import quiet
from edgestyle.runner import Availability, Placement, Runner, installed
from edgestyle.runners.litert_cpu import LiteRtSession
from edgestyle.runners.litert_cpu import open_file as open_on_cpu

_DRIVERS = tuple(Path(root, "vulkan/icd.d") for root in ("/etc", "/usr/share", "/usr/local/share"))
_CHROMIUMS = tuple(Path(root) for root in ("/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"))
_SWIFTSHADER, _LOADER = "vk_swiftshader_icd.json", "libvulkan.so.1"
_kept: list[object] = []
"""LiteRT's environments: it would announce the end of each on stderr, so they end with the process."""


@dataclass(frozen=True)
class GpuSession(LiteRtSession):
    """A TFLite file opened on the GPU; LiteRT on the CPU has read what it takes."""

    model: Any
    sources: dict[str, Any]
    """Buffers of the inputs, by name and in their order."""
    sink: Any
    """Buffer of the output."""
    placed: Placement | None

    def placement(self) -> Placement | None:
        return self.placed

    def _call(self, value: NDArray[Any]) -> NDArray[Any]:
        _write(self.sources, value, self.code)
        self.model.run_by_index(0, list(self.sources.values()), [self.sink])
        shape = self.interpreter.get_output_details()[0]["shape"]
        result: NDArray[Any] = self.sink.read(int(shape.prod()), self.output.dtype).reshape(shape)
        return result


def open_file(path: Path) -> GpuSession:
    """Open a TFLite style file; ops that the GPU does not take run on the CPU.

    Raises:
        ConfigError: It is not a TFLite file, or not one picture in and one picture out.
        UnavailableError: There is no GPU, or the file is of free size.
        CheckError: LiteRT cannot compile it, or has made something broken of it.
        MissingExtraError: ai-edge-litert is not installed.
    """
    file = open_on_cpu(path)
    if file.size is None:
        raise UnavailableError(f"{path} is of free size, and the GPU needs a fixed one; export it with --size")
    if RUNNER.emulated:
        _use_swiftshader()
    with tempfile.TemporaryFile() as log:
        failure = ""
        try:
            with quiet(log):
                model, sources, sink = _compile(path)
                _write(sources, file.encode(np.zeros((1, 3, *file.size), np.float32)), file.code)  # first time is loud
        except RuntimeError as error:
            failure = str(error).splitlines()[-1].strip(" └")
        log.seek(0)
        said = log.read().decode(errors="replace")
    _check(path, said, failure)
    whole = file.placement() if model.is_fully_accelerated() else None
    # The log goes first: "fully accelerated" may count what XNNPACK has.
    placed = read_placement(said) or (Placement(whole.total, whole.total, 1) if whole else None)
    return GpuSession(**vars(file), model=model, sources=sources, sink=sink, placed=placed)


def read_placement(log: str) -> Placement | None:
    """Where the ops are, by what LiteRT's GPU delegates say of a file that they do not take whole; None if nothing."""
    split = re.search(
        r"not supported by GPU delegate:\n(.*)^(\d+) operations will run on the GPU,"
        r" and the remaining (\d+) operations will run on the CPU",
        log,
        re.M | re.S,
    )
    if not split:
        return None
    delegated, rest = int(split[2]), int(split[3])
    refused = re.findall(r"^([A-Z0-9_]+): ", split[1], re.M)
    # The others on the CPU were cut off by those: LiteRT hands over one piece.
    return Placement(delegated + rest, delegated, 1, tuple(sorted(set(refused))))


def _compile(path: Path) -> tuple[Any, dict[str, Any], Any]:
    """A file as LiteRT's compiled model, the buffers of its inputs by name, and that of its output."""
    from ai_edge_litert.compiled_model import CompiledModel, Environment, GpuOptions, HardwareAccelerator, Options

    if not _kept:
        atexit.register(_hush)
    _kept.append(environment := Environment.create())
    where = HardwareAccelerator.GPU | HardwareAccelerator.CPU
    options = Options(hardware_accelerators=where, gpu_options=GpuOptions(enforce_f32=True))
    model = CompiledModel.from_file(str(path), options=options, environment=environment)
    sources = dict(zip(model.get_signature_by_index(0)["inputs"], model.create_input_buffers(0), strict=True))
    return model, sources, model.create_output_buffers(0)[0]


def _write(sources: dict[str, Any], picture: NDArray[Any], code: NDArray[np.float32] | None) -> None:
    """Fill the buffers of a file's inputs; only a transformer has a code."""
    for name, source in sources.items():
        source.write(picture if code is None or name != CODE else code)


def _hush() -> None:
    """Silence stderr for the rest of the process, in which only LiteRT's C++ still speaks."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _check(path: Path, said: str, failure: str) -> None:
    """Judge how compiling went by LiteRT's log: a GPU that is none, and broken shaders, are told nowhere else."""
    adapter = re.search(r"Selected adapter: ([^,\n]*).*adapterType=(\w+)", said)
    if not adapter:
        reason = re.search(r"Couldn't load Vulkan[^\n]*|No adapters found", said)
        raise UnavailableError(f"LiteRT finds no GPU here: {reason[0] if reason else failure or 'it names none'}")
    if adapter[2] == "CPU" and not RUNNER.emulated:
        raise UnavailableError(f"the GPU's Vulkan driver does not work: LiteRT is offered {adapter[1]}, a software one")
    if failure:
        raise CheckError(f"LiteRT cannot compile {path} for the GPU: {failure}")
    if broken := re.search(r"Validation error: ([^\n]*)", said):
        raise CheckError(f"LiteRT's GPU delegate takes {path}, but makes a broken shader of it: {broken[1]}")


def _has_gpu() -> bool:
    """Whether there is a graphics device and a driver for it that is not software."""
    if platform.system() != "Linux":
        return True
    devices = [*Path("/dev/dri").glob("renderD*"), *Path("/dev").glob("nvidia[0-9]*")]
    drivers = [driver for folder in _DRIVERS for driver in folder.glob("*.json")]
    return bool(devices) and any(not driver.name.startswith("lvp") for driver in drivers)


def _swiftshader() -> Path | None:
    """The folder of SwiftShader and of the Vulkan loader."""
    files = _SWIFTSHADER, _LOADER
    return next((folder for folder in _CHROMIUMS if all((folder / file).is_file() for file in files)), None)


def _use_swiftshader() -> None:
    """Let this process see SwiftShader as its only Vulkan driver."""
    folder = _swiftshader()
    if folder is None:
        raise UnavailableError(f"LiteRT's GPU delegate cannot run: {_probe().remark}")
    # The Vulkan loader knows the driver's file by a new name and by an old one.
    os.environ["VK_DRIVER_FILES"] = os.environ["VK_ICD_FILENAMES"] = str(folder / _SWIFTSHADER)
    ctypes.CDLL(str(folder / _LOADER))  # LiteRT asks for it by its bare name, and now finds it loaded


def _probe() -> Availability:
    found = installed("tflite", "ai_edge_litert")
    if found.status == "works" and RUNNER.emulated and not _swiftshader():
        reason = "there is no GPU with a Vulkan driver, nor SwiftShader to stand in for it"
        return Availability("missing", reason, "apt install chromium")
    return found


_GPU = _has_gpu()
RUNNER = Runner(
    name="litert-gpu",
    title="LiteRT on the GPU" if _GPU else "LiteRT on the GPU (SwiftShader)",
    hardware="gpu",
    suffixes=(".tflite",),
    probe=_probe,
    open=open_file,
    emulated=not _GPU,
)
