"""Style vectors, and networks specialised by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgestyle import blending, checkpoint, exporting, images, parts, registry
from edgestyle.cli import main
from edgestyle.drift import measure
from edgestyle.errors import EdgestyleError
from edgestyle.feedforward import FeedForward, FeedForwardConfig
from edgestyle.learned import deploy
from edgestyle.manifest import Style, read_manifest
from edgestyle.stylize import open_painter

STYLES = (Style(name="wave", title="The Wave"), Style(name="scream", title="The Scream"))


@pytest.mark.parametrize(
    ("text", "weights"),
    [("wave", (1, 0)), ("wave=1,scream=3", (0.25, 0.75)), ("1, 3", (0.25, 0.75)), ("scream,wave", (0.5, 0.5))],
)
def test_what_people_write_adds_up_to_one(text: str, weights: tuple[float, ...]) -> None:
    assert blending.parse(text, STYLES) == weights


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wav", "did you mean wave"),
        ("1,2,3", "3 style weights for 2 paintings"),
        ("wave=much", "wave=0.5"),
        ("wave=-1,scream=2", "0 or more"),
        ("0,0", "not all 0"),
        ("wave=nan", "0 or more"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(EdgestyleError, match=message):
        blending.parse(text, STYLES)


def test_a_blend_has_a_name_of_its_own() -> None:
    assert blending.describe((0, 1), STYLES) is STYLES[1]
    assert blending.describe((0.25, 0.75), STYLES) == Style(name="wave+scream", title="25% The Wave, 75% The Scream")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> checkpoint.Checkpoint:
    """A network of two paintings."""
    config = {"width": 8, "trunk_width": 8, "trunk_blocks": 1, "styles": 2}
    torch.manual_seed(0)
    about = checkpoint.CheckpointConfig(
        name="many", family="feedforward", network=config, styles=STYLES, training={}, licence="none"
    )
    net = deploy(FeedForward(FeedForwardConfig(**config)))
    return checkpoint.write(tmp_path_factory.mktemp("many") / "many", about, net)


def test_specialize_by_the_command_line(
    many: checkpoint.Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "blend"
    assert main(["specialize", str(many.folder), "wave=1,scream=3", "--out", str(out)]) == 0
    assert f"edgestyle export --model {out}" in capsys.readouterr().out
    single = checkpoint.read(out)
    assert single.config.styles[0].name == "wave+scream"
    photo = torch.from_numpy(images.centre_crop(images.sample_photos()["rocket"], (64, 64)))
    with torch.inference_mode():
        expected = many.network()(photo, torch.tensor([[0.25, 0.75]]))
        torch.testing.assert_close(single.network()(photo), expected)
    assert main(["specialize", str(out), "wave"]) == 2
    assert "one painting already" in capsys.readouterr().err


def test_stylize_blends_what_was_learned(
    many: checkpoint.Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    images.write(photo, images.centre_crop(images.sample_photos()["rocket"], (64, 64)))
    command = ["stylize", str(photo), "--model", str(many.folder), "-o", str(out)]
    assert main([*command, "--style-weights", "wave=1,scream=3"]) == 0
    with torch.inference_mode():
        expected = many.network()(torch.from_numpy(images.read(photo)), torch.tensor([[0.25, 0.75]]))
    assert abs(images.read(out) - expected.numpy()).max() < 0.5 / 255 + 1e-5
    assert main(command) == 2
    assert "say which by --style-weights: wave, scream" in capsys.readouterr().err


@pytest.mark.parametrize(("target", "least_db"), [("onnx", 60), ("tflite", 60), ("coreml", 40)])
def test_an_exported_file_takes_the_weights(
    many: checkpoint.Checkpoint, tmp_path: Path, target: str, least_db: float, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = exporting.export(many, registry.load(registry.TARGETS, target), (64, 64), tmp_path)
    contract = artifact.manifest.contract
    assert (contract.role, contract.styles, contract.code.order) == ("transformer", STYLES, "as styles")
    assert contract.code.example == (1, 0)
    photo = images.from_uint8(images.to_uint8(images.centre_crop(images.sample_photos()["rocket"], (64, 64))))
    with torch.inference_mode():
        expected = many.network()(torch.from_numpy(photo), torch.tensor([[0.25, 0.75]])).numpy()
    painter = open_painter(str(artifact.path), blend="wave=1,scream=3")
    assert measure(painter.paint(photo), expected).psnr_db > least_db
    images.write(tmp_path / "photo.png", photo)
    assert main(["stylize", str(tmp_path / "photo.png"), "--model", str(artifact.path)]) == 2
    assert "has learned 2 paintings; say which by --style-weights: wave, scream" in capsys.readouterr().err


def test_an_export_can_fold_a_blend_in(
    many: checkpoint.Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file that takes a photo alone, int8 too, and that validation knows again."""
    command = ["export", "--model", str(many.folder), "--target", "onnx", "--size", "64", "--out", str(tmp_path)]
    blend = ["--style-weights", "wave=1,scream=3"]
    assert main(command) == 0
    assert f"--model {tmp_path / 'many-64.onnx'} --style-weights wave -o out.png" in capsys.readouterr().out
    assert main([*command, *blend]) == 0
    assert main([*command, *blend, "--quantize", "int8", "--allow-drift"]) == 0
    path = tmp_path / "many-wave_scream-64.onnx"
    contract = read_manifest(path).contract
    assert (contract.role, [style.name for style in contract.styles]) == ("filter", ["wave+scream"])
    photo = images.from_uint8(images.to_uint8(images.centre_crop(images.sample_photos()["rocket"], (64, 64))))
    with torch.inference_mode():
        expected = many.network()(torch.from_numpy(photo), torch.tensor([[0.25, 0.75]])).numpy()
    assert measure(open_painter(str(path)).paint(photo), expected).psnr_db > 60
    made = parts.described(many, contract).made(photo)
    np.testing.assert_allclose(made, expected, atol=1e-6)
    capsys.readouterr()
    assert main([*command, "--quantize", "int8"]) == 2
    assert "fold one in by --style-weights wave" in capsys.readouterr().err


def test_each_painting_becomes_a_filter_for_apps(many: checkpoint.Checkpoint) -> None:
    target = registry.load(registry.TARGETS, "onnx")
    made = parts.each(many, target)
    assert [(part.name, part.role, part.styles) for part in made] == [
        ("many-wave", "filter", STYLES[:1]),
        ("many-scream", "filter", STYLES[1:]),
    ]
