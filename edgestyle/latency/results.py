"""What was measured, as it stands in reports and in `bench --json`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from edgestyle.latency import stats
from edgestyle.latency.machine import Machine
from edgestyle.latency.measure import Rounds, Timing
from edgestyle.latency.roofline import Peak
from edgestyle.latency.stats import Ratio
from edgestyle.latency.work import Work
from edgestyle.manifest import Status


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Artifact(_Model):
    """What was to be measured."""

    artifact: str
    """A file, or a checkpoint's folder."""
    model: str
    target: str
    scheme: str
    """ "unknown" for somebody else's file."""
    delegate: str
    emulated: bool = False
    """The delegate stands in for hardware that is not here: its times say nothing of that hardware."""
    device: str = ""
    """A phone or browser by its own name; "" for this machine."""
    manifest: bool = True
    """Whether there is a manifest beside the file."""
    bytes: int
    """On disk."""


class Result(Artifact):
    """One artifact on one delegate at one size. What could not be measured is None."""

    size: tuple[int, int] | None = None
    """Height and width in pixels."""
    status: Status
    reason: str = ""
    """Why it failed or could not run here."""
    runs: int = 0
    """Timed runs; more than `samples_ms` where a phone's tool tells their median and minimum only."""
    init_ms: float | None = None
    first_ms: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    """None of fewer than 10 runs."""
    p99_ms: float | None = None
    """None of fewer than 100 runs."""
    min_ms: float | None = None
    mad_ms: float | None = None
    hot: bool = False
    """The last quarter of the runs was slower than the first: the device may have throttled."""
    warmup_ms: tuple[float, ...] = ()
    samples_ms: tuple[float, ...] = ()
    peak_mb: float | None = None
    """Of a process that does nothing else, Python and the runtime (60 to 100 MB) included."""
    tile: int | None = None
    """Side of the tiles it was painted in, in pixels; None for the picture as a whole."""
    delegated: tuple[int, int] | None = None
    """Operations that ran on the delegate, and all."""
    gmac: float | None = None
    params: int | None = None
    moved_mb: float | None = None
    gflops: float | None = None
    """Achieved."""
    roofline: float | None = None
    """`gflops` as a share of what this machine can do at so many operations a byte, in 32-bit floats."""

    @property
    def label(self) -> str:
        """What it is, for people."""
        name = self.artifact.rstrip("/").rpartition("/")[2]
        where = f"{self.delegate} on {self.device}" if self.device else self.delegate
        return f"{name} on {where}"

    @property
    def measured(self) -> bool:
        """Whether there are times."""
        return self.runs > 0

    @property
    def megapixels(self) -> float:
        """Of the picture."""
        return self.size[0] * self.size[1] / 1e6 if self.size else 0.0


def timed(
    artifact: Artifact,
    timing: Timing,
    work: Work | None = None,
    peak: Peak | None = None,
    tile: int | None = None,
    status: Status = "passed",
    reason: str = "",
) -> Result:
    """The result of a subject that ran at least once after its warm-up."""
    summary = stats.summarise(timing.samples_ms)
    placement = timing.placement
    return Result(
        **dict(artifact),
        size=timing.size,
        status=status,
        reason=reason,
        runs=summary.count,
        init_ms=_ms(timing.init_ms),
        first_ms=_ms(timing.first_ms),
        p50_ms=_ms(summary.p50),
        p90_ms=_ms(summary.p90),
        p99_ms=_ms(summary.p99),
        min_ms=_ms(summary.min),
        mad_ms=_ms(summary.mad),
        hot=stats.is_hot(timing.samples_ms),
        warmup_ms=tuple(round(sample, 4) for sample in timing.warmup_ms),
        samples_ms=tuple(round(sample, 4) for sample in timing.samples_ms),
        peak_mb=round(timing.peak_bytes / 1e6, 1) if timing.peak_bytes else None,
        tile=tile,
        delegated=(placement.delegated, placement.total) if placement else None,
        **(limits(work, summary.p50, peak) if work else {}),
    )


def limits(work: Work, p50_ms: float, peak: Peak | None = None) -> dict[str, Any]:
    """The fields of a result that say how much was computed, and how fast."""
    gflops = 2 * work.gmac / (p50_ms / 1e3)
    return {
        "gmac": round(work.gmac, 4),
        "params": work.params,
        "moved_mb": round(work.moved / 1e6, 2),
        "gflops": round(gflops, 2),
        "roofline": round(gflops / peak.attainable(work.intensity), 4) if peak and work.gmac else None,
    }


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


class Comparison(_Model):
    """One artifact against another on this machine, or against its own earlier result."""

    a: str
    b: str
    ratio: float
    """How many times longer a takes than b."""
    ci95: tuple[float, float]
    interleaved: bool
    """Whether they ran in turn, so that the machine's other load falls out."""
    gated: bool = False
    """Whether a being slower is a failure."""
    verdict: str
    """ "slower" or "faster" if the interval excludes 1 and the effect is over the threshold; "no proven change"."""
    rounds_ms: tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]] | None = None
    """Raw samples of a and b by round, where they ran in turn."""

    @property
    def regressed(self) -> bool:
        """Whether this fails the run."""
        return self.gated and self.verdict == "slower"


def compared(
    a: str, b: str, ratio: Ratio, threshold: float, rounds: Rounds | None = None, gated: bool = False
) -> Comparison:
    """A comparison and its verdict."""
    slower, faster = ratio.is_slower(threshold), ratio.is_faster(threshold)
    return Comparison(
        a=a,
        b=b,
        ratio=round(ratio.value, 4),
        ci95=(round(ratio.low, 4), round(ratio.high, 4)),
        interleaved=rounds is not None,
        gated=gated,
        verdict="slower" if slower else "faster" if faster else "no proven change",
        rounds_ms=(rounds.a, rounds.b) if rounds else None,
    )


class Check(_Model):
    """A budget of edgestyle.toml, held against a result."""

    name: str
    status: Status
    reason: str


class Report(_Model):
    """Everything that one `bench` has found."""

    machine: Machine
    peak: Peak | None
    """What the machine can do at most; None if it was not measured."""
    results: tuple[Result, ...]
    comparisons: tuple[Comparison, ...] = ()
    budgets: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know: what was not compared and why, that the machine was busy, that it was interrupted."""
    layers: dict[str, tuple[tuple[str, str, int, int, int], ...]] = {}
    """By artifact: name, operation, multiplications, weights and bytes moved of each layer."""
    passed: bool


def verdict(results: tuple[Result, ...], comparisons: tuple[Comparison, ...], budgets: tuple[Check, ...]) -> bool:
    """Whether nothing failed, something could be measured, nothing regressed and every budget holds."""
    measured = any(result.status == "passed" for result in results)
    failed = "failed" in [*(result.status for result in results), *(budget.status for budget in budgets)]
    return measured and not failed and not any(comparison.regressed for comparison in comparisons)
