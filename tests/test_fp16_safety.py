"""What passes 65504 and where, and the exact cure: shown on a network that fp16 breaks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from foreign_networks import Johnson, convert, ct, saved
from torch import Tensor, nn

from edgestyle import coreml_package
from edgestyle.coreml_program import evaluate, load
from edgestyle.coreml_trace import trace
from edgestyle.fp16_safety import SMALLEST, Reach, findings, rescale, survey
from edgestyle.images import Image

SIZE = (64, 96)


class Unit(nn.Module):
    """A foreign network from and to [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Johnson()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * 255) / 255  # type: ignore[no-any-return]


PAIRS = [("net.down.1", "net.down.2"), ("net.down.5", "net.down.6"), ("net.residual.1", "net.residual.2")]
"""Convolutions, and the norms that they feed."""


def blown_up(factor: float = 4096) -> nn.Module:
    """`Unit`, computing the same to the last bit in fp32: convolutions scaled up, epsilons to match."""
    net = Unit().eval().requires_grad_(False)
    for conv, norm in PAIRS:
        for parameter in net.get_submodule(conv).parameters():
            parameter.mul_(factor)
        net.get_submodule(norm).eps *= factor**2  # type: ignore[operator]
    return net


@pytest.fixture(scope="module")
def photo() -> Image:
    crop = skimage.data.astronaut()[:256, 100:356].astype(np.float32) / 255
    return np.ascontiguousarray(crop.transpose(2, 0, 1)[None])


def reaches(net: nn.Module, photo: Image) -> dict[tuple[str, str], Reach]:
    return {(reach.layer, reach.op): reach for reach in survey(net, photo)}


def painted(net: nn.Module, photo: Image) -> Tensor:
    with torch.inference_mode():
        return net(torch.from_numpy(photo))  # type: ignore[no-any-return]


# Measuring -----------------------------------------------------------------------------------------


def test_it_measures_what_can_be_worked_out_by_hand() -> None:
    conv = nn.Conv2d(3, 1, 1)
    conv.weight.data[:] = torch.tensor([2.0, -3, 1]).reshape(1, 3, 1, 1)
    conv.bias.data[:] = 0.5  # type: ignore[union-attr]
    net = nn.Sequential(conv, nn.InstanceNorm2d(1), nn.AdaptiveAvgPool2d(1))
    found = reaches(net.eval(), np.full((1, 3, 8, 16), 0.5, np.float32))
    convolution = found["0", "conv2d"]
    assert convolution.peak == pytest.approx(0.5)  # 1 - 1.5 + 0.5 + 0.5
    assert convolution.partial == pytest.approx(3.5)
    assert convolution.noise == pytest.approx(2**-12 / math.sqrt(3) * math.sqrt(3 * (1 + 2.25 + 0.25 + 0.25 + 0.25)))
    norm = found["1", "instance_norm"]
    assert (norm.picture_sum, norm.picture_squares, norm.pixels) == pytest.approx((64, 32, 128))
    assert norm.at((80, 160)) == pytest.approx(6400)
    assert convolution.at((80, 160)) == convolution.partial


class Squeeze(nn.Module):
    """A mean over the picture, one axis at a time."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(3, keepdim=True).mean(2, keepdim=True)  # type: ignore[no-any-return]


def test_sums_along_a_side_grow_with_the_side() -> None:
    columns, rows = survey(Squeeze(), np.full((1, 3, 16, 16), 5.0, np.float32))
    assert (columns.line_sum, rows.line_sum, rows.picture_sum) == (80, 80, 0)
    assert columns.at((4096, 4096)) == rows.at((4096, 2048)) == 5 * 4096
    assert findings(Squeeze(), [np.full((1, 3, 16, 16), 15.0, np.float32)]) == []
    (found,) = findings(Squeeze(), [np.full((1, 3, 16, 16), 17.0, np.float32)])
    assert "its sums reach 6.96e+04 at 4096x4096" in found.text


def test_sums_at_a_large_size_are_known_from_a_small_one(photo: Image) -> None:
    """A picture of four by four photos has the same statistics, but for its seams."""
    net = Unit().eval()
    large = np.tile(photo[..., :128, :128], (1, 1, 4, 4))
    small, measured = reaches(net, np.ascontiguousarray(large[..., :128, :128])), reaches(net, large)
    for _, norm in PAIRS:
        key = (norm, "instance_norm")
        assert small[key].at((512, 512)) == pytest.approx(measured[key].at((512, 512)), rel=0.1)
        assert measured[key].at((512, 512)) == max(measured[key].picture_sum, measured[key].picture_squares)


def test_a_contrast_that_drowns_in_its_sums_is_found() -> None:
    conv = nn.Conv2d(3, 1, 1)
    conv.weight.data[:] = 1
    conv.bias.data[:] = 30000  # type: ignore[union-attr]
    noise = np.random.default_rng(0).random((1, 3, 16, 16), dtype=np.float32)
    (found,) = findings(conv, [noise])
    assert "loses" in found.text


def test_values_too_small_are_found() -> None:
    conv = nn.Conv2d(3, 1, 1, bias=False)
    conv.weight.data[:] = 1e-5
    (found,) = findings(conv, [np.random.default_rng(0).random((1, 3, 16, 16), dtype=np.float32)])
    assert "under 2^-14" in found.text


def test_findings_name_layer_and_size(photo: Image) -> None:
    found = {finding.layer: finding.text for finding in findings(blown_up(), [photo], (512, 768))}
    assert "its values reach" in found["net.down.1"]
    for _, norm in PAIRS:
        assert "at 768x512; fp16 ends at 65504" in found[norm]


# The cure ------------------------------------------------------------------------------------------


def test_a_rescaled_network_paints_the_same(photo: Image) -> None:
    net = blown_up()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    cured = rescale(net, (512, 512), [photo])
    torch.testing.assert_close(painted(cured, photo), painted(net, photo), atol=2e-4, rtol=0)
    for conv, norm in PAIRS:
        ratio = cured.get_parameter(f"{conv}.weight") / net.get_parameter(f"{conv}.weight")
        factor = float(ratio.mean())
        assert (ratio == factor).all()
        assert math.log2(factor) == int(math.log2(factor)) < -4
        epsilon = net.get_submodule(norm).eps * factor**2  # type: ignore[operator]
        assert cured.get_submodule(norm).eps == max(epsilon, SMALLEST)
    assert all((tensor == before[name]).all() for name, tensor in net.state_dict().items()), "it was changed itself"


def test_with_an_epsilon_that_fp16_holds_it_is_the_same_to_the_last_bit(photo: Image) -> None:
    net = blown_up()
    for _, norm in PAIRS:
        net.get_submodule(norm).eps = 2.0**30
    cured = rescale(net, (512, 512), [photo])
    assert cured is not net
    assert (painted(cured, photo) == painted(net, photo)).all()


def test_nothing_is_left_to_find_in_its_norms(photo: Image) -> None:
    cured = rescale(blown_up(), SIZE, [photo])
    left = {finding.layer for finding in findings(cured, [photo], SIZE)}
    assert not left & {layer for pair in PAIRS for layer in pair}


def test_however_large_the_picture_the_network_stays_the_same(photo: Image) -> None:
    """At a full 4096x4096 nothing can be done for a mean that is not zero; then at least no harm is."""
    net = Unit().eval()
    torch.testing.assert_close(painted(rescale(net, photos=[photo]), photo), painted(net, photo), atol=2e-4, rtol=0)


def test_where_all_fits_nothing_is_done(photo: Image) -> None:
    net = Unit().eval()
    once = rescale(net, (64, 64), [photo])
    assert rescale(once, (64, 64), [photo]) is once
    plain = nn.Sequential(nn.Conv2d(3, 3, 1))
    assert rescale(plain) is plain


def test_an_epsilon_does_not_vanish(photo: Image) -> None:
    net = blown_up()
    for _, norm in PAIRS:
        net.get_submodule(norm).eps = 1e-5
    cured = rescale(net, photos=[photo])
    assert all(cured.get_submodule(norm).eps == SMALLEST for _, norm in PAIRS)
    black = np.zeros_like(photo)
    assert painted(cured, black).isfinite().all()


class Forked(nn.Module):
    """A convolution whose result is needed elsewhere, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.InstanceNorm2d(3)
        self.conv.weight.data.mul_(1e4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y  # type: ignore[no-any-return]


def test_a_convolution_that_feeds_others_is_left_alone(photo: Image) -> None:
    net = Forked().eval()
    assert rescale(net, photos=[photo]) is net


# The proof -----------------------------------------------------------------------------------------


def written(net: nn.Module, path: Path) -> Path:
    return saved(convert(net, [ct.TensorType("x", (1, 3, *SIZE))]), path)


def psnr_in_fp16(path: Path, photo: Image, expected: Tensor) -> float:
    (actual,) = evaluate(load(coreml_package.read(path)), {"x": torch.from_numpy(photo)}).values()
    return -10 * math.log10(float(torch.nan_to_num(actual - expected, nan=1.0).square().mean()))


def test_fp16_fails_without_it_and_not_with_it(photo: Image, tmp_path: Path) -> None:
    net = blown_up()
    small = np.ascontiguousarray(photo[..., : SIZE[0], : SIZE[1]])
    expected = painted(net, small)
    broken = written(net, tmp_path / "broken.mlpackage")
    cured = written(rescale(net, SIZE, [photo]), tmp_path / "cured.mlpackage")
    assert psnr_in_fp16(broken, small, expected) < 20
    assert psnr_in_fp16(cured, small, expected) > 50
    assert max(row.overflow for row in trace(broken, small)) > 0
    assert max(row.overflow for row in trace(cured, small)) == 0


def test_sums_in_fp16_fail_without_it_and_not_with_it(photo: Image, tmp_path: Path) -> None:
    """No weight is blown up: an ordinary network's norms pass 65504 in their squares, in a picture of 64x96 already."""
    net = Unit().eval().requires_grad_(False)
    small = np.ascontiguousarray(photo[..., : SIZE[0], : SIZE[1]])
    before = trace(written(net, tmp_path / "before.mlpackage"), small, sums_in_fp16=True)[-1]
    after = trace(written(rescale(net, SIZE, [photo]), tmp_path / "after.mlpackage"), small, sums_in_fp16=True)[-1]
    assert before.snr_db < 15
    assert after.snr_db > 30
