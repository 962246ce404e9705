"""A network in integers in torch, and fine-tuning with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from edgestyle import checkpoint, cli, images
from edgestyle.drift import measure
from edgestyle.errors import ConfigError
from edgestyle.losses import PerceptualLoss
from edgestyle.perceptual import student
from edgestyle.quantization import photos
from edgestyle.quantization.calibration import Calibration, calibrate
from edgestyle.quantization.simulation import Simulation
from edgestyle.training.loop import LOSS
from edgestyle.training.photos import Photos
from edgestyle.training.qat import QatConfig, QatProgress, fine_tune, fine_tune_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from edgestyle.checkpoint import Checkpoint

SIZE = (64, 64)


class Small(nn.Module):
    """Two convolutions, a linear layer that looks at the whole picture, a sigmoid, a pixel shuffle."""

    stride = 8

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 1)
        self.code = nn.Linear(8, 8)
        with torch.no_grad():  # much contrast, so that rounding is seen
            self.first.weight.mul_(8)
            self.second.weight.mul_(20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu6(self.first(x))
        y = y + self.code(y.mean((2, 3)))[:, :, None, None]
        picture: torch.Tensor = nn.functional.pixel_shuffle(torch.sigmoid(self.second(y)), 2)
        return nn.functional.avg_pool2d(picture, 2)


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return Small().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def seen() -> list[images.Image]:
    return photos.load(None, SIZE)[:4]


@pytest.fixture(scope="module")
def calibration(small: nn.Module, seen: list[images.Image]) -> Calibration:
    return calibrate(small, seen)


@pytest.fixture(scope="module")
def photo(seen: list[images.Image]) -> torch.Tensor:
    return torch.from_numpy(seen[0])


def test_every_value_of_the_simulation_lies_on_its_grid(
    small: Small, calibration: Calibration, photo: torch.Tensor
) -> None:
    def rounded(weights: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        scale = (weights.abs().flatten(1).amax(1) if len(shape) > 1 else weights.abs().max()).reshape(shape) / 127
        return (weights / scale).round() * scale

    def on_grid(value: torch.Tensor, name: str) -> torch.Tensor:
        range_ = next(v.range for v in calibration.values if v.name == name)
        scale, zero = range_.grid()
        return ((value / scale).round() + zero).clamp(0, 255).sub(zero) * scale

    simulated = Simulation(small, calibration)(photo)
    floats = small(photo)
    assert 20 < measure(simulated.numpy(), floats.numpy()).psnr_db < 60
    weights = rounded(small.second.weight, (-1, 1, 1, 1))
    only = Simulation(small, calibration).only("second")(photo)
    y = nn.functional.relu6(small.first(photo))
    y = y + small.code(y.mean((2, 3)))[:, :, None, None]
    z = on_grid(nn.functional.conv2d(y, weights, small.second.bias), "conv2d_1")
    expected = nn.functional.avg_pool2d(nn.functional.pixel_shuffle(torch.sigmoid(z), 2), 2)
    torch.testing.assert_close(only, expected)


def test_what_is_left_in_floats_is_not_rounded(small: nn.Module, calibration: Calibration, photo: torch.Tensor) -> None:
    simulation = Simulation(small, calibration)
    torch.testing.assert_close(simulation.without(calibration.layers)(photo), small(photo))


def test_any_shape_and_the_weights_of_the_moment(small: nn.Module, calibration: Calibration) -> None:
    import copy

    net = copy.deepcopy(small)
    simulation = Simulation(net, calibration)
    batch = torch.rand(2, 3, 32, 48)
    before = simulation(batch)
    assert before.shape == batch.shape
    net.second.bias.add_(1)  # type: ignore[operator, union-attr]
    assert not torch.allclose(simulation(batch), before)


def test_gradients_pass_through_the_rounding(small: nn.Module, calibration: Calibration, photo: torch.Tensor) -> None:
    import copy

    net = copy.deepcopy(small).requires_grad_(True)
    Simulation(net, calibration)(photo).mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_fine_tuning_brings_the_int8_picture_nearer(small: nn.Module, seen: list[images.Image]) -> None:
    told: list[QatProgress] = []
    config = QatConfig(
        steps=200, batch=4, crop=64, scales=(64, 64), learning_rate=1e-2, start_weight=0, ranges_every=10
    )
    tuned = fine_tune(small, _crops(seen), seen, config, report=told.append)
    assert [progress.step for progress in told] == list(range(1, 201))
    assert not any(parameter.requires_grad for parameter in tuned.parameters())
    assert _int8_db(tuned, seen) > _int8_db(small, seen) + 3  # 10 to 15 by machine and threads


def test_fine_tuning_keeps_the_picture(small: nn.Module, seen: list[images.Image]) -> None:
    config = QatConfig(steps=10, batch=2, crop=64, scales=(64, 64), learning_rate=1e-3, start_weight=5000)
    tuned = fine_tune(small, _crops(seen), seen, config)
    with torch.inference_mode():
        pairs = [(tuned(torch.from_numpy(p)).numpy(), small(torch.from_numpy(p)).numpy()) for p in seen]
    assert 35 < min(measure(*pair).psnr_db for pair in pairs) < 150


def test_what_is_good_enough_is_left_as_it_is(small: nn.Module, seen: list[images.Image]) -> None:
    config = QatConfig(steps=3, batch=2, crop=64, scales=(64, 64), start_weight=0, tolerated_db=0)
    tuned = fine_tune(small, _crops(seen), seen, config)
    for before, after in zip(small.parameters(), tuned.parameters(), strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0)


def _crops(seen: list[images.Image]) -> Photos:
    return Photos(tuple((torch.from_numpy(photo)[0] * 255).round().to(torch.uint8) for photo in seen), ())


def _int8_db(net: nn.Module, seen: list[images.Image]) -> float:
    simulation = Simulation(net, calibrate(net, seen))
    tensors = [torch.from_numpy(photo) for photo in seen]
    with torch.inference_mode():
        return float(np.mean([measure(simulation(x).numpy(), net(x).numpy()).psnr_db for x in tensors]))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": 0}, {"ranges_every": 0}, {"crop": 60}, {"crop": 8}])
def test_impossible_settings_are_told(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="it must be"):
        QatConfig(**wrong)


def test_a_checkpoint_keeps_its_record(tiny_checkpoint: Checkpoint, tmp_path: Path, seen: list[images.Image]) -> None:
    config = QatConfig(steps=2, batch=1, crop=64, scales=(64, 64))

    loss = PerceptualLoss(student(), torch.from_numpy(seen[0]), LOSS)
    tuned = fine_tune_checkpoint(tiny_checkpoint, tmp_path / "tuned", _crops(seen), seen, config, loss)
    assert tuned.name == "tuned"
    assert tuned.config.training["steps"] == 0
    assert tuned.config.training["qat"]["steps"] == 2
    assert tuned.config.training["qat"]["start_sha256"] == tiny_checkpoint.sha256()
    assert tuned.sha256() != tiny_checkpoint.sha256()
    tuned.network()


# The command --------------------------------------------------------------------------------------------------------


def train(tiny: Checkpoint, tmp_path: Path, *arguments: str) -> int:
    images.write(tmp_path / "painting.png", images.centre_crop(images.sample_photos()["coffee"], (96, 96)))
    style = ["--style", str(tmp_path / "painting.png"), "--style-size", "96", "--crop", "64", "--batch", "1"]
    return cli.main(["train", *style, *arguments])


def test_the_command_fine_tunes_a_trained_network(tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "runs" / "tiny-int8"
    assert (
        train(
            tiny_checkpoint, tmp_path, "--from", str(tiny_checkpoint.folder), "--qat", "--steps", "1", "--out", str(out)
        )
        == 0
    )
    assert "--quantize int8" in capsys.readouterr().out
    assert checkpoint.read(out).config.training["qat"]["steps"] == 1
    assert checkpoint.read(out).network().config == tiny_checkpoint.network().config


def test_what_is_missing_to_fine_tune_is_told(tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: Any) -> None:
    assert train(tiny_checkpoint, tmp_path, "--qat", "--out", str(tmp_path / "new")) == 2
    assert "--qat fine-tunes a trained network; name it by --from" in capsys.readouterr().err
    folder = str(tiny_checkpoint.folder)
    assert train(tiny_checkpoint, tmp_path, "--qat", "--from", folder, "--out", folder) == 2
    assert "--qat needs an --out other than the network of --from" in capsys.readouterr().err
    assert train(tiny_checkpoint, tmp_path, "--calibration", str(tmp_path), "--out", str(tmp_path / "new")) == 2
    assert "--calibration goes with --qat" in capsys.readouterr().err
    assert train(tiny_checkpoint, tmp_path, "--qat", "--from", folder, "--minutes", "1", "--out", folder + "-q") == 2
    assert "--qat takes --steps" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
