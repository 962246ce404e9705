"""What durations say, on samples worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgestyle.latency import stats
from edgestyle.latency.stats import Ratio


@pytest.mark.parametrize(("percent", "needed"), [(50, 2), (90, 10), (95, 20), (99, 100)])
def test_a_percentile_needs_a_sample_above_it(percent: float, needed: int) -> None:
    assert stats.runs_needed(percent) == needed
    assert stats.percentile(range(needed - 1), percent) is None
    assert stats.percentile(range(needed), percent) is not None


def test_numbers_of_ten_samples() -> None:
    summary = stats.summarise([5, 1, 2, 3, 4, 6, 7, 8, 9, 100])
    assert summary == stats.Summary(count=10, min=1, p50=5.5, p90=pytest.approx(18.1), p99=None, mad=2.5)


def test_numbers_of_a_single_sample() -> None:
    assert stats.summarise([3.0]) == stats.Summary(count=1, min=3, p50=3, p90=None, p99=None, mad=0)


def test_the_paired_ratio_is_the_median_of_the_rounds_ratios() -> None:
    a = [[20, 20], [40, 40], [90, 110]]  # medians 20, 40, 100 by 10, 10, 10
    b = [[10, 10], [5, 15], [10, 10]]
    assert stats.paired_ratio(a, b).value == pytest.approx(4)


def test_a_load_on_both_sides_of_a_round_falls_out() -> None:
    load = np.random.default_rng(1).uniform(1, 5, 40)
    a, b = [[12 * x] * 2 for x in load], [[10 * x] * 2 for x in load]
    paired, apart = stats.paired_ratio(a, b), stats.ratio_of_medians([x[0] for x in a], [x[0] for x in b])
    assert paired.value == paired.low == paired.high == pytest.approx(1.2)
    assert apart.low < 1 < apart.high


def test_the_ratio_of_medians() -> None:
    ratio = stats.ratio_of_medians([30, 20, 40], [10, 10, 10])
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3, 2, 4))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        rounds = np.exp(random.normal(0, 0.1, (2, 60, 2)))
        ratio = stats.paired_ratio((1.1 * rounds[0]).tolist(), rounds[1].tolist())
        held += ratio.low <= 1.1 <= ratio.high
    assert 180 <= held <= 199


def test_equal_samples_give_an_equal_interval() -> None:
    samples = ([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    assert stats.ratio_of_medians(*samples) == stats.ratio_of_medians(*samples)


@pytest.mark.parametrize(
    ("ratio", "slower", "faster"),
    [
        (Ratio(1.2, 1.1, 1.3), True, False),
        (Ratio(1.2, 0.9, 1.5), False, False),  # not proven
        (Ratio(1.05, 1.04, 1.06), False, False),  # does not matter
        (Ratio(0.8, 0.7, 0.9), False, True),
        (Ratio(0.95, 0.94, 0.96), False, False),
        (Ratio(0.8, 0.6, 1.1), False, False),
    ],
)
def test_slower_is_what_is_proven_and_matters(ratio: Ratio, slower: bool, faster: bool) -> None:
    assert (ratio.is_slower(0.1), ratio.is_faster(0.1)) == (slower, faster)


def test_runs_that_become_slower_are_hot() -> None:
    assert stats.is_hot([10.0] * 25 + [11.0] * 25)
    assert not stats.is_hot([10.0] * 25 + [10.2] * 25)  # under 5 %
    assert not stats.is_hot([11.0] * 25 + [10.0] * 25)
    assert stats.heating([10.0] * 19) is None


def test_runs_that_only_vary_are_not_hot() -> None:
    flags = [stats.is_hot(np.random.default_rng(i).lognormal(0, 0.1, 100).tolist()) for i in range(50)]
    assert sum(flags) <= 5
