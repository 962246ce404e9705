"""The main job, as it is used: `edgestyle export` and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgestyle import exporting, images, registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.cli import main
from edgestyle.drift import measure
from edgestyle.errors import CheckError, ConfigError, MissingExtraError, UsageError
from edgestyle.files import sha256
from edgestyle.manifest import read_manifest
from edgestyle.stylize import open_painter

TARGETS = ("coreml", "onnx", "tflite")
GOLDEN = ("expected.f32", "expected.png", "input.png", "photo.jpg", "tensor.f32")
GATES = {"coreml": 45, "onnx": 70, "tflite": 70}


@pytest.fixture(scope="module")
def exported(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every target at 64x64 and at 96x64 (width x height)."""
    out = tmp_path_factory.mktemp("exported")
    arguments = ["--target", "all", "--size", "64", "96x64", "--out", str(out)]
    assert main(["export", "--model", str(tiny_checkpoint.folder), *arguments]) == 0
    return out


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _export(checkpoint: Checkpoint, out: Path, *arguments: str) -> int:
    return main(["export", "--model", str(checkpoint.folder), "--out", str(out), *arguments])


def test_every_target_is_written_with_manifest_and_golden_pair(exported: Path) -> None:
    names = [f"tiny-{size}{suffix}" for size in ("64", "96x64") for suffix in (".mlpackage", ".onnx", ".tflite")]
    golden = [f"tiny-{size}-golden-{part}" for size in ("64", "96x64") for part in GOLDEN]
    assert _files(exported) == sorted([*names, *(f"{name}.json" for name in names), *golden])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", ["64", "96x64"])
def test_the_manifest_is_true(exported: Path, tiny_checkpoint: Checkpoint, target: str, size: str) -> None:
    suffix = registry.load(registry.TARGETS, target).suffix
    path = exported / f"tiny-{size}{suffix}"
    manifest = read_manifest(path)
    assert manifest is not None
    assert manifest.sha256 == sha256(path)
    assert manifest.contract.checkpoint_sha256 == tiny_checkpoint.sha256()
    assert manifest.contract.size == ((64, 64) if size == "64" else (64, 96))
    assert manifest.verified == "passed"
    check = manifest.checks[0]
    assert check.drift is not None
    assert check.drift.psnr_db >= check.min_psnr_db >= GATES[target]
    for file in manifest.golden.files:
        assert sha256(exported / file.name) == file.sha256


@pytest.mark.parametrize("target", TARGETS)
def test_the_golden_bundle_tests_an_app(exported: Path, target: str) -> None:
    """What an app does: read a photo, run the file, compare with the expected picture."""
    path = exported / f"tiny-96x64{registry.load(registry.TARGETS, target).suffix}"
    manifest = read_manifest(path)
    assert manifest is not None
    golden, painter = manifest.golden, open_painter(str(path))
    expected = images.read(exported / golden.expected.name)
    as_it_is = painter.paint(images.read(exported / golden.input.name))
    resized = painter.paint(images.read(exported / golden.photo.name))
    for painted, wanted in ((as_it_is, expected), (resized, images.Window(*golden.window).crop(expected))):
        rounded = images.from_uint8(images.to_uint8(painted))
        assert measure(rounded, wanted).psnr_db >= golden.min_psnr_db


def test_core_ml_proper_says_why_it_could_not_run(exported: Path) -> None:
    manifest = read_manifest(exported / "tiny-64.mlpackage")
    assert manifest is not None
    proper = {check.delegate: check for check in manifest.checks}["coreml-ane"]
    if proper.status == "could not run":
        assert "macOS" in proper.reason
    else:
        assert proper.status == "passed"


def test_json_holds_the_contract(
    tiny_checkpoint: Checkpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _export(tiny_checkpoint, tmp_path, "--target", "onnx", "--size", "64", "--json") == 0
    result = json.loads(capfd.readouterr().out)
    (artifact,) = result["artifacts"]
    assert result["passed"] is True
    assert artifact["path"] == str(tmp_path / "tiny-64.onnx")
    assert Path(artifact["manifest"]).is_file()
    assert artifact["bytes"] == (tmp_path / "tiny-64.onnx").stat().st_size
    assert (artifact["target"], artifact["scheme"], artifact["size"]) == ("onnx", "fp32", [64, 64])
    assert (artifact["verified"], artifact["delegate"]) == ("passed", "onnxruntime-cpu")
    assert artifact["drift"].keys() >= {"psnr_db", "max_abs", "ssim"}


def test_a_free_size_takes_any_photo(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert _export(tiny_checkpoint, tmp_path, "--target", "onnx", "--size", "dynamic") == 0
    photo = images.centre_crop(images.sample_photos()["astronaut"], (101, 77))
    ours = open_painter(str(tiny_checkpoint.folder)).paint(photo)
    theirs = open_painter(str(tmp_path / "tiny-dynamic.onnx")).paint(photo)
    assert measure(theirs, ours).psnr_db >= 70


def test_a_scheme_is_named_in_the_file(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert _export(tiny_checkpoint, tmp_path, "--target", "onnx", "--size", "64", "--quantize", "fp16") == 0
    manifest = read_manifest(tmp_path / "tiny-64-fp16.onnx")
    assert manifest is not None
    assert manifest.contract.scheme == "fp16"


def test_a_file_that_is_not_the_one_of_its_manifest_is_refused(exported: Path, tmp_path: Path) -> None:
    shutil.copyfile(exported / "tiny-64.onnx", tmp_path / "a.onnx")
    assert open_painter(str(tmp_path / "a.onnx")).size == (64, 64)  # without a manifest: it says all itself
    shutil.copyfile(exported / "tiny-96x64.onnx.json", tmp_path / "a.onnx.json")
    with pytest.raises(ConfigError, match=r"a\.onnx is not the file that a\.onnx\.json beside it describes"):
        open_painter(str(tmp_path / "a.onnx"))


def _spoil(monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    """Have the ONNX target write something else."""
    target = registry.load(registry.TARGETS, "onnx")
    spoiled = replace(target, write=write(target.write))
    monkeypatch.setattr(registry, "load", lambda group, name, load=registry.load: _pick(load, group, name, spoiled))


def _pick(load: Any, group: str, name: str, spoiled: Any) -> Any:
    return spoiled if (group, name) == (registry.TARGETS, "onnx") else load(group, name)


def test_a_file_that_fails_its_check_is_not_kept(
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _export(tiny_checkpoint, tmp_path, "--target", "onnx", "--size", "64") == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def darker(write: Any) -> Any:
        def spoiled(net: Any, contract: Any, path: Path) -> None:
            net.head.bias.sub_(0.1)
            write(net, contract, path)

        return spoiled

    _spoil(monkeypatch, darker)
    capsys.readouterr()
    assert _export(tiny_checkpoint, tmp_path, "--target", "onnx", "--size", "64", "--json") == 1
    captured = capsys.readouterr()
    assert "failed its check on onnxruntime-cpu" in captured.err
    (artifact,) = json.loads(captured.out)["artifacts"]
    assert (artifact["verified"], artifact["path"]) == ("failed", None)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, os.strerror(28))])
def test_an_interruption_leaves_nothing(
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
) -> None:
    def interrupted(_: Any) -> Any:
        def half(net: Any, contract: Any, path: Path) -> None:
            path.write_bytes(b"half")
            raise error

        return half

    _spoil(monkeypatch, interrupted)
    assert _export(tiny_checkpoint, tmp_path, "--target", "onnx", "--size", "64") in (1, 130)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert _files(tmp_path) == []


@pytest.mark.parametrize("fails", [True, False])
def test_an_interruption_that_a_library_swallows_ends_the_export(
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fails: bool,
) -> None:
    def swallowed(write: Any) -> Any:
        def spoiled(net: Any, contract: Any, path: Path) -> None:
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            if fails:
                raise MissingExtraError("onnx", "onnx")
            write(net, contract, path)

        return spoiled

    _spoil(monkeypatch, swallowed)
    assert _export(tiny_checkpoint, tmp_path, "--target", "onnx", "--size", "64", "128") == 130
    captured = capsys.readouterr()
    assert "not installed" not in captured.err
    assert captured.err.count("exporting") == 1
    assert captured.err.endswith("edgestyle: interrupted; nothing half-written is left\n")
    names = [*(f"64-golden-{part}" for part in GOLDEN), "64.onnx", "64.onnx.json"]
    assert _files(tmp_path) == ([] if fails else [f"tiny-{name}" for name in names])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "onxx"], "did you mean onnx"),
        (["--target", "onnx", "--quantize", "fp61"], "did you mean fp"),
        (["--target", "coreml", "--quantize", "int3"], "unknown scheme 'int3'"),
        (["--target", "onnx", "--size", "0"], "from 64 to 4096"),
        (["--target", "onnx", "--size", "-8"], "from 64 to 4096"),
        (["--target", "onnx", "--size", "100000"], "from 64 to 4096"),
        (["--target", "onnx", "--size", "513"], "the nearest are 512 and 520"),
        (["--target", "onnx", "--size", "big"], "not a size"),
        (["--target", "onnx", "--size", "64x64x64"], "not a size"),
        (["--target", "onnx", "--size", "6_4"], "not a size"),
        (["--target", "onnx", "--size", "٦٤"], "not a size"),
        (["--target", "tflite", "--size", "dynamic"], "fixed size"),
        (["--target", "all", "--size", "dynamic"], "fixed size"),
    ],
)
def test_bad_requests_are_one_line(
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert _export(tiny_checkpoint, tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_refused(
    tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    assert _export(tiny_checkpoint, tmp_path / "out", "--target", "onnx", "--size", "64") == 2
    assert "is a file" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_a_scheme_of_another_target_is_refused(tiny_checkpoint: Checkpoint) -> None:
    onnx = registry.load(registry.TARGETS, "onnx")
    assert list(exporting.schemes(onnx))[:2] == ["fp32", "fp16"]
    with pytest.raises(UsageError, match="it serves"):
        exporting.check_request(replace(onnx, name="other", title="Other"), (64, 64), "fp16")


def test_nan_in_the_output_fails_the_check(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(write: Any) -> Any:
        def spoiled(net: Any, contract: Any, path: Path) -> None:
            net.head.bias[0] = float("nan")
            write(net, contract, path)

        return spoiled

    _spoil(monkeypatch, poisoned)
    with pytest.raises(CheckError, match="NaN"):
        exporting.export(tiny_checkpoint, registry.load(registry.TARGETS, "onnx"), (64, 64), tmp_path)
