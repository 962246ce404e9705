"""The evaluator on other people's style networks: free sizes, colours and ranges as they come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from foreign_networks import Johnson, convert, ct, saved
from torch import Tensor

from edgestyle.errors import ConfigError, UsageError
from edgestyle.images import Image
from edgestyle.runners.coreml_evaluator import RUNNER

MEAN = (103.0, 116.0, 123.0)


@pytest.fixture(scope="module")
def net() -> Johnson:
    return Johnson().eval().requires_grad_(False)


def photo(height: int, width: int) -> Image:
    crop = skimage.data.coffee()[100 : 100 + height, 200 : 200 + width].astype(np.float32) / 255
    return np.ascontiguousarray(crop.transpose(2, 0, 1)[None])


def psnr(actual: Image, expected: Tensor) -> float:
    return float(-10 * np.log10(np.square(actual - expected.numpy()).mean() + 1e-20))


def free(low: int = 32, high: int = 128) -> Any:
    return ct.Shape((1, 3, ct.RangeDim(low, high, 64), ct.RangeDim(low, high, 96)))


FLOAT32 = {"compute_precision": ct.precision.FLOAT32}
TWO_SIZES = ct.EnumeratedShapes([(1, 3, 64, 96), (1, 3, 48, 48)], default=(1, 3, 64, 96))


def centred(x: Tensor) -> Tensor:
    """What an image with a bias comes to inside the model, blue first."""
    return x.flip(1) * 255 - torch.tensor(MEAN).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("inputs", "outputs", "options", "sizes", "encode", "decode", "at_least"),
    [
        pytest.param(
            [ct.TensorType("x", (1, 3, 64, 96))], None, FLOAT32, [(64, 96)],
            lambda x: x * 255, lambda y: y, 100, id="an array of 0 to 255 in fp32",
        ),
        pytest.param(
            [ct.TensorType("x", free())], None, {}, [(64, 96), (48, 32)],
            lambda x: x * 255, lambda y: y, 50, id="an array of free size",
        ),
        pytest.param(
            [ct.ImageType("x", TWO_SIZES, color_layout="BGR")], [ct.ImageType("y", color_layout="BGR")], {},
            [(64, 96), (48, 48)], lambda x: x.flip(1) * 255, lambda y: y.flip(1), 50, id="images of two sizes in BGR"
        ),
        pytest.param(
            [ct.ImageType("x", free(), scale=1.0, bias=[-m for m in MEAN], color_layout="BGR")], None, {},
            [(64, 96), (40, 56)], centred, lambda y: y, 50, id="an image with a bias, to an array",
        ),
    ],
)  # fmt: skip
def test_it_agrees_with_torch(
    inputs: list[Any],
    outputs: list[Any] | None,
    options: dict[str, Any],
    sizes: list[tuple[int, int]],
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    at_least: float,
    net: Johnson,
    tmp_path: Path,
) -> None:
    session = RUNNER.open(saved(convert(net, inputs, outputs, **options), tmp_path / "theirs.mlpackage"))
    assert session.contract is None
    assert session.size == (sizes[0] if len(sizes) == 1 else None)
    for size in sizes:
        picture = photo(*size)
        with torch.inference_mode():
            expected = decode(net(encode(torch.from_numpy(picture)))) / 255
        assert psnr(session.run(picture), expected) >= at_least
    with pytest.raises(UsageError, match=r"takes pictures of .* pixels, not 24x200; resize it first"):
        session.run(photo(200, 24))


class Unit(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1.2 * x - 0.1


def test_an_array_that_stays_near_one_is_taken_to_end_there(tmp_path: Path) -> None:
    session = RUNNER.open(saved(convert(Unit(), [ct.TensorType("x", (1, 3, 64, 96))]), tmp_path / "unit.mlpackage"))
    picture = photo(64, 96)
    np.testing.assert_allclose(session.run(picture), np.clip(1.2 * picture - 0.1, 0, 1), atol=2e-3)


def test_models_of_the_old_kind_are_refused_in_one_line(tmp_path: Path) -> None:
    old = convert(
        Unit(), [ct.TensorType("x", (1, 3, 64, 96))], convert_to="neuralnetwork", minimum_deployment_target=None
    )
    with pytest.raises(ConfigError, match=r"model of the old kind; convert with convert_to='mlprogram'"):
        RUNNER.open(saved(old, tmp_path / "old.mlmodel"))
