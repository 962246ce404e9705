"""`edgestyle bench`, as users call it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runner_files import onnx_file

from edgestyle.cli import main
from edgestyle.latency import roofline
from edgestyle.latency.roofline import Peak

Bench = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(autouse=True)
def _peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's peak is measured once, by its own test."""
    monkeypatch.setattr(roofline, "measure", lambda: Peak(100, 10, 2))


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    """Runs the command with few runs; its exit code and its JSON."""

    def call(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
        code = main(["bench", *map(str, arguments), "--runs", "12", "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A folder of two networks."""
    (tmp_path / "build").mkdir()
    onnx_file(tmp_path / "build" / "a.onnx", "Relu")
    onnx_file(tmp_path / "build" / "b.onnx", *["Conv"] * 8)
    return tmp_path / "build"


def test_every_file_is_measured_and_reported(bench: Bench, build: Path, tmp_path: Path) -> None:
    folder = tmp_path / "latency"
    code, found = bench(build, "--report", folder)
    assert code == 0
    assert found["passed"]
    assert [Path(result["artifact"]).name for result in found["results"]] == ["a.onnx", "b.onnx"]
    first = found["results"][0]
    assert {
        "artifact",
        "target",
        "scheme",
        "delegate",
        "emulated",
        "size",
        "init_ms",
        "first_ms",
        "p50_ms",
        "p90_ms",
    } < (first.keys())
    assert len(first["samples_ms"]) == 12
    assert first["gflops"] == 0
    assert found["results"][1]["gflops"] > 0
    assert found["machine"]["threads"] >= 1
    assert sum("no manifest" in note for note in found["notes"]) == 2
    assert json.loads((folder / "report.json").read_text()) == found
    assert json.loads((folder / "benchmark.json").read_text())
    assert "a.onnx" in (folder / "report.md").read_text()
    assert "a.onnx" in (folder / "index.html").read_text()
    assert (folder / "junit.xml").read_text().count("<testcase") == 2


def test_one_file_against_another(bench: Bench, build: Path) -> None:
    code, found = bench(build / "b.onnx", "--against", build / "a.onnx")
    (comparison,) = found["comparisons"]
    assert code == 0  # slower than somebody else's is no failure
    assert comparison["ratio"] > 1
    assert comparison["ci95"][0] <= comparison["ratio"] <= comparison["ci95"][1]
    assert comparison["interleaved"]
    assert len(comparison["rounds_ms"][0]) == len(comparison["rounds_ms"][1]) >= 10
    assert len(found["results"]) == 2


def test_a_slower_build_than_the_base_fails(bench: Bench, build: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    onnx_file(base / "b.onnx", "Relu")
    code, found = bench(build, "--baseline", base)
    assert code == 1
    assert [comparison["verdict"] for comparison in found["comparisons"]] == ["slower"]
    assert any("a.onnx has no counterpart" in note for note in found["notes"])


def test_an_earlier_report_is_a_baseline(bench: Bench, build: Path, tmp_path: Path) -> None:
    _, found = bench(build / "b.onnx")
    for factor, expected in ((100, 0), (0.01, 1)):  # how long it took then
        old = json.loads(json.dumps(found))
        old["results"][0]["samples_ms"] = [factor * ms for ms in found["results"][0]["samples_ms"]]
        (tmp_path / "last.json").write_text(json.dumps(old))
        code, compared = bench(build / "b.onnx", "--baseline", tmp_path / "last.json")
        assert code == expected
        assert not compared["comparisons"][0]["interleaved"]


def test_a_baseline_of_another_machine_is_said_and_not_compared(bench: Bench, build: Path, tmp_path: Path) -> None:
    _, found = bench(build / "a.onnx")
    found["machine"]["cpu"] = "another"
    (tmp_path / "last.json").write_text(json.dumps(found))
    code, compared = bench(build / "a.onnx", "--baseline", tmp_path / "last.json")
    assert code == 0
    assert compared["comparisons"] == []
    assert any("another machine or version (cpu another, here" in note for note in compared["notes"])


def test_a_broken_budget_fails(bench: Bench, build: Path, tmp_path: Path) -> None:
    config = tmp_path / "edgestyle.toml"
    config.write_text("[budget.a]\nbytes = 10\n[budget.b]\nbytes = 100_000\n")
    code, found = bench(build, "--config", config)
    assert code == 1
    assert {check["name"].rpartition("/")[2]: check["status"] for check in found["budgets"]} == {
        "a.onnx": "failed",
        "b.onnx": "passed",
    }


def test_sizes(bench: Bench, tmp_path: Path) -> None:
    free = onnx_file(tmp_path / "free.onnx", "Relu", size=("h", "w"))
    fixed = onnx_file(tmp_path / "fixed.onnx", "Relu")
    _, found = bench(free, fixed, "--sizes", "64,96x32")
    assert [tuple(result["size"]) for result in found["results"]] == [(32, 96), (64, 64), (64, 64)]


def test_a_file_that_cannot_be_opened_is_a_result_among_others(bench: Bench, build: Path) -> None:
    (build / "broken.onnx").write_text("a text")
    code, found = bench(build)
    assert code == 1
    assert [result["status"] for result in found["results"]] == ["passed", "passed", "failed"]
    assert "cannot be opened" in found["results"][2]["reason"]


def test_what_cannot_run_here_is_said(bench: Bench, build: Path) -> None:
    if sys.platform == "darwin":
        pytest.skip("Core ML runs here")
    (build / "a.mlpackage").mkdir()
    code, found = bench(build)
    assert code == 0
    rows = [result for result in found["results"] if result["artifact"].endswith("mlpackage")]
    assert {(row["status"], row["reason"]) for row in rows} == {("could not run", "needs macOS")}


@pytest.mark.parametrize(
    "arguments",
    [
        ["EMPTY"],
        ["missing.onnx"],
        ["TEXT"],
        ["a.onnx", "--delegate", "onnxruntime-cup"],
        ["a.onnx", "--delegate", "litert-cpu"],
        ["a.onnx", "--against", "missing.onnx"],
        ["a.onnx", "--baseline", "missing.json"],
        ["a.onnx", "--sizes", "0"],
        ["a.onnx", "--sizes", "many"],
        ["a.onnx", "--runs", "0"],
        ["a.onnx", "--runs", "1000000"],
        ["a.onnx", "--threshold", "-3"],
        ["a.onnx", "--memory", "all"],
        ["a.onnx", "--report", "TEXT"],
        ["a.onnx", "--browser", "--against", "a.onnx"],
        ["a.onnx", "--browser", "--port", "99999"],
        ["a.onnx", "--lan"],
        ["a.onnx", "--benchmark-model", "TEXT"],
        ["great_wav"],
    ],
    ids=" ".join,
)
def test_bad_usage(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx_file(tmp_path / "a.onnx", "Relu")
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "TEXT").write_text("a text")
    assert main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert "edgestyle: error: " in error
    assert "Traceback" not in error


def test_people_get_a_table(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(build), "--against", str(build / "a.onnx"), "--runs", "12"]) == 0
    out = capsys.readouterr().out
    assert "p50 ms" in out
    assert "onnxruntime-cpu" in out
    assert "as long as" in out


def test_ctrl_c_keeps_what_was_measured(build: Path, tmp_path: Path) -> None:
    """The second file takes long; the first must be in the report."""
    onnx_file(build / "b.onnx", *["Conv"] * 100, size=(1024, 1024))
    folder = tmp_path / "latency"
    command = [sys.executable, "-m", "edgestyle", "bench", str(build), "--runs", "12", "--report", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        next(line for line in process.stderr if "b.onnx" in line)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert "kept what was measured: 1 result" in said
    found = json.loads((folder / "report.json").read_text())
    assert [Path(result["artifact"]).name for result in found["results"]] == ["a.onnx"]
    assert any("interrupted" in note for note in found["notes"])


def test_what_this_machine_can_do() -> None:
    peak = roofline.measure_here()
    assert peak.gflops > 0
    assert peak.gb_s > 0
