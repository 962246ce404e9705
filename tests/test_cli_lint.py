"""`edgestyle lint` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lint_networks import write_tflite

from edgestyle.checkpoint import Checkpoint
from edgestyle.cli import main

pytest.importorskip("ai_edge_litert")


@pytest.fixture
def clamp(tmp_path: Path) -> str:
    """A file that XNNPACK splits and the GPU refuses."""
    return str(write_tflite("clamp", tmp_path / "clamp.tflite"))


@pytest.fixture
def plain(tmp_path: Path) -> str:
    return str(write_tflite("plain", tmp_path / "plain.tflite"))


def test_findings_say_what_where_why_and_the_cure(clamp: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", clamp]) == 0
    said = capsys.readouterr().out
    assert "litert-gpu: will not compile: RELU_0_TO_1 in t" in said
    assert "rewrite  end in a sigmoid" in said
    assert "source   https://github.com/google-ai-edge/LiteRT" in said


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ((), 0),
        (("--delegate", "litert-gpu"), 1),
        (("--delegate", "litert-web-webgpu"), 1),
        (("--strict",), 1),
    ],
)
def test_the_exit_code_is_1_only_for_what_was_asked_for(clamp: str, more: tuple[str, ...], code: int) -> None:
    assert main(["lint", clamp, *more]) == code


def test_a_file_that_runs_whole_passes_every_demand(plain: str) -> None:
    assert main(["lint", plain, "--delegate", "litert-gpu", "litert-cpu", "--strict"]) == 0


def test_json(clamp: str, plain: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", clamp, plain, "--delegate", "litert-cpu", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["passed"] is False
    first, second = result["files"]
    (delegate,) = first["delegates"]
    assert delegate["outlook"] == "falls back"
    assert delegate["placement"] == {"total": 3, "delegated": 2, "partitions": 2, "fallback_ops": ["RELU_0_TO_1"]}
    assert set(delegate["findings"][0]) == {"severity", "ops", "where", "why", "rewrite", "source"}
    assert second["delegates"][0]["findings"] == []


def test_a_checkpoint_is_looked_at_as_each_target(
    tiny_checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript")
    folder = str(tiny_checkpoint.folder)
    assert main(["lint", folder, "--target", "onnx", "--size", "64", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert (found["target"], found["error"]) == ("onnx", "")
    outlooks = {delegate["delegate"]: delegate["outlook"] for delegate in found["delegates"]}
    assert outlooks.pop("onnxruntime-nnapi") in ("runs whole", "falls back")  # there is no instance norm there
    assert set(outlooks.values()) == {"runs whole"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--delegate", "litert-gpuu"], "unknown delegate 'litert-gpuu'; did you mean litert-gpu"),
        (["--delegate", "onnxruntime-qnn"], "--delegate onnxruntime-qnn opens no file of"),
        (["--target", "onnx"], "--target onnx is for checkpoints"),
    ],
)
def test_impossible_requests(plain: str, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", plain, *arguments]) == 2
    assert line in capsys.readouterr().err


def test_impossible_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(tmp_path / "none.onnx")]) == 2
    assert "there is no" in capsys.readouterr().err
    assert main(["lint", "great_wav"]) == 2
    assert "great_wave" in capsys.readouterr().err


def test_a_checkpoint_is_not_run(tiny_checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(tiny_checkpoint.folder), "--check"]) == 2
    assert "export it first" in capsys.readouterr().err
