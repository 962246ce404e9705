"""ONNX Runtime on Qualcomm's NPU simulator."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runner_files import SIDE, onnx_file, photo

from edgestyle.drift import measure
from edgestyle.errors import ConfigError, MissingExtraError, UnavailableError, UsageError
from edgestyle.runner import runners_for
from edgestyle.runners import onnxruntime_cpu
from edgestyle.runners.onnxruntime_qnn import RUNNER

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
AVAILABLE = RUNNER.probe()
needs_the_simulator = pytest.mark.skipif(AVAILABLE.status != "works", reason=AVAILABLE.remark)


@needs_the_simulator
def test_a_float_file_runs_wholly_in_fp16(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx", "Conv", "Relu", "Conv", "Sigmoid")
    session = RUNNER.open(path)
    painted, expected = session.run(photo()), onnxruntime_cpu.open_file(path).run(photo())
    assert expected.std() > 0.01
    drift = measure(painted, expected)
    assert drift.psnr_db >= 45
    assert drift.max_abs > 1e-5  # fp32 would be nearer
    placement = session.placement()
    assert placement is not None
    assert placement.resident
    assert placement.partitions == 1
    assert placement.fallback_ops == ()


@needs_the_simulator
def test_ops_that_the_npu_lacks_run_on_the_cpu_and_are_named(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx", "Conv", "Erf", "Conv", "Sigmoid")
    session = RUNNER.open(path)
    assert measure(session.run(photo()), onnxruntime_cpu.open_file(path).run(photo())).psnr_db >= 45
    placement = session.placement()
    assert placement is not None
    assert (placement.total - placement.delegated, placement.partitions) == (1, 2)
    assert placement.fallback_ops == ("Erf",)


@needs_the_simulator
def test_a_quantized_file_runs_wholly_in_its_integers(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx", "Conv", "Relu", "Conv", "Sigmoid")
    quantized = quantize(path, tmp_path / "q.onnx")
    session = RUNNER.open(quantized)
    drift = measure(session.run(photo()), onnxruntime_cpu.open_file(path).run(photo()))
    assert 30 <= drift.psnr_db <= 60
    placement = session.placement()
    assert placement is not None
    assert placement.resident


def quantize(path: Path, into: Path) -> Path:
    """Write the QDQ file that Qualcomm's NPU takes, with activations of 8 bits calibrated on one photo."""
    from onnxruntime.quantization import CalibrationDataReader, quantize
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

    class OnePhoto(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: list[dict[str, Any]] = [{"x0": photo()}]

        def get_next(self) -> dict[str, Any] | None:
            return self.left.pop() if self.left else None

    quantize(path, into, get_qnn_qdq_config(path, OnePhoto()))
    return into


@needs_the_simulator
def test_bound_run_is_one_of_that_picture(tmp_path: Path) -> None:
    session = RUNNER.open(onnx_file(tmp_path / "a.onnx", "Conv", "Sigmoid"))
    run_first = session.bind(photo())
    session.run(photo()[:, :, ::-1])
    np.testing.assert_array_equal(run_first(), session.run(photo()))


@needs_the_simulator
def test_other_sizes_are_refused(tmp_path: Path) -> None:
    session = RUNNER.open(onnx_file(tmp_path / "a.onnx", "Conv", "Sigmoid"))
    with pytest.raises(UsageError, match=f"takes {SIDE}x{SIDE} pixels"):
        session.run(photo()[:, :, :32])


@needs_the_simulator
def test_a_process_that_used_it_leaves_the_terminal_clean(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx", "Sigmoid")
    shapes, said = used_twice("onnxruntime_qnn", path)
    assert shapes == "(1, 3, 64, 64)\n" * 2
    assert said == used_twice("onnxruntime_cpu", path)[1]  # on some machines onnxruntime has something to say


def used_twice(module: str, path: Path) -> tuple[str, str]:
    """What a process says on stdout and stderr that opens a file twice with a runner and runs it."""
    code = f"""
import numpy
from pathlib import Path
from edgestyle.runners.{module} import RUNNER
for _ in range(2):
    print(RUNNER.open(Path({str(path)!r})).run(numpy.zeros((1, 3, 64, 64), numpy.float32)).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_a_file_of_free_size_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"is of free size.* export it with --size"):
        RUNNER.open(onnx_file(tmp_path / "a.onnx", "Sigmoid", size=("height", "width")))


def test_what_is_no_style_file_is_refused_before_the_npu_sees_it(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"a text")
    with pytest.raises(ConfigError, match="cannot be opened as ONNX"):
        RUNNER.open(tmp_path / "a.onnx")
    with pytest.raises(ConfigError, match="one picture in, one picture out"):
        RUNNER.open(onnx_file(tmp_path / "b.onnx", "Sigmoid", inputs=2))


def test_without_the_plugin_it_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    with pytest.raises(MissingExtraError, match=r"edgestyle\[npu\]"):
        RUNNER.open(onnx_file(tmp_path / "a.onnx", "Sigmoid"))


def test_a_simulator_says_that_it_is_one() -> None:
    assert (RUNNER.hardware, RUNNER.emulated) == ("npu", True)
    names = [runner.name for runner in runners_for(Path("a.onnx"))]
    assert names.index("onnxruntime-cpu") < names.index("onnxruntime-qnn")
