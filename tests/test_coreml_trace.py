"""Where a Core ML program drifts, op by op, and what fp16 sums do to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_networks import Johnson, convert, ct, saved
from torch import Tensor, nn
from torch.nn import functional as F

from edgestyle.coreml_ops import OPS
from edgestyle.coreml_sums import FP16_SUMS
from edgestyle.coreml_trace import Row, trace
from edgestyle.images import Image

SHAPE = (1, 3, 64, 96)


class Do(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.fixture(scope="module")
def picture() -> Image:
    return np.random.default_rng(0).random(SHAPE, dtype=np.float32)


def traced(net: nn.Module, picture: Image, folder: Path, sums_in_fp16: bool = False, **options: Any) -> list[Row]:
    path = saved(convert(net, [ct.TensorType("x", SHAPE)], **options), folder / "traced.mlpackage")
    return trace(path, picture, sums_in_fp16)


def test_it_tells_what_loses_from_what_hands_on(picture: Image, tmp_path: Path) -> None:
    """Adding 1000 leaves no digit after the point; the ops after it are blameless."""
    added, halved, back = traced(Do(lambda x: (x + 1000) * 0.5 - 500), picture, tmp_path)
    assert (added.type, added.shape) == ("add", SHAPE)
    assert added.max_abs == pytest.approx(0.25, rel=0.01)  # 1000.25 lies in the middle of two numbers
    assert added.own_db == pytest.approx(added.snr_db, abs=0.5)
    assert halved.own_db > 70
    assert back.snr_db < 15  # what remains is the picture, without its digits
    assert back.peak == pytest.approx(0.5, abs=0.01)


def test_it_finds_what_does_not_fit(picture: Image, tmp_path: Path) -> None:
    scaled, squared, _ = traced(Do(lambda x: torch.sigmoid((x * 500).square())), picture, tmp_path)
    assert (scaled.overflow, scaled.subnormal) == (0, 0)
    assert squared.overflow == pytest.approx(float((np.square(picture * 500) > 65504).mean()), abs=0.01)
    assert squared.snr_db == -200
    (small,) = traced(Do(lambda x: x * 1e-4), picture, tmp_path)
    assert small.subnormal == pytest.approx(2.0**-14 / 1e-4, abs=0.01)


def test_a_program_in_fp32_is_traced_as_a_gpu_would_run_it(picture: Image, tmp_path: Path) -> None:
    net = Do(lambda x: torch.tanh(x * 0.3))
    rows = traced(net, picture, tmp_path, compute_precision=ct.precision.FLOAT32)
    assert [row.type for row in rows] == ["mul", "tanh"]
    assert all(60 < row.snr_db < 90 for row in rows)


def test_every_op_has_a_row(picture: Image, tmp_path: Path) -> None:
    rows = traced(Johnson(), picture, tmp_path)
    types = [row.type for row in rows]
    assert types.count("conv") == 5
    assert rows[0].peak > 200, "its range was not found out"
    assert types.count("instance_norm") == 3
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.snr_db > 40 for row in rows)


# Sums in fp16 --------------------------------------------------------------------------------------


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)


def test_a_convolution_adds_term_by_term() -> None:
    ones = torch.ones(1, 4, 1, 1)
    assert OPS["conv"](column(2048, 1, 1, 1), ones) == 2051
    assert FP16_SUMS["conv"](column(2048, 1, 1, 1), ones) == 2048  # 2049 lies between two numbers; even wins
    assert FP16_SUMS["conv"](column(1, 1, 1, 2048), ones) == 2052
    assert FP16_SUMS["conv"](column(60000, 60000, -60000, 0), ones) == math.inf


def test_a_product_and_its_sum_are_rounded_once() -> None:
    x = 1 + 2.0**-10
    exact = x * x  # 1 + 2^-9 + 2^-20, of which fp16 drops the last
    assert FP16_SUMS["conv"](column(1, x), column(-1, x)) == torch.tensor(exact - 1).half()


@pytest.mark.parametrize(
    "how",
    [
        {"strides": [2, 1], "pad_type": "custom", "pad": [1, 0, 2, 1]},
        {"dilations": [2, 2], "pad_type": "same"},
        {"groups": 2, "pad_type": "valid"},
    ],
    ids=["stride", "dilation", "groups"],
)
def test_where_nothing_is_rounded_both_agree(how: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-4, 5, (2, 4, 7, 8), generator=generator).float()
    weight = torch.randint(-3, 4, (6, 4 // how.get("groups", 1), 3, 3), generator=generator).float()
    bias = torch.arange(6.0)
    torch.testing.assert_close(FP16_SUMS["conv"](x, weight, bias, **how), OPS["conv"](x, weight, bias, **how))
    flat = x.flatten(1)
    wide = torch.ones(5, flat.shape[1])
    torch.testing.assert_close(FP16_SUMS["linear"](flat, wide), F.linear(flat, wide))
    torch.testing.assert_close(FP16_SUMS["reduce_sum"](x, [1, 3]), x.sum((1, 3)))
    torch.testing.assert_close(FP16_SUMS["reduce_mean"](x), x.mean(), atol=1e-3, rtol=0)


def test_a_mean_over_a_picture_passes_65504() -> None:
    flat = torch.full((1, 1, 8, 8), 1024.0)
    assert OPS["reduce_mean"](flat) == 1024
    assert FP16_SUMS["reduce_mean"](flat) == math.inf
    assert FP16_SUMS["reduce_mean"](flat[..., :7]) == 1024


def test_an_instance_norm_loses_its_contrast_in_its_squares() -> None:
    x = 100 * torch.randn((1, 2, 16, 16), generator=torch.Generator().manual_seed(0))
    norm = FP16_SUMS["instance_norm"]
    assert norm(x).abs().max() == 0  # divided by infinity
    torch.testing.assert_close(norm(x / 128, epsilon=1e-9), OPS["instance_norm"](x), atol=5e-3, rtol=0)


def test_sums_in_fp16_are_traced_too(picture: Image, tmp_path: Path) -> None:
    net = Do(lambda x: torch.sigmoid(x * 8192 - (x * 8192).mean((2, 3), keepdim=True)))
    path = saved(convert(net, [ct.TensorType("x", SHAPE)]), tmp_path / "mean.mlpackage")
    means = [next(row for row in trace(path, picture, sums) if row.type == "reduce_mean") for sums in (False, True)]
    assert means[0].snr_db > 60
    assert means[1].snr_db == -200
