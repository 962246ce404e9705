"""Training of the adain family."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgestyle import checkpoint, cli, images, perceptual
from edgestyle.adain import AdaINConfig
from edgestyle.errors import ConfigError, UsageError
from edgestyle.training.any_painting import AnyPaintingConfig, AnyPaintingRun, Paintings, compare, train
from edgestyle.training.photos import Photos

TINY = AnyPaintingConfig(
    network=AdaINConfig(code=8, width=8, trunk_width=16, trunk_blocks=1, blocks=1, hidden=16),
    steps=4,
    batch=2,
    crop=64,
    scales=(96, 128),
    style_size=64,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, noise = tmp_path_factory.mktemp("paintings"), np.random.default_rng(0)
    for i in range(3):
        images.write(folder / f"{i}.png", noise.random((1, 3, 70, 80), dtype=np.float32) ** (i + 1))
    images.write(folder / "tiny.png", noise.random((1, 3, 8, 8), dtype=np.float32))
    return folder


@pytest.fixture(scope="module")
def network() -> perceptual.Student:
    return perceptual.student()


@pytest.fixture(scope="module")
def paintings(folder: Path, network: perceptual.Student) -> Paintings:
    return Paintings(images.find([folder]), network, TINY.style_size)


@pytest.fixture(scope="module")
def photos() -> Photos:
    return Photos(tuple(torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8) for _ in range(2)))


def test_what_cannot_be_a_painting_is_skipped(paintings: Paintings, folder: Path, network: perceptual.Student) -> None:
    assert len(paintings) == 3
    assert "at least 16x16" in paintings.skipped[0]
    with pytest.raises(UsageError, match="fewer than two"):
        Paintings([folder / "0.png"], network, 64)


def test_a_painting_compared_with_itself_is_perfect(paintings: Paintings, network: perceptual.Student) -> None:
    from edgestyle.training.photos import load_painting

    picture = load_painting(paintings.files[0], TINY.style_size)
    content, style = compare(network, picture, picture, [paintings.grams(0)])
    assert content.item() == pytest.approx(0, abs=1e-6)
    assert style.shape == (1, 8)
    assert style.sum().item() == pytest.approx(0, abs=1e-4)


def test_a_run_goes_on_where_it_stopped(
    paintings: Paintings, photos: Photos, network: perceptual.Student, tmp_path: Path
) -> None:
    def trained(run: AnyPaintingRun, seen: list[int]) -> AnyPaintingRun:
        train(run, photos, paintings, network, lambda: run.save(tmp_path), lambda step, _: seen.append(step))
        return run

    seen: list[int] = []
    whole = trained(AnyPaintingRun(TINY), seen)
    trained(AnyPaintingRun(replace(TINY, steps=2)), seen)
    assert seen == [1, 2, 3, 4, 1, 2]
    resumed = AnyPaintingRun.resume(tmp_path, TINY)
    assert resumed.step == 2
    assert trained(resumed, []).step == 4
    assert whole.result().transformer.head.weight.isfinite().all()
    with pytest.raises(ConfigError, match="crop"):
        AnyPaintingRun.resume(tmp_path, replace(TINY, crop=72))


def test_impossible_settings_are_refused() -> None:
    for change in ({"crop": 70}, {"crop": 56}, {"steps": 0}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            replace(TINY, **change)


def test_on_the_command_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    images.write(tmp_path / "photo.png", np.random.default_rng(1).random((1, 3, 96, 96), dtype=np.float32))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photo.png").rename(tmp_path / "photos" / "photo.png")
    out = tmp_path / "out"
    settings = ("--steps", "1", "--batch", "1", "--crop", "64", "--style-size", "64")
    common = ["train", "--family", "adain", "--style", str(folder), "--photos", str(tmp_path / "photos")]
    assert cli.main([*common, "--out", str(out), *settings]) == 0
    assert checkpoint.read(out).config.family == "adain"
    assert checkpoint.read(out).config.training["paintings"] == 3
    assert cli.main([*common, "--out", str(out), "--preserve-color", "luminance"]) == 2
    assert "not --family adain" in capsys.readouterr().err
    narrower = tmp_path / "narrower"
    assert cli.main([*common, "--out", str(narrower), "--qat"]) == 2
    assert "name it by --from" in capsys.readouterr().err
    assert cli.main([*common, "--out", str(narrower), "--width", "8"]) == 2
    assert "--width goes with --family adain --qat" in capsys.readouterr().err
    assert cli.main([*common, "--from", str(out), "--qat", "--calibration", ".", "--out", str(narrower)]) == 2
    assert "--calibration is for networks that learn" in capsys.readouterr().err
    assert cli.main([*common, "--from", str(out), "--qat", "--width", "8", "--out", str(narrower), *settings]) == 0
    assert checkpoint.read(narrower).pair().config == replace(checkpoint.read(out).pair().config, width=8)
    assert checkpoint.read(narrower).config.training["qat"]["start_sha256"] == checkpoint.read(out).sha256()
    assert cli.main([*common, "--from", str(narrower), "--qat", "--width", "9", "--out", str(tmp_path / "wide")]) == 2
    assert "can only lose some" in capsys.readouterr().err
