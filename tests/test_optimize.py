"""Gatys' optimisation: lower losses, the photo's colours, and Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from edgestyle import colors, images
from edgestyle.cli import main
from edgestyle.losses import LossConfig, PerceptualLoss
from edgestyle.optimize import OptimizeConfig, OptimizingPainter, Step, optimize
from edgestyle.perceptual import student
from edgestyle.training.photos import load_painting


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("painting") / "coffee.png"
    images.write(path, images.centre_crop(images.sample_photos()["coffee"], (64, 64)))
    return path


@pytest.fixture(scope="module")
def photo() -> images.Image:
    return images.centre_crop(images.sample_photos()["rocket"], (64, 64))


def test_style_comes_in_from_coarse_to_fine(painting: Path, photo: images.Image) -> None:
    config = OptimizeConfig(LossConfig(style_weight=10.0), iterations=30)
    steps = list(optimize(torch.from_numpy(photo), load_painting(painting, 64), student(), config))
    assert [step.iteration for step in steps] == [10, 20, 30]
    assert [tuple(step.picture.shape[2:]) for step in steps] == [(32, 32), (64, 64), (64, 64)]
    assert steps[-1].style < 0.5 * steps[0].style
    assert all(step.picture.min() >= 0 and step.picture.max() <= 1 for step in steps)


def test_what_is_shown_is_what_was_optimised(painting: Path, photo: images.Image) -> None:
    """Nothing of the gain lies beyond black and white; without a price on that, this loss grew by a third."""
    learned = load_painting(painting, 64)
    *_, last = optimize(torch.from_numpy(photo), learned, student(), OptimizeConfig(iterations=60))
    with torch.inference_mode():
        shown = PerceptualLoss(student(), learned)(last.picture, torch.from_numpy(photo))
    assert (shown.content + shown.style).item() == pytest.approx(last.content + last.style, rel=0.1)


def test_luminance_alone_keeps_the_photos_colours(painting: Path, photo: images.Image) -> None:
    config = OptimizeConfig(LossConfig(preserve_color="luminance"), iterations=2)
    grey = torch.from_numpy(0.4 + 0.2 * photo)
    *_, last = optimize(grey, load_painting(painting, 64), student(), config)
    torch.testing.assert_close(colors.chroma(last.picture), colors.chroma(grey), atol=0.05, rtol=0)


def test_ctrl_c_keeps_the_picture_so_far(painting: Path, photo: images.Image) -> None:
    told: list[Step] = []

    def interrupt(step: Step) -> None:
        told.append(step)
        if len(told) == 2:
            signal.raise_signal(signal.SIGINT)

    config = OptimizeConfig(iterations=100)
    painter = OptimizingPainter("coffee", load_painting(painting, 64), student(), config, interrupt)
    small = np.ascontiguousarray(photo[:, :, :50, :60])
    assert painter.paint(small).shape == small.shape
    assert len(told) == 2


def test_optimize_by_the_command_line(
    painting: Path, photo: images.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "photo.png", tmp_path / "out.png"
    images.write(source, photo)
    command = ["stylize", str(source), "-o", str(out), "--method", "optimize"]
    assert main([*command, "--style", str(painting), "--style-size", "64", "--iterations", "3"]) == 0
    assert images.read(out).shape == photo.shape
    assert "optimizing 3/3" in capsys.readouterr().err
    for arguments, message in (
        ([], "takes one --style PAINTING, not 0"),
        (["--style", str(painting), "--mask", str(painting)], "--mask is for networks"),
        (["--style", str(painting), "--iterations", "0"], "from 1 to 100000"),
    ):
        assert main([*command, *arguments]) == 2
        assert message in capsys.readouterr().err
