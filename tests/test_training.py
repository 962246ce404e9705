"""Training: photos, and runs that stop, go on, break down and run out of disk."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from edgestyle import checkpoint, images, precision
from edgestyle.cli import main
from edgestyle.errors import CheckError, ConfigError, ImageError, UsageError
from edgestyle.feedforward import FeedForward, FeedForwardConfig
from edgestyle.losses import PerceptualLoss
from edgestyle.perceptual import student
from edgestyle.training import loop, state
from edgestyle.training.initialisation import unit_variance
from edgestyle.training.loop import LOSS, Progress, Run, TrainConfig, draw_styles, train
from edgestyle.training.photos import Photos, flattened, load_painting
from edgestyle.training.state import STATE

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint

SMALL = FeedForwardConfig(width=8, trunk_width=8, trunk_blocks=1)
CONFIG = TrainConfig(network=SMALL, steps=4, batch=1, crop=64, scales=(64, 80), identity_steps=60)


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
    images.write(folder / "icon.png", np.zeros((1, 3, 16, 300), np.float32))
    return folder


@pytest.fixture(scope="session")
def photos(photo_folder: Path) -> Photos:
    return Photos.load(photo_folder, dark=0.5)


@pytest.fixture(scope="session")
def loss(painting: Path) -> PerceptualLoss:
    return PerceptualLoss(student(), load_painting(painting, 64), LOSS)


# Photos ---------------------------------------------------------------------------------------------------------------


def test_a_crop_that_is_alone_is_flat_half_of_the_time() -> None:
    generator = torch.Generator().manual_seed(0)
    crop = torch.rand(1, 3, 32, 32, generator=generator)
    mean = crop.mean((2, 3), keepdim=True)
    alike = [
        torch.corrcoef(torch.stack([(flattened(crop, generator) - mean).flatten(), (crop - mean).flatten()]))
        for _ in range(64)
    ]
    assert 16 < sum(matrix[0, 1].item() > 0.999 for matrix in alike) < 48


def test_flattened_crops_keep_their_mean_and_the_first_is_of_shades() -> None:
    generator = torch.Generator().manual_seed(0)
    crops = torch.rand(3, 3, 64, 64, generator=generator)
    before = crops.clone()
    batch = flattened(crops, generator)
    assert torch.equal(crops, before)
    torch.testing.assert_close(batch[1:].mean((2, 3)), crops[1:].mean((2, 3)))
    assert (batch[1:].std((2, 3)) <= crops[1:].std((2, 3)) + 1e-6).all()
    assert batch[0].diff(dim=2).std() < crops[0].diff(dim=2).std() / 2  # neighbours are alike
    torch.testing.assert_close((batch[0] * 255).round() / 255, batch[0])
    assert batch.min() >= 0
    assert batch.max() <= 1


def test_photos_skip_what_cannot_be_used(photos: Photos) -> None:
    assert len(photos.pictures) == len(images.sample_photos())
    assert len(photos.skipped) == 2
    assert any("broken.jpg" in line for line in photos.skipped)
    assert any("icon.png is 300x16 pixels" in line for line in photos.skipped)
    assert photos.smaller_than(88) == 0
    assert photos.smaller_than(89) == 4


def test_no_usable_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"a\.jpg is empty.*training needs a folder of photos"):
        Photos.load(tmp_path)


def test_photos_come_with_every_installation() -> None:
    assert len(Photos.samples().pictures) > 8


def test_crops_have_the_size_whatever_the_photos_are(photos: Photos) -> None:
    for size in (64, 256):  # smaller and larger than the photos
        crops = photos.crops(3, size, (64, 512), torch.Generator().manual_seed(1))
        assert crops.shape == (3, 3, size, size)
        assert crops.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= crops.min() < crops.max() <= 1


def test_dark_crops_are_darker_and_in_grey_levels() -> None:
    white = Photos((torch.full((3, 64, 64), 255, dtype=torch.uint8),), dark=1.0)
    crops = white.crops(8, 64, (64, 64), torch.Generator().manual_seed(0))
    assert crops.amin((1, 2, 3)).max() < 1
    torch.testing.assert_close(crops * 255, (crops * 255).round())


def test_a_tiny_painting_is_refused(tmp_path: Path) -> None:
    images.write(tmp_path / "dot.png", np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(ImageError, match=r"8x8.*at least 64x64"):
        load_painting(tmp_path / "dot.png", 512)


def test_a_large_painting_is_brought_to_its_size(tmp_path: Path) -> None:
    images.write(tmp_path / "large.png", np.full((1, 3, 1200, 2400), 0.25, np.float32))
    painting = load_painting(tmp_path / "large.png", 96)
    assert painting.shape == (1, 3, 96, 192)
    assert painting.mean().item() == pytest.approx(0.25, abs=2e-3)


# Runs -----------------------------------------------------------------------------------------------------------------


def test_first_weights_give_unit_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    net, crops = FeedForward(SMALL), torch.rand(8, 3, 64, 64, generator=generator)
    unit_variance(net, crops)
    seen = {}
    for name in ("stem", "down", "head"):
        layer = net.get_submodule(name)
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.detach()}))
    net(crops)
    for out in seen.values():
        torch.testing.assert_close(out.std((0, 2, 3)), torch.ones(out.shape[1]), atol=1e-3, rtol=0)
        torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(out.shape[1]), atol=1e-3, rtol=0)


def test_training_begins_at_the_photo(photos: Photos) -> None:
    """Repeating the photo is learned before the painting comes in."""
    crops = photos.crops(4, 64, (64, 80), torch.Generator().manual_seed(1))

    def error(run: Run) -> float:
        return (run.result()(crops) - crops).abs().mean().item()

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


def test_a_resumed_run_is_the_same_run_bit_for_bit(photos: Photos, loss: PerceptualLoss, tmp_path: Path) -> None:
    whole = Run(CONFIG)
    reports = _train(whole, photos, loss, tmp_path / "whole")
    assert [report.step for report in reports] == [1, 2, 3, 4]
    assert [report.fraction for report in reports] == [0.25, 0.5, 0.75, 1.0]
    # Two steps in a run of four (its rate is constant until 60 %), saved, and the other two in another process's stead.
    first = Run(CONFIG)
    for _ in range(2):
        first.advance(photos.crops(CONFIG.batch, CONFIG.view.side, CONFIG.scales, first.generator), loss)
    first.save(tmp_path / "halves")
    second = Run.resume(tmp_path / "halves", CONFIG)
    _train(second, photos, loss, tmp_path / "halves")
    assert _same_weights(whole.result(), second.result())
    assert not _same_weights(whole.result(), FeedForward(SMALL))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_the_step_and_saves(
    photos: Photos, loss: PerceptualLoss, tmp_path: Path, number: signal.Signals
) -> None:
    run = Run(CONFIG)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train(
            run,
            photos,
            loss,
            lambda: run.save(tmp_path),
            lambda progress: signal.raise_signal(number) if progress.step == 1 else None,
        )
    assert Run.resume(tmp_path, CONFIG).step == 2  # it came after the first step had been judged
    assert signal.getsignal(number) is before


def test_time_ends_a_run_too() -> None:
    config = TrainConfig(steps=1000, minutes=10)
    assert config.fraction(100, 0) == 0.1
    assert config.fraction(100, 300) == 0.5
    assert config.fraction(1, 700) == 1
    assert config.rate(500, 360) == pytest.approx(config.learning_rate)  # until 60 % of the time
    assert config.rate(500, 480) == pytest.approx(config.learning_rate / 2)


def test_a_run_of_another_configuration_is_refused(tmp_path: Path) -> None:
    Run(CONFIG).save(tmp_path)
    assert Run.resume(tmp_path, replace(CONFIG, steps=8, learning_rate=1e-4)).config.steps == 8
    with pytest.raises(ConfigError, match=r"loss\.style_weight 1\.0, not 9"):
        Run.resume(tmp_path, replace(CONFIG, loss=replace(LOSS, style_weight=9)))
    with pytest.raises(ConfigError, match="paintings"):
        Run.resume(tmp_path, replace(CONFIG, paintings=("another",)))
    (tmp_path / STATE).write_bytes(b"torn")
    with pytest.raises(ConfigError, match="cannot be resumed"):
        Run.resume(tmp_path, CONFIG)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(CONFIG)
    run.save(tmp_path)

    def write_half(_state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", write_half)
    run.step = 7
    with pytest.raises(OSError, match="No space left"):
        run.save(tmp_path)
    assert Run.resume(tmp_path, CONFIG).step == 0
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


def test_nan_is_noticed_before_it_reaches_the_weights(photos: Photos, loss: PerceptualLoss) -> None:
    run = Run(CONFIG)
    good = [parameter.clone() for parameter in run.net.parameters()]
    crops = photos.crops(1, CONFIG.view.side, (64, 64), run.generator)
    with pytest.raises(CheckError, match=r"NaN.*learning-rate below 0\.0012"):
        run.advance(crops * float("nan"), loss)
    assert all(torch.equal(a, b) for a, b in zip(good, run.net.parameters(), strict=True))


def test_divergence_is_noticed() -> None:
    meter = loop._Meter(100)
    values = {
        "content": 1.0,
        "style": 1.0,
        "variation": 0.0,
        "stability": 1.0,
        "lattice": 1.0,
        "total": 2.0,
        "seconds": 0.1,
    }
    assert not any(meter.update(100 + step, values) for step in range(1, 250))
    assert any(meter.update(350 + step, {**values, "total": 20.0}) for step in range(1, 50))
    run = Run(CONFIG)
    assert "diverges" in meter.complaint(run)
    assert meter.progress(run).images_per_second == pytest.approx(10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop": 60},
        {"crop": 32},
        {"steps": 0},
        {"scales": (300, 200)},
        {"style_size": 32},
        {"minutes": -1},
        {"learning_rate": 0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(CONFIG, **wrong)


# Several paintings ----------------------------------------------------------------------------------------------------


def test_style_vectors_are_one_painting_or_a_blend_of_two() -> None:
    vectors = draw_styles(200, 5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(vectors.sum(1), torch.ones(200))
    counts = (vectors > 0).sum(1)
    assert set(counts.tolist()) == {1, 2}
    assert 0.1 < (counts == 2).float().mean() < 0.4
    assert (vectors.sum(0) > 20).all()


# The command ----------------------------------------------------------------------------------------------------------

SETTINGS = ["--batch", "1", "--crop", "64", "--style-size", "64", "--accelerator", "cpu"]


def test_train_by_the_command_line(
    painting: Path, photo_folder: Path, tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, photo = tmp_path / "mine", str(photo_folder / "chelsea.png")
    command = ["train", "--style", str(painting), "--photos", str(photo_folder), "--out", str(out), *SETTINGS]
    command += ["--from", str(tiny_checkpoint.folder), "--title", "Coffee", "--preview-every", "1", "--tensorboard"]
    assert main([*command, "--steps", "2"]) == 0
    assert main([*command, "--steps", "3"]) == 0
    captured = capsys.readouterr()
    assert "2 file(s) skipped, 4 photo(s) to learn on" in captured.err
    assert "going on from step 2" in captured.err
    assert "photos/s" in captured.err
    assert f"edgestyle export --model {out}" in captured.out
    assert [path.name for path in sorted((out / "previews").iterdir())] == [f"step-00000{n}.jpg" for n in (1, 2, 3)]
    assert images.read(out / "contact_sheet.jpg").shape == (1, 3, 4 * 260 - 4, 2 * 260 - 4)
    assert list((out / "tensorboard").iterdir())
    config = checkpoint.read(out).config
    assert config.styles[0].title == "Coffee"
    assert config.training["start"] == tiny_checkpoint.sha256()
    assert main(["stylize", photo, "--model", str(out), "-o", str(tmp_path / "out.png")]) == 0
    assert images.read(tmp_path / "out.png").shape == images.read(Path(photo)).shape
    assert main([*command, "--steps", "4", "--style-weight", "2"]) == 2
    assert "loss.style_weight 1.0, not 2.0" in capsys.readouterr().err


def test_several_paintings_in_one_network(
    painting: Path, photo_folder: Path, tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, out = tmp_path / "rocket.png", tmp_path / "many"
    images.write(other, images.centre_crop(images.sample_photos()["rocket"], (80, 80)))
    command = ["train", "--style", str(painting), "--style", str(other), "--photos", str(photo_folder), *SETTINGS]
    assert main([*command, "--out", str(out), "--from", str(tiny_checkpoint.folder), "--steps", "1"]) == 0
    assert f"--model {out} --style-weights coffee -o out.png" in capsys.readouterr().out
    config = checkpoint.read(out).config
    assert [style.name for style in config.styles] == ["coffee", "rocket"]
    assert config.network["styles"] == 2
    assert images.read(out / "contact_sheet.jpg").shape[3] == 3 * 260 - 4  # the photo, then each painting
    assert main([*command, "--style", str(painting), "--out", str(out)]) == 2
    assert "told apart by the names" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--photos", "nowhere"], "nowhere"),
        (["--from", "great_wav"], "great_wave"),
        (["--perceptual", "none.npz"], "none.npz"),
        (["--crop", "100"], "multiple of 8"),
        (["--preserve-color", "hue"], "hue"),
        (["--stability-weight", "-1"], "stability_weight is -1.0; it must be 0 or more"),
        (
            ["--qat", "--family", "adain", "--stability-weight", "1"],
            "--stability-weight goes with --qat for networks of",
        ),
    ],
)
def test_bad_requests_are_one_line(
    arguments: list[str],
    message: str,
    painting: Path,
    photo_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [
        "train",
        "--style",
        str(painting),
        "--photos",
        str(photo_folder),
        "--out",
        str(tmp_path / "out"),
        *SETTINGS,
    ]
    assert main([*command, "--steps", "1", *arguments]) in (1, 2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("edgestyle: error: ")
    assert message in error


def test_two_processes_train_one_network(
    painting: Path, photo_folder: Path, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    out = tmp_path / "two"
    arguments = ["--style", painting, "--photos", photo_folder, "--from", tiny_checkpoint.folder, "--out", out]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "edgestyle", "train"]
    done = subprocess.run(
        [sys.executable, *launch, *map(str, arguments), *SETTINGS, "--steps", "2"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 2  ") == 1  # one process tells
    assert checkpoint.read(out).config.training["machine"].startswith("2 x ")
    stored = torch.load(out / STATE, weights_only=True)
    assert stored["step"] == 2
    assert len({tuple(state.tolist()) for state in stored["generators"]}) == 2  # each draws photos of its own


# The machine ----------------------------------------------------------------------------------------------------------


def test_a_run_that_goes_on_keeps_the_precision_it_began_with(
    painting: Path,
    photo_folder: Path,
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    command = ["train", "--style", str(painting), "--photos", str(photo_folder), "--out", str(out), *SETTINGS]
    command += ["--from", str(tiny_checkpoint.folder)]
    monkeypatch.setattr(precision, "faster", lambda _: "bf16")
    assert main([*command, "--steps", "1"]) == 0
    monkeypatch.setattr(precision, "faster", lambda _: "fp32")
    assert main([*command, "--steps", "2"]) == 0
    assert state.settings(out)["precision"] == "bf16"
    assert main([*command, "--steps", "3", "--precision", "fp32"]) == 2


def test_only_a_cpu_has_to_be_asked_which_precision_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.faster("cpu") in ("bf16", "fp32")
    monkeypatch.setattr(precision, "_faster_on_cpu", lambda: "fp32")
    assert (precision.faster("cpu"), precision.faster("cuda"), precision.faster("mps")) == ("fp32", "bf16", "bf16")
    with precision.autocast():
        assert not torch.is_autocast_enabled("cpu")
    monkeypatch.setattr(precision, "_faster_on_cpu", lambda: "bf16")
    with precision.autocast():
        assert torch.is_autocast_enabled("cpu")


def test_settings_of_no_run_are_none(tmp_path: Path) -> None:
    assert state.settings(tmp_path) == {}
    (tmp_path / STATE).write_bytes(b"broken")
    assert state.settings(tmp_path) == {}
