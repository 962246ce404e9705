"""How often the verdict of a comparison is wrong.

`python -m edgestyle.latency.study FILE` compares a file with itself many times, as `edgestyle bench` does, and counts
how often it is called slower; then it makes one side slower on purpose, and counts how often that is seen.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edgestyle.latency import machine
from edgestyle.latency.measure import Effort, compare
from edgestyle.latency.stats import THRESHOLD, Ratio
from edgestyle.latency.subject import File, Ready, Subject
from edgestyle.runner import runners_for


@dataclass(frozen=True)
class Slowed:
    """A subject that takes `factor` times longer: after each run, the processor turns in circles."""

    subject: Subject
    factor: float

    def open(self) -> Ready:
        """See `Subject`."""
        ready = self.subject.open()

        def bind() -> Callable[[], None]:
            run = ready.bind()

            def slowly() -> None:
                began = time.perf_counter()
                run()
                end = began + (time.perf_counter() - began) * self.factor
                while time.perf_counter() < end:
                    pass

            return slowly

        return Ready(bind, ready.size)


@dataclass(frozen=True)
class Trials:
    """Many comparisons of the same two."""

    factor: float
    """How much slower one side was made; 1 for not at all."""
    ratios: tuple[Ratio, ...]
    seconds: float
    """Median duration of a comparison, the start of its process included."""

    @property
    def flagged(self) -> int:
        """How many were called slower."""
        return sum(ratio.is_slower(THRESHOLD) for ratio in self.ratios)

    def __str__(self) -> str:
        values = sorted(ratio.value for ratio in self.ratios)
        return (
            f"{self.factor:g} times: called slower in {self.flagged} of {len(values)} "
            f"({self.flagged / len(values):.1%}); ratio {values[0]:.3f} to {values[-1]:.3f}, "
            f"median {median(values):.3f}; {self.seconds:.1f} s each"
        )


def trials(subject: Subject, factor: float, count: int, effort: Effort) -> Trials:
    """Compare a slowed subject with itself, `count` times, each in a fresh process."""
    ratios, seconds = [], []
    for done in range(count):
        began = time.monotonic()
        ratios.append(compare(Slowed(subject, factor), subject, effort).ratio)
        seconds.append(time.monotonic() - began)
        print(f"\r{factor:g} times: {done + 1} of {count}", end="", file=sys.stderr, flush=True)  # noqa: T201
    print(file=sys.stderr)  # noqa: T201
    return Trials(factor, tuple(ratios), median(seconds))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m edgestyle.latency.study", description=__doc__)
    parser.add_argument("file", type=Path, help="an exported file; its first delegate that works here is used")
    parser.add_argument("--trials", type=int, default=200, metavar="N", help="comparisons of each kind; default: 200")
    parser.add_argument("--slowdown", type=float, default=15, metavar="PERCENT", help="default: 15")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every ratio and interval as JSON")
    args = parser.parse_args()
    runner = next(runner for runner in runners_for(args.file) if runner.probe().status == "works")
    subject = File(args.file, runner.name)
    before = machine.describe()
    found = [trials(subject, factor, args.trials, Effort()) for factor in (1, 1 + args.slowdown / 100)]
    after = machine.describe()
    load = f"load {before.load} before and {after.load} after, on {before.threads} threads"
    print(f"{args.file.name} on {runner.name}, {load}")  # noqa: T201
    for each in found:
        print(each)  # noqa: T201
    if args.out:
        rows = [
            {"factor": each.factor, "seconds": each.seconds, "ratios": [[r.value, r.low, r.high] for r in each.ratios]}
            for each in found
        ]
        args.out.write_text(json.dumps({"machine": before.model_dump(), "trials": rows}, indent=1) + "\n")


if __name__ == "__main__":
    from edgestyle.latency import study  # by its name, under which the timing processes find `Slowed`

    study.main()
