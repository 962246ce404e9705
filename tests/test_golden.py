"""The golden bundle, used as an app uses it: nothing of the exporter's code prepares the photo here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

from edgestyle import golden, images
from edgestyle.checkpoint import Checkpoint
from edgestyle.errors import ConfigError
from edgestyle.manifest import Golden

MULTIPLE = 8
SIZES = ((64, 96), (512, 256), (704, 704), None)
"""Scaled down, with bars at top and bottom; the same, upright; scaled up; and not scaled at all."""


@dataclass(frozen=True)
class Case:
    folder: Path
    size: tuple[int, int] | None
    golden: Golden

    def tensor(self, name: str) -> images.Image:
        return golden.read_tensor(self.folder / name, self.golden.size)


@pytest.fixture(scope="module", params=SIZES, ids=str)
def case(request: pytest.FixtureRequest, tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("golden")
    net = tiny_checkpoint.network()

    def paint(picture: images.Image) -> images.Image:
        with torch.inference_mode():
            return net(torch.from_numpy(picture)).numpy()

    return Case(folder, request.param, golden.write(folder, "tiny", paint, request.param, MULTIPLE, 35))


def weights(n: int, m: int) -> NDArray[np.float64]:
    """docs/manifest.md's filter as a matrix (m, n): written from its words, to see that they say enough."""
    matrix = np.zeros((m, n))
    r = n / m
    f = max(1.0, r)
    for i in range(m):
        c = (i + 0.5) * r
        for j in range(max(0, math.floor(c - 3 * f + 0.5)), min(n, math.floor(c + 3 * f + 0.5))):
            x = (j + 0.5 - c) / f
            matrix[i, j] = np.sinc(x) * np.sinc(x / 3) if abs(x) < 3 else 0
        matrix[i] /= matrix[i].sum()
    return matrix


def by_the_book(photo: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.float64]:
    """docs/manifest.md's `resize` of pixels (h, w, 3), as (H, W, 3) in [0, 1]."""
    h, w = photo.shape[:2]
    values = photo / 255.0
    if size is None:
        return np.pad(values, ((0, -h % MULTIPLE), (0, -w % MULTIPLE), (0, 0)), mode="reflect")
    height, width = size
    s = min(height / h, width / w)
    h_, w_ = max(1, math.floor(h * s + 0.5)), max(1, math.floor(w * s + 0.5))
    scaled = np.clip(np.einsum("ih,jw,hwc->ijc", weights(h, h_), weights(w, w_), values, optimize=True), 0, 1)
    top, left = (height - h_) // 2, (width - w_) // 2
    return np.pad(scaled, ((top, height - h_ - top), (left, width - w_ - left), (0, 0)), mode="reflect")


def test_the_documented_rule_makes_the_tensor(case: Case) -> None:
    with PIL.Image.open(case.folder / case.golden.photo.name) as stored:
        assert stored.getexif()[0x0112] == 6
        upright = np.rot90(np.asarray(stored), -1)
    made = by_the_book(upright, case.size)
    assert np.abs(made - case.tensor(case.golden.tensor.name)[0].transpose(1, 2, 0)).max() <= 1e-5
    assert case.golden.size == (case.size or (400, 600))


@pytest.mark.parametrize("spoil", ["not turned", "other filter", "blue first", "stretched"])
def test_what_is_done_wrong_is_far_off(case: Case, spoil: str) -> None:
    top, left, height, width = case.golden.window
    there = case.tensor(case.golden.tensor.name)[:, :, top : top + height, left : left + width]
    photo = images.read(case.folder / case.golden.photo.name)
    if spoil == "other filter" and case.size is None:
        return  # at a free size nothing is scaled
    if spoil == "not turned":
        photo = np.rot90(photo, axes=(2, 3))
    if spoil == "blue first":
        photo = photo[:, ::-1]
    if spoil == "stretched":
        photo = photo[:, :, 8:]
    nearest = PIL.Image.Resampling.NEAREST if spoil == "other filter" else PIL.Image.Resampling.LANCZOS
    made = images.from_uint8(np.asarray(PIL.Image.fromarray(images.to_uint8(photo)).resize((width, height), nearest)))
    assert np.abs(made - there).max() > 10 * case.golden.max_error


def test_its_files_agree(case: Case) -> None:
    tensor, seen = case.tensor(case.golden.tensor.name), images.read(case.folder / case.golden.input.name)
    assert np.abs(seen - tensor).max() <= 0.5001 / 255
    expected, painted = (
        case.tensor(case.golden.expected_tensor.name),
        images.read(case.folder / case.golden.expected.name),
    )
    assert np.abs(painted - expected).max() <= 0.5001 / 255
    assert case.golden.min_psnr_db == 35


def test_a_tensor_that_is_missing_or_cut_short_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"t\.f32 is missing; export it again"):
        golden.read_tensor(tmp_path / "t.f32", (2, 2))
    (tmp_path / "t.f32").write_bytes(bytes(40))
    with pytest.raises(ConfigError, match="holds 10 numbers, not 2 x 2 x 3"):
        golden.read_tensor(tmp_path / "t.f32", (2, 2))
