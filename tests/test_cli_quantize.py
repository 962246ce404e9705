"""`edgestyle quantize`, and what of it `edgestyle export` uses."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgestyle import cli, exporting, images, manifest, parts, registry
from edgestyle.latency.measure import Effort
from edgestyle.quantization import sweep, sweep_report
from edgestyle.quantization.sweep import Row

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint

QUICK = Effort(runs=5, most_s=0.1, warmup_runs=1, warmup_s=0, rounds=2, fewest_rounds=2, most_rounds=2)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def of(tiny: Checkpoint, folder: Path, *schemes: str) -> sweep.Sweep:
    target = registry.load(registry.TARGETS, "onnx")
    return sweep.Sweep(tiny, parts.single(tiny, target), (target,), (64, 64), folder, schemes=schemes, effort=QUICK)


# --sweep ------------------------------------------------------------------------------------------------------------


def test_an_interrupted_sweep_goes_on_where_it_stopped(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = of(tiny_checkpoint, tmp_path / "sweep", "int8", "int8-weights")
    export, written = exporting.export, []

    def interrupted(*args: Any, **options: Any) -> Any:
        if args[4] == "int8-weights" and "int8-weights" not in written:
            written.append("int8-weights")
            raise KeyboardInterrupt
        written.append(args[4])
        return export(*args, **options)

    monkeypatch.setattr(exporting, "export", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(sweep.run(wanted, lambda _: nullcontext()))
    assert written == ["fp32", "int8", "int8-weights"]
    rows = list(sweep.run(wanted, lambda _: nullcontext()))
    assert written == ["fp32", "int8", "int8-weights", "int8-weights"]
    assert [row.scheme for row in rows] == ["fp32", "int8", "int8-weights"]
    for row in rows:
        assert row.bytes == (tmp_path / "sweep" / row.file).stat().st_size
        assert row.ms > 0
        assert (row.ratio is None) == (row.scheme == "fp32")
        assert sweep.picture_path(tmp_path / "sweep", row).exists()
    assert rows[0].psnr_db > rows[1].psnr_db
    assert rows[0].style_drift < rows[1].style_drift


def test_the_command_writes_its_report(tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: Any) -> None:
    arguments = ["--target", "onnx", "--scheme", "int8-weights", "--size", "64", "--report", "report", "--json"]
    assert cli.main(["quantize", str(tiny_checkpoint.folder), "--sweep", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["scheme"] for row in result["rows"]] == ["fp32", "int8-weights"]
    assert any("Smallest download" in advice["delegate"] for advice in result["advice"])
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == result
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("data:image/webp") == 6  # photo, float, and two files with their differences
    assert "int8-weights" in (tmp_path / "report" / "report.md").read_text()


def row(target: str, scheme: str, ratio: float | None = None, **more: Any) -> Row:
    known = {"status": "passed", "bytes": 100, "psnr_db": 40.0, "ssim": 0.98, "ms": 10.0, **more}
    interval = (ratio * 0.95, ratio * 1.05) if ratio else None
    return Row(target=target, scheme=scheme, delegate="some", emulated=False, ratio=ratio, ratio_ci95=interval, **known)


def test_advice_takes_what_passed_and_is_faster() -> None:
    rows = [
        row("tflite", "fp32", bytes=400),
        row("tflite", "int8", 0.5),
        row("tflite", "int8-a16", 30, bytes=90),
        row("tflite", "int8-dynamic", 0.3, status="failed"),
        row("onnx", "fp32"),
        row("onnx", "int8", 0.98),
        row("coreml", "fp16", bytes=200),
        row("coreml", "int8", status="failed"),
    ]
    advice = {each.delegate: (each.take, each.why) for each in sweep_report.advise(rows)}
    take, why = advice["CPU with LiteRT (Android)"]
    assert (take, why) == ("tflite int8", "2.0 times as fast as fp32, 40.0 dB, SSIM 0.980")
    assert next(take for delegate, (take, _) in advice.items() if "ONNX Runtime" in delegate) == "onnx fp32"
    assert advice["Neural Engine from A17 Pro and M4 on"][0] == "coreml fp16"
    assert "slower than float (30.0 times the time)" in advice["Smallest download, tflite"][1]
    assert "slower than float" in sweep_report.cells(rows[2])[-1].text
    assert sweep_report.cells(rows[1], rows)[4].text == "4.00"
    assert sweep_report.cells(rows[5])[-1].text == ""


# --sensitivity and --mixed ------------------------------------------------------------------------------------------


def test_layers_are_ranked_by_their_harm(tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: Any) -> None:
    command = ["quantize", str(tiny_checkpoint.folder), "--sensitivity", "--size", "64"]
    assert cli.main([*command, "--json", "--report", "report"]) == 0
    result = json.loads(capsys.readouterr().out)
    layers = [layer["layer"] for layer in result["layers"]]
    harms = [layer["psnr_db"] for layer in result["layers"]]
    assert {"stem", "down", "head"} < set(layers)
    assert harms == sorted(harms)
    assert result["whole"]["psnr_db"] < np.median(harms)
    shapes = tiny_checkpoint.parameter_shapes().values()
    assert sum(layer["weights"] for layer in result["layers"]) <= sum(int(np.prod(shape)) for shape in shapes)
    assert (tmp_path / "report" / "index.html").exists()


def test_the_fewest_layers_stay_in_floats_and_the_file_says_which(
    tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "edgestyle.toml").write_text("[gate.any.int8]\npsnr_db = 62\nssim = 0.9\n")
    command = ["export", "--model", str(tiny_checkpoint.folder), "--target", "onnx", "--size", "64"]
    assert cli.main([*command, "--quantize", "int8"]) == 1
    assert "--allow-drift keeps it" in capsys.readouterr().err
    assert not list((tmp_path / "build").glob("*"))
    assert cli.main([*command, "--quantize", "int8", "--mixed"]) == 0
    mixed = manifest.read_manifest(tmp_path / "build" / "tiny-64-int8.onnx")
    assert mixed.float_layers
    assert mixed.verified == "passed"
    assert not mixed.beyond_gate
    assert "in floats: " in capsys.readouterr().err


def test_drift_is_allowed_on_demand_and_marked(tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "edgestyle.toml").write_text("[gate.any.fp32]\npsnr_db = 199\n")
    command = ["export", "--model", str(tiny_checkpoint.folder), "--target", "onnx", "--size", "64"]
    assert cli.main([*command, "--allow-drift"]) == 0
    assert "beyond its gate, kept because of --allow-drift" in capsys.readouterr().out
    kept = manifest.read_manifest(tmp_path / "build" / "tiny-64.onnx")
    assert kept.beyond_gate
    assert kept.verified == "failed"
    assert "is under the gate of 199 dB" in kept.checks[0].reason


# Bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of the arguments --sweep --sensitivity --mixed is required"),
        (["--sweep", "--mixed"], "not allowed with argument"),
        (["--sweep", "--size", "dynamic"], "--size dynamic cannot be compared"),
        (["--sweep", "--size", "65"], "not a multiple of 8"),
        (["--sweep", "--scheme", "int9"], "unknown scheme 'int9'; did you mean int8"),
        (["--sweep", "--target", "onnx", "--scheme", "palette-4"], "does not serve scheme 'palette-4'; it serves fp32"),
        (["--sweep", "--target", "onix"], "unknown target 'onix'; did you mean onnx?"),
        (["--mixed", "--scheme", "fp16"], "--mixed is for int8"),
        (["--sensitivity", "--size", "64", "--calibration", "nowhere"], "there is no nowhere"),
        (["--sensitivity", "--size", "64", "--calibration", "black"], "single shade"),
    ],
)
def test_bad_requests_end_in_one_line(
    tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: Any, arguments: list[str], said: str
) -> None:
    images.write(tmp_path / "black" / "a.png", np.zeros((1, 3, 40, 40), np.float32))
    assert cli.main(["quantize", str(tiny_checkpoint.folder), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "build").exists()


def test_a_file_that_is_quantized_already_is_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "tiny-64-int8.onnx").write_bytes(b"")
    assert cli.main(["quantize", "tiny-64-int8.onnx", "--sweep"]) == 2
    assert "is an exported file; name the network that it was made from" in capsys.readouterr().err


def test_mixed_goes_with_integers_alone(tiny_checkpoint: Checkpoint, capsys: Any) -> None:
    command = ["export", "--model", str(tiny_checkpoint.folder), "--target", "onnx", "--size", "64", "--mixed"]
    assert cli.main(command) == 2
    assert "--mixed goes with --quantize int8" in capsys.readouterr().err
