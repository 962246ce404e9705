"""Our networks against somebody else's files, as `make bench-peers` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner_files import onnx_file

from edgestyle import checkpoint, exporting, registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.latency import peers, roofline
from edgestyle.latency.measure import Effort
from edgestyle.latency.roofline import Peak
from edgestyle.target import Target


def test_from_a_folder_of_peers_to_the_page(
    tmp_path: Path, tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roofline, "measure", lambda: Peak(100, 10, 2))
    monkeypatch.setattr(checkpoint, "zoo", lambda: [tiny_checkpoint])
    monkeypatch.setattr(peers, "_EFFORT", Effort(runs=12, rounds=10, most_rounds=10))
    monkeypatch.setattr(peers, "TARGETS", ("onnx",))
    monkeypatch.setattr(peers, "SCHEMES", ("fp32", "int9"))
    monkeypatch.setenv("EDGESTYLE_DATA", str(tmp_path))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    onnx_file(theirs / "slow_64.onnx", *["Conv"] * 8)
    (theirs / "broken_64.onnx").write_text("a text")
    out, build = tmp_path / "latency.md", tmp_path / "build"
    command = [str(theirs), "--out", str(out), "--build", str(build)]
    assert peers.main(command) == 0
    page = out.read_text()
    for part in (
        "| tiny-64.onnx on onnxruntime-cpu | slow_64.onnx on onnxruntime-cpu |",
        "| tiny-64.onnx | onnxruntime-cpu | 64x64 |",
        "tiny to ONNX, int9: unknown scheme 'int9'",
        "broken_64.onnx on onnxruntime-cpu: failed, ",
        "The score was not taken: the VGG-19 weights are not at ",
    ):
        assert part in page
    assert str(theirs) not in page

    # What the same weights and versions have made is not made again.
    made = (build / "tiny-64.onnx").stat().st_mtime_ns
    target: Target = registry.load(registry.TARGETS, "onnx")
    path = exporting.export_unless_there(tiny_checkpoint, target, (64, 64), build)
    assert path.stat().st_mtime_ns == made


@pytest.mark.parametrize(("name", "reason"), [("missing", "there is no"), ("empty", "holds no exported network")])
def test_a_folder_without_peers(tmp_path: Path, name: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert peers.main([str(tmp_path / name), "--out", str(tmp_path / "latency.md")]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "latency.md").exists()
