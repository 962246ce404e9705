"""From what was seen of a value to the range that its integers will cover.

A range that covers the rarest outlier spends its 256 steps on numbers that hardly occur; one that cuts them off keeps
fine steps for the rest. Each observer strikes that balance in its own way. docs/quantization.md compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

BINS = 2048
LEVELS = 256
"""Steps of the 8 bits for which a range is chosen."""
_SHRINKS = np.linspace(0.3, 1.0, 29)
"""Parts of the whole range that are tried."""


@dataclass(frozen=True)
class Histogram:
    """What was seen of a value over all calibration photos."""

    low: float
    high: float
    """Smallest and largest number."""
    counts: NDArray[np.float64]
    """How many numbers fell into each of `BINS` equal parts between them."""

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each part."""
        edges = np.linspace(self.low, self.high, BINS + 1)
        centres: NDArray[np.float64] = (edges[:-1] + edges[1:]) / 2
        return centres


def minmax(seen: Histogram) -> tuple[float, float]:
    """All of it."""
    return seen.low, seen.high


def percentile(seen: Histogram, share: float = 1e-4) -> tuple[float, float]:
    """All but the rarest: `share` of the numbers lies outside, half of it at each end."""
    cumulated = np.cumsum(seen.counts) / seen.counts.sum()
    step = (seen.high - seen.low) / BINS
    first = int(np.searchsorted(cumulated, share / 2, side="right"))
    last = int(np.searchsorted(cumulated, 1 - share / 2, side="left"))
    return seen.low + first * step, seen.low + (min(last, BINS - 1) + 1) * step


def mse(seen: Histogram) -> tuple[float, float]:
    """The range with the least mean squared error of rounding and cutting off together (Sung et al. 2015)."""

    def error(low: float, high: float) -> float:
        low, high = min(low, 0.0), max(high, 0.0)
        step = max(high - low, 1e-9) / (LEVELS - 1)
        outside = seen.centres - seen.centres.clip(low, high)
        inside = (outside == 0) * step**2 / 12
        return float(((outside**2 + inside) * seen.counts).sum())

    return _search(seen, error)


def entropy(seen: Histogram) -> tuple[float, float]:
    """The range whose integers keep most of the distribution: least Kullback-Leibler divergence (Migacz 2017).

    Zeros are not counted, as there: every range keeps them exactly, and after a ReLU they would outweigh the rest.
    """
    seen = replace(seen, counts=seen.counts * (np.abs(seen.centres) > (seen.high - seen.low) / BINS))

    def divergence(low: float, high: float) -> float:
        kept = (seen.centres >= low) & (seen.centres <= high)
        if kept.sum() < LEVELS:
            return np.inf
        counts = seen.counts[kept]
        clipped = counts.copy()
        clipped[0] += seen.counts[seen.centres < low].sum()
        clipped[-1] += seen.counts[seen.centres > high].sum()
        level = np.arange(len(counts)) * LEVELS // len(counts)
        occupied = counts > 0
        mean = np.bincount(level, counts, LEVELS) / np.maximum(np.bincount(level, occupied, LEVELS), 1)
        rounded = np.where(occupied, mean[level], 0)
        p, q = clipped / clipped.sum(), rounded / max(rounded.sum(), 1e-12)
        present = p > 0
        return float((p[present] * np.log(p[present] / np.maximum(q[present], 1e-12))).sum())

    return _search(seen, divergence)


def _search(seen: Histogram, cost: Callable[[float, float], float]) -> tuple[float, float]:
    """The cheapest of all ranges with either end drawn in; a tie goes to the widest."""
    candidates = [(seen.low * a, seen.high * b) for a in _SHRINKS[::-1] for b in _SHRINKS[::-1]]
    return min(candidates, key=lambda ends: cost(*ends))


OBSERVERS: Mapping[str, Callable[[Histogram], tuple[float, float]]] = {
    "minmax": minmax,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
}
DEFAULT = "percentile"
