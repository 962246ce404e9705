"""Each metric against numbers worked by hand, and against what only it should see."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edgestyle import flicker, lpips, metrics
from edgestyle.drift import PSNR_CEILING_DB
from edgestyle.errors import CheckError, ConfigError, UnavailableError, UsageError
from edgestyle.images import Image
from edgestyle.metrics import Metrics


class TinyNetwork:
    """A perceptual network of one layer: what it sees at every layer is the picture itself."""

    def __call__(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        return dict.fromkeys(layers, x)


def grey(value: float, height: int = 64, width: int = 64) -> Image:
    return np.full((1, 3, height, width), value, np.float32)


def texture(height: int = 64, width: int = 64, seed: int = 0) -> Image:
    return np.random.default_rng(seed).uniform(0.2, 0.8, (1, 3, height, width)).astype(np.float32)


def features(*channels: float) -> dict[str, Tensor]:
    """One pixel of features, the same at every layer."""
    one = torch.tensor(channels).reshape(1, -1, 1, 1)
    return dict.fromkeys(("relu1_1", "relu2_1", "relu3_1", "relu3_3", "relu3_4"), one)


# All of them --------------------------------------------------------------------------------------------------------


def test_equal_pictures() -> None:
    expected = Metrics(PSNR_CEILING_DB, 1, 0, 0, 0, 0, PSNR_CEILING_DB, 0)
    assert metrics.measure(texture(), texture(), TinyNetwork()) == expected


def test_without_a_network_the_rest_is_measured() -> None:
    without, complete = (metrics.measure(texture(), texture(seed=1), network) for network in (None, TinyNetwork()))
    absent = {"style_drift": None, "content_drift": None, "perceptual": None}
    assert without == dataclasses.replace(complete, **absent)
    assert None not in dataclasses.astuple(complete)


def test_nan_and_another_size_are_refused() -> None:
    with pytest.raises(CheckError, match="NaN"):
        metrics.measure(grey(math.nan), grey(0), None)
    with pytest.raises(CheckError, match="shape"):
        metrics.measure(grey(0, 64, 32), grey(0), None)


def test_worst_takes_each_metric_from_wherever_it_is_worst() -> None:
    one, two = Metrics(40, 0.9, 0.1, 0.4, 1, 3, 30, 0.2), Metrics(50, 0.8, 0.2, 0.3, 2, -1, 20, 0.3)
    assert metrics.worst(iter([one, two])) == Metrics(40, 0.8, 0.2, 0.4, 2, 3, 20, 0.3)


def test_worst_leaves_out_what_was_not_measured() -> None:
    measured = Metrics(40, 0.9, 0.1, 0.4, 1, 3, 30, 0.2)
    absent = dataclasses.replace(measured, style_drift=None, content_drift=None, perceptual=None)
    assert metrics.worst([absent, measured]) == measured
    assert metrics.worst([absent, absent]) == absent


@given(st.integers(7, 90), st.integers(7, 90), st.integers(0, 99))
def test_any_size_gives_finite_numbers(height: int, width: int, seed: int) -> None:
    measured = metrics.measure(texture(height, width, seed), texture(height, width, seed + 1), TinyNetwork())
    assert all(math.isfinite(value) for value in dataclasses.astuple(measured))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_the_worst_tile_is_no_better_than_the_picture(rows: int, columns: int, seed: int) -> None:
    actual, reference = (texture(32 * rows, 32 * columns, seed + i) for i in (0, 1))
    assert metrics.worst_tile(actual, reference) <= metrics.measure(actual, reference, None).psnr_db + 1e-9


# Pixels -------------------------------------------------------------------------------------------------------------


def test_delta_e_of_black_and_white_is_100() -> None:
    """dL = 100 about a mean of L = 50, where CIEDE2000's weight of lightness is 1."""
    assert metrics.delta_e(grey(0), grey(1)) == pytest.approx(100, abs=1e-3)


def test_delta_e_of_grey_and_white() -> None:
    """sRGB 0.5 is L = 53.389. dL = 46.611 about 76.694: S_L = 1 + 0.015 * 26.694^2 / sqrt(20 + 26.694^2) = 1.3949."""
    assert metrics.delta_e(grey(0.5), grey(1)) == pytest.approx(46.611 / 1.3949, abs=0.01)


def test_delta_e_does_not_see_grain() -> None:
    """A chessboard and its negative differ in every pixel and have the same colour."""
    board = grey(0)
    board[:, :, ::2, ::2] = board[:, :, 1::2, 1::2] = 1
    assert metrics.delta_e(1 - board, board) == pytest.approx(0, abs=1e-9)


def test_delta_e_takes_the_remainder_at_the_edge_as_an_area() -> None:
    """12x12 px are areas of 8x8, 8x4, 4x8 and 4x4; the last alone is white against black: 100 / 4."""
    spoiled = grey(0, 12, 12)
    spoiled[:, :, 8:, 8:] = 1
    assert metrics.delta_e(spoiled, grey(0, 12, 12)) == pytest.approx(25, abs=1e-3)


def test_border_is_10_db_where_the_error_is_10_times_the_power() -> None:
    spoiled = grey(0.5 + 0.1 * math.sqrt(10))
    spoiled[:, :, 16:-16, 16:-16] = 0.6
    assert metrics.border(spoiled, grey(0.5)) == pytest.approx(10, abs=1e-4)


def test_border_counts_what_8_bits_cannot_show_as_rounding() -> None:
    """Frame off by 0.1 (20 dB), middle equal: 10 log10(12 * 255^2) - 20 = 38.923 dB."""
    spoiled = grey(0.6)
    spoiled[:, :, 16:-16, 16:-16] = 0.5
    assert metrics.border(spoiled, grey(0.5)) == pytest.approx(38.923, abs=1e-3)
    assert metrics.border(grey(0.5 + 1e-4), grey(0.5)) == 0


def test_border_of_a_small_picture_is_a_quarter_wide() -> None:
    spoiled = grey(0.6, 16, 32)
    spoiled[:, :, 4:-4, 4:-4] = 0.5
    assert metrics.border(spoiled, grey(0.5, 16, 32)) == pytest.approx(38.923, abs=1e-3)


def test_worst_tile_finds_one_pixel() -> None:
    """One white pixel on black is an error of 1 / 1024 in its tile: 10 log10(1024) = 30.103 dB."""
    spoiled = grey(0, 96, 96)
    spoiled[:, :, 40, 70] = 1
    assert metrics.worst_tile(spoiled, grey(0, 96, 96)) == pytest.approx(30.103, abs=1e-3)


def test_worst_tile_reaches_the_last_pixel() -> None:
    spoiled = grey(0, 50, 70)
    spoiled[:, :, 49, 69] = 1
    assert metrics.worst_tile(spoiled, grey(0, 50, 70)) == pytest.approx(30.103, abs=1e-3)


# Features -----------------------------------------------------------------------------------------------------------


def test_style_drift_by_hand() -> None:
    """(3, 0) against (0, 1): Gram matrices diag(9, 0) / 2 and diag(0, 1) / 2, |difference| / |reference| = sqrt(82)."""
    assert metrics.style_drift(features(3, 0), features(0, 1)) == pytest.approx(math.sqrt(82))


def test_style_drift_does_not_know_places() -> None:
    network, picture = TinyNetwork(), texture()
    moved = np.roll(picture, (7, 11), (2, 3))
    measured = metrics.measure(moved, picture, network)
    assert measured.style_drift == pytest.approx(0, abs=1e-5)
    assert measured.content_drift is not None
    assert measured.content_drift > 0.1


def test_content_drift_by_hand() -> None:
    """|(3, 5) - (3, 4)| / |(3, 4)| = 1 / 5."""
    assert metrics.content_drift(features(3, 5), features(3, 4)) == pytest.approx(0.2)


def test_perceptual_by_hand() -> None:
    """Unit vectors at a right angle are sqrt(2) apart, at 60 degrees 1."""
    assert metrics.perceptual(features(5, 0), features(0, 3)) == pytest.approx(2)
    assert metrics.perceptual(features(2, 0), features(1, math.sqrt(3))) == pytest.approx(1)


@given(st.floats(0.1, 10))
def test_perceptual_forgives_contrast_and_content_drift_does_not(gain: float) -> None:
    seen, stronger = features(1, 2, 3), features(gain, 2 * gain, 3 * gain)
    assert metrics.perceptual(stronger, seen) == pytest.approx(0, abs=1e-6)
    assert metrics.content_drift(stronger, seen) == pytest.approx(abs(gain - 1), abs=1e-5)


# Flicker ------------------------------------------------------------------------------------------------------------


def test_a_moving_window_over_a_photo_does_not_flicker_at_all() -> None:
    clip = flicker.pan(texture(100, 120), (64, 72))
    assert clip.frames[0].shape == (1, 3, 64, 72)
    assert flicker.rms(clip.frames, clip.flows) == 0


@given(st.integers(-3, 3), st.integers(-3, 3))
def test_motion_in_any_direction_is_followed_exactly(down: int, right: int) -> None:
    photo = texture(40, 40)
    frames = [photo[:, :, 5:35, 5:35], photo[:, :, 5 + down : 35 + down, 5 + right : 35 + right]]
    flow = np.empty((2, 30, 30), np.float32)
    flow[0], flow[1] = -right, -down
    assert flicker.rms(frames, [flow]) == 0


def test_half_a_pixel_is_interpolated() -> None:
    """A ramp moved by half a pixel: the value between two columns is their mean."""
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32) / 8, (1, 3, 4, 8))
    flow = np.zeros((2, 4, 8), np.float32)
    flow[0] = 0.5
    moved = flicker.moved_back(ramp, flow)
    np.testing.assert_allclose(moved[..., :7], ramp[..., :7] + 1 / 16)
    assert np.isnan(moved[..., 7]).all()


def test_flicker_that_alternates_is_added_to_that_of_the_float_network() -> None:
    """The float network steps by 0.3, the exported one by 0.5: it adds sqrt(0.25 - 0.09) = 0.4."""
    flows = flicker.pan(grey(0), (32, 32), frames=3).flows
    actual, reference = ([grey(low, 32, 32), grey(0.5, 32, 32), grey(low, 32, 32)] for low in (0.0, 0.2))
    measured = flicker.measure(actual, reference, flows)
    assert (measured.actual, measured.reference) == pytest.approx((0.5, 0.3))
    assert measured.drift == pytest.approx(0.4)
    assert flicker.measure(reference, actual, flows).drift == pytest.approx(-0.4)


def test_a_steady_error_is_no_flicker() -> None:
    clip = flicker.pan(texture(100, 100), (40, 40))
    tinted = [frame + np.float32(0.125) for frame in clip.frames]
    assert flicker.measure(tinted, clip.frames, clip.flows).drift == pytest.approx(0, abs=1e-6)


def test_unknown_flow_is_left_out() -> None:
    """Of four columns one is wrong, and its flow is unknown."""
    following, flow = grey(0, 4, 4), np.zeros((2, 4, 4), np.float32)
    following[..., 2], flow[:, :, 2] = 1, np.nan
    assert flicker.rms([grey(0, 4, 4), following], [flow]) == 0


def test_what_cannot_be_measured_is_refused() -> None:
    still = np.zeros((2, 8, 8), np.float32)
    with pytest.raises(CheckError, match="3 pictures came for 1 flows"):
        flicker.rms([grey(0, 8, 8)] * 3, [still])
    with pytest.raises(CheckError, match="1 pictures came for 0 flows"):
        flicker.rms([grey(0, 8, 8)], [])
    with pytest.raises(CheckError, match="must be alike"):
        flicker.rms([grey(0, 9, 8)] * 2, [still])
    with pytest.raises(CheckError, match="NaN"):
        flicker.rms([grey(0, 8, 8), grey(math.nan, 8, 8)], [still])
    with pytest.raises(CheckError, match="no pixel stays"):
        flicker.rms([grey(0, 8, 8)] * 2, [still + 8])
    with pytest.raises(UsageError, match="8 frames of 64x64 reach 99x85; the photo is 64x64"):
        flicker.pan(grey(0), (64, 64))
    for arguments in ({"frames": 1}, {"size": (0, 8)}, {"step": (-1, 1)}):
        with pytest.raises(UsageError, match="at least 2 of at least 1x1"):
            flicker.pan(grey(0), **{"size": (8, 8), **arguments})


# LPIPS --------------------------------------------------------------------------------------------------------------


def test_lpips_by_hand() -> None:
    """One layer that passes the scaled picture on: black is -(1 + shift) / scale, white (1 - shift) / scale."""
    model = lpips.LPIPS(nn.Sequential(nn.Identity()), (0,), [torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)])
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    black, white = (-1 - shift) / scale, (1 - shift) / scale
    difference = black / np.linalg.norm(black) - white / np.linalg.norm(white)
    distance = model(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    assert distance.tolist() == pytest.approx([float([1, 2, 3] @ difference**2)] * 2, rel=1e-5)


CHANNELS = {
    "alex.pth": (64, 192, 384, 256, 256),
    "vgg.pth": (64, 128, 256, 512, 512),
    "squeeze.pth": (64, 128, 256, 384, 384, 512, 512),
}


@pytest.mark.parametrize("backbone", lpips.BACKBONES, ids=lambda backbone: backbone.heads)
def test_lpips_backbones_give_what_the_heads_weigh(
    backbone: lpips.Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand-ins with the layers' names, put into the table under their own hashes, and read as the real files are."""
    torch.manual_seed(0)
    stand_in, heads = tmp_path / "weights.pth", tmp_path / "heads.pth"
    torch.save({f"features.{key}": value for key, value in backbone.features().state_dict().items()}, stand_in)
    widths = CHANNELS[backbone.heads]
    torch.save({f"lin{i}.model.1.weight": torch.ones(1, width, 1, 1) for i, width in enumerate(widths)}, heads)
    entry = dataclasses.replace(backbone, file=f"it-{digest(stand_in)[:8]}.pth", heads_sha256=digest(heads))
    monkeypatch.setattr(lpips, "BACKBONES", (entry,))
    model = lpips.load(stand_in, heads)
    a, b = torch.rand(2, 1, 3, 64, 64)
    assert model(a, a).item() == 0
    assert 0 < model(a, b).item() == pytest.approx(model(b, a).item())


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_lpips_refuses_missing_files_and_look_alikes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "squeezenet1_1-b8a52dc0.pth"
    with pytest.raises(UnavailableError, match=r"alexnet-owt-7be5be79.pth.*download.pytorch.org"):
        lpips.load(other, other)
    other.write_bytes(b"another training of it")
    with pytest.raises(ConfigError, match="none of torchvision's"):
        lpips.load(other, other)
    entry = dataclasses.replace(lpips.BACKBONES[2], file=f"it-{digest(other)[:8]}.pth")
    monkeypatch.setattr(lpips, "BACKBONES", (entry,))
    with pytest.raises(UnavailableError, match=r"v0\.1/squeeze\.pth"):
        lpips.load(other, tmp_path / "squeeze.pth")
    with pytest.raises(ConfigError, match=r"not the LPIPS 0\.1 file squeeze\.pth"):
        lpips.load(other, other)
