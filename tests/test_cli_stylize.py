"""The command `stylize`, through `main` as a user meets it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgestyle import checkpoint, exporting, images
from edgestyle.checkpoint import Checkpoint
from edgestyle.cli import main
from edgestyle.cli.stylize import plan
from edgestyle.errors import ImageError


@pytest.fixture
def model(tiny_checkpoint: Checkpoint) -> str:
    return str(tiny_checkpoint.folder)


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photos: one.jpg 40x24, set/two.png 9x17, set/deep/three.webp 32x32."""
    monkeypatch.chdir(tmp_path)
    coffee = images.sample_photos()["coffee"]
    images.write(Path("one.jpg"), images.resize(coffee, (24, 40)))
    images.write(Path("set/two.png"), images.resize(coffee, (17, 9)))
    images.write(Path("set/deep/three.webp"), images.resize(coffee, (32, 32)))
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which a wrong request ends; nothing may be written."""
    before = files(Path())
    assert main(["stylize", *arguments]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.startswith("painting ")]
    assert captured.out == ""
    assert len(lines) == 1
    assert files(Path()) == before
    return lines[0]


# What is painted


def test_one_photo_to_a_file(album: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stylize", "one.jpg", "--model", model, "-o", "new/out.png"]) == 0
    assert "new/out.png  40x24 pixels" in capsys.readouterr().out
    painted, photo = images.read(Path("new/out.png")), images.read(Path("one.jpg"))
    assert painted.shape == photo.shape
    expected = images.to_uint8(checkpoint.read(Path(model)).network()(_tensor(photo)).numpy())
    np.testing.assert_array_equal(images.to_uint8(painted), expected)


def _tensor(photo: images.Image):  # type: ignore[no-untyped-def]  # torch is imported where it is needed
    import torch

    return torch.from_numpy(photo)


def test_json_is_all_there_is_on_stdout(album: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stylize", "one.jpg", "set", "--model", model, "-o", "out", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["delegate"], told["failed"]) == ("tiny", "torch", [])
    assert {(one["input"], one["output"], *one["size"]) for one in told["painted"]} == {
        ("one.jpg", "out/one.jpg", 24, 40),
        ("set/two.png", "out/two.png", 17, 9),
        ("set/deep/three.webp", "out/deep/three.webp", 32, 32),
    }
    assert all(one["seconds"] > 0 for one in told["painted"])


def test_bad_photos_among_many(album: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("set/bad.jpg").write_text("this is text")
    Path("set/cut.png").write_bytes(Path("set/two.png").read_bytes()[:200])
    assert main(["stylize", "set", "--model", model, "-o", "out"]) == 1
    captured = capsys.readouterr()
    assert files(Path("out")) == {"two.png", "deep/three.webp"}
    assert "2 of 4 photos painted" in captured.out
    errors = [line for line in captured.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 2
    assert "set/bad.jpg is not a picture" in errors[0]
    assert "set/cut.png cannot be read" in errors[1]


def test_bad_photos_in_json(album: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("set/bad.jpg").touch()
    assert main(["stylize", "set", "--model", model, "-o", "out", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [(one["input"], "is empty" in one["error"]) for one in told["failed"]] == [("set/bad.jpg", True)]
    assert len(told["painted"]) == 2


@pytest.mark.parametrize(("size", "expected"), [("20", (12, 20)), ("7", (4, 7)), ("1", (1, 1)), ("99999", (24, 40))])
def test_size_limits_the_long_side(album: Path, model: str, size: str, expected: tuple[int, int]) -> None:
    assert main(["stylize", "one.jpg", "--model", model, "-o", "out.png", "--size", size]) == 0
    assert images.read(Path("out.png")).shape[2:] == expected


def test_a_rerun_paints_the_same_photos(album: Path, model: str) -> None:
    for _ in range(2):
        assert main(["stylize", "set", "--model", model, "-o", "set/painted"]) == 0
    assert files(Path("set")) == {"two.png", "deep/three.webp", "painted/two.png", "painted/deep/three.webp"}


def test_an_exported_file_of_fixed_size(
    album: Path, tiny_checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from edgestyle import registry

    artifact = exporting.export(
        tiny_checkpoint, registry.load(registry.TARGETS, "onnx"), (64, 128), Path("build"), None
    )
    arguments = ["one.jpg", "--model", str(artifact.path), "-o", "out.png", "--delegate", "onnxruntime-cpu", "--json"]
    assert main(["stylize", *arguments]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert "paints at 128x64 pixels" in captured.err
    assert (told["model"], told["delegate"]) == ("tiny", "onnxruntime-cpu")
    assert told["painted"][0]["size"] == [64, 107]

    fitted, window = images.fit(images.read(Path("one.jpg")), (64, 128))
    expected = window.crop(tiny_checkpoint.network()(_tensor(fitted)).numpy())
    np.testing.assert_allclose(images.read(Path("out.png")), expected, atol=0.6 / 255)


# Where it goes


def outputs(photos: list[str], out: str | None, model: str = "runs/wave") -> list[str]:
    return [str(job.painting) for job in plan(photos, out, model)]


def test_one_photo_goes_to_a_file_or_into_a_folder(album: Path) -> None:
    assert outputs(["one.jpg"], "out.webp") == ["out.webp"]
    assert outputs(["one.jpg"], "new/") == ["new/one.jpg"]
    assert outputs(["one.jpg"], "set") == ["set/one.jpg"]
    assert outputs(["*.jpg"], "out.png") == ["out.png"]


@pytest.mark.parametrize(
    "model", ["wave", "runs/wave", "runs/wave/", "runs/wave/weights.safetensors", "build/wave.onnx"]
)
def test_the_default_output_has_the_models_name(album: Path, model: str) -> None:
    assert outputs(["set/two.png"], None, model) == ["two-wave.png"]
    assert outputs(["set"], None, model) == ["stylized-wave/deep/three.webp", "stylized-wave/two.png"]


def test_names_that_clash_are_numbered(album: Path) -> None:
    for name in ("a/x.jpg", "b/X.JPG", "c/x.jpg", "c/x-2.jpg", "a/y.gif", "b/y.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert outputs(["a/x.jpg", "b/X.JPG", "c/x.jpg", "c/x-2.jpg"], "out") == [
        "out/x.jpg",
        "out/X-2.JPG",
        "out/x-3.jpg",
        "out/x-2-2.jpg",
    ]
    assert outputs(["a/y.gif", "b/y.png"], "out") == ["out/y.png", "out/y-2.png"]


def test_photos_are_never_overwritten(album: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("link.jpg").symlink_to("one.jpg")
    os.link("one.jpg", "hard.jpg")
    before = Path("one.jpg").read_bytes()
    for out in ("one.jpg", "./set/../one.jpg", "link.jpg", "hard.jpg", "."):
        assert "would overwrite the photo one.jpg" in error_of(capsys, "one.jpg", "--model", model, "-o", out)
    assert "would overwrite the photo" in error_of(capsys, "set", "--model", model, "-o", "set")
    assert Path("one.jpg").read_bytes() == before


def test_a_search_that_finds_nothing_but_paintings_says_so(album: Path) -> None:
    Path("set/two.png").unlink()
    with pytest.raises(ImageError, match="all the pictures found are in set/deep"):
        plan(["set"], "set/deep", "wave")


# What is refused


@pytest.mark.parametrize("size", ["0", "-3", "1.5", "x", "", "²"])
def test_impossible_sizes(album: Path, model: str, size: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = error_of(capsys, "one.jpg", "--model", model, f"--size={size}")
    assert f"'{size}' is not a number of pixels" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.jpg", "-o", "out.png"], "there is no gone.jpg"),
        (["one.jpg", "gone.jpg", "-o", "out"], "there is no gone.jpg"),
        (["*.tiff", "-o", "out"], "no file matches *.tiff"),
        (["one.jpg", "-o", "out.xyz"], "pictures are written as .png, .jpg"),
        (["one.jpg", "-o", "out.mp4"], "pictures are written as .png, .jpg"),
        (["one.jpg", "set", "-o", "out.png"], "a folder is needed for several photos"),
        (["set", "-o", "one.jpg"], "a folder is needed for several photos"),
        (["text.jpg", "-o", "out.png"], "text.jpg is not a picture, whatever its name says"),
        (["clip.mp4", "-o", "out.png"], "clip.mp4 is a video; photos can be painted"),
        (["one.jpg", "-o", "notes/out.png"], "notes is a file; an output folder is needed"),
        (["set", "-o", "notes"], "notes is a file; an output folder is needed"),
        (["one.jpg", "-o", "/proc/none/out.png"], "cannot make the folder /proc/none"),
        (["one.jpg", "--delegate", "litert-cpu"], "is for exported files"),
    ],
)
def test_bad_requests(
    album: Path, model: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("text.jpg", "clip.mp4", "notes"):
        Path(name).write_text("words")
    assert message in error_of(capsys, *arguments, "--model", model)


def test_an_unknown_model(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown model 'grate_wave'" in error_of(capsys, "one.jpg", "--model", "grate_wave")


def test_a_failure_keeps_the_old_painting(
    album: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out.png").write_bytes(b"old")

    def interrupt(path: Path, data: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    assert main(["stylize", "one.jpg", "--model", model, "-o", "out.png"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert Path("out.png").read_bytes() == b"old"
    assert not [name for name in files(album) if "edgestyle" in name]
