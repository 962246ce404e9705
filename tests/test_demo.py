"""`edgestyle demo`: what it refuses, before any work; what apps are given. Each app has tests of its own."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgestyle import demo, exporting, images, registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.cli import main
from edgestyle.errors import CheckError, MissingExtraError, UsageError
from edgestyle.parts import Part
from edgestyle.target import Target


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a request is refused with."""
    assert main(["demo", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("edgestyle: error: ").strip()


def test_requests_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    new = str(tmp_path / "new")
    assert "unknown demo 'wep'; did you mean web?" in refusal(capsys, "wep", "--model", "great_wave")
    assert "unknown model 'grate_wave'; did you mean great_wave?" in refusal(
        capsys, "web", "--model", "grate_wave", "--out", new
    )
    assert "is not empty; name a new folder" in refusal(capsys, "web", "--model", "great_wave", "--out", str(full))
    assert "--json goes with --out" in refusal(capsys, "web", "--model", "great_wave", "--json")
    assert "--lan and --port are for serving" in refusal(capsys, "web", "--model", "great_wave", "--lan", "--out", new)
    assert "--size 7 is out of range" in refusal(capsys, "web", "--model", "great_wave", "--size", "7", "--out", new)
    assert not Path(new).exists()
    assert (full / "mine.txt").read_text() == "mine"


def test_a_file_without_a_manifest_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "somebodys.onnx"
    file.write_bytes(b"somebody's")
    assert "has no manifest beside it" in refusal(capsys, "web", "--model", str(file), "--out", str(tmp_path / "new"))


def test_a_target_that_cannot_be_exported_is_left_out_and_told_of(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = {"tflite"}

    def export(
        found: Checkpoint, target: Target, size: object, out: Path, scheme: str, part: object
    ) -> SimpleNamespace:
        if target.name in lacking:
            raise MissingExtraError("litert_torch", "tflite")
        return SimpleNamespace(path=out / f"{found.name}-64{target.suffix}")

    monkeypatch.setattr(exporting, "export", export)
    app, told = registry.load(registry.DEMOS, "web"), []
    gather = lambda: demo.gather(  # noqa: E731
        app, [str(tiny_checkpoint.folder)], [(64, 64)], None, tmp_path, lambda _: nullcontext(), told.append
    )
    assert gather() == [tmp_path / "tiny-64.onnx"]
    assert told == ["without TFLite: litert_torch is not installed; add it with: pip install 'edgestyle[tflite]'"]
    lacking.add("onnx")
    with pytest.raises((CheckError, MissingExtraError), match="is not installed"):
        gather()


def test_two_files_of_one_name_are_refused(
    tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_as_it_is", lambda app, file: file)
    models = [str(tmp_path / "a" / "x.onnx"), str(tmp_path / "b" / "x.onnx")]
    app = registry.load(registry.DEMOS, "web")
    with pytest.raises(UsageError, match="have one name; give one of them"):
        demo.gather(app, models, [], None, tmp_path, lambda _: nullcontext(), pytest.fail)


def test_a_network_for_any_painting_becomes_a_filter_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def export(found: Checkpoint, target: Target, size: object, out: Path, scheme: str, part: Part) -> Path:
        made.append(part.name)
        return out / f"{part.name}-64{target.suffix}"

    monkeypatch.setattr(exporting, "export_unless_there", export)
    for name in ("coffee", "rocket"):
        images.write(tmp_path / f"{name}.png", images.sample_photos()[name])
    paintings = [tmp_path / "coffee.png", tmp_path / "rocket.png"]

    def gather(platform: str, *paintings: Path, model: str = "adain") -> list[Path]:
        app = registry.load(registry.DEMOS, platform)
        return demo.gather(
            app, [model], [(64, 64)], None, tmp_path, lambda _: nullcontext(), pytest.fail, list(paintings)
        )

    assert [path.name for path in gather("ios", *paintings)] == [
        "adain-coffee-64.mlpackage",
        "adain-rocket-64.mlpackage",
    ]
    learned = gather("ios", model="gallery")
    assert len(learned) == 8
    assert {"gallery-great_wave-64.mlpackage", "gallery-starry_night-64.mlpackage"} < {path.name for path in learned}
    with pytest.raises(UsageError, match="once for each filter"):
        gather("android")
    with pytest.raises(UsageError, match="are not different"):
        gather("ios", tmp_path / "a" / "coffee.png", tmp_path / "b" / "coffee.jpg")
    ios = registry.load(registry.DEMOS, "ios")
    with pytest.raises(UsageError, match="great_wave is none"):
        demo.gather(ios, ["great_wave"], [], None, tmp_path, lambda _: nullcontext(), pytest.fail, paintings)
    made.clear()
    gather("web")
    assert set(made) == {"adain-encoder", "adain"}
