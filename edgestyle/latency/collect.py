"""Measuring everything that was asked for, one after another, and keeping what there is if it ends early."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from edgestyle.errors import CheckError, EdgestyleError, MissingExtraError, UnavailableError
from edgestyle.latency import machine, measure, roofline, scaling, work
from edgestyle.latency.machine import Machine
from edgestyle.latency.measure import Effort, Timing
from edgestyle.latency.plan import Job
from edgestyle.latency.results import Check, Comparison, Report, Result, compared, timed, verdict
from edgestyle.latency.roofline import Peak
from edgestyle.latency.stats import THRESHOLD
from edgestyle.latency.subject import Network
from edgestyle.latency.work import Work

Progress = Callable[[str], AbstractContextManager[None]]
"""Says what is being done while it is."""


@dataclass
class Findings:
    """What has been found so far."""

    effort: Effort = field(default_factory=Effort)
    threshold: float = THRESHOLD
    free_bytes: float | None = None
    """Memory that a picture may take; what the machine has free if None."""
    progress: Progress = lambda _: nullcontext()
    machine: Machine = field(default_factory=machine.describe)
    peak: Peak | None = None
    results: list[Result] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    budgets: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    works: dict[str, Work] = field(default_factory=dict)
    """By artifact, at the first size measured."""

    def report(self) -> Report:
        """Everything, for people and machines."""
        busy = f"the machine was busy before the first run (load {self.machine.load} on {self.machine.threads} threads)"
        unknown = {"unknown": "its scheme and drift are"}
        bare = {result.artifact: result.scheme for result in self.results if not result.manifest}
        notes = [
            *([f"{busy}: take the times as upper bounds"] if self.machine.busy else []),
            *(
                f"{artifact} has no manifest beside it: {unknown.get(scheme, 'its drift is')} not known"
                for artifact, scheme in bare.items()
            ),
            *self.notes,
        ]
        results, comparisons, budgets = tuple(self.results), tuple(self.comparisons), tuple(self.budgets)
        return Report(
            machine=self.machine,
            peak=self.peak,
            results=results,
            comparisons=comparisons,
            budgets=budgets,
            notes=tuple(notes),
            layers={
                name: tuple((layer.name, layer.op, layer.macs, layer.params, layer.moved) for layer in found.layers)
                for name, found in self.works.items()
            },
            passed=verdict(results, comparisons, budgets),
        )

    def measure_machine(self) -> None:
        """Find what this machine can do at most."""
        with self.progress("measuring what this machine can do at most"):
            self.peak = roofline.measure()

    def measure(self, jobs: Sequence[Job], sizes: Sequence[tuple[int, int]] = ()) -> None:
        """Time each job in a process of its own, those of free size at each of `sizes`.

        Raises:
            EdgestyleError: There is one job only, and it cannot be measured. Of several, one that fails is a result.
        """
        for job in jobs:
            if job.availability.status != "works":
                how = f" ({job.availability.install})" if job.availability.install else ""
                self.results.append(job.unmeasured(job.availability.reason + how))
                continue
            for result in self._measure_sizes(job, sizes, alone=len(jobs) == 1):
                self.results.append(result)

    def _measure_sizes(self, job: Job, sizes: Sequence[tuple[int, int]], alone: bool) -> Iterator[Result]:
        known: list[tuple[int, float]] = []  # pixels and peak bytes
        wanted: Sequence[tuple[int, int] | None] = [*sorted(sizes, key=math.prod)] or [None]
        for size in wanted:
            sized, tile = job, None
            if size is not None:
                pixels = size[0] * size[1]
                free = self.free_bytes or machine.free_bytes()
                if not scaling.fits(known, pixels, free):
                    if not isinstance(job.subject, Network):
                        yield job.unmeasured(_too_large(known, pixels, free), size)
                        continue
                    tile = scaling.tile_side(known)
                sized = job.sized(size, tile)
            result, timing = self._measure_one(sized, size, tile, alone)
            yield result
            if timing is None or timing.fixed:
                return
            if tile is None:
                known.append((timing.size[0] * timing.size[1], timing.peak_bytes))

    def _measure_one(
        self, job: Job, size: tuple[int, int] | None, tile: int | None, alone: bool
    ) -> tuple[Result, Timing | None]:
        try:
            with self.progress(f"timing {job.label(size)}"):
                timing = measure.measure(job.subject, self.effort)
                found = self._work(job, timing.size)
        except EdgestyleError as error:
            if alone:
                raise
            if isinstance(error, MissingExtraError | UnavailableError):
                return job.unmeasured(str(error), size), None
            return job.unmeasured(str(error), size).model_copy(update={"status": "failed"}), None
        return timed(job.known(timing.contract), timing, found, self.peak, tile), timing

    def _work(self, job: Job, size: tuple[int, int]) -> Work | None:
        """What the network has to do at a size."""
        try:
            if isinstance(job.subject, Network):
                found: Work | None = work.of_network(job.subject.load(), size)
            else:
                found = work.of_file(job.subject.path, size)
        except MissingExtraError as error:
            self.notes.append(f"the work of {job.about.artifact} was not counted: {error}")
            return None
        if found:
            self.works.setdefault(job.about.artifact, found)
        return found

    def compare(self, pairs: Sequence[tuple[Job, Job]], gated: bool) -> None:
        """Run the two of each pair in turn.

        Args:
            pairs: What is asked about, and what it is compared with.
            gated: Whether the first being slower is a failure.

        Raises:
            EdgestyleError: There is one pair only, and it cannot be run. Of several, one that fails is a result.
        """
        for a, b in pairs:
            try:
                with self.progress(f"running {a.label()} and {b.about.artifact} in turn"):
                    comparing = partial(measure.compare, a.subject, b.subject, self.effort)
                    rounds = measure.confirmed(comparing, self.threshold) if gated else comparing()
            except EdgestyleError as error:
                if len(pairs) == 1:
                    raise
                reason = f"not compared with {b.about.artifact}: {error}"
                failed = isinstance(error, CheckError)
                row = a.unmeasured(reason).model_copy(update={"status": "failed" if failed else "could not run"})
                self.results.append(row)
                continue
            names = (a.label(), b.label())
            self.comparisons.append(compared(*names, rounds.ratio, self.threshold, rounds, gated))


def _too_large(known: Sequence[tuple[int, float]], pixels: int, free: float | None) -> str:
    """Why a file is not run at a size."""
    needed = (scaling.predict_bytes(known, pixels) or 0) / 1e6
    largest = max(p for p, _ in known) / 1e6
    return (
        f"it would need about {needed:,.0f} MB, and {(free or 0) / 1e6:,.0f} MB may be used; the largest that fitted "
        f"has {largest:.2f} megapixels. An exported file cannot be run in tiles with the same result, because it "
        "computes the means of the whole picture inside; its checkpoint can"
    )


def drifts(jobs: Sequence[Job]) -> dict[str, float]:
    """PSNR in dB against the float network, of the artifacts whose manifest knows it."""
    return {job.about.artifact: job.psnr_db for job in jobs if job.psnr_db is not None}
