"""Phones over adb. Logs are quoted as they were published, at the addresses above them."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from adb_device import Device
from runner_files import tflite_file

from edgestyle.cli import main
from edgestyle.errors import CheckError, UnavailableError
from edgestyle.latency import android, benchmark_model
from edgestyle.latency.measure import Effort

# adbutils leaves a socket behind when no server answers yet.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

# https://github.com/qualcomm-linux/aiml-container-test, README.md
TFLITE_CPU = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Graph: [mobilenet_quant_v1_224.tflite]
INFO: Signature to run: []
INFO: Use gpu: [0]
INFO: Loaded model mobilenet_quant_v1_224.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 4.2761
INFO: Initialized session in 87.639ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=5 first=106436 curr=105929 min=105929 max=106436 avg=106065 std=193 p5=105929 median=105948 p95=106436

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=106022 curr=105780 min=105416 max=106528 avg=105784 std=260 p5=105485 median=105718 p95=106281

INFO: Inference timings in us: Init: 87639, First inference: 106436, Warmup (avg): 106065, Inference (avg): 105784
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual \
memory footprint of the model at runtime. Take the information at your discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=14.4414 overall=14.8164
"""
TFLITE_GPU = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Graph: [mobilenet_quant_v1_224.tflite]
INFO: Signature to run: []
INFO: Use gpu: [1]
INFO: Loaded model mobilenet_quant_v1_224.tflite
INFO: Created TensorFlow Lite delegate for GPU.
INFO: GPU delegate created.
INFO: Loaded OpenCL library with dlopen.
INFO: Initialized OpenCL-based API.
INFO: Created 1 GPU delegate kernels.
INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
INFO: The input model file size (MB): 4.2761
INFO: Initialized session in 1361.24ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=5 first=125113 curr=112537 min=111758 max=125113 avg=115344 std=4959 p5=111758 median=112912 p95=125113

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=119614 curr=115889 min=111842 max=119614 avg=115246 std=1329 p5=112107 median=115350 p95=116620

INFO: Inference timings in us: Init: 1361236, First inference: 125113, Warmup (avg): 115344, Inference (avg): 115246
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual \
memory footprint of the model at runtime. Take the information at your discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=132.816 overall=132.816
"""
# https://github.com/tensorflow/tensorflow/issues/43541, of 2020: no median yet
TFLITE_OLD = """\
STARTING!
Log parameter values verbosely: [0]
Min num runs: [50]
Num threads: [4]
Min warmup runs: [1]
Graph: [/data/local/tmp/tflite/denoising_32bit.tflite]
Enable op profiling: [1]
#threads used for CPU inference: [4]
Use gpu: [1]
Loaded model /data/local/tmp/tflite/denoising_32bit.tflite
INFO: Initialized TensorFlow Lite runtime.
INFO: Created TensorFlow Lite delegate for GPU.
INFO: Initialized OpenCL-based API.
INFO: Created 1 GPU delegate kernels.
Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
The input model file size (MB): 7.07479
Initialized session in 870.557ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=4 first=130565 curr=120829 min=117370 max=130565 avg=122373 std=4930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=119212 curr=118055 min=113737 max=124776 avg=119375 std=1948

Inference timings in us: Init: 870557, First inference: 130565, Warmup (avg): 122373, Inference (avg): 119375
"""
# https://github.com/mlcommons/mobile_app_open/issues/1134, LiteRT's own tool on a Pixel; what stood before is not there
LITERT_GPU = """\
========== BENCHMARK RESULTS ==========
INFO: [benchmark_litert_model.h:92] Signature name:       prefill_1024
INFO: [benchmark_litert_model.h:94] Model initialization: 23744.73 ms
INFO: [benchmark_litert_model.h:96] Warmup (first):       7441.04 ms
INFO: [benchmark_litert_model.h:98] Warmup (avg):         7441.04 ms (1 runs)
INFO: [benchmark_litert_model.h:100] Inference (avg):      7430.20 ms (10 runs)
INFO: [benchmark_litert_model.h:104] Inference (min):      7416.40 ms
INFO: [benchmark_litert_model.h:106] Inference (max):      7448.86 ms
INFO: [benchmark_litert_model.h:108] Inference (std):      9.92
INFO: [benchmark_litert_model.h:115] Throughput:           27.46 MB/s
INFO: [benchmark_litert_model.h:124]
Memory Usage:
INFO: [benchmark_litert_model.h:126] Init footprint:       6391.74 MB
INFO: [benchmark_litert_model.h:128] Overall footprint:    6391.74 MB
INFO: [benchmark_litert_model.h:135] Peak memory usage not available. (peak_mem_mb <= 0)
"""
# https://github.com/tensorflow/tensorflow/issues/56301, from logcat
PARTIAL = """\
05-30 15:16:44.857  3380  3380 I tflite  : Explicitly applied NNAPI delegate, and the model graph will be partially \
executed by the delegate w/ 44 delegate kernels.
05-30 15:16:44.858  3380  3380 I tflite  : Initialized session in 126.059ms.
05-30 15:16:45.362  3380  3380 I tflite  : count=40 first=32942 curr=12594 min=11340 max=32942 avg=12581.9 std=3331
05-30 15:16:46.365  3380  3380 I tflite  : count=75 first=12840 curr=11853 min=11787 max=13649 avg=12167.6 std=325
05-30 15:16:46.366  3380  3380 I tflite  : Inference timings in us: Init: 126059, First inference: 32942, \
Warmup (avg): 12581.9, Inference (avg): 12167.6
"""
REFUSED = (
    "05-30 10:31:13.157 21767 21767 I tflite  : Though NNAPI delegate is explicitly applied, "
    "the model graph will not be executed by the delegate."
)  # the same thread
ON_GPU = (
    "Replacing 366 out of 366 node(s) with delegate (LITERT_CL) node,\nyielding 1 partitions for subgraph 0 (main)."
)
# https://github.com/google-ai-edge/LiteRT/issues/9453
ON_CPU = "Replacing 470 out of 476 node(s) with delegate (TfLiteXNNPackDelegate)"
# https://github.com/google-ai-edge/LiteRT/issues/7858
IGNORED = "INFO: STARTING!\nWARN: Unconsumed cmdline flags: --use_npu=true --dispatch_library_path=.\n"
# the form is that of BenchmarkModel::ParseFlags in tflite/tools/benchmark/benchmark_model.cc

# https://github.com/bryanroscoe/shield_optimizer/issues/6, shortened
THERMAL = """\
IsStatusOverride: false
ThermalEventListeners:
        callbacks: 1
        killed: false
        broadcasts count: -1
Thermal Status: 0
Cached temperatures:
        Temperature{mValue=36.0, mType=1, mName=GPU, mStatus=0}
HAL Ready: true
"""


# What the tool prints -----------------------------------------------------------------------------------------------


def test_times_of_the_cpu_are_those_of_the_runs_not_of_the_warm_up() -> None:
    found = benchmark_model.parse(TFLITE_CPU, "android-cpu")
    assert found == benchmark_model.Measured(
        runs=50,
        init_ms=87.639,
        first_ms=106.436,
        min_ms=105.416,
        mean_ms=105.784,
        median_ms=105.718,
        memory_mb=15.5,
        delegated=None,
        partial=False,
    )


def test_times_of_the_gpu() -> None:
    found = benchmark_model.parse(TFLITE_GPU, "android-gpu")
    assert (found.init_ms, found.first_ms, found.median_ms) == (1361.236, 125.113, 115.35)
    assert not found.partial


def test_an_old_tool_tells_no_median_and_none_is_made_up() -> None:
    found = benchmark_model.parse(TFLITE_OLD, "android-gpu")
    assert (found.median_ms, found.mean_ms, found.memory_mb) == (None, 119.375, None)


def test_litert_s_own_tool() -> None:
    found = benchmark_model.parse(LITERT_GPU, "android-gpu")
    assert (found.runs, found.init_ms, found.first_ms) == (10, 23744.73, 7441.04)
    assert (found.min_ms, found.mean_ms) == (7416.4, 7430.2)
    assert found.memory_mb == pytest.approx(6391.74 * 1.048576, abs=0.1)
    both = TFLITE_GPU.partition("INFO: Inference timings")[0] + LITERT_GPU
    assert benchmark_model.parse(both, "android-gpu").median_ms == 115.35


def test_a_single_run_has_one_time() -> None:
    single = (
        "count=1 curr=670083\n\ncount=1 curr=591245\n\nInference timings in us: Init: 102320, First inference: 670083"
    )
    found = benchmark_model.parse(single, "android-cpu")
    assert (found.runs, found.first_ms, found.min_ms, found.mean_ms) == (1, 670.083, 591.245, 591.245)


def test_what_fell_back_to_the_cpu_in_part_is_flagged() -> None:
    assert benchmark_model.parse(PARTIAL, "android-gpu").partial
    found = benchmark_model.parse(f"{ON_GPU}\n{LITERT_GPU}", "android-gpu")
    assert (found.delegated, found.partial) == ((366, 366), False)
    found = benchmark_model.parse(ON_GPU.replace("366 out", "300 out") + LITERT_GPU, "android-gpu")
    assert (found.delegated, found.partial) == ((300, 366), True)


@pytest.mark.parametrize("line", [REFUSED, ON_CPU])
def test_the_cpu_s_time_is_never_given_as_the_npu_s(line: str) -> None:
    with pytest.raises(UnavailableError, match="NPU took no operation"):
        benchmark_model.parse(f"{line}\n{LITERT_GPU}", "android-npu")


def test_a_tool_that_ignores_the_flag_for_the_npu_has_not_measured_it() -> None:
    with pytest.raises(UnavailableError, match="does not know --use_npu"):
        benchmark_model.parse(IGNORED + TFLITE_CPU, "android-npu")


def test_without_a_result_the_tool_s_own_error_is_told() -> None:
    log = "INFO: STARTING!\nERROR: Failed to load model m.tflite\nERROR: Benchmarking failed.\n"
    with pytest.raises(CheckError, match=r"no result: ERROR: Benchmarking failed\."):
        benchmark_model.parse(log, "android-cpu")
    with pytest.raises(CheckError, match="printed nothing"):
        benchmark_model.parse("", "android-cpu")


def test_flags_ask_for_the_effort_and_name_the_npu_s_libraries() -> None:
    flags = benchmark_model.arguments("android-npu", "/p/model.tflite", "/p", Effort(runs=20, most_s=5))
    assert {"--graph=/p/model.tflite", "--num_runs=20", "--max_secs=5", "--use_npu=true"} < set(flags)
    assert "--dispatch_library_path=/p" in flags
    assert "--use_gpu=true" not in flags


@pytest.mark.parametrize(("dump", "status"), [(THERMAL, 0), (THERMAL.replace("Status: 0", "Status: 3"), 3), ("", None)])
def test_thermal_status(dump: str, status: int | None) -> None:
    assert android.parse_thermal_status(dump) == status


# Phones -------------------------------------------------------------------------------------------------------------

Bench = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """adb's own server, on a port of its own."""
    from adbutils import AdbClient

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    yield port
    AdbClient(port=port).server_kill()


@pytest.fixture(autouse=True)
def _server(server: int, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server))
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp()))  # where adb keeps its keys


@pytest.fixture
def plug(server: int, tmp_path: Path) -> Iterator[Callable[[str], Device]]:
    """Connects a phone of that model."""
    from adbutils import AdbClient

    devices: list[Device] = []

    def connect(model: str = "Pixel 8") -> Device:
        root = tmp_path / f"phone{len(devices)}"
        root.mkdir()
        device = Device(root)
        devices.append(device)
        props = {"ro.product.manufacturer": "Google", "ro.product.model": model, "ro.build.version.release": "15"}
        cases = "".join(f"{name}) echo '{value}';; " for name, value in props.items())
        device.program("getprop", f"case $1 in {cases} ro.board.platform) echo zuma;; *) echo;; esac")
        device.program("dumpsys", f"cat <<'END'\n{THERMAL}END")
        AdbClient(port=server).connect(device.address, timeout=120)
        return device

    yield connect
    for device in devices:
        device.unplug()
        AdbClient(port=server).disconnect(device.address)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with two networks and a tool that prints what real ones have printed."""
    folder = tmp_path / "build"
    folder.mkdir()
    tflite_file(folder / "a.tflite", "ADD")
    tflite_file(folder / "b.tflite", "ADD", "ADD")
    (tmp_path / "cpu.log").write_text(TFLITE_CPU)
    (tmp_path / "gpu.log").write_text(TFLITE_GPU)
    logs = f'case "$*" in *use_gpu=true*) cat {tmp_path}/gpu.log;; *) cat {tmp_path}/cpu.log;; esac >&2'
    (tmp_path / "benchmark_model").write_text(f"#!/bin/sh\ntest -s {{}} && {logs}\n".replace("{}", '"${1#--graph=}"'))
    return folder


@pytest.fixture
def bench(files: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    def call(*arguments: str) -> tuple[int, dict[str, Any]]:
        tool = ("--benchmark-model", str(files.parent / "benchmark_model"))
        code = main(["bench", str(files), "--android", *arguments, *tool, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def fails(files: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def call(*arguments: str) -> tuple[int, str]:
        code = main(["bench", str(files), *arguments])
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("edgestyle:")]
        return code, line

    return call


def test_files_are_timed_on_the_phone_and_nothing_is_left_there(plug: Callable[[], Device], bench: Bench) -> None:
    phone = plug()
    code, found = bench()
    assert (code, found["passed"]) == (0, True)
    rows = [(Path(row["artifact"]).name, row["delegate"], row["status"], row["p50_ms"]) for row in found["results"]]
    assert rows == [
        ("a.tflite", "android-cpu", "passed", 105.718),
        ("a.tflite", "android-gpu", "passed", 115.35),
        ("a.tflite", "android-npu", "could not run", None),
        ("b.tflite", "android-cpu", "passed", 105.718),
        ("b.tflite", "android-gpu", "passed", 115.35),
        ("b.tflite", "android-npu", "could not run", None),
    ]
    first = found["results"][0]
    assert first["device"] == "Google Pixel 8, Android 15, zuma"
    assert (first["runs"], first["samples_ms"], first["hot"], first["emulated"]) == (50, [], False, False)
    assert "libLiteRtDispatch" in found["results"][2]["reason"]
    assert [path.name for path in phone.root.iterdir()] == ["bin"]


def test_one_delegate_can_be_chosen_and_heat_is_told(
    plug: Callable[[], Device], bench: Bench, files: Path, tmp_path: Path
) -> None:
    plug().program("dumpsys", "echo 'Thermal Status: 2'")
    report = tmp_path / "report"
    _, found = bench("--delegate", "android-gpu", "--report", str(report))
    assert [row["delegate"] for row in found["results"]] == ["android-gpu"] * 2
    assert found["results"][0]["hot"]
    assert found["results"][0]["reason"] == "slowed down by heat: moderate"
    assert "115" in (report / "report.md").read_text()
    medians = [entry["value"] for entry in json.loads((report / "benchmark.json").read_text())]
    assert medians[0] == 115.35


def test_libraries_beside_the_tool_go_with_it(plug: Callable[[], Device], bench: Bench, files: Path) -> None:
    plug()
    (files.parent / "libLiteRtDispatch_Qualcomm.so").write_text("library")
    tool = files.parent / "benchmark_model"
    tool.write_text(tool.read_text() + '\nls "$LD_LIBRARY_PATH"/libLiteRtDispatch_Qualcomm.so >&2 || exit 7\n')
    _, found = bench("--delegate", "android-npu")
    assert [row["status"] for row in found["results"]] == ["passed", "passed"]


def test_a_phone_that_is_disconnected_keeps_what_was_measured(
    plug: Callable[[], Device], bench: Bench, files: Path
) -> None:
    phone = plug()
    pid = os.getpid()
    tool = files.parent / "benchmark_model"
    tool.write_text(tool.read_text().replace("\n", f'\ncase "$*" in *use_gpu*) kill -USR1 {pid}; sleep 5;; esac\n', 1))
    with _on_signal(phone.unplug):
        code, found = bench()
    assert code == 1
    assert [row["status"] for row in found["results"]] == ["passed", "failed", *["could not run"] * 4]
    assert found["results"][0]["p50_ms"] == 105.718
    assert all("Google Pixel 8, Android 15, zuma was disconnected" in row["reason"] for row in found["results"][1:])


def test_a_tool_that_crashes_is_a_failure_with_its_last_words(
    plug: Callable[[], Device], bench: Bench, files: Path
) -> None:
    plug()
    (files.parent / "benchmark_model").write_text(
        "#!/bin/sh\necho 'INFO: STARTING!'\necho Segmentation fault\nexit 139\n"
    )
    code, found = bench("--delegate", "android-cpu")
    assert code == 1
    assert found["results"][0]["reason"] == "benchmark_model ended with exit code 139: Segmentation fault"


def test_several_phones_must_be_named(plug: Callable[..., Device], bench: Bench, fails: Any) -> None:
    first, second = plug("Pixel 8"), plug("Pixel 9")
    tool = ("--benchmark-model", __file__)
    code, line = fails("--android", *tool)
    assert code == 2
    assert all(device.address in line for device in (first, second))
    code, line = fails("--android", "emulator-5554", *tool)
    assert code == 2
    assert "unknown phone 'emulator-5554'" in line
    _, found = bench(second.address, "--delegate", "android-cpu")
    assert found["results"][0]["device"].startswith("Google Pixel 9")


def test_no_phone(fails: Any) -> None:
    code, line = fails("--android", "--benchmark-model", __file__)
    assert code == 1
    assert "no Android phone is connected" in line
    assert "--browser --lan" in line


def test_no_adb(fails: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    monkeypatch.setenv("ADBUTILS_ADB_PATH", "/nowhere/adb")
    code, line = fails("--android", "--benchmark-model", __file__)
    assert code == 1
    assert "adb cannot be started" in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--android"], "--browser --lan measures in the phone's browser"),
        (["--android", "--benchmark-model", "nowhere"], "there is no nowhere"),
        (["--android", "--benchmark-model", __file__, "--delegate", "android-tpu"], "did you mean android-"),
        (["--android", "--browser"], "cannot be combined"),
        (["--android", "--baseline", "last.json"], "cannot be combined"),
        (["--android", "--benchmark-model", __file__, "--sizes", "256"], "--sizes cannot choose"),
    ],
)
def test_wrong_requests(fails: Any, arguments: list[str], says: str) -> None:
    code, line = fails(*arguments)
    assert code == 2
    assert says in line


@contextmanager
def _on_signal(action: Callable[[], None]) -> Iterator[None]:
    """Within, SIGUSR1 calls `action`."""
    before = signal.signal(signal.SIGUSR1, lambda *_: action())
    yield
    signal.signal(signal.SIGUSR1, before)
