"""LiteRT on the GPU, or on SwiftShader where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pair_files import both_files, run_as
from runner_files import photo, tflite_file

from edgestyle import registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.drift import measure
from edgestyle.errors import CheckError, ConfigError, UnavailableError, UsageError
from edgestyle.quiet import quiet
from edgestyle.runner import Placement, runners_for
from edgestyle.runners import litert_cpu, litert_gpu
from edgestyle.runners.litert_gpu import RUNNER, read_placement

AVAILABLE = RUNNER.probe()


def needs_a_gpu(test: Any) -> Any:
    """Skip where there is none; try once more where it is emulated, which a busy machine may disturb."""
    skipped = pytest.mark.skipif(AVAILABLE.status != "works", reason=AVAILABLE.remark)
    return skipped(pytest.mark.flaky(reruns=1)(test))


REFUSED = """\
ERROR: Following operations are not supported by GPU delegate:
CAST: Not supported op CAST
GATHER_ND: Not supported op GATHER_ND
CAST: Not supported op CAST
12 operations will run on the GPU, and the remaining 5 operations will run on the CPU.
"""


@needs_a_gpu
def test_it_paints_as_the_cpu_does_and_says_that_all_is_on_the_gpu(tmp_path: Path) -> None:
    path = tflite_file(tmp_path / "a.tflite", "ADD", "LOGISTIC")
    session, pictures = RUNNER.open(path), np.concatenate([photo(), photo()[:, :, ::-1]])
    painted = session.run(pictures)
    assert painted.std() > 0.01
    assert measure(painted, litert_cpu.open_file(path).run(pictures)).psnr_db >= 100
    assert session.placement() == Placement(total=2, delegated=2, partitions=1)


@needs_a_gpu
def test_ops_that_the_gpu_refuses_run_on_the_cpu_and_are_named(tmp_path: Path) -> None:
    path = tflite_file(tmp_path / "a.tflite", "ADD", "LOGISTIC", "RELU_0_TO_1")
    session = RUNNER.open(path)
    assert measure(session.run(photo()), litert_cpu.open_file(path).run(photo())).psnr_db >= 100
    assert session.placement() == Placement(3, 2, 1, ("RELU_0_TO_1",))


@needs_a_gpu
def test_bound_run_is_one_of_that_picture(tmp_path: Path) -> None:
    session = RUNNER.open(tflite_file(tmp_path / "a.tflite", "ADD", "LOGISTIC"))
    run_first = session.bind(photo())
    session.run(photo()[:, :, ::-1])
    np.testing.assert_array_equal(np.transpose(run_first(), (0, 3, 1, 2)), session.run(photo()))


@needs_a_gpu
def test_both_files_for_any_painting_run(tiny_pair: Checkpoint, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    build = both_files(tiny_pair, registry.load(registry.TARGETS, "tflite"), tmp_path)
    for session in run_as(build, "litert-gpu", "litert-cpu", 100):
        placement = session.placement()
        assert placement
        assert placement.resident


@needs_a_gpu
def test_other_sizes_are_refused(tmp_path: Path) -> None:
    session = RUNNER.open(tflite_file(tmp_path / "a.tflite", "LOGISTIC"))
    with pytest.raises(UsageError, match="takes 64x64 pixels"):
        session.run(photo()[:, :, :32])


@needs_a_gpu
def test_a_process_that_used_it_leaves_the_terminal_clean(tmp_path: Path) -> None:
    path = tflite_file(tmp_path / "a.tflite", "LOGISTIC")
    code = f"""
import numpy
from dataclasses import replace
from pathlib import Path
from edgestyle.runners.litert_gpu import RUNNER
for _ in range(2):
    print(RUNNER.open(Path({str(path)!r})).run(numpy.zeros((1, 3, 64, 64), numpy.float32)).mean())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0.5\n0.5\n", "")


def test_a_file_of_free_size_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"is of free size.* export it with --size"):
        RUNNER.open(tflite_file(tmp_path / "a.tflite", "RELU6", free=True))


def test_what_is_no_style_file_is_refused_before_the_gpu_sees_it(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"a text")
    with pytest.raises(ConfigError, match="is not a TFLite file"):
        RUNNER.open(tmp_path / "a.tflite")


def test_placement_is_read_from_the_log() -> None:
    assert read_placement(REFUSED) == Placement(17, 12, 1, ("CAST", "GATHER_ND"))
    assert read_placement("INFO: nothing of the kind\n") is None


def test_what_is_kept_off_the_terminal_can_be_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "log").open("wb") as log, quiet(log):
        os.write(2, b"as C++ does")
    assert (tmp_path / "log").read_bytes() == b"as C++ does"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("said", "failure", "error", "told"),
    [
        ("Warning: Couldn't load Vulkan: libvulkan.so.1: no such file", "", UnavailableError, "no GPU.*libvulkan"),
        ("", "it failed", UnavailableError, "no GPU.*it failed"),
        ("Selected adapter: A, adapterType=CPU / Software", "too big", CheckError, "cannot compile.*too big"),
        (
            "Selected adapter: A, adapterType=CPU / Software\nE Validation error: cannot assign\n  more",
            "",
            CheckError,
            "broken shader of it: cannot assign$",
        ),
    ],
)
def test_failures_are_told_in_one_line(
    said: str, failure: str, error: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litert_gpu, "RUNNER", replace(RUNNER, emulated=True))
    with pytest.raises(error, match=told):
        litert_gpu._check(Path("a.tflite"), said, failure)


def test_software_is_never_taken_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert_gpu, "RUNNER", replace(RUNNER, emulated=False))
    with pytest.raises(UnavailableError, match="llvmpipe, a software one"):
        litert_gpu._check(Path("a.tflite"), "Selected adapter: llvmpipe, adapterType=CPU / Software", "")


def test_without_a_gpu_and_swiftshader_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(litert_gpu, "RUNNER", replace(RUNNER, emulated=True))
    monkeypatch.setattr(litert_gpu, "_CHROMIUMS", ())
    assert RUNNER.probe().install == "apt install chromium"
    with pytest.raises(UnavailableError, match="apt install chromium"):
        RUNNER.open(tflite_file(tmp_path / "a.tflite", "RELU6"))


def test_the_cpu_comes_first_for_a_picture_that_just_has_to_be_painted() -> None:
    names = [runner.name for runner in runners_for(Path("a.tflite"))]
    assert names.index("litert-cpu") < names.index("litert-gpu")
