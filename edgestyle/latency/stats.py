"""What durations say. Pure functions of lists of durations, in whatever unit; nothing here runs or reads anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.10
"""Smallest change that matters, as a fraction. On shared machines less than this cannot be told from luck."""
_RESAMPLES = 2000
_SEED = 7
"""Bootstraps draw the same every time, so that equal samples give equal reports."""
_FEWEST_FOR_HEATING = 20
_HEATING = 0.05


def runs_needed(percent: float) -> int:
    """Samples that a percentile needs for one of them, on average, to lie above it: 10 for p90, 100 for p99."""
    return math.ceil(round(100 / (100 - percent), 9))


def percentile(samples: Sequence[float], percent: float) -> float | None:
    """What `percent` % of the samples do not exceed, interpolated between two; None if there are too few."""
    if len(samples) < runs_needed(percent):
        return None
    return float(np.percentile(samples, percent))


@dataclass(frozen=True)
class Summary:
    """A list of durations in a few numbers, in its own unit."""

    count: int
    min: float
    p50: float
    p90: float | None
    p99: float | None
    """Percentiles are None where there are fewer samples than `runs_needed`."""
    mad: float
    """Median absolute deviation from the median, unscaled."""


def summarise(samples: Sequence[float]) -> Summary:
    """Numbers of at least one sample."""
    p50 = float(np.median(samples))
    mad = float(np.median(np.abs(np.asarray(samples) - p50)))
    return Summary(len(samples), min(samples), p50, percentile(samples, 90), percentile(samples, 99), mad)


# One against another ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    """How many times longer one takes than another, with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def is_slower(self, threshold: float = THRESHOLD) -> bool:
        """Whether it is proven (the interval excludes 1) and matters (the effect is over the threshold)."""
        return self.low > 1 and self.value > 1 + threshold

    def is_faster(self, threshold: float = THRESHOLD) -> bool:
        """The same the other way round."""
        return self.high < 1 and self.value < 1 / (1 + threshold)


def paired_ratio(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Ratio:
    """How many times longer a takes than b, from rounds in which both ran in turn.

    In each round, the median of a's runs by the median of b's; of these ratios, the median. A load that comes and goes
    changes both sides of a round alike and falls out; the ratio of the medians of all runs has 1.5 to 2 times its error
    on a busy machine. The bootstrap draws rounds.

    Args:
        a: Rounds of durations.
        b: As many rounds.
    """
    logs = np.array([math.log(np.median(x) / np.median(y)) for x, y in zip(a, b, strict=True)])
    return _ratio(float(np.median(logs)), np.median(_drawn(logs), axis=1))


def ratio_of_medians(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """How many times longer a takes than b, from samples taken apart. The bootstrap draws from each list by itself.

    What the machine did differently between the two times is not in the interval.
    """
    value = math.log(np.median(a) / np.median(b))
    logs = np.log(np.median(_drawn(np.asarray(a), 0), axis=1)) - np.log(np.median(_drawn(np.asarray(b), 1), axis=1))
    return _ratio(value, logs)


def heating(samples: Sequence[float]) -> Ratio | None:
    """How many times longer the last quarter of the runs took than the first; None of fewer than 20 runs.

    A processor that gets hot slows down, so `is_hot` of this is a flag: look whether the device throttles.
    """
    if len(samples) < _FEWEST_FOR_HEATING:
        return None
    quarter = len(samples) // 4
    return ratio_of_medians(samples[-quarter:], samples[:quarter])


def is_hot(samples: Sequence[float]) -> bool:
    """Whether runs became slower, by more than 5 % and by more than chance."""
    ratio = heating(samples)
    return ratio is not None and ratio.is_slower(_HEATING)


def _drawn(values: NDArray[np.float64], stream: int = 0) -> NDArray[np.float64]:
    """`values` drawn again, as many with replacement, in each of many rows."""
    chosen = np.random.default_rng((_SEED, stream)).integers(0, len(values), (_RESAMPLES, len(values)))
    return values[chosen]


def _ratio(value: float, logs: NDArray[np.float64]) -> Ratio:
    low, high = np.percentile(logs, (2.5, 97.5))
    return Ratio(math.exp(value), math.exp(low), math.exp(high))
