"""ONNX Runtime on Qualcomm's simulator of the Hexagon NPU: opens any `.onnx` style file of fixed size.

The simulator (QnnHtp) computes what the NPU of a Snapdragon 8 Gen 3 would: a float file in fp16, a QDQ file in its
integers. Its pictures are what it is for; its times say nothing of a phone.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgestyle.errors import MissingExtraError, UnavailableError
from edgestyle.quiet import quiet
from edgestyle.runner import Availability, Runner, installed
from edgestyle.runners.onnxruntime_cpu import OnnxSession, first_line, session_options
from edgestyle.runners.onnxruntime_cpu import open_file as open_on_cpu

_HTP = {"soc_model": "57", "htp_arch": "75", "enable_htp_fp16_precision": "1"}
"""The Snapdragon 8 Gen 3 (SM8650) and its Hexagon v75."""


def open_file(path: Path) -> OnnxSession:
    """Open an ONNX style file, wholly on the NPU if it can be; else what the NPU does not take runs on the CPU.

    Raises:
        ConfigError: It is not an ONNX file, or not one picture in and one picture out.
        UnavailableError: The simulator does not work here, or not with this file, or the file is of free size.
        MissingExtraError: onnxruntime or onnxruntime-qnn is not installed.
    """
    file = open_on_cpu(path)
    if file.size is None:
        raise UnavailableError(f"{path} is of free size, and the NPU needs a fixed one; export it with --size")
    with quiet():
        device = _device()
        try:
            session = _open(path, device, whole=True)
        except Exception:  # onnxruntime's own types have no common base
            try:
                session = _open(path, device, whole=False)
            except Exception as error:
                raise UnavailableError(f"Qualcomm's simulator cannot open {path}: {first_line(error)}") from error
    return replace(file, session=session, provider=device.ep_name)


def _device() -> Any:
    """The NPU, as onnxruntime sees it once it knows Qualcomm's plugin."""
    import onnxruntime as ort

    try:
        import onnxruntime_qnn as qnn
    except ImportError as error:
        raise MissingExtraError("onnxruntime-qnn", "npu") from error
    name = qnn.get_ep_name()
    if all(device.ep_name != name for device in ort.get_ep_devices()):  # a plugin can be registered but once
        try:
            ort.register_execution_provider_library(name, qnn.get_library_path())
        except Exception as error:
            raise UnavailableError(f"onnxruntime cannot load Qualcomm's plugin: {first_line(error)}") from error
    for device in ort.get_ep_devices():
        if device.ep_name == name:
            return device
    raise UnavailableError("Qualcomm's plugin offers no device here")


def _open(path: Path, device: Any, whole: bool) -> Any:
    """A session with the NPU; if `whole`, one that fails unless every op runs there."""
    import onnxruntime as ort
    import onnxruntime_qnn as qnn

    options = session_options()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", str(int(whole)))
    options.add_provider_for_devices([device], {"backend_path": qnn.get_qnn_htp_path(), **_HTP})
    return ort.InferenceSession(path, options)


def _probe() -> Availability:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return Availability("cannot run", "Qualcomm's simulator needs Linux on x86-64")
    return installed("npu", "onnxruntime", "onnxruntime_qnn")


RUNNER = Runner(
    name="onnxruntime-qnn",
    title="ONNX Runtime on Qualcomm's NPU simulator (Hexagon v75)",
    hardware="npu",
    suffixes=(".onnx",),
    probe=_probe,
    open=open_file,
    emulated=True,
)
