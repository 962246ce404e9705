"""How often the verdict of a comparison is wrong.

`python -m edgestyle.latency.study FILE --out study.json` compares a file with itself many times, as `edgestyle bench`
does, and counts how often it is called slower; in between, it makes one side slower on purpose, and counts how often
that is seen. Each trial is saved; Ctrl-C ends it, and the same command goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, stdev

from pydantic import BaseModel, ConfigDict

from edgestyle import isolate
from edgestyle.errors import ConfigError, EdgestyleError, UsageError
from edgestyle.files import sha256, write_text
from edgestyle.latency import machine
from edgestyle.latency.machine import Machine
from edgestyle.latency.measure import Effort, Rounds, compare_here, confirmed
from edgestyle.latency.stats import THRESHOLD, Ratio
from edgestyle.latency.subject import File, Ready, Subject
from edgestyle.manifest import to_json
from edgestyle.runner import choose

_RECENT = 21
"""Runs whose median the delay is a share of: it follows the machine's load, but no single run's luck."""

_TOLERANCE = 0.02
"""By how much the delay that arrived may differ from the one that was meant, in either direction."""


@dataclass(frozen=True)
class Slowed:
    """A subject after whose runs the processor turns in circles, for a share of the median of its recent runs."""

    subject: Subject
    share: float
    bare_s: list[float] = field(default_factory=list)
    """Duration of each run, without the circles."""

    def open(self) -> Ready:
        """See `Subject`."""
        ready = self.subject.open()

        def bind() -> Callable[[], None]:
            run, recent = ready.bind(), deque[float](maxlen=_RECENT)

            def slowly() -> None:
                began = time.perf_counter()
                run()
                ended = time.perf_counter()
                recent.append(ended - began)
                self.bare_s.append(ended - began)
                end = ended + median(recent) * self.share
                while time.perf_counter() < end:
                    pass

            return slowly

        return Ready(bind, ready.size)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Trial(_Model):
    """One comparison of a file with itself."""

    share: float
    """How much slower one side was to be made: 0.15 for 15 %; 0 for not at all."""
    arrived: float
    """How much slower its own clock says it became: its median run with the delay, by the one without, less 1."""
    comparisons: int
    """2 where it seemed slower at first."""
    ratio: float
    ci95: tuple[float, float]
    rounds: int
    seconds: float
    """The start of the process included."""
    load: float
    """Of the machine, in the minute before."""

    @property
    def counts(self) -> bool:
        """Whether the one side became as much slower as it was to: where the machine has no time for the circles, they
        take longer.
        """
        return abs(self.arrived - self.share) <= _TOLERANCE

    @property
    def flagged(self) -> bool:
        """Whether it was called slower."""
        return Ratio(self.ratio, *self.ci95).is_slower(THRESHOLD)


class Study(_Model):
    """All trials of a file on a delegate."""

    machine: Machine
    file: str
    sha256: str
    delegate: str
    threshold: float = THRESHOLD
    trials: tuple[Trial, ...] = ()

    def of(self, share: float) -> list[Trial]:
        """The trials in which one side was to be so much slower."""
        return [trial for trial in self.trials if trial.share == share]

    def next_kind(self, kinds: Collection[float], wanted: int) -> float | None:
        """Of the kinds that lack trials, the one with the fewest; None where none lacks any."""
        lacking = [kind for kind in kinds if sum(trial.counts for trial in self.of(kind)) < wanted]
        return min(lacking, key=lambda kind: (len(self.of(kind)), kind), default=None)

    def summary(self, share: float) -> str:
        """How the trials of one kind went, in a line."""
        every = self.of(share)
        found = [trial for trial in every if trial.counts]
        if not found:
            return f"{share:.0%} slower: no trial yet of {len(every)} in which so much arrived"
        ratios = [trial.ratio for trial in found]
        spread = f", standard deviation {stdev(ratios):.3f}" if len(ratios) > 1 else ""
        loads = [trial.load for trial in found]
        flagged = sum(trial.flagged for trial in found)
        return (
            f"{share:.0%} slower ({median(t.arrived for t in found):.1%} arrived): called slower in {flagged} of "
            f"{len(found)} ({flagged / len(found):.1%}); ratio {min(ratios):.3f} to {max(ratios):.3f}, median "
            f"{median(ratios):.3f}{spread}; {median(t.seconds for t in found):.1f} s each; load {min(loads):.1f} to "
            f"{max(loads):.1f}; not counted: {len(every) - len(found)}, in which another delay arrived"
        )


def trial(subject: Subject, share: float, effort: Effort) -> Trial:
    """Compare a subject with itself, one side slowed, as for a gate. Raises what `compare` raises."""
    began, arrivals = time.monotonic(), list[float]()

    def comparing() -> Rounds:
        rounds, arrived = isolate.call(trial_here, subject, share, effort, limit_s=effort.limit_s).value
        arrivals.append(arrived)
        return rounds

    rounds = confirmed(comparing, THRESHOLD)
    ratio = rounds.ratio
    return Trial(
        share=share,
        arrived=median(arrivals),
        comparisons=len(arrivals),
        ratio=ratio.value,
        ci95=(ratio.low, ratio.high),
        rounds=len(rounds.a),
        seconds=time.monotonic() - began,
        load=os.getloadavg()[0],
    )


def trial_here(subject: Subject, share: float, effort: Effort) -> tuple[Rounds, float]:
    """One comparison in this process, and how much slower the one side became."""
    slowed = Slowed(subject, share)
    found = compare_here(slowed, subject, effort)
    timed = [ms for pair in found.a for ms in pair]
    return found, median(timed) / 1e3 / median(slowed.bare_s[-len(timed) :]) - 1


def resume(out: Path, new: Study) -> Study:
    """The study that `out` holds, to go on with; `new` if there is none.

    Raises:
        ConfigError: It holds something else.
        UsageError: It is the study of another file, machine or version.
    """
    if not out.exists():
        return new
    try:
        found = Study.model_validate_json(out.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{out} is no study of this command; choose another --out") from error
    same = (found.sha256, found.delegate, found.threshold) == (new.sha256, new.delegate, new.threshold)
    differences = new.machine.differences(found.machine) + ([] if same else [f"of {found.file} on {found.delegate}"])
    if differences:
        raise UsageError(f"{out} is another study ({'; '.join(differences)}); choose another --out")
    return found


def run(path: Path, out: Path, trials: int, share: float, effort: Effort | None = None) -> Study:
    """Go on until `out` holds so many trials of either kind that count, in turn; each is saved when it is done.

    Raises:
        EdgestyleError: What `resume` and `trial` raise; `out` keeps what it has.
    """
    effort, runner = effort or Effort(), choose(path)
    if not path.exists():
        raise UsageError(f"there is no {path}; 'edgestyle export' writes such files")
    subject = File(path, runner.name)
    start = Study(machine=machine.describe(), file=path.name, sha256=sha256(path), delegate=runner.name)
    found = resume(out, start)
    kinds = {0.0, share}
    while (kind := found.next_kind(kinds, trials)) is not None:
        print(f"{kind:.0%} slower, trial {len(found.of(kind)) + 1}", file=sys.stderr, flush=True)  # noqa: T201
        found = found.model_copy(update={"trials": (*found.trials, trial(subject, kind, effort))})
        write_text(out, to_json(found))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgestyle.latency.study", description=__doc__)
    parser.add_argument("file", type=Path, help="an exported file; its first delegate that works here is used")
    parser.add_argument("--trials", type=int, default=200, metavar="N", help="comparisons of each kind; default: 200")
    parser.add_argument("--slowdown", type=float, default=15, metavar="PERCENT", help="0: none; default: 15")
    parser.add_argument("--out", type=Path, default=Path("build/study.json"), metavar="FILE", help="where it is kept")
    args = parser.parse_args(argv)
    share = args.slowdown / 100
    code = 0
    try:
        run(args.file, args.out, args.trials, share)
    except EdgestyleError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    if args.out.exists() and code in (0, 130):
        found = Study.model_validate_json(args.out.read_text(encoding="utf-8"))
        print(f"{found.file} on {found.delegate}, {found.machine.threads} threads")  # noqa: T201
        for each in sorted({0.0, share}):
            print(found.summary(each))  # noqa: T201
    return code


if __name__ == "__main__":
    from edgestyle.latency import study  # by its name, under which the timing processes find `trial_here`

    sys.exit(study.main())
