"""How far one picture is from another: the one comparison used for every target, scheme and delegate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgestyle.errors import CheckError

PSNR_CEILING_DB = 200.0
"""PSNR of equal pictures is infinite; it is given as this, so that a report stays a number."""


@dataclass(frozen=True)
class Drift:
    """Distance of an exported network's picture from the float network's, both in [0, 1]."""

    psnr_db: float
    """Peak signal-to-noise ratio in dB with peak 1.0: `-10 log10(mean((a - b)^2))`, at most 200."""
    max_abs: float
    """Largest absolute difference of any value."""
    mean_abs: float
    """Mean absolute difference."""
    ssim: float
    """Structural similarity (Wang et al. 2004), data range 1.0, mean over channels; 1 is equal."""


def measure(actual: NDArray[np.float32], reference: NDArray[np.float32]) -> Drift:
    """Drift of `actual` from `reference`, computed in float64.

    Shapes: (B, 3, H, W) RGB in [0, 1], both the same; H and W at least 7 (SSIM's window).

    Raises:
        CheckError: The shapes differ, or `actual` holds NaN or infinity.
    """
    from skimage.metrics import structural_similarity

    if actual.shape != reference.shape:
        raise CheckError(f"the output has shape {actual.shape}; {reference.shape} was expected")
    if not np.isfinite(actual).all():
        raise CheckError("the output holds NaN or infinity")
    a, b = actual.astype(np.float64), reference.astype(np.float64)
    difference = np.abs(a - b)
    ssim = np.mean([structural_similarity(x, y, data_range=1.0, channel_axis=0) for x, y in zip(a, b, strict=True)])
    return Drift(
        psnr_db=psnr(np.square(difference).mean()),
        max_abs=float(difference.max()),
        mean_abs=float(difference.mean()),
        ssim=float(ssim),
    )


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error, peak 1.0: `-10 log10(mse)` dB, at most `PSNR_CEILING_DB`."""
    return min(-10 * math.log10(mse), PSNR_CEILING_DB) if mse > 0 else PSNR_CEILING_DB


def worst(drifts: Iterable[Drift]) -> Drift:
    """The worst value of each measure over several pictures: a gate must hold for every one of them."""
    drifts = list(drifts)
    return Drift(
        psnr_db=min(d.psnr_db for d in drifts),
        max_abs=max(d.max_abs for d in drifts),
        mean_abs=max(d.mean_abs for d in drifts),
        ssim=min(d.ssim for d in drifts),
    )
