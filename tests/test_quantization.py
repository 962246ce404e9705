"""Ranges: found in torch, chosen by observers, found again in other people's tensors."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgestyle import cli, images
from edgestyle.errors import CheckError, UsageError
from edgestyle.quantization import photos
from edgestyle.quantization.calibration import SIGMOID, UNIT, Fingerprint, Range, calibrate
from edgestyle.quantization.observers import BINS, OBSERVERS, Histogram

SIZE = (32, 32)


class Small(nn.Module):
    """An input normalisation, a convolution with its ReLU6, another one, a sigmoid, a pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu6(self.first(x - x.mean((2, 3), keepdim=True)))
        picture: torch.Tensor = nn.functional.pixel_shuffle(torch.sigmoid(self.second(y)), 2)
        return picture


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return Small().eval()


def gaussian(outlier: float) -> Histogram:
    """A bell of standard deviation 1, and a single number far away."""
    edges = np.linspace(-4, outlier, BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    counts = np.round(1e6 * np.exp(-(centres**2) / 2))
    counts[-1] += 1
    return Histogram(-4, outlier, counts)


def test_minmax_takes_all() -> None:
    assert OBSERVERS["minmax"](gaussian(100)) == (-4, 100)


@pytest.mark.parametrize("observer", ["percentile", "mse", "entropy"])
def test_the_others_cut_off_an_outlier_and_keep_the_bell(observer: str) -> None:
    low, high = OBSERVERS[observer](gaussian(12))
    assert low <= -2.5
    assert 2.5 <= high <= 9


def test_percentile_keeps_the_share_that_it_promises() -> None:
    seen = Histogram(0, 1, np.ones(BINS))
    low, high = OBSERVERS["percentile"](seen)
    assert (low, high) == pytest.approx((0, 1), abs=2 / BINS)


def test_a_range_needs_zero_and_gives_the_grid_that_runtimes_compute() -> None:
    assert Range(0, 1).grid() == (1 / 255, 0)
    assert Range(-1, 1).grid() == (2 / 255, 128)
    assert Range(-1, 1).grid(16) == (2 / 65535, 32768)
    with pytest.raises(ValueError, match="zero"):
        Range(1, 2)


def test_a_fingerprint_survives_layout_order_scale_and_padding() -> None:
    value = np.random.default_rng(0).normal(size=(1, 8, 6, 6)).astype(np.float32)
    own = Fingerprint.of(value)
    for same in (
        value.transpose(0, 2, 3, 1),
        value[:, ::-1],
        value * 255,
        np.pad(value, ((0, 0), (0, 0), (1, 1), (1, 1))),
    ):
        assert own.distance(Fingerprint.of(same)) < 1e-6
    assert own.distance(Fingerprint.of(value**2)) > 0.1
    assert own.distance(Fingerprint.of(value[:, :4])) > 0.1


def test_ranges_are_those_of_the_values_that_layers_take_and_give(small: nn.Module) -> None:
    values = {value.name: value for value in calibrate(small, photos.load(None, SIZE), "minmax").values}
    assert list(values) == ["x", "sub", "conv2d", "relu6", "conv2d_1", "sigmoid"]
    assert [value.layer for value in values.values()] == ["", "", "first", "", "second", ""]
    assert {name: value.fused_with for name, value in values.items() if value.fused_with} == {"conv2d": "relu6"}
    assert values["sigmoid"].range == SIGMOID
    assert values["sigmoid"].wide == UNIT
    assert values["relu6"].range.low == 0
    assert values["relu6"].wide.high <= 6


def test_what_was_seen_on_any_photo_is_in_the_widest_range(small: nn.Module) -> None:
    pictures = photos.load(None, SIZE)
    found = {value.name: value for value in calibrate(small, pictures, "minmax").values}["conv2d_1"]
    with torch.inference_mode():
        whole = torch.cat([torch.logit(small(torch.from_numpy(picture)), 1e-7) for picture in pictures])
    assert (found.range.low, found.range.high) == pytest.approx(
        (min(whole.min().item(), 0), max(whole.max().item(), 0)), rel=1e-3
    )


def test_tensors_are_recognised_and_their_scale_with_them(small: nn.Module) -> None:
    calibration = calibrate(small, photos.load(None, SIZE), "minmax")
    photo = torch.from_numpy(calibration.photo)
    with torch.inference_mode():
        centred = photo - photo.mean((2, 3), keepdim=True)
        conv = small.first(centred)  # type: ignore[operator]
        act = nn.functional.relu6(conv)
        logits = small.second(act)  # type: ignore[operator]
        computed = {
            "photo": photo * 255,
            "a": centred * 255,
            "b": act,
            "c": logits,
            "d": torch.sigmoid(logits),
            "own": act.mean((2, 3)),
        }
    tensors = {name: value.numpy() for name, value in computed.items()}
    ranges = calibration.match(tensors)
    by_name = {value.name: value.range for value in calibration.values}
    assert ranges.keys() == {"photo", *"abcd"}
    assert ranges["photo"].high == pytest.approx(255, rel=1e-3)
    assert ranges["a"].high == pytest.approx(255 * by_name["sub"].high, rel=1e-3)
    assert ranges["b"] == by_name["relu6"]
    pixels = calibration.match({**tensors, "photo": tensors["photo"] / 256})["photo"]
    assert pixels.high == pytest.approx(255 / 256, abs=1e-6)  # 1/256 each, as Core ML counts, not 1/255
    nearly = calibration.match({**tensors, "b": tensors["b"] * 1.001})
    assert nearly["b"] == by_name["relu6"]  # fp16 makes as much
    with pytest.raises(CheckError, match="nothing like 'relu6'"):
        calibration.match({name: tensor for name, tensor in tensors.items() if name != "b"})


def test_a_value_that_fp16_moved_is_recognised_where_no_other_is_near(small: nn.Module) -> None:
    """An activation that has cut off nearly everything is told by the few numbers that are left."""
    calibration = calibrate(small, photos.load(None, SIZE), "minmax")
    (relu,) = (value for value in calibration.values if value.name == "relu6")
    others = tuple(value for value in calibration.values if value is not relu)
    shape = relu.fingerprint.shape + np.float64(0.03)
    moved = replace(relu, fingerprint=replace(relu.fingerprint, shape=shape))
    with torch.inference_mode():
        photo = torch.from_numpy(calibration.photo)
        act = nn.functional.relu6(small.first(photo - photo.mean((2, 3), keepdim=True)))  # type: ignore[operator]
    found = replace(calibration, values=(moved,)).match({"act": act.numpy()})
    assert found == {"act": relu.range}
    twin = replace(moved, name="twin", fingerprint=replace(relu.fingerprint, shape=shape + 0.03))
    with pytest.raises(CheckError, match="nothing like"):
        replace(calibration, values=(moved, twin, *others)).match({"act": act.numpy()})


def test_what_is_made_of_the_photo_by_numbers_alone_is_exact_in_8_bits() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            picture: torch.Tensor = self.layer(x - 128 / 255)
            return picture

    values = {value.name: value.range for value in calibrate(Centred().eval(), photos.load(None, SIZE)).values}
    assert (values["x"], values["sub"]) == (UNIT, Range(0 - 128 / 255, 1 - 128 / 255))
    assert values["sub"].grid() == (pytest.approx(1 / 255), 128)


def test_what_a_relu6_cuts_off_needs_no_steps() -> None:
    class Modulated(nn.Module):
        """A layer that is scaled far beyond what the ReLU6 after it lets through."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Conv2d(3, 8, 1)
            self.scale, self.shift = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)
            nn.init.constant_(self.scale.bias, 300)  # type: ignore[arg-type]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            code = x.mean((2, 3), keepdim=True)
            y: torch.Tensor = nn.functional.relu6(self.layer(x) * self.scale(code) + self.shift(code))
            return y

    net = Modulated().eval()
    values = {value.name: value for value in calibrate(net, photos.load(None, SIZE), "minmax").values}
    product, layer = values["mul"], values["conv2d"]
    assert product.wide.high > 100
    assert -3 < product.range.low < 0 < 6 <= product.range.high + 1 < 10
    assert layer.range.high < 0.05 < layer.wide.high / 2
    photo = torch.from_numpy(images.centre_crop(images.sample_photos()["coffee"], SIZE))
    cut = [net.layer.register_forward_hook(lambda _m, _x, y: y.clamp(layer.range.low, layer.range.high))]
    with torch.inference_mode():
        clipped = net(photo)
        cut[0].remove()
        torch.testing.assert_close(clipped, net(photo), atol=0.1, rtol=0)  # of another photo, whose scales are others


def test_left_out_layers_and_wide_ranges(small: nn.Module) -> None:
    calibration = calibrate(small, photos.load(None, SIZE))
    partly = calibration.without(["first"])
    assert [value.name for value in partly.values if value.range is None] == ["conv2d", "relu6"]
    assert [value.name for value in partly.widened().values if value.range is None] == ["conv2d", "relu6"]
    for value in calibration.widened().values:
        assert value.range == value.wide


def test_default_photos_are_not_those_of_the_check() -> None:
    default = photos.load(None, SIZE)
    assert len(default) >= 10
    for sample in images.sample_photos().values():
        cropped = images.centre_crop(sample, SIZE)
        assert min(float(np.abs(cropped - photo).mean()) for photo in default) > 0.01


def test_photos_hold_whole_bytes() -> None:
    for photo in photos.load(None, SIZE):
        np.testing.assert_array_equal(photo, images.from_uint8(images.to_uint8(photo)))


def test_a_large_folder_is_sampled(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(photos.MOST + 7):
        images.write(tmp_path / f"{i:03}.png", rng.random((1, 3, 8, 8), dtype=np.float32))
    assert len(photos.load(tmp_path, SIZE)) == photos.MOST


@pytest.mark.parametrize("count", [1, 3])
def test_black_photos_are_refused(tmp_path: Path, count: int) -> None:
    for i in range(count):
        images.write(tmp_path / f"{i}.png", np.zeros((1, 3, 40, 40), np.float32))
    with pytest.raises(UsageError, match="single shade"):
        photos.load(tmp_path, SIZE)


# The command ---------------------------------------------------------------------------------------


@pytest.fixture
def run(tiny_checkpoint: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.chdir(tmp_path)

    def export(*arguments: str) -> int:
        return cli.main(["export", "--model", str(tiny_checkpoint.folder), "--size", "64", *arguments])  # type: ignore[attr-defined]

    return export


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "coreml", "--quantize", "int8-a16"], "Core ML does not serve scheme 'int8-a16'; it serves fp16"),
        (["--target", "onnx", "--quantize", "int9"], "did you mean int8"),
        (["--target", "onnx", "--quantize", "int8", "--calibration", "nowhere"], "there is no nowhere"),
        (["--target", "onnx", "--quantize", "int8", "--calibration", "empty"], "holds no pictures"),
        (["--target", "onnx", "--quantize", "int8", "--calibration", "black"], "single shade"),
        (["--target", "tflite", "--quantize", "fp16", "--io", "uint8"], "uint8 goes with int8"),
        (["--target", "onnx", "--model", "great_wave-512-int8.onnx"], "is an exported file"),
    ],
)
def test_bad_requests_end_in_one_line(
    run: object, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    images.write(tmp_path / "black.png", np.zeros((1, 3, 40, 40), np.float32))
    (tmp_path / "black").mkdir()
    shutil.move(tmp_path / "black.png", tmp_path / "black" / "a.png")
    assert run(*arguments) == 2  # type: ignore[operator]
    assert said in capsys.readouterr().err
    assert not (tmp_path / "build").exists()


def test_one_photo_will_do_with_a_note(run: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    images.write(tmp_path / "photos" / "one.png", images.sample_photos()["coffee"])
    (tmp_path / "edgestyle.toml").write_text("[gate.any]\nint8 = { psnr_db = 20 }\n")
    run("--target", "onnx", "--quantize", "int8", "--calibration", "photos")  # type: ignore[operator]
    assert "calibrated on one photo" in capsys.readouterr().err
