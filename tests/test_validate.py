"""`edgestyle validate`: right or wrong, there or elsewhere, and whatever files and delegates do, a whole report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import pytest

from edgestyle import checkpoint, exporting, gates, images, registry, validation
from edgestyle.checkpoint import Checkpoint
from edgestyle.cli import main
from edgestyle.errors import UnavailableError
from edgestyle.files import sha256
from edgestyle.images import Image
from edgestyle.manifest import Contract, manifest_path, read_manifest
from edgestyle.metrics import Metrics
from edgestyle.runner import Availability, Placement, Runner
from edgestyle.runners import onnxruntime_cpu
from edgestyle.validation import verdict
from edgestyle.validation.opened import Opened, limit_s
from edgestyle.validation.references import Pair, Subject

Report = Callable[..., tuple[int, dict[str, Any]]]
ALL = Placement(total=9, delegated=9, partitions=1)
SOME = Placement(total=9, delegated=7, partitions=3, fallback_ops=("Pad", "Resize"))


# Delegates that do what delegates do; each runs in a process of its own, and so stands at the top of this module ------


@dataclass(frozen=True)
class Wrapped:
    """A real session, with what a bad delegate makes of its pictures."""

    session: Any
    spoil: Callable[[Image], Image]
    placed: Placement | None = None

    @property
    def contract(self) -> Contract | None:
        return self.session.contract  # type: ignore[no-any-return]

    @property
    def size(self) -> tuple[int, int] | None:
        return self.session.size  # type: ignore[no-any-return]

    def run(self, image: Image) -> Image:
        return self.spoil(self.session.run(image))

    def placement(self) -> Placement | None:
        return self.placed


def darker(image: Image) -> Image:
    return image * np.float32(0.5)


def nan(image: Image) -> Image:
    return image * np.float32(np.nan)


def bytewise(image: Image) -> Image:
    return image * np.float32(255)


def same(image: Image) -> Image:
    return image


def open_wrong(path: Path) -> Wrapped:
    return Wrapped(onnxruntime_cpu.open_file(path), darker, ALL)


def open_nan(path: Path) -> Wrapped:
    return Wrapped(onnxruntime_cpu.open_file(path), nan, ALL)


def open_other_range(path: Path) -> Wrapped:
    return Wrapped(onnxruntime_cpu.open_file(path), bytewise, ALL)


def open_restless(path: Path) -> Wrapped:
    """Every other picture is brighter."""
    brighter = cycle([0, 0.1])
    return Wrapped(onnxruntime_cpu.open_file(path), lambda image: image + np.float32(next(brighter)), ALL)


def open_half(path: Path) -> Wrapped:
    return Wrapped(onnxruntime_cpu.open_file(path), same, SOME)


def open_silent(path: Path) -> Wrapped:
    return Wrapped(onnxruntime_cpu.open_file(path), same, None)


def open_crash(path: Path) -> Wrapped:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def open_hang(path: Path) -> Wrapped:
    time.sleep(300)
    raise AssertionError


def open_refuse(path: Path) -> Wrapped:
    raise UnavailableError("no such chip")


def works() -> Availability:
    return Availability("works")


def absent() -> Availability:
    return Availability("missing", "it is not installed", "pip install it")


def delegate(
    name: str,
    opens: Callable[[Path], Any],
    hardware: Literal["cpu", "gpu", "npu"] = "cpu",
    probe: Callable[[], Availability] = works,
) -> Runner:
    return Runner(name, name, hardware, (".onnx",), probe, opens, emulated=hardware == "npu")


# Files --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def exported(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of the tiny network at 64x64, with its manifest and golden pair. Do not write to its folder."""
    pytest.importorskip("onnxscript")
    target = registry.load(registry.TARGETS, "onnx")
    return exporting.export(tiny_checkpoint, target, (64, 64), tmp_path_factory.mktemp("build")).path


@pytest.fixture
def build(exported: Path, tmp_path: Path) -> Path:
    """A copy of the file, to be spoilt."""
    shutil.copytree(exported.parent, tmp_path / "build")
    return tmp_path / "build" / exported.name


@pytest.fixture
def delegates(monkeypatch: pytest.MonkeyPatch) -> dict[str, Runner]:
    """The delegates that there are; ONNX Runtime on the CPU unless a test says otherwise."""
    found = {"onnxruntime-cpu": onnxruntime_cpu.RUNNER}
    load_all, names = registry.load_all, registry.names
    monkeypatch.setattr(
        registry, "load_all", lambda group: list(found.values()) if group == registry.RUNNERS else load_all(group)
    )
    monkeypatch.setattr(registry, "names", lambda group: list(found) if group == registry.RUNNERS else names(group))
    return found


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Checkpoint) -> None:
    """A zoo with the tiny network."""
    monkeypatch.setattr(checkpoint, "zoo", lambda: [tiny_checkpoint])


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    """Runs the command; its exit code and its JSON."""

    def run(*arguments: object) -> tuple[int, dict[str, Any]]:
        code = main(["validate", "--json", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else {"error": captured.err}

    return run


# What is said -------------------------------------------------------------------------------------------------------


def test_a_good_file_passes_against_its_checkpoint(
    exported: Path, delegates: dict[str, Runner], zoo: None, report: Report
) -> None:
    code, found = report(exported)
    assert code == 0
    assert found["passed"] is True
    (row,) = found["results"]
    assert list(row) == [
        *("artifact", "target", "scheme", "delegate", "emulated", "status", "reason", "metrics", "placement"),
    ]
    assert (row["artifact"], row["target"], row["scheme"]) == (str(exported), "onnx", "fp32")
    assert (row["delegate"], row["emulated"], row["status"], row["reason"]) == ("onnxruntime-cpu", False, "passed", "")
    assert list(row["metrics"]) == [
        *("psnr_db", "ssim", "style_drift", "content_drift", "delta_e", "border", "worst_tile", "perceptual"),
    ]
    assert row["metrics"]["psnr_db"] > 100
    assert list(row["placement"]) == ["total", "delegated", "partitions", "fallback_ops"]
    assert row["placement"]["total"] == row["placement"]["delegated"] > 10


def test_right_and_wrong_there_and_elsewhere_missing_and_broken_in_one_report(
    exported: Path, delegates: dict[str, Runner], report: Report, tmp_path: Path
) -> None:
    delegates.update(
        {
            "gpu-wrong": delegate("gpu-wrong", open_wrong, "gpu"),
            "gpu-half": delegate("gpu-half", open_half, "gpu"),
            "gpu-silent": delegate("gpu-silent", open_silent, "gpu"),
            "cpu-half": delegate("cpu-half", open_half),
            "cpu-nan": delegate("cpu-nan", open_nan),
            "npu-range": delegate("npu-range", open_other_range, "npu"),
            "npu-refused": delegate("npu-refused", open_refuse, "npu"),
            "npu-absent": delegate("npu-absent", open_refuse, "npu", absent),
            "npu-crash": delegate("npu-crash", open_crash, "npu"),
        }
    )
    code, found = report(exported, "--report", tmp_path / "report")
    assert (code, found["passed"]) == (1, False)
    rows = {row["delegate"]: (row["status"], row["reason"]) for row in found["results"]}
    golden = "the checkpoint is not at hand: held against the golden pair of its manifest"
    assert rows["onnxruntime-cpu"] == ("passed", golden)
    status, reason = rows["gpu-wrong"]
    assert status == "failed"
    assert reason.startswith("delegated but wrong: PSNR ")
    assert "dB is under the gate of 40 dB" in reason
    assert rows["gpu-half"] == (
        "failed",
        f"right but fell back: 2 of 9 operations ran elsewhere (Pad, Resize); {golden}",
    )
    assert rows["gpu-silent"] == ("passed", f"{golden}; its runtime does not say where the operations ran")
    assert rows["cpu-half"] == ("passed", golden)
    assert rows["cpu-nan"] == ("failed", f"wrong: the output holds NaN or infinity; {golden}")
    assert rows["npu-range"][0] == "failed"
    assert "not from 0 to 1: it was made for another range" in rows["npu-range"][1]
    assert rows["npu-refused"] == ("could not run", "no such chip")
    assert rows["npu-absent"] == ("could not run", "it is not installed (pip install it)")
    assert rows["npu-crash"] == ("failed", "the process crashed (signal 11)")
    _check_report(tmp_path / "report", found)


def _check_report(folder: Path, found: dict[str, Any]) -> None:
    assert json.loads((folder / "report.json").read_text()) == found
    markdown = (folder / "report.md").read_text()
    assert "delegated but wrong" in markdown
    assert "right but fell back" in markdown
    page = (folder / "index.html").read_text()
    assert page.count("<img src=") == 2 + 2 * 7  # photo and reference; what each of seven made, and the difference
    suites = ElementTree.parse(folder / "junit.xml").getroot()  # noqa: S314  # our own
    assert (suites.get("tests"), suites.get("failures")) == ("10", "5")
    assert len(suites.findall(".//skipped")) == 2


def test_a_hang_is_one_failed_row(
    exported: Path, delegates: dict[str, Runner], report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgestyle.validation.limit_s", lambda *photos, emulated: 2)
    delegates.clear()
    delegates["npu"] = delegate("npu", open_hang, "npu")
    code, found = report(exported)
    assert code == 1
    assert found["results"][0]["reason"] == "the process did not finish within 2 s, and was ended"
    assert limit_s() == 300
    assert limit_s(np.zeros((1, 3, 500, 1000), np.float32), emulated=False) == 150


def test_a_required_delegate_must_run(exported: Path, delegates: dict[str, Runner], report: Report) -> None:
    delegates["npu"] = delegate("npu", open_refuse, "npu", absent)
    code, found = report(exported, "--delegate", "npu")
    assert (code, [row["status"] for row in found["results"]]) == (0, ["could not run"])
    code, found = report(exported, "--delegate", "onnxruntime-cpu", "--require", "npu")
    assert code == 1
    assert [(row["delegate"], row["status"]) for row in found["results"]] == [
        ("onnxruntime-cpu", "passed"),
        ("npu", "failed"),
    ]
    assert found["results"][1]["reason"] == "required, but could not run here: it is not installed (pip install it)"


def test_an_emulated_delegate_gets_few_photos() -> None:
    small, large = (np.zeros((1, 3, side, side), np.float32) for side in (64, 128))
    pairs = [Pair(name, small, small) for name in "abcd"]
    assert [pair.name for pair in validation._affordable(pairs, 2 * 64 * 64)] == ["a", "b"]
    assert [pair.name for pair in validation._affordable(pairs, 1)] == ["a"]
    of_both_sizes = [*pairs, Pair("e", large, large)]
    assert [pair.name for pair in validation._affordable(of_both_sizes, 10**9)] == ["e", "a"]


def test_the_text_says_how_it_went(
    exported: Path,
    delegates: dict[str, Runner],
    zoo: None,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    delegates["npu"] = delegate("npu", open_silent, "npu")
    assert main(["validate", str(exported), "--report", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith(f"1 file, 2 delegates: 2 passed.\n{tmp_path / 'index.html'}\n")
    assert "tiny-64.onnx on npu (emulated: this may take minutes)" in captured.err
    markdown = (tmp_path / "report.md").read_text()
    assert "tiny in torch, on 4 photos: rocket, chelsea, coffee, astronaut" in markdown
    shown = {
        line.split("|")[2].strip(): line.split("|")[-3].strip() for line in markdown.splitlines() if "✅ passed" in line
    }
    assert shown["onnxruntime-cpu"] == "4"
    assert shown["npu (emulated)"] == "4"  # tiny ones


# Files that are not what they should be -----------------------------------------------------------------------------


def rewrite(path: Path, changes: dict[str, Any]) -> None:
    """Change the manifest beside a file, so that its hash is true again and the contract says something else."""
    beside = manifest_path(path)
    content = json.loads(beside.read_text())
    content["contract"].update(changes)
    beside.write_text(json.dumps({**content, "sha256": sha256(path), "bytes": path.stat().st_size}))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def tamper(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def text_in_its_place(path: Path) -> None:
    path.write_text("hello")
    rewrite(path, {})


def other_size(path: Path) -> None:
    rewrite(path, {"size": [128, 128]})
    manifest = read_manifest(path)
    assert manifest is not None
    images.write(path.with_name(manifest.golden.input.name), np.zeros((1, 3, 128, 128), np.float32))
    content = json.loads(manifest_path(path).read_text())
    content["golden"]["input"]["sha256"] = sha256(path.with_name(manifest.golden.input.name))
    manifest_path(path).write_text(json.dumps(content))


def other_range(path: Path) -> None:
    spec = json.loads(manifest_path(path).read_text())["contract"]["input"]
    rewrite(path, {"input": {**spec, "range": [0, 255]}})


def manifest_of_another(path: Path) -> None:
    content = json.loads(manifest_path(path).read_text())
    manifest_path(path).write_text(json.dumps({**content, "file": "other.onnx", "sha256": "0" * 64}))


def malformed_manifest(path: Path) -> None:
    manifest_path(path).write_text("{")


def golden_gone(path: Path) -> None:
    path.with_name("tiny-64-golden-expected.png").unlink()


def golden_changed(path: Path) -> None:
    images.write(path.with_name("tiny-64-golden-expected.png"), np.zeros((1, 3, 64, 64), np.float32))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut_short, "it was cut short, or changed"),
        (tamper, "its bytes were changed"),
        (manifest_of_another, "that is of other.onnx"),
        (malformed_manifest, "tiny-64.onnx.json is not a manifest"),
        (text_in_its_place, "cannot be opened as ONNX"),
        (other_size, "it takes 64x64 (height x width), its manifest says 128x128 (height x width)"),
        (other_range, "wrong: the file itself says input.range = (0.0, 1.0), its manifest (0.0, 255.0)"),
        (golden_gone, "tiny-64-golden-expected.png is missing; export it again, or give --reference"),
        (golden_changed, "tiny-64-golden-expected.png was changed"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bad_file_is_a_failed_row(
    build: Path,
    delegates: dict[str, Runner],
    report: Report,
    spoil: Callable[[Path], None],
    reason: str,
) -> None:
    spoil(build)
    code, found = report(build)
    assert code == 1
    (row,) = found["results"]
    assert row["status"] == "failed"
    assert row["artifact"] == str(build)
    assert reason in row["reason"]


def test_a_film_shows_what_photos_do_not(
    exported: Path, delegates: dict[str, Runner], zoo: None, report: Report, tmp_path: Path
) -> None:
    delegates["cpu-restless"] = delegate("cpu-restless", open_restless)
    delegates["npu"] = delegate("npu", open_silent, "npu")
    _, found = report(exported, "--flicker", "--report", tmp_path)
    measured = {row["delegate"]: row["metrics"] for row in found["results"]}
    assert abs(measured["onnxruntime-cpu"]["flicker"]) < 1e-3
    assert measured["cpu-restless"]["flicker"] == pytest.approx(0.1, rel=0.1)
    assert "flicker" not in measured["npu"]  # emulated, and too slow for films
    assert "| flicker |" in (tmp_path / "report.md").read_text()


def test_lpips_is_measured_by_a_network_that_is_given(
    exported: Path, delegates: dict[str, Runner], zoo: None, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch  # not above: every delegate's process imports this module
    from torch import nn

    from edgestyle.lpips import LPIPS

    torch.manual_seed(0)
    network = LPIPS(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1,), [torch.ones(8, 1, 1)])
    monkeypatch.setattr("edgestyle.lpips.load", lambda backbone, heads: network)
    delegates["cpu-wrong"] = delegate("cpu-wrong", open_wrong)
    delegates["cpu-nan"] = delegate("cpu-nan", open_nan)
    _, found = report(exported, "--lpips", "alexnet.pth", "alex.pth")
    measured = {row["delegate"]: row["metrics"] for row in found["results"]}
    assert measured["onnxruntime-cpu"]["lpips"] < 1e-6 < measured["cpu-wrong"]["lpips"]
    assert measured["cpu-nan"] is None


def test_one_bad_file_among_good_ones(
    exported: Path, build: Path, delegates: dict[str, Runner], report: Report
) -> None:
    cut_short(build)
    code, found = report(build, exported)
    assert code == 1
    assert [(row["artifact"], row["delegate"], row["status"]) for row in found["results"]] == [
        (str(build), None, "failed"),
        (str(exported), "onnxruntime-cpu", "passed"),
    ]


def test_without_a_manifest_the_file_speaks_for_itself(
    build: Path, delegates: dict[str, Runner], report: Report, monkeypatch: pytest.MonkeyPatch, zoo: None
) -> None:
    manifest_path(build).unlink()
    code, found = report(build)
    (row,) = found["results"]
    assert (code, row["status"], row["scheme"]) == (0, "passed", "fp32")
    assert row["reason"] == "no manifest beside it: whether it was changed is not known"

    monkeypatch.setattr(checkpoint, "zoo", list)
    code, found = report(build)
    (row,) = found["results"]
    assert (code, row["status"]) == (1, "failed")
    assert row["reason"].startswith("nothing says what it should paint; give --reference")


# Somebody else's files ----------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(exported: Path, tmp_path: Path) -> Path:
    """The same network, without a word about it."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "theirs.onnx")
    return tmp_path / "theirs.onnx"


def test_two_files_are_compared(foreign: Path, exported: Path, delegates: dict[str, Runner], report: Report) -> None:
    code, found = report(foreign, "--reference", exported)
    (row,) = found["results"]
    assert (code, row["status"], row["target"], row["scheme"], row["reason"]) == (0, "passed", "onnx", None, "")
    assert row["metrics"]["psnr_db"] == 200


def test_a_file_is_compared_with_a_checkpoint(
    foreign: Path, exported: Path, tiny_checkpoint: Checkpoint, delegates: dict[str, Runner], report: Report
) -> None:
    code, found = report(foreign, exported, "--reference", tiny_checkpoint.folder)
    assert code == 0
    assert [row["reason"] for row in found["results"]] == ["", ""]
    code, found = report(exported, "--reference", "great_wave")
    assert code == 1
    assert found["results"][0]["reason"].startswith("wrong: PSNR")
    assert found["results"][0]["reason"].endswith("the file was made from another checkpoint")


def test_files_of_two_sizes_cannot_be_compared(
    foreign: Path,
    tiny_checkpoint: Checkpoint,
    delegates: dict[str, Runner],
    report: Report,
    tmp_path: Path,
) -> None:
    other = exporting.export(
        tiny_checkpoint, registry.load(registry.TARGETS, "onnx"), (64, 96), tmp_path / "other"
    ).path
    code, found = report(foreign, "--reference", other)
    assert code == 1
    assert "takes 64x96 (height x width), not 64x64; compare files of one size" in found["results"][0]["reason"]


# What is asked for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--delegate", "onnxruntime-cpo"], "unknown delegate 'onnxruntime-cpo'; did you mean onnxruntime-cpu?"),
        (["--require", "tflite-only"], "tflite-only opens none of these files; they run on: onnxruntime-cpu"),
        (["--reference", "great_wav"], "unknown model 'great_wav'; did you mean great_wave?"),
        (["--reference", "missing.onnx"], "--reference: there is no missing.onnx"),
        (["--photos", "missing.jpg"], "there is no missing.jpg"),
        (["--config", "missing.toml"], "cannot read missing.toml"),
        (["--trace"], "--trace is for Core ML packages (.mlpackage); there is none among these files"),
        (["missing.onnx"], "there is no missing.onnx"),
        (["--lpips", "alexnet.pth"], "--lpips: expected 2 arguments"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(
    exported: Path, delegates: dict[str, Runner], report: Report, arguments: list[str], message: str
) -> None:
    delegates["tflite-only"] = replace(delegate("tflite-only", open_silent), suffixes=(".tflite",))
    code, found = report(exported, *arguments)
    assert code == 2
    assert message in found["error"]


def test_a_report_that_cannot_be_written_is_refused_at_once(
    exported: Path, delegates: dict[str, Runner], report: Report
) -> None:
    delegates["onnxruntime-cpu"] = delegate("onnxruntime-cpu", open_crash)
    code, found = report(exported, "--report", exported)
    assert (code, "is a file; an output folder is needed" in found["error"]) == (2, True)


def test_own_photos_and_own_gates(
    exported: Path, delegates: dict[str, Runner], zoo: None, report: Report, tmp_path: Path
) -> None:
    for name in ("a/one.png", "b/one.png"):
        images.write(tmp_path / name, np.full((1, 3, 80, 70), 0.5, np.float32))
    (tmp_path / "strict.toml").write_text("[gate.any.fp32]\npsnr_db = 199\n")
    code, found = report(
        exported, "--config", tmp_path / "strict.toml", "--photos", tmp_path / "a", tmp_path / "b", "--report", tmp_path
    )
    assert code == 1
    assert "is under the gate of 199 dB" in found["results"][0]["reason"]
    assert "on 2 photos: one, one-2" in (tmp_path / "report.md").read_text()
    assert "set in edgestyle.toml" in (tmp_path / "report.md").read_text()


def test_ctrl_c_leaves_no_report(exported: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgestyle", "validate", str(exported), "--report", str(tmp_path / "report")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "tiny-64.onnx on " in line)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "interrupted; nothing half-written is left" in rest
    assert list((tmp_path / "report").iterdir()) == []


def test_core_ml_packages_are_traced(
    tiny_checkpoint: Checkpoint, zoo: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("coremltools")
    path = exporting.export(tiny_checkpoint, registry.load(registry.TARGETS, "coreml"), (64, 64), tmp_path).path
    arguments = ["--delegate", "coreml-evaluator", "--trace", "--report", str(tmp_path / "report")]
    code = main(["validate", str(path), *arguments])
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "the 10 operations that lose most when they alone are in fp16" in printed
    assert "## Trace" in (tmp_path / "report" / "report.md").read_text()
    rows = json.loads((tmp_path / "report" / "report.json").read_text())["traces"][str(path)]
    assert {"conv", "reduce_mean"} <= {row["type"] for row in rows}
    assert all(row["own_db"] > 40 for row in rows)


# The verdict --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noise", "placement", "hardware", "start"),
    [
        (0, ALL, "gpu", ""),
        (0, None, "gpu", ""),
        (0, SOME, "cpu", ""),
        (0, SOME, "gpu", "right but fell back: 2 of 9 operations ran elsewhere (Pad, Resize)"),
        (0.1, ALL, "cpu", "wrong: PSNR 20.0 dB is under the gate of 70 dB"),
        (0.1, ALL, "gpu", "delegated but wrong: PSNR 20.0 dB is under the gate of 60 dB"),
        (0.1, SOME, "npu", "wrong, and fell back: PSNR 20.0 dB is under the gate of 45 dB; 2 of 9 operations"),
    ],
)
def test_right_and_resident_are_two_facts(
    noise: float, placement: Placement | None, hardware: Literal["cpu", "gpu", "npu"], start: str
) -> None:
    expected = np.full((1, 3, 64, 64), 0.5, np.float32)
    subject = Subject(Path("a.onnx"), None, None, (64, 64))
    gate = gates.find("fp32", delegate("d", open_silent, hardware))
    opened = Opened(None, (64, 64), (expected + np.float32(noise),), placement)
    failure, measured = verdict.judge(subject, gate, opened, [expected], None)
    assert failure.startswith(start)
    assert bool(failure) == bool(start)
    assert isinstance(measured, Metrics)


def test_structure_counts_too() -> None:
    expected = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    gate = gates.Gate(psnr_db=4, ssim=0.9, resident=False, reason="")
    opened = Opened(None, (64, 64), (1 - expected,))
    failure, _ = verdict.judge(Subject(Path("a"), None, None, (64, 64)), gate, opened, [expected], None)
    assert failure.startswith("wrong: SSIM -")
