"""The zoo's numbers: what networks cost and how good they are, as a command writes them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from edgestyle import checkpoint, images, score
from edgestyle.adain import AdaIN, AdaINConfig
from edgestyle.cli import main
from edgestyle.errors import UsageError
from edgestyle.feedforward import FeedForward, FeedForwardConfig
from edgestyle.learned import deploy
from edgestyle.losses import PerceptualLoss
from edgestyle.manifest import Style
from edgestyle.perceptual import student
from edgestyle.styling import Styling
from edgestyle.stylize import open_painter
from edgestyle.training import zoo
from edgestyle.training.photos import load_painting


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> zoo.Bench:
    monkeypatch.setattr(score, "SIZE", 64)
    for name, photo in images.sample_photos().items():
        images.write(tmp_path / f"{name}.png", images.centre_crop(photo, (80, 80)))
    photos = [tmp_path / "rocket.png", tmp_path / "chelsea.png"]
    return zoo.Bench(student(), photos, tmp_path, gatys=1, iterations=2, optimised=tmp_path / "gatys")


@pytest.fixture
def many(tmp_path: Path) -> checkpoint.Checkpoint:
    """A network of two paintings."""
    config = {"width": 8, "trunk_width": 8, "trunk_blocks": 1, "styles": 2}
    torch.manual_seed(0)
    about = checkpoint.CheckpointConfig(
        name="many",
        family="feedforward",
        network=config,
        styles=(Style(name="coffee", title="Coffee"), Style(name="astronaut", title="Astronaut")),
        training={},
        licence="none",
    )
    return checkpoint.write(tmp_path / "many", about, deploy(FeedForward(FeedForwardConfig(**config))))


def test_every_style_is_scored_beside_gatys(many: checkpoint.Checkpoint, bench: zoo.Bench) -> None:
    measured = zoo.measure(many, bench)
    assert list(measured["styles"]) == ["coffee", "astronaut"]
    mean = sum(row["content"] for row in measured["styles"].values()) / 2
    assert measured["content"] == pytest.approx(mean, abs=1e-4)
    reference = measured["styles"]["coffee"]["gatys"]
    assert reference["photos"] == 1
    assert reference["iterations"] == 2
    assert reference["ours_over_gatys"] > 1  # a network with random weights
    alone = zoo.painters(many)["astronaut"].paint(images.centre_crop(images.read(bench.photos[0]), (64, 64)))
    expected = many.network().specialized([0, 1])
    with torch.inference_mode():
        photo = torch.from_numpy(images.centre_crop(images.read(bench.photos[0]), (64, 64)))
        torch.testing.assert_close(torch.from_numpy(alone), expected(photo))


def test_a_picture_is_optimised_once(many: checkpoint.Checkpoint, bench: zoo.Bench) -> None:
    first = zoo.measure(many, bench)
    kept = sorted(bench.optimised.iterdir())
    assert [path.name.rpartition("-")[0] for path in kept] == ["astronaut-rocket-2", "coffee-rocket-2"]
    written = [path.stat().st_mtime_ns for path in kept]
    assert zoo.measure(many, bench) == first
    assert [path.stat().st_mtime_ns for path in kept] == written
    images.write(kept[1], images.read(bench.photos[0])[:, :, :64, :64])
    again = zoo.measure(many, bench)["styles"]
    assert again["coffee"]["gatys"] != first["styles"]["coffee"]["gatys"]  # it is the file that is scored
    assert again["astronaut"]["gatys"] == first["styles"]["astronaut"]["gatys"]
    images.write(bench.painting("coffee"), images.sample_photos()["chelsea"])
    zoo.measure(many, bench)
    assert len(list(bench.optimised.glob("coffee-*"))) == 2  # of another painting, not that of its name


def test_numbers_are_kept_beside_those_of_other_commands(many: checkpoint.Checkpoint) -> None:
    checkpoint.record(many, {"latency": 3, "content": 1.0})
    checkpoint.record(many, {"content": 2.0, "style": 0.5})
    measured = json.loads((many.folder / checkpoint.MEASURED).read_bytes())
    assert list(measured.items()) == [("content", 2.0), ("style", 0.5), ("latency", 3)]


def test_a_missing_painting_is_said(many: checkpoint.Checkpoint, bench: zoo.Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no coffee\.jpg in .*empty"):
        zoo.measure(many, replace(bench, paintings=tmp_path / "empty"))


def test_cost_is_that_of_the_convolutions() -> None:
    net, x = torch.nn.Conv2d(3, 8, 8, stride=8), torch.zeros(1, 3, 512, 512)
    expected = {"parameters": 8 * 3 * 64 + 8, "gmac": round(64 * 64 * 8 * 3 * 64 / 1e9, 3)}
    assert zoo._cost(net, lambda: net(x)) == expected


def test_what_paints_by_any_painting_is_scored_on_paintings_held_out(bench: zoo.Bench, tmp_path: Path) -> None:
    config = AdaINConfig(code=8, width=8, trunk_width=16, trunk_blocks=1, blocks=1, hidden=16)
    about = checkpoint.CheckpointConfig(
        name="any", family="adain", network=asdict(config), styles=(), training={}, licence="none"
    )
    found = checkpoint.write(tmp_path / "any", about, AdaIN(config))
    with pytest.raises(UsageError, match=r"no \*_27\.jpg in"):
        zoo.measure(found, bench)
    (tmp_path / "paintings").mkdir()
    for name in ("a_25", "a_27", "b_27"):
        images.write(tmp_path / "paintings" / f"{name}.jpg", images.read(tmp_path / "coffee.png"))
    measured = zoo.measure(found, replace(bench, unseen=tmp_path / "paintings"))
    assert (measured["photos"], measured["paintings"]) == (2, 2)
    assert measured["parameters"] == sum(parameter.numel() for parameter in found.pair().parameters())
    assert measured["gmac"] > 0
    # The same as the score of a painter, but for VGG-19's precision.
    painting = tmp_path / "paintings" / "b_27.jpg"
    painter = open_painter(str(found.folder), styling=Styling((painting,)))
    loss = PerceptualLoss(bench.network, load_painting(painting, score.SIZE))
    assert measured["total"] == pytest.approx(
        score.mean(list(score.scores(painter, bench.photos, loss))).total, rel=0.05
    )


def test_peers_are_found_by_their_painting(tmp_path: Path) -> None:
    for name in ("johnson_wave_512.onnx", "johnson_scream_512.onnx", "other.tflite"):
        (tmp_path / name).touch()
    assert [path.name for path in zoo.peers("great_wave", tmp_path)] == ["johnson_wave_512.onnx"]
    assert zoo.peers("coffee", tmp_path) == []
    assert zoo.peers("great_wave", None) == []


def test_score_by_the_command_line(
    tiny_checkpoint: checkpoint.Checkpoint, bench: zoo.Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, sheet = str(bench.photos[0]), tmp_path / "sheet.png"
    command = ["score", str(tiny_checkpoint.folder), "--photos", photo, "--perceptual", "student", "--json"]
    assert main([*command, "--painting", str(tmp_path / "coffee.png"), "--sheet", str(sheet)]) == 0
    (row,) = json.loads(capsys.readouterr().out)["scores"]
    assert row["total"] == pytest.approx(row["content"] + row["style"])
    assert images.read(sheet).shape == (1, 3, 256, 2 * 256 + 4)
