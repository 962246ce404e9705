"""The measures against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgestyle.drift import PSNR_CEILING_DB, Drift, measure, worst
from edgestyle.errors import CheckError


def picture(value: float, batch: int = 1) -> NDArray[np.float32]:
    return np.full((batch, 3, 8, 8), value, np.float32)


def test_equal_pictures_reach_the_ceiling() -> None:
    assert measure(picture(0.25), picture(0.25)) == Drift(PSNR_CEILING_DB, 0, 0, 1)


@pytest.mark.parametrize(("step", "psnr_db"), [(0.5, 6.0206), (0.125, 18.0618), (2**-10, 60.2060)])
def test_a_constant_step_has_psnr_minus_20_log10_of_it(step: float, psnr_db: float) -> None:
    drift = measure(picture(0.25 + step), picture(0.25))
    assert drift.psnr_db == pytest.approx(psnr_db, abs=1e-4)
    assert drift.max_abs == drift.mean_abs == step


def test_one_wrong_value() -> None:
    """1 of 192 values is off by 0.5: mean |d| = 0.5 / 192, mean d^2 = 0.25 / 192, PSNR = 10 log10(768) dB."""
    actual = picture(0.25)
    actual[0, 1, 2, 3] += 0.5
    drift = measure(actual, picture(0.25))
    assert drift.max_abs == 0.5
    assert drift.mean_abs == pytest.approx(0.5 / 192)
    assert drift.psnr_db == pytest.approx(28.8536, abs=1e-4)


def test_ssim_of_constant_pictures_is_its_luminance_term() -> None:
    """No contrast, no structure: SSIM = (2 a b + c) / (a^2 + b^2 + c) with c = 0.01^2 (Wang et al. 2004)."""
    drift = measure(picture(0.75), picture(0.25))
    assert drift.ssim == pytest.approx((2 * 0.75 * 0.25 + 1e-4) / (0.75**2 + 0.25**2 + 1e-4), rel=1e-6)


def test_ssim_is_the_mean_over_the_batch() -> None:
    reference = picture(0.25, batch=2)
    actual = reference.copy()
    actual[1] = 0.75
    single = measure(actual[1:], reference[1:]).ssim
    assert measure(actual, reference).ssim == pytest.approx((1 + single) / 2)


def test_another_shape_is_refused() -> None:
    with pytest.raises(CheckError, match=r"\(1, 3, 8, 8\).*\(2, 3, 8, 8\) was expected"):
        measure(picture(0), picture(0, batch=2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(value: float) -> None:
    actual = picture(0)
    actual[0, 0, 0, 0] = value
    with pytest.raises(CheckError, match="NaN or infinity"):
        measure(actual, picture(0))


def test_worst_takes_each_measure_from_wherever_it_is_worst() -> None:
    drifts = [Drift(50, 0.1, 0.01, 0.99), Drift(60, 0.2, 0.001, 0.9), Drift(70, 0.05, 0.02, 0.95)]
    assert worst(iter(drifts)) == Drift(50, 0.2, 0.02, 0.9)
