"""The linter's predictions against what the runtimes do with the same files."""

from __future__ import annotations

from pathlib import Path

import pytest
from lint_networks import TFLITE, write_onnx, write_tflite

from edgestyle import registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.lint import lint_file, table_for
from edgestyle.lint.comparison import Comparison, compare_on
from edgestyle.runner import Placement, Runner


def works(runner: str) -> Runner:
    """The runner, or skip where it does not work."""
    found: Runner = registry.load(registry.RUNNERS, runner)
    availability = found.probe()
    if availability.status != "works":
        pytest.skip(f"{runner}: {availability.reason}")
    return found


def predicted(path: Path, delegate: str) -> Placement:
    return next(v.placement for v in lint_file(path) if v.delegate == delegate)


def compared(path: Path, delegate: str) -> Comparison:
    works(delegate)
    verdict = next(v for v in lint_file(path) if v.delegate == table_for(delegate).name)
    return compare_on(path, verdict, delegate)


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("name", TFLITE)
def test_xnnpack_takes_what_was_predicted_in_as_many_pieces(name: str, free: bool, tmp_path: Path) -> None:
    path = write_tflite(name, tmp_path / "a.tflite", free)
    seen = works("litert-cpu").open(path).placement()
    assert predicted(path, "litert-cpu") == seen


def test_our_own_export_is_one_piece_on_xnnpack_as_predicted(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    from edgestyle import exporting

    target = registry.load(registry.TARGETS, "tflite")
    path = exporting.export(tiny_checkpoint, target, (64, 64), tmp_path).path
    seen = works("litert-cpu").open(path).placement()
    assert seen is not None
    assert seen.resident
    assert predicted(path, "litert-cpu") == seen
    assert predicted(path, "litert-gpu").resident


@pytest.mark.flaky(reruns=1)  # an emulated GPU, on a machine that may be busy
@pytest.mark.parametrize("name", ["reflect pad", "symmetric pad", "clamp"])
def test_the_gpu_takes_what_was_predicted(name: str, tmp_path: Path) -> None:
    comparison = compared(write_tflite(name, tmp_path / "a.tflite"), "litert-gpu")
    assert comparison.agrees
    assert comparison.verdict.placement.resident == (name == "reflect pad")


@pytest.mark.parametrize("kind", ["Softplus", "Softsign"])
def test_qualcomms_npu_takes_what_was_predicted(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from onnx import helper

    path = write_onnx(tmp_path / "a.onnx", [helper.make_node(kind, ["x"], ["y"])])
    comparison = compared(path, "onnxruntime-qnn")
    assert comparison.agrees
    assert comparison.verdict.placement.resident == (kind == "Softplus")


def test_a_wrong_prediction_is_told(tmp_path: Path) -> None:
    path = write_tflite("clamp", tmp_path / "a.tflite")
    works("litert-cpu")
    other = next(v for v in lint_file(write_tflite("plain", tmp_path / "b.tflite")) if v.delegate == "litert-cpu")
    comparison = compare_on(path, other, "litert-cpu")
    assert comparison.agrees is False


def test_a_file_that_no_runtime_opens_is_no_agreement(tmp_path: Path) -> None:
    path = write_tflite("plain", tmp_path / "a.tflite")
    works("litert-cpu")
    (verdict, *_) = lint_file(path)
    path.write_bytes(b"no longer a network")
    comparison = compare_on(path, verdict, "litert-cpu")
    assert comparison.agrees is None
    assert "not a TFLite file" in comparison.reason
