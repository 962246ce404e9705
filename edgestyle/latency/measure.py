"""One subject timed in a process of its own, and two subjects in turn in one process.

Each subject has a process to itself so that its peak memory is its own, and so that a runtime may crash.

Two that are compared share one process and run in turn: a, b, b, a, and again. In processes of their own each switch
would also start with cold caches and a sleeping thread pool, and a pause between them lets the load of the machine
change, which is what pairing is to cancel. That the two share a heap does not show (`study.py`).

In a, b, b, a, over and over, each follows itself as often as the other, so that what a run leaves behind (a processor
that is busy or cool, a thread pool asleep) touches both alike, and a load that rises within a round falls out.
"""

from __future__ import annotations

import builtins
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from edgestyle import isolate
from edgestyle.latency.stats import Ratio, paired_ratio
from edgestyle.latency.subject import Subject
from edgestyle.manifest import Contract
from edgestyle.runner import Placement


@dataclass(frozen=True)
class Effort:
    """How long to go on measuring."""

    runs: int = 100
    """Timed runs: what p99 needs."""
    most_s: float = 10.0
    """No further run is begun after this, but for the `fewest`."""
    fewest: int = 5
    warmup_runs: int = 5
    warmup_s: float = 0.3
    """Warm-up goes on for both; a processor that slept needs some time to speed up."""
    rounds: int = 60
    """Of a comparison, two timed runs of each side."""
    settling_runs: int = 0
    """Of a comparison, not timed, before each timed run. What a network of fifty times the work leaves in the caches is
    not what an app's filter finds there, frame after frame; between networks of a kind it makes no difference."""
    fewest_rounds: int = 10
    most_rounds: int = 300
    """Where the interval is still wider than `precision` after `rounds`."""
    precision: float = 0.03
    """Half the width of the interval of a comparison at which it ends."""
    compare_most_s: float = 60.0
    limit_s: float = 600.0
    """For a process; it is ended then, and has failed."""

    def wants_more(self, runs: int, elapsed_s: float) -> bool:
        """Whether to time another run."""
        return runs < self.fewest or (runs < self.runs and elapsed_s < self.most_s)

    def wants_more_warmup(self, runs: int, elapsed_s: float) -> bool:
        """Whether to warm up further; one run will do for what takes seconds."""
        return runs < 1 or (elapsed_s < self.most_s / 2 and (runs < self.warmup_runs or elapsed_s < self.warmup_s))

    def wants_more_rounds(self, a: list[list[float]], b: list[list[float]], elapsed_s: float) -> bool:
        """Whether to compare further. Asks only how wide the interval is, never what it says: looking for a result
        until there is one would find one.
        """
        done = len(a)
        if done < self.fewest_rounds:
            return True
        if done >= self.most_rounds or elapsed_s >= self.compare_most_s:
            return False
        if done < self.rounds or done % 20:
            return True
        ratio = paired_ratio(a, b)
        return ratio.high / ratio.low > (1 + self.precision) ** 2


@dataclass(frozen=True)
class Timing:
    """What one process has to tell of its subject."""

    size: tuple[int, int]
    fixed: bool
    """Whether the subject has no other size."""
    contract: Contract | None
    placement: Placement | None
    init_ms: float
    """From the file on disk to ready to run; the time of importing Python packages is left out, an app has none."""
    first_ms: float
    """First run: allocates, packs weights, compiles shaders."""
    warmup_ms: tuple[float, ...]
    samples_ms: tuple[float, ...]
    """In the order of the runs."""
    peak_bytes: int = 0
    """Peak resident memory of the process, with Python and the runtime."""


def measure(subject: Subject, effort: Effort) -> Timing:
    """Time a subject in a process of its own.

    Raises:
        CheckError: The process crashed or hung.
        EdgestyleError: The subject cannot be opened or run.
    """
    outcome = isolate.call(time_here, subject, effort, limit_s=effort.limit_s)
    return replace(outcome.value, peak_bytes=outcome.peak_bytes)


def time_here(subject: Subject, effort: Effort) -> Timing:
    """Time a subject in this process."""
    with _import_time() as imports:
        began = time.perf_counter()
        ready = subject.open()
        init_ms = _ms(began) - sum(imports)
    with _no_garbage_collection():
        run = ready.bind()
        first_ms = _timed(run)
        warmup = _series(run, effort.wants_more_warmup)
        samples = _series(run, effort.wants_more)
    return Timing(
        size=ready.size,
        fixed=ready.fixed,
        contract=ready.contract,
        placement=ready.placement(),
        init_ms=init_ms,
        first_ms=first_ms,
        warmup_ms=tuple(warmup),
        samples_ms=tuple(samples),
    )


def compare(a: Subject, b: Subject, effort: Effort) -> Rounds:
    """Run two subjects in turn, in a process of their own.

    Raises:
        CheckError: The process crashed or hung.
        EdgestyleError: A subject cannot be opened or run.
    """
    return isolate.call(compare_here, a, b, effort, limit_s=effort.limit_s).value


@dataclass(frozen=True)
class Rounds:
    """Two runs of each of two subjects, in turn, many times; in ms."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[tuple[float, ...], ...]

    @property
    def ratio(self) -> Ratio:
        """How many times longer a takes than b."""
        return paired_ratio(self.a, self.b)

    def __add__(self, other: Rounds) -> Rounds:
        """All rounds of both."""
        return Rounds(self.a + other.a, self.b + other.b)


def confirmed(comparing: Callable[[], Rounds], threshold: float) -> Rounds:
    """What a gate is to judge: where a seems slower, `comparing` is done once more, and all rounds count.

    A 95 % interval lies above 1 by chance in 2.5 % of all comparisons, which a machine that is loud enough takes for
    large effects; that of both together then still does in under 1 %.
    """
    rounds = comparing()
    return rounds + comparing() if rounds.ratio.is_slower(threshold) else rounds


def compare_here(a: Subject, b: Subject, effort: Effort) -> Rounds:
    """Run two subjects in turn, in this process."""
    runs = [subject.open().bind() for subject in (a, b)]
    rounds: tuple[list[list[float]], list[list[float]]] = ([], [])
    with _no_garbage_collection():
        for run in runs:
            _series(run, effort.wants_more_warmup)
        began = time.perf_counter()
        while effort.wants_more_rounds(*rounds, time.perf_counter() - began):
            times: tuple[list[float], list[float]] = ([], [])
            for side in (0, 1, 1, 0):
                for _ in range(effort.settling_runs):
                    runs[side]()
                times[side].append(_timed(runs[side]))
            for side in (0, 1):
                rounds[side].append(times[side])
    return Rounds(*(tuple(map(tuple, side)) for side in rounds))


def _series(run: Callable[[], object], wants_more: Callable[[int, float], bool]) -> list[float]:
    times: list[float] = []
    began = time.perf_counter()
    while wants_more(len(times), time.perf_counter() - began):
        times.append(_timed(run))
    return times


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    told = run()
    return told * 1e3 if isinstance(told, float) else _ms(began)


def _ms(began: float) -> float:
    return (time.perf_counter() - began) * 1e3


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _import_time() -> Iterator[list[float]]:
    """Within, the duration of each outermost import in ms is added to the list."""
    original, durations, depth = builtins.__import__, list[float](), 0

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        began, depth = time.perf_counter(), depth + 1
        try:
            return original(*args, **kwargs)
        finally:
            depth -= 1
            if not depth:
                durations.append(_ms(began))

    builtins.__import__ = timed
    try:
        yield durations
    finally:
        builtins.__import__ = original
