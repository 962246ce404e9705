"""What a file must reach, and how edgestyle.toml changes it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from edgestyle import exporting, gates, registry, settings
from edgestyle.cli import main
from edgestyle.errors import ConfigError, UnknownNameError, UsageError
from edgestyle.runner import Availability, Runner
from edgestyle.target import Target


def runner(name: str, hardware: Literal["cpu", "gpu", "npu"] = "cpu") -> Runner:
    return Runner(name, name, hardware, (".onnx",), lambda: Availability("works"), open)  # type: ignore[arg-type]


def load(folder: Path, text: str) -> settings.Settings:
    path = folder / settings.FILE
    path.write_text(text)
    return settings.load(path)


@pytest.mark.parametrize("scheme", gates.FORMATS)
def test_what_is_rounded_more_may_drift_more(scheme: str) -> None:
    cpu, gpu, npu = (gates.find(scheme, runner("some", kind)) for kind in ("cpu", "gpu", "npu"))  # type: ignore[arg-type]
    assert 70 >= cpu.psnr_db >= gpu.psnr_db >= npu.psnr_db >= gates.lowest_psnr_db(scheme) >= 28
    assert 1 > cpu.ssim >= gpu.ssim >= npu.ssim >= 0.85
    assert (cpu.resident, gpu.resident, npu.resident) == (False, True, True)


def test_what_was_promised() -> None:
    assert gates.find("fp32", runner("onnxruntime-cpu")).psnr_db == 70
    assert gates.find("fp32", runner("litert-gpu", "gpu")).psnr_db == 60
    assert gates.find("fp16", runner("onnxruntime-qnn", "npu")).psnr_db == 45
    assert gates.find("int8", runner("onnxruntime-qnn", "npu")).psnr_db == 34
    assert gates.find("fp16", runner("onnxruntime-cpu")).psnr_db == 55
    assert gates.find("fp16", runner("coreml-evaluator")).psnr_db == 45  # a CPU, but every result is rounded
    assert gates.find(None, runner("onnxruntime-cpu")).psnr_db == 34


@pytest.mark.parametrize("name", registry.names(registry.TARGETS))
def test_every_scheme_of_every_target_has_its_gate(name: str) -> None:
    target: Target = registry.load(registry.TARGETS, name)
    schemes = exporting.schemes(target)
    assert schemes[0] == target.default_scheme
    assert set(schemes) <= set(gates.FORMATS)


def test_a_project_asks_for_something_else(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """
        [gate.any.fp16]
        psnr_db = 50
        [gate.onnxruntime-cpu.fp16]
        ssim = 0.9
        resident = true
        [budget.great_wave]
        p90_ms = 12
        bytes = 800_000
        """,
    )
    changed = gates.find("fp16", runner("onnxruntime-cpu"), found.gate)
    assert (changed.psnr_db, changed.ssim, changed.resident) == (50, 0.9, True)
    assert changed.reason == "set in edgestyle.toml"
    other = gates.find("fp16", runner("litert-cpu"), found.gate)
    assert (other.psnr_db, other.ssim, other.resident) == (50, 0.995, False)
    assert gates.find("fp32", runner("litert-cpu"), found.gate) == gates.find("fp32", runner("litert-cpu"))
    assert found.budget["great_wave"] == settings.Budget(p90_ms=12, bytes=800_000)


def test_without_a_file_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.load() == settings.Settings()
    (tmp_path / settings.FILE).write_text("[budget.mine]\nbytes = 1\n")
    assert settings.load().budget["mine"].bytes == 1


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[gates]", UnknownNameError, r"unknown key in .*edgestyle.toml 'gates'; did you mean gate\?"),
        (
            "[gate.any.int8]\npsnr = 3",
            UnknownNameError,
            r"key in \[gate.any.int8\] of .* 'psnr'; did you mean psnr_db\?",
        ),
        ("[budget.mine]\np90 = 3", UnknownNameError, r"key in \[budget.mine\] of .* 'p90'; did you mean p90_ms\?"),
        ("[gate.litert-cpo.int8]", UnknownNameError, r"unknown delegate in \[gate\] of .* did you mean litert-cpu"),
        ("[gate.any.int9]", UnknownNameError, r"unknown scheme in \[gate.any\] of .* did you mean int8"),
        ("[gate.any.int8]\npsnr_db = 0", ConfigError, "gate.any.int8.psnr_db: Input should be greater than 0"),
        ("[gate.any]\nint8 = 30", ConfigError, "gate.any.int8: Input should be a valid dictionary"),
        ("[budget.mine]\nbytes = 1.5", ConfigError, "budget.mine.bytes: Input should be a valid integer"),
        ("gate = [", ConfigError, "is not TOML"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load(tmp_path, text)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        settings.load(tmp_path / "missing.toml")
    with pytest.raises(UsageError, match="Is a directory"):
        settings.load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not TOML"):
        settings.load(tmp_path / "binary.toml")


def test_export_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / settings.FILE).write_text("[gate.any.fp33]\npsnr_db = 3\n")
    assert main(["export", "--model", "great_wave", "--target", "onnx", "--size", "64"]) == 2
    assert "unknown scheme in [gate.any] of edgestyle.toml 'fp33'" in capsys.readouterr().err


def test_what_falls_short_of_a_gate_is_said() -> None:
    gate = gates.Gate(psnr_db=40, ssim=0.97, resident=False, reason="")
    assert gate.missed(40, 0.97) == ""
    assert gate.missed(41, 0.96) == "SSIM 0.9600 is under the gate of 0.97"
    assert gate.missed(39.94, 0.9) == "PSNR 39.9 dB is under the gate of 40 dB"
