"""Training: losses against numbers worked by hand, photos, and runs that stop and go on."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgestyle import images
from edgestyle.cli import main
from edgestyle.errors import CheckError, ConfigError, ImageError, UnavailableError, UsageError
from edgestyle.feedforward import FeedForward, FeedForwardConfig
from edgestyle.losses import (
    PerceptualLoss,
    content_loss,
    gram_loss,
    gram_matrix,
    total_variation,
)
from edgestyle.perceptual import VGG19, find_vgg_weights
from edgestyle.training.initialisation import unit_variance
from edgestyle.training.loop import STATE, Progress, Run, TrainConfig, train
from edgestyle.training.photos import Photos, load_painting

SMALL = FeedForwardConfig(width=8, trunk_width=8, trunk_blocks=1)
CONFIG = TrainConfig(network=SMALL, steps=4, batch=1, crop=64, scales=(64, 80), identity_steps=60, context=8)


@pytest.fixture(scope="session")
def vgg_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-19's layers with seeded random weights: features of the right shape and scale, not those of ImageNet."""
    rng = np.random.default_rng(0)
    arrays, channels = {}, 3
    for name in ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4"):
        width = 64 * 2 ** (int(name[0]) - 1)
        arrays[f"conv{name}.weight"] = rng.normal(0, (2 / channels / 9) ** 0.5, (width, channels, 3, 3))
        arrays[f"conv{name}.bias"] = np.zeros(width)
        channels = width
    path = tmp_path_factory.mktemp("vgg") / "vgg.npz"
    np.savez(path, **{key: value.astype(np.float16) for key, value in arrays.items()})
    return path


@pytest.fixture(scope="session")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("painting") / "coffee.png"
    images.write(path, images.centre_crop(images.sample_photos()["coffee"], (96, 128)))
    return path


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name, photo in images.sample_photos().items():
        images.write(folder / f"{name}.png", images.centre_crop(photo, (88, 100)))
    (folder / "broken.jpg").write_text("not a photo")
    return folder


@pytest.fixture(scope="session")
def loss(vgg_weights: Path, painting: Path) -> PerceptualLoss:
    return PerceptualLoss(VGG19(vgg_weights), load_painting(painting, 64))


# Losses ---------------------------------------------------------------------------------------------------------------


def test_gram_matrix_by_hand() -> None:
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 1, 2)  # 2 channels, 1x2 pixels
    assert gram_matrix(features).tolist() == [[[5 / 4, 11 / 4], [11 / 4, 25 / 4]]]


def test_gram_matrix_does_not_depend_on_the_memory_layout() -> None:
    features = torch.rand(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gram_matrix(features), gram_matrix(features.to(memory_format=torch.channels_last)))


def test_losses_by_hand() -> None:
    photo = torch.tensor([1.0, 2.0]).reshape(1, 1, 1, 2)
    assert content_loss(photo * 3, photo).tolist() == [4.0]  # |2 P|^2 / |P|^2
    gram = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    assert gram_loss(gram * 1.5, gram).tolist() == [0.25]
    step = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).reshape(1, 1, 2, 2)
    assert total_variation(step).tolist() == [1.0]  # every step across is 1, every step down 0


def test_the_painting_itself_has_no_style_loss(loss: PerceptualLoss, painting: Path) -> None:
    picture = load_painting(painting, 64)
    losses = loss(picture, picture)
    assert losses.content.item() == pytest.approx(0, abs=1e-6)
    assert losses.style.item() == pytest.approx(0, abs=1e-6)
    assert loss(torch.full_like(picture, 0.5), picture).style.item() > 0.1


def test_vgg_gives_the_layers_that_were_asked_for(vgg_weights: Path) -> None:
    vgg = VGG19(vgg_weights)
    features = vgg(torch.rand(1, 3, 64, 48), ("relu1_1", "relu3_3"))
    assert {name: tuple(value.shape) for name, value in features.items()} == {
        "relu1_1": (1, 64, 64, 48),
        "relu3_3": (1, 256, 16, 12),
    }
    with pytest.raises(ConfigError, match="relu5_1"):
        vgg(torch.rand(1, 3, 64, 64), ("relu5_1",))


def test_vgg_takes_bgr_minus_the_mean(vgg_weights: Path, tmp_path: Path) -> None:
    with np.load(vgg_weights) as stored:
        arrays = dict(stored)
    arrays["conv1_1.weight"] = np.zeros_like(arrays["conv1_1.weight"])
    arrays["conv1_1.weight"][0, 0, 1, 1] = 1  # its first channel repeats the first input channel: blue
    np.savez(tmp_path / "vgg.npz", **arrays)
    blue = torch.zeros(1, 3, 8, 8)
    blue[:, 2] = 1
    features = VGG19(tmp_path / "vgg.npz")(blue, ("relu1_1",))["relu1_1"]
    assert features[0, 0, 4, 4].item() == pytest.approx(255 - 103.939, rel=1e-3)


def test_missing_or_foreign_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESTYLE_DATA", str(tmp_path))
    with pytest.raises(UnavailableError, match="EDGESTYLE_DATA"):
        find_vgg_weights()
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ConfigError, match="conv1_1"):
        VGG19(tmp_path / "other.npz")


# Photos ---------------------------------------------------------------------------------------------------------------


def test_photos_skip_what_cannot_be_read(photo_folder: Path) -> None:
    photos = Photos.load(photo_folder)
    assert len(photos.pictures) == len(images.sample_photos())
    assert len(photos.skipped) == 1
    assert "broken.jpg" in photos.skipped[0]


def test_no_readable_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="training needs a folder of photos"):
        Photos.load(tmp_path)


def test_crops_have_the_size_whatever_the_photos_are(photo_folder: Path) -> None:
    photos = Photos.load(photo_folder)
    for size in (64, 256):  # smaller and larger than the photos
        crops = photos.crops(3, size, (64, 512), torch.Generator().manual_seed(1))
        assert crops.shape == (3, 3, size, size)
        assert crops.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= crops.min() < crops.max() <= 1


def test_a_tiny_painting_is_refused(tmp_path: Path) -> None:
    images.write(tmp_path / "dot.png", np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(ImageError, match="8x8"):
        load_painting(tmp_path / "dot.png", 512)


# Runs -----------------------------------------------------------------------------------------------------------------


def test_first_weights_give_unit_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    net, photos = FeedForward(SMALL), torch.rand(8, 3, 64, 64, generator=generator)
    unit_variance(net, photos)
    seen = {}
    for name in ("stem", "down", "head"):
        layer = net.get_submodule(name)
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.detach()}))
    net(photos)
    for out in seen.values():
        torch.testing.assert_close(out.std((0, 2, 3)), torch.ones(out.shape[1]), atol=1e-3, rtol=0)
        torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(out.shape[1]), atol=1e-3, rtol=0)


def test_training_begins_at_the_photo(photo_folder: Path) -> None:
    """Repeating the photo in an even contrast is learned before the painting comes in."""
    photos = Photos.load(photo_folder)
    crops = photos.crops(4, 64, (64, 80), torch.Generator().manual_seed(1))

    def error(run: Run) -> float:
        net = run.result()
        return (net(crops) - (0.5 + net.norm(crops) / 4).clamp(0, 1)).abs().mean().item()

    begun = Run(replace(CONFIG, learning_rate=5e-3))
    before = error(begun)
    begun.initialise(photos)
    assert error(begun) < 0.75 * before


def _train(run: Run, photos: Photos, loss: PerceptualLoss, folder: Path) -> list[Progress]:
    reports: list[Progress] = []
    train(run, photos, loss, lambda: run.save(folder), reports.append)
    return reports


def _same_weights(a: FeedForward, b: FeedForward) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_resumed_run_is_the_same_run(photo_folder: Path, loss: PerceptualLoss, tmp_path: Path) -> None:
    photos = Photos.load(photo_folder)
    whole = Run(CONFIG)
    assert [report.step for report in _train(whole, photos, loss, tmp_path / "whole")] == [1, 2, 3, 4]
    # Two steps in a run of four (its rate is constant until 60 %), saved, and the other two in another process's stead.
    first = Run(CONFIG)
    for _ in range(2):
        first.advance(photos.crops(CONFIG.batch, CONFIG.side, CONFIG.scales, first.generator), loss)
    first.save(tmp_path / "halves")
    second = Run.resume(tmp_path / "halves", CONFIG)
    _train(second, photos, loss, tmp_path / "halves")
    assert _same_weights(whole.result(), second.result())
    assert not _same_weights(whole.result(), FeedForward(SMALL))


def test_ctrl_c_finishes_the_step_and_saves(photo_folder: Path, loss: PerceptualLoss, tmp_path: Path) -> None:
    run = Run(CONFIG)
    with pytest.raises(KeyboardInterrupt):
        train(
            run,
            Photos.load(photo_folder),
            loss,
            lambda: run.save(tmp_path),
            lambda progress: signal.raise_signal(signal.SIGINT) if progress.step == 2 else None,
        )
    assert Run.resume(tmp_path, CONFIG).step == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_of_another_configuration_is_refused(tmp_path: Path) -> None:
    Run(CONFIG).save(tmp_path)
    assert Run.resume(tmp_path, replace(CONFIG, steps=8)).config.steps == 8
    with pytest.raises(ConfigError, match=r"style_weight 1\.0, not 9"):
        Run.resume(tmp_path, replace(CONFIG, style_weight=9))
    (tmp_path / STATE).write_bytes(b"torn")
    with pytest.raises(ConfigError, match="cannot be resumed"):
        Run.resume(tmp_path, CONFIG)


def test_divergence_is_noticed(photo_folder: Path, loss: PerceptualLoss) -> None:
    run = Run(CONFIG)
    with torch.no_grad():
        run.net.head.bias.fill_(float("nan"))
    crops = Photos.load(photo_folder).crops(1, CONFIG.side, (64, 64), run.generator)
    with pytest.raises(CheckError, match="learning-rate"):
        run.advance(crops, loss)


@pytest.mark.parametrize("wrong", [{"crop": 60}, {"crop": 32}, {"context": 4}, {"steps": 0}, {"scales": (300, 200)}])
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(CONFIG, **wrong)


def test_train_by_the_command_line(
    vgg_weights: Path, painting: Path, photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, photo = tmp_path / "mine", next(photo_folder.glob("*.png"))
    command = ["train", "--style", painting, "--photos", photo_folder, "--vgg", vgg_weights, "--out", out]
    settings = ["--batch", 1, "--crop", 64, "--style-size", 64, "--title", "Coffee"]
    assert main([*map(str, [*command, *settings]), "--steps", "1"]) == 0
    assert main([*map(str, [*command, *settings]), "--steps", "2"]) == 0
    captured = capsys.readouterr()
    assert "skipped:" in captured.err
    assert "going on from step 1" in captured.err
    assert main(["stylize", str(photo), "--model", str(out), "-o", str(tmp_path / "out.png")]) == 0
    assert images.read(tmp_path / "out.png").shape == images.read(photo).shape
    arguments = ["--painting", painting, "--photos", photo, "--vgg", vgg_weights, "--sheet", tmp_path / "sheet.png"]
    assert main(["score", str(out), *map(str, arguments), "--record"]) == 0
    assert "content" in capsys.readouterr().out
    assert images.read(tmp_path / "sheet.png").shape == (1, 3, 256, 2 * 256 + 4)
    assert json.loads((out / "measured.json").read_text()).keys() == {"content", "style", "photos"}
